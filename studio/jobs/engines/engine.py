"""What a driver needs of an engine, and what an engine reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from studio.jobs.units import Outcome, Setup, Work
from worldmodel.errors import BadRequest, UnknownName

NAMES = ("local", "ray")
MOST_WORKERS = 4096


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """Which engine, and how large; checked when made.

    Attributes:
        name: Of NAMES.
        workers: Side by side; each has a model of its own.
        address: Of a Ray cluster that runs already, 'auto' or HOST:PORT; '' starts one on this machine.
        gpus_per_worker: Of 'ray' on GPUs; a fraction lets workers share one.
    """

    name: str = "local"
    workers: int = 1
    address: str = ""
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UnknownName("engine", self.name, NAMES)
        if not 1 <= self.workers <= MOST_WORKERS:
            raise BadRequest(
                f"{self.workers} workers are wanted; it must be 1 to {MOST_WORKERS}. Choose as many as there are cores or GPUs."
            )
        if not 0 <= self.gpus_per_worker <= 16:
            raise BadRequest(
                f"{self.gpus_per_worker:g} GPUs per worker are wanted; it must be 0 to 16. 0.5 lets two share one."
            )
        if self.name == "local" and self.address:
            raise BadRequest(
                "an address was given, and the local engine uses this machine alone. Use --engine ray, or leave it out."
            )


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """All that a worker must know before its first work.

    Attributes:
        setup: Model, batch shape, threads, device.
        out: Address of the batch's folder; workers store finished units there themselves.
        scratch: Local folder for what is not finished; '' for the system's.
        cache: Local folder for copies of clips that lie elsewhere; '' for the user's cache folder.
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
