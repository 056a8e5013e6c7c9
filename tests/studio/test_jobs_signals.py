"""Ctrl-C, SIGTERM and SIGKILL for a driver with real worker processes that sleep instead of imagining."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.storage import Storage
from studio.jobs.run.events import read_events

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
LONGEST_S = 60.0


class Command:
    """A driver in a process and a process group of its own."""

    def __init__(self, out: Path, units: int, seconds: float) -> None:
        self.out = out
        words = f"import fake_engine; fake_engine.main({str(out)!r}, '{units}', '{seconds}')"
        paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        self.process = subprocess.Popen(
            [sys.executable, "-c", words],
            env=os.environ | {"PYTHONPATH": paths},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def until(self, event: str, count: int) -> None:
        """Wait until so many of these have happened."""
        end = time.monotonic() + LONGEST_S
        while self.count(event) < count:
            assert time.monotonic() < end, event
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def count(self, event: str) -> int:
        return sum(one["event"] == event for one in read_events(Storage.at(self.out)))

    def end(self) -> tuple[int, str]:
        """Exit code and what was said on standard error."""
        _, said = self.process.communicate(timeout=LONGEST_S)
        return self.process.returncode, said.decode()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Command]:
    return lambda units, seconds: Command(tmp_path / "out", units, seconds)


def done(out: Path) -> int:
    return len(BatchFolder.open(out).look().done)


def begun(out: Path) -> Counter[str]:
    return Counter(key for one in read_events(Storage.at(out)) if one["event"] == "work_began" for key in one["keys"])


def leftovers(out: Path) -> list[str]:
    return [path.name for path in out.rglob("*") if path.name.startswith((".", "unfinished", "scratch"))]


def test_ctrl_c_finishes_what_runs_and_running_again_does_the_rest(start: Callable[..., Command]) -> None:
    first = start(8, 1.0)
    first.until("unit_done", 2)
    first.process.send_signal(signal.SIGINT)
    code, said = first.end()
    assert code == 130
    assert "under way are finished first (about" in said
    assert 2 < done(first.out) < 8
    assert len(begun(first.out)) == done(first.out)
    assert leftovers(first.out) == []
    second = start(8, 0.1)  # how long units take is no part of their keys
    assert second.end()[0] == 0
    assert set(begun(first.out).values()) == {1}


def test_sigterm_twice_ends_at_once_and_leaves_no_process_and_no_half(start: Callable[..., Command]) -> None:
    first = start(4, 100.0)
    first.until("work_began", 2)
    workers = psutil.Process(first.process.pid).children(recursive=True)
    first.process.send_signal(signal.SIGTERM)
    first.until("stopping", 1)
    first.process.send_signal(signal.SIGTERM)
    code, said = first.end()
    assert code == 143
    assert "stopping now" in said
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=5.0)[1] == []
    assert leftovers(first.out) == []
    assert done(first.out) == 0


def test_a_killed_driver_takes_its_workers_along_and_costs_what_was_under_way(start: Callable[..., Command]) -> None:
    first = start(8, 0.4)
    first.until("unit_done", 3)
    workers = psutil.Process(first.process.pid).children(recursive=True)
    first.process.kill()
    first.end()
    assert psutil.wait_procs(workers, timeout=5.0)[1] == []
    code, _ = start(8, 0.4).end()
    assert code == 0
    counts = begun(first.out)
    assert len(counts) == 8
    assert sum(counts.values()) <= 8 + 2
    assert leftovers(first.out) == []
    assert [row["number"] for row in BatchFolder.open(first.out).rows()] == list(range(8))
