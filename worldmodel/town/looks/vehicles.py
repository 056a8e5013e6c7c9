"""What cars, vans, trucks and buses look like: hulls, glass, wheels, standing at the origin and facing +x."""

from collections.abc import Callable
from dataclasses import dataclass

from worldmodel.town.looks.shapes import Builder, Color, Facing, Form, Material, Slab
from worldmodel.town.scene import Body

TYRE: Color = (0.07, 0.07, 0.08)
GLASS: Color = (0.10, 0.13, 0.18)
DARK: Color = (0.15, 0.15, 0.17)
WHITE: Color = (0.90, 0.90, 0.88)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A car's outline in shares of its length and height.

    Attributes:
        sill, belt: Heights of the hull's lower edge and of the windows' lower edge.
        glass: Rear and front end of the cabin at the belt.
        roof: Rear and front end of the roof.
        narrow: Width of the roof.
        wheel: Radius over height.
        bonnet: How far the nose leans back, metres.
    """

    sill: float = 0.16
    belt: float = 0.57
    glass: tuple[float, float] = (-0.485, 0.20)
    roof: tuple[float, float] = (-0.43, 0.04)
    narrow: float = 0.72
    wheel: float = 0.225
    bonnet: float = 0.16


HATCHBACK = _Shape()
SALOON = _Shape(glass=(-0.36, 0.18), roof=(-0.23, 0.01))
ESTATE = _Shape(glass=(-0.49, 0.20), roof=(-0.465, 0.05), narrow=0.75)
SUV = _Shape(sill=0.20, belt=0.60, glass=(-0.49, 0.21), roof=(-0.455, 0.07), narrow=0.80, wheel=0.245, bonnet=0.07)
COUPE = _Shape(sill=0.14, belt=0.60, glass=(-0.40, 0.13), roof=(-0.15, -0.05), narrow=0.66, wheel=0.235, bonnet=0.34)
PICKUP = _Shape(sill=0.20, belt=0.60, glass=(-0.12, 0.22), roof=(-0.09, 0.08), narrow=0.80, wheel=0.245, bonnet=0.07)
SHAPES = (HATCHBACK, SALOON, SUV, ESTATE, HATCHBACK, SALOON, SUV, COUPE, PICKUP)


def darker(color: Color, factor: float) -> Color:
    """A colour times a factor."""
    return tuple(min(1.0, factor * value) for value in color)


def _wheels(b: Builder, body: Body, radius: float, stations: tuple[float, ...]) -> None:
    half = body.width_m / 2
    for x in stations:
        for side in (1, -1):
            u = (-side * radius, 0, 0)
            b.patch((x, side * half * 0.995, radius), u, (0, 0, radius), TYRE, Material.WHEEL, form=Form.DISC)
    for x, side in ((min(stations) - radius * 0.8, -1), (max(stations) + radius * 0.8, 1)):
        for y in (0.72 * half, -0.72 * half):
            b.patch((x, y, radius * 0.75), (0, side * 0.14, 0), (0, 0, radius * 0.75), TYRE)


def _mirrors(b: Builder, body: Body, x: float, z: float) -> None:
    for side in (1, -1):
        b.ellipsoid((x, side * 0.475 * body.width_m, z), (0.07, 0.022 * body.width_m, 0.07), DARK)


def car(b: Builder, body: Body, variant: int) -> None:
    """A hatchback, saloon, estate, SUV, coupe or pickup."""
    shape = SHAPES[variant % len(SHAPES)]
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    paint, belt = body.color_rgb, shape.belt * height
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.97, z=shape.sill * height)
    top = Slab(rear=-length / 2 + 0.06, front=length / 2 - shape.bonnet, half=half * 0.93, z=belt)
    b.hull(low, top, paint, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    (rear, front), (back, ahead) = shape.glass, shape.roof
    cabin = Slab(rear=rear * length, front=front * length, half=half * 0.93, z=belt)
    roof = Slab(rear=back * length, front=ahead * length, half=half * shape.narrow, z=height)
    b.hull(cabin, roof, paint, sides=Material.SIDE_GLASS, front=Material.GLASS, rear=Material.GLASS, second=GLASS)
    if shape is PICKUP:
        bed = (-0.5 * length + 0.1 + rear * length) / 2
        b.patch((bed, 0, belt + 0.004), (0, -0.8 * half, 0), (rear * length - bed - 0.06, 0, 0), DARK)
    _mirrors(b, body, (front - 0.04) * length, belt + 0.07)
    _wheels(b, body, shape.wheel * height, (-0.30 * length, 0.31 * length))


def van(b: Builder, body: Body, variant: int) -> None:
    """A minibus with windows all round, or a delivery van without."""
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    paint, belt = body.color_rgb, 0.50 * height
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.97, z=0.14 * height)
    top = Slab(rear=-length / 2 + 0.03, front=length / 2 - 0.12, half=half * 0.95, z=belt)
    b.hull(low, top, paint, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    cabin = Slab(rear=-length / 2 + 0.03, front=0.40 * length, half=half * 0.94, z=belt)
    roof = Slab(rear=-length / 2 + 0.10, front=0.22 * length, half=half * 0.86, z=height)
    sides = Material.CAB_GLASS if variant % 3 else Material.SIDE_GLASS
    b.hull(cabin, roof, paint, sides=sides, front=Material.GLASS, rear=Material.GLASS, second=GLASS)
    if variant % 3 == 2:  # a stripe along the side
        stripe = WHITE if sum(paint) < 1.5 else (0.15, 0.35, 0.62)
        for side in (1, -1):
            u = (-side * 0.36 * length, 0, 0)
            b.patch((-0.1 * length, side * half * 0.965, 0.44 * height), u, (0, 0, 0.05 * height), stripe)
    _mirrors(b, body, 0.37 * length, belt + 0.1)
    _wheels(b, body, 0.165 * height, (-0.30 * length, 0.32 * length))


def truck(b: Builder, body: Body, variant: int) -> None:
    """A cab, a frame, and behind it a box, a tipper's skip or a mixer's drum."""
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    cab = min(2.3, 0.3 * length)
    split = length / 2 - cab
    frame = Slab(rear=-length / 2 + 0.05, front=split, half=half * 0.85, z=0.12 * height)
    deck = Slab(rear=-length / 2 + 0.05, front=split, half=half * 0.85, z=0.30 * height)
    b.hull(frame, deck, (0.16, 0.16, 0.18), rear=Material.TAIL)
    load: Callable[[Builder, Body, float], None] = (_cargo, _cargo, _skip, _cargo, _drum)[variant % 5]
    load(b, body, split - 0.15)
    low = Slab(rear=split, front=length / 2, half=half * 0.94, z=0.14 * height)
    top = Slab(rear=split, front=length / 2 - 0.05, half=half * 0.94, z=0.48 * height)
    b.hull(low, top, body.color_rgb, sides=Material.DOORS, front=Material.NOSE)
    roof = Slab(rear=split, front=length / 2 - 0.40, half=half * 0.88, z=0.86 * height)
    b.hull(top, roof, body.color_rgb, sides=Material.SIDE_GLASS, front=Material.GLASS, second=GLASS)
    _wheels(b, body, 0.14 * height, (-0.36 * length, -0.24 * length, split + 0.5 * cab))


def _cargo(b: Builder, body: Body, front: float) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    low = Slab(rear=-length / 2, front=front, half=half * 0.98, z=0.30 * height)
    high = Slab(rear=-length / 2, front=front, half=half * 0.98, z=height)
    pale = WHITE if sum(body.color_rgb) < 1.9 else (0.30, 0.42, 0.60)
    b.hull(low, high, body.color_rgb, sides=Material.PANEL, rear=Material.PANEL, second=pale)


def _skip(b: Builder, body: Body, front: float) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    low = Slab(rear=-length / 2 + 0.3, front=front - 0.25, half=half * 0.86, z=0.30 * height)
    high = Slab(rear=-length / 2, front=front, half=half * 0.98, z=0.74 * height)
    b.hull(low, high, body.color_rgb, sides=Material.PANEL, rear=Material.PANEL, second=darker(body.color_rgb, 0.75))
    middle = (front - length / 2) / 2
    b.ellipsoid(
        (middle, 0, 0.70 * height), (0.42 * (front + length / 2), 0.85 * half, 0.20 * height), (0.55, 0.44, 0.32)
    )


def _drum(b: Builder, body: Body, front: float) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    middle, reach = (front - length / 2) / 2, (front + length / 2) / 2
    drum = (0.96 * reach, 0.94 * half, 0.27 * height)
    b.ellipsoid((middle, 0, 0.63 * height), drum, body.color_rgb, Material.DRUM, second=WHITE, lean=-0.14)
    b.patch((-length / 2 + 0.2, 0, 0.52 * height), (0, -0.25, 0), (0, 0, 0.2 * height), DARK, facing=Facing.BOTH)


def bus(b: Builder, body: Body, variant: int) -> None:
    """A city bus with doors on its right side and its destination above the windscreen."""
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.98, z=0.10 * height)
    belt = Slab(rear=-length / 2, front=length / 2 - 0.04, half=half * 0.98, z=0.42 * height)
    b.hull(low, belt, body.color_rgb, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    eaves = Slab(rear=-length / 2 + 0.06, front=length / 2 - 0.14, half=half * 0.95, z=0.80 * height)
    sides, pane = Material.BUS_GLASS, Material.GLASS
    b.hull(belt, eaves, body.color_rgb, sides=sides, front=pane, rear=pane, second=GLASS)
    roof = Slab(rear=-length / 2 + 0.12, front=length / 2 - 0.22, half=half * 0.90, z=height)
    b.hull(eaves, roof, WHITE if variant % 2 else darker(body.color_rgb, 1.05), second=GLASS)
    for x, sides in ((0.42 * length, pane), (0.05 * length, pane)):
        b.patch((x, -0.985 * half, 0.44 * height), (0.6, 0, 0), (0, 0.004, 0.32 * height), DARK, sides)
    sign = (length / 2 - 0.15, 0, 0.86 * height)
    b.patch(sign, (0, 0.7 * half, 0), (-0.02, 0, 0.05 * height), DARK, Material.DESTINATION, second=(1.0, 0.72, 0.15))
    _wheels(b, body, 0.15 * height, (-0.27 * length, 0.30 * length))
