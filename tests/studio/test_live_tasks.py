"""Work in the background: bounded, in fair order, stopped for good, gone with its visitor, and it says how far it is."""

import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from studio.live.tasks import processes
from studio.live.tasks.orders import Order, Unit
from studio.live.tasks.processes import Count, Ended, Process
from studio.live.tasks.tasks import MOST_OF_ONE, Tasks
from worldmodel.errors import BadRequest, Busy

SOON_S = 5.0


class Pretended:
    """A command that ends when the test says so, and at once when it is stopped."""

    started: list["Pretended"]

    def __init__(self, words: Sequence[str], hear: Callable[[str], None]) -> None:
        self.words, self.hear = tuple(words), hear
        self.over = threading.Event()
        self.code = 0
        self.started.append(self)

    def end(self, code: int = 0) -> None:
        self.code = code
        self.over.set()

    def stop(self, grace_s: float = 5.0) -> None:
        self.end(143)

    def wait(self, limit_s: float = 0.0) -> Ended:
        assert self.over.wait(SOON_S)
        return Ended(code=self.code, reason="" if self.code == 0 else "the road ended", printed="{}")


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    Pretended.started = []
    made = Tasks(at_once=1, launch=Pretended)  # type: ignore[arg-type]
    yield made
    made.close_all()


def order(*labels: str, **more: object) -> Order:
    units = tuple(Unit(label=label, words=("imagine", label)) for label in labels or ("one",))
    return Order(kind="imagine", title="a test", units=units, **more)  # type: ignore[arg-type]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def running(number: int) -> Pretended:
    """The command that was started as so-and-so-manieth; waits until it is."""
    until(lambda: len(Pretended.started) > number)
    return Pretended.started[number]


def test_units_are_done_in_order_and_a_failed_one_keeps_no_other_from_being_done(tasks: Tasks) -> None:
    name = tasks.start("anna", order("seed 0", "seed 1", "seed 2"))
    for number, code in enumerate((0, 1, 0)):
        running(number).end(code)
    view = tasks.wait("anna", name, SOON_S)
    assert [unit.state for unit in view.units] == ["done", "failed", "done"]
    assert (view.state, view.reason, view.share) == ("failed", "the road ended", 1.0)
    assert [process.words for process in Pretended.started] == [("imagine", f"seed {n}") for n in range(3)]


def test_everybody_has_a_turn_before_anybody_has_a_second(tasks: Tasks) -> None:
    first, second, third = (tasks.start("anna", order(name)) for name in ("a1", "a2", "a3"))
    other = tasks.start("ben", order("b1"))
    assert [tasks.view("anna", one).ahead for one in (first, second, third)] == [0, 2, 3]
    assert tasks.view("ben", other).ahead == 1
    for number in range(4):
        running(number).end()
    assert [process.words[1] for process in Pretended.started] == ["a1", "b1", "a2", "a3"]


def test_only_one_task_of_a_visitor_runs_even_where_there_is_room() -> None:
    Pretended.started = []
    tasks = Tasks(at_once=3, launch=Pretended)  # type: ignore[arg-type]
    tasks.start("anna", order("a1"))
    waiting = tasks.start("anna", order("a2"))
    tasks.start("ben", order("b1"))
    assert sorted(running(number).words[1] for number in (0, 1)) == ["a1", "b1"]
    assert tasks.view("anna", waiting).state == "waiting"
    tasks.close_all()


def test_a_stopped_task_starts_nothing_more_and_goes_on_with_what_is_not_done(tasks: Tasks) -> None:
    name = tasks.start("anna", order("seed 0", "seed 1", "seed 2"))
    running(0).end()
    running(1)
    tasks.stop("anna", name)
    view = tasks.wait("anna", name, SOON_S)
    assert (view.state, [unit.state for unit in view.units]) == ("stopped", ["done", "waiting", "waiting"])
    assert len(Pretended.started) == 2
    tasks.resume("anna", name)
    for number in (2, 3):
        running(number).end()
    assert tasks.wait("anna", name, SOON_S).state == "done"
    assert [process.words[1] for process in Pretended.started] == ["seed 0", "seed 1", "seed 1", "seed 2"]


def test_a_waiting_task_can_be_stopped_before_it_began(tasks: Tasks) -> None:
    tasks.start("anna", order("a1"))
    waiting = tasks.start("anna", order("a2"))
    running(0)
    tasks.stop("anna", waiting)
    assert tasks.view("anna", waiting).state == "stopped"
    assert len(Pretended.started) == 1


def test_progress_and_time_left_are_what_the_command_says_and_the_rest_is_its_log(tasks: Tasks) -> None:
    name = tasks.start("anna", order("seed 0", "seed 1"))
    assert tasks.view("anna", name).left_s is None
    running(0).hear("reading the clip")
    running(0).hear("  3 of 12 scenes, 40 s left")
    view = tasks.view("anna", name)
    assert view.count == Count(done=3, total=12, things="scenes", left_s=40.0)
    assert view.share == pytest.approx(0.125)
    assert view.left_s is None, "how long the second one takes is not known yet"
    assert view.log == ("reading the clip",)
    running(0).end()
    running(1).hear("  6 of 12 scenes, 20 s left")
    assert tasks.view("anna", name).left_s == pytest.approx(20, abs=1)


def test_closing_the_tab_ends_the_visitors_work_alone(tasks: Tasks) -> None:
    name = tasks.start("anna", order("a1", "a2"))
    tasks.start("anna", order("a3"))
    other = tasks.start("ben", order("b1"))
    running(0)
    tasks.close("anna")
    running(1)
    assert tasks.of("anna") == ()
    assert [process.words[1] for process in Pretended.started] == ["a1", "b1"]
    assert tasks.view("ben", other).state == "running"
    with pytest.raises(BadRequest, match="not there any more"):
        tasks.view("anna", name)


def test_nobody_sees_or_stops_the_tasks_of_others(tasks: Tasks) -> None:
    name = tasks.start("anna", order("a1"))
    assert tasks.of("ben") == ()
    for act in (tasks.stop, tasks.resume, tasks.forget, tasks.view):
        with pytest.raises(BadRequest, match="Choose another one"):
            act("ben", name)
    assert tasks.view("anna", name).state == "running"


def test_a_visitor_cannot_fill_the_queue(tasks: Tasks) -> None:
    for _ in range(MOST_OF_ONE):
        tasks.start("anna", order("a"))
    with pytest.raises(Busy, match="Stop one, or come back later"):
        tasks.start("anna", order("a"))
    tasks.start("ben", order("b"))
    with pytest.raises(BadRequest, match="Name at least one"):
        tasks.start("ben", Order(kind="imagine", title="nothing", units=()))


def test_a_forgotten_task_takes_its_outputs_along_unless_they_are_to_stay(tasks: Tasks, tmp_path: Path) -> None:
    for number, keeps in enumerate((False, True)):
        out = tmp_path / f"study-{keeps}"
        for folder in (out, tmp_path / f"{out.name}.partial"):
            folder.mkdir()
        units = (Unit(label="study", words=("study",), out=out),)
        name = tasks.start("anna", Order(kind="study", title="a study", units=units, keeps=keeps))
        tasks.forget("anna", name)
        assert tasks.view("anna", name).state == "running", "what runs is not forgotten"
        running(number).end()
        tasks.wait("anna", name, SOON_S)
        tasks.forget("anna", name)
        assert tasks.of("anna") == ()
        assert out.exists() == keeps
        assert (tmp_path / f"{out.name}.partial").exists() == keeps


SCRIPT = textwrap.dedent(
    """
    import os, signal, subprocess, sys, time
    what = sys.argv[1]
    if what == "talks":
        print("  1 of 2 chunks, 9 s left", file=sys.stderr)
        print('{"fine": true}')
    elif what == "refuses":
        sys.exit("error: there is no clip 7. Choose one of 0 to 6.")
    elif what == "breaks":
        raise ZeroDivisionError("a mistake of ours")
    elif what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(f"child {child.pid}", file=sys.stderr, flush=True)
        time.sleep(60)
    """
)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "command.py").write_text(SCRIPT)
    monkeypatch.setattr(processes, "PYTHON", (sys.executable, str(tmp_path / "command.py")))


@pytest.mark.usefixtures("scripted")
def test_a_process_tells_its_progress_its_result_and_why_it_failed() -> None:
    heard: list[str] = []
    ended = Process(["talks"], heard.append).wait()
    assert (ended.code, ended.printed.strip(), heard) == (0, '{"fine": true}', ["  1 of 2 chunks, 9 s left"])
    assert Process(["refuses"], heard.append).wait().reason == "there is no clip 7. Choose one of 0 to 6."
    assert Process(["breaks"], heard.append).wait().reason == "ZeroDivisionError: a mistake of ours"


@pytest.mark.usefixtures("scripted")
def test_a_process_that_does_not_listen_is_ended_with_all_it_started() -> None:
    heard: list[str] = []
    process = Process(["deaf"], heard.append)
    until(lambda: heard)
    process.stop(grace_s=0.05)
    assert "killed by signal 9" in process.wait().reason
    child = Path("/proc") / heard[0].split()[1]
    until(lambda: not child.exists() or "(zombie)" in (child / "status").read_text())


@pytest.mark.usefixtures("scripted")
def test_a_process_that_takes_too_long_is_stopped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.05)
    process = Process(["deaf"], lambda line: None)
    monkeypatch.setattr(process, "stop", lambda: Process.stop(process, 0.05))
    assert process.wait(limit_s=0.3).reason == "it took longer than 0 s and was stopped"


def test_the_worker_is_the_ordinary_command() -> None:
    ended = Process(["--help"], lambda line: None).wait()
    assert ended.code == 0
    assert "Usage: detour" in ended.printed
    assert "Did you mean" in Process(["imagin"], lambda line: None).wait().reason


def test_the_worker_ends_when_the_studio_is_gone() -> None:
    process = Process(["study", "/dev/stdin", "--out", "/nonexistent/out"], lambda line: None)
    stdin = process._process.stdin
    assert stdin is not None
    stdin.close()  # as the system does for a studio that was killed
    assert process.wait(limit_s=20).code != 0


def test_a_line_that_counts_is_told_from_one_that_does_not() -> None:
    assert Count.of("  12 of 40 scenes, 35 s left") == Count(done=12, total=40, things="scenes", left_s=35.0)
    for line in ("12 of 40", "0 of 0 clips, 0 s left", "     3.1 s  reading"):
        assert Count.of(line) is None
