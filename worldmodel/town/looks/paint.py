"""What is painted on the parts: windows, lights, wheels, leaves.

A painter takes the hits on parts of one material and returns the colour of the surface and how much of it shines by
itself (0: needs light, 1: shines fully).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.town.looks import coachwork, facades, signs
from worldmodel.town.looks.hits import Hits, Paint, none, scaled
from worldmodel.town.looks.lamps import SIGNAL_LAMPS, SIGNAL_LIT
from worldmodel.town.looks.shading import Mood, above, band, cell_noise, mix, noise, pulses
from worldmodel.town.looks.shapes import Material


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


def _cardboard(h: Hits, _: Mood) -> Paint:
    tape = band(h.u, -0.14, 0.14, h.du)
    rim = 1 - 0.18 * above(torch.maximum(h.u.abs(), h.v.abs()), 0.93, h.du)
    return scaled(mix(h.color, h.second, tape * 0.8), rim), none(h)


def _cone(h: Hits, _: Mood) -> Paint:
    stripes = torch.maximum(band(h.v, -0.45, -0.05, h.dv), band(h.v, 0.30, 0.62, h.dv))
    return mix(h.color, (0.98, 0.98, 0.98), stripes), none(h)


def _leaves(h: Hits, _: Mood) -> Paint:
    planes = ((h.u, h.v), (h.side + 3, h.v + 7), (h.u + 11, h.side + 5))
    clumps, fine = (sum((noise(4.2 * k * a, 4.2 * k * b) for a, b in planes), torch.zeros_like(h.u)) for k in (1, 2.7))
    value = 0.94 + 0.50 * (clumps - 1.5) + 0.40 * (fine - 1.5)
    value = value * (0.86 + 0.16 * h.v)
    return scaled(h.color, value), none(h)


def _lamp(h: Hits, mood: Mood) -> Paint:
    return h.color, torch.full_like(h.u, 0.85 - 0.35 * mood.day)


def _signal(h: Hits, _: Mood) -> Paint:
    """A dark head with three round lamps in a white-rimmed board; only the one that is on shines."""
    x, y = h.u * h.size_u / 2, h.v * h.size_v / 2
    pixel = torch.maximum(h.du * h.size_u, h.dv * h.size_v) / 2
    third = h.size_v / 3
    edge = torch.minimum(h.size_u / 2 - x.abs(), h.size_v / 2 - y.abs())
    color = mix(h.color, h.second, above(-edge, -0.055, pixel))
    shine = none(h)
    for place, (code, tone) in enumerate(zip(SIGNAL_LAMPS, SIGNAL_LIT, strict=True)):
        off_y = y - (1 - place) * third * 0.92
        lens = above(-torch.sqrt(x * x + off_y * off_y), -0.19, pixel)
        on = h.shining(code)
        dull = tuple(0.05 + 0.12 * part for part in tone)
        color = mix(mix(color, (dull[0], dull[1], dull[2]), lens), tone, lens * on)
        shine = torch.maximum(shine, lens * on)
    return color, shine


def _board(h: Hits, _: Mood) -> Paint:
    """Slanted stripes in both colours, as on the boards of road works."""
    x, y = h.u * h.size_u / 2, h.v * h.size_v / 2
    return mix(h.color, h.second, pulses(x + y, 0.5, 0.25, (h.du * h.size_u + h.dv * h.size_v) / 2)), none(h)


def _hedge(h: Hits, _: Mood) -> Paint:
    x, y = (h.u + 1) / 2 * h.size_u, (h.v + 1) / 2 * h.size_v
    value = 0.92 + 0.45 * (noise(3.1 * x, 3.1 * y + 9) - 0.5) + 0.35 * (noise(9 * x, 9 * y) - 0.5) + 0.10 * h.v
    return scaled(h.color, value), none(h)


def _fence(h: Hits, _: Mood) -> Paint:
    """Pickets with dark gaps between them, and a rail across."""
    x = (h.u + 1) / 2 * h.size_u
    gaps = 1 - pulses(x, 0.22, 0.14, h.du * h.size_u / 2)
    gaps = gaps * (1 - 0.8 * band(h.v, 0.35, 0.55, h.dv)) * (1 - 0.8 * band(h.v, -0.55, -0.35, h.dv))
    return mix(h.color, (0.22, 0.28, 0.14), gaps * 0.85), none(h)


def _stones(h: Hits, _: Mood) -> Paint:
    x, y = (h.u + 1) / 2 * h.size_u, (h.v + 1) / 2 * h.size_v
    row = (y / 0.22).floor()
    shift = x + 0.21 * (row % 2)
    joints = torch.maximum(pulses(y, 0.22, 0.03, h.dv * h.size_v / 2), pulses(shift, 0.42, 0.03, h.du * h.size_u / 2))
    value = 0.88 + 0.24 * cell_noise((shift / 0.42 - 0.5).floor(), row) - 0.3 * joints
    return scaled(mix(h.color, h.second, above(h.v, 0.8, h.dv)), value), none(h)


def _rail(h: Hits, _: Mood) -> Paint:
    groove = band(h.v, -0.30, 0.22, h.dv)
    return scaled(h.color, 1.05 - 0.38 * groove), none(h)


def _poster(h: Hits, mood: Mood) -> Paint:
    """An advertisement behind glass, lit at night."""
    inside = band(h.u, -0.8, 0.8, h.du) * band(h.v, -0.6, 0.8, h.dv)
    disc = above(-torch.sqrt(h.u * h.u + (h.v - 0.3) * (h.v - 0.3)), -0.4, h.du)
    color = mix(mix((0.2 + none(h), 0.2 + none(h), 0.22 + none(h)), h.color, inside), (1.0, 0.95, 0.80), disc * inside)
    return color, inside * (0.9 - 0.7 * mood.day)


def _face(h: Hits, _: Mood) -> Paint:
    hair = torch.maximum(above(h.v, 0.35, torch.full_like(h.v, 0.2)), above(-h.u, 0.25, torch.full_like(h.u, 0.2)))
    return mix(h.color, h.second, hair), none(h)


PAINTERS: dict[Material, Callable[[Hits, Mood], Paint]] = {
    Material.FACADE: facades.facade,
    Material.GLASS: coachwork.glass,
    Material.SIDE_GLASS: coachwork.side_glass,
    Material.WHEEL: coachwork.wheel,
    Material.TAIL: coachwork.tail,
    Material.NOSE: coachwork.nose,
    Material.DOORS: coachwork.doors,
    Material.ROOF: facades.roof,
    Material.CARDBOARD: _cardboard,
    Material.CONE: _cone,
    Material.LEAVES: _leaves,
    Material.SIGN: signs.painted,
    Material.LAMP: _lamp,
    Material.BUS_GLASS: coachwork.bus_glass,
    Material.PANEL: coachwork.panel,
    Material.FACE: _face,
    Material.SIGNAL: _signal,
    Material.BOARD: _board,
    Material.HEDGE: _hedge,
    Material.FENCE: _fence,
    Material.STONES: _stones,
    Material.RAIL: _rail,
    Material.POSTER: _poster,
    Material.CAB_GLASS: coachwork.cab_glass,
    Material.DRUM: coachwork.drum,
    Material.DESTINATION: coachwork.destination,
}
