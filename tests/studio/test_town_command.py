"""`detour town`: datasets and tracks of the town from the command line, and what it says to bad requests."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from studio import cli
from worldmodel.io.lerobot import Dataset
from worldmodel.town import dataset as dataset_module
from worldmodel.town import tracks as tracks_module
from worldmodel.town.tracks import Tracks

SMALL = ["--scenes", "2", "--seconds", "0.5", "--situation", "empty_road"]
PICTURES = ["--rig", "front", "--width", "32", "--height", "16"]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["town", *words])


def test_a_dataset_is_written_and_checks_out(tmp_path: Path) -> None:
    result = run(str(tmp_path / "out"), *SMALL, *PICTURES, "--split", "val", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["episodes"] == 2
    assert "2 of 2 scenes" in result.stderr
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.rig.names == ("front",)
    assert all(1_000_000 <= int(name.rpartition("-")[2]) < 2_000_000 for name in dataset.ids)
    assert dataset.language(0).description
    checked = CliRunner().invoke(cli.main, ["check", str(tmp_path / "out")])
    assert checked.exit_code == 0, checked.output


def test_tracks_are_written(tmp_path: Path) -> None:
    result = run(str(tmp_path / "out"), *SMALL, "--tracks")
    assert result.exit_code == 0, result.output
    assert "2 scenes" in result.stdout
    assert [len(scene) for scene in Tracks.open(tmp_path / "out")] == [4, 4]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--situation", "pedestrain"], "Did you mean 'pedestrian'?"),
        (["--mix", "naturl"], "Did you mean 'natural'?"),
        (["--mix", "rich", "--seconds", "2"], "Choose 4 s or more"),
        (["--rig", "nuscene"], "Did you mean 'nuscenes'?"),
        (["--split", "tets"], "Did you mean 'test'?"),
        (["--seed", "-1"], "the seed is -1"),
        (["--seed", str(10**30)], "2**63 - 1"),
        (["--scenes", "-3"], "-3 scenes"),
        (["--scenes", "100001"], "100001 scenes"),
        (["--seconds", "0"], "0 s"),
        (["--seconds", "nan"], "nan s"),
        (["--seconds", "1e9"], "1e+09 s"),
        (["--frequency", "7"], "Choose a rate that divides it"),
        (["--frequency", "1.5"], "whole number"),
        (["--workers", "0"], "0 workers"),
        (["--width", "31"], "even sides"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--tracks"]])
def test_bad_requests_are_one_line_and_leave_nothing(
    words: list[str], message: str, form: list[str], tmp_path: Path
) -> None:
    if form and words[0] == "--frequency" and words[1] == "1.5":
        pytest.skip("tracks may have any rate")
    result = run(str(tmp_path / "out"), "--scenes", "2", *words, *form)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [[], ["--tracks"]])
def test_a_stopped_run_says_how_to_go_on(form: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worldmodel.town.records.card import scene_facts

    made = []

    def stopping(scene: object) -> object:
        made.append(scene)
        if len(made) == 2:
            raise KeyboardInterrupt
        return scene_facts(scene)

    monkeypatch.setattr("worldmodel.town.records.card.scene_facts", stopping)
    result = run(str(tmp_path / "out"), *SMALL, *PICTURES, *form)
    assert result.exit_code == 130
    assert "out.partial'; run the same command again to go on." in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    again = run(str(tmp_path / "out"), *SMALL, *PICTURES, *form)
    assert again.exit_code == 0, again.output
    assert len(made) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_shelf_of_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks_module, "_whole_tracks", _interrupt)
    assert run(str(tmp_path / "out"), *SMALL, "--tracks").exit_code == 130
    monkeypatch.setattr(dataset_module, "clip_of", _interrupt)
    for words, message in (([], 'made was "tracks" and is "dataset"'), (["--seed", "1"], "seed was 0 and is 1")):
        result = run(str(tmp_path / "out"), *SMALL, *PICTURES, *words)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "remove the folder" in result.stderr


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
