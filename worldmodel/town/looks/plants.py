"""What trees, bushes and hedges look like."""

import numpy as np

from worldmodel.town.looks.shapes import Builder, Color, Material, Slab
from worldmodel.town.scene import Prop

LEAVES: tuple[Color, ...] = (
    (0.20, 0.46, 0.14), (0.30, 0.52, 0.16), (0.14, 0.38, 0.18), (0.44, 0.54, 0.16), (0.24, 0.42, 0.10)
)  # fmt: skip
BLOSSOMS: tuple[Color, ...] = ((0.93, 0.72, 0.80), (0.96, 0.84, 0.86), (0.82, 0.40, 0.16))
BARK: Color = (0.34, 0.24, 0.16)
BIRCH: Color = (0.88, 0.87, 0.82)


def tree(b: Builder, prop: Prop) -> None:
    """A fir, a poplar, a birch, a round tree, at times in blossom; its style says which."""
    kind = abs(prop.style) % 11
    if kind in (4, 9):
        _fir(b, prop)
    elif kind == 6:
        _poplar(b, prop)
    elif kind in (2, 8):
        _birch(b, prop)
    else:
        _round(b, prop, blossoms=kind == 10)


def _green(prop: Prop) -> np.ndarray:
    return np.array(LEAVES[abs(prop.style) // 11 % len(LEAVES)])


def _fir(b: Builder, prop: Prop) -> None:
    height, radius, green = prop.height_m, prop.radius_m, 0.8 * _green(prop)
    b.pole((0, 0, 0), 0.15 * height, max(0.12, 0.03 * height), BARK)
    for foot, share, wide in ((0.12, 0.44, 1.0), (0.36, 0.40, 0.78), (0.60, 0.40, 0.54)):
        tint = tuple(green * (0.85 + 0.3 * foot))
        b.pole((0, 0, foot * height), share * height, wide * radius, tint, Material.LEAVES, taper=0.94)


def _poplar(b: Builder, prop: Prop) -> None:
    height, radius = prop.height_m * 1.2, prop.radius_m * 0.55
    b.pole((0, 0, 0), 0.3 * height, 0.03 * height, BARK)
    b.ellipsoid((0, 0, 0.56 * height), (radius, radius, 0.44 * height), tuple(_green(prop)), Material.LEAVES)


def _birch(b: Builder, prop: Prop) -> None:
    height, radius = prop.height_m, prop.radius_m * 0.8
    green = _green(prop) * np.array([1.25, 1.2, 1.0])
    b.pole((0, 0, 0), 0.7 * height, 0.022 * height, BIRCH, taper=0.4)
    b.ellipsoid((0, 0, 0.68 * height), (radius, radius, 0.32 * height), tuple(green), Material.LEAVES)
    low = (0.3 * radius, -0.3 * radius, 0.48 * height)
    b.ellipsoid(low, (0.7 * radius, 0.7 * radius, 0.17 * height), tuple(0.92 * green), Material.LEAVES)


def _round(b: Builder, prop: Prop, *, blossoms: bool) -> None:
    height, radius = prop.height_m, prop.radius_m
    green = np.array(BLOSSOMS[abs(prop.style) // 11 % len(BLOSSOMS)]) if blossoms else _green(prop)
    b.pole((0, 0, 0), 0.5 * height, max(0.12, 0.03 * height), BARK, taper=0.3)
    crown = 0.34 * height
    b.ellipsoid((0, 0, height - crown), (radius, radius, crown), tuple(green), Material.LEAVES)
    low = (0.45 * radius, 0.2 * radius, 0.52 * height)
    b.ellipsoid(low, (0.66 * radius, 0.66 * radius, 0.2 * height), tuple(0.86 * green), Material.LEAVES)
    other = (-0.42 * radius, -0.25 * radius, 0.58 * height)
    b.ellipsoid(other, (0.68 * radius, 0.68 * radius, 0.2 * height), tuple(1.08 * green), Material.LEAVES)


def bush(b: Builder, prop: Prop) -> None:
    """A low round bush; some have flowers."""
    kind = abs(prop.style) % 7
    color = BLOSSOMS[kind % 3] if kind < 2 else tuple(0.85 * _green(prop))
    half = prop.height_m / 2
    b.ellipsoid((0, 0, 0.85 * half), (prop.radius_m, prop.radius_m, 1.15 * half), color, Material.LEAVES)


def hedge(b: Builder, prop: Prop) -> None:
    """A clipped hedge, twice `radius_m` long."""
    low = Slab(rear=-prop.radius_m, front=prop.radius_m, half=0.40, z=0.0)
    high = Slab(rear=-prop.radius_m + 0.05, front=prop.radius_m - 0.05, half=0.34, z=prop.height_m)
    face = Material.HEDGE
    b.hull(low, high, tuple(0.8 * _green(prop)), sides=face, front=face, rear=face, top=face)
