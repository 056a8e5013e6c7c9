"""Held-out moments of the town to test models on, and stores of town scenes to train readers on: frames and the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from worldmodel.clips import Box, Clip, Instruction
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array, Rig
from worldmodel.plans import Observation
from worldmodel.town.dataset import SOURCE
from worldmodel.town.mixes import scene_list
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import simulate
from worldmodel.town.wander import wander
from worldmodel.training.store import Store


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredScenes:
    """A training store together with what really happened in its scenes.

    Attributes:
        store: Frames [scenes, time, camera, 3, h, w] and steps.
        scenes: (situation, seed) of each.
    """

    store: Store
    scenes: tuple[tuple[str, int], ...]

    @staticmethod
    def open(folder: Path) -> "StoredScenes":
        """Open a store that was made from the town.

        Raises:
            BadDataset: if it is none, or holds recordings.
        """
        store = Store.open(folder)
        if "town" not in store.made_from:
            raise BadDataset(f"'{folder}' holds recordings, whose truth is unknown. Give a store of town scenes.")
        return StoredScenes(store=store, scenes=tuple((str(name), int(seed)) for name, seed in store.made_from["town"]))

    def __len__(self) -> int:
        return len(self.scenes)

    def scene(self, number: int) -> Scene:
        """What happened while there are frames."""
        drive = simulate if self.store.expert[number] else wander
        hertz = self.store.frequency_hz
        return drive(*self.scenes[number], seconds=self.store.video.shape[1] / hertz, frequency_hz=hertz)


@dataclass(frozen=True, eq=False, kw_only=True)
class Moment:
    """A moment of a scene: what was seen and driven before and after it.

    Attributes:
        scene: What happened.
        now: Frame of the scene.
        clip: From some frames before `now` (with it) to some frames after; motion, boxes and instructions to match.
        history: Frames up to and including now.
    """

    scene: Scene
    now: int
    clip: Clip
    history: int

    @property
    def observation(self) -> Observation:
        """What may be seen at this moment."""
        hertz = self.clip.frequency_hz
        return self.clip.observation((self.history - 1) / hertz, self.history / hertz)

    @property
    def future(self) -> Clip:
        """What came next: the frames after now."""
        return self.clip.sliced(self.history / self.clip.frequency_hz, self.clip.duration_s)

    @property
    def future_boxes(self) -> tuple[tuple[Box, ...], ...]:
        """The boxes of the frames after now."""
        return tuple(self.scene.boxes(self.now + 1 + k) for k in range(len(self.clip) - self.history))


def moment_of(scene: Scene, now: int, rig: Rig, *, history: int, future: int, folder: Path) -> Moment:
    """Render the frames around a moment, or read them from `folder` where they were rendered before.

    Args:
        now: Frame of the scene; at least `history` - 1.
        history, future: Frames up to and including now, and after it.
    Raises:
        BadDataset: if the scene does not have these frames.
    """
    first, last = now - history + 1, now + future
    if first < 0 or last >= len(scene):
        raise BadDataset(
            f"frames {first} to {last} of scene '{scene.id}' are wanted, but it has {len(scene)}. Choose another moment."
        )
    clip = Clip(
        id=f"{scene.id}-{now}",
        video=_frames(scene, rig, range(first, last + 1), folder),
        rig=rig,
        motion=scene.trajectory().motion()[first:last],
        motion_origin="town",
        frequency_hz=scene.frequency_hz,
        instructions=tuple(_later(scene.instructions, first / scene.frequency_hz)),
        boxes=tuple(scene.boxes(frame) for frame in range(first, last + 1)),
        source=SOURCE,
    )
    return Moment(scene=scene, now=now, clip=clip, history=history)


def _later(instructions: Sequence[Instruction], seconds: float) -> Iterator[Instruction]:
    """Those that still hold, on a clock that starts later."""
    for one in instructions:
        if one.end_s > seconds:
            yield replace(one, start_s=max(0.0, one.start_s - seconds), end_s=one.end_s - seconds)


def _frames(scene: Scene, rig: Rig, frames: range, folder: Path) -> Array:
    size = f"{len(rig)}x{rig.height_px}x{rig.width_px}"
    file = folder / f"{scene.id}-{frames.start}-{frames.stop}-{size}.npy"
    if file.exists():
        return np.load(file)
    from worldmodel.town.render import render

    video = render(scene, rig, frames).rgb
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as temporary:
        np.save(temporary, video)
    Path(temporary.name).replace(file)
    return video


def unseen_scenes(situations: Sequence[str], seed: int, seconds: float, frequency_hz: float) -> Iterator[Scene]:
    """Scenes of the test split without end, situations in turn; none of them was ever trained on."""
    count = 0
    while True:
        count += 64
        for name, number in scene_list(count, seed, situations=situations, split="test")[count - 64 :]:
            yield simulate(name, number, seconds=seconds, frequency_hz=frequency_hz)
