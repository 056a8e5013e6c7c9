"""Exit codes and messages of the command; results on standard output, the rest on standard error."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio import cli
from worldmodel.errors import Diverged

run = CliRunner().invoke


def test_help_lists_the_commands() -> None:
    result = run(cli.main, ["--help"])
    assert result.exit_code == 0
    for name in (
        "demo",
        "town",
        "import",
        "check",
        "check-policy",
        "imagine",
        "stitch",
        "change",
        "study",
        "score",
        "plan",
        "drive",
        "train",
        "studio",
    ):
        assert f"  {name} " in result.stdout


def test_version_is_told() -> None:
    result = run(cli.main, ["--version"])
    assert (result.exit_code, result.stdout.strip()) == (0, version("detour"))


def test_importing_the_command_loads_nothing_heavy() -> None:
    code = "import sys, studio.cli; print([m for m in ('torch', 'numpy', 'diffusers', 'gradio', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--clip", "nowhere", "--out", "{out}"], "'nowhere' names no dataset folder"),
        (["imagine", "nowhere", "--out", "{out}", "--seconds", "0"], "must be positive"),
        (["imagine", "nowhere", "--out", "{out}", "--steps", "0"], "0 sampling steps"),
        (["imagine", "nowhere", "--out", "{out}", "--text", " "], "the instruction is empty"),
        (["imagine", "nowhere", "--out", "{out}", "--text", "x" * 10_000], "10000 characters"),
        (["imagine", "nowhere", "--out", "{out}", "--guide", "decisoin"], "Did you mean 'decision'?"),
        (["imagine", "nowhere", "--out", "{out}", "--guide", "schedule"], "the two go together"),
        (["imagine", "nowhere", "--out", "{out}", "--schedule", "turn left"], "0:follow the road;2:turn left"),
        (["stitch", "{drives}", "--out", "{out}", "--planner", "join"], "Did you mean 'joint'?"),
        (["stitch", "{drives}", "--out", "{out}", "--planner", "constant-velocity", "--variant", "nera"], "'near'"),
        (["change", "{drives}", "--out", "{out}"], "no change was asked for"),
        (
            ["change", "{drives}", "--out", "{out}", "--text", "stop", "--weather", "fog"],
            "--weather and --text was asked",
        ),
        (["change", "{drives}", "--out", "{out}", "--planner", "stand-still", "--weather", "fog"], "is a recording"),
        (["plan", "{drives}:oen", "--planner", "constant-velocity"], "Did you mean 'one'?"),
        (["plan", "{drives}:one@99", "--planner", "constant-velocity"], "outside clip 'one'"),
        (["town", "{out}", "--width", "15"], "pictures of 15x64"),
        (["town", "{out}", "--rig", "tree"], "Did you mean 'three'?"),
        (["town", "{out}", "--scenes", "0"], "0 scenes"),
        (["town", "{out}", "--situation", "stret"], "Did you mean 'street'?"),
        (["import", "{out}", "{out}2", "--format", "folders"], "Did you mean 'folder'?"),
        (["train", "chunky", "--out", "{out}"], "Did you mean 'chunk'?"),
        (["train", "chunk", "--out", "{out}", "--preset", "town-min"], "Did you mean 'town-mini'?"),
        (["score", "{out}", "{out}", "--metrics", "psnrr"], "Did you mean 'psnr'?"),
        (["studio", "--port", "0"], "port 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path, drives) -> None:
    out = tmp_path / "out"
    result = run(cli.main, [word.format(out=out, drives=drives.path) for word in words])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["demo", "--out"], ["town"], ["imagine", "x", "--out"], ["stitch", "x", "--out"], ["plan", "x", "--out"]]
)
def test_an_existing_output_is_refused(words: list[str], tmp_path: Path) -> None:
    result = run(cli.main, [*words, str(tmp_path)])
    assert result.exit_code == 2
    assert "exists already and is not overwritten" in result.stderr


def test_unknown_options_are_exit_code_2() -> None:
    assert run(cli.main, ["demo", "--nope"]).exit_code == 2


@pytest.mark.parametrize(
    ("trouble", "code", "message"),
    [(Diverged("chunk 3 is not finite"), 1, "error: chunk 3"), (KeyboardInterrupt(), 130, "interrupted")],
)
def test_failures_and_interrupts_have_their_codes(
    trouble: BaseException, code: int, message: str, tmp_path: Path, drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise trouble

    monkeypatch.setattr("studio.planning.run_plan", fail)
    result = run(cli.main, ["plan", str(drives.path)])
    assert result.exit_code == code
    assert message in result.stderr


def test_json_is_one_object(drives) -> None:
    result = run(cli.main, ["plan", f"{drives.path}:one", "--planner", "constant-velocity", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["scores"]["constant-velocity"]["scored"] == 1


def test_plan_prints_and_writes(drives, tmp_path: Path) -> None:
    out = tmp_path / "plans.json"
    result = run(cli.main, ["plan", str(drives.path), "--planner", "constant-turn-rate", "--out", str(out)])
    assert result.exit_code == 0
    assert "constant-turn-rate: ADE 0." in result.stdout
    assert len(json.loads(out.read_text())["plans"]) == 3


def test_check_lists_problems_with_exit_code_1(drives, tmp_path: Path) -> None:
    good = run(cli.main, ["check", str(drives.path)])
    assert (good.exit_code, good.stdout.strip()) == (0, "no problems found")
    bad = run(cli.main, ["check", str(tmp_path), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["problems"]


def test_score_compares_two_datasets(drives) -> None:
    result = run(
        cli.main, ["score", str(drives.path), str(drives.path), "--metrics", "psnr", "--frames", "2", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["scores"][0]["value"] == 100.0


@pytest.mark.slow
def test_town_then_demo_then_stitch(tmp_path: Path, checkpoint: Path) -> None:
    data = tmp_path / "town"
    made = run(cli.main, ["town", str(data), "--scenes", "1", "--seconds", "7", "--width", "64", "--height", "32"])
    assert made.exit_code == 0, made.output
    for words in (
        ["demo", "--clip", str(data), "--seconds", "1", "--steps", "2", "--out", str(tmp_path / "demo")],
        ["imagine", str(data), "--seconds", "1", "--steps", "2", "--out", str(tmp_path / "imagine")],
        ["stitch", str(data), "--variant", "sky_near", "--kind", "cone", "--out", str(tmp_path / "stitch")],
    ):
        result = run(cli.main, [*words, "--model", str(checkpoint)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "demo" / "report.html").exists()
