"""What road users look like: parts for each kind of body, standing at the origin and facing +x."""

import zlib

from worldmodel.errors import UnknownName
from worldmodel.town.scene import KINDS, Body
from worldmodel.town.shapes import Builder, Color, Facing, Form, Material, Parts, Slab

TYRE: Color = (0.07, 0.07, 0.08)
GLASS: Color = (0.10, 0.13, 0.18)
SKINS: tuple[Color, ...] = ((0.93, 0.74, 0.60), (0.78, 0.57, 0.42), (0.50, 0.34, 0.24))
TROUSERS: tuple[Color, ...] = ((0.13, 0.16, 0.30), (0.20, 0.20, 0.22), (0.35, 0.27, 0.18))


def body_parts(body: Body) -> Parts:
    """The parts of one body in its own frame, all inside its box.

    Raises:
        UnknownName: for a kind outside `scene.KINDS`.
    """
    makers = {
        "car": _car,
        "van": _van,
        "truck": _truck,
        "bus": _bus,
        "pedestrian": _pedestrian,
        "cyclist": _cyclist,
        "cone": _cone,
        "barrier": _barrier,
        "box": _box,
    }
    if body.kind not in makers:
        raise UnknownName("kind of body", body.kind, KINDS)
    builder = Builder()
    makers[body.kind](builder, body)
    return builder.build()


def _variant(body: Body) -> int:
    return zlib.crc32(body.track.encode())


def _darker(color: Color, factor: float) -> Color:
    return tuple(factor * value for value in color)


def _wheels(b: Builder, body: Body, radius: float, stations: tuple[float, ...]) -> None:
    half = body.width_m / 2
    for x in stations:
        for side in (1, -1):
            u = (-side * radius, 0, 0)
            b.patch((x, side * half * 0.995, radius), u, (0, 0, radius), TYRE, Material.WHEEL, form=Form.DISC)
    for x, side in ((min(stations) - radius * 0.8, -1), (max(stations) + radius * 0.8, 1)):
        for y in (0.72 * half, -0.72 * half):
            b.patch((x, y, radius * 0.75), (0, side * 0.14, 0), (0, 0, radius * 0.75), TYRE)


def _car(b: Builder, body: Body) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    paint, belt = body.color_rgb, 0.57 * height
    hatch = _variant(body) % 2 == 0
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.97, z=0.19 * height - 0.04)
    top = Slab(rear=-length / 2 + 0.06, front=length / 2 - 0.16, half=half * 0.93, z=belt)
    b.hull(low, top, paint, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    rear = -0.485 if hatch else -0.40
    cabin = Slab(rear=rear * length, front=0.20 * length, half=half * 0.93, z=belt)
    roof = Slab(rear=(rear + (0.06 if hatch else 0.12)) * length, front=0.04 * length, half=half * 0.72, z=height)
    b.hull(cabin, roof, paint, sides=Material.SIDE_GLASS, front=Material.GLASS, rear=Material.GLASS, second=GLASS)
    _wheels(b, body, 0.225 * height, (-0.30 * length, 0.31 * length))


def _van(b: Builder, body: Body) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    paint, belt = body.color_rgb, 0.50 * height
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.97, z=0.14 * height)
    top = Slab(rear=-length / 2 + 0.03, front=length / 2 - 0.12, half=half * 0.95, z=belt)
    b.hull(low, top, paint, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    cabin = Slab(rear=-length / 2 + 0.03, front=0.40 * length, half=half * 0.94, z=belt)
    roof = Slab(rear=-length / 2 + 0.10, front=0.22 * length, half=half * 0.86, z=height)
    b.hull(cabin, roof, paint, sides=Material.SIDE_GLASS, front=Material.GLASS, rear=Material.GLASS, second=GLASS)
    _wheels(b, body, 0.165 * height, (-0.30 * length, 0.32 * length))


def _truck(b: Builder, body: Body) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    cab = min(2.3, 0.3 * length)
    split = length / 2 - cab
    frame = Slab(rear=-length / 2 + 0.05, front=split, half=half * 0.85, z=0.14 * height)
    deck = Slab(rear=-length / 2 + 0.05, front=split, half=half * 0.85, z=0.30 * height)
    b.hull(frame, deck, (0.16, 0.16, 0.18), rear=Material.TAIL)
    cargo = Slab(rear=-length / 2, front=split - 0.15, half=half * 0.98, z=0.30 * height)
    lid = Slab(rear=-length / 2, front=split - 0.15, half=half * 0.98, z=height)
    white = (0.88, 0.88, 0.86)
    b.hull(cargo, lid, white, sides=Material.PANEL, rear=Material.PANEL, second=body.color_rgb)
    low = Slab(rear=split, front=length / 2, half=half * 0.94, z=0.14 * height)
    top = Slab(rear=split, front=length / 2 - 0.05, half=half * 0.94, z=0.48 * height)
    b.hull(low, top, body.color_rgb, sides=Material.DOORS, front=Material.NOSE)
    roof = Slab(rear=split, front=length / 2 - 0.40, half=half * 0.88, z=0.86 * height)
    b.hull(top, roof, body.color_rgb, sides=Material.SIDE_GLASS, front=Material.GLASS, second=GLASS)
    _wheels(b, body, 0.14 * height, (-0.36 * length, -0.24 * length, split + 0.5 * cab))


def _bus(b: Builder, body: Body) -> None:
    length, half, height = body.length_m, body.width_m / 2, body.height_m
    low = Slab(rear=-length / 2, front=length / 2, half=half * 0.98, z=0.10 * height)
    belt = Slab(rear=-length / 2, front=length / 2 - 0.04, half=half * 0.98, z=0.42 * height)
    b.hull(low, belt, body.color_rgb, sides=Material.DOORS, front=Material.NOSE, rear=Material.TAIL)
    eaves = Slab(rear=-length / 2 + 0.06, front=length / 2 - 0.14, half=half * 0.95, z=0.80 * height)
    b.hull(
        belt, eaves, body.color_rgb, sides=Material.BUS_GLASS, front=Material.GLASS, rear=Material.GLASS, second=GLASS
    )
    roof = Slab(rear=-length / 2 + 0.12, front=length / 2 - 0.22, half=half * 0.90, z=height)
    b.hull(eaves, roof, _darker(body.color_rgb, 1.05), second=GLASS)
    _wheels(b, body, 0.15 * height, (-0.27 * length, 0.30 * length))


def _pedestrian(b: Builder, body: Body) -> None:
    height, wide = body.height_m, body.width_m / 2
    kind = _variant(body)
    skin, trousers = SKINS[kind % len(SKINS)], TROUSERS[kind // 3 % len(TROUSERS)]
    deep = min(0.16, body.length_m * 0.3)
    for side in (1, -1):
        leg = (0, side * 0.36 * wide, 0.25 * height)
        b.ellipsoid(leg, (deep * 0.55, 0.30 * wide, 0.25 * height), trousers, swing=side * deep)
        arm = (0, side * 0.78 * wide, 0.62 * height)
        b.ellipsoid(arm, (deep * 0.4, 0.18 * wide, 0.18 * height), _darker(body.color_rgb, 0.85), swing=-side * deep)
    b.ellipsoid((0, 0, 0.645 * height), (deep * 0.85, 0.68 * wide, 0.215 * height), body.color_rgb)
    b.ellipsoid((0, 0, 0.92 * height), (0.062 * height, 0.055 * height, 0.078 * height), skin, Material.FACE)


def _cyclist(b: Builder, body: Body) -> None:
    length, height = body.length_m, body.height_m
    wide = body.width_m / 2
    kind = _variant(body)
    skin, trousers = SKINS[kind % len(SKINS)], TROUSERS[kind // 3 % len(TROUSERS)]
    radius = min(0.34, length * 0.19)
    for x in (-length / 2 + radius, length / 2 - radius):
        b.patch((x, 0, radius), (radius, 0, 0), (0, 0, radius), TYRE, form=Form.RING, facing=Facing.BOTH)
        b.patch((x, 0, radius), (0, 0.035, 0), (0, 0, radius), TYRE, facing=Facing.BOTH)
    metal = (0.80, 0.12, 0.12)
    b.patch((0, 0, 0.55), (0.30 * length, 0, 0), (0, 0, 0.035), metal, facing=Facing.BOTH)
    b.patch((0, 0, 0.42), (0.03, 0, 0), (0, 0, 0.16), metal, facing=Facing.BOTH)
    b.patch((0.30 * length, 0, 0.72), (0, 0.8 * wide, 0), (0, 0, 0.03), TYRE, facing=Facing.BOTH)
    b.patch((0.30 * length, 0, 0.55), (0.03, 0, 0), (0, 0, 0.25), metal, facing=Facing.BOTH)
    b.patch((-0.30 * length, 0, 0.62), (0, 0.05, 0), (0, 0, 0.05), (0.9, 0.05, 0.05), Material.LAMP, facing=Facing.BOTH)
    for side in (1, -1):
        leg = (0.02, side * 0.30 * wide, 0.60)
        b.ellipsoid(leg, (0.11, 0.26 * wide, 0.33), trousers, lean=0.25, swing=side * 0.12)
        arm = (0.19 * length, side * 0.62 * wide, 0.66 * height)
        b.ellipsoid(arm, (0.07, 0.16 * wide, 0.20 * height), _darker(body.color_rgb, 0.85), lean=0.7)
    b.ellipsoid((0.03, 0, 0.70 * height), (0.15, 0.62 * wide, 0.19 * height), body.color_rgb, lean=0.35)
    b.ellipsoid((0.16, 0, 0.925 * height), (0.11, 0.10, 0.073 * height), skin, Material.FACE, second=body.color_rgb)


def _cone(b: Builder, body: Body) -> None:
    half, height = min(body.length_m, body.width_m) / 2, body.height_m
    foot = Slab(rear=-half, front=half, half=half, z=0.0)
    b.hull(foot, Slab(rear=-half, front=half, half=half, z=0.06 * height), _darker(body.color_rgb, 0.6))
    b.pole((0, 0, 0.06 * height), 0.94 * height, half * 0.75, body.color_rgb, Material.CONE, taper=0.86)


def _barrier(b: Builder, body: Body) -> None:
    x, half, height = body.length_m / 2, body.width_m / 2, body.height_m
    low, high = (
        Slab(rear=-0.04, front=0.04, half=half, z=0.72 * height),
        Slab(rear=-0.04, front=0.04, half=half, z=height),
    )
    b.hull(low, high, body.color_rgb)
    for side in (0.8 * half, -0.8 * half):
        b.patch((0, side, 0.36 * height), (0, 0.05, 0), (0, 0, 0.36 * height), (0.3, 0.3, 0.32), facing=Facing.BOTH)
        b.patch((0, side, 0.04), (x, 0, 0), (0, 0, 0.04), (0.2, 0.2, 0.22), facing=Facing.BOTH)


def _box(b: Builder, body: Body) -> None:
    x, half = body.length_m / 2, body.width_m / 2
    low, high = Slab(rear=-x, front=x, half=half, z=0.0), Slab(rear=-x, front=x, half=half, z=body.height_m)
    card = Material.CARDBOARD
    b.hull(low, high, body.color_rgb, sides=card, front=card, rear=card, top=card, second=(0.87, 0.78, 0.60))
