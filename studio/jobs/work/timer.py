"""Where the time of a unit goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PARTS = ("load", "read", "model", "plan", "score", "write", "store")


@dataclass(eq=False)
class Timer:
    """Seconds by part of the work, of PARTS."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add what the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - started)

    def add(self, part: str, seconds: float) -> None:
        """Add to a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def shared(self, units: int) -> "Timer":
        """What each of several units answers for of what was done for all of them."""
        return Timer({part: seconds / units for part, seconds in self.seconds.items()})
