"""Batches without a model: units whose outputs are a few bytes, for tests of where they are kept."""

import json
from pathlib import Path
from typing import Any

from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.leases import Pace
from studio.jobs.folder.patience import Patience
from studio.jobs.units import Batch, ClipRef, Outcome, Setup, Unit, UnitRequest, make_batch

QUICK = Pace(beat_s=0.02, dead_s=0.2, look_s=0.01, settle_s=0.01, turn_s=2.0)
HASTY = Patience(attempts=4, first_s=0.0)


def a_batch(units: int = 6, dataset: str = "recordings", **setup: Any) -> Batch:
    """Futures of one clip that differ in their seed."""
    clip = ClipRef(dataset=dataset, episode=3, id="a turn", at_s=2.0, digest="c" * 8)
    requests = [UnitRequest(clip=clip, seed=seed, text="turn left" if seed % 2 else None) for seed in range(units)]
    job = {"clips": [{"dataset": dataset}], "sweep": {"texts": [None, "links ab – schön"]}}
    return make_batch(Setup(**{"model": "a-model", "model_digest": "m" * 8, **setup}), requests, job)


def output_of(unit: Unit, place: Path) -> Path:
    """What a worker would have made of a unit: a poster and a camera's video."""
    folder = place / f"made-{unit.key}"
    (folder / "cameras").mkdir(parents=True, exist_ok=True)
    (folder / "poster.jpg").write_bytes(b"poster of " + unit.key.encode())
    (folder / "cameras" / "front left.mp4").write_bytes(b"video" * (1 + unit.number))
    return folder


def record_of(unit: Unit, model_s: float = 0.5) -> dict[str, Any]:
    """What a worker would say about it."""
    return {
        "imagined": True,
        "frames": 32,
        "frequency_hz": 8.0,
        "scores": {"psnr": 20.0 + unit.number},
        "timings_s": {"model": model_s},
        "peak_bytes": 1000,
        "warnings": [],
        "made": {"commit": "c0ffee"},
    }


def finish(folder: BatchFolder, unit: Unit, place: Path) -> Outcome:
    """Store a unit as a worker does; returns what it tells the driver."""
    files = folder.store(unit, output_of(unit, place), record_of(unit))
    return Outcome(key=unit.key, number=unit.number, state="done", files=files, worker="w")


def failure_of(unit: Unit, kind: str = "Diverged") -> Outcome:
    """What a worker tells of a unit that it could not do."""
    return Outcome(key=unit.key, number=unit.number, state="failed", kind=kind, message=f"{kind} it was", worker="w")


def unit_place(folder: BatchFolder, unit: Unit) -> Path:
    """Where a unit lies on a disk."""
    assert folder.storage.local is not None
    return folder.storage.local / "units" / unit.key[:2] / unit.key


def content(folder: BatchFolder) -> dict[str, Any]:
    """All outputs as they may be compared: bytes of files, and records without what passes."""
    found: dict[str, Any] = {}
    for name in folder.storage.sizes("units"):
        data = folder.storage.read(name)
        found[name] = data
        if name.endswith("unit.json"):
            record = json.loads(data)
            found[name] = {
                key: value for key, value in record.items() if key not in ("timings_s", "peak_bytes", "made")
            }
    return found
