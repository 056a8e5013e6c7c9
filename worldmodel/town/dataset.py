"""Town scenes as clips and datasets."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.clips import Clip
from worldmodel.edits import Edit
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Rig
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import SITUATIONS, simulate

if TYPE_CHECKING:
    from worldmodel.io.lerobot import Dataset

SPLIT_SIZE = 1_000_000  # seeds below it are for training, then a million for validation, then a million for tests
SPLITS = {"train": 0, "val": SPLIT_SIZE, "test": 2 * SPLIT_SIZE}
SOURCE = "Detour's embedded town (simulated)"
MAX_SCENES = 100_000


def clip_of(scene: Scene, *, rig: Rig, supersample: int = 2) -> Clip:
    """A scene seen by cameras: rendered frames, exact motion, boxes and instructions."""
    from worldmodel.town.render import render

    rendering = render(scene, rig, supersample=supersample)
    return Clip(
        id=scene.id,
        video=rendering.rgb,
        rig=rig,
        motion=scene.trajectory().motion() if len(scene) > 1 else None,
        motion_origin="town" if len(scene) > 1 else "none",
        frequency_hz=scene.frequency_hz,
        instructions=scene.instructions,
        boxes=tuple(scene.boxes(frame) for frame in range(len(scene))),
        source=SOURCE,
    )


def town_clip(
    situation: str,
    seed: int,
    *,
    rig: Rig,
    seconds: float,
    frequency_hz: float = 8.0,
    edits: Sequence[Edit] = (),
    supersample: int = 2,
) -> Clip:
    """Simulate and render one scene.

    Raises:
        UnknownName, BadRequest, BadEdit: as `simulate`.
    """
    scene = simulate(situation, seed, seconds=seconds, frequency_hz=frequency_hz, edits=edits)
    return clip_of(scene, rig=rig, supersample=supersample)


def scene_list(
    scenes: int, seed: int, *, situations: Iterable[str] | None = None, split: str = "train"
) -> list[tuple[str, int]]:
    """Which (situation, seed) pairs a dataset holds: situations in turn, seeds from the split's own range.

    Args:
        scenes: How many.
        seed: Where in the range to start; lists of different seeds overlap only by chance.
        situations: Names; all when None.
        split: 'train', 'val' or 'test'.
    Raises:
        UnknownName: for a situation or split that does not exist.
        BadRequest: for a number of scenes or a seed out of range.
    """
    names = list(SITUATIONS) if situations is None else list(situations)
    for name in names:
        if name not in SITUATIONS:
            raise UnknownName("situation", name, SITUATIONS)
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if not names:
        raise BadRequest("no situation was named. Name at least one, or leave the option out for all.")
    if not 1 <= scenes <= MAX_SCENES:
        raise BadRequest(f"{scenes} scenes are wanted; it must be 1 to {MAX_SCENES}. Choose a number in between.")
    if not 0 <= seed < 2**63:
        raise BadRequest(f"the seed is {seed}; it must be an integer from 0 to 2**63 - 1. Choose another.")
    start = int(np.random.default_rng(seed).integers(SPLIT_SIZE))
    return [(names[i % len(names)], SPLITS[split] + (start + i) % SPLIT_SIZE) for i in range(scenes)]


def write_town(
    out: Path,
    *,
    scenes: int,
    seed: int,
    rig: Rig,
    seconds: float = 6.0,
    frequency_hz: float = 8.0,
    situations: Iterable[str] | None = None,
    split: str = "train",
    supersample: int = 2,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> "Dataset":
    """Render scenes into a LeRobot dataset.

    Args:
        out: A folder that does not exist yet.
        workers: Processes that render side by side; the result does not depend on it.
        progress: Called with (scenes done, scenes in all).
    Raises:
        OutputExists: if `out` exists.
        UnknownName, BadRequest: as `scene_list` and `simulate`.
    """
    from worldmodel.io.lerobot import write_dataset

    pairs = scene_list(scenes, seed, situations=situations, split=split)
    if not 1 <= workers <= 256:
        raise BadRequest(f"{workers} workers are wanted; it must be 1 to 256. Choose as many as there are cores.")
    simulate(*pairs[0], seconds=seconds, frequency_hz=frequency_hz)  # a bad request fails before anything is written
    make = partial(_clip, rig=rig, seconds=seconds, frequency_hz=frequency_hz, supersample=supersample)
    clips = _counted(_clips(make, pairs, workers), len(pairs), progress)
    return write_dataset(clips, Path(out), name=f"town-{split}-{seed}")


def _clip(pair: tuple[str, int], *, rig: Rig, seconds: float, frequency_hz: float, supersample: int) -> Clip:
    return town_clip(*pair, rig=rig, seconds=seconds, frequency_hz=frequency_hz, supersample=supersample)


def _clips(make: Callable[[tuple[str, int]], Clip], pairs: list[tuple[str, int]], workers: int) -> Iterator[Clip]:
    if workers == 1:
        yield from map(make, pairs)
        return
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead = 2 * workers  # so that finished clips do not pile up in memory
        for start in range(0, len(pairs), ahead):
            yield from pool.map(make, pairs[start : start + ahead])


def _counted(clips: Iterator[Clip], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Clip]:
    for done, clip in enumerate(clips, start=1):
        yield clip
        if progress is not None:
            progress(done, total)
