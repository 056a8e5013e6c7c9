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
MOONRISE = 0.35  # of `Mood.day`: below it the moon takes the sun's place


@dataclass(frozen=True, kw_only=True)
class Air:
    """What a weather does to the light.

    Attributes:
        haze_m: Distance after which 63 % of a colour is haze.
        sun: Share of the sun's (or moon's) light that arrives directly.
        grey: How much of the sky's colour is lost, 0 to 1.
        dim: Factor of the whole sky's light.
        clouds: 0 none to 1 covered.
        wet: How wet the ground is, 0 to 1.
        snow: How much snow lies, 0 to 1.
    """

    haze_m: float
    sun: float
    grey: float
    dim: float = 1.0
    clouds: float = 1.0
    wet: float = 0.0
    snow: float = 0.0


AIRS = {
    "clear": Air(haze_m=420.0, sun=1.0, grey=0.0, clouds=0.55),
    "overcast": Air(haze_m=260.0, sun=0.22, grey=0.85),
    "fog": Air(haze_m=45.0, sun=0.12, grey=1.0, clouds=0.0),
    "rain": Air(haze_m=130.0, sun=0.06, grey=0.95, dim=0.86, wet=1.0),
    "wet": Air(haze_m=380.0, sun=0.75, grey=0.15, clouds=0.75, wet=0.8),
    "snow": Air(haze_m=120.0, sun=0.12, grey=0.9, dim=0.97, snow=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Mood:
    """The light of one scene.

    Attributes:
        to_sun: Unit vector towards the sun (kept a little above the horizon), or towards the moon at night.
        sun, ambient: Colours that multiply what the sun (or the moon) and the whole sky light.
        zenith, horizon, glow: Sky colours above, at the horizon, and around the sun.
        day: 1 by day, 0 at night.
        lamps: How much lamps light, 0 by day to 1 at night.
        shadow: How dark a sun shadow is, 0 to 1.
        haze_m: Distance after which 63 % of a colour is haze.
        clouds, wet, snow: As in `Air`.
    """

    to_sun: Tone
    sun: Tone
    ambient: Tone
    zenith: Tone
    horizon: Tone
    glow: Tone
    day: float
    lamps: float
    shadow: float
    haze_m: float
    clouds: float
    wet: float
    snow: float


def blend(a: Tone, b: Tone, share: float) -> Tone:
    """`a` where the share is 0, `b` where it is 1."""
    return tuple(x + (y - x) * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _ramp(x: float, low: float, high: float) -> float:
    s = min(1.0, max(0.0, (x - low) / (high - low)))
    return s * s * (3 - 2 * s)


def mood(light: Light) -> Mood:
    """The colours that follow from sun, weather and hour.

    Raises:
        UnknownName: for a weather that does not exist.
    """
    if light.weather not in AIRS:
        raise UnknownName("weather", light.weather, AIRS)
    air, elevation = AIRS[light.weather], light.sun_elevation_rad
    day = _ramp(elevation, -0.16, 0.14)
    warm = (1 - _ramp(elevation, 0.05, 0.55)) * (1 - 0.6 * air.grey)
    night = 1 - day
    late = air.grey * (1 - _ramp(elevation, -0.05, 0.35)) * day  # a grey evening is darker and bluer
    dim = tuple(air.dim * (1 - part * late) for part in (0.32, 0.31, 0.20))
    sun = blend((1.0, 0.96, 0.88), (1.0, 0.66, 0.36), warm)
    ambient = blend(blend((0.60, 0.64, 0.70), (0.66, 0.58, 0.62), warm), (0.86, 0.87, 0.89), air.grey)
    zenith = blend(blend((0.24, 0.48, 0.86), (0.30, 0.36, 0.66), warm), (0.66, 0.69, 0.73), air.grey)
    horizon = blend(blend((0.74, 0.85, 0.95), (1.0, 0.72, 0.50), warm), (0.78, 0.79, 0.80), air.grey)
    glow = blend(blend((1.0, 0.96, 0.82), (1.0, 0.60, 0.28), warm), (0.84, 0.84, 0.82), air.grey)
    murk = 0.5 * air.grey
    dark = blend((0.035, 0.055, 0.16), (0.10, 0.11, 0.16), murk), blend((0.13, 0.17, 0.34), (0.20, 0.20, 0.26), murk)
    shares = (0.70 * air.sun * day, 0.20 * air.sun * night)  # of the sun and of the moon
    direct = tuple(shares[0] * a + shares[1] * b for a, b in zip(sun, (0.62, 0.74, 1.0), strict=True))
    return Mood(
        to_sun=_towards(light.sun_azimuth_rad, max(elevation, 0.12))
        if day > MOONRISE
        else _towards(light.sun_azimuth_rad + 2.4, 0.2),
        sun=direct,  # type: ignore[arg-type]
        ambient=_dimmed(blend(ambient, (0.31, 0.35, 0.51), night), dim),
        zenith=_dimmed(blend(zenith, dark[0], night), dim),
        horizon=_dimmed(blend(horizon, dark[1], night), dim),
        glow=_dimmed(blend(glow, blend((0.40, 0.46, 0.66), dark[1], air.grey), night), dim),
        day=day,
        lamps=1 - _ramp(elevation, -0.06, 0.10),
        shadow=0.72 if casts_shadows(light) else 0.0,
        haze_m=air.haze_m,
        clouds=air.clouds,
        wet=air.wet,
        snow=air.snow,
    )


def casts_shadows(light: Light) -> bool:
    """Whether the sun stands high and clear enough for shadows with an outline."""
    return AIRS[light.weather].sun > 0.5 and light.sun_elevation_rad > 0.05


def _towards(azimuth_rad: float, elevation_rad: float) -> Tone:
    flat = math.cos(elevation_rad)
    return math.cos(azimuth_rad) * flat, math.sin(azimuth_rad) * flat, math.sin(elevation_rad)


def _dimmed(tone: Tone, factor: tuple[float, ...]) -> Tone:
    return tone[0] * factor[0], tone[1] * factor[1], tone[2] * factor[2]


@lru_cache(maxsize=4)
def _lattice(device: str) -> Tensor:
    """Four columns for each point of the lattice: its value, the step to the right, and both for the row above."""
    values = np.random.default_rng(20240501).random((NOISE_SIZE, NOISE_SIZE), dtype=np.float32)
    steps = np.roll(values, -1, axis=1) - values
    rows = np.stack([values, steps, np.roll(values, -1, axis=0), np.roll(steps, -1, axis=0)], axis=-1)
    return torch.from_numpy(rows.reshape(-1, 4)).to(device)


def noise(x: Tensor, y: Tensor) -> Tensor:
    """Smooth noise in [0, 1] with bumps of size 1, repeating every 256; the same everywhere and always."""
    left, low = x.floor(), y.floor()
    fx, fy = x - left, y - low
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    place = (low.int() & (NOISE_SIZE - 1)) * NOISE_SIZE + (left.int() & (NOISE_SIZE - 1))
    a, step, c, step_above = torch.index_select(_lattice(str(x.device)), 0, place).unbind(1)
    below = a + step * fx
    return below + (c + step_above * fx - below) * fy


def cell_noise(i: Tensor, j: Tensor) -> Tensor:
    """One random number in [0, 1] for each pair of whole numbers."""
    place = (j.int() & (NOISE_SIZE - 1)) * NOISE_SIZE + (i.int() & (NOISE_SIZE - 1))
    return torch.index_select(_lattice(str(i.device))[:, 0], 0, place)


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
