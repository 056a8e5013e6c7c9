"""Studies on recordings: stretches are judged by speed and boxes alone, and nobody claims to know the true answer."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from policy.baselines import ConstantVelocityPlanner
from studio.eligible import driven_ahead, recorded_verdict
from studio.sprites import PictureSprite
from studio.study import read_moments, run_study
from studio.study_cases import Recordings
from studio.study_config import StudyConfig
from worldmodel.clips import Box
from worldmodel.errors import BadTable
from worldmodel.io.lerobot import Dataset

RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)
STRAIGHT = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])


def box(x: float, y: float) -> Box:
    return Box(track="1", kind="car", center=np.array([x, y, 0.7]), size=np.array([4.0, 1.8, 1.4]), yaw_rad=0.0)


@pytest.mark.parametrize(
    ("speed", "boxes", "without", "reason"),
    [
        (8.0, [], False, "eligible"),
        (8.0, [box(30.0, 0.0)], False, "lane not free"),
        (8.0, [box(30.0, 2.6)], False, "lane not free"),
        (8.0, [box(30.0, 2.7)], False, "eligible"),
        (8.0, [box(44.0, 0.0)], False, "eligible"),
        (3.9, [], False, "slow"),
        (12.1, [], False, "fast"),
        (None, [], False, "no motion"),
        (8.0, None, False, "lane not known"),
        (8.0, None, True, "eligible"),
    ],
)
def test_the_rule_for_recordings(speed: float | None, boxes: list[Box] | None, without: bool, reason: str) -> None:
    found = recorded_verdict("one@0", 2.0, speed_mps=speed, driven=STRAIGHT, boxes=boxes, without_boxes=without)
    assert found.reason == reason
    assert found.oracle_m is None


def test_the_way_ahead_is_the_driven_one_and_straight_on_after_its_end() -> None:
    turned = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, np.pi / 2]])
    way = driven_ahead(turned)
    assert len(way) == 81
    np.testing.assert_allclose(way[-1], [10.0, 30.0], atol=1e-9)


def config_of(drives: Dataset, **more: object) -> StudyConfig:
    asked = {"planners": ("constant-velocity",), "dataset": str(drives.path), "scenes": 10, "stretch_s": 4.0,
             "moments_s": (2.0, 3.0), "history_s": 1.0, "variants": ("near", "sky_near", "empty")}  # fmt: skip
    return StudyConfig(**{**asked, **more})


def test_recordings_are_cut_into_stretches(drives: Dataset) -> None:
    found = Recordings(config_of(drives), 1.0)
    assert found.names == ["one@0", "one@4", "two@0", "two@4", "short@0"]
    first = found.found(0, {})
    assert first.verdicts[-1].eligible
    assert first.case is not None
    assert (len(first.case.clip), first.case.clip.boxes is None) == (8, False)
    assert not first.case.in_town
    assert found.found(4, {}).verdicts == ()  # too short for any moment
    assert Recordings(config_of(drives, scenes=2), 1.0).count == 2


def test_a_study_of_recordings_says_that_nobody_knows_the_answer(
    drives: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))
    config = config_of(drives)
    record = run_study(config, tmp_path / "out", make=lambda _: (ConstantVelocityPlanner(),))
    assert record["summary"]["frames"]["eligible"] == 4
    assert record["summary"]["oracle"] == []
    rows = pq.read_table(tmp_path / "out" / "rows.parquet").to_pylist()
    assert {row["oracle_m"] for row in rows} == {None}
    assert {row["change_m"] for row in rows} == {0.0}
    report = (tmp_path / "out" / "report.html").read_text()
    assert "What the driver would have done is not known" in report
    assert "Against the town" not in report
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert markdown.startswith("# Does the driver look at the road?")
    for figure in (tmp_path / "out" / "figures").iterdir():
        assert f"(figures/{figure.name})" in markdown


def test_moments_of_an_earlier_study_are_taken_and_others_refused(
    drives: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.stitch.sprite_of", lambda kind: PictureSprite(name=kind, rgba=RED, height_m=1.6))
    config = config_of(drives)

    def make(_: StudyConfig) -> tuple[ConstantVelocityPlanner]:
        return (ConstantVelocityPlanner(),)

    run_study(config, tmp_path / "first", make=make)
    moments = tmp_path / "first" / "moments.json"
    assert list(read_moments(moments, config)) == ["one@0", "one@4", "two@0", "two@4"]
    monkeypatch.setattr(Recordings, "_verdicts", lambda *_: pytest.fail("judged again"))
    known = read_moments(moments, config)
    run_study(replace(config, scenes=4), tmp_path / "again", make=make, moments=_of_four(moments, tmp_path))
    assert known.keys() == read_moments(tmp_path / "again" / "moments.json", replace(config, scenes=4)).keys()
    with pytest.raises(BadTable, match="judged with another kind, moments_s than this study has"):
        read_moments(moments, replace(config, kind="van", moments_s=(2.0,)))
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(BadTable, match="holds no judged moments"):
        read_moments(tmp_path / "bad.json", config)


def _of_four(moments: Path, folder: Path) -> Path:
    """The same moments, said to be of a study of four stretches, which leaves out the one that had none."""
    content = json.loads(moments.read_text())
    content["judged"]["scenes"] = 4
    (folder / "four.json").write_text(json.dumps(content))
    return folder / "four.json"
