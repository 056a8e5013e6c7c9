"""Workers of batches without a model, for tests of engines and drivers: what they do stands in the unit's text."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from studio.jobs.engines.engine import Ended, Engine, Happening, WorkerPlan
from studio.jobs.engines.hands import NO_UNITS, OnChunk
from studio.jobs.units import ClipRef, Outcome, Setup, Unit, UnitRequest, Work
from worldmodel.errors import DetourError

PATIENCE_S = 120.0
A_CLIP = ClipRef(dataset="drives", episode=0, id="one", at_s=2.0, digest="ab")


def a_plan(folder: Path, model: str = "none", threads: int = 1) -> WorkerPlan:
    """Of a worker without a model; `model` says how it comes up."""
    setup = Setup(model=model, model_digest="cd", threads=threads)
    return WorkerPlan(setup=setup, out=str(folder / "out"), scratch=str(folder / "scratch"))


def a_work(number: int, text: str = "", units: int = 1) -> Work:
    """A work of so many units, all with this text."""
    request = UnitRequest(clip=A_CLIP, text=text)
    made = (
        Unit(number=number * units + place, key=f"{number:030d}{place:02d}", request=request) for place in range(units)
    )
    return Work(number=number, units=tuple(made))


class ObedientWorker:
    """Does what a unit's text says: 'die', 'die once', 'fail', 'chunks', 'threads', 'wait', 'late'; else it is done at once."""

    def __init__(self, plan: WorkerPlan, name: str) -> None:
        self._plan, self._name = plan, name
        if plan.setup.model == "absent":
            raise DetourError("there is no model 'absent'; a folder is needed. Name one.")
        if plan.setup.model == "broken":
            print("no such library", file=sys.stderr)
            raise ImportError("libmissing.so")

    def do(
        self, work: Work, skip: frozenset[str] = NO_UNITS, on_chunk: OnChunk = lambda _chunk, _chunks: None
    ) -> tuple[Outcome, ...]:
        """An outcome for each unit."""
        text = work.units[0].request.text or ""
        once = Path(self._plan.out).with_name(f"died-{work.number}")
        if text == "die" or (text == "die once" and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "fault":
            raise ValueError("a fault of ours")
        if text == "chunks":
            for chunk in range(3):
                on_chunk(chunk, 3)
        if text == "wait":
            once.touch()
            time.sleep(600)
        if text == "slow":
            time.sleep(0.3)
        said = os.environ["OMP_NUM_THREADS"] if text == "threads" else str(os.getpid())
        return tuple(
            Outcome(key=unit.key, number=unit.number, state="done", message=said, worker=self._name)
            for unit in work.units
            if unit.key not in skip
        )

    def close(self) -> None:
        """Nothing was started."""


def until(engine: Engine, enough: Callable[[list[Happening]], bool]) -> list[Happening]:
    """What happened until that was enough."""
    seen: list[Happening] = []
    end = time.monotonic() + PATIENCE_S
    while not enough(seen):
        assert time.monotonic() < end, seen
        if (happening := engine.next(0.2)) is not None:
            seen.append(happening)
    return seen


def ended(seen: list[Happening], count: int = 1) -> bool:
    """Whether so many works are over."""
    return sum(isinstance(one, Ended) for one in seen) >= count
