"""What a driver does with works, whatever happens to workers, disks and people's patience."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_engine import Clock, FakeEngine, a_batch

from studio.jobs.engines.engine import Advanced
from studio.jobs.folder.storage import Storage
from studio.jobs.run.book import Book
from studio.jobs.run.course import Before, Course
from studio.jobs.run.events import EventLog, read_events
from studio.jobs.run.limits import Limits, disk_full
from studio.jobs.run.progress import Pace
from studio.jobs.run.retrying import RetryPolicy, WorkQueue
from studio.jobs.run.stops import Stops
from studio.jobs.run.telling import Telling
from studio.jobs.units import Batch, FileFact, Outcome
from worldmodel.errors import DetourError, OutputExists, Unreachable

UNLIMITED = Limits()
GIVEN = RetryPolicy(attempts=3, wait_s=1.0)


class Notes:
    """A folder that only remembers."""

    def __init__(self) -> None:
        self.noted: list[Outcome] = []
        self.error: Exception | None = None
        self.trouble = ""
        self.there: dict[str, tuple[FileFact, ...]] = {}

    def note(self, outcome: Outcome) -> None:
        if self.error is not None:
            raise self.error
        self.noted.append(outcome)

    def stored(self, key: str) -> tuple[FileFact, ...] | None:
        return self.there.get(key)

    def record(self, key: str) -> dict[str, object]:
        return {"timings_s": {"model": 1.0}}

    def states(self) -> dict[int, str]:
        return {one.number: one.kind or one.state for one in self.noted}


@dataclass
class Ride:
    """A loop with all it needs, and what it said."""

    course: Course
    engine: FakeEngine
    notes: Notes
    said: list[str]
    folder: Path

    def run(self) -> "Ride":
        self.course.run()
        self.course.events.close()
        return self

    def events(self, kind: str) -> list[dict[str, object]]:
        return [one for one in read_events(Storage.at(self.folder)) if one["event"] == kind]


@pytest.fixture
def ride(tmp_path: Path) -> Callable[..., Ride]:
    """Makes rides."""

    def made(
        batch: Batch, *, workers: int = 2, limits: Limits = UNLIMITED, policy: RetryPolicy = GIVEN, **fates: list[str]
    ) -> Ride:
        clock, notes, said = Clock(), Notes(), []
        engine = FakeEngine(clock, workers, {int(name[1:]): list(fate) for name, fate in fates.items()})
        events = EventLog(Storage.at(tmp_path), "all", clock)
        telling = Telling(on_progress=said.append, prometheus=None, clock=clock)
        course = Course(
            engine=engine,
            queue=WorkQueue(batch.works, frozenset(), policy),
            pace=Pace(batch.setup, batch.works),
            book=Book(folder=notes, units={unit.key: unit for unit in batch.units}, events=events),
            events=events,
            telling=telling,
            stops=Stops(),
            clock=clock,
            before=Before(units=len(batch.units), kept=0, failed=0, bytes=0),
            workers=workers,
            limits=limits,
        )
        return Ride(course, engine, notes, said, tmp_path)

    return made


def test_every_unit_is_done_once(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(7)).run()
    assert sorted(done.engine.begun) == list(range(7))
    assert done.notes.states() == dict.fromkeys(range(7), "done")
    assert done.course.stopping == ""
    assert done.course.worker_s == 7.0  # four seconds of one worker, three of the other
    assert done.said[-1].startswith("  7 of 7 units, 0 s left")


def test_a_unit_that_is_bad_fails_alone_and_is_not_tried_again(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(4), w1=["bad", "done"]).run()
    assert done.notes.states() == {0: "done", 1: "BadMotion", 2: "done", 3: "done"}
    assert done.engine.begun.count(1) == 1
    assert done.course.book.tally.kinds == {"BadMotion": 1}


def test_what_may_pass_is_tried_again_after_growing_waits(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(1), w0=["passing", "passing", "done"]).run()
    waits = [one["wait_s"] for one in done.events("unit_again")]
    assert waits == [1.0, 2.0]
    assert done.notes.states() == {0: "done"}
    began = [one["t_s"] for one in done.events("work_began")]
    assert began[1] - began[0] >= 2.0  # a second of work and one of waiting
    assert began[2] - began[1] >= 3.0


def test_what_never_passes_fails_after_the_attempts_and_the_rest_goes_on(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(3), w0=["passing"] * 9).run()
    assert done.notes.states() == {0: "Unreachable", 1: "done", 2: "done"}
    assert done.engine.begun.count(0) == 3
    assert [one.kind for one in done.notes.noted if one.number == 0] == ["Unreachable"] * 3


def test_a_lost_worker_costs_one_more_try(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(4), w2=["dies", "done"]).run()
    assert done.notes.states() == dict.fromkeys(range(4), "done")
    assert done.engine.begun.count(2) == 2
    assert done.course.book.tally.lost == 1


def test_a_worker_that_is_lost_after_storing_costs_nothing(ride: Callable[..., Ride]) -> None:
    batch = a_batch(4)
    done = ride(batch, w2=["dies", "done"])
    done.notes.there[batch.units[2].key] = (FileFact(name="mosaic.mp4", bytes=10, sha256="0"),)
    done.run()
    assert done.engine.begun.count(2) == 1
    assert done.notes.states() == dict.fromkeys(range(4), "done")


def test_a_unit_that_kills_two_workers_has_failed_and_the_rest_goes_on(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(5), w1=["dies"] * 9).run()
    assert done.notes.states() == {0: "done", 1: "WorkerLost", 2: "done", 3: "done", 4: "done"}
    assert done.engine.begun.count(1) == 2
    first, last = (one for one in done.notes.noted if one.number == 1)
    assert first.again  # a driver that is killed between the two tries again
    assert not last.again
    assert "killed by signal 9" in last.message


def test_a_unit_that_takes_too_long_is_ended_and_has_failed(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(3), limits=Limits(seconds_per_unit=30.0), w0=["hangs"]).run()
    assert done.notes.states() == {0: "TimedOut", 1: "done", 2: "done"}
    (dropped,) = done.events("work_dropped")
    assert 30.0 < dropped["seconds"] < 32.0
    assert "seconds_per_unit" in done.events("unit_failed")[0]["message"]


def test_a_group_is_done_again_without_what_is_done(ride: Callable[..., Ride]) -> None:
    batch = a_batch(4, group=2)
    done = ride(batch, w0=["passing", "done"])
    first = batch.works[0].units[0].key
    done.course.queue = WorkQueue(batch.works, frozenset([first]), GIVEN)
    done.run()
    assert done.notes.states() == {1: "done", 2: "done", 3: "done"}
    assert first not in {one.key for one in done.notes.noted}


def test_ctrl_c_once_finishes_what_runs_and_says_how_long(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(40))
    done.engine.on_begin = lambda work: done.course.stops.ask() if work == 6 else None
    done.run()
    assert sorted(done.notes.states()) == sorted(done.engine.begun)  # nothing that was begun is left
    assert len(done.engine.begun) < 12
    assert any("under way are finished first (about" in line for line in done.said)
    assert done.course.stops.exit_code == 130
    assert not done.engine.given


def test_asking_twice_stops_at_once(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(10), w0=["hangs"], w1=["hangs"])

    def ask(work: int) -> None:
        done.course.stops.ask(signal.SIGTERM)

    done.engine.on_begin = ask
    done.run()
    assert done.notes.noted == []
    assert done.course.stops.exit_code == 143


def test_workers_that_end_while_stopping_have_not_failed(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(4), w0=["dies"], w1=["dies"])
    done.engine.on_begin = lambda work: done.course.stops.ask(signal.SIGTERM) if work == 1 else None
    done.run()
    assert done.notes.noted == []
    assert len(done.course.queue) == 4


def test_a_full_disk_stops_without_failures(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(20), w3=["full"]).run()
    assert set(done.notes.states().values()) == {"done"}
    assert 3 not in done.notes.states()
    assert len(done.notes.noted) < 8
    assert "it went full" in done.course.stopping


def test_a_disk_that_fills_up_stops_before_it_is_full(
    ride: Callable[..., Ride], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ride(a_batch(20))
    done.course.disks = [tmp_path]
    free = iter([10**12] * 3 + [10**6] * 100)
    monkeypatch.setattr("studio.jobs.run.limits.free_bytes", lambda folder: next(free))
    done.run()
    assert 0 < len(done.notes.noted) < 20
    assert set(done.notes.states().values()) == {"done"}
    assert "1 MB left" in done.course.stopping
    assert "run the same command again" in done.course.stopping


def test_a_driver_whose_folder_was_taken_over_stops(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(20))
    done.notes.error = OutputExists("another driver took over.")
    done.run()
    assert done.course.stopping == "another driver took over."
    assert len(done.engine.begun) <= 4


def test_a_manifest_that_cannot_be_written_for_a_while_is_told_once(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(8))
    done.notes.trouble = "the storage does not answer."
    done.run()
    assert done.said.count("  warning: the storage does not answer.") == 1
    assert len(done.events("warned")) == 1
    assert len(done.notes.noted) == 8


@pytest.mark.parametrize(
    ("limits", "reason"), [(Limits(bytes=5000), "limit is 0 MB"), (Limits(hours=5 / 3600), "hours is reached")]
)
def test_limits_stop_what_is_not_begun(ride: Callable[..., Ride], limits: Limits, reason: str) -> None:
    done = ride(a_batch(60), limits=limits).run()
    assert reason in done.course.stopping
    assert 5 <= len(done.notes.noted) <= 20
    assert sorted(done.notes.states()) == sorted(done.engine.begun)


def test_when_everything_fails_the_night_is_not_spent_on_it(ride: Callable[..., Ride]) -> None:
    batch = a_batch(200)
    done = ride(batch, policy=RetryPolicy(attempts=1), **{f"w{n}": ["passing"] for n in range(200)}).run()
    assert "12 tries in a row failed" in done.course.stopping
    assert "it went passing" in done.course.stopping
    assert len(done.notes.noted) < 20


def test_a_worker_that_cannot_start_ends_the_run(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(2))

    def fail(patience_s: float) -> None:
        raise DetourError("no worker can be started.")

    done.engine.next = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(DetourError, match="no worker can be started"):
        done.run()


def test_a_clock_that_goes_backwards_changes_nothing(
    ride: Callable[..., Ride], monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = iter(range(2_000_000_000, 0, -10_000))
    monkeypatch.setattr("time.time", lambda: float(next(wall)))
    done = ride(a_batch(6), limits=Limits(hours=1, seconds_per_unit=10)).run()
    assert done.notes.states() == dict.fromkeys(range(6), "done")
    times = [one["t_s"] for one in read_events(Storage.at(done.folder))]
    assert times == sorted(times)


def test_signals_are_heard_once_and_twice_and_then_left_to_others() -> None:
    stops, before = Stops(), signal.getsignal(signal.SIGTERM)
    with stops.listening():
        signal.raise_signal(signal.SIGTERM)
        assert (stops.count, stops.exit_code) == (1, 143)
        signal.raise_signal(signal.SIGINT)
        assert (stops.count, stops.exit_code) == (2, 143)
    assert signal.getsignal(signal.SIGTERM) is before


def test_chunks_of_long_units_are_told_now_and_then(ride: Callable[..., Ride]) -> None:
    done = ride(a_batch(1))

    def chunks(work: int) -> None:
        done.engine.news += [Advanced(worker="w0", work=0, chunk=n, chunks=100) for n in range(1, 51)]

    done.engine.on_begin = chunks
    done.run()
    assert [one["chunk"] for one in done.events("work_advanced")] == [1]  # all in the same second


def test_unreachable_and_full_are_told_apart() -> None:
    one = Outcome(key="k", number=0, state="failed", kind=Unreachable.__name__, message="no answer.")
    assert not disk_full([one])
    system = Outcome(
        key="k", number=0, state="failed", kind="OSError", message="[Errno 28] No space left on device: 'x'"
    )
    assert disk_full([one, system])
