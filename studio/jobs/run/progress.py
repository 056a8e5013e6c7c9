"""How fast a batch goes and how long it will still take, in numbers and as one line."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from studio.jobs.plan.costs import cost_of, shape_of
from studio.jobs.units import Setup, Work

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a driver stands.

    Attributes:
        total: Units of its shard.
        kept: Of these, done before this run.
        done, failed: In this run.
        failed_before: In earlier runs, and not tried again.
        running: Works under way.
        waiting: Works that nobody has begun.
        workers: That are up.
        lost: Workers that were lost.
        again: Tries that failed and are made again.
        elapsed_s: Since this run began.
        working_s: Since the first worker was up.
        imagined_s: Seconds of futures made in this run.
        left_s: Seconds left; None while unknown.
    """

    total: int
    kept: int = 0
    done: int = 0
    failed: int = 0
    failed_before: int = 0
    running: int = 0
    waiting: int = 0
    workers: int = 0
    lost: int = 0
    again: int = 0
    elapsed_s: float = 0.0
    working_s: float = 0.0
    imagined_s: float = 0.0
    left_s: float | None = None

    @property
    def over(self) -> int:
        """Units that need nothing more."""
        return self.kept + self.done + self.failed + self.failed_before

    def line(self) -> str:
        """For people: how many, how long still, how fast, and what went wrong."""
        left = "time left not known yet" if self.left_s is None else f"{self.left_s:.0f} s left"
        long = self.left_s is not None and self.left_s >= HOUR_S / 2
        parts = [f"  {self.over} of {self.total} units, {left}{f' ({duration(self.left_s)})' if long else ''}"]
        if self.done and self.working_s > 0:
            made = f"{self.imagined_s / self.working_s:.2g} s imagined per s"
            parts.append(f"{_speed(self.done, self.working_s)}, {made}")
        up = f"{self.running} under way with {counted(self.workers, 'worker')}"
        parts.append(up if self.workers else "no worker is up yet")
        bad = self.failed + self.failed_before
        parts += [f"{bad} failed"] if bad else []
        parts += [f"{self.again} tried again"] if self.again else []
        parts += [f"{counted(self.lost, 'worker')} lost"] if self.lost else []
        return " · ".join(parts)


def duration(seconds: float | None) -> str:
    """A time for people: '45 s', '12 min', '3 h 20 min'."""
    if seconds is None:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, what: str) -> str:
    """So many of something: '1 worker', '2 workers'."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _speed(units: int, seconds: float) -> str:
    rate = units / max(seconds, 1e-9)
    for unit, factor in (("s", 1.0), ("min", 60.0)):
        if rate * factor >= 1:
            return f"{rate * factor:.1f} units/{unit}"
    return f"{rate * HOUR_S:.1f} units/h"


@dataclass(eq=False, kw_only=True)
class Running:
    """A work under way.

    Attributes:
        cost: On paper, seconds.
        began: Monotonic seconds.
        share: Of its chunks that are made, 0 to 1.
    """

    cost: float
    began: float
    share: float = 0.0


class Pace:
    """Expects of each work what works like it took; of works unlike any so far, by what they cost on paper.

    Args:
        setup: Of the batch; decides the cost on paper.
        works: That are to be done.

    Attributes:
        running: Works under way, by number.
        largest_bytes: Size of the largest work's output on paper.
    """

    def __init__(self, setup: Setup, works: Iterable[Work]) -> None:
        self._setup, self._shape = setup, shape_of(setup.model)
        self.largest_bytes, self._costs = 0.0, {}
        for work in works:
            self._costs[work.number], size = self._cost(work)
            self.largest_bytes = max(self.largest_bytes, size)
        self._left = Counter(self._costs.values())
        self._seen: dict[float, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        self.running: dict[int, Running] = {}

    def _cost(self, work: Work) -> tuple[float, float]:
        """Seconds and bytes on paper."""
        filled = self._setup.batch / len(work.units)
        costs = [cost_of(unit.request, self._setup, self._shape, filled) for unit in work.units]
        return round(sum(cost.total_s for cost in costs), 3), sum(cost.total_bytes for cost in costs)

    def began(self, number: int, now: float) -> None:
        """A work is under way."""
        self.running[number] = Running(cost=self._costs[number], began=now)

    def advanced(self, number: int, share: float) -> None:
        """So much of it is done, 0 to 1."""
        if number in self.running:
            self.running[number].share = share

    def stopped(self, number: int) -> None:
        """It is under way no more, and not done."""
        self.running.pop(number, None)

    def ended(self, number: int, now: float) -> float | None:
        """A work is done; seconds it took, None if nobody saw it begin."""
        running = self.running.pop(number, None)
        self._left[self._costs[number]] -= 1
        if running is None:
            return None
        count, seconds = self._seen[running.cost]
        self._seen[running.cost] = (count + 1, seconds + now - running.began)
        return now - running.began

    def given_up(self, number: int) -> None:
        """A work will not be done."""
        self.running.pop(number, None)
        self._left[self._costs[number]] -= 1

    def left_of_running(self, now: float) -> float | None:
        """Seconds until all that is under way is done; None while unknown."""
        lefts = [self._left_of(one, now) for one in self.running.values()]
        known = [left for left in lefts if left is not None]
        return max(known, default=0.0) if len(known) == len(lefts) else None

    def left(self, now: float, workers: int) -> float | None:
        """Seconds until everything is done with so many workers; None while nothing is known."""
        total, running = 0.0, Counter(one.cost for one in self.running.values())
        for cost, count in self._left.items():
            expected = self._expected(cost)
            if expected is None:
                return None
            total += expected * max(0, count - running[cost])
        under_way = [self._left_of(one, now) or 0.0 for one in self.running.values()]
        return max([(total + sum(under_way)) / max(workers, 1), *under_way])

    def _left_of(self, one: Running, now: float) -> float | None:
        spent = now - one.began
        if one.share > 0:
            return spent * (1 - one.share) / one.share
        expected = self._expected(one.cost)
        return None if expected is None else max(0.0, expected - spent)

    def _expected(self, cost: float) -> float | None:
        count, seconds = self._seen.get(cost, (0, 0.0))
        if count:
            return seconds / count
        took = sum(seconds for _, seconds in self._seen.values())
        on_paper = sum(known * count for known, (count, _) in self._seen.items())
        return took / on_paper * cost if on_paper > 0 else None
