"""Workers that only pretend, in seconds that only pretend to pass: for tests of what drives them."""

import functools
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.jobs.engines.engine import Began, Ended, EngineChoice, Happening, Lost, Ready, WorkerPlan
from studio.jobs.engines.local import LocalEngine
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.run.driver import run_batch
from studio.jobs.units import Batch, ClipRef, FileFact, Outcome, Setup, Unit, UnitRequest, Work, make_batch


def a_batch(units: int, group: int = 1, **job: object) -> Batch:
    clip = ClipRef(dataset="town", episode=0, id="a drive", at_s=2.0, digest="d")
    setup = Setup(model="nowhere", model_digest="m", batch=group)
    return make_batch(setup, [UnitRequest(clip=clip, seed=seed) for seed in range(units)], job)


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeEngine:
    """Workers that take one second for a work, and meet the fates they are told.

    `fates[work]` is a list of what happens at each try: 'done' (also when the list is over), 'bad', 'passing', 'full',
    'dies' or 'hangs'.
    """

    clock: Clock
    workers: int = 2
    fates: dict[int, list[str]] = field(default_factory=dict)
    on_begin: Callable[[int], None] = lambda work: None
    store: Callable[[Unit], tuple[FileFact, ...]] = lambda unit: (FileFact(name="a.mp4", bytes=1000, sha256="0"),)
    given: list[tuple[Work, frozenset[str]]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    at: dict[str, tuple[Work, frozenset[str], float, str]] = field(default_factory=dict)
    news: list[Happening] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.news += [Ready(worker=f"w{n}", seconds=1.0) for n in range(self.workers)]

    @property
    def free(self) -> int:
        return max(0, 2 * self.workers - len(self.at) - len(self.given))

    def give(self, work: Work, skip: frozenset[str] = frozenset()) -> None:
        self.given.append((work, skip))

    def next(self, patience_s: float) -> Happening | None:
        self._seat()
        if self.news:
            return self.news.pop(0)
        due = min(self.at.items(), key=lambda item: item[1][2], default=None)
        if due is None or due[1][2] > self.clock.now + patience_s:
            self.clock.now += patience_s
            return None
        self.clock.now = max(self.clock.now, due[1][2])
        return self._over(due[0])

    def _seat(self) -> None:
        for n in range(self.workers):
            name = f"w{n}"
            if name not in self.at and self.given:
                work, skip = self.given.pop(0)
                self.begun.append(work.number)
                fates = self.fates.get(work.number, [])
                fate = fates.pop(0) if fates else "done"
                self.at[name] = (work, skip, self.clock.now + (1e9 if fate == "hangs" else 1.0), fate)
                self.news.append(Began(worker=name, work=work.number))
                self.on_begin(work.number)

    def _over(self, name: str) -> Happening:
        work, skip, _, fate = self.at.pop(name)
        if fate in ("dies", "hangs"):
            self.news.append(Ready(worker=name, seconds=1.0))
            return Lost(worker=name, work=work.number, why="killed by signal 9")
        outcomes = tuple(self._outcome(unit, fate, name) for unit in work.units if unit.key not in skip)
        return Ended(worker=name, work=work.number, outcomes=outcomes)

    def drop(self, work: int) -> None:
        name = next(name for name, (one, *_) in self.at.items() if one.number == work)
        self.at[name] = (*self.at[name][:2], self.clock.now, "hangs")

    def take_back(self) -> tuple[int, ...]:
        numbers = tuple(work.number for work, _ in self.given)
        self.given.clear()
        return numbers

    def close(self, *, now: bool = False) -> None:
        self.closed.append(now)

    def facts(self) -> dict[str, object]:
        return {"name": "fake", "workers": self.workers}

    def _outcome(self, unit: Unit, fate: str, worker: str) -> Outcome:
        about = {"key": unit.key, "number": unit.number, "worker": worker}
        if fate == "done":
            timings = {"model": 0.9, "write": 0.1}
            return Outcome(**about, state="done", files=self.store(unit), timings_s=timings, chunks=8)
        kinds = {"bad": "BadMotion", "passing": "Unreachable", "full": "DiskFull"}
        message = f"it went {fate}."
        return Outcome(**about, state="failed", kind=kinds[fate], message=message, again=fate == "passing")


def storing(out: str | Path) -> Callable[[Unit], tuple[FileFact, ...]]:
    """Stores a small file for a unit, as a worker would."""

    def store(unit: Unit) -> tuple[FileFact, ...]:
        record = {"imagined": True, "timings_s": {"model": 0.9}, "frames": 32, "frequency_hz": 8.0}
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "mosaic.mp4").write_bytes(unit.key.encode() * 10)
            return BatchFolder.open(str(out)).store(unit, Path(place), record)

    return store


class SleepyWorker:
    """A real worker process that sleeps over each unit as long as the plan's model is called, and stores a small file."""

    def __init__(self, plan: WorkerPlan, name: str) -> None:
        self.plan, self.name, self.store = plan, name, storing(plan.out)

    def do(
        self, work: Work, skip: frozenset[str] = frozenset(), on_chunk: Callable[[int, int], None] = lambda a, b: None
    ) -> tuple[Outcome, ...]:
        (unit,) = work.units
        Path(self.plan.scratch, f"unfinished-{unit.key}").touch()
        time.sleep(float(self.plan.setup.model))
        about = {"key": unit.key, "number": unit.number, "worker": self.name}
        return (Outcome(**about, state="done", files=self.store(unit), timings_s={"model": 1.0}),)

    def close(self) -> None:
        pass


def main(out: str, units: str, seconds: str) -> None:
    """Run a batch of sleepy units with two processes; ends with the summary's exit code."""
    batch = a_batch(int(units))
    batch = replace(batch, setup=replace(batch.setup, model=seconds))

    def make(choice: EngineChoice, plan: WorkerPlan) -> LocalEngine:
        return LocalEngine(plan, choice.workers, make=SleepyWorker)

    told = functools.partial(print, file=sys.stderr, flush=True)
    summary = run_batch(batch, out, EngineChoice(workers=2), make=make, on_progress=told)
    print("\n".join(summary.lines()))
    sys.exit(summary.exit_code)
