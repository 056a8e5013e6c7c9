"""What rain and snow do to surfaces: dark wet asphalt, puddles, white ground with tyre tracks, snow on roofs and trees."""

import torch
from torch import Tensor

from worldmodel.town.looks.ground import Soil
from worldmodel.town.looks.shading import Mood, Rgb, mix, noise, tinted
from worldmodel.town.looks.shapes import Material

SNOW = (0.93, 0.95, 0.98)
SLUSH = (0.50, 0.52, 0.56)
PANES = (Material.GLASS, Material.SIDE_GLASS, Material.BUS_GLASS, Material.CAB_GLASS)
TRACK_M = 0.80  # of the wheels from the middle of a lane


def weathered(soil: Soil, x: Tensor, y: Tensor, at: Mood) -> tuple[Rgb, Tensor, Tensor]:
    """Unlit colour of the ground under the weather, how much of it mirrors, and how smoothly (1 in puddles)."""
    if at.snow:
        return _snowed_ground(soil, x, y, at), torch.zeros_like(x), torch.zeros_like(x)
    if not at.wet:
        return soil.color, torch.zeros_like(x), torch.zeros_like(x)
    puddle = _puddles(soil, x, y, at)
    damp = at.wet * (0.55 + 0.45 * soil.road)
    dark = 1 - damp * (0.16 + 0.18 * soil.road) * (1 - 0.6 * soil.paint) - 0.18 * puddle
    red, green, blue = (part * dark for part in soil.color)
    film = at.wet * (0.10 + 0.72 * soil.road)
    return (red, green, blue), torch.maximum(film, puddle), puddle


def _puddles(soil: Soil, x: Tensor, y: Tensor, at: Mood) -> Tensor:
    """Flat water where low-frequency noise is high, mostly on the road; fades where a pixel is larger than a puddle."""
    bumps = 0.72 * noise(x * 0.33 + 13, y * 0.33 + 71) + 0.28 * noise(x * 0.9 + 3, y * 0.9 + 8)
    edge = 0.60 if at.wet > 0.9 else 0.63
    water = ((bumps - edge) * 8).clamp(0, 1) * (0.25 + 0.75 * soil.road)
    return water * (2.0 / soil.pixel).clamp(max=1.0)


def _snowed_ground(soil: Soil, x: Tensor, y: Tensor, at: Mood) -> Rgb:
    bumps = noise(x * 0.35 + 5, y * 0.35)
    fine = (noise(x * 2.1, y * 2.1) - 0.5) * (1.5 * 0.5 / soil.pixel).clamp(max=1.0)
    lying = (0.94 + 0.12 * (bumps - 0.5)) - (0.10 * soil.road)
    wander = 0.12 * (noise(x * 0.13, y * 0.13 + 50) - 0.5)
    off = (soil.left.abs() - TRACK_M + wander).abs()
    blur = (soil.pixel * 0.5).clamp(min=0.08)
    track = ((0.30 - off) / (2 * blur) + 0.5).clamp(0, 1) * (0.60 / soil.pixel).clamp(max=1.0)
    slush = ((1.35 - soil.left.abs()) * 1.6).clamp(0, 1) * 0.38
    share = lying - soil.road * torch.maximum(track * (0.62 + 0.5 * fine), slush * (0.75 + 0.8 * fine))
    white = tinted(SNOW, 0.97 + 0.05 * (bumps - 0.5) + 0.06 * fine)
    wet = mix(soil.color, SLUSH, 0.45 * soil.road)
    return mix(wet, white, at.snow * share.clamp(0, 1))


def weathered_part(color: Rgb, up: Tensor, material: Tensor, spot: tuple[Tensor, Tensor, Tensor], at: Mood) -> Rgb:
    """Unlit colour of things under the weather.

    Args:
        up: How much the surface faces the sky, -1 to 1.
        material: Numbers of `Material`: snow lies in clumps on leaves and slides off glass.
        spot: World x, y and z, metres.
    """
    leaves = material == Material.LEAVES
    if at.wet:
        gloss = 0.30 * at.wet * ((up - 0.35) * 2).clamp(0, 1) * (~leaves).float()
        damp = 1 - 0.12 * at.wet
        return mix((color[0] * damp, color[1] * damp, color[2] * damp), at.horizon, gloss)
    if not at.snow:
        return color
    x, y, z = spot
    clumps = noise((x + 0.7 * z) * 1.9, (y - 0.7 * z) * 1.9) - 0.5
    flat = ((up - 0.42 + 0.35 * clumps) * 3.2).clamp(0, 1) * 0.94
    flat = flat * (1 - 0.85 * sum((material == glass).float() for glass in PANES))
    bush = ((up * 0.75 + 0.24 + 0.9 * clumps) * 1.7).clamp(0, 1) * 0.88
    return mix(color, SNOW, at.snow * torch.where(leaves, bush, flat))
