"""What one run of a driver has seen, added up."""

import bisect
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.jobs.unit_words import unit_words
from studio.jobs.units import Outcome, Unit

MOST_NAMED = 10
MOST_WARNINGS = 50  # that differ
BOUNDS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A unit to look at.

    Attributes:
        key, number: Of the unit.
        what: Clip, moment, seed and text.
        seconds: That it took.
        kind, message: Why it failed; '' for a slow one.
    """

    key: str
    number: int
    what: str
    seconds: float = 0.0
    kind: str = ""
    message: str = ""


@dataclass(eq=False)
class Tally:
    """Counts of one run; grows by nothing but bounded lists, however many units there are."""

    done: int = 0
    failed: int = 0
    again: int = 0
    lost: int = 0
    bytes: int = 0
    peak_bytes: int = 0
    chunks: int = 0
    imagined_s: float = 0.0
    unit_s: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    timings_s: dict[str, float] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    failures: list[Named] = field(default_factory=list)
    _slowest: list[tuple[float, int, Unit]] = field(default_factory=list)

    def add(self, outcome: Outcome, unit: Unit) -> None:
        """A unit is over."""
        seconds = seconds_of(outcome.timings_s)
        for part, value in outcome.timings_s.items():
            self.timings_s[part] = self.timings_s.get(part, 0.0) + value
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)
        self.chunks += outcome.chunks
        if outcome.state == "done":
            self._add_done(outcome, unit, seconds)
            return
        self.failed += 1
        self.kinds[outcome.kind] += 1
        if len(self.failures) < MOST_NAMED:
            self.failures.append(_named(unit, seconds, outcome.kind, outcome.message))

    def _add_done(self, outcome: Outcome, unit: Unit, seconds: float) -> None:
        self.done += 1
        self.bytes += outcome.bytes
        self.imagined_s += unit.request.seconds
        self.unit_s += seconds
        self.warnings.update(
            text for text in outcome.warnings if text in self.warnings or len(self.warnings) < MOST_WARNINGS
        )
        self.buckets[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        heapq.heappush(self._slowest, (seconds, -unit.number, unit))
        if len(self._slowest) > MOST_NAMED:
            heapq.heappop(self._slowest)

    @property
    def slowest(self) -> list[Named]:
        """Units that took longest, the slowest first."""
        ordered = sorted(self._slowest, key=lambda one: one[:2], reverse=True)
        return [_named(unit, seconds) for seconds, _, unit in ordered]


def seconds_of(timings_s: Mapping[str, float]) -> float:
    """All parts of a unit; loading the model is not its own."""
    return sum(value for part, value in timings_s.items() if part != "load")


def _named(unit: Unit, seconds: float, kind: str = "", message: str = "") -> Named:
    return Named(
        key=unit.key,
        number=unit.number,
        what=unit_words(unit.request),
        seconds=round(seconds, 3),
        kind=kind,
        message=message,
    )


def rows_of(named: Sequence[Named]) -> list[dict[str, Any]]:
    """As plain data."""
    return [vars(one) for one in named]
