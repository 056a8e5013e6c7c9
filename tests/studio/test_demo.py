"""The whole story, with a stand-in for the model; what a clip lacks is said, never faked."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from studio import demo
from studio.demo import run_demo
from studio.imagine import ImagineRequest, read_actions, run_imagine
from studio.planning import PlanRequest, run_plan
from studio.sprites import PictureSprite
from studio.stitching import StitchRequest, run_stitch
from worldmodel.errors import BadInput, BadRequest, BadTable, ClipTooShort, OutputExists
from worldmodel.sampling import Sampling

RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)


@pytest.fixture(autouse=True)
def _plain_sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))


def test_the_whole_story(tmp_path: Path, drives, world) -> None:
    parts: list[tuple[str, bool]] = []
    result = run_demo(
        tmp_path / "run",
        clip=f"{drives.path}:one",
        seconds=2.0,
        seed=7,
        model=world,
        progress=lambda part, seconds: parts.append((part, seconds is not None)),
    )
    assert result.skipped == ()
    assert [part for part, ended in parts if ended] == list(result.timings_s)
    assert len(parts) == 2 * len(result.timings_s) == 14
    record = json.loads((result.folder / "run.json").read_text())
    assert record["seed"] == 7
    assert record["request"]["seconds"] == 2.0
    assert record["stitch"]["occlusion"] == "known from boxes"
    assert set(record["videos"]) == {"seen", "followed", "imagined-1", "imagined-2", "imagined-as-driven", "stitched"}
    assert [name for name, entry in record["videos"].items() if not entry["imagined"]] == [
        "seen",
        "followed",
        "stitched",
    ]
    scores = json.loads((result.folder / "scores.json").read_text())
    assert {row["metric"] for row in scores} == {"PSNR", "SSIM", "ADE", "FDE"}
    joint = next(row for row in scores if row["of"] == "plan: joint" and row["metric"] == "ADE")
    assert joint["value"] < 1.5
    names = set(pq.read_table(result.folder / "trajectory.parquet")["name"].to_pylist())
    assert {"driven", "imagined-1", "plan joint with", "plan constant velocity without"} <= names
    report = result.report.read_text()
    assert report.count("<video") == 6
    assert "turn left at the crossing" in report
    assert "turn right at the crossing" in report
    assert "-24.0" in report  # the stand-in slows from 8 to 2 m/s for 4 s


def test_same_seed_same_bits(tmp_path: Path, drives, world) -> None:
    clip = f"{drives.path}:one"
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        run_demo(tmp_path / name, clip=clip, seconds=1.0, seed=seed, model=world)
    videos = [(tmp_path / name / "videos" / "imagined-1" / "front.mp4").read_bytes() for name in "abc"]
    tables = [pq.read_table(tmp_path / name / "trajectory.parquet") for name in "abc"]
    assert videos[0] == videos[1] != videos[2]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_a_clip_without_motion_and_boxes_gets_what_is_possible(tmp_path: Path, silent_drives, world) -> None:
    result = run_demo(tmp_path / "run", clip=str(silent_drives.path), seconds=1.0, model=world)
    said = " ".join(result.skipped)
    assert "No obstacle was stitched" in said
    assert "logged cannot be commanded" in said
    assert "'constant velocity' needs the current speed" in said
    assert {row["metric"] for row in result.scores} == {"PSNR", "SSIM"}
    assert "What could not be done" in result.report.read_text()


def test_a_recording_that_ends_early_is_scored_as_far_as_it_goes(tmp_path: Path, drives, world) -> None:
    result = run_demo(tmp_path / "run", clip=f"{drives.path}:short@1.0", seconds=4.0, model=world)
    assert any("goes on for 0.88 s only" in text for text in result.skipped)
    assert all(row["until_s"] == 0.5 for row in result.scores if row["metric"] == "ADE")


def test_the_very_last_frame_still_tells_a_story(tmp_path: Path, drives, world) -> None:
    result = run_demo(tmp_path / "run", clip=f"{drives.path}:short@1.9", seconds=1.0, model=world)
    assert result.scores == ()
    assert "Nothing follows in the recording" in result.report.read_text()


def test_bad_requests_leave_nothing(tmp_path: Path, drives, world) -> None:
    clip = str(drives.path)
    for asked, error in [
        ({"clip": clip, "seconds": 0.0}, BadRequest),
        ({"clip": clip, "seconds": -1.0}, BadRequest),
        ({"clip": clip, "seconds": 1e9}, BadRequest),
        ({"clip": f"{clip}:one@0.1", "seconds": 1.0}, ClipTooShort),
    ]:
        with pytest.raises(error):
            run_demo(tmp_path / "run", model=world, **asked)
    assert list(tmp_path.iterdir()) == []


def test_interrupting_leaves_nothing(tmp_path: Path, drives, world, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "run", clip=str(drives.path), seconds=1.0, model=world)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_anything_slow(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputExists):
        run_demo(tmp_path / "run", clip="nowhere", model="nowhere")


def test_imagine_writes_a_run(tmp_path: Path, drives, world) -> None:
    path = tmp_path / "path.csv"
    path.write_text("t,x,y,yaw\n0.5,3,0,0\n2.0,12,1,0.1\n")
    request = ImagineRequest(clip=f"{drives.path}:two", text="go on", actions=path, seconds=1.0, seed=4)
    record = run_imagine(request, tmp_path / "run", model=world)
    assert record["texts"] == ["go on"]
    assert record["imagined"] is True
    table = pq.read_table(tmp_path / "run" / "trajectory.parquet").to_pylist()
    end = [row for row in table if row["name"] == "imagined"][-1]
    assert end["x_m"] == pytest.approx(6.0)
    assert "imagined" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,x,y\n1,1,1\n", "Add yaw to the header"),
        ("t,x,y,yaw\n", "no rows"),
        ("t,x,y,yaw\n1,1,nan,0\n", "line 2: y is 'nan'"),
        ("t,x,y,yaw\n1,1,0,0\n2,two,0,0\n", "line 3: x is 'two'"),
        ("t,x,y,yaw\n1,1,0,0\n0.5,2,0,0\n", "times must increase"),
        ("t,x,y,yaw\n1,1\n", "line 2: y is None"),
        ("", "columns none"),
    ],
)
def test_broken_paths_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "path.csv").write_text(text)
    with pytest.raises(BadTable, match=message):
        read_actions(tmp_path / "path.csv")


def test_a_path_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "path.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadTable, match="cannot be read as CSV"):
        read_actions(tmp_path / "path.csv")
    with pytest.raises(BadTable, match="cannot be read as CSV"):
        read_actions(tmp_path / "none.csv")


def test_stitch_writes_pairs_and_placements(tmp_path: Path, drives, world) -> None:
    request = StitchRequest(clip=f"{drives.path}:one@2.0", variant="near")
    record = run_stitch(request, tmp_path / "run", model=world)
    assert record["responses"]["joint"]["path_length_change_m"] == pytest.approx(-24.0, abs=0.01)
    assert record["responses"]["constant velocity"]["path_length_change_m"] == 0.0
    assert record["stitch"]["cameras"] == ["front"]
    assert any(place["rectangle_px"] for place in record["placements"])
    assert (tmp_path / "run" / "videos" / "stitched" / "front_left.mp4").exists()
    with np.load(tmp_path / "run" / "masks.npz") as masks:
        assert set(masks) == {"front_left", "front", "front_right"}
        assert masks["front"].any(axis=(1, 2))[16]
        assert not masks["front_left"].any()


def test_a_click_says_where_it_stands(tmp_path: Path, drives) -> None:
    asked = {"clip": f"{drives.path}:one@2.0", "planners": ("constant-velocity",)}
    record = run_stitch(StitchRequest(**asked, click="front:31.5,24"), tmp_path / "run")
    x, y = record["stitch"]["place_m"]
    camera = drives.clip(0).rig.cameras[1]
    pixels, _, _ = camera.project(np.array([[x, y, 0.0]]))
    np.testing.assert_allclose(pixels[0], [31.5, 24.0], atol=1e-6)
    for click, message in (("front:31", "CAMERA:COLUMN,ROW"), ("front:31,2", "above the horizon")):
        with pytest.raises(BadInput, match=message):
            run_stitch(StitchRequest(**asked, click=click), tmp_path / "other")
    with pytest.raises(BadRequest, match="one of them says where"):
        run_stitch(StitchRequest(**asked, click="front:31.5,24", x_m=9.0), tmp_path / "other")


def test_a_recording_without_motion_is_edited_in_its_newest_frame(tmp_path: Path, silent_drives) -> None:
    request = StitchRequest(clip=f"{silent_drives.path}:0@2.0", planners=("constant-velocity",))
    record = run_stitch(request, tmp_path / "run")
    assert record["stitch"]["cameras"] == ["front"]
    assert record["stitch"]["occlusion"] == "unknown"
    assert record["videos"]["stitched"]["frames"] == 1
    assert record["responses"] == {}
    assert "only the newest frame" in record["skipped"][0]
    assert "constant velocity" in record["skipped"][1]


def test_a_picture_needs_its_height(tmp_path: Path, drives) -> None:
    request = StitchRequest(clip=str(drives.path), picture=tmp_path / "a.png", planners=("constant-velocity",))
    with pytest.raises(BadRequest, match="--height-m"):
        run_stitch(request, tmp_path / "run")


def test_plan_scores_a_whole_dataset_and_counts(drives, world) -> None:
    result = run_plan(PlanRequest(clip=str(drives.path)), model=world)
    assert result["scores"]["constant-turn-rate"]["plans"] == 3
    assert result["scores"]["constant-turn-rate"]["ade_m"] < 0.05
    assert result["scores"]["joint"]["scored"] == 3
    alone = run_plan(PlanRequest(clip=f"{drives.path}:one", planners=("constant-turn-rate",)))
    assert alone["scores"]["constant-turn-rate"]["l2_uniad_avg"] < 0.05


def test_plan_without_motion_leaves_out_and_says_so(silent_drives) -> None:
    result = run_plan(PlanRequest(clip=str(silent_drives.path), planners=("constant-velocity",)))
    assert result["scores"] == {}
    assert "clip 'silent', constant-velocity" in result["skipped"][0]


@pytest.mark.slow
def test_the_whole_story_with_the_real_model(tmp_path: Path, drives, checkpoint: Path) -> None:
    result = run_demo(
        tmp_path / "run", clip=f"{drives.path}:one", seconds=1.0, sampling=Sampling(steps=2), model=str(checkpoint)
    )
    assert result.skipped == ()
    assert result.report.stat().st_size > 10_000
