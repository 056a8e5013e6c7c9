"""One worker as an engine sees it, and what it is made of where it runs."""

from collections.abc import Callable
from typing import Protocol

from studio.jobs.engines.engine import WorkerPlan
from studio.jobs.units import Outcome, Work

OnChunk = Callable[[int, int], None]
NO_UNITS: frozenset[str] = frozenset()


class Does(Protocol):
    """What does works, in the process or actor of a worker: `studio.jobs.work.working.Worker`, or a test's own."""

    def do(self, work: Work, skip: frozenset[str] = NO_UNITS, on_chunk: OnChunk = ...) -> tuple[Outcome, ...]:
        """One outcome for each unit of the work whose key is not in `skip`."""

    def close(self) -> None:
        """End what it has started; there is no more work."""


MakeWorker = Callable[[WorkerPlan, str], Does]  # by plan and name; pickled by reference


class Gone(Exception):
    """A worker has died, been killed or cannot be reached; the message says what is known of it."""


class Hand(Protocol):
    """A worker that was started; one thread calls it, but `kill` may come from any."""

    def arrive(self) -> None:
        """Wait until its model is loaded.

        Raises:
            Gone: if that cannot be.
        """

    def check(self) -> None:
        """Quick look before it is given a work.

        Raises:
            Gone: if it has died while it was idle.
        """

    def do(self, work: Work, skip: frozenset[str], on_chunk: OnChunk) -> tuple[Outcome, ...]:
        """Have a work done.

        Raises:
            Gone: if the worker is lost over it.
        """

    def end(self) -> None:
        """Let an idle worker end by itself, and wait for that a while."""

    def kill(self) -> None:
        """End it at once, whatever it does; harmless when repeated."""

    def release(self) -> None:
        """Close what is left of it, killed if it lives; the last call."""


def open_worker(plan: WorkerPlan, name: str) -> Does:
    """The worker that does real works; loads the model."""
    from studio.jobs.work.working import Worker

    return Worker(plan, name)
