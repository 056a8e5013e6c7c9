"""Light, sky, noise and the paint on parts: colours of points that are already found.

Everything works on flat columns (one entry per sample, shape [n]) and filters its own patterns to the size of a
pixel: `width` arguments are the size of a pixel's footprint in the pattern's unit, so that little needs supersampling.
Colours are display RGB in [0, 1], as lists of three columns.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import UnknownName
from worldmodel.town.scene import Light

Rgb = tuple[Tensor, Tensor, Tensor]
Tone = tuple[float, float, float]
NOISE_SIZE = 256
HAZE_M = {
    "clear": 420.0,
    "overcast": 260.0,
    "fog": 45.0,
    "rain": 150.0,
    "wet": 380.0,
    "snow": 110.0,
}  # distance after which 63 % is haze
SUN_SHARE = {"clear": 1.0, "overcast": 0.22, "fog": 0.12, "rain": 0.1, "wet": 0.6, "snow": 0.15}


@dataclass(frozen=True, kw_only=True)
class Mood:
    """The light of one scene.

    Attributes:
        to_sun: Unit vector towards the sun (kept a little above the horizon).
        sun, ambient: Colours that multiply what the sun and the whole sky light.
        zenith, horizon, glow: Sky colours above, at the horizon, and around the sun.
        day: 1 by day, 0 at night.
        shadow: How dark a sun shadow is, 0 to 1.
        haze_m: Distance after which 63 % of a colour is haze.
        clouds: 0 none to 1 covered.
    """

    to_sun: Tone
    sun: Tone
    ambient: Tone
    zenith: Tone
    horizon: Tone
    glow: Tone
    day: float
    shadow: float
    haze_m: float
    clouds: float


def _blend(a: Tone, b: Tone, share: float) -> Tone:
    return tuple(x + (y - x) * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _ramp(x: float, low: float, high: float) -> float:
    s = min(1.0, max(0.0, (x - low) / (high - low)))
    return s * s * (3 - 2 * s)


def mood(light: Light) -> Mood:
    """The colours that follow from sun, weather and hour.

    Raises:
        UnknownName: for a weather that does not exist.
    """
    if light.weather not in HAZE_M:
        raise UnknownName("weather", light.weather, HAZE_M)
    elevation = light.sun_elevation_rad
    day = _ramp(elevation, -0.12, 0.14)
    warm = 1 - _ramp(elevation, 0.05, 0.55)
    grey = {"clear": 0.0, "overcast": 0.85, "fog": 1.0, "rain": 0.95, "wet": 0.3, "snow": 0.9}[light.weather]
    sun = _blend((1.0, 0.96, 0.88), (1.0, 0.66, 0.36), warm)
    share = SUN_SHARE[light.weather] * day * 0.70
    ambient = _blend(_blend((0.60, 0.64, 0.70), (0.60, 0.55, 0.60), warm), (0.86, 0.87, 0.89), grey)
    zenith = _blend(_blend((0.24, 0.48, 0.86), (0.30, 0.38, 0.66), warm), (0.66, 0.69, 0.73), grey)
    horizon = _blend(_blend((0.74, 0.85, 0.95), (0.98, 0.74, 0.54), warm), (0.78, 0.79, 0.80), grey)
    glow = _blend(_blend((1.0, 0.96, 0.82), (1.0, 0.62, 0.30), warm), (0.84, 0.84, 0.82), grey)
    night = 1 - day
    height = max(elevation, 0.12)
    azimuth = light.sun_azimuth_rad
    to_sun = (math.cos(azimuth) * math.cos(height), math.sin(azimuth) * math.cos(height), math.sin(height))
    return Mood(
        to_sun=to_sun,
        sun=tuple(share * value for value in sun),  # type: ignore[arg-type]
        ambient=_blend(ambient, (0.27, 0.30, 0.44), night),
        zenith=_blend(zenith, (0.03, 0.05, 0.14), night),
        horizon=_blend(horizon, (0.14, 0.16, 0.28), night),
        glow=_blend(glow, (0.16, 0.18, 0.30), night),
        day=day,
        shadow=0.72 if light.weather == "clear" and elevation > 0.05 else 0.0,
        haze_m=HAZE_M[light.weather],
        clouds={"clear": 0.55, "overcast": 1.0, "fog": 0.0, "rain": 1.0, "wet": 0.8, "snow": 1.0}[light.weather],
    )


@lru_cache(maxsize=4)
def _lattice(device: str) -> Tensor:
    values = np.random.default_rng(20240501).random((NOISE_SIZE, NOISE_SIZE), dtype=np.float32)
    return torch.from_numpy(values).flatten().to(device)


def noise(x: Tensor, y: Tensor) -> Tensor:
    """Smooth noise in [0, 1] with bumps of size 1, repeating every 256; the same everywhere and always."""
    table = _lattice(str(x.device))
    left, low = x.floor(), y.floor()
    fx, fy = x - left, y - low
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i0, j0 = left.long() % NOISE_SIZE, low.long() % NOISE_SIZE
    i1, j1 = (i0 + 1) % NOISE_SIZE, (j0 + 1) % NOISE_SIZE
    a, b = table[j0 * NOISE_SIZE + i0], table[j0 * NOISE_SIZE + i1]
    c, d = table[j1 * NOISE_SIZE + i0], table[j1 * NOISE_SIZE + i1]
    below = a + (b - a) * fx
    return below + (c + (d - c) * fx - below) * fy


def cell_noise(i: Tensor, j: Tensor) -> Tensor:
    """One random number in [0, 1] for each pair of whole numbers."""
    return _lattice(str(i.device))[(j.long() % NOISE_SIZE) * NOISE_SIZE + i.long() % NOISE_SIZE]


def above(x: Tensor, edge: float | Tensor, width: Tensor) -> Tensor:
    """Share of a pixel of `width` around x that lies above the edge."""
    return ((x - edge) / width + 0.5).clamp(0, 1)


def band(x: Tensor, low: float, high: float, width: Tensor) -> Tensor:
    """Share of a pixel of `width` around x that lies between `low` and `high`."""
    return ((x + width / 2).clamp(max=high) - (x - width / 2).clamp(min=low)).clamp(min=0) / width


def pulses(x: Tensor, period: float | Tensor, length: float | Tensor, width: Tensor) -> Tensor:
    """Share of a pixel around x that is covered by pulses of `length`, centred in every `period`."""

    def covered(at: Tensor) -> Tensor:
        whole = (at / period).floor()
        inside = (at - whole * period - (period - length) / 2).clamp(min=0)
        return whole * length + (
            inside.clamp(max=length) if isinstance(length, float) else torch.minimum(inside, length)
        )

    return (covered(x + width / 2) - covered(x - width / 2)) / width


def mix(a: Rgb, b: Rgb | Tone, share: Tensor) -> Rgb:
    """`a` where the share is 0, `b` where it is 1."""
    red, green, blue = (a[k] + (b[k] - a[k]) * share for k in range(3))
    return red, green, blue


def tinted(tone: Tone, value: Tensor) -> Rgb:
    """One colour times a column."""
    return tuple(part * value for part in tone)  # type: ignore[return-value]


def lit(color: Rgb, direct: Tensor, skylight: Tensor, at: Mood) -> Rgb:
    """A surface colour under the sun (`direct`: cosine times visibility) and the sky (`skylight`: 0 to 1)."""
    return tuple(c * (a * skylight + s * direct) for c, a, s in zip(color, at.ambient, at.sun, strict=True))  # type: ignore[return-value]


def hazed(color: Rgb, distance_m: Tensor, at: Mood) -> Rgb:
    """A colour seen through the air."""
    return mix(color, at.horizon, 1 - torch.exp(-distance_m / at.haze_m))


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
    disc = above(towards, 0.9985, torch.full_like(z, 6e-4)) if at.shadow else torch.zeros_like(z)
    color = mix(color, at.glow, 0.30 * wide + 0.55 * narrow)
    color = mix(color, (1.0, 0.99, 0.93), disc)
    if at.clouds:
        color = _clouds(color, x / (height + 0.18), y / (height + 0.18), height, at)
    else:
        color = mix(color, at.horizon, (1 - 2.5 * height).clamp(0, 1))
    return _hills(color, x, y, z, at)


def _clouds(color: Rgb, x: Tensor, y: Tensor, height: Tensor, at: Mood) -> Rgb:
    puffs = 0.6 * noise(x * 1.3 + 9, y * 1.3 + 4) + 0.3 * noise(x * 3.1, y * 3.1) + 0.1 * noise(x * 7.3, y * 7.3)
    cover = ((puffs - (0.72 - 0.36 * at.clouds)) * 5).clamp(0, 1) * (height * 8).clamp(0, 1)
    shade = 0.90 + 0.14 * noise(x * 3.1 + 0.5, y * 3.1 + 0.5)
    bright = _blend(at.horizon, (1.0, 1.0, 1.0), 0.65 * at.day)
    white = tinted(bright if at.clouds < 1 else _blend(at.horizon, (0.9, 0.9, 0.92), 0.4 * at.day), shade)
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
