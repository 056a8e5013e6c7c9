"""What houses look like: walls, roofs, chimneys, dormers."""

import math

from worldmodel.town.looks.shapes import Builder, Color, Facing, Material, Parts, Slab
from worldmodel.town.scene import Building

FACADES: tuple[Color, ...] = (
    (0.90, 0.72, 0.38),  # ochre
    (0.80, 0.42, 0.30),  # terracotta
    (0.94, 0.88, 0.74),  # cream
    (0.55, 0.68, 0.80),  # pale blue
    (0.62, 0.76, 0.62),  # mint
    (0.88, 0.62, 0.60),  # rose
    (0.62, 0.32, 0.26),  # brick
    (0.76, 0.76, 0.74),  # grey
    (0.96, 0.80, 0.48),  # yellow
)
ROOFS: tuple[Color, ...] = ((0.62, 0.26, 0.18), (0.34, 0.30, 0.32), (0.52, 0.36, 0.24), (0.30, 0.38, 0.42))
PLASTER: Color = (0.93, 0.91, 0.86)
BRICK: Color = (0.50, 0.26, 0.20)
GABLE_HEIGHT_LIMIT_M = 11.0  # taller houses get a flat roof
DORMER_M = 0.95  # half width


def building_parts(building: Building) -> Parts:
    """Four facades and a flat or gabled roof."""
    b = Builder()
    style = abs(building.style)
    color, roof = FACADES[style % len(FACADES)], ROOFS[style // 2 % len(ROOFS)]
    x, y, height = building.length_m / 2, building.width_m / 2, building.height_m
    rise = 0.0 if height > GABLE_HEIGHT_LIMIT_M or style % 5 == 0 else min(0.38 * min(x, y) * 2, 0.4 * height)
    eaves = height - rise
    low = Slab(rear=-x, front=x, half=y, z=0.0)
    face = Material.FACADE
    high = Slab(rear=-x, front=x, half=y, z=eaves)
    b.hull(low, high, color, sides=face, front=face, rear=face, second=roof, seed=style % 4096)
    if rise:
        _gable(b, (x, y), eaves, rise, color, roof)
        _on_the_roof(b, (x, y), (eaves, rise), style, roof)
    else:
        _cornice(b, (x, y), eaves, color)
        if style % 3 == 0:
            b.pole((0.4 * x, 0.2 * y, eaves), 1.6, 0.5, BRICK)
    return b.build().placed((building.x_m, building.y_m, building.yaw_rad))


def _cornice(b: Builder, half: tuple[float, float], top: float, color: Color) -> None:
    x, y = half[0] + 0.25, half[1] + 0.25
    pale = tuple(min(1.0, 0.35 + 0.65 * value) for value in color)
    low = Slab(rear=-x, front=x, half=y, z=top - 0.45)
    b.hull(low, Slab(rear=-x, front=x, half=y, z=top + 0.05), pale)


def _gable(b: Builder, half: tuple[float, float], eaves: float, rise: float, wall: Color, roof: Color) -> None:
    along_x = half[0] >= half[1]
    x, y = half if along_x else (half[1], half[0])
    over = 0.35
    inner = Builder()
    slope = (0.0, -(y + over) / 2, rise / 2 * (1 + over / y))
    low = -rise / 2 * over / y
    for side in (1, -1):
        centre = (0, side * (y + over) / 2, eaves + rise / 2 + low)
        up = (0.0, side * slope[1], slope[2])
        inner.patch(centre, (-side * (x + over), 0, 0), up, roof, Material.ROOF, facing=Facing.BOTH)
        ahead = (side * x, 0, eaves + rise / 2)
        inner.patch(ahead, (0, side * y, 0), (0, 0, rise / 2), wall, taper=(0.5, 0.5))
    gable = inner.build().placed((0, 0, 0 if along_x else math.pi / 2))
    b.extend(gable)


def _on_the_roof(b: Builder, half: tuple[float, float], roof_z: tuple[float, float], style: int, roof: Color) -> None:
    """A chimney, and dormers where the roof is large enough."""
    eaves, rise = roof_z
    along_x = half[0] >= half[1]
    x, y = half if along_x else (half[1], half[0])
    inner = Builder()
    inner.pole((0.55 * x * (1 if style % 2 else -1), 0.3 * y, eaves + 0.45 * rise), 0.55 * rise + 0.8, 0.33, BRICK)
    if style % 3 != 1 and rise > 1.6:
        for place in (-0.5, 0.5) if x > 6.5 else (0.0,):
            for side in (1, -1):
                _dormer(inner, (place * x, side * y), (eaves, rise), roof)
    b.extend(inner.build().placed((0, 0, 0 if along_x else math.pi / 2)))


def _dormer(b: Builder, place: tuple[float, float], roof_z: tuple[float, float], roof: Color) -> None:
    """A window in the slope, with its own small roof; it looks to the side of the ridge that `place` is on."""
    x, y = place
    eaves, rise = roof_z
    side = 1.0 if y > 0 else -1.0
    foot, tall = eaves + 0.22 * rise, 0.24 * rise
    out, back = 0.80 * y, 0.30 * y
    front = (x, out, foot + tall)
    b.patch(front, (-side * DORMER_M, 0, 0), (0, 0, tall), PLASTER, Material.GLASS)
    middle, reach = (out + back) / 2, abs(out - back) / 2 + 0.15
    for end in (1, -1):
        cheek = (x + end * DORMER_M, middle, foot + tall)
        b.patch(cheek, (0, end * reach, 0), (0, 0, tall), PLASTER)
    lid = (x, middle + 0.15 * side, foot + 2 * tall + 0.05)
    b.patch(lid, (-side * (DORMER_M + 0.2), 0, 0), (0, -side * (reach + 0.2), 0.12), roof, facing=Facing.BOTH)
