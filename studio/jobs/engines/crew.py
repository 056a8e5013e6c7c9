"""What local processes and Ray's actors share: works handed out, lost workers replaced, happenings in order.

A thread per worker waits for it and hands it the next work at once, so that a busy driver keeps nobody waiting. Works that are given
ahead stay here until a worker is free; so they can be taken back, and none is lost with a worker.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import NamedTuple

from studio.jobs.engines.engine import Advanced, Began, Ended, Happening, Lost, Ready
from studio.jobs.engines.hands import NO_UNITS, Gone, Hand
from studio.jobs.units import Work
from worldmodel.errors import DetourError

STARTS = 3  # of each worker that may fail in a row before the engine gives up
LONGEST_PAUSE_S = 60.0


class Task(NamedTuple):
    """A work, and the keys of its units that are done already."""

    work: Work
    skip: frozenset[str]


@dataclass(eq=False)
class Desk:
    """A worker's place: who sits there now, what it is at, and how often its worker was lost for nothing."""

    number: int
    lives: int = 0
    hand: Hand | None = None
    task: Task | None = None
    up: bool = False
    dropped: int | None = None  # the work over which it was ended
    barren: int = 0  # losses since the last work that was finished
    failed: int = 0  # starts in a row that failed
    left: bool = False

    def pause_s(self, first_s: float) -> float:
        """Before the next worker: none after a single loss, then twice as long each time."""
        return 0.0 if self.barren < 2 else min(LONGEST_PAUSE_S, first_s * 2.0 ** (self.barren - 2))


class Crew:
    """An engine whose workers `hire` starts; see `studio.jobs.engines.engine.Engine`.

    Args:
        hire: Starts the worker of a place, given the place's number from 0 and a name; raises Gone if it cannot.
        title: Of the engine; workers are called after it.
        workers: How many.
        pause_s: Before the second replacement in a row of a worker that did nothing; then twice as long each time.
    """

    def __init__(self, hire: Callable[[int, str], Hand], title: str, workers: int, pause_s: float = 1.0) -> None:
        self._hire, self._title, self._pause_s = hire, title, pause_s
        self.workers = workers
        self._news: SimpleQueue[Happening] = SimpleQueue()
        self._waiting: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._why = ""
        self._desks = tuple(Desk(number) for number in range(workers))
        self._threads = [
            threading.Thread(target=self._tend, args=(desk,), name=f"{title}-{desk.number + 1}", daemon=True)
            for desk in self._desks
        ]
        for thread in self._threads:
            thread.start()

    @property
    def free(self) -> int:
        """How many more works it takes now: one for each worker, and one ahead of each."""
        with self._changed:
            busy = sum(desk.task is not None for desk in self._desks)
            return max(0, 2 * len(self._desks) - busy - len(self._waiting))

    def give(self, work: Work, skip: frozenset[str] = NO_UNITS) -> None:
        """Have a work done, except for the units with these keys."""
        with self._changed:
            self._waiting.append(Task(work, skip))
            self._changed.notify_all()

    def next(self, patience_s: float) -> Happening | None:
        """What happened, in order; None if nothing did for so many seconds.

        Raises:
            DetourError: if no worker can be started at all.
        """
        try:
            return self._news.get(timeout=max(patience_s, 0.0)) if patience_s > 0 else self._news.get_nowait()
        except Empty:
            self._check_hope()
            return None

    def drop(self, work: int) -> None:
        """End the worker that is at this work; nothing happens if none is."""
        with self._changed:
            for desk in self._desks:
                if desk.task is not None and desk.task.work.number == work and desk.hand is not None:
                    desk.dropped = work
                    desk.hand.kill()

    def take_back(self) -> tuple[int, ...]:
        """Works that were given but not begun; they will not be done."""
        with self._changed:
            numbers = tuple(task.work.number for task in self._waiting)
            self._waiting.clear()
        return numbers

    def close(self, *, now: bool = False) -> None:
        """End all workers: those at work when theirs is done, or at once."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            for desk in self._desks:
                if desk.hand is not None and (now or not desk.up):
                    desk.hand.kill()  # those that still load would take long
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _check_hope(self) -> None:
        with self._changed:
            hopeless = not self._closing and all(desk.left or desk.failed >= STARTS for desk in self._desks)
            why = self._why
        if hopeless:
            raise DetourError(
                f"no {self._title} worker can be started; the last one said: {why.rstrip('. ') or 'nothing'}. Workers need the model, "
                "the packages and enough memory. Mend that, or use fewer workers, and run the same command again."
            )

    def _tend(self, desk: Desk) -> None:
        """A worker's life after another, until the engine is closed."""
        try:
            while self._rest(desk.pause_s(self._pause_s)):
                self._live(desk)
        finally:
            with self._changed:
                desk.left = True

    def _rest(self, seconds: float) -> bool:
        """Whether to go on after so long."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closing, timeout=seconds)

    def _live(self, desk: Desk) -> None:
        desk.lives += 1
        name = f"{self._title}-{desk.number + 1}" + (f".{desk.lives}" if desk.lives > 1 else "")
        try:
            hand = self._start(desk, name)
            while hand is not None and (task := self._take(desk)) is not None:
                self._check(desk, hand, task)
                self._do(desk, hand, name, task)
            if hand is not None:
                hand.end()
        except Gone as gone:
            self._lose(desk, name, str(gone))
        finally:
            self._clear(desk, name)

    def _start(self, desk: Desk, name: str) -> Hand | None:
        """A worker that is up; None if the engine is closed meanwhile."""
        began = time.monotonic()
        hand = self._hire(desk.number, name)
        with self._changed:
            desk.hand, desk.dropped = hand, None
            closing = self._closing
        if closing:
            return None
        hand.arrive()
        with self._changed:
            desk.up, desk.failed = True, 0
            self._news.put(Ready(worker=name, seconds=time.monotonic() - began))
        return hand

    def _take(self, desk: Desk) -> Task | None:
        """The next work; None when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._waiting)
            desk.task = None if self._closing else self._waiting.popleft()
            return desk.task

    def _check(self, desk: Desk, hand: Hand, task: Task) -> None:
        """A worker that died while it was idle does not take a work with it."""
        try:
            hand.check()
        except Gone:
            with self._changed:
                desk.task = None
                if not self._closing:
                    self._waiting.appendleft(task)
            raise

    def _do(self, desk: Desk, hand: Hand, name: str, task: Task) -> None:
        number = task.work.number
        self._news.put(Began(worker=name, work=number))
        outcomes = hand.do(task.work, task.skip, lambda chunk, chunks: self._advance(name, number, chunk, chunks))
        with self._changed:
            desk.task, desk.barren = None, 0
            self._news.put(Ended(worker=name, work=number, outcomes=outcomes))

    def _advance(self, name: str, number: int, chunk: int, chunks: int) -> None:
        self._news.put(Advanced(worker=name, work=number, chunk=chunk, chunks=chunks))

    def _lose(self, desk: Desk, name: str, why: str) -> None:
        """Report a lost worker, unless it was ended because the engine is closed."""
        with self._changed:
            work = None if desk.task is None else desk.task.work.number
            desk.task = None
            desk.barren += 1
            desk.failed += not desk.up
            self._why = why
            if work is not None and work == desk.dropped:
                why = "it took too long and was ended"
            if work is not None or not self._closing:
                self._news.put(Lost(worker=name, work=work, why=why))

    def _clear(self, desk: Desk, name: str) -> None:
        """Nobody sits there any more."""
        with self._changed:
            hand, task = desk.hand, desk.task
            desk.hand, desk.task, desk.up = None, None, False
            if task is not None:  # an error of ours is on its way
                self._news.put(Lost(worker=name, work=task.work.number, why="the engine failed"))
        if hand is not None:
            hand.release()
