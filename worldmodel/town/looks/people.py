"""What people look like, on foot and on bicycles, facing +x; their legs move as they go."""

from worldmodel.town.looks.shapes import Builder, Color, Facing, Form, Material
from worldmodel.town.looks.vehicles import TYRE, darker
from worldmodel.town.scene import Body

SKINS: tuple[Color, ...] = (
    (0.93, 0.74, 0.60), (0.78, 0.57, 0.42), (0.50, 0.34, 0.24), (0.88, 0.66, 0.50), (0.36, 0.24, 0.17)
)  # fmt: skip
HAIRS: tuple[Color, ...] = (
    (0.20, 0.13, 0.09), (0.08, 0.07, 0.07), (0.62, 0.45, 0.20), (0.45, 0.20, 0.10), (0.70, 0.70, 0.70)
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (0.13, 0.16, 0.30), (0.20, 0.20, 0.22), (0.35, 0.27, 0.18), (0.55, 0.50, 0.42), (0.45, 0.12, 0.16)
)  # fmt: skip
FRAMES: tuple[Color, ...] = ((0.80, 0.12, 0.12), (0.10, 0.30, 0.62), (0.15, 0.15, 0.17), (0.12, 0.50, 0.35))
PEDALLING_M = 5.0  # way per turn of the pedals


def _looks(variant: int) -> tuple[Color, Color, Color]:
    """Skin, hair and trousers."""
    return (
        SKINS[variant % len(SKINS)],
        HAIRS[variant // 5 % len(HAIRS)],
        TROUSERS[variant // 25 % len(TROUSERS)],
    )


def pedestrian(b: Builder, body: Body, variant: int) -> None:
    """Somebody on foot; some wear a skirt or coat, some carry a bag or a backpack."""
    height, wide = body.height_m, body.width_m / 2
    skin, hair, trousers = _looks(variant)
    deep = min(0.16, body.length_m * 0.3)
    dressed = variant // 125 % 3 == 0
    legs, sleeve = skin if dressed else trousers, darker(body.color_rgb, 0.85)
    for side in (1, -1):
        leg = (0, side * 0.36 * wide, 0.25 * height)
        b.ellipsoid(leg, (deep * 0.5, 0.27 * wide, 0.25 * height), legs, swing=side * deep)
        arm = (0, side * 0.78 * wide, 0.62 * height)
        b.ellipsoid(arm, (deep * 0.4, 0.17 * wide, 0.18 * height), sleeve, swing=-side * deep)
    b.ellipsoid((0, 0, 0.655 * height), (deep * 0.85, 0.66 * wide, 0.205 * height), body.color_rgb)
    if dressed:
        b.ellipsoid((0, 0, 0.45 * height), (deep * 0.95, 0.72 * wide, 0.20 * height), darker(body.color_rgb, 0.92))
    _luggage(b, body, variant // 375 % 4)
    head = (0.062 * height, 0.055 * height, 0.078 * height)
    b.ellipsoid((0, 0, 0.92 * height), head, skin, Material.FACE, second=hair)


def _luggage(b: Builder, body: Body, kind: int) -> None:
    height, wide = body.height_m, body.width_m / 2
    if kind == 0:
        b.ellipsoid((-0.16, 0, 0.68 * height), (0.07, 0.40 * wide, 0.13 * height), (0.75, 0.22, 0.16))
    if kind == 1:
        b.ellipsoid((0.02, -0.86 * wide, 0.40 * height), (0.13, 0.12 * wide, 0.08 * height), (0.24, 0.16, 0.11))


def cyclist(b: Builder, body: Body, variant: int) -> None:
    """Somebody on a bicycle, pedalling, with a helmet in the colour of the jacket."""
    length, height, wide = body.length_m, body.height_m, body.width_m / 2
    skin, hair, trousers = _looks(variant)
    _bicycle(b, body, FRAMES[variant // 7 % len(FRAMES)])
    for side in (1, -1):
        leg = (0.05, side * 0.30 * wide, 0.60)
        swing, lift = side * 0.10, side * 0.09
        radii = (0.11, 0.24 * wide, 0.33)
        b.ellipsoid(leg, radii, trousers, lean=0.25, swing=swing, lift=lift, stride=PEDALLING_M)
        foot, shoe = (0.08, side * 0.32 * wide, 0.27), (0.13, 0.20 * wide, 0.05)
        b.ellipsoid(foot, shoe, (0.12, 0.12, 0.13), swing=swing, lift=lift, stride=PEDALLING_M)
        arm = (0.19 * length, side * 0.62 * wide, 0.66 * height)
        b.ellipsoid(arm, (0.07, 0.16 * wide, 0.20 * height), darker(body.color_rgb, 0.85), lean=-0.7)
    b.ellipsoid((0.03, 0, 0.70 * height), (0.15, 0.62 * wide, 0.19 * height), body.color_rgb, lean=0.35)
    helmet = body.color_rgb if variant % 3 else hair
    b.ellipsoid((0.16, 0, 0.925 * height), (0.11, 0.10, 0.073 * height), skin, Material.FACE, second=helmet)


def _bicycle(b: Builder, body: Body, metal: Color) -> None:
    length, wide = body.length_m, body.width_m / 2
    radius = min(0.34, length * 0.19)
    both = Facing.BOTH
    for x in (-length / 2 + radius, length / 2 - radius):
        b.patch((x, 0, radius), (radius, 0, 0), (0, 0, radius), TYRE, form=Form.RING, facing=both)
        b.patch((x, 0, radius), (0, 0.035, 0), (0, 0, radius), TYRE, facing=both)
    b.patch((0.02, 0, 0.62), (0.28 * length, 0, 0.06), (0, 0, 0.03), metal, facing=both)
    b.patch((0.12 * length, 0, 0.48), (0.15 * length, 0, 0.16), (0, 0, 0.03), metal, facing=both)
    b.patch((-0.17 * length, 0, 0.34), (0.16 * length, 0, 0), (0, 0, 0.025), metal, facing=both)
    b.patch((-0.04 * length, 0, 0.55), (0.025, 0, 0), (-0.06, 0, 0.24), metal, facing=both)
    b.patch((0.30 * length, 0, 0.92), (0, 0.8 * wide, 0), (0, 0, 0.025), TYRE, facing=both)
    b.patch((0.30 * length, 0, 0.62), (0.025, 0, 0), (-0.03, 0, 0.30), metal, facing=both)
    lamp = (-0.30 * length, 0, 0.72)
    b.patch(lamp, (0, -0.06, 0), (0, 0, 0.06), (0.9, 0.05, 0.05), Material.LAMP)
