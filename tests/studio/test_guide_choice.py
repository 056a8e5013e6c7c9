"""Guides by name, and what a run tells of them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import a_clip
from tiny_vlm import WORDS, write_vlm

from studio.guides import GuideChoice, texts_by_time
from studio.imagine import ImagineRequest, run_imagine
from studio.moments import Moment
from worldmodel.errors import BadCheckpoint, BadRequest, UnknownName
from worldmodel.geometry import Trajectory
from worldmodel.guidance import DecisionGuide, FixedGuide, ScheduleGuide
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling
from worldmodel.town.dataset import clip_of
from worldmodel.town.guide import TownGuide
from worldmodel.town.rigs import RIGS
from worldmodel.town.traffic import simulate
from worldmodel.town.words.hints import hints


@pytest.fixture(scope="module")
def moment() -> Moment:
    return Moment(clip=a_clip("one"), now=15)


def context(time_s: float) -> Any:
    return SimpleNamespace(time_s=time_s)


# -- names ------------------------------------------------------------------------------------------------------------


def test_by_default_the_driver_is_told_one_thing(moment: Moment) -> None:
    assert GuideChoice().make(moment, "go on", 4.0) == FixedGuide(text="go on")
    assert GuideChoice(name="decision").make(moment, "go on", 4.0) == DecisionGuide()


def test_a_schedule_names_itself(moment: Moment, tmp_path: Path) -> None:
    expected = ScheduleGuide(texts=((0.0, "go on"), (2.0, "stop")))
    file = tmp_path / "texts.json"
    file.write_text('[[0, "go on"], [2, "stop"]]')
    for written in ("0:go on;2:stop", file.read_text(), str(file)):
        assert GuideChoice(schedule=written).name == "schedule"
        assert GuideChoice(name="schedule", schedule=written).make(moment, "", 4.0) == expected


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"name": "fixd"}, UnknownName, "Did you mean 'fixed'"),
        ({"name": "vlm:"}, UnknownName, "vlm:MODEL"),
        ({"name": "schedule"}, BadRequest, "no schedule was given"),
        ({"name": "decision", "schedule": "0:go"}, BadRequest, "a schedule was given"),
        ({"schedule": "go"}, BadRequest, "cannot be read"),
        ({"schedule": "nowhere.json"}, BadRequest, "Name a JSON file"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_at_once(
    values: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GuideChoice(**values)


def test_a_schedule_file_has_a_sensible_size_and_is_text(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_bytes(b" " * 1_000_001)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name, message in (("large.json", "larger"), ("binary.json", "UTF-8")):
        with pytest.raises(BadRequest, match=message):
            GuideChoice(schedule=str(tmp_path / name))


def test_a_vision_language_model_that_does_not_exist_is_named(moment: Moment, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="vision-language model"):
        GuideChoice(name=f"vlm:{tmp_path / 'none'}").make(moment, "", 4.0)


# -- the town ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_town_says_what_its_driver_does() -> None:
    clip = clip_of(simulate("stop_and_go", 7, seconds=4.0), rig=RIGS["front"](32, 16), supersample=1)
    guide = GuideChoice(name="town").make(Moment(clip=clip, now=15, start_s=0.0), "", 3.0)
    assert isinstance(guide, TownGuide)
    expected = [hint.text for hint in hints(simulate("stop_and_go", 7, seconds=5.0))]
    assert [guide.hint(context(i * 0.5)) for i in range(6)] == expected[4:10]


def test_other_recordings_have_no_town(moment: Moment) -> None:
    with pytest.raises(BadRequest, match="was not made by the town"):
        GuideChoice(name="town").make(moment, "", 4.0)


# -- what is told of them ---------------------------------------------------------------------------------------------


def test_texts_are_told_with_the_time_that_they_last() -> None:
    times = 1.0 + np.arange(17) / 8
    trajectory = Trajectory(poses=np.zeros((17, 3)), times_s=times)
    rollout: Any = SimpleNamespace(trajectory=trajectory, chunk_s=0.5, texts=("go", "go", "", "stop"))
    assert texts_by_time(rollout) == [(1.0, 2.0, "go"), (2.0, 2.5, ""), (2.5, 3.0, "stop")]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (GuideChoice(schedule="0:go on;0.5:turn left"), ["go on", "turn left"]),
        (GuideChoice(name="decision"), None),
    ],
    ids=["schedule", "decision"],
)
def test_a_run_keeps_the_text_of_every_chunk(
    tmp_path: Path, drives: Any, checkpoint: Path, choice: GuideChoice, expected: list[str] | None
) -> None:
    request = ImagineRequest(clip=f"{drives.path}:two", seconds=1.0, guide=choice, sampling=Sampling(steps=1))
    record = run_imagine(request, tmp_path / "run", model=WorldModel.from_pretrained(checkpoint))
    texts = record["texts"]
    assert len(texts) == 2
    assert all(texts)
    assert expected in (None, texts)
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["texts"] == texts
    assert written["request"]["guide"] == {"name": choice.name, "schedule": choice.schedule}
    report = (tmp_path / "run" / "report.html").read_text()
    assert "What steered it" in report
    assert texts[-1] in report


def test_a_vision_language_model_steers_a_run(tmp_path: Path, drives: Any, checkpoint: Path) -> None:
    choice = GuideChoice(name=f"vlm:{write_vlm(tmp_path / 'vlm')}")
    request = ImagineRequest(clip=f"{drives.path}:two", seconds=1.0, guide=choice, sampling=Sampling(steps=1))
    record = run_imagine(request, tmp_path / "run", model=WorldModel.from_pretrained(checkpoint))
    assert len(record["texts"]) == 2
    assert {word for text in record["texts"] for word in text.split()} <= set(WORDS)
    assert record["request"]["guide"]["name"] == choice.name
