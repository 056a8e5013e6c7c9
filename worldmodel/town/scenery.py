"""What houses and props look like: parts of everything that never moves, in the world."""

import math

import numpy as np

from worldmodel.errors import UnknownName
from worldmodel.town.scene import Building, Prop, Signal, Stage
from worldmodel.town.shapes import Builder, Color, Facing, Form, Material, Parts, Slab

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
LEAVES: tuple[Color, ...] = ((0.20, 0.46, 0.14), (0.30, 0.52, 0.16), (0.14, 0.38, 0.18), (0.44, 0.54, 0.16))
BARK: Color = (0.34, 0.24, 0.16)
STEEL: Color = (0.42, 0.44, 0.46)
GABLE_HEIGHT_LIMIT_M = 11.0  # taller houses get a flat roof


def stage_parts(stage: Stage) -> Parts:
    """All parts of a stage, in the world frame.

    Raises:
        UnknownName: for a kind of prop that does not exist.
    """
    signals = [signal_parts(signal, number) for number, signal in enumerate(stage.signals)]
    return Parts.joined([*map(building_parts, stage.buildings), *map(prop_parts, stage.props), *signals])


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
    else:
        _cornice(b, (x, y), eaves, color)
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


def prop_parts(prop: Prop) -> Parts:
    """The parts of a tree, lamp, pole or sign in the world.

    Raises:
        UnknownName: for another kind.
    """
    makers = {"tree": _tree, "lamp": _lamp, "pole": _pole, "sign": _sign}
    if prop.kind not in makers:
        raise UnknownName("kind of prop", prop.kind, makers)
    b = Builder()
    makers[prop.kind](b, prop)
    turn = 0.7 * abs(prop.style) % (2 * math.pi) if prop.kind == "tree" else 0.0
    return b.build().placed((prop.x_m, prop.y_m, turn))


def signal_parts(signal: Signal, number: int) -> Parts:
    """A traffic light: pole, head and board; its lamps face against the driving direction.

    The part with the lamps carries the signal's number as its seed.
    """
    b = Builder()
    height = signal.height_m
    b.pole((0, 0, 0), height, 0.07, STEEL)
    half_w, half_h = 0.40, 0.74
    middle = (-0.12, 0, height - half_h)
    dark: Color = (0.06, 0.06, 0.07)
    b.patch(middle, (0, -half_w, 0), (0, 0, half_h), dark, Material.SIGNAL, second=(0.96, 0.96, 0.96), seed=number)
    b.patch(middle, (0, half_w, 0), (0, 0, half_h), dark)
    return b.build().placed((signal.x_m, signal.y_m, signal.yaw_rad))


def _tree(b: Builder, prop: Prop) -> None:
    height, radius, style = prop.height_m, prop.radius_m, abs(prop.style)
    green = np.array(LEAVES[style % len(LEAVES)])
    trunk = max(0.12, 0.03 * height)
    if style % 5 == 4:  # a fir
        b.pole((0, 0, 0), 0.15 * height, trunk, BARK)
        dark = tuple(0.8 * green)
        b.pole((0, 0, 0.15 * height), 0.55 * height, radius, dark, Material.LEAVES, taper=0.85)
        b.pole((0, 0, 0.45 * height), 0.55 * height, radius * 0.72, tuple(green), Material.LEAVES, taper=0.97)
        return
    b.pole((0, 0, 0), 0.5 * height, trunk, BARK, taper=0.3)
    crown = 0.34 * height
    b.ellipsoid((0, 0, height - crown), (radius, radius, crown), tuple(green), Material.LEAVES)
    low = (0.45 * radius, 0.2 * radius, 0.52 * height)
    b.ellipsoid(low, (0.66 * radius, 0.66 * radius, 0.2 * height), tuple(0.86 * green), Material.LEAVES)
    other = (-0.42 * radius, -0.25 * radius, 0.58 * height)
    b.ellipsoid(other, (0.68 * radius, 0.68 * radius, 0.2 * height), tuple(1.12 * green), Material.LEAVES)


def _lamp(b: Builder, prop: Prop) -> None:
    b.pole((0, 0, 0), prop.height_m, max(prop.radius_m, 0.07), STEEL, taper=0.3)
    b.ellipsoid((0, 0, prop.height_m), (0.34, 0.34, 0.22), (1.0, 0.93, 0.70), Material.LAMP)


def _pole(b: Builder, prop: Prop) -> None:
    b.pole((0, 0, 0), prop.height_m, max(prop.radius_m, 0.06), (0.86, 0.86, 0.84), second=(0.8, 0.1, 0.1))


def _sign(b: Builder, prop: Prop) -> None:
    b.pole((0, 0, 0), prop.height_m, 0.05, STEEL)
    radius = max(prop.radius_m, 0.35)
    kinds: tuple[tuple[Color, Color], ...] = (
        ((0.96, 0.96, 0.94), (0.85, 0.08, 0.08)),  # white with a red rim
        ((0.10, 0.30, 0.75), (0.96, 0.96, 0.98)),  # blue with a white rim
        ((0.98, 0.80, 0.12), (0.10, 0.10, 0.10)),  # yellow with a black rim
    )
    inner, rim = kinds[abs(prop.style) % len(kinds)]
    centre = (0, 0, prop.height_m - radius)
    u, v = (0, -radius, 0), (0, 0, radius)
    b.patch(centre, u, v, inner, Material.SIGN, second=rim, form=Form.DISC, facing=Facing.CAMERA)
