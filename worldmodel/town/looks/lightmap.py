"""What lamps light at night: a map of the ground around the ego, from street lamps, headlights and tail lights."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.lanterns import HEAD_TONE, LAMP_TONE, TAIL_TONE, beams, street_lamps
from worldmodel.town.looks.shading import Rgb
from worldmodel.town.scene import Scene

CELL_M = 0.5
REACH_M = 88.0  # of the map around the ego
FADE_M = 20.0  # over which lamp light fades at the map's edge
POOL_M = 15.0  # radius of the light of a street lamp
POOL_CORE_M = 5.2
BEAM_M = 34.0
POOL, BEAM, TAIL = 0, 1, 2
SIZE = int(2 * REACH_M / CELL_M)


@dataclass(frozen=True, eq=False, kw_only=True)
class LightMap:
    """Strength of three kinds of light (street lamps, headlights, tail lights) on a grid in the world.

    Attributes:
        cells: Shape [frame * rows * columns, 3].
        low: World x and y of the middle of each frame's first cell, [frame, 2].
    """

    cells: Tensor
    low: Tensor

    @staticmethod
    def of(scene: Scene, frames: list[int], device: torch.device | str) -> "LightMap":
        """The maps of some frames; they lie on one lattice, so that nothing swims as the ego moves."""
        lows = np.floor((scene.ego_poses[frames, :2] - REACH_M) / CELL_M) * CELL_M
        lamps = street_lamps(scene)
        cells = np.stack([_cells(scene, frame, low, lamps) for frame, low in zip(frames, lows, strict=True)])
        return LightMap(
            cells=torch.from_numpy(cells.reshape(-1, 3)).to(device), low=torch.from_numpy(lows).float().to(device)
        )

    def at(self, frame: Tensor, x: Tensor, y: Tensor, z: Tensor | float) -> Rgb:
        """Light that arrives at points of frames (their place in the list), [n] each."""
        u, v = (x - self.low[frame, 0]) / CELL_M, (y - self.low[frame, 1]) / CELL_M
        u, v = u.clamp(0, SIZE - 1.001), v.clamp(0, SIZE - 1.001)
        left, bottom = u.floor(), v.floor()
        fu, fv = (u - left)[:, None], (v - bottom)[:, None]
        place = frame * (SIZE * SIZE) + bottom.long() * SIZE + left.long()
        a, b, c, d = (self.cells.index_select(0, place + step) for step in (0, 1, SIZE, SIZE + 1))
        below, over = a + (b - a) * fu, c + (d - c) * fu
        found = below + (over - below) * fv
        z = torch.as_tensor(z, dtype=x.dtype, device=x.device)
        pool = found[:, POOL] * (1 - 0.3 * z.clamp(0, 1)) * (1 - ((z - 3.5) / 5).clamp(0, 1) * 0.85)
        low = torch.exp(-(z / 1.7) * (z / 1.7))
        beam, tail = found[:, BEAM] * low, found[:, TAIL] * low
        red, green, blue = (
            pool * a + beam * b + tail * c for a, b, c in zip(LAMP_TONE, HEAD_TONE, TAIL_TONE, strict=True)
        )
        return red, green, blue


def _cells(scene: Scene, frame: int, low: Array, lamps: Array) -> Float[Array, "rows columns 3"]:
    cells = np.zeros((SIZE, SIZE, 3), np.float32)
    for lamp in lamps:
        _add_pool(cells, low, lamp)
    for x, y, yaw, half in beams(scene, frame):
        _add_beam(cells, low, (x, y, yaw), half)
    np.minimum(cells, 1.5, out=cells)
    edge = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]) * CELL_M
    fade = np.clip(edge / FADE_M, 0, 1).astype(np.float32)
    cells *= (fade[:, None] * fade[None, :])[:, :, None]
    return cells


def _window(low: Array, x: float, y: float, reach: float) -> tuple[slice, slice, Array, Array] | None:
    """Rows and columns of the cells within `reach` of a point, and the offsets of their middles from it."""
    i0, i1 = (int(np.clip((x + d - low[0]) / CELL_M, 0, SIZE)) for d in (-reach, reach))
    j0, j1 = (int(np.clip((y + d - low[1]) / CELL_M, 0, SIZE)) for d in (-reach, reach))
    if i0 >= i1 or j0 >= j1:
        return None
    dx, dy = np.arange(i0, i1) * CELL_M + low[0] - x, np.arange(j0, j1) * CELL_M + low[1] - y
    return slice(j0, j1), slice(i0, i1), dx[None, :].astype(np.float32), dy[:, None].astype(np.float32)


def _add_pool(cells: Array, low: Array, lamp: Array) -> None:
    window = _window(low, float(lamp[0]), float(lamp[1]), POOL_M)
    if window is None:
        return
    rows, columns, dx, dy = window
    square = dx * dx + dy * dy
    fade = np.clip(1 - square / POOL_M**2, 0, 1)
    cells[rows, columns, POOL] += 1.15 * fade / (1 + square / POOL_CORE_M**2)


def _add_beam(cells: Array, low: Array, pose: tuple[float, float, float], half: float) -> None:
    x, y, yaw = pose
    cos, sin = np.cos(yaw), np.sin(yaw)
    window = _window(low, x + 0.4 * BEAM_M * cos, y + 0.4 * BEAM_M * sin, 0.65 * BEAM_M)
    if window is None:
        return
    rows, columns, dx, dy = window
    dx, dy = dx + 0.4 * BEAM_M * cos, dy + 0.4 * BEAM_M * sin
    ahead, aside = dx * cos + dy * sin, np.abs(dy * cos - dx * sin)
    wide = half + 0.30 * np.maximum(ahead, 0)
    beam = np.clip(1.45 - aside / wide, 0, 1) * np.clip(ahead / 2.5, 0, 1)
    beam = beam * np.exp(-np.maximum(ahead, 0) / 12) * np.clip((BEAM_M - ahead) / 10, 0, 1)
    cells[rows, columns, BEAM] = np.maximum(cells[rows, columns, BEAM], 0.95 * beam)
    behind = ahead + 4.5  # a red glow behind the car
    glow = 0.20 * np.exp(-(behind * behind + aside * aside) / 2.5) * (behind < 1.0)
    cells[rows, columns, TAIL] = np.maximum(cells[rows, columns, TAIL], glow)
