"""What a driver needs of an engine, and what an engine reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studio.jobs.units import Outcome, Setup, Work


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """All that a worker must know before its first work.

    Attributes:
        setup: Model, batch shape, threads, device.
        out: Address of the batch's folder; workers store finished units there themselves.
        scratch: Local folder for what is not finished; '' for the system's.
        cache: Local folder for clips that lie elsewhere; '' for a folder in `scratch`.
        options: Of the storage, such as `{"endpoint_url": ...}`; plain data.
    """

    setup: Setup
    out: str
    scratch: str = ""
    cache: str = ""
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker has come up, and how long that took."""

    worker: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Began:
    """A worker has begun a work."""

    worker: str
    work: int


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """A worker has made one more chunk of a work."""

    worker: str
    work: int
    chunk: int
    chunks: int


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A work is over; one outcome for each of its units that was to be done."""

    worker: str
    work: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker has died, been killed or cannot be reached; the engine starts another one by itself.

    Attributes:
        work: What it was at; None when it was idle.
        why: As far as known, such as 'killed by signal 9'.
    """

    worker: str
    work: int | None
    why: str


Happening = Ready | Began | Advanced | Ended | Lost


class Engine(Protocol):
    """Does works on several workers. One thread, the driver's, calls it."""

    @property
    def free(self) -> int:
        """How many more works it takes now without letting them wait long: idle workers, and one ahead of each."""

    def give(self, work: Work, skip: frozenset[str] = frozenset()) -> None:
        """Have a work done, except for the units with these keys, whose output is there."""

    def next(self, patience_s: float) -> Happening | None:
        """What happened, in order; None if nothing did for so many seconds.

        Raises:
            DetourError: if no worker can be started at all; the message says why.
        """

    def drop(self, work: int) -> None:
        """End the worker that is at this work, which takes too long; reported as Lost."""

    def take_back(self) -> tuple[int, ...]:
        """Works that were given but not begun; they will not be done. The others go on."""

    def close(self, *, now: bool = False) -> None:
        """End all workers: those at work when theirs is done, or at once. Nothing runs afterwards; harmless when repeated."""

    def facts(self) -> dict[str, Any]:
        """What it is, for records: name, workers, machines, versions."""
