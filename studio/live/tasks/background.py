"""Work of one call that tells of itself, watched from a generator: what it reports, that it still lives, what it gives."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Generic, TypeVar

Result = TypeVar("Result")
BEAT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where the work stands.

    Attributes:
        what: In words, such as 'Scoring clip'.
        done, count: Of its pieces; a count of 0 when unknown.
        seconds: Since this part began.
        left: Seconds that are left of this part; None when it cannot be told.
    """

    what: str
    done: int = 0
    count: int = 0
    seconds: float = 0.0
    left: float | None = None

    @property
    def share(self) -> float | None:
        """Done of all, 0 to 1; None when unknown."""
        return self.done / self.count if self.count else None

    def words(self) -> str:
        """For a status line, with the time that is left when it can be told."""
        place = f" {min(self.done + 1, self.count)} of {self.count}" if self.count else ""
        spent = f" · {self.seconds:.0f} s spent" if self.seconds >= 1 else ""
        left = f" · about {self.left:.0f} s left" if self.left is not None and self.left >= 1 else ""
        return f"{self.what}{place}{spent}{left}"


class Reporter:
    """What the work calls to say where it stands."""

    def __init__(self) -> None:
        self._step = Step(what="Starting")
        self._began = self._told = perf_counter()
        self.news: queue.Queue[None] = queue.Queue()

    def __call__(self, what: str, done: int = 0, count: int = 0) -> None:
        """Say what goes on and how much of it is done."""
        self._told = perf_counter()
        if what != self._step.what:
            self._began = self._told
        self._step = Step(what=what, done=done, count=count)
        self.news.put(None)

    def now(self) -> Step:
        """The newest report with the seconds since its part began."""
        step, now = self._step, perf_counter()
        left = None
        if step.done and step.count:
            left = (self._told - self._began) / step.done * (step.count - step.done) - (now - self._told)
        return replace(step, seconds=now - self._began, left=left)


class Outcome(Generic[Result]):
    """What the work gave or raised; `get` raises it again where it is called."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def fill(self, work: Callable[[], Result]) -> None:
        """Do the work and keep what comes of it."""
        try:
            self._results.append(work())
        except BaseException as error:
            self._error = error

    def get(self) -> Result:
        """The result."""
        if self._error is not None:
            raise self._error
        return self._results[0]


def steps_of(work: Callable[[Reporter], Result]) -> Generator[Step, None, Result]:
    """Do the work in a thread, yield where it stands at every report and each second, and return its result.

    Whatever the work raises is raised here. Who ends the generator early must make the work end, too.
    """
    reporter, outcome, ended = Reporter(), Outcome[Result](), threading.Event()

    def run() -> None:
        outcome.fill(lambda: work(reporter))
        ended.set()
        reporter.news.put(None)

    threading.Thread(target=run, name="work", daemon=True).start()
    while not ended.is_set():
        with contextlib.suppress(queue.Empty):
            reporter.news.get(timeout=BEAT_S)
        if not ended.is_set():
            yield reporter.now()
    return outcome.get()
