"""What is painted on the parts: windows, lights, wheels, leaves.

A painter takes the hits on parts of one material and returns the colour of the surface and how much of it shines by
itself (0: needs light, 1: shines fully).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldmodel.town.lamps import BRAKE, LEFT_LAMP, RIGHT_LAMP, SIGNAL_LAMPS
from worldmodel.town.shading import Mood, Rgb, Tone, above, band, cell_noise, mix, noise, pulses, tinted
from worldmodel.town.shapes import Material

FLOOR_M = 3.1
AMBER_LIT: Tone = (1.0, 0.62, 0.05)
SIGNAL_LIT: tuple[Tone, ...] = ((1.0, 0.10, 0.06), (1.0, 0.70, 0.05), (0.10, 0.95, 0.45))  # red, amber, green
Paint = tuple[Rgb, Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Hits:
    """Points on parts, one entry per sample.

    Attributes:
        u, v: Position on the patch, -1 to 1 (v upward); on ellipsoids, the normal's part along their first and third axis.
        side: On ellipsoids, the normal's part along the second axis.
        du, dv: Size of a pixel in u and in v.
        size_u, size_v: Size of the whole patch, metres.
        seed: Variation.
        color, second: The part's two colours.
        lamps: Which lamps shine, a sum of the codes in `lamps.py`, int64.
        turned: 1 on the left side of a hull, -1 on its right side, else 0.
    """

    u: Tensor
    v: Tensor
    side: Tensor
    du: Tensor
    dv: Tensor
    size_u: Tensor
    size_v: Tensor
    seed: Tensor
    red: Tensor
    green: Tensor
    blue: Tensor
    red2: Tensor
    green2: Tensor
    blue2: Tensor
    lamps: Tensor
    turned: Tensor

    def shining(self, lamp: int) -> Tensor:
        """1 where the lamp with this code is on, else 0."""
        return ((self.lamps & lamp) > 0).float()

    @property
    def color(self) -> Rgb:
        """The part's own colour."""
        return self.red, self.green, self.blue

    @property
    def second(self) -> Rgb:
        """The part's second colour."""
        return self.red2, self.green2, self.blue2

    def at(self, index: Tensor) -> "Hits":
        """Some of the hits."""
        return Hits(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def paint(material: Tensor, hits: Hits, mood: Mood) -> Paint:
    """Colour and shine of every hit; `material` holds numbers of `Material`, shape [n]."""
    color = [part.clone() for part in hits.color]
    shine = torch.zeros_like(hits.u)
    for number in torch.unique(material).tolist():
        painter = PAINTERS.get(Material(int(number)))
        if painter is None:
            continue
        index = torch.nonzero(material == number)[:, 0]
        painted, glow = painter(hits.at(index), mood)
        for whole, some in zip(color, painted, strict=True):
            whole[index] = some
        shine[index] = glow
    return (color[0], color[1], color[2]), shine


def _none(hits: Hits) -> Tensor:
    return torch.zeros_like(hits.u)


def _rect(hits: Hits, u: tuple[float, float], v: tuple[float, float]) -> Tensor:
    """Cover of a rectangle that is drawn on the left and mirrored on the right."""
    return band(hits.u.abs(), u[0], u[1], hits.du) * band(hits.v, v[0], v[1], hits.dv)


def _facade(h: Hits, mood: Mood) -> Paint:
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
    wall = mix(wall, glass, pane)
    shine = pane * evening * (1.0 - 0.75 * mood.day)
    wall = _shop(wall, h, (x, y, dx, dy), shop)
    door_at = (h.seed * 7 % 5) % columns
    door = band(x - (door_at + 0.5) * wide, -0.62, 0.62, dx) * above(-y, -2.35, dy)
    step = band(x - (door_at + 0.5) * wide, -0.78, 0.78, dx) * above(-y, -2.52, dy)
    wall = mix(mix(wall, (0.88, 0.87, 0.84), step), (0.36, 0.18, 0.12), door)
    corner = 1 - 0.22 * above(h.u.abs(), 1 - 0.5 / h.size_u, h.du)
    return (wall[0] * corner, wall[1] * corner, wall[2] * corner), shine * (1 - door)


def _shop(wall: Rgb, h: Hits, place: tuple[Tensor, Tensor, Tensor, Tensor], shop: Tensor) -> Rgb:
    x, y, dx, dy = place
    window = pulses(x, 3.4, 2.9, dx) * band(y, 0.5, 2.4, dy) * shop
    wall = mix(wall, (0.20, 0.27, 0.32), window)
    awning = band(y, 2.4, 3.05, dy) * shop
    stripes = pulses(x, 1.0, 0.5, dx)
    cloth = mix((1 - 0.75 * stripes, 1 - 0.1 * h.second[1] - 0.75 * stripes, 1 - 0.7 * stripes), h.second, stripes)
    return mix(wall, cloth, awning)


def _roof(h: Hits, _: Mood) -> Paint:
    rows = pulses((h.v + 1) / 2 * h.size_v, 0.7, 0.22, h.dv * h.size_v / 2)
    return _scaled(h.color, 1.04 - 0.28 * rows), _none(h)


def _scaled(color: Rgb, value: Tensor) -> Rgb:
    return color[0] * value, color[1] * value, color[2] * value


def _mirror(h: Hits, mood: Mood, base: Tone) -> Rgb:
    """Dark glass with the sky in its upper part."""
    share = (0.22 + 0.20 * h.v).clamp(0.03, 0.5) * (0.25 + 0.75 * mood.day)
    return mix(tinted(base, torch.ones_like(h.u)), mood.horizon, share)


def _glass(h: Hits, mood: Mood) -> Paint:
    pane = band(h.u, -0.90, 0.90, h.du) * band(h.v, -0.86, 0.84, h.dv)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), _none(h)


def _side_glass(h: Hits, mood: Mood) -> Paint:
    pillar = band(h.u, -0.04, 0.04, h.du)
    pane = band(h.u, -0.86, 0.86, h.du) * band(h.v, -0.84, 0.78, h.dv) * (1 - pillar)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), _none(h)


def _bus_glass(h: Hits, mood: Mood) -> Paint:
    x = (h.u + 1) / 2 * h.size_u
    pane = pulses(x, 1.5, 1.36, h.du * h.size_u / 2) * band(h.v, -0.86, 0.86, h.dv) * band(h.u, -0.97, 0.97, h.du)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), _none(h)


def _cab_glass(h: Hits, mood: Mood) -> Paint:
    """Windows at the front of a side only: a delivery van's."""
    ahead = -h.u * h.turned
    pane = band(ahead, 0.44, 0.88, h.du) * band(h.v, -0.84, 0.70, h.dv)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), _none(h)


def _wheel(h: Hits, _: Mood) -> Paint:
    radius = torch.sqrt(h.u * h.u + h.v * h.v)
    hub = above(-radius, -0.58, torch.maximum(h.du, h.dv))
    return mix(h.color, (0.66, 0.67, 0.70), hub), _none(h)


def _tail(h: Hits, mood: Mood) -> Paint:
    color = mix(h.color, (0.14, 0.14, 0.15), above(-h.v, 0.52, h.dv) * 0.85)
    color = mix(color, (0.94, 0.94, 0.88), _rect(h, (0.0, 0.27), (-0.38, 0.02)))
    brake = h.shining(BRAKE)
    lamp = torch.maximum(_rect(h, (0.58, 0.97), (0.12, 0.80)), brake * _rect(h, (0.46, 1.0), (-0.02, 0.90)))
    red = tuple(a + (b - a) * brake for a, b in ((0.80, 1.0), (0.05, 0.16), (0.06, 0.10)))
    color = mix(color, (0.13, 0.06, 0.07), _rect(h, (0.50, 1.0), (0.02, 0.90)) * 0.8)
    color = mix(color, (red[0], red[1], red[2]), lamp)
    shine = lamp * (brake * 0.5 + 0.5) * (1.0 - 0.35 * mood.day)
    return _blinking(h, color, shine, LEFT_LAMP, RIGHT_LAMP, (0.45, 1.0))


def _blinking(h: Hits, color: Rgb, shine: Tensor, low: int, high: int, v: tuple[float, float]) -> Paint:
    """Amber lamps at both ends of a nose or tail, lit while they blink; `low` is the one where u is negative."""
    on = torch.where(h.u < 0, h.shining(low), h.shining(high)) * _rect(h, (0.58, 1.0), v)
    return mix(color, AMBER_LIT, on), torch.maximum(shine, on)


def _nose(h: Hits, _: Mood) -> Paint:
    color = mix(h.color, (0.14, 0.14, 0.15), above(-h.v, 0.55, h.dv) * 0.85)
    color = mix(color, (0.10, 0.10, 0.11), _rect(h, (0.0, 0.46), (-0.30, 0.30)))
    lamp = _rect(h, (0.56, 0.96), (0.02, 0.62))
    color = mix(color, (1.0, 0.98, 0.88), lamp)
    return _blinking(h, color, lamp * 0.9, RIGHT_LAMP, LEFT_LAMP, (-0.30, 0.05))


def _doors(h: Hits, _: Mood) -> Paint:
    sill = above(-h.v, 0.62, h.dv)
    seam = band((h.u.abs() - 0.02), -0.006, 0.012, h.du) * 0.5
    handle = band(h.v, 0.38, 0.52, h.dv) * band((h.u - 0.12).abs(), 0.0, 0.03, h.du) * 0.6
    color = mix(h.color, (0.12, 0.12, 0.13), torch.maximum(seam, handle))
    color = mix(color, (0.13, 0.13, 0.14), sill * 0.8)
    ends = band(h.u, 0.91, 0.99, h.du) + band(-h.u, 0.91, 0.99, h.du)
    lit = torch.where(h.turned > 0, h.shining(LEFT_LAMP), h.shining(RIGHT_LAMP))
    on = lit * ends * band(h.v, 0.25, 0.75, h.dv)
    return mix(color, AMBER_LIT, on), on


def _cardboard(h: Hits, _: Mood) -> Paint:
    tape = band(h.u, -0.14, 0.14, h.du)
    rim = 1 - 0.18 * above(torch.maximum(h.u.abs(), h.v.abs()), 0.93, h.du)
    return _scaled(mix(h.color, h.second, tape * 0.8), rim), _none(h)


def _cone(h: Hits, _: Mood) -> Paint:
    stripes = torch.maximum(band(h.v, -0.45, -0.05, h.dv), band(h.v, 0.30, 0.62, h.dv))
    return mix(h.color, (0.98, 0.98, 0.98), stripes), _none(h)


def _leaves(h: Hits, _: Mood) -> Paint:
    planes = ((h.u, h.v), (h.side + 3, h.v + 7), (h.u + 11, h.side + 5))
    clumps, fine = (sum((noise(4.2 * k * a, 4.2 * k * b) for a, b in planes), torch.zeros_like(h.u)) for k in (1, 2.7))
    value = 0.94 + 0.50 * (clumps - 1.5) + 0.40 * (fine - 1.5)
    value = value * (0.86 + 0.16 * h.v)
    return _scaled(h.color, value), _none(h)


def _sign(h: Hits, _: Mood) -> Paint:
    radius = torch.sqrt(h.u * h.u + h.v * h.v)
    rim = above(radius, 0.70, h.du)
    bar = band(h.u, -0.40, 0.40, h.du) * band(h.v, -0.14, 0.14, h.dv)
    return mix(h.color, h.second, torch.maximum(rim, bar)), torch.full_like(h.u, 0.25)


def _lamp(h: Hits, mood: Mood) -> Paint:
    return h.color, torch.full_like(h.u, 0.85 - 0.35 * mood.day)


def _signal(h: Hits, _: Mood) -> Paint:
    """A dark head with three round lamps in a white-rimmed board; only the one that is on shines."""
    x, y = h.u * h.size_u / 2, h.v * h.size_v / 2
    pixel = torch.maximum(h.du * h.size_u, h.dv * h.size_v) / 2
    third = h.size_v / 3
    edge = torch.minimum(h.size_u / 2 - x.abs(), h.size_v / 2 - y.abs())
    color = mix(h.color, h.second, above(-edge, -0.055, pixel))
    shine = _none(h)
    for place, (code, tone) in enumerate(zip(SIGNAL_LAMPS, SIGNAL_LIT, strict=True)):
        off_y = y - (1 - place) * third * 0.92
        lens = above(-torch.sqrt(x * x + off_y * off_y), -0.19, pixel)
        on = h.shining(code)
        dull = tuple(0.05 + 0.12 * part for part in tone)
        color = mix(mix(color, (dull[0], dull[1], dull[2]), lens), tone, lens * on)
        shine = torch.maximum(shine, lens * on)
    return color, shine


def _panel(h: Hits, _: Mood) -> Paint:
    stripe = band(h.v, -0.30, 0.12, h.dv)
    seams = pulses((h.u + 1) / 2 * h.size_u, 1.2, 0.05, h.du * h.size_u / 2) * 0.2
    edge = above(torch.maximum(h.u.abs(), h.v.abs()), 0.95, torch.maximum(h.du, h.dv)) * 0.5
    color = mix(h.color, h.second, stripe)
    return mix(color, (0.25, 0.25, 0.27), torch.maximum(seams, edge)), _none(h)


def _board(h: Hits, _: Mood) -> Paint:
    """Slanted stripes in both colours, as on the boards of road works."""
    x, y = h.u * h.size_u / 2, h.v * h.size_v / 2
    return mix(h.color, h.second, pulses(x + y, 0.5, 0.25, (h.du * h.size_u + h.dv * h.size_v) / 2)), _none(h)


def _drum(h: Hits, _: Mood) -> Paint:
    """A band wound around a mixer's drum."""
    turn = h.u + 0.12 * h.v
    return mix(h.color, h.second, torch.maximum(band(turn, -0.45, -0.25, h.du), band(turn, 0.20, 0.40, h.du))), _none(h)


def _destination(h: Hits, mood: Mood) -> Paint:
    """Glowing letters, or what one sees of them from afar."""
    x = (h.u + 1) / 2 * h.size_u
    cell = (x / 0.13).floor()
    word = (cell_noise(cell, cell * 0 + 3) > 0.2).float() * pulses(x, 0.13, 0.09, h.du * h.size_u / 2)
    text = word * band(h.v, -0.6, 0.6, h.dv) * band(h.u, -0.8, 0.7, h.du)
    return mix(h.color, h.second, text), text * (1 - 0.2 * mood.day)


def _face(h: Hits, _: Mood) -> Paint:
    hair = torch.maximum(above(h.v, 0.35, torch.full_like(h.v, 0.2)), above(-h.u, 0.25, torch.full_like(h.u, 0.2)))
    return mix(h.color, h.second, hair), _none(h)


PAINTERS: dict[Material, Callable[[Hits, Mood], Paint]] = {
    Material.FACADE: _facade,
    Material.GLASS: _glass,
    Material.SIDE_GLASS: _side_glass,
    Material.WHEEL: _wheel,
    Material.TAIL: _tail,
    Material.NOSE: _nose,
    Material.DOORS: _doors,
    Material.ROOF: _roof,
    Material.CARDBOARD: _cardboard,
    Material.CONE: _cone,
    Material.LEAVES: _leaves,
    Material.SIGN: _sign,
    Material.LAMP: _lamp,
    Material.BUS_GLASS: _bus_glass,
    Material.PANEL: _panel,
    Material.FACE: _face,
    Material.SIGNAL: _signal,
    Material.BOARD: _board,
    Material.CAB_GLASS: _cab_glass,
    Material.DRUM: _drum,
    Material.DESTINATION: _destination,
}
