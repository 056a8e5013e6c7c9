"""Halos around lamps and stars in the sky: drawn onto finished pictures, behind whatever is nearer.

Overlapping halos do not add up, the brightest counts; so the order of work does not matter.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.casting import Views, dot, fragments, times
from worldmodel.town.looks.lanterns import lanterns
from worldmodel.town.looks.shading import Mood
from worldmodel.town.scene import Scene

RANGE_M = 160.0
SMALLEST_PX = 1.3
LARGEST = 0.22  # of the picture's height
BEHIND_M = 0.7  # a lamp may lie this far behind the surface that stands for it
STARS = 900
MURK, MURKY_M = 0.5, 200.0  # in thicker air vehicles have their lights on by day too, and these count less
LOWEST_STAR = 0.10  # sine of its height; hills are below


def dazzled(color: Tensor, depth: Tensor, views: Views, scene: Scene, frames: list[int], at: Mood) -> Tensor:
    """Pictures with the halos of lamps and, at night, stars.

    Args:
        color: [3, pixels of all views], in [0, 1].
        depth: Depth at each pixel; infinite for the sky.
        views: The pictures; `views.frame` counts in `frames`.
    """
    murk = max(at.lamps, MURK * (at.haze_m < MURKY_M))
    tables = [lanterns(scene, frame, night=at.lamps, murk=murk) for frame in frames]
    rows = np.concatenate([tables[int(k)] for k in views.frame.cpu()])
    view = np.repeat(np.arange(len(views)), [len(tables[int(k)]) for k in views.frame.cpu()])
    device = color.device
    spots = _lamps(views, torch.from_numpy(rows).to(device), torch.from_numpy(view).to(device), depth, at)
    glow = _stamped(views, *spots) if len(rows) else torch.zeros_like(color)
    if at.day < 0.5 and at.clouds < 1 and at.haze_m > MURKY_M:
        sky = torch.isinf(depth) * ((0.34 - color.amax(dim=0)) * 8).clamp(0, 1) * (1 - 2 * at.day)
        glow = torch.maximum(glow, _stamped(views, *_stars(views)) * sky)
    return color + glow * (1 - color).clamp(min=0)


def _projected(views: Views, view: Tensor, point: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel x, y and depth of points in camera directions."""
    spot = times(views.lens[view], point)
    z = spot[:, 2].clamp(min=1e-6)
    return spot[:, 0] / z, spot[:, 1] / z, point[:, 2]


def _lamps(
    views: Views, rows: Tensor, view: Tensor, depth: Tensor, at: Mood
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    away = rows[:, :3] - views.eye[view]
    x, y, z = _projected(views, view, times(views.turn[view].transpose(1, 2), away))
    distance = torch.sqrt(dot(away, away)).clamp(min=0.1)
    cosine = -(away[:, 0] * rows[:, 7] + away[:, 1] * rows[:, 8]) / distance
    focus = rows[:, 9]
    facing = torch.where(focus > 0, cosine.clamp(min=0) ** focus, 1.0)
    strength = facing * torch.exp(-distance / (1.6 * at.haze_m)) * (1 - distance / RANGE_M).clamp(min=0)
    strength = strength * (distance / 4).clamp(max=1.0) * _visible(views, view, (x, y, z), depth)
    keep = torch.nonzero((z > 0.5) & (strength > 0.01))[:, 0]
    size = rows[:, 6] * views.lens[view, 0, 0] / z.clamp(min=0.5)
    size = size.clamp(SMALLEST_PX, max(2.0, LARGEST * views.height))
    color = (rows[:, 3:6] * strength[:, None]).float()
    return view[keep], x[keep], y[keep], size[keep], color[keep]


def _visible(views: Views, view: Tensor, spot: tuple[Tensor, Tensor, Tensor], depth: Tensor) -> Tensor:
    """Share of five pixels around lamps at which nothing is nearer."""
    x, y, z = spot
    share = torch.zeros_like(x)
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        i, j = (x + dx).round().clamp(-2, views.width + 1).long(), (y + dy).round().clamp(-2, views.height + 1).long()
        inside = (i >= 0) & (j >= 0) & (i < views.width) & (j < views.height)
        place = view * views.pixels + j.clamp(0, views.height - 1) * views.width + i.clamp(0, views.width - 1)
        share = share + 0.2 * (inside & (depth[place] > z - BEHIND_M))
    return share


@lru_cache(maxsize=1)
def _catalogue() -> Float[Array, "n 4"]:
    """Unit directions of stars and their brightness; the same sky always."""
    rng = np.random.default_rng(1757)
    height, turn = rng.uniform(LOWEST_STAR, 1.0, STARS), rng.uniform(-np.pi, np.pi, STARS)
    flat = np.sqrt(1 - height * height)
    bright = 0.25 + 0.7 * rng.random(STARS) ** 4
    return np.column_stack([flat * np.cos(turn), flat * np.sin(turn), height, bright])


def _stars(views: Views) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    table = torch.from_numpy(_catalogue()).to(views.turn.device)
    count = len(views)
    view = torch.arange(count, device=table.device).repeat_interleave(len(table))
    rows = table.repeat(count, 1)
    x, y, z = _projected(views, view, times(views.turn[view].transpose(1, 2), rows[:, :3]))
    keep = torch.nonzero((z > 0.1) & (x > -2) & (x < views.width + 1) & (y > -2) & (y < views.height + 1))[:, 0]
    size = torch.full_like(x, max(1.25, views.height / 110))
    tone = torch.tensor([0.92, 0.95, 1.0], device=table.device)
    color = rows[:, 3:4].float() * tone
    return view[keep], x[keep], y[keep], size[keep], color[keep]


def _stamped(views: Views, view: Tensor, x: Tensor, y: Tensor, size: Tensor, color: Tensor) -> Tensor:
    """Halos of colours [n, 3] around (x, y) with a bright core, [3, pixels]; where they overlap, the brightest."""
    glow = torch.zeros(3, len(views) * views.pixels, device=color.device)
    limit = torch.tensor([views.width, views.height], device=color.device)
    middle = torch.stack([x, y], dim=-1)
    low = torch.minimum((middle - size[:, None]).ceil().clamp(min=0), limit).long()
    high = torch.minimum((middle + size[:, None]).floor(), limit - 1.0).long()
    bounds = torch.cat([low, (high - low + 1).clamp(min=0)], dim=1)
    x, y, size = x.float(), y.float(), size.float()
    for owner, pixel, px, py in fragments(bounds, view, views):
        dx, dy = (px - x[owner]) / size[owner], (py - y[owner]) / size[owner]
        square = (dx * dx + dy * dy).clamp(max=1.0)
        rest = 1 - square
        shape = rest * rest * (0.30 + 0.70 * torch.exp(-9 * square))
        for k in range(3):
            glow[k].scatter_reduce_(0, pixel, color[owner, k] * shape, "amax")
    return glow
