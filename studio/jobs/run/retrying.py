"""Which works wait, which are under way, and which are tried again after how long a wait."""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.jobs.units import Outcome, Unit, Work

MOST_DEATHS = 2  # workers that a work may cost, however many tries it has


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When a failure that may pass is tried again.

    Attributes:
        attempts: Tries in all.
        wait_s: Before the second try.
        factor: Of every further wait.
        longest_wait_s: No wait is longer.
    """

    attempts: int = 3
    wait_s: float = 1.0
    factor: float = 2.0
    longest_wait_s: float = 60.0

    @staticmethod
    def of(job: Mapping[str, Any]) -> "RetryPolicy":
        """The policy that a job asks for under 'retry'."""
        asked = {name: value for name, value in dict(job.get("retry") or {}).items() if value is not None}
        return RetryPolicy(**{name: asked[name] for name in RetryPolicy.__dataclass_fields__ if name in asked})

    def wait_before(self, attempt: int) -> float:
        """Seconds before try number `attempt`, counted from 1; growing, bounded."""
        if attempt < 2:
            return 0.0
        return min(self.longest_wait_s, self.wait_s * self.factor ** min(attempt - 2, 60))


@dataclass(eq=False, kw_only=True)
class Task:
    """A work on its way.

    Attributes:
        work: What is to be done.
        settled: Keys of its units that are done or have failed for good.
        attempts: Tries so far, the present one counted.
        deaths: Workers that were lost at it.
    """

    work: Work
    settled: set[str] = field(default_factory=set)
    attempts: int = 0
    deaths: int = 0

    @property
    def open(self) -> tuple[Unit, ...]:
        """Units that are still to be done."""
        return tuple(unit for unit in self.work.units if unit.key not in self.settled)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What follows from a try.

    Attributes:
        final: Outcomes that stand.
        again: Failures that are tried again.
        attempt: Which try it was.
        wait_s: Before the next one.
    """

    final: tuple[Outcome, ...] = ()
    again: tuple[Outcome, ...] = ()
    attempt: int = 1
    wait_s: float = 0.0


class WorkQueue:
    """The works of a driver: waiting, under way, or over. Times are monotonic seconds, given by the caller.

    Args:
        works: In order.
        settled: Keys of units that need not be done.
        policy: When failures are tried again.
    """

    def __init__(self, works: Iterable[Work], settled: frozenset[str], policy: RetryPolicy) -> None:
        self._policy = policy
        tasks = (Task(work=work, settled={u.key for u in work.units if u.key in settled}) for work in works)
        self._ready = deque(task for task in tasks if task.open)
        self._later: list[tuple[float, int, Task]] = []
        self.given: dict[int, Task] = {}

    def __len__(self) -> int:
        """Works that wait or are under way."""
        return len(self._ready) + len(self._later) + len(self.given)

    @property
    def waiting(self) -> int:
        """Works that nobody has been given."""
        return len(self._ready) + len(self._later)

    def tasks(self) -> list[Task]:
        """All that is not over."""
        return [*self.given.values(), *self._ready, *(task for _, _, task in self._later)]

    def take(self, now: float) -> Task | None:
        """The next one to give to an engine; None if none waits, or all wait for their time."""
        if self._later and self._later[0][0] <= now:
            task = heapq.heappop(self._later)[2]
        elif self._ready:
            task = self._ready.popleft()
        else:
            return None
        task.attempts += 1
        self.given[task.work.number] = task
        return task

    def put_back(self, number: int, done: Iterable[str] = ()) -> None:
        """A work that was not done through no fault of its own is the next one, and no try is counted.

        Args:
            number: Of the work.
            done: Keys of its units that are done all the same.
        """
        task = self.given.pop(number)
        task.settled.update(done)
        task.attempts -= 1
        if task.open:
            self._ready.appendleft(task)

    def settled(self, number: int, keys: Iterable[str]) -> bool:
        """These units of a work under way are done; whether that was all of it."""
        task = self.given[number]
        task.settled.update(keys)
        if not task.open:
            del self.given[number]
        return not task.open

    def ended(self, number: int, outcomes: Sequence[Outcome], now: float) -> Verdict:
        """A try is over: what stands, and what is tried again later."""
        task = self.given.pop(number)
        last = task.attempts >= self._policy.attempts
        again = tuple(one for one in outcomes if one.state != "done" and one.again and not last)
        final = tuple(one for one in outcomes if one not in again)
        task.settled.update(one.key for one in final)
        return self._once_more(task, final, again, now)

    def lost(self, number: int, why: str, now: float) -> Verdict:
        """The worker that was at it is gone; the second time, its units have failed."""
        task = self.given.pop(number)
        task.deaths += 1
        message = (
            f"the worker that was at this unit was lost ({why}), {_times(task.deaths)}. A unit needs a worker that lives; "
            "give workers more memory, and try it again with: detour jobs retry OUT."
        )
        last = task.deaths >= MOST_DEATHS or task.attempts >= self._policy.attempts
        outcomes = _failures(task, "WorkerLost", message, again=not last)
        if last:
            task.settled.update(one.key for one in outcomes)
            return Verdict(final=outcomes, attempt=task.attempts)
        return self._once_more(task, (), outcomes, now)

    def late(self, number: int, limit_s: float) -> Verdict:
        """It took longer than it may, and was ended."""
        task = self.given.pop(number)
        message = (
            f"it took longer than {limit_s:g} s and was ended. Units must be faster; raise 'limits: seconds_per_unit' in the "
            "job file and try it again with: detour jobs retry OUT."
        )
        outcomes = _failures(task, "TimedOut", message, again=False)
        task.settled.update(one.key for one in outcomes)
        return Verdict(final=outcomes, attempt=task.attempts)

    def _once_more(self, task: Task, final: tuple[Outcome, ...], again: tuple[Outcome, ...], now: float) -> Verdict:
        wait_s = self._policy.wait_before(task.attempts + 1) if task.open else 0.0
        if task.open:
            heapq.heappush(self._later, (now + wait_s, task.work.number, task))
        return Verdict(final=final, again=again, attempt=task.attempts, wait_s=wait_s)


def _failures(task: Task, kind: str, message: str, *, again: bool) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(key=unit.key, number=unit.number, state="failed", kind=kind, message=message, again=again)
        for unit in task.open
    )


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"
