"""A scene, prepared for rendering: its parts, light and shadow casters, on one device."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.bodies import body_parts
from worldmodel.town.looks.lamps import body_lamps, signal_lamps
from worldmodel.town.looks.lane_index import LaneIndex
from worldmodel.town.looks.scenery import stage_parts
from worldmodel.town.looks.shading import Mood, mood
from worldmodel.town.looks.shadows import Casters
from worldmodel.town.looks.shapes import COLUMN, Parts
from worldmodel.town.scene import Scene, Stage

NO_INSTANCE, GROUND_INSTANCE, SCENERY_INSTANCE = -1, -2, -3


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fixed:
    """A stage, prepared: parts in the world and the lane index."""

    parts: Parts
    index: LaneIndex


@lru_cache(maxsize=4)
def _fixed(stage: Stage, device: str) -> _Fixed:
    return _Fixed(parts=stage_parts(stage), index=LaneIndex.of(stage, device))


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
    """A scene, prepared for a device. Parts of the stage come first, then those of the bodies.

    Attributes:
        owner: Body of each body part, [body parts].
        walked_m: How far each body has come, [time, body].
    """

    scene: Scene
    device: torch.device | str
    index: LaneIndex
    mood: Mood
    casters: Casters
    still: Parts
    moving: Parts
    owner: Array
    walked_m: Array
    colors: Tensor
    numbers: Tensor
    codes: Tensor

    @staticmethod
    def of(scene: Scene, device: torch.device | str) -> "World":
        """Prepare a scene; its stage is prepared once and kept for the next scenes on it."""
        fixed = _fixed(scene.stage, str(device))
        bodies = [body_parts(body) for body in scene.bodies]
        owner = np.repeat(np.arange(len(bodies)), [len(parts) for parts in bodies]).astype(np.int64)
        moving = Parts.joined(bodies)
        every = Parts.joined([fixed.parts, moving])
        codes = np.concatenate([np.full(len(fixed.parts), SCENERY_INSTANCE), owner])
        return World(
            scene=scene,
            device=device,
            index=fixed.index,
            mood=mood(scene.light),
            casters=Casters.of(scene.stage, scene.bodies, scene.light),
            still=fixed.parts,
            moving=moving,
            owner=owner,
            walked_m=np.cumsum(np.abs(scene.body_speeds_mps), axis=0) / scene.frequency_hz,
            colors=torch.from_numpy(every.colors.reshape(-1, 6).astype(np.float32)).to(device),
            numbers=torch.from_numpy(every.numbers).to(device),
            codes=torch.from_numpy(codes).to(device),
        )

    def vectors(self, frames: list[int]) -> Tensor:
        """Centres and half axes of all parts in the world, [time, part, 4, 3]."""
        pose = self.scene.body_poses[frames][:, self.owner]
        local = np.broadcast_to(self.moving.vectors, (len(frames), *self.moving.vectors.shape)).copy()
        swing = self.moving.numbers[:, COLUMN["swing_m"]]
        stride = 2 * np.pi * self.walked_m[frames][:, self.owner] / self.moving.numbers[:, COLUMN["stride_m"]]
        local[:, :, 0, 0] += swing * np.sin(stride)
        local[:, :, 0, 2] += self.moving.numbers[:, COLUMN["lift_m"]] * np.cos(stride)
        cos, sin = np.cos(pose[:, :, 2, None]), np.sin(pose[:, :, 2, None])
        x, y = local[..., 0], local[..., 1]
        turned = np.stack([cos * x - sin * y, sin * x + cos * y, local[..., 2]], axis=-1)
        turned[:, :, 0, :2] += pose[:, :, :2]
        still = np.broadcast_to(self.still.vectors, (len(frames), *self.still.vectors.shape))
        return torch.from_numpy(np.concatenate([still, turned], axis=1)).to(self.device)

    def rows(self, values: Array, frames: list[int], still: bool) -> Tensor:
        """A per-body truth value for each part, [time, part]; `still` for parts of the stage."""
        fixed = np.full((len(frames), len(self.still)), still)
        return torch.from_numpy(np.concatenate([fixed, values[frames][:, self.owner]], axis=1)).to(self.device)

    def lamps(self, frames: list[int]) -> Tensor:
        """Which lamps of each part shine, [time, part]; see `lamps.py`."""
        still = signal_lamps(self.scene, self.still, frames)
        moving = body_lamps(self.scene, frames)[:, self.owner]
        return torch.from_numpy(np.concatenate([still, moving], axis=1)).to(self.device)
