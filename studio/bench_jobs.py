"""What `detour bench jobs` is asked for and says: how much of a batch's time is not the model's, and what more workers bring.

A small batch of the shipped model is run as `detour jobs run` runs it, once for each engine and number of workers, each in a folder of its own
that is removed. Times are the workers' own and the driver's events'.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.demo import ASSETS, Progress
from studio.machine import about_machine
from worldmodel.errors import BadRequest, DetourError, UnknownName

NEEDS = {"local": 0.05, "ray": 0.15}  # share of time outside the model, at most
NEEDED_RATIO = 1.7  # of two local workers to one
PARTS = ("read", "model", "plan", "score", "write", "store")


@dataclass(frozen=True, kw_only=True)
class JobsBench:
    """What `detour bench jobs` is asked for; checked when made.

    Attributes:
        model: Checkpoint folder.
        dataset: Whose first recording is imagined on.
        units: For each worker.
        seconds: Horizon of each.
        engines: Of 'local' and 'ray'.
        workers: Each number is measured with each engine.
        threads: Of the processor, of each worker.
        device: 'cpu' or 'cuda'.
    Raises:
        UnknownName, BadRequest.
    """

    model: str = str(ASSETS / "default")
    dataset: str = str(ASSETS / "clips")
    units: int = 12
    seconds: float = 2.0
    engines: tuple[str, ...] = ("local", "ray")
    workers: tuple[int, ...] = (1, 2)
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in self.engines:
            if name not in NEEDS:
                raise UnknownName("engine", name, NEEDS)
        if not (2 <= self.units <= 10_000 and self.workers and min(self.workers) >= 1 and self.threads >= 1):
            raise BadRequest(
                f"{self.units} units, {self.workers} workers and {self.threads} threads are asked for; it must be 2 to 10000 "
                "units, and one worker and thread at least. Choose larger numbers."
            )


@dataclass(frozen=True, kw_only=True)
class JobsRow:
    """One batch.

    Attributes:
        engine, workers: Who did it.
        units: That were done.
        loading_s: Until the last worker was up.
        working_s: From then to the end of the last unit.
        parts_s: Seconds of a unit by part, averaged.
        between_s: Of a unit, between the worker's end of one unit and its beginning of the next, averaged.
        overhead: Share of the workers' time outside the model, each worker's from when it was up to the end of its last unit.
        overhead_with_loading: The same share of the whole run's time.
        units_per_hour: Once the workers are up.
    """

    engine: str
    workers: int
    units: int
    loading_s: float
    working_s: float
    parts_s: Mapping[str, float]
    between_s: float
    overhead: float
    overhead_with_loading: float
    units_per_hour: float


def bench_jobs(request: JobsBench, progress: Progress) -> list[JobsRow]:
    """Run and time the batches.

    Raises:
        DetourError: if a unit fails; whatever the job raises.
    """
    rows = []
    for engine in request.engines:
        for workers in request.workers:
            what = f"{engine}, {workers} worker{'s' * (workers > 1)}"
            progress(what, None)
            row = _measured(request, engine, workers)
            progress(what, row.loading_s + row.working_s)
            rows.append(row)
    return rows


def _measured(request: JobsBench, engine: str, workers: int) -> JobsRow:
    from studio.jobs.engines.engine import EngineChoice
    from studio.jobs.folder.storage import Storage
    from studio.jobs.plan.expansion import expand
    from studio.jobs.plan.job_file import job_from
    from studio.jobs.run.driver import run_batch
    from studio.jobs.run.events import read_events

    batch = expand(job_from(_job(request, workers), "the benchmark's job"))
    with tempfile.TemporaryDirectory(prefix="detour-bench-jobs-") as folder:
        out = str(Path(folder) / "out")
        summary = run_batch(batch, out, EngineChoice(name=engine, workers=workers))
        if summary.done < len(batch.units):
            raise DetourError(
                f"{summary.done} of {len(batch.units)} units were done: {'; '.join(summary.lines())}. All are needed for "
                "times. Mend what is named there."
            )
        return row_of(list(read_events(Storage.at(out))), engine, workers)


def _job(request: JobsBench, workers: int) -> dict[str, Any]:
    return {
        "model": request.model,
        "clips": [{"dataset": request.dataset, "episodes": "0"}],
        "sweep": {"seeds": list(range(request.units * workers)), "seconds": [request.seconds]},
        "execution": {"threads": request.threads, "device": request.device},
    }


def row_of(events: Sequence[Mapping[str, Any]], engine: str, workers: int) -> JobsRow:
    """What the events of one run of a driver say about its time."""
    ready = {event["worker"]: event["t_s"] for event in events if event["event"] == "worker_ready"}
    done = [event for event in events if event["event"] == "unit_done"]
    ends: dict[str, float] = defaultdict(float)
    for event in done:
        ends[event["worker"]] = max(ends[event["worker"]], event["t_s"])
    begun = [event["t_s"] for event in events if event["event"] == "run_began"]
    up, last = max(ready.values()), max(ends.values())
    inside = sum(event["timings_s"].get("model", 0.0) for event in done)
    own = sum(ends[worker] - ready[worker] for worker in ends)
    parts = {part: _mean(event["timings_s"].get(part, 0.0) for event in done) for part in PARTS}
    return JobsRow(
        engine=engine,
        workers=workers,
        units=len(done),
        loading_s=up - begun[0],
        working_s=last - up,
        parts_s=parts,
        between_s=own / len(done) - sum(parts.values()),
        overhead=1.0 - inside / own,
        overhead_with_loading=1.0 - inside / (workers * (last - begun[0])),
        units_per_hour=3600.0 * len(done) / (last - min(ready.values())),
    )


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def jobs_table(rows: Sequence[JobsRow], request: JobsBench, machine: dict[str, Any]) -> str:
    """The rows for people, and what was promised."""
    lines = [
        f"Batches of {request.units} units per worker, {request.seconds:g} s each, {request.threads} thread"
        f"{'s' * (request.threads > 1)} per worker, on {about_machine(machine)}",
        "engine  workers  units/h  s per unit: " + "  ".join(f"{part:>6}" for part in PARTS) + "  between"
        "  not in the model  with loading  promised",
    ]
    lines += [_line(row) for row in rows]
    return "\n".join([*lines, *_ratios(rows)])


def _line(row: JobsRow) -> str:
    parts = "  ".join(f"{row.parts_s[part]:6.3f}" for part in PARTS)
    return (
        f"{row.engine:6}  {row.workers:7}  {row.units_per_hour:7.0f}              {parts}  {row.between_s:7.3f}"
        f"  {row.overhead:16.1%}  {row.overhead_with_loading:12.1%}  {NEEDS[row.engine]:8.0%}"
    )


def ratios(rows: Sequence[JobsRow]) -> dict[str, float]:
    """Throughput beside that of one worker of the same engine, such as `{"local, 2 workers": 1.9}`."""
    one = {row.engine: row.units_per_hour for row in rows if row.workers == 1}
    return {
        f"{row.engine}, {row.workers} workers": row.units_per_hour / one[row.engine]
        for row in rows
        if row.workers > 1 and row.engine in one
    }


def _ratios(rows: Sequence[JobsRow]) -> list[str]:
    promised = {"local, 2 workers": f" (promised: {NEEDED_RATIO})"}
    return [
        f"{name}: {ratio:.2f} times the units of one worker{promised.get(name, '')}"
        for name, ratio in ratios(rows).items()
    ]
