"""Workers as processes of this machine: who does what, and what happens when they die."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from job_workers import PATIENCE_S, ObedientWorker, a_plan, a_work, ended, until

from studio.jobs.engines import make_engine
from studio.jobs.engines.crew import Desk
from studio.jobs.engines.engine import Advanced, Began, Ended, EngineChoice, Happening, Lost, Ready
from studio.jobs.engines.local import LocalEngine
from studio.jobs.engines.scratch import own_scratch
from worldmodel.errors import DetourError


def wait_for(what: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that has ended may wait to be collected."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LocalEngine]]:
    """Starts an engine with obedient workers, ended after the test."""
    engines: list[LocalEngine] = []

    def started(workers: int = 1, model: str = "none", threads: int = 1) -> LocalEngine:
        plan = a_plan(tmp_path, model, threads)
        engines.append(LocalEngine(plan, workers, make=ObedientWorker, pause_s=0.01))
        return engines[-1]

    yield started
    for engine in engines:
        engine.close(now=True)


def test_a_work_is_begun_advanced_and_ended_and_finished_units_are_skipped(start, tmp_path):
    engine = start(threads=3)
    work = a_work(5, "chunks", units=3)
    engine.give(work, frozenset({work.units[1].key}))
    ready, began, *advanced, end = until(engine, ended)
    assert isinstance(ready, Ready)
    assert began == Began(worker="local-1", work=5)
    assert advanced == [Advanced(worker="local-1", work=5, chunk=chunk, chunks=3) for chunk in range(3)]
    assert isinstance(end, Ended)
    assert [outcome.key for outcome in end.outcomes] == [work.units[0].key, work.units[2].key]
    engine.give(a_work(6, "threads"))
    *_, end = until(engine, ended)
    assert end.outcomes[0].message == "3"  # set before any library is loaded
    engine.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_each_worker_is_given_one_work_and_one_ahead_and_those_can_be_taken_back(start):
    engine = start(2)
    assert engine.free == 4
    for number in range(4):
        engine.give(a_work(number, "wait"))
    until(engine, lambda seen: sum(isinstance(one, Began) for one in seen) == 2)
    assert engine.free == 0
    assert engine.take_back() == (2, 3)
    assert engine.free == 2


def test_a_worker_that_dies_is_reported_with_its_work_and_replaced(start):
    engine = start()
    engine.give(a_work(0, "die once"))
    *_, lost = until(engine, lambda seen: any(isinstance(one, Lost) for one in seen))
    assert lost == Lost(worker="local-1", work=0, why="killed by signal 9, perhaps for want of memory")
    engine.give(a_work(0, "die once"))
    ready, began, end = until(engine, ended)
    assert isinstance(ready, Ready)
    assert (began, end.outcomes[0].worker) == (Began(worker="local-1.2", work=0), "local-1.2")


def test_a_worker_that_died_idle_takes_no_work_with_it(start):
    engine = start()
    engine.give(a_work(0))
    *_, end = until(engine, ended)
    os.kill(int(end.outcomes[0].message), signal.SIGKILL)
    psutil.wait_procs([psutil.Process(int(end.outcomes[0].message))], timeout=PATIENCE_S)
    engine.give(a_work(1))
    lost, *_, end = until(engine, ended)
    assert isinstance(lost, Lost)
    assert (lost.work, end.work) == (None, 1)


def test_an_error_of_ours_ends_the_worker_and_its_last_words_are_kept(start):
    engine = start()
    engine.give(a_work(0, "fault"))
    *_, lost = until(engine, lambda seen: any(isinstance(one, Lost) for one in seen))
    assert lost.why.startswith("ended with status 1: ")
    assert lost.why.endswith("ValueError: a fault of ours")


def test_a_work_that_takes_too_long_is_dropped_and_the_worker_replaced(start):
    engine = start()
    engine.give(a_work(0, "wait"))
    until(engine, lambda seen: any(isinstance(one, Began) for one in seen))
    engine.drop(7)  # nobody is at it
    engine.drop(0)
    engine.give(a_work(1))
    lost, *_, end = until(engine, ended)
    assert lost == Lost(worker="local-1", work=0, why="it took too long and was ended")
    assert end.work == 1


@pytest.mark.parametrize(("model", "words"), [("absent", "there is no model 'absent'"), ("broken", "libmissing.so")])
def test_workers_that_cannot_start_are_tried_three_times_and_then_reported_with_their_last_words(start, model, words):
    engine = start(model=model)
    seen: list[Happening] = []
    with pytest.raises(DetourError, match=f"no local worker can be started.*{words}"):
        until(engine, lambda now: bool(seen.extend(now)))
    engine.close()


def test_closing_lets_running_works_end_and_leaves_no_process(start):
    engine = start(2)
    for number in range(4):
        engine.give(a_work(number, "slow"))
    seen = until(engine, lambda seen: sum(isinstance(one, Began) for one in seen) >= 2)
    engine.close()
    while (happening := engine.next(0)) is not None:
        seen.append(happening)
    begun, over = (sorted(one.work for one in seen if isinstance(one, kind)) for kind in (Began, Ended))
    assert begun == over
    assert not any(isinstance(one, Lost) for one in seen)
    assert not [child for child in psutil.Process().children() if "local_worker" in " ".join(child.cmdline())]
    engine.close(now=True)  # harmless


@pytest.mark.slow  # starts a driver of its own
def test_workers_ignore_ctrl_c_and_end_when_the_driver_is_killed(tmp_path):
    script = (
        "import sys; from pathlib import Path; from job_workers import *; from studio.jobs.engines.local import LocalEngine\n"
        f"engine = LocalEngine(a_plan(Path({str(tmp_path)!r})), 1, make=ObedientWorker)\n"
        "engine.give(a_work(0, 'wait'))\nwhile True: engine.next(1.0)"
    )
    tests = str(Path(__file__).parents[1])
    driver = psutil.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": tests})
    try:
        wait_for((tmp_path / "died-0").exists)
        [worker] = driver.children()
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
        assert psutil.wait_procs([worker], timeout=0.2)[1]
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: not lives(worker))
    with own_scratch(str(tmp_path / "scratch")) as mine:  # and removes what the killed worker left
        assert sorted(path.stem for path in mine.parent.iterdir()) == [mine.name, mine.name]


def test_replacements_wait_longer_each_time_and_a_minute_at_most():
    waits = [Desk(number=0, barren=losses).pause_s(1.0) for losses in (0, 1, 2, 3, 4, 20)]
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0, 60.0]


def test_the_choice_of_engine_decides_which_one_is_made(tmp_path):
    engine = make_engine(EngineChoice(workers=1), a_plan(tmp_path))
    assert engine.facts()["name"] == "local"
    engine.close(now=True)
