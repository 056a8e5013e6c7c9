"""What is painted on houses: windows, doors, shops, balconies, tiles."""

import torch
from torch import Tensor

from worldmodel.town.looks.hits import Hits, Paint, none, scaled
from worldmodel.town.looks.shading import Mood, Rgb, above, band, cell_noise, mix, noise, pulses, tinted

FLOOR_M = 3.1


def facade(h: Hits, mood: Mood) -> Paint:
    """A wall with windows, doors, at times shops, balconies, shutters or flowers, all drawn from the seed."""
    x, y = (h.u + 1) / 2 * h.size_u, (h.v + 1) / 2 * h.size_v
    dx, dy = h.du * h.size_u / 2, h.dv * h.size_v / 2
    floors = (h.size_v / FLOOR_M).round().clamp(min=1)
    tall = h.size_v / floors
    columns = (h.size_u / (2.2 + 0.25 * (h.seed % 4))).round().clamp(min=1)
    wide = h.size_u / columns
    column, floor = (x / wide).floor(), (y / tall).floor()
    shift = y + 0.02 * tall
    share = 0.46 + 0.06 * (h.seed % 3)
    pane = pulses(x, wide, wide * share, dx) * pulses(shift, tall, tall * 0.52, dy)
    frame = pulses(x, wide, wide * share + 0.34, dx) * pulses(shift, tall, tall * 0.52 + 0.34, dy)
    rough = noise(x * 0.6 + h.seed, y * 0.35)
    color = tuple(c * (0.93 + 0.14 * rough) for c in h.color)
    shop = (h.seed % 3 == 1) & (floors >= 3)
    ledges = pulses(y, tall, 0.16, dy) * 0.16  # a thin line between floors
    wall: Rgb = mix((color[0], color[1], color[2]), (0.0, 0.0, 0.0), ledges)
    plinth = above(-y, -0.55, dy)
    wall = mix(wall, (0.36, 0.34, 0.33), plinth * 0.8)
    pale = tuple(0.45 + 0.55 * c for c in h.color)
    wall = mix(wall, (pale[0], pale[1], pale[2]), frame)
    lamp = cell_noise(column + 17 * h.seed, floor + 3 * h.seed)
    evening = (lamp > 0.5) if mood.day < 0.6 else (lamp > 0.97)
    sheen = 0.16 + 0.24 * cell_noise(column + 5, floor + h.seed) + 0.20 * (y / tall - floor)
    glass = mix(tinted((0.72, 0.86, 1.0), sheen * (0.35 + 0.65 * mood.day)), (1.0, 0.83, 0.48), evening.float())
    wall = _shutters(wall, h, (x, shift, dx, dy), (wide, tall, wide * share))
    wall = mix(wall, glass, pane)
    shine = pane * evening * (1.0 - 0.75 * mood.day)
    wall = _shop(wall, h, (x, y, dx, dy), shop)
    door_at = (h.seed * 7 % 5) % columns
    door = band(x - (door_at + 0.5) * wide, -0.62, 0.62, dx) * above(-y, -2.35, dy)
    step = band(x - (door_at + 0.5) * wide, -0.78, 0.78, dx) * above(-y, -2.52, dy)
    wall = mix(mix(wall, (0.88, 0.87, 0.84), step), (0.36, 0.18, 0.12), door)
    corner = 1 - 0.22 * above(h.u.abs(), 1 - 0.5 / h.size_u, h.du)
    return (wall[0] * corner, wall[1] * corner, wall[2] * corner), shine * (1 - door)


def _shutters(
    wall: Rgb, h: Hits, place: tuple[Tensor, Tensor, Tensor, Tensor], cell: tuple[Tensor, Tensor, Tensor]
) -> Rgb:
    """Beside the windows of some houses shutters, below those of others flower boxes or balconies."""
    x, y, dx, dy = place
    wide, tall, pane = cell
    kind = (h.seed / 8).floor() % 5
    beside = pulses(x, wide, (pane + 1.1).clamp(max=0.96 * wide), dx) * pulses(y, tall, tall * 0.52, dy)
    wall = mix(wall, h.second, beside * (kind == 1))
    low = tall * 0.26
    under = pulses(x, wide, pane + 0.2, dx) * pulses(y + tall / 2 + low - 0.12, tall, torch.full_like(tall, 0.34), dy)
    bloom = cell_noise((x * 5).floor(), (y * 6).floor())
    wall = mix(wall, (0.26, 0.45, 0.18), under * (kind == 2))
    wall = mix(wall, (0.90, 0.20, 0.30), under * (kind == 2) * (bloom > 0.55))
    rail = pulses(x, wide, 0.9 * wide, dx) * ((x / wide).floor() % 2 == 1) * (y > tall)
    rail = rail * pulses(y + tall / 2 + low - 0.30, tall, torch.full_like(tall, 0.85), dy)
    bars = 0.45 + 0.55 * pulses(x, 0.24, 0.10, dx)
    return mix(wall, (0.24, 0.25, 0.27), rail * bars * (kind == 3))


def _shop(wall: Rgb, h: Hits, place: tuple[Tensor, Tensor, Tensor, Tensor], shop: Tensor) -> Rgb:
    x, y, dx, dy = place
    window = pulses(x, 3.4, 2.9, dx) * band(y, 0.5, 2.4, dy) * shop
    wall = mix(wall, (0.20, 0.27, 0.32), window)
    awning = band(y, 2.4, 3.05, dy) * shop
    stripes = pulses(x, 1.0, 0.5, dx)
    cloth = mix((1 - 0.75 * stripes, 1 - 0.1 * h.second[1] - 0.75 * stripes, 1 - 0.7 * stripes), h.second, stripes)
    return mix(wall, cloth, awning)


def roof(h: Hits, _: Mood) -> Paint:
    """Rows of tiles."""
    rows = pulses((h.v + 1) / 2 * h.size_v, 0.7, 0.22, h.dv * h.size_v / 2)
    return scaled(h.color, 1.04 - 0.28 * rows), none(h)
