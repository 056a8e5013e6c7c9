"""Small batches on the `test` model, done by a real worker in this process: for tests of units."""

import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.jobs.engines.engine import WorkerPlan
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.manifest import place_of
from studio.jobs.folder.unit_folder import PASSING
from studio.jobs.plan.clip_digests import ClipDigests
from studio.jobs.units import Batch, ClipRef, Setup, UnitRequest, make_batch
from studio.jobs.work.working import Worker
from worldmodel.io.lerobot import Dataset
from worldmodel.sampling import Sampling

QUICK = Sampling(steps=1)


def clip_of(dataset: Dataset, episode: int = 0, at_s: float = 2.0) -> ClipRef:
    """A moment of a small dataset."""
    digest = ClipDigests(dataset).of(episode)
    return ClipRef(dataset=str(dataset.path), episode=episode, id=dataset.ids[episode], at_s=at_s, digest=digest)


def asked(dataset: Dataset, episode: int = 0, at_s: float = 2.0, **changes: Any) -> UnitRequest:
    """Half a second in one step; any field may be changed."""
    request = UnitRequest(clip=clip_of(dataset, episode, at_s), seconds=0.5, sampling=QUICK)
    return replace(request, **changes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Small:
    """A batch's folder that was begun, and what workers of it need."""

    batch: Batch
    out: Path
    plan: WorkerPlan

    def worker(self, name: str = "one") -> Worker:
        """Another worker."""
        return Worker(self.plan, name)

    def files(self, number: int = 0) -> dict[str, bytes]:
        """All files of a unit; its record without what two computations may differ in."""
        place = self.out / place_of(self.batch.units[number].key)
        found = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        record = {name: value for name, value in self.record(number).items() if name not in PASSING}
        return found | {"unit.json": json.dumps(record, sort_keys=True).encode()}

    def record(self, number: int = 0) -> dict[str, Any]:
        """Content of a unit's unit.json."""
        place = self.out / place_of(self.batch.units[number].key)
        content: dict[str, Any] = json.loads((place / "unit.json").read_text(encoding="utf-8"))
        return content

    def path(self, name: str, number: int = 0) -> Path:
        """A file of a unit."""
        return self.out / place_of(self.batch.units[number].key) / name


def small_batch(
    folder: Path, model: Path | str, requests: Sequence[UnitRequest], batch: int = 1, **setup: Any
) -> Small:
    """Begin a batch of these requests in a new folder."""
    shared = Setup(model=str(model), model_digest="", batch=batch, **setup)
    planned = make_batch(shared, requests, {})
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    BatchFolder.begin(folder / "out", planned)
    plan = WorkerPlan(setup=shared, out=str(folder / "out"), scratch=str(scratch))
    return Small(batch=planned, out=folder / "out", plan=plan)


@contextmanager
def same_threads() -> Any:
    """A worker bounds the threads of its process; afterwards they are as before."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
