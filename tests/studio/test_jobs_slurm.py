"""The script for Slurm, with stand-ins for `detour` and `scontrol`: each task does its part, ends in time, and is put back."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Begin = Callable[..., "subprocess.Popen[bytes]"]
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "jobs" / "slurm.sh"
FAKE = """#!/bin/bash
echo "$@" > said
trap 'echo term >> signals; [ "$(wc -l < signals)" -ge "${STOPS:-1}" ] && exit 143' TERM
[ -n "$LONG" ] || exit "${CODE:-0}"
touch ready
while :; do sleep 0.02; done
"""


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    (tmp_path / "bin").mkdir()
    for name, text in (("detour", FAKE), ("scontrol", '#!/bin/bash\necho "$@" > requeued\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def started(**more: str) -> "subprocess.Popen[bytes]":
        task = {
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_ARRAY_TASK_COUNT": "16",
            "SLURM_ARRAY_JOB_ID": "77",
            "SLURM_CPUS_PER_TASK": "4",
        }
        path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_TMPDIR": "/scratch of node"}
        return subprocess.Popen(
            ["bash", str(SCRIPT), "my jobs.yaml", "/shared/out", "--device", "cuda"],
            cwd=tmp_path,
            env={**task, **path, **more},
        )

    return started


def ready(place: Path) -> None:
    end = time.monotonic() + 10
    while not (place / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("code", [0, 1])
def test_a_task_does_its_part_and_ends_as_its_driver_does(begin: Begin, tmp_path: Path, code: int) -> None:
    assert begin(CODE=str(code)).wait(10) == code
    said = (tmp_path / "said").read_text()
    assert "jobs run my jobs.yaml --out /shared/out --shard 3/16 --workers 4" in said
    assert "--scratch /scratch of node --device cuda" in said
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize("stops", ["1", "2"])
def test_a_task_whose_time_is_over_is_put_back_and_what_does_not_end_is_asked_twice(
    begin: Begin, tmp_path: Path, stops: str
) -> None:
    task = begin(LONG="yes", STOPS=stops, PATIENCE="0.1")
    ready(tmp_path)
    task.send_signal(signal.SIGTERM)
    assert task.wait(10) == 143
    assert (tmp_path / "signals").read_text() == "term\n" * int(stops)
    assert (tmp_path / "requeued").read_text().strip() == "requeue 77_3"


def test_a_script_that_is_not_an_array_says_how_to_start_it(begin: Begin, tmp_path: Path) -> None:
    assert begin(SLURM_ARRAY_TASK_ID="").wait(10) != 0
    assert not (tmp_path / "said").exists()
