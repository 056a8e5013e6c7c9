"""Which lanes are near a point: lane segments and the grid of cells that finds them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.stencils import NO_STENCIL, stencil_grid, stencil_table
from worldmodel.town.scene import Lane, Stage

CELL_M = 0.5
REACH_M = 9.0  # lanes farther than this from a point do not matter to it
MARGIN_M = 12.0
CANDIDATES = 5  # lanes kept per cell: those that a point lies deepest in; with fewer, seams show where junctions begin
LINES = {"none": 0.0, "striped": 1.0, "solid": 2.0, "edge": 3.0}
FAR = 1e6


@dataclass(frozen=True, eq=False, kw_only=True)
class LaneIndex:
    """Lane segments and the grid that finds them.

    Attributes:
        segments: x, y, cos, sin, length, distance along the lane, half width, left line, right line, lane,
            length of the whole lane; [s, 11],
            float32. The last row is a segment far away from everything.
        cells: Segment numbers, shape [rows, columns, CANDIDATES], ordered by lane; -1 means none.
        low: World x and y of the grid's corner.
        stencils: What is painted on the road besides lines, rows as in `stencils.py`, [p, 7], float32.
        marks: Rows of `stencils` that may cover a cell, shape [rows, columns, MARKS]; NO_STENCIL means none.
    """

    segments: Tensor
    cells: Tensor
    low: tuple[float, float]
    stencils: Tensor
    marks: Tensor

    @staticmethod
    def of(stage: Stage, device: torch.device | str = "cpu") -> "LaneIndex":
        """Build the index; takes about a tenth of a second for a kilometre of lanes."""
        lanes = stage.lanes
        tables = [_segments(lane, number) for number, lane in enumerate(lanes)]
        nowhere = np.array([[FAR, FAR, 1, 0, 1, 0, -FAR, 0, 0, -1, 1]])
        points = np.concatenate([table[:, :2] for table in tables]) if tables else np.zeros((1, 2))
        low = np.floor(points.min(axis=0) - MARGIN_M)
        columns, rows = (np.ceil((points.max(axis=0) + MARGIN_M - low) / CELL_M)).astype(int)
        grid = _Grid(rows=int(rows), columns=int(columns))
        first = 0
        for table in tables:
            grid.add(table, first, low)
            first += len(table)
        segments = torch.from_numpy(np.concatenate([*tables, nowhere]).astype(np.float32))
        cells = torch.sort(grid.best, dim=-1).values
        painted = stencil_table(stage.crosswalks, stage.stop_lines)
        return LaneIndex(
            segments=segments.to(device),
            cells=cells.to(device),
            low=(float(low[0]), float(low[1])),
            stencils=torch.from_numpy(painted.astype(np.float32)).to(device),
            marks=torch.from_numpy(stencil_grid(painted, low, (int(rows), int(columns)), CELL_M)).to(device),
        )

    def near(self, x: Tensor, y: Tensor) -> Tensor:
        """Segment numbers near points, shape [n, CANDIDATES]; the far segment where there are fewer."""
        found = self._cell(self.cells, x, y, -1)
        return torch.where(found < 0, len(self.segments) - 1, found)

    def marked(self, x: Tensor, y: Tensor) -> Tensor:
        """Rows of `stencils` that may cover points, shape [n, MARKS]."""
        return self._cell(self.marks, x, y, NO_STENCIL)

    def _cell(self, table: Tensor, x: Tensor, y: Tensor, empty: int) -> Tensor:
        rows, columns = table.shape[:2]
        j, i = ((y - self.low[1]) / CELL_M).floor().long(), ((x - self.low[0]) / CELL_M).floor().long()
        outside = (i < 0) | (j < 0) | (i >= columns) | (j >= rows)
        found = table.reshape(rows * columns, -1)[j.clamp(0, rows - 1) * columns + i.clamp(0, columns - 1)]
        return torch.where(outside[:, None], empty, found)


def _segments(lane: Lane, number: int) -> Array:
    a, b = lane.centre[:-1], lane.centre[1:]
    step = b - a
    length = np.linalg.norm(step, axis=1)
    keep = length > 1e-6
    a, step, length = a[keep], step[keep], length[keep]
    along = np.cumsum(length) - length
    rest = np.array([lane.width_m / 2, LINES[lane.left_line], LINES[lane.right_line], number, length.sum()])
    unit = step / length[:, None]
    return np.column_stack([a, unit, length, along, np.broadcast_to(rest, (len(a), 5))])


class _Grid:
    """Keeps the nearest segment of each of the nearest lanes, per cell."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.best = torch.full((rows, columns, CANDIDATES), -1, dtype=torch.int64)
        self.outside = torch.full((rows, columns, CANDIDATES), torch.inf)

    def add(self, table: Array, first: int, low: Array) -> None:
        """Enter one lane; `table` are its segments, numbered from `first`."""
        near = (table[:, :2] - REACH_M - low) / CELL_M, (table[:, :2] + REACH_M - low) / CELL_M
        i0, j0 = np.clip(near[0].min(axis=0).astype(int), 0, None)
        i1 = min(int(near[1][:, 0].max()) + 2, self.columns)
        j1 = min(int(near[1][:, 1].max()) + 2, self.rows)
        distance, segment = _nearest(table, low, (int(i0), int(j0), i1, j1))
        distance = distance - float(table[0, 6])
        here = torch.where(distance < REACH_M, segment + first, -1)
        distance = torch.where(here < 0, torch.inf, distance)
        for k in range(CANDIDATES):
            held, old = self.outside[j0:j1, i0:i1, k], self.best[j0:j1, i0:i1, k]
            better = distance < held
            distance, self.outside[j0:j1, i0:i1, k] = (
                torch.where(better, held, distance),
                torch.where(better, distance, held),
            )
            here, self.best[j0:j1, i0:i1, k] = torch.where(better, old, here), torch.where(better, here, old)


def _nearest(table: Array, low: Array, window: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Distance to, and number of, the nearest segment for every cell of a window; infinite where none is near."""
    i0, j0, i1, j1 = window
    reach = int(np.ceil((REACH_M + 3) / CELL_M))
    offset = torch.arange(-reach, reach + 1)
    rows = torch.from_numpy(table.astype(np.float32))
    middle = rows[:, :2] + rows[:, 2:4] * rows[:, 4:5] / 2 - torch.from_numpy(low.astype(np.float32))
    cell = (middle / CELL_M).floor().long()
    i = (cell[:, 0, None, None] + offset).expand(-1, len(offset), -1)
    j = (cell[:, 1, None, None] + offset[:, None]).expand(-1, -1, len(offset))
    x = (i + 0.5) * CELL_M + float(low[0]) - rows[:, 0, None, None]
    y = (j + 0.5) * CELL_M + float(low[1]) - rows[:, 1, None, None]
    cos, sin, length = rows[:, 2, None, None], rows[:, 3, None, None], rows[:, 4, None, None]
    along = x * cos + y * sin
    over = torch.maximum(-along, along - length).clamp(min=0)
    across = y * cos - x * sin
    # whom a cell lies behind counts for less, or lanes that end at a crossing crowd out those that cover it
    distance = torch.sqrt(across * across + over * over) + (2 * over).clamp(max=0.6)
    inside = (i >= i0) & (i < i1) & (j >= j0) & (j < j1)
    place = ((j - j0) * (i1 - i0) + i - i0)[inside]
    number = torch.arange(len(rows))[:, None, None].expand_as(i)[inside]
    key = ((distance[inside] * 1024).long() << 20) | number
    best = torch.full(((j1 - j0) * (i1 - i0),), (1 << 40) - 1)
    best.scatter_reduce_(0, place, key, "amin")
    best = best.reshape(j1 - j0, i1 - i0)
    found = best < (1 << 40) - 1
    return torch.where(found, (best >> 20).float() / 1024, torch.inf), best & ((1 << 20) - 1)
