"""`detour imagine --model wan:FOLDER`: the whole way from a dataset to a run folder on a pretrained backbone."""

import json
from pathlib import Path

from tiny_wan import write_tiny_wan
from typer.testing import CliRunner

from studio.cli import main
from worldmodel.io.lerobot import Dataset


def test_the_command_imagines_on_a_pretrained_backbone(drives: Dataset, tmp_path: Path) -> None:
    folder = write_tiny_wan(tmp_path / "wan")
    actions = tmp_path / "path.csv"
    actions.write_text("t,x,y,yaw\n0,0,0,0\n1,5,0,0\n")
    options = ["--seconds", "1", "--steps", "1", "--actions", str(actions), "--text", "turn left"]
    out = tmp_path / "run"
    model = f"wan:{folder}@32x64"
    done = CliRunner().invoke(main, ["imagine", str(drives.path), "--out", str(out), "--model", model, *options])
    assert done.exit_code == 0, done.output
    record = json.loads((out / "run.json").read_text())
    assert record["provenance"]["preset"] == "wan"
    assert any("was not taught to drive" in warning for warning in record["warnings"])
    assert (out / "report.html").is_file()


def test_a_folder_that_is_no_wan_is_bad_input(drives: Dataset, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["imagine", str(drives.path), "--out", str(tmp_path / "run"), "--model", f"wan:{tmp_path}"]
    )
    assert done.exit_code == 2
    assert "is missing" in done.output
