"""What is painted on vehicles: glass, lamps, wheels, doors."""

import torch
from torch import Tensor

from worldmodel.town.looks.hits import Hits, Paint, none, rect
from worldmodel.town.looks.lamps import AMBER_LIT, BRAKE, LEFT_LAMP, RIGHT_LAMP
from worldmodel.town.looks.shading import Mood, Rgb, Tone, above, band, cell_noise, mix, pulses, tinted


def _mirror(h: Hits, mood: Mood, base: Tone) -> Rgb:
    """Dark glass with the sky in its upper part."""
    share = (0.22 + 0.20 * h.v).clamp(0.03, 0.5) * (0.25 + 0.75 * mood.day)
    return mix(tinted(base, torch.ones_like(h.u)), mood.horizon, share)


def glass(h: Hits, mood: Mood) -> Paint:
    """A pane in a frame."""
    pane = band(h.u, -0.90, 0.90, h.du) * band(h.v, -0.86, 0.84, h.dv)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), none(h)


def side_glass(h: Hits, mood: Mood) -> Paint:
    """Two panes with a pillar."""
    pillar = band(h.u, -0.04, 0.04, h.du)
    pane = band(h.u, -0.86, 0.86, h.du) * band(h.v, -0.84, 0.78, h.dv) * (1 - pillar)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), none(h)


def bus_glass(h: Hits, mood: Mood) -> Paint:
    """A row of panes."""
    x = (h.u + 1) / 2 * h.size_u
    pane = pulses(x, 1.5, 1.36, h.du * h.size_u / 2) * band(h.v, -0.86, 0.86, h.dv) * band(h.u, -0.97, 0.97, h.du)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), none(h)


def cab_glass(h: Hits, mood: Mood) -> Paint:
    """Windows at the front of a side only: a delivery van's."""
    ahead = -h.u * h.turned
    pane = band(ahead, 0.44, 0.88, h.du) * band(h.v, -0.84, 0.70, h.dv)
    return mix(h.color, _mirror(h, mood, (0.10, 0.13, 0.18)), pane), none(h)


def wheel(h: Hits, _: Mood) -> Paint:
    """A tyre and a hub."""
    radius = torch.sqrt(h.u * h.u + h.v * h.v)
    hub = above(-radius, -0.58, torch.maximum(h.du, h.dv))
    return mix(h.color, (0.66, 0.67, 0.70), hub), none(h)


def tail(h: Hits, mood: Mood) -> Paint:
    """Red lamps, a plate, a bumper; brighter when it brakes, amber at an end that blinks."""
    color = mix(h.color, (0.14, 0.14, 0.15), above(-h.v, 0.52, h.dv) * 0.85)
    color = mix(color, (0.94, 0.94, 0.88), rect(h, (0.0, 0.27), (-0.38, 0.02)))
    brake = h.shining(BRAKE)
    lamp = torch.maximum(rect(h, (0.58, 0.97), (0.12, 0.80)), brake * rect(h, (0.50, 1.0), (-0.02, 0.90)))
    red = tuple(a + (b - a) * brake for a, b in ((0.80, 1.0), (0.05, 0.16), (0.06, 0.10)))
    color = mix(color, (0.13, 0.06, 0.07), rect(h, (0.43, 1.0), (-0.12, 0.97)) * 0.8)
    color = mix(color, (red[0], red[1], red[2]), lamp)
    color = mix(color, (1.0, 0.60, 0.46), brake * rect(h, (0.62, 0.94), (0.18, 0.70)))  # tells it from red paint
    shine = lamp * (brake * 0.5 + 0.5) * (1.0 - 0.35 * mood.day)
    return _blinking(h, color, shine, LEFT_LAMP, RIGHT_LAMP, (0.45, 1.0))


def _blinking(h: Hits, color: Rgb, shine: Tensor, low: int, high: int, v: tuple[float, float]) -> Paint:
    """Amber lamps at both ends of a nose or tail, lit while they blink; `low` is the one where u is negative."""
    on = torch.where(h.u < 0, h.shining(low), h.shining(high)) * rect(h, (0.58, 1.0), v)
    return mix(color, AMBER_LIT, on), torch.maximum(shine, on)


def nose(h: Hits, _: Mood) -> Paint:
    """Headlights, a grille, a bumper; amber at an end that blinks."""
    color = mix(h.color, (0.14, 0.14, 0.15), above(-h.v, 0.55, h.dv) * 0.85)
    color = mix(color, (0.10, 0.10, 0.11), rect(h, (0.0, 0.46), (-0.30, 0.30)))
    lamp = rect(h, (0.56, 0.96), (0.02, 0.62))
    color = mix(color, (1.0, 0.98, 0.88), lamp)
    return _blinking(h, color, lamp * 0.9, RIGHT_LAMP, LEFT_LAMP, (-0.30, 0.05))


def doors(h: Hits, _: Mood) -> Paint:
    """Seams, handles, a dark sill, and amber at the ends when the side blinks."""
    sill = above(-h.v, 0.62, h.dv)
    seam = band((h.u.abs() - 0.02), -0.006, 0.012, h.du) * 0.5
    handle = band(h.v, 0.38, 0.52, h.dv) * band((h.u - 0.12).abs(), 0.0, 0.03, h.du) * 0.6
    color = mix(h.color, (0.12, 0.12, 0.13), torch.maximum(seam, handle))
    color = mix(color, (0.13, 0.13, 0.14), sill * 0.8)
    ends = band(h.u, 0.91, 0.99, h.du) + band(-h.u, 0.91, 0.99, h.du)
    lit = torch.where(h.turned > 0, h.shining(LEFT_LAMP), h.shining(RIGHT_LAMP))
    on = lit * ends * band(h.v, 0.25, 0.75, h.dv)
    return mix(color, AMBER_LIT, on), on


def panel(h: Hits, _: Mood) -> Paint:
    """A cargo box with a band of the second colour."""
    stripe = band(h.v, -0.30, 0.12, h.dv)
    seams = pulses((h.u + 1) / 2 * h.size_u, 1.2, 0.05, h.du * h.size_u / 2) * 0.2
    edge = above(torch.maximum(h.u.abs(), h.v.abs()), 0.95, torch.maximum(h.du, h.dv)) * 0.5
    color = mix(h.color, h.second, stripe)
    return mix(color, (0.25, 0.25, 0.27), torch.maximum(seams, edge)), none(h)


def drum(h: Hits, _: Mood) -> Paint:
    """A band wound around a mixer's drum."""
    turn = h.u + 0.12 * h.v
    return mix(h.color, h.second, torch.maximum(band(turn, -0.45, -0.25, h.du), band(turn, 0.20, 0.40, h.du))), none(h)


def destination(h: Hits, mood: Mood) -> Paint:
    """Glowing letters, or what one sees of them from afar."""
    x = (h.u + 1) / 2 * h.size_u
    cell = (x / 0.13).floor()
    word = (cell_noise(cell, cell * 0 + 3) > 0.2).float() * pulses(x, 0.13, 0.09, h.du * h.size_u / 2)
    text = word * band(h.v, -0.6, 0.6, h.dv) * band(h.u, -0.8, 0.7, h.du)
    return mix(h.color, h.second, text), text * (1 - 0.2 * mood.day)
