"""`detour jobs plan`: what a batch expands to, and the time, memory and bytes it will take, with where the numbers come from."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from studio.jobs.plan.costs import (
    LOAD_S,
    PARTS,
    WORKER_BYTES,
    Correction,
    Cost,
    ModelShape,
    Sample,
    correction_of,
    cost_of,
    remembered_bytes,
    shape_of,
)
from studio.jobs.plan.estimate_words import lines_of, warnings_of
from studio.jobs.units import Batch, Unit, UnitRequest

if TYPE_CHECKING:
    from studio.jobs.folder.batch_folder import BatchFolder

ENOUGH = 3  # units of a folder that are believed rather than a measurement
SOURCES = {
    "folder": "corrected by {units} units that this folder holds",
    "measured": "corrected by a short measurement on this machine, just now",
    "reference": "reference numbers of one thread of a two-core machine; yours may take half or twice as long",
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a batch will take.

    Attributes:
        units, done, works: Of the batch; how many units are there already, and works that are not.
        expansion: How many different values each thing takes, such as moments, texts and seeds.
        frames, horizon_s: Imagined frames of all units to be done, and seconds of the longest.
        workers, together: Asked for, and how many really work at once on this machine.
        source: 'folder', 'measured' or 'reference': where the numbers come from; `basis` says so in words.
        wall_s, low_s, high_s: From start to end with these workers, and what is likely.
        core_hours: Threads times busy time.
        parts_s: Seconds of all workers, by part.
        longest_s: Of the longest work; more workers do not make the batch faster than this.
        bytes: Of the output to come, by kind of file.
        worker_bytes, memory_bytes: Resident, of a worker and of all of them.
        warnings: What to know before starting.
    """

    units: int
    done: int
    works: int
    expansion: Mapping[str, int]
    frames: int
    horizon_s: float
    workers: int
    together: int
    source: str
    basis: str
    wall_s: float
    low_s: float
    high_s: float
    core_hours: float
    parts_s: Mapping[str, float]
    longest_s: float
    bytes: Mapping[str, int]
    worker_bytes: int
    memory_bytes: int
    warnings: tuple[str, ...] = field(default=())

    @property
    def total_bytes(self) -> int:
        """Of all files to come."""
        return sum(self.bytes.values())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "total_bytes": self.total_bytes}

    def lines(self) -> tuple[str, ...]:
        """For people, a few lines."""
        return tuple(lines_of(self))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Basis:
    """What the numbers rest on: corrections, how long a worker takes to come up, and its memory."""

    source: str
    correction: Correction
    load_s: float = LOAD_S
    worker_bytes: int = WORKER_BYTES


def estimate(
    batch: Batch, workers: int = 1, folder: "BatchFolder | None" = None, measure: bool = False, *, local: bool = True
) -> Estimate:
    """What a batch will take on so many workers.

    Args:
        batch: Expanded.
        workers: Side by side.
        folder: Where the batch was begun: what is done there is not counted, and its timings are believed first.
        measure: Time two short units on this machine, which takes about half a minute.
        local: Whether all workers share this machine's cores.
    Raises:
        DetourError: if the measurement cannot be made; the message says why.
    """
    shape = shape_of(batch.setup.model)
    done, samples = _known(batch, folder)
    basis = _basis_of(batch, samples, shape, measure)
    costs = list(_costs(batch, basis.correction, shape, done))
    together = _together(batch, workers, local)
    busy = sum(cost.total_s for _, cost in costs)
    works = _works_s(costs)
    wall = _makespan(works, together) + (basis.load_s if works else 0.0)
    low, high = basis.correction.spread
    todo = [unit for unit in batch.units if unit.key not in done]
    remembered = 0 if basis.source == "folder" else _remembered(todo, batch, shape)  # seen there already
    worker_bytes = basis.worker_bytes + remembered
    found = Estimate(
        units=len(batch.units),
        done=len(batch.units) - len(todo),
        works=len(works),
        expansion=expansion_of(batch.units),
        frames=sum(math.ceil(unit.request.seconds * shape.frequency_hz) for unit in todo),
        horizon_s=max((unit.request.seconds for unit in todo), default=0.0),
        workers=workers,
        together=together,
        source=basis.source,
        basis=SOURCES[basis.source].format(units=basis.correction.units),
        wall_s=wall,
        low_s=wall * low,
        high_s=wall * high,
        core_hours=(busy + basis.load_s * workers * bool(works)) * batch.setup.threads / 3600,
        parts_s=_summed(costs, basis.load_s * workers * bool(works)),
        longest_s=max(works.values(), default=0.0),
        bytes=_bytes(costs),
        worker_bytes=worker_bytes,
        memory_bytes=worker_bytes * workers,
    )
    return replace(found, warnings=tuple(warnings_of(found, batch, folder, shape, local)))


def _remembered(units: Sequence[Unit], batch: Batch, shape: ModelShape) -> int:
    """What the longest memory adds to a worker; nothing where all are bounded."""
    return round(max((remembered_bytes(unit.request, batch.setup, shape) for unit in units), default=0.0))


def expansion_of(units: Sequence[Unit]) -> dict[str, int]:
    """How many different values each thing takes, in the order of `UnitRequest`."""
    asks = [unit.request for unit in units]
    values: dict[str, set[object]] = {
        "moments": {(ask.clip.digest, ask.clip.at_s) for ask in asks},
        "texts": {(ask.text, ask.schedule) for ask in asks},
        "actions": {ask.actions for ask in asks},
        "edits": {ask.edit for ask in asks},
        "horizons": {ask.seconds for ask in asks},
        "seeds": {ask.seed for ask in asks},
        "memories": {_memory(ask) for ask in asks},
        "guidance": {_scales(ask) for ask in asks},
        "steps": {(ask.sampling.steps, ask.sampling.sampler) for ask in asks},
    }
    return {name: len(found) for name, found in values.items()}


def _memory(ask: UnitRequest) -> tuple[object, ...]:
    one = ask.sampling
    return (one.memory, one.sink, one.recent, one.video_budget, one.action_budget, one.balance)


def _scales(ask: UnitRequest) -> tuple[float, ...]:
    one = ask.sampling
    return (one.guidance_history, one.guidance_motion, one.guidance_text)


def _known(batch: Batch, folder: "BatchFolder | None") -> tuple[set[str], list[Sample]]:
    """Keys that are done, and what is known of them."""
    if folder is None:
        return set(), []
    from studio.jobs.plan.samples import samples_in

    return samples_in(folder, batch)


def _basis_of(batch: Batch, samples: Sequence[Sample], shape: ModelShape, measure: bool) -> _Basis:
    """This folder's units where there are enough of them, else a measurement if it is asked for, else the reference."""
    if len(samples) >= ENOUGH or (samples and not measure):
        loads = [sample.seconds["load"] for sample in samples if sample.seconds.get("load")]
        return _Basis(
            source="folder",
            correction=correction_of(samples, batch.setup, shape),
            load_s=sum(loads) / len(loads) if loads else LOAD_S,
            worker_bytes=max(sample.peak_bytes for sample in samples) or WORKER_BYTES,
        )
    if measure and batch.units:
        from studio.jobs.plan.samples import measured

        load_s, found = measured(batch)
        correction = correction_of(found, batch.setup, shape)
        peak = max(sample.peak_bytes for sample in found)
        return _Basis(source="measured", correction=correction, load_s=load_s, worker_bytes=peak or WORKER_BYTES)
    return _Basis(source="reference", correction=Correction())


def _costs(
    batch: Batch, correction: Correction, shape: ModelShape, done: set[str]
) -> Iterator[tuple[tuple[int, str], Cost]]:
    """((number of the work, key), cost) of each unit that is to be done."""
    for work in batch.works:
        todo = [unit for unit in work.units if unit.key not in done]
        for unit in todo:
            filled = batch.setup.batch / len(todo)
            yield (work.number, unit.key), correction.of(cost_of(unit.request, batch.setup, shape, filled))


def _works_s(costs: Sequence[tuple[tuple[int, str], Cost]]) -> dict[int, float]:
    """Seconds of each work that is to be done, by its number."""
    found: dict[int, float] = {}
    for (work, _), cost in costs:
        found[work] = found.get(work, 0.0) + cost.total_s
    return found


def _makespan(works: Mapping[int, float], together: int) -> float:
    """From start to end: everything shared out evenly, with half a work of waiting at the end, and no less than the longest."""
    if not works:
        return 0.0
    total, longest = sum(works.values()), max(works.values())
    waiting = total / len(works) / 2 if len(works) > together > 1 else 0.0
    return max(longest, total / together + waiting)


def _together(batch: Batch, workers: int, local: bool) -> int:
    """How many workers really work at once."""
    if not local or batch.setup.device != "cpu":
        return max(1, min(workers, len(batch.works)))
    room = max(1, (os.cpu_count() or 1) // batch.setup.threads)
    return max(1, min(workers, room, len(batch.works)))


def _summed(costs: Sequence[tuple[tuple[int, str], Cost]], load_s: float) -> dict[str, float]:
    return {"load": load_s} | {part: sum(cost.seconds[part] for _, cost in costs) for part in PARTS[1:]}


def _bytes(costs: Sequence[tuple[tuple[int, str], Cost]]) -> dict[str, int]:
    found: dict[str, float] = {}
    for _, cost in costs:
        for name, size in cost.bytes.items():
            found[name] = found.get(name, 0.0) + size
    return {name: round(size) for name, size in found.items()}
