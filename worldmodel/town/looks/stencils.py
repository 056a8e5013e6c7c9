"""What is painted on the road besides lines: zebra stripes, stop lines, give-way teeth; and lowered kerbs beside zebras.

Every mark is a rectangle; a grid tells which marks, MARKS at most, may cover a cell, so that the cost does not grow with
their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.shading import pulses
from worldmodel.town.scene import Crosswalk, StopLine

NO_STENCIL = -1
MARKS = 3  # kept per cell: a zebra, its lowered kerb and a line before it
ZEBRA, BAR, TEETH, LOWERED = 0, 1, 2, 3
STRIPE_M, STRIPE_PERIOD_M = 0.5, 1.0
BAR_M = 0.45  # depth of a stop line
TOOTH_M, TOOTH_PERIOD_M, TOOTH_DEPTH_M = 0.5, 0.75, 0.7
LOWERED_M = 1.0  # how far a lowered kerb and its slabs reach beyond the road
CLEAR_M = 1.4  # room before and behind a zebra without lines
BLUR_M = 2.4  # a pixel this far from a mark may still see some of it


@dataclass(frozen=True, eq=False, kw_only=True)
class Printed:
    """Cover at points, 0 to 1.

    Attributes:
        white: By white paint of marks.
        zebra: By zebra crossings with the room before and behind them, where other lines are interrupted.
        lowered: By the places where the kerb is lowered.
    """

    white: Tensor
    zebra: Tensor
    lowered: Tensor


class Marked(Protocol):
    """An index of marks: `lane_index.LaneIndex`."""

    @property
    def stencils(self) -> Tensor:
        """Rows x, y, cos, sin, half length, half width, kind."""

    def marked(self, x: Tensor, y: Tensor) -> Tensor:
        """MARKS rows for each point."""


def stencil_table(crosswalks: Sequence[Crosswalk], stop_lines: Sequence[StopLine]) -> Float[Array, "n 7"]:
    """Rows x, y, cos, sin, half length (along the traffic), half width, kind."""
    rows = []
    for zebra in crosswalks:
        cos, sin = np.cos(zebra.yaw_rad), np.sin(zebra.yaw_rad)
        half_l, half_w = zebra.length_m / 2, zebra.width_m / 2
        rows.append([zebra.x_m, zebra.y_m, cos, sin, half_l, half_w, ZEBRA])
        for side in (1, -1):
            off = side * (half_w + LOWERED_M / 2)
            rows.append([zebra.x_m - sin * off, zebra.y_m + cos * off, cos, sin, half_l, LOWERED_M / 2, LOWERED])
    for line in stop_lines:
        cos, sin = np.cos(line.yaw_rad), np.sin(line.yaw_rad)
        kind, depth = (TEETH, TOOTH_DEPTH_M) if line.kind == "teeth" else (BAR, BAR_M)
        rows.append([line.x_m, line.y_m, cos, sin, depth / 2, line.width_m / 2 - 0.12, kind])
    return np.array(rows, np.float64).reshape(-1, 7)


def stencil_grid(table: Array, low: Array, shape: tuple[int, int], cell_m: float) -> Int[Array, "rows columns marks"]:
    """Which marks may cover each cell of a grid: the first MARKS, NO_STENCIL where there are fewer."""
    grid = np.full((*shape, MARKS), NO_STENCIL, np.int64)
    for number, (x, y, cos, sin, half_l, half_w, _) in enumerate(table):
        reach = np.hypot(half_l, half_w) + BLUR_M
        i0, j0 = np.clip(((np.array([x, y]) - reach - low) / cell_m).astype(int), 0, None)
        i1, j1 = ((np.array([x, y]) + reach - low) / cell_m).astype(int) + 1
        window = grid[j0:j1, i0:i1]
        j, i = np.mgrid[j0 : j0 + window.shape[0], i0 : i0 + window.shape[1]]
        rx, ry = (i + 0.5) * cell_m + low[0] - x, (j + 0.5) * cell_m + low[1] - y
        inside = (np.abs(rx * cos + ry * sin) < half_l + BLUR_M) & (np.abs(ry * cos - rx * sin) < half_w + BLUR_M)
        for k in range(MARKS):
            free = inside & (window[..., k] == NO_STENCIL)
            window[free, k] = number
            inside &= ~free
    return grid


def printed(index: Marked, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]) -> Printed:
    """Cover of all marks at points (x, y); `dx` and `dy` as for `ground.ground_color`."""
    covers = [torch.zeros_like(x) for _ in range(3)]
    if len(index.stencils):
        found = index.marked(x, y)
        for k in range(MARKS):
            at = torch.nonzero(found[:, k] >= 0)[:, 0]
            row = index.stencils[found[at, k]]
            some = _covers(row, (x[at], y[at]), (dx[0][at], dx[1][at]), (dy[0][at], dy[1][at]))
            for whole, part in zip(covers, some, strict=True):
                whole[at] = torch.maximum(whole[at], part)
    return Printed(white=covers[0], zebra=covers[1], lowered=covers[2])


def _covers(
    row: Tensor, point: tuple[Tensor, Tensor], dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    cx, cy, cos, sin, half_l, half_w, kind = row.unbind(1)
    rx, ry = point[0] - cx, point[1] - cy
    along, left = rx * cos + ry * sin, ry * cos - rx * sin
    wide = ((dx[1] * cos - dx[0] * sin).abs() + (dy[1] * cos - dy[0] * sin).abs()).clamp(min=1e-4)
    deep = ((dx[0] * cos + dx[1] * sin).abs() + (dy[0] * cos + dy[1] * sin).abs()).clamp(min=1e-4)
    area = _between(along, half_l, deep) * _between(left, half_w, wide)
    stripes = pulses(left, STRIPE_PERIOD_M, STRIPE_M, wide)
    share = ((along + half_l) / (2 * half_l)).clamp(0, 1)  # teeth point at those who come
    teeth = pulses(left, TOOTH_PERIOD_M, TOOTH_M * share, wide)
    pattern = torch.where(kind == ZEBRA, stripes, torch.where(kind == TEETH, teeth, torch.ones_like(left)))
    around = _between(along, half_l + CLEAR_M, deep) * _between(left, half_w, wide)
    return area * pattern * (kind != LOWERED), around * (kind == ZEBRA), area * (kind == LOWERED)


def _between(x: Tensor, half: Tensor, width: Tensor) -> Tensor:
    """Share of a pixel of `width` around x within `half` of zero."""
    return (torch.minimum(x + width / 2, half) - torch.maximum(x - width / 2, -half)).clamp(min=0) / width
