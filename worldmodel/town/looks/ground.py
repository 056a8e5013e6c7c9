"""The paint on the ground: road, kerb, pavement and grass, lines, crossings; and which of them lies where.

A grid of cells finds the nearest lane segments; colours are then computed exactly at each point from those segments,
so that lines stay sharp at every picture size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.town.looks.lane_index import CANDIDATES, LINES, LaneIndex
from worldmodel.town.looks.shading import Rgb, above, band, cell_noise, mix, noise, pulses, tinted
from worldmodel.town.looks.stencils import Printed, printed

LINE_M = 0.24
DASH_M, DASH_PERIOD_M = 3.0, 7.5
DASH_START_M, STUB_M = (DASH_PERIOD_M - DASH_M) / 2, 1.4
KERB_M, PAVEMENT_M, VERGE_M = 0.28, 2.6, 0.9
ROAD, MARKING, PAVEMENT, TERRAIN = 0, 1, 2, 3  # kinds of ground


@dataclass(frozen=True, eq=False, kw_only=True)
class _Near:
    """One candidate lane seen from each point: inside (m), offset to the left, along the lane, pixel sizes.

    `whole` is False where the lane ends soon after a dash has begun: such a stub is not painted.
    """

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
    whole: Tensor


def _seen(segment: Tensor, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]) -> _Near:
    sx, sy, cos, sin, length, start, half, left_line, right_line, lane, total = segment.unbind(1)
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
        whole=total - (((along + start) / DASH_PERIOD_M).floor() * DASH_PERIOD_M + DASH_START_M) > STUB_M,
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


def _nearby(
    index: LaneIndex, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]
) -> list[_Near]:
    number = index.near(x, y)
    return [_seen(index.segments[number[:, k]], x, y, dx, dy) for k in range(CANDIDATES)]


def ground_kind(index: LaneIndex, x: Tensor, y: Tensor) -> Tensor:
    """ROAD, MARKING, PAVEMENT (with the kerb) or TERRAIN at points (x, y) in the world, metres; int64, shape [n]."""
    point = torch.full_like(x, 1e-3), torch.zeros_like(x)
    near = _nearby(index, x, y, point, (point[1], point[0]))
    road = near[0].inside
    side = _side_line(near[0])
    for other in near[1:]:
        closer = other.inside > road
        road, side = torch.where(closer, other.inside, road), torch.where(closer, _side_line(other), side)
    paint = printed(index, x, y, point, (point[1], point[0]))
    white, yellow = _markings(near)
    marked = torch.maximum(torch.maximum(white, yellow) * (1 - paint.zebra), paint.white) > 0.5
    paved = (side == LINES["edge"]) | (side == LINES["none"])
    beside = torch.where((road > -PAVEMENT_M) & paved, PAVEMENT, TERRAIN)
    return torch.where(road > -0.04, torch.where(marked, MARKING, ROAD), beside)


def ground_color(index: LaneIndex, x: Tensor, y: Tensor, dx: tuple[Tensor, Tensor], dy: tuple[Tensor, Tensor]) -> Soil:
    """What the ground is at points (x, y), unlit and in dry weather.

    Args:
        index: The lanes.
        x, y: World coordinates, metres, shape [n].
        dx, dy: How x and y change over one pixel to the right, and one pixel down.
    """
    near = _nearby(index, x, y, dx, dy)
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
    color = mix(
        color, tinted((0.56, 0.51, 0.42), 0.8 + 0.4 * noise(x * 3, y * 3)), above(road, -VERGE_M, wide) * ~paved
    )
    stencil = printed(index, x, y, dx, dy)
    color = _tactile(color, x, y, stencil, coarse)
    kerb = tinted((0.80, 0.79, 0.76), 1 - 0.25 * pulses(along, 2.0, 0.12, coarse))
    kerb = mix(kerb, (0.47, 0.47, 0.47), stencil.lowered)
    color = mix(color, kerb, above(road, -KERB_M, wide) * paved)
    asphalt = _asphalt(x, y, left, coarse, lane)
    paved_road = sum((above(lane.inside, -0.04, lane.wide) for lane in near), torch.zeros_like(x))
    paved_road = paved_road.clamp(max=1)
    color = mix(color, asphalt, paved_road)  # a sum, so that no seam shows between neighbours
    white, yellow = _markings(near)
    clear = 1 - stencil.zebra
    white, yellow = torch.maximum(white * clear, stencil.white * paved_road.clamp(max=1)), yellow * clear
    worn = 1 - 0.22 * noise(x * 2.3, y * 2.3)
    color = mix(color, (0.95, 0.95, 0.93), white * worn)
    color = mix(color, (0.98, 0.76, 0.16), yellow * worn)
    return Soil(color=color, road=paved_road, left=left, paint=torch.maximum(white, yellow), pixel=coarse)


def _side_line(lane: _Near) -> Tensor:
    return torch.where(lane.left > 0, lane.left_line, lane.right_line)


def _tactile(color: Rgb, x: Tensor, y: Tensor, stencil: Printed, coarse: Tensor) -> Rgb:
    """Ribbed pale slabs on the pavement where a crossing begins."""
    ribs = pulses(x + y, 0.4, 0.16, coarse)
    return mix(color, tinted((0.90, 0.84, 0.66), 1 - 0.25 * ribs), stencil.lowered)


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
    open_road = [1 - above(lane.inside, 0.5, lane.wide) for lane in near]
    for name in ("left", "right"):
        for k, lane in enumerate(near):
            line = lane.left_line if name == "left" else lane.right_line
            offset = lane.half - lane.left if name == "left" else lane.half + lane.left
            close = (offset.abs() < 0.35 + lane.wide) & (line > 0) & (lane.over < 0.3) & ~decided
            decided = decided | close
            at = torch.nonzero(close & (line < LINES["edge"]))[:, 0]
            cover = band(offset[at], -LINE_M / 2, LINE_M / 2, lane.wide[at])
            dashes = pulses(lane.along[at], DASH_PERIOD_M, DASH_M, lane.deep[at]) * lane.whole[at]
            cover = torch.where(line[at] == LINES["striped"], cover * dashes, cover)
            for j, bare in enumerate(open_road):
                if j != k:
                    cover = cover * bare[at]
            gold = (line[at] == LINES["solid"]) & (name == "left")
            yellow[at] = torch.maximum(yellow[at], cover * gold)
            white[at] = torch.maximum(white[at], cover * ~gold)
    return white, yellow
