"""What road users and obstacles look like: parts for each kind of body, standing at the origin and facing +x."""

import zlib

from worldmodel.errors import UnknownName
from worldmodel.town.looks.people import cyclist, pedestrian
from worldmodel.town.looks.shapes import Builder, Color, Facing, Material, Parts, Slab
from worldmodel.town.looks.vehicles import bus, car, darker, truck, van
from worldmodel.town.scene import KINDS, Body

WARNING: Color = (1.0, 0.66, 0.10)


def body_parts(body: Body) -> Parts:
    """The parts of one body in its own frame, all inside its box; its track decides which variant of its kind it is.

    Raises:
        UnknownName: for a kind outside `scene.KINDS`.
    """
    makers = {
        "car": car,
        "van": van,
        "truck": truck,
        "bus": bus,
        "pedestrian": pedestrian,
        "cyclist": cyclist,
        "cone": _cone,
        "barrier": _barrier,
        "box": _box,
    }
    if body.kind not in makers:
        raise UnknownName("kind of body", body.kind, KINDS)
    builder = Builder()
    makers[body.kind](builder, body, zlib.crc32(body.track.encode()) >> 4)
    return builder.build()


def _cone(b: Builder, body: Body, _: int) -> None:
    half, height = min(body.length_m, body.width_m) / 2, body.height_m
    foot = Slab(rear=-half, front=half, half=half, z=0.0)
    b.hull(foot, Slab(rear=-half, front=half, half=half, z=0.06 * height), darker(body.color_rgb, 0.6))
    b.pole((0, 0, 0.06 * height), 0.94 * height, half * 0.75, body.color_rgb, Material.CONE, taper=0.86)


def _barrier(b: Builder, body: Body, _: int) -> None:
    """Two striped boards on feet, with warning lamps."""
    x, half, height = body.length_m / 2, body.width_m / 2, body.height_m
    red, white = (0.86, 0.10, 0.08), (0.96, 0.96, 0.95)
    for low, high in ((0.26, 0.44), (0.58, 0.86)):
        below = Slab(rear=-0.05, front=0.05, half=half, z=low * height)
        above = Slab(rear=-0.05, front=0.05, half=half, z=high * height)
        b.hull(below, above, red, front=Material.BOARD, rear=Material.BOARD, second=white)
    for side in (0.78 * half, -0.78 * half):
        b.ellipsoid((0, side, 0.05), (x, 0.13, 0.05), (0.20, 0.20, 0.22))
        b.patch((0, side, 0.45 * height), (0, 0.05, 0), (0, 0, 0.45 * height), (0.55, 0.55, 0.57), facing=Facing.BOTH)
        b.ellipsoid((0, side, 0.93 * height), (0.07, 0.08, 0.07 * height), WARNING, Material.LAMP)


def _box(b: Builder, body: Body, _: int) -> None:
    x, half = body.length_m / 2, body.width_m / 2
    low, high = Slab(rear=-x, front=x, half=half, z=0.0), Slab(rear=-x, front=x, half=half, z=body.height_m)
    card = Material.CARDBOARD
    b.hull(low, high, body.color_rgb, sides=card, front=card, rear=card, top=card, second=(0.87, 0.78, 0.60))
