"""A clip of the town comes with the true answer: what its own driver does when the obstacle is really there."""

import json
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from studio.demo import run_demo
from studio.moments import Moment, Wish, find_moment
from studio.sprites import PictureSprite
from studio.stitching import StitchRequest, run_stitch
from studio.town_answer import TownAnswer, scene_of, town_answer
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.town.dataset import SOURCE
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

WISH = Wish(history=16, chunk=4, future_s=4.0)
RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)


def unseen(situation: str, seed: int, seconds: float) -> Clip:
    """A town clip as `detour town` writes it, but grey: nothing here looks at its pictures."""
    scene = simulate(situation, seed, seconds=seconds)
    return Clip(
        id=scene.id,
        video=np.full((len(scene), 3, 3, 32, 64), 120, np.uint8),
        rig=town_rig(3, 64, 32),
        motion=scene.trajectory().motion(),
        motion_origin="town",
        frequency_hz=8.0,
        source=SOURCE,
    )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A straight street, a bend taken at 2 s, and a van 12 m ahead at 2 s."""
    scenes = [("street", 2944906), ("curvy", 15), ("stop_and_go", 0)]
    clips = [unseen(*scene, seconds=8.0) for scene in scenes]
    return write_dataset(clips, tmp_path_factory.mktemp("data") / "town", name="town")


def moment_of(town: Dataset, episode: int = 0) -> Moment:
    return find_moment(f"{town.path}:{episode}@2.0", WISH)


def answer(moment: Moment, variant: str = "near", kind: str = "car") -> TownAnswer:
    found = town_answer(moment, StitchSprite(variant=variant, kind=kind, at_s=moment.at_s))
    assert found is not None
    return found


def test_the_towns_driver_brakes_for_a_real_obstacle(town: Dataset) -> None:
    moment = moment_of(town)
    near, far = answer(moment), answer(moment, "far")
    assert near.response is not None
    assert far.response is not None
    assert near.response.path_length_change_m < far.response.path_length_change_m < -1
    assert near.response.factual.path_length_m == pytest.approx(far.response.factual.path_length_m)
    assert near.response.braking_onset_s is not None
    stopped = near.response.edited.trajectory.poses[-1, 0]
    assert 0 < stopped < 12 - 3  # behind the car's near side, from the ego's rear axle
    assert f"{-near.response.path_length_change_m:.2f} m less in 4 s" in near.sentence


def test_the_moment_may_lie_anywhere_in_the_recording(town: Dataset) -> None:
    late = find_moment(f"{town.path}:0@3.5", WISH)
    assert late.start_s > 0
    response = answer(late).response
    driven = late.driven()
    assert response is not None
    assert driven is not None
    np.testing.assert_allclose(
        response.factual.trajectory.poses, driven.resampled(response.factual.trajectory.times_s).poses, atol=1e-3
    )


@pytest.mark.parametrize("variant", ["sky_near", "sky_far", "empty"])
def test_nothing_on_the_road_changes_nothing(town: Dataset, variant: str) -> None:
    found = answer(moment_of(town), variant)
    assert found.response is not None
    assert found.response.endpoint_shift_m == 0
    assert found.response.path_length_change_m == 0
    assert "nothing stands on the road" in found.sentence


def test_an_obstacle_beside_the_drivers_way_changes_nothing(town: Dataset) -> None:
    found = answer(moment_of(town, 1))
    assert found.response is not None
    assert found.response.endpoint_shift_m == pytest.approx(0, abs=1e-9)
    assert "does not lead through that place" in found.sentence


def test_a_place_that_is_taken_has_no_answer(town: Dataset) -> None:
    found = answer(moment_of(town, 2))
    assert found.response is None
    assert "not known" in found.sentence
    assert "into 'van-1'" in found.sentence


def test_a_clip_that_is_no_longer_its_scene_has_no_answer(town: Dataset) -> None:
    moment = moment_of(town)
    assert moment.clip.motion is not None
    deltas = moment.clip.motion.deltas.copy()
    deltas[3, 0] += 0.002
    other = replace(moment, clip=replace(moment.clip, motion=Motion(deltas=deltas, period_s=0.125)))
    found = answer(other)
    assert found.response is None
    assert "no longer moves as clip 'street-2944906' was recorded (0.00" in found.sentence


def test_only_clips_of_the_town_have_an_answer(town: Dataset) -> None:
    moment = moment_of(town)
    edit = StitchSprite(at_s=moment.at_s)
    assert town_answer(replace(moment, clip=replace(moment.clip, source="a dashcam")), edit) is None
    own = town_answer(moment, edit, picture=True)
    assert own is not None
    assert own.response is None
    assert "no body for a picture" in own.sentence


def test_scenes_are_named_by_situation_and_seed() -> None:
    assert scene_of("stop_and_go-2944909") == ("stop_and_go", 2944909)
    for name in ("street", "street-", "-5", "street-5+InsertActor", "street-²"):
        with pytest.raises(BadRequest, match="situation"):
            scene_of(name)


@pytest.fixture
def _plain_sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))


@pytest.mark.usefixtures("_plain_sprites")
def test_runs_show_the_towns_answer_beside_the_plans(tmp_path: Path, town: Dataset, drives: Dataset, world) -> None:
    request = StitchRequest(clip=f"{town.path}:0@2.0")
    record = run_stitch(request, tmp_path / "stitch", model=world)
    assert record["town"]["response"]["path_length_change_m"] < -1
    run_demo(tmp_path / "demo", clip=f"{town.path}:0@2.0", seconds=1.0, model=world)
    told = json.loads((tmp_path / "demo" / "run.json").read_text())
    assert told["town"] == record["town"]
    for name in ("stitch", "demo"):
        report = (tmp_path / name / "report.html").read_text()
        assert escape(record["town"]["sentence"]) in report
        assert report.count("the town&#x27;s driver") == 2  # the legend and the table
        names = set(pq.read_table(tmp_path / name / "trajectory.parquet")["name"].to_pylist())
        assert {"town driver with", "town driver without"} <= names
    elsewhere = run_stitch(StitchRequest(clip=f"{drives.path}:one@2.0"), tmp_path / "other", model=world)
    assert elsewhere["town"] is None
    assert "town&#x27;s driver" not in (tmp_path / "other" / "report.html").read_text()
