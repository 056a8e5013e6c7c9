"""A worker: one loaded model that does works, one after the other, and stores what comes out.

What it makes of a unit depends on nothing but the unit and what all units share: neither on the worker, nor on what it
did before, nor on what others do.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from torch import OutOfMemoryError

from studio.demo import wish_of
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.disk import FULL
from studio.jobs.plan.clips import fetched, options_for
from studio.jobs.units import Outcome, Unit, Work
from studio.jobs.work.clip_reader import ClipReader
from studio.jobs.work.group_run import GroupRun
from studio.jobs.work.installation import check_installation, check_planner
from studio.jobs.work.outputs import Result, peak_bytes
from studio.jobs.work.pasts import KeptPast
from studio.jobs.work.questions import group_of
from studio.jobs.work.timer import Timer
from studio.jobs.work.unit_plans import KeptPlans
from studio.moments import Wish
from studio.planners import make_planner
from worldmodel.errors import Busy, DetourError, DiskFull, PolicyError, Unreachable
from worldmodel.model import WorldModel

if TYPE_CHECKING:
    from policy.planner import Planner
    from studio.jobs.engines.engine import WorkerPlan

OnChunk = Callable[[int, int], None]
PASSING = (Busy, DiskFull, PolicyError, Unreachable)  # another try may go well
LIBRARIES = ("av", "decord", "pyarrow.dataset", "pyarrow.parquet", "PIL.ImageFont")  # for clips and outputs


class Worker:
    """One loaded model.

    Attributes:
        name: Of this worker, for records.
        model: That it has loaded.
        reader: Through which clips are read.
        load_s: How long it took to come up.
    """

    def __init__(self, plan: "WorkerPlan", name: str) -> None:
        """Bound the threads, load the model and open the batch's folder.

        Args:
            plan: What all units share, and where to store.
            name: Of this worker, for records.
        Raises:
            DetourError: if the model or the folder cannot be used here, or the model, the sources or the libraries are not
                those that the batch was planned with.
        """
        started = time.perf_counter()
        self.name, self._setup, self._scratch = name, plan.setup, plan.scratch or None
        bound_threads(plan.setup.threads)
        check_installation(plan.setup)
        _load_libraries()
        self._folder = BatchFolder.open(plan.out, plan.options)
        self.model = WorldModel.from_pretrained(plan.setup.model, plan.setup.device)
        self.reader = ClipReader(partial(_local, plan))
        self._past, self._plans = KeptPast(), KeptPlans()
        self._planners: dict[tuple[str, int], Planner] = {}
        self.load_s = self._load_untold_s = time.perf_counter() - started

    def do(
        self, work: Work, skip: frozenset[str] = frozenset(), on_chunk: OnChunk | None = None
    ) -> tuple[Outcome, ...]:
        """Do a work: imagine, plan, score and store; one outcome per unit that is not skipped.

        Args:
            work: Its units go through the network together, whichever are skipped.
            skip: Keys of units whose output is there already.
            on_chunk: Called with the chunks that there are by now, and will be.
        """
        wanted = tuple(unit for unit in work.units if unit.key not in skip)
        if not wanted:
            return ()
        timer = Timer({"load": self._load_untold_s} if self._load_untold_s else {})
        self._load_untold_s = 0.0
        try:
            with TemporaryDirectory(prefix="work-", dir=self._scratch) as scratch:
                return self._done(work, wanted, Path(scratch), timer, on_chunk or _quiet)
        except (DetourError, OSError, MemoryError, OutOfMemoryError) as error:
            return tuple(self._failed(unit, error, timer.shared(len(wanted))) for unit in wanted)

    def wish(self, seconds: float) -> Wish:
        """How much is read around a moment for a horizon: as `detour imagine` does."""
        return wish_of(self.model, seconds)

    def close(self) -> None:
        """End what planners of a user's own have started; harmless when repeated."""
        for planner in self._planners.values():
            close = getattr(planner, "close", None)
            if close is not None:
                close()
        self._planners.clear()

    def _done(
        self, work: Work, wanted: Sequence[Unit], scratch: Path, timer: Timer, on_chunk: OnChunk
    ) -> tuple[Outcome, ...]:
        request = work.units[0].request
        with timer.measure("read"):
            group = group_of(work, self.reader, self.model, self.wish(request.seconds))
        run = GroupRun(
            model=self.model,
            group=group,
            wanted=frozenset(unit.key for unit in wanted),
            batch=self._setup.batch,
            scratch=scratch,
            partial=self._folder.partial(partial_key(work)),
            past=self._past,
            plans=self._plans,
            planner=self._planner,
            timer=timer,
            on_chunk=on_chunk,
        )
        results, chunks = run.results()
        return tuple(self._stored(result, folder, timer, len(results), chunks) for result, folder in results)

    def _stored(self, result: Result, folder: Path, timer: Timer, units: int, chunks: int) -> Outcome:
        """Hand a finished unit to the batch's folder."""
        unit, own = result.unit, timer.shared(units)
        try:
            with own.measure("store"):
                files = self._folder.store(unit, folder, result.record(self._setup, own.seconds))
        except (DetourError, OSError) as error:
            return self._failed(unit, error, own)
        return Outcome(
            key=unit.key,
            number=unit.number,
            state="done",
            timings_s=own.seconds,
            peak_bytes=peak_bytes(),
            files=files,
            scores=dict(result.scores),
            warnings=tuple(result.warnings),
            worker=self.name,
            chunks=chunks,
        )

    def _failed(self, unit: Unit, error: Exception, timer: Timer) -> Outcome:
        ours = isinstance(error, DetourError)
        return Outcome(
            key=unit.key,
            number=unit.number,
            state="failed",
            kind=DiskFull.__name__ if getattr(error, "errno", None) in FULL else type(error).__name__,
            message=str(error) if ours else _in_words(error),
            again=not ours or isinstance(error, PASSING),
            timings_s=timer.seconds,
            peak_bytes=peak_bytes(),
            worker=self.name,
        )

    def _planner(self, name: str, samples: int) -> "Planner":
        if (name, samples) not in self._planners:
            check_planner(name, self._setup)
            self._planners[name, samples] = make_planner(name, self.model, samples)
        return self._planners[name, samples]


def bound_threads(threads: int) -> None:
    """Let this process compute on so many threads; their number decides the last bits of results, so it is fixed."""
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # something ran side by side already; no operation of ours does
            torch.set_num_interop_threads(1)


def _load_libraries() -> None:
    """What the first unit would load otherwise, which would look slow."""
    for name in LIBRARIES:
        if find_spec(name.partition(".")[0]) is not None:
            import_module(name)


def partial_key(work: Work) -> str:
    """Under which name the finished segments of a work are kept: its last unit's, for they go when that is stored."""
    return work.units[-1].key


def _local(plan: "WorkerPlan", address: str) -> Path:
    """The folder of a dataset; what lies elsewhere is fetched once."""
    return fetched(address, plan.cache, options_for(address, plan.out, plan.options))


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the worker's disk refused: {error}. It needs a scratch folder with free space. Free some, or name another."
    return f"the worker ran out of memory: {str(error)[:200]}. Use fewer workers, a smaller batch or a larger machine."


def _quiet(chunk: int, chunks: int) -> None:
    """Tell nobody."""
    del chunk, chunks
