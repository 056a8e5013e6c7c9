"""What stands along streets besides plants: lamps, poles, fences, walls, benches, bins, shelters, guard rails."""

from worldmodel.town.looks.shapes import Builder, Color, Facing, Material, Slab
from worldmodel.town.scene import Prop

STEEL: Color = (0.42, 0.44, 0.46)
ZINC: Color = (0.66, 0.68, 0.70)
WOOD: Color = (0.52, 0.36, 0.22)
STONE: Color = (0.66, 0.63, 0.58)
BOARDS: tuple[Color, ...] = (
    (0.10, 0.25, 0.60), (0.80, 0.12, 0.10), (0.90, 0.88, 0.84), (0.12, 0.42, 0.24), (0.16, 0.16, 0.18), (0.92, 0.66, 0.12),
    (0.55, 0.57, 0.60),
)  # fmt: skip
OVERHEAD_TALL = (1.3, 2.0, 2.8, 3.6, 4.5)
LOWEST_OVERHEAD_M = 4.2  # above the road: everybody fits below
FENCES: tuple[Color, ...] = ((0.93, 0.92, 0.88), (0.46, 0.32, 0.20), (0.30, 0.36, 0.30))


def lamp(b: Builder, prop: Prop) -> None:
    """A street lamp."""
    b.pole((0, 0, 0), prop.height_m, max(prop.radius_m, 0.07), STEEL, taper=0.3)
    b.ellipsoid((0, 0, prop.height_m), (0.34, 0.34, 0.22), (1.0, 0.93, 0.70), Material.LAMP)


def pole(b: Builder, prop: Prop) -> None:
    """A plain pole."""
    b.pole((0, 0, 0), prop.height_m, min(max(prop.radius_m, 0.06), 0.2), (0.86, 0.86, 0.84))


def fence(b: Builder, prop: Prop) -> None:
    """Pickets along x, twice `radius_m` long."""
    color, half = FENCES[abs(prop.style) % len(FENCES)], prop.height_m / 2
    b.patch((0, 0, half), (prop.radius_m, 0, 0), (0, 0, half), color, Material.FENCE, facing=Facing.BOTH)


def wall(b: Builder, prop: Prop) -> None:
    """A low garden wall along x, twice `radius_m` long."""
    low = Slab(rear=-prop.radius_m, front=prop.radius_m, half=0.15, z=0.0)
    high = Slab(rear=-prop.radius_m, front=prop.radius_m, half=0.15, z=prop.height_m)
    b.hull(low, high, STONE, sides=Material.STONES, second=(0.80, 0.78, 0.74))


def bench(b: Builder, prop: Prop) -> None:
    """A bench that looks along x."""
    half = prop.radius_m
    both = Facing.BOTH
    b.patch((0, 0, 0.45), (0.22, 0, 0), (0, half, 0), WOOD, facing=both)
    b.patch((-0.24, 0, 0.70), (0, half, 0), (-0.06, 0, 0.20), WOOD, facing=both)
    for side in (0.8 * half, -0.8 * half):
        b.patch((0, side, 0.22), (0.20, 0, 0), (0, 0, 0.22), STEEL, facing=both)


def bin_(b: Builder, prop: Prop) -> None:
    """A litter bin."""
    b.pole((0, 0, 0), prop.height_m, 0.25, ((0.16, 0.32, 0.22), (0.30, 0.30, 0.32))[abs(prop.style) % 2])


def shelter(b: Builder, prop: Prop) -> None:
    """A bus shelter that is open along x, twice `radius_m` wide."""
    half, deep, top = prop.radius_m, 0.75, prop.height_m
    both, glass = Facing.BOTH, (0.62, 0.72, 0.76)
    b.patch((-deep, 0, top / 2), (0, half, 0), (0, 0, top / 2), glass, Material.GLASS, facing=both)
    b.patch((0, half, top / 2), (deep, 0, 0), (0, 0, top / 2), glass, Material.GLASS, facing=both)
    b.patch((0, -half, top / 2), (deep, 0, 0), (0, 0, top / 2), (0.95, 0.55, 0.25), Material.POSTER, facing=both)
    low = Slab(rear=-deep - 0.1, front=deep + 0.15, half=half + 0.1, z=top)
    b.hull(low, Slab(rear=-deep - 0.1, front=deep + 0.15, half=half + 0.1, z=top + 0.14), (0.20, 0.34, 0.30))
    b.patch((-0.45, 0, 0.48), (0.2, 0, 0), (0, 0.7 * half, 0), WOOD, facing=both)


def rail(b: Builder, prop: Prop) -> None:
    """A guard rail along x, twice `radius_m` long, with a post."""
    b.patch((0, 0, 0.62), (prop.radius_m, 0, 0), (0, 0, 0.16), ZINC, Material.RAIL, facing=Facing.BOTH)
    b.pole((0, 0, 0), 0.75, 0.06, STEEL)


def overhead(b: Builder, prop: Prop) -> None:
    """A board that hangs high above the road from a wire, twice `radius_m` wide; `height_m` is its upper edge."""
    half, top = prop.radius_m, prop.height_m
    tall = min(OVERHEAD_TALL[abs(prop.style) % len(OVERHEAD_TALL)], top - LOWEST_OVERHEAD_M)
    color = BOARDS[abs(prop.style) % len(BOARDS)]
    low = Slab(rear=-0.15, front=0.15, half=half, z=top - tall)
    b.hull(low, Slab(rear=-0.15, front=0.15, half=half, z=top), color)
    b.patch((0, 0, top + 0.05), (0, half + 8.0, 0), (0, 0, 0.03), STEEL, facing=Facing.BOTH)


def sign_post(b: Builder, prop: Prop) -> None:
    """The post of a sign."""
    b.pole((0, 0, 0), prop.height_m, 0.05, ZINC)
