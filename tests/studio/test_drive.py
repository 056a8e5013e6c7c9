"""`detour drive`: run folders, exit codes, and what the joint planner is shown."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio import cli
from studio.drive import DRIVERS, DriveRequest, make_driver, run_drive
from worldmodel.errors import BadRequest
from worldmodel.io.video import probe

run = CliRunner().invoke


def test_a_drive_is_a_run_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["drive", "--planner", "constant-velocity", "--situation", "empty_road", "--situation", "pedestrian"]
    done = run(cli.main, [*words, "--scenes", "2", "--seconds", "1", "--seed", "3", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)["run"]
    assert [row["situation"] for row in record["drives"]] == ["empty_road", "pedestrian"]
    assert [row["seed"] for row in record["drives"]] == [3, 4]
    assert record["seed"] == 3
    assert json.loads((out / "run.json").read_text()) == record
    scores = {row["metric"]: row for row in json.loads((out / "scores.json").read_text())}
    mean = sum(row["driving_score"] for row in record["drives"]) / 2
    assert scores["driving_score"]["value"] == pytest.approx(mean)
    assert scores["epdms"]["of"] == "NAVSIM in the town, 2 scenes"
    (film,) = out.glob("videos/*/mosaic.mp4")
    assert probe(film).frames == 9
    assert (out / "trajectory.parquet").exists()
    assert "driving score" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--planner", "constant-velocty"], "Did you mean 'constant-velocity'?"),
        (["--planner", "expert", "--situation", "stret"], "Did you mean 'street'?"),
        (["--planner", "expert", "--seed", "-1"], "the seed is -1"),
        (["--planner", "expert", "--scenes", "0"], "0 scenes"),
        (["--planner", "expert", "--seconds", "0"], "Choose a longer one"),
        (["--planner", "expert", "--seconds", "900"], "last up to"),
        (["--planner", "expert", "--seconds", "nan"], "nan s"),
        (["--planner", "expert", "--videos", "2"], "2 of 1 scenes"),
        (["--planner", "joint", "--model", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path) -> None:
    done = run(cli.main, ["drive", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    done = run(cli.main, ["drive", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "exists already" in done.stderr


def test_the_joint_planner_sees_what_its_model_was_trained_on(tiny_model, tmp_path: Path) -> None:
    request = DriveRequest(planner="joint", situations=("empty_road",), seconds=1.0, samples=2, videos=0)
    driver = make_driver(request, tiny_model)
    config = tiny_model.config
    assert len(driver.rig) == config.cameras
    assert (driver.rig.width_px, driver.rig.height_px) == (config.width_px, config.height_px)
    assert driver.history % config.network.frames_per_chunk == 0
    record = run_drive(request, tmp_path / "run", model=tiny_model)
    assert record["drives"][0]["plans"] == 2
    assert record["model"].endswith(tiny_model.hash)
    assert record["videos"] == {}


def test_every_named_driver_exists() -> None:
    for name in DRIVERS[1:]:
        assert make_driver(DriveRequest(planner=name)).who.name
    with pytest.raises(BadRequest, match="1 to 10000"):
        DriveRequest(planner="expert", scenes=10_001)
