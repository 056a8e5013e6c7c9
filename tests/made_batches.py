"""A batch's folder with finished units, made without a model: what was imagined is what followed, a little noisy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.plan.clip_digests import ClipDigests
from studio.jobs.units import Batch, ClipRef, EditChoice, Outcome, Setup, Unit, UnitRequest, make_batch
from studio.jobs.work.outputs import Result
from studio.runs import camera_file_name, write_paths
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import write_video

SECONDS = 1.0
OUTPUTS = ("mosaic", "cameras", "trajectory", "scores")
NASTY = 'turn <b>"left"</b> </script> 左折'


def requests_for(dataset: Dataset) -> list[UnitRequest]:
    """Two recordings with two texts, the first text with another seed, too; and one with an edit."""
    digests, where = ClipDigests(dataset), str(dataset.path)
    clips = [ClipRef(dataset=where, episode=i, id=dataset.ids[i], at_s=2.0, digest=digests.of(i)) for i in range(2)]
    asked = [
        UnitRequest(clip=clip, text=text, seed=seed, seconds=SECONDS, outputs=OUTPUTS)
        for seed, text in ((0, None), (0, NASTY), (1, None))
        for clip in clips
    ]
    return [*asked, replace(asked[0], edit=EditChoice())]


@dataclass(frozen=True, kw_only=True)
class Made:
    """A batch's folder: all units but two are finished, one of these failed."""

    out: Path
    dataset: Dataset
    batch: Batch

    @property
    def folder(self) -> BatchFolder:
        """As it stands."""
        return BatchFolder.open(self.out)


_SHARED: dict[Path, Made] = {}


def shared_batch(dataset: Dataset, factory: pytest.TempPathFactory) -> Made:
    """One made batch for all tests that leave its units, failures and plan as they are."""
    if dataset.path not in _SHARED:
        _SHARED[dataset.path] = made_batch(factory.mktemp("made"), dataset)
    return _SHARED[dataset.path]


def made_batch(root: Path, dataset: Dataset, *, address: str = "", options: Mapping[str, Any] | None = None) -> Made:
    """Seven units; the last but one has failed, the one before it is not done."""
    batch = batch_of(requests_for(dataset))
    folder = BatchFolder.begin(address or str(root / "out"), batch, options)
    *done, _, failed, edited = batch.units
    with folder.lock():
        finish(folder, [*done, edited], dataset, root / "scratch")
        message = "'front.mp4' has <12> frames; it needs 56. Run `detour check`."
        folder.note(Outcome(key=failed.key, number=failed.number, state="failed", kind="BadVideo", message=message))
    return Made(out=root / "out", dataset=dataset, batch=batch)


def batch_of(requests: Sequence[UnitRequest]) -> Batch:
    """The batch of these requests."""
    return make_batch(Setup(model="assets/default", model_digest="0" * 32), requests, {"made": "by a test"})


def finish(folder: BatchFolder, units: Sequence[Unit], dataset: Dataset, scratch: Path, rig: Rig | None = None) -> None:
    """Store the outputs of units, as a worker would."""
    for unit in units:
        place = scratch / unit.key
        (place / "cameras").mkdir(parents=True)
        record = write_unit(unit, place, dataset, rig or dataset.rig)
        files = folder.store(unit, place, record)
        folder.note(Outcome(key=unit.key, number=unit.number, state="done", files=files, scores=record["scores"]))
    folder.flush()


def write_unit(unit: Unit, folder: Path, dataset: Dataset, rig: Rig) -> dict[str, Any]:
    """The files of one unit; returns its record."""
    from PIL import Image

    video = pictures(unit, dataset)
    for number, camera in enumerate(rig.names):
        write_video(folder / "cameras" / f"{camera_file_name(camera)}.mp4", video[:, number], 8.0)
    write_video(folder / "mosaic.mp4", np.concatenate(list(video.swapaxes(0, 1)), axis=-1), 8.0)
    row = np.concatenate([video[i, 1].transpose(1, 2, 0) for i in (0, len(video) // 2, -1)], axis=1)
    Image.fromarray(row).resize((576, 96)).save(folder / "poster.jpg")
    times = np.arange(len(video) + 1) / 8
    path = Trajectory(poses=np.stack([8 * times, 0 * times, 0 * times], axis=-1), times_s=times)
    write_paths(folder / "trajectory.parquet", {"imagined": path, "driven": path})
    text = unit.request.text or "turn left at the crossing"
    result = Result(
        unit=unit,
        rig=rig,
        frequency_hz=8.0,
        frames=len(video),
        trajectory=path,
        texts=((0.0, 0.5, text), (0.5, 1.0, "slow down")),
        scores={"psnr": 20.0 + unit.number, "ade": 0.1},
        provenance={"model": "fedcba9876543210"},
        warnings=("made by a test",),
    )
    return result.record(batch_of([unit.request]).setup, {"model": 1.0 + unit.number / 10, "write": 0.1})


def pictures(unit: Unit, dataset: Dataset) -> Array:
    """What followed, noisy: uint8 [time, camera, 3, h, w] at 8 Hz."""
    clip = unit.request.clip
    now = round(clip.at_s * 8)
    last = now + round(unit.request.seconds * 8)
    frames = dataset.frames(clip.episode, np.arange(now + 1, last + 1)).astype(int)
    noise = np.random.default_rng(unit.number).integers(-6, 7, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)
