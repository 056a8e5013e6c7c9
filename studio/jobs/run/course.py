"""The loop of a driver: gives works to an engine, hears what happens, and decides what follows from it."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.jobs.engines.engine import Advanced, Began, Ended, Engine, Happening, Lost, Ready
from studio.jobs.run.book import Book
from studio.jobs.run.events import Clock, EventLog
from studio.jobs.run.limits import Limits, disk_full, too_little_room
from studio.jobs.run.progress import Pace, Progress, duration
from studio.jobs.run.retrying import Task, Verdict, WorkQueue
from studio.jobs.run.stops import Stops
from studio.jobs.run.telling import Telling

PATIENCE_S = 0.25  # at most so long passes until a signal is heard
LOOK_EVERY_S = 1.0  # at limits and disks
ADVANCED_EVERY_S = 5.0  # of one work, in the events
IN_A_ROW = 12  # bad things without a unit done between them: what all share is broken; more with many workers


@dataclass(frozen=True, kw_only=True)
class Before:
    """What was there before this run: units of the shard, those done, those that failed for good, bytes of outputs."""

    units: int
    kept: int
    failed: int
    bytes: int


@dataclass(eq=False, kw_only=True)
class Course:
    """One run of the loop.

    Attributes:
        engine: Does the works; the caller closes it.
        queue: What is to be done.
        pace: Knows what is under way, and how long it takes.
        book: Where outcomes are entered.
        before: What was there.
        workers: That were asked for.
        limits: On hours, bytes and seconds.
        disks: Local folders that fill up.
        labels: What this run is, for Prometheus.
        stopping: Why no more work is given; '' while it is.
    """

    engine: Engine
    queue: WorkQueue
    pace: Pace
    book: Book
    events: EventLog
    telling: Telling
    stops: Stops
    clock: Clock
    before: Before
    workers: int
    limits: Limits
    disks: Sequence[Path] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stopping: str = ""
    _began: float = 0.0
    _first_ready: float | None = None
    _look_due: float = float("-inf")
    _up: dict[str, float] = field(default_factory=dict)  # since when
    _last_end: dict[str, float] = field(default_factory=dict)
    _spent: float = 0.0  # by workers that were lost
    _told: dict[int, float] = field(default_factory=dict)
    _dropped: set[int] = field(default_factory=set)
    _bad: int = 0

    def run(self) -> None:
        """Until everything is over, or somebody asked twice to stop.

        Raises:
            DetourError: if no worker can be started.
            OutputExists: if the text file for Prometheus cannot be written at all.
        """
        self._began = self.clock()
        self._tell()
        while self.stops.count < 2:
            self._look()
            self._feed()
            if not self.queue.given and (self.stopping or not len(self.queue)):
                break
            happening = self.engine.next(PATIENCE_S)
            if happening is not None:
                self._heed(happening)
            if self.telling.due():
                self._tell()
        if self.stops.count >= 2:
            self.stopping = "asked twice to stop."
            self.telling.say("  stopping now; units under way are not finished, the next run goes on with them")
        self._tell(last=True)

    @property
    def elapsed_s(self) -> float:
        """Since the loop began."""
        return self.clock() - self._began

    @property
    def worker_s(self) -> float:
        """Time of all workers, each from when it was up to its last unit."""
        return self._spent + sum(self._time_of(worker) for worker in self._up)

    def _time_of(self, worker: str) -> float:
        up = self._up.get(worker, 0.0)
        return max(0.0, self._last_end.get(worker, up) - up)

    def progress(self) -> Progress:
        """Where it stands."""
        now, tally = self.clock(), self.book.tally
        return Progress(
            total=self.before.units,
            kept=self.before.kept,
            done=tally.done,
            failed=tally.failed,
            failed_before=self.before.failed,
            running=len(self.pace.running),
            waiting=self.queue.waiting + len(self.queue.given) - len(self.pace.running),
            workers=len(self._up),
            lost=tally.lost,
            again=tally.again,
            elapsed_s=now - self._began,
            working_s=0.0 if self._first_ready is None else now - self._first_ready,
            imagined_s=tally.imagined_s,
            left_s=self._left_s(now),
        )

    def _left_s(self, now: float) -> float | None:
        if self.stopping:
            return self.pace.left_of_running(now)
        return self.pace.left(now, len(self._up) or self.workers)

    def _tell(self, *, last: bool = False) -> None:
        self.telling.tell(self.progress(), self.book.tally, self.labels, last=last)

    def _look(self) -> None:
        """Whether to stop, and whether something takes too long."""
        if not self.stopping and self.stops.count:
            self._stop(f"asked by {signal.Signals(self.stops.signum or signal.SIGINT).name}.")
        now = self.clock()
        if now < self._look_due:
            return
        self._look_due = now + LOOK_EVERY_S
        if warning := self.book.warning():
            self.telling.say(f"  warning: {warning}")
        if not self.stopping and (reason := self._limit()):
            self._stop(reason)
        self._drop_late(now)

    def _limit(self) -> str:
        written = self.before.bytes + self.book.tally.bytes
        coming = round(self.pace.largest_bytes * (len(self.pace.running) + 1))
        return self.limits.reached(self.elapsed_s, written) or too_little_room(self.disks, coming)

    def _stop(self, reason: str) -> None:
        """Give no more work; what is under way is finished."""
        self.stopping = reason
        for number in self.engine.take_back():
            self.queue.put_back(number)
        count, left = len(self.queue.given), self.pace.left_of_running(self.clock())
        self.events.write("stopping", why=reason, running=count, seconds_left=None if left is None else round(left, 1))
        self.telling.say(f"  stopping: {reason}")
        if count:
            time = "how long is not known" if left is None else f"about {duration(left)}"
            self.telling.say(
                f"  {count} under way are finished first ({time}); Ctrl-C {self._once_more()} ends them now"
            )

    def _once_more(self) -> str:
        return "once more" if self.stops.count else "twice"

    def _drop_late(self, now: float) -> None:
        if self.limits.seconds_per_unit is None:
            return
        for number, running in list(self.pace.running.items()):
            limit_s = self._limit_of(self.queue.given[number])
            if now - running.began > limit_s and number not in self._dropped:
                self._dropped.add(number)
                self.events.write("work_dropped", work=number, seconds=round(now - running.began, 3), limit_s=limit_s)
                self.engine.drop(number)

    def _limit_of(self, task: Task) -> float:
        assert self.limits.seconds_per_unit is not None
        return self.limits.seconds_per_unit * len(task.work.units)

    def _feed(self) -> None:
        """Give as many works as the engine takes."""
        room = 0 if self.stopping or self.stops.count else self.engine.free
        while room > 0 and (task := self.queue.take(self.clock())) is not None:
            self.engine.give(task.work, frozenset(task.settled))
            room -= 1

    def _heed(self, happening: Happening) -> None:
        match happening:
            case Ready(worker=worker, seconds=seconds):
                self._up[worker] = self.clock()
                self._first_ready = self.clock() if self._first_ready is None else self._first_ready
                self.events.write("worker_ready", worker=worker, seconds=round(seconds, 3))
            case Began(worker=worker, work=work):
                task = self.queue.given[work]
                self.pace.began(work, self.clock())
                keys = [unit.key for unit in task.open]
                self.events.write("work_began", worker=worker, work=work, keys=keys, attempt=task.attempts)
            case Advanced():
                self._advanced(happening)
            case Ended():
                self._ended(happening)
            case Lost():
                self._lost(happening)

    def _advanced(self, happening: Advanced) -> None:
        work, now = happening.work, self.clock()
        self.pace.advanced(work, happening.chunk / max(happening.chunks, 1))
        if now - self._told.get(work, float("-inf")) >= ADVANCED_EVERY_S:
            self._told[work] = now
            self.events.write("work_advanced", **vars(happening))

    def _ended(self, happening: Ended) -> None:
        work, now = happening.work, self.clock()
        self._dropped.discard(work)
        self._told.pop(work, None)
        self._last_end[happening.worker] = now
        if disk_full(happening.outcomes):
            self._full(happening)
            return
        verdict = self.queue.ended(work, happening.outcomes, now)
        if verdict.again:
            self.pace.stopped(work)
        elif any(one.state == "done" for one in verdict.final):
            self.pace.ended(work, now)
        else:
            self.pace.given_up(work)
        self._settle(verdict, work, happening.worker)

    def _full(self, happening: Ended) -> None:
        """A full disk is no unit's fault: nothing has failed, and the work is done when there is space."""
        done = tuple(one for one in happening.outcomes if one.state == "done")
        message = next(one.message for one in happening.outcomes if one.state != "done")
        self.pace.stopped(happening.work)
        self.queue.put_back(happening.work, [one.key for one in done])
        self._settle(Verdict(final=done), happening.work, happening.worker)
        if not self.stopping:
            self._stop(message)

    def _lost(self, happening: Lost) -> None:
        work, now = happening.work, self.clock()
        self._spent += self._time_of(happening.worker)
        self._up.pop(happening.worker, None)
        self.book.tally.lost += 1
        self.events.write("worker_lost", **vars(happening))
        if work is None or work not in self.queue.given:
            return
        self._told.pop(work, None)
        if self._saved(work, happening.worker):
            return
        self.pace.stopped(work)
        if work in self._dropped:
            self._dropped.discard(work)
            verdict = self.queue.late(work, self._limit_of(self.queue.given[work]))
        elif self.stopping:  # a scheduler that ends a job ends its workers, too
            self.queue.put_back(work)
            return
        else:
            verdict = self.queue.lost(work, happening.why, now)
            self._count_bad(happening.why)
        if not verdict.again:
            self.pace.given_up(work)
        self._settle(verdict, work, happening.worker)

    def _saved(self, work: int, worker: str) -> bool:
        """Whether a lost worker had stored all of its work; what it did store is noted."""
        task = self.queue.given[work]
        done = self.book.stored(task.open, worker)
        self._settle(Verdict(final=done, attempt=task.attempts), work, worker)
        if not self.queue.settled(work, [one.key for one in done]):
            return False
        self.pace.ended(work, self.clock())
        self._dropped.discard(work)
        return True

    def _settle(self, verdict: Verdict, work: int, worker: str) -> None:
        """Note what follows from a try; when all goes wrong, what all share is broken, and a night of failures helps nobody."""
        trouble = self.book.enter(verdict, work, worker)
        if trouble and not self.stopping:
            self._stop(trouble)
        if any(one.state == "done" for one in verdict.final):
            self._bad = 0
        for outcome in verdict.final:
            if outcome.again:
                self._count_bad(outcome.message)

    def _count_bad(self, why: str) -> None:
        self._bad += 1
        if self._bad >= max(IN_A_ROW, 3 * self.workers) and not self.stopping:
            self._stop(f"{self._bad} tries in a row failed for causes outside the units; the last one: {why}")
