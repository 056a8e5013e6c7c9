"""Stores of town scenes: simulated, rendered and described, several processes side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldmodel.errors import BadDataset
from worldmodel.geometry import Rig
from worldmodel.training.store import Progress, Sample, Store, write_store
from worldmodel.training.words import Words, town_words, write_words

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

SAME = 0.02  # metres and radians per step up to which a scene moves as it did


@dataclass(frozen=True, kw_only=True)
class TownJob:
    """One town scene for a store.

    Attributes:
        video_s, scene_s: Seconds that are rendered (from the start), and whose steps are kept.
        wanders: Whether the ego wanders (`worldmodel.town.wander`) instead of driving as the expert.
        surprises: Whether the expert notices an obstacle late (`worldmodel.town.surprises`).
        rig: The cameras; None where nothing is rendered.
    """

    situation: str
    seed: int
    video_s: float
    scene_s: float
    frequency_hz: float
    wanders: bool = False
    surprises: bool = False
    rig: Rig | None = None

    def scene(self) -> "Scene":
        """The scene, simulated."""
        from worldmodel.town.surprises import surprise
        from worldmodel.town.traffic import simulate
        from worldmodel.town.wander import wander

        drive = wander if self.wanders else surprise if self.surprises else simulate
        return drive(self.situation, self.seed, seconds=self.scene_s, frequency_hz=self.frequency_hz)


def town_sample(job: TownJob) -> Sample:
    """Simulate and render one town scene."""
    from worldmodel.town.render import render

    scene = job.scene()
    assert job.rig is not None
    frames = range(round(job.video_s * job.frequency_hz))
    rendering = render(scene, job.rig, frames)
    deltas = scene.trajectory().motion().deltas
    text = next((i.text for i in scene.instructions), "")
    return Sample(
        video=rendering.rgb,
        objects=np.asarray(rendering.instance >= 0),
        deltas=deltas,
        known=np.ones(len(deltas), dtype=bool),
        text=text,
        expert=not job.wanders,
        words=town_words(scene),
    )


def _town_job(job: TownJob) -> Sample:
    import torch

    torch.set_num_threads(1)
    return town_sample(job)


def town_jobs(
    scenes: Sequence[tuple[str, int]],
    *,
    video_s: float,
    scene_s: float,
    frequency_hz: float,
    wander: float = 0.0,
    surprises: float = 0.0,
    rig: Rig | None = None,
) -> list[TownJob]:
    """What is to be simulated for the scenes of a store; every so many of them wanders, or is surprised."""

    def is_one(i: int, share: float) -> bool:
        return int((i + 1) * share) > int(i * share)

    return [
        TownJob(
            situation=situation,
            seed=seed,
            video_s=video_s,
            scene_s=scene_s,
            frequency_hz=frequency_hz,
            wanders=is_one(i, wander),
            surprises=not is_one(i, wander) and is_one(i, surprises),
            rig=rig,
        )
        for i, (situation, seed) in enumerate(scenes)
    ]


def town_store(
    folder: Path,
    scenes: Sequence[tuple[str, int]],
    rig: Rig,
    *,
    video_s: float,
    scene_s: float,
    frequency_hz: float,
    wander: float = 0.0,
    surprises: float = 0.0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Store:
    """Simulate and render scenes into a store.

    Args:
        wander: Share of the scenes, spread evenly, in which the ego wanders.
        surprises: Share of the scenes, spread evenly, in which the expert notices an obstacle late.
        workers: Processes side by side; the result does not depend on it.
    """
    times: dict[str, Any] = {"video_s": video_s, "scene_s": scene_s, "wander": wander}
    if surprises:
        times["surprises"] = surprises
    jobs = town_jobs(scenes, frequency_hz=frequency_hz, rig=rig, **times)
    made_from = {"town": [list(scene) for scene in scenes], **times}
    if workers <= 1:
        return write_store(map(_town_job, jobs), len(jobs), folder, rig, frequency_hz, made_from, progress)
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        samples = pool.imap(_town_job, jobs, chunksize=2)
        return write_store(samples, len(jobs), folder, rig, frequency_hz, made_from, progress)


def add_words(store: Store, folder: Path | None = None, progress: Progress | None = None) -> int:
    """Write the words of a store of town scenes that was made without: the scenes are simulated again, not rendered.

    Args:
        folder: Where to; None for the store's own.
    Returns:
        How many scenes no longer move as they did, because the town has changed; these keep the one text that they had.
    Raises:
        BadDataset: if the store is not of the town, or most of its scenes move otherwise.
    """
    made = store.made_from
    if "town" not in made:
        raise BadDataset(f"'{store.folder}' holds recordings; only town scenes can be described later. Make it again.")
    times = {"video_s": made["video_s"], "scene_s": made["scene_s"], "frequency_hz": store.frequency_hz}
    found, changed = [], 0
    for i, job in enumerate(
        town_jobs(made["town"], wander=made.get("wander", 0.0), surprises=made.get("surprises", 0.0), **times)
    ):
        scene = job.scene()
        driven = scene.trajectory().motion().deltas
        same = driven.shape == store.deltas[i].shape and np.abs(driven - store.deltas[i]).max() < SAME
        found.append(town_words(scene) if same else Words(instruction=((0.0, store.texts[i]),)))
        changed += not same
        if progress is not None:
            progress(i + 1, len(store))
    if 2 * changed > len(store):
        raise BadDataset(
            f"{changed} of {len(store)} scenes of '{store.folder}' no longer move as they did: the town has changed. "
            "Make the store again."
        )
    write_words(store.folder if folder is None else folder, found)
    return changed
