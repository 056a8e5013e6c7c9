"""The sky: gradient, sun or moon, clouds, and wooded hills at the horizon."""

import torch
from torch import Tensor

from worldmodel.town.looks.shading import MOONRISE, Mood, Rgb, above, blend, mix, noise, tinted


def sky(x: Tensor, y: Tensor, z: Tensor, at: Mood) -> Rgb:
    """The sky in unit directions (x, y, z): gradient, sun, clouds, and wooded hills at the horizon."""
    height = z.clamp(min=0)
    up = 1 - (1 - height) * (1 - height) * (1 - height)
    color = mix((torch.full_like(z, at.horizon[0]), torch.full_like(z, at.horizon[1]),
                 torch.full_like(z, at.horizon[2])), at.zenith, up)  # fmt: skip
    towards = (x * at.to_sun[0] + y * at.to_sun[1] + z * at.to_sun[2]).clamp(0, 1)
    wide = towards * towards
    wide = wide * wide * wide
    narrow = wide * wide * wide
    narrow = narrow * narrow * narrow * narrow * narrow
    color = mix(color, at.glow, 0.30 * wide + 0.55 * narrow)
    if at.day < MOONRISE and 0 < at.clouds < 1:  # neither fog nor a closed sky lets it through
        color = mix(color, (0.98, 0.97, 0.88), above(towards, 0.99935, torch.full_like(z, 3e-4)))
    elif at.shadow:
        color = mix(color, (1.0, 0.99, 0.93), above(towards, 0.9985, torch.full_like(z, 6e-4)))
    if at.clouds:
        color = _clouds(color, x / (height + 0.18), y / (height + 0.18), height, at)
    else:
        color = mix(color, at.horizon, (1 - 2.5 * height).clamp(0, 1))
    return _hills(color, x, y, z, at)


def _clouds(color: Rgb, x: Tensor, y: Tensor, height: Tensor, at: Mood) -> Rgb:
    puffs = 0.6 * noise(x * 1.3 + 9, y * 1.3 + 4) + 0.3 * noise(x * 3.1, y * 3.1) + 0.1 * noise(x * 7.3, y * 7.3)
    cover = ((puffs - (0.72 - 0.36 * at.clouds)) * 5).clamp(0, 1) * (height * 8).clamp(0, 1)
    shade = 0.90 + 0.14 * noise(x * 3.1 + 0.5, y * 3.1 + 0.5)
    bright = blend(at.horizon, (1.0, 1.0, 1.0), 0.65 * at.day)
    white = tinted(bright if at.clouds < 1 else blend(at.horizon, (0.9, 0.9, 0.92), 0.4 * at.day), shade)
    return mix(color, white, cover * (0.85 if at.clouds < 1 else 0.6))


def _hills(color: Rgb, x: Tensor, y: Tensor, z: Tensor, at: Mood) -> Rgb:
    flat = torch.rsqrt((x * x + y * y).clamp(min=1e-6))
    x, y, slope = x * flat, y * flat, z * flat
    width = torch.full_like(z, 0.004)
    for far, scale, base, tall in ((0.80, 5.0, 0.016, 0.055), (0.55, 17.0, 0.006, 0.035)):
        ridge = base + tall * noise(x * scale + 40 * far, y * scale + 17)
        ridge = ridge + 0.010 * noise(x * scale * 9, y * scale * 9)
        share = above(ridge, slope, width)
        green = tinted((0.20, 0.36, 0.22), 0.35 + 0.65 * torch.full_like(z, at.day))
        hill = mix(green, at.horizon, torch.full_like(z, far if at.haze_m > 100 else 0.97))
        color = mix(color, hill, share)
    return color
