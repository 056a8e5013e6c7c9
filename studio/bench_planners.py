"""What `detour bench planners` is asked for and says: how long planners take from the newest pictures to a plan, stage by stage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.bench_scores import limited_threads
from studio.machine import about_machine
from studio.planners import PLANNERS, check_planner, make_planner, shipped_names
from worldmodel.errors import BadRequest, UnknownName

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
SLOW_S = 1.0  # stages that take longer are repeated SLOW_REPEATS times
SLOW_REPEATS = 3
Progress = Callable[[str, float | None], None]
Stages = dict[str, tuple[Callable[[], object], str]]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One row of the table.

    Attributes:
        planner: Its name; 'pictures' for what all that look have in common.
        stage: What was timed.
        threads: Of the processor.
        p50_ms, p95_ms: Median and 95th percentile of the repeats.
        repeats: How many.
        need: What was promised, in words; '' for nothing.
    """

    planner: str
    stage: str
    threads: int
    p50_ms: float
    p95_ms: float
    repeats: int
    need: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannersBench:
    """What `detour bench planners` is asked for; checked when made.

    Attributes:
        model: Checkpoint folder of the world model.
        planners: By name or folder; empty for all that have a name.
        repeats: Of every stage, after one that warms up; of slow ones there are fewer.
        threads: Each number of threads is measured.
        samples: Plans per answer, by those that draw.
        clock: 'wall', or 'processor': the time of this process alone, for machines that do other things meanwhile (one thread).
    Raises:
        UnknownName, BadRequest.
    """

    model: str
    planners: tuple[str, ...] = ()
    repeats: int = 20
    threads: tuple[int, ...] = (1, 2)
    samples: int = 8
    clock: str = "wall"

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise UnknownName("clock", self.clock, CLOCKS)
        for name in self.planners:
            check_planner(name)
        limits = {"repeats": (self.repeats, 2, 1000), "threads": (min(self.threads, default=0), 1, 256)}
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise BadRequest(
                    f"{value} {name} are asked for; it must be {least} to {most}. Choose a number in between."
                )
        if self.clock == "processor" and set(self.threads) != {1}:
            raise BadRequest(
                f"the processor's clock is asked for with {self.threads} threads; it adds up what threads do side by side and "
                "fits one thread. Use --threads 1, or --clock wall."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Who is timed."""
        return self.planners or (*PLANNERS, *shipped_names())


def bench_planners(request: PlannersBench, progress: Progress | None = None) -> list[Latency]:
    """Time every stage of every planner on random pictures; how long they take does not depend on what they see.

    Args:
        progress: Called with (planner, None) when it begins and with its seconds when it has ended.
    Raises:
        BadInput: if a planner cannot be made.
    """
    from studio.bench_pasts import random_observation
    from studio.planner_stages import picture_stages, stages_of
    from worldmodel.model import WorldModel

    world = WorldModel.from_pretrained(request.model)
    seen = random_observation(world)
    makers: dict[str, Callable[[], tuple[str, Stages]]] = {
        "pictures": lambda: ("pictures", picture_stages(world, seen))
    }

    def maker(name: str) -> Callable[[], tuple[str, Stages]]:
        return lambda: stages_of(make_planner(name, world, request.samples), world, seen)

    makers |= {name: maker(name) for name in request.names}
    rows: list[Latency] = []
    for name, make in makers.items():
        started = time.perf_counter()
        if progress is not None:
            progress(name, None)
        planner, stages = make()
        for threads in request.threads:
            with limited_threads(threads):
                rows += [_row(planner, stage, threads, *work, request) for stage, work in stages.items()]
        if progress is not None:
            progress(name, time.perf_counter() - started)
    return rows


def _row(
    planner: str, stage: str, threads: int, work: Callable[[], object], need: str, request: PlannersBench
) -> Latency:
    p50, p95, repeats = timed(work, request.repeats, CLOCKS[request.clock])
    return Latency(planner=planner, stage=stage, threads=threads, p50_ms=p50, p95_ms=p95, repeats=repeats, need=need)


def timed(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> tuple[float, float, int]:
    """Median and 95th percentile in milliseconds, and how many repeats; one more before them warms up."""

    def once() -> float:
        started = clock()
        work()
        return clock() - started

    count = min(repeats, SLOW_REPEATS) if once() > SLOW_S else repeats
    taken = 1000 * np.array([once() for _ in range(count)])
    return float(np.median(taken)), float(np.quantile(taken, 0.95)), count


def planners_table(rows: list[Latency], request: PlannersBench, machine: dict[str, Any]) -> str:
    """The measurements in Markdown: a line per planner and stage, a pair of columns per number of threads."""
    counts = list(dict.fromkeys(row.threads for row in rows))
    by_place = {(row.planner, row.stage, row.threads): row for row in rows}
    names = ["1 thread" if count == 1 else f"{count} threads" for count in counts]
    head = ["planner", "stage", *(f"{name}: {part} ms" for name in names for part in ("p50", "p95")), "need"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    last = ""
    for planner, stage in dict.fromkeys((row.planner, row.stage) for row in rows):
        found = [by_place[planner, stage, count] for count in counts]
        cells = [_short(value) for row in found for value in (row.p50_ms, row.p95_ms)]
        said, last = "" if planner == last else planner, planner
        lines.append(f"| {said} | {stage} | {' | '.join(cells)} | {found[0].need} |")
    about = f"{about_machine(machine)}; {request.clock} clock, {request.repeats} repeats ({SLOW_REPEATS} beyond {SLOW_S:g} s)"
    return "\n".join([*lines, "", about])


def _short(value_ms: float) -> str:
    return f"{value_ms:.0f}" if value_ms >= 10 else f"{value_ms:.2g}"
