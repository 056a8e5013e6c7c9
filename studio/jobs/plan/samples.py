"""Units that were really done, for estimates: those of a batch's folder, and two short ones that are timed right now."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.jobs.plan.costs import PARTS, Sample, cost_of, shape_of
from studio.jobs.units import Batch, Outcome, Setup, UnitRequest, make_batch
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from studio.jobs.engines.engine import Engine
    from studio.jobs.folder.batch_folder import BatchFolder

SHORT_S = 4.0  # horizon of a measured unit, at most
PATIENCE_S = 600.0  # for a worker to come up and do two short units


def samples_in(folder: "BatchFolder", batch: Batch) -> tuple[set[str], list[Sample]]:
    """Keys of the batch's units that a folder holds; and what units took there, if the same model did them in the same way."""
    asked, rows = {unit.key for unit in batch.units}, list(folder.rows())
    alike = _how(folder.batch.setup) == _how(batch.setup)
    return {row["key"] for row in rows if row["key"] in asked}, [_sample(row) for row in rows if alike]


def _how(setup: Setup) -> tuple[str, int, int, str]:
    return (setup.model_digest, setup.batch, setup.threads, setup.device)


def _sample(row: Mapping[str, Any]) -> Sample:
    return Sample(
        request=UnitRequest.of(json.loads(row["request"])),
        seconds=dict(row["timings_s"]),
        bytes=int(row["bytes"]),
        peak_bytes=int(row["peak_bytes"]),
    )


def measured(batch: Batch) -> tuple[float, list[Sample]]:
    """Seconds until a worker is ready, and one short unit like those of the batch, timed after another one that warms up.

    Raises:
        DetourError: if no worker comes up.
        BadRequest: if the unit fails; the message says why.
    """
    short = short_of(batch)
    with tempfile.TemporaryDirectory(prefix="detour-plan-") as place:
        return _timed(short, Path(place))


def short_of(batch: Batch) -> Batch:
    """Two works like the batch's middle one by expected time, with another seed each and at most SHORT_S of horizon."""
    shape = shape_of(batch.setup.model)
    works = sorted(batch.works, key=lambda work: cost_of(work.units[0].request, batch.setup, shape).total_s)
    middle = works[len(works) // 2].units[0].request
    count = 2 * batch.setup.batch
    asks = [replace(middle, seconds=min(middle.seconds, SHORT_S), seed=seed) for seed in range(count)]
    return make_batch(batch.setup, asks, batch.job)


def _timed(short: Batch, place: Path) -> tuple[float, list[Sample]]:
    from studio.jobs.engines import make_engine
    from studio.jobs.engines.engine import EngineChoice, WorkerPlan
    from studio.jobs.folder.batch_folder import BatchFolder

    out = place / "out"
    BatchFolder.begin(str(out), short)
    scratch = place / "scratch"
    scratch.mkdir()
    plan = WorkerPlan(setup=short.setup, out=str(out), scratch=str(scratch))
    engine = make_engine(EngineChoice(workers=1), plan)
    try:
        for work in short.works:
            engine.give(work)
        return _watched(engine, short)
    finally:
        engine.close(now=True)


def _watched(engine: "Engine", short: Batch) -> tuple[float, list[Sample]]:
    """What the engine tells until the last work has ended."""
    from studio.jobs.engines.engine import Ended, Lost, Ready

    load_s, asked, begun = 0.0, {unit.key: unit.request for unit in short.units}, time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        told = engine.next(1.0)
        if isinstance(told, Ready):
            load_s = told.seconds
        elif isinstance(told, Lost):
            raise BadRequest(
                f"the worker of the measurement was lost ({told.why}). Leave out --measure, or free some memory."
            )
        elif isinstance(told, Ended):
            failed = next((one for one in told.outcomes if one.state == "failed"), None)
            if failed is not None:
                raise BadRequest(f"the measured unit failed: {failed.message} Correct the job, or leave out --measure.")
            load_s = max([load_s, *(one.timings_s.get("load", 0.0) for one in told.outcomes)])
            if told.work == short.works[-1].number:
                return load_s, [_sample_of(one, asked[one.key]) for one in told.outcomes]
    raise BadRequest(f"the measurement took longer than {PATIENCE_S:.0f} s. Leave out --measure.")


def _sample_of(outcome: Outcome, request: UnitRequest) -> Sample:
    seconds = {part: outcome.timings_s.get(part, 0.0) for part in PARTS}
    return Sample(request=request, seconds=seconds, bytes=outcome.bytes, peak_bytes=outcome.peak_bytes)
