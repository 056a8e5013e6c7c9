"""The ground: which lanes are near a point, and the paint on road, kerb, pavement and grass.

A grid of cells stores the nearest lane segments; colours are then computed exactly at each point from those segments,
so that lines stay sharp at every picture size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.scene import Lane
from worldmodel.town.shading import Rgb, above, band, cell_noise, mix, noise, pulses, tinted

CELL_M = 0.5
REACH_M = 9.0  # lanes farther than this from a point do not matter to it
MARGIN_M = 12.0
CANDIDATES = 4  # lanes kept per cell
LINE_M = 0.24
DASH_M, DASH_PERIOD_M = 3.0, 7.5
KERB_M, PAVEMENT_M = 0.28, 2.6
LINES = {"none": 0.0, "striped": 1.0, "solid": 2.0, "edge": 3.0}
FAR = 1e6


@dataclass(frozen=True, eq=False, kw_only=True)
class LaneIndex:
    """Lane segments and the grid that finds them.

    Attributes:
        segments: x, y, cos, sin, length, distance along the lane, half width, left line, right line, lane; [s, 10],
            float32. The last row is a segment far away from everything.
        cells: Segment numbers, shape [rows, columns, CANDIDATES], ordered by lane; -1 means none.
        low: World x and y of the grid's corner.
    """

    segments: Tensor
    cells: Tensor
    low: tuple[float, float]

    @staticmethod
    def of(lanes: tuple[Lane, ...], device: torch.device | str = "cpu") -> "LaneIndex":
        """Build the index; takes about a tenth of a second for a kilometre of lanes."""
        tables = [_segments(lane, number) for number, lane in enumerate(lanes)]
        nowhere = np.array([[FAR, FAR, 1, 0, 1, 0, -FAR, 0, 0, -1]])
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
        return LaneIndex(segments=segments.to(device), cells=cells.to(device), low=(float(low[0]), float(low[1])))

    def near(self, x: Tensor, y: Tensor) -> Tensor:
        """Segment numbers near points, shape [n, CANDIDATES]; the far segment where there are fewer."""
        rows, columns = self.cells.shape[:2]
        j, i = ((y - self.low[1]) / CELL_M).floor().long(), ((x - self.low[0]) / CELL_M).floor().long()
        outside = (i < 0) | (j < 0) | (i >= columns) | (j >= rows)
        found = self.cells.reshape(rows * columns, -1)[j.clamp(0, rows - 1) * columns + i.clamp(0, columns - 1)]
        last = len(self.segments) - 1
        return torch.where(outside[:, None] | (found < 0), last, found)


def _segments(lane: Lane, number: int) -> Array:
    a, b = lane.centre[:-1], lane.centre[1:]
    step = b - a
    length = np.linalg.norm(step, axis=1)
    keep = length > 1e-6
    a, step, length = a[keep], step[keep], length[keep]
    along = np.cumsum(length) - length
    rest = np.array([lane.width_m / 2, LINES[lane.left_line], LINES[lane.right_line], number])
    unit = step / length[:, None]
    return np.column_stack([a, unit, length, along, np.broadcast_to(rest, (len(a), 4))])


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
    distance = torch.sqrt(across * across + over * over)
    inside = (i >= i0) & (i < i1) & (j >= j0) & (j < j1)
    place = ((j - j0) * (i1 - i0) + i - i0)[inside]
    number = torch.arange(len(rows))[:, None, None].expand_as(i)[inside]
    key = ((distance[inside] * 1024).long() << 20) | number
    best = torch.full(((j1 - j0) * (i1 - i0),), (1 << 40) - 1)
    best.scatter_reduce_(0, place, key, "amin")
    best = best.reshape(j1 - j0, i1 - i0)
    found = best < (1 << 40) - 1
    return torch.where(found, (best >> 20).float() / 1024, torch.inf), best & ((1 << 20) - 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Near:
    """One candidate lane seen from each point: inside (m), offset to the left, along the lane, pixel sizes."""

    inside: Tensor
    left: Tensor
    over: Tensor
    along: Tensor
    half: Tensor
    left_line: Tensor
    right_line: Tensor
    lane: Tensor
    wide: Tensor
    deep: Tensor


def _seen(segment: Tensor, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]) -> _Near:
    sx, sy, cos, sin, length, start, half, left_line, right_line, lane = segment.unbind(1)
    rx, ry = x - sx, y - sy
    along, left = rx * cos + ry * sin, ry * cos - rx * sin
    over = torch.maximum(-along, along - length).clamp(min=0)
    wide = (dx[1] * cos - dx[0] * sin).abs() + (dy[1] * cos - dy[0] * sin).abs()
    deep = (dx[0] * cos + dx[1] * sin).abs() + (dy[0] * cos + dy[1] * sin).abs()
    return _Near(
        inside=torch.minimum(half - left.abs(), 0.6 - over),
        left=left,
        over=over,
        along=along + start,
        half=half,
        left_line=left_line,
        right_line=right_line,
        lane=lane,
        wide=wide.clamp(min=1e-4),
        deep=deep.clamp(min=1e-4),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Soil:
    """The ground at some points: its unlit colour, the share that is road, metres left of its lane's middle, pixel size.

    Attributes:
        paint: Share of the points that is covered with white or yellow paint.
        pixel: Size of a pixel on the ground, metres, the longer of its sides.
    """

    color: Rgb
    road: Tensor
    left: Tensor
    paint: Tensor
    pixel: Tensor


def ground_color(index: LaneIndex, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]) -> Soil:
    """What the ground is at points (x, y), unlit and in dry weather.

    Args:
        index: The lanes.
        x, y: World coordinates, metres, shape [n].
        dx, dy: How x and y change over one pixel to the right, and one pixel down.
    """
    number = index.near(x, y)
    near = [_seen(index.segments[number[:, k]], x, y, dx, dy) for k in range(CANDIDATES)]
    road = near[0].inside
    left, along = near[0].left, near[0].along
    side, wide, lane = _side_line(near[0]), near[0].wide, near[0].lane
    for other in near[1:]:
        closer = other.inside > road
        road = torch.where(closer, other.inside, road)
        left, along = torch.where(closer, other.left, left), torch.where(closer, other.along, along)
        side, wide = torch.where(closer, _side_line(other), side), torch.where(closer, other.wide, wide)
        lane = torch.where(closer, other.lane, lane)
    size = torch.sqrt((dx[0] * dx[0] + dx[1] * dx[1]).clamp(min=1e-8))
    depth = torch.sqrt((dy[0] * dy[0] + dy[1] * dy[1]).clamp(min=1e-8))
    coarse = torch.maximum(size, depth)
    color = _grass(x, y, coarse)
    paved = (side == LINES["edge"]) | (side == LINES["none"])
    walk = _pavement(x, y, left, along, size, coarse)
    color = mix(color, walk, above(road, -PAVEMENT_M, wide) * paved)
    color = mix(color, tinted((0.56, 0.51, 0.42), 0.8 + 0.4 * noise(x * 3, y * 3)), above(road, -0.9, wide) * ~paved)
    kerb = tinted((0.80, 0.79, 0.76), 1 - 0.25 * pulses(along, 2.0, 0.12, coarse))
    color = mix(color, kerb, above(road, -KERB_M, wide) * paved)
    asphalt = _asphalt(x, y, left, coarse, lane)
    paved_road = sum((above(lane.inside, -0.04, lane.wide) for lane in near), torch.zeros_like(x))
    paved_road = paved_road.clamp(max=1)
    color = mix(color, asphalt, paved_road)  # a sum, so that no seam shows between neighbours
    white, yellow = _markings(near)
    worn = 1 - 0.22 * noise(x * 2.3, y * 2.3)
    color = mix(color, (0.95, 0.95, 0.93), white * worn)
    color = mix(color, (0.98, 0.76, 0.16), yellow * worn)
    return Soil(color=color, road=paved_road, left=left, paint=torch.maximum(white, yellow), pixel=coarse)


def _side_line(lane: _Near) -> Tensor:
    return torch.where(lane.left > 0, lane.left_line, lane.right_line)


def _fading(amount: float, size_m: float, pixel: Tensor) -> Tensor:
    """Contrast of a texture with bumps of `size_m`, which vanishes where a pixel is larger than a bump."""
    return amount * (1.5 * size_m / pixel).clamp(max=1.0)


def _grass(x: Tensor, y: Tensor, pixel: Tensor) -> Rgb:
    fine = (noise(x * 4.1, y * 4.1) - 0.5) * _fading(0.30, 0.25, pixel)
    tufts = (noise(x * 0.9, y * 0.9) - 0.5) * _fading(0.35, 1.1, pixel)
    fields = noise(x * 0.11, y * 0.11)
    meadow = (noise(x * 0.045 + 7, y * 0.045 + 3) * 2.2 - 0.6).clamp(0, 1)
    value = 0.92 + fine + tufts + 0.34 * (fields - 0.5)
    color = mix(tinted((0.30, 0.56, 0.17), value), tinted((0.62, 0.62, 0.27), value), meadow * 0.75)
    near, far = noise(x * 2.2 + 31, y * 2.2 + 5), noise(x * 0.2 + 3, y * 0.2)
    flowers = ((near - 0.80) * 9).clamp(0, 1) * ((far - 0.5) * 4).clamp(0, 1) * _fading(0.9, 0.4, pixel)
    return mix(color, (0.98, 0.93, 0.42), flowers)


def _pavement(x: Tensor, y: Tensor, left: Tensor, along: Tensor, size: Tensor, coarse: Tensor) -> Rgb:
    joints = torch.maximum(pulses(along, 1.2, 0.07, coarse), pulses(left, 0.8, 0.06, size) * 0.8)
    slab = cell_noise((along / 1.2 - 0.5).floor(), (left / 0.8 - 0.5).floor()) - 0.5
    value = 0.98 + 0.12 * (noise(x * 0.7, y * 0.7) - 0.5) + slab * _fading(0.16, 0.8, coarse)
    return tinted((0.70, 0.66, 0.61), value - 0.22 * joints)


def _asphalt(x: Tensor, y: Tensor, left: Tensor, pixel: Tensor, lane: Tensor) -> Rgb:
    grain = (noise(x * 9, y * 9) - 0.5) * _fading(0.16, 0.11, pixel)
    patches = (noise(x * 0.5, y * 0.5) - 0.5) * 0.16 + (noise(x * 0.12, y * 0.12 + 9) - 0.5) * 0.16
    track = left.abs() - 0.85
    tracks = 0.06 * (1 - (track * 2.2) * (track * 2.2)).clamp(min=0)
    shade = 0.04 * (cell_noise(lane, torch.full_like(lane, 5)) - 0.5)
    return tinted((0.375, 0.38, 0.405), 1 + grain + patches - tracks + shade)


def _markings(near: list[_Near]) -> tuple[Tensor, Tensor]:
    """Cover of white and yellow paint; where two lanes share a line, the first one draws it."""
    white, yellow = torch.zeros_like(near[0].left), torch.zeros_like(near[0].left)
    decided = torch.zeros_like(white, dtype=torch.bool)
    for name in ("left", "right"):
        for k, lane in enumerate(near):
            line = lane.left_line if name == "left" else lane.right_line
            offset = lane.half - lane.left if name == "left" else lane.half + lane.left
            close = (offset.abs() < 0.35 + lane.wide) & (line > 0) & (lane.over < 0.3) & ~decided
            decided = decided | close
            cover = band(offset, -LINE_M / 2, LINE_M / 2, lane.wide)
            dashes = pulses(lane.along, DASH_PERIOD_M, DASH_M, lane.deep)
            cover = torch.where(line == LINES["striped"], cover * dashes, cover)
            cover = torch.where(close & (line < LINES["edge"]), cover, 0.0)
            for j, other in enumerate(near):
                if j != k:
                    cover = cover * (1 - above(other.inside, 0.5, other.wide))
            gold = (line == LINES["solid"]) & (name == "left")
            yellow, white = (
                torch.where(gold, torch.maximum(yellow, cover), yellow),
                torch.where(gold, white, torch.maximum(white, cover)),
            )
    return white, yellow
