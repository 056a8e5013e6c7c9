"""Rain and snow in the air, and drops on the lens: drawn onto finished pictures; depth and instances know nothing of it.

Drops and flakes have fixed places in a box of air that repeats through the world, so they stay where they are while the
ego drives past, fall with time, and look the same whenever a frame is rendered.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.looks.casting import Views, fragments, times
from worldmodel.town.looks.shading import Mood
from worldmodel.town.scene import Scene

NEAREST_M = 0.9


@dataclass(frozen=True, kw_only=True)
class Fall:
    """What falls: `count` of it in a box of air with sides `box_m`.

    Attributes:
        velocity_mps: Of the fall, in the world.
        shutter_s: How long a picture is exposed; what moves leaves a streak.
        radius_m: Half its width.
        cover: How much of what is behind it is hidden.
        tone: Its colour by day.
    """

    count: int
    box_m: float
    velocity_mps: tuple[float, float, float]
    shutter_s: float
    radius_m: float
    cover: float
    tone: tuple[float, float, float]


RAIN = Fall(count=3600, box_m=11.0, velocity_mps=(0.6, 0.4, -8.5), shutter_s=0.022, radius_m=0.0035, cover=0.26,
            tone=(0.82, 0.85, 0.89))  # fmt: skip
SNOW = Fall(count=3200, box_m=13.0, velocity_mps=(0.5, 0.3, -1.1), shutter_s=0.004, radius_m=0.011, cover=0.85,
            tone=(0.98, 0.98, 1.0))  # fmt: skip
DROPS = 13  # on a lens


def fallen(color: Tensor, depth: Tensor, views: Views, scene: Scene, frames: list[int], at: Mood) -> Tensor:
    """Pictures with the weather between the camera and the world.

    Args:
        color: [3, pixels of all views], in [0, 1].
        depth: Depth at each pixel.
        views: The pictures; `views.frame` counts in `frames`.
    """
    fall = {"rain": RAIN, "snow": SNOW}.get(scene.light.weather)
    if fall is None:
        return color
    cover = _cover(views, _streaks(views, fall, scene, frames), fall, depth)
    dark = 0.62 + 0.38 * at.day
    tone = torch.tensor(fall.tone, device=color.device)[:, None] * dark
    return color + (tone - color) * cover


def _seed(scene: Scene) -> int:
    return zlib.crc32(f"{scene.situation}-{scene.seed}".encode())


def _streaks(views: Views, fall: Fall, scene: Scene, frames: list[int]) -> tuple[Tensor, Tensor]:
    """Views and both ends of streaks in camera coordinates, [n, 6], of what may be seen."""
    rng = np.random.default_rng(_seed(scene))
    start = rng.random((fall.count, 3)) * fall.box_m
    speed = np.array(fall.velocity_mps) * (0.85 + 0.3 * rng.random((fall.count, 1)))
    sway = rng.uniform(-np.pi, np.pi, (fall.count, 1))
    views_of, ends = [], []
    for number, k in enumerate(views.frame.tolist()):
        frame = frames[k]
        time = frame / scene.frequency_hz
        eye, turn = views.eye[number].cpu().numpy(), views.turn[number].cpu().numpy()
        drift = 0.12 * np.column_stack([np.sin(1.7 * time + sway), np.cos(1.3 * time + sway), 0 * sway])
        away = np.mod(start + speed * time + drift - eye + fall.box_m / 2, fall.box_m) - fall.box_m / 2
        yaw, pace = scene.ego_poses[frame, 2], scene.ego_speeds_mps[frame]
        ego = np.array([np.cos(yaw), np.sin(yaw), 0.0]) * pace
        half = (speed - ego) * fall.shutter_s / 2
        seen = np.hstack([(away - half) @ turn, (away + half) @ turn])
        keep = (seen[:, 2] > NEAREST_M) & (seen[:, 5] > NEAREST_M) & (seen[:, 2] < fall.box_m / 2)
        ends.append(seen[keep])
        views_of.append(np.full(int(keep.sum()), number))
    device = views.turn.device
    return torch.from_numpy(np.concatenate(views_of)).to(device), torch.from_numpy(np.concatenate(ends)).to(device)


def _cover(views: Views, streaks: tuple[Tensor, Tensor], fall: Fall, depth: Tensor) -> Tensor:
    """How much each pixel is hidden, 0 to 1."""
    view, ends = streaks
    lens = views.lens[view]
    a, b = times(lens, ends[:, :3]), times(lens, ends[:, 3:])
    ax, ay, bx, by = a[:, 0] / a[:, 2], a[:, 1] / a[:, 2], b[:, 0] / b[:, 2], b[:, 1] / b[:, 2]
    z = (ends[:, 2] + ends[:, 5]) / 2
    width = fall.radius_m * views.lens[view, 0, 0] / z
    thick = width.clamp(min=0.55)
    share = (width / thick) ** 0.6 * ((z - NEAREST_M) / 0.6).clamp(0, 1) * (2 - 4 * z / fall.box_m).clamp(0, 1)
    low = torch.stack([torch.minimum(ax, bx) - thick - 0.5, torch.minimum(ay, by) - thick - 0.5], dim=-1)
    high = torch.stack([torch.maximum(ax, bx) + thick + 0.5, torch.maximum(ay, by) + thick + 0.5], dim=-1)
    limit = torch.tensor([views.width, views.height], device=view.device)
    low = torch.minimum(low.ceil().clamp(min=0), limit).long()
    high = torch.minimum(high.floor(), limit - 1.0).clamp(min=-1).long()
    bounds = torch.cat([low, (high - low + 1).clamp(min=0)], dim=1)
    rows = torch.stack([ax, ay, bx - ax, by - ay, thick, z, share], dim=-1).float()
    cover = torch.zeros_like(depth)
    for owner, pixel, x, y in fragments(bounds, view, views):
        fx, fy, dx, dy, wide, far, part = rows[owner].unbind(1)
        along = (((x - fx) * dx + (y - fy) * dy) / (dx * dx + dy * dy).clamp(min=1e-6)).clamp(0, 1)
        off = torch.sqrt((x - fx - along * dx) ** 2 + (y - fy - along * dy) ** 2)
        alpha = (wide + 0.5 - off).clamp(0, 1) * part * fall.cover
        cover.scatter_reduce_(0, pixel, torch.where(depth[pixel] > far, alpha, 0.0), "amax")
    return cover


def lens_drops(color: Tensor, views: Views, names: list[str], scene: Scene, frames: list[int]) -> Tensor:
    """Pictures seen through drops on the lens, which come, stay for seconds, and run down.

    Args:
        color: [3, pixels of all views].
        names: The camera of each view: every lens has its own drops.
    """
    if scene.light.weather != "rain":
        return color
    tables = [_drops(_seed(scene), name, frames[k] / scene.frequency_hz)
              for name, k in zip(names, views.frame.tolist(), strict=True)]  # fmt: skip
    rows = torch.from_numpy(np.concatenate(tables)).to(color.device)
    view = torch.arange(len(tables), device=color.device).repeat_interleave(DROPS)
    x, y, size = rows[:, 0] * views.width, rows[:, 1] * views.height, rows[:, 2] * views.height
    return _refracted(color, views, view, (x, y, size))


def _refracted(color: Tensor, views: Views, view: Tensor, drops: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    x, y, size = drops
    limit = torch.tensor([views.width, views.height], device=color.device)
    middle = torch.stack([x, y], dim=-1)
    low = torch.minimum((middle - size[:, None] - 0.5).ceil().clamp(min=0), limit).long()
    high = torch.minimum((middle + size[:, None] + 0.5).floor(), limit - 1.0).clamp(min=-1).long()
    bounds = torch.cat([low, (high - low + 1).clamp(min=0)], dim=1)
    x, y, size = x.float(), y.float(), size.float()
    done = color.clone()
    first = torch.full((color.shape[1],), len(x), device=color.device)
    for owner, pixel, _, _ in fragments(bounds, view, views):
        first.scatter_reduce_(0, pixel, owner, "amin")
    for owner, pixel, px, py in fragments(bounds, view, views):
        index = torch.nonzero(first[pixel] == owner)[:, 0]
        owner, pixel, px, py = owner[index], pixel[index], px[index], py[index]
        dx, dy, r = px - x[owner], py - y[owner], size[owner]
        off = torch.sqrt(dx * dx + dy * dy)
        share = (r + 0.5 - off).clamp(0, 1) * (0.30 + 0.50 * (r / 1.5).clamp(max=1.0))
        turn = 1.6 + 2.2 * (off / r).clamp(max=1.0)  # a drop shows a wide view upside down
        i = (x[owner] - dx * turn).round().clamp(0, views.width - 1).long()
        j = (y[owner] - dy * turn).round().clamp(0, views.height - 1).long()
        there = color[:, view[owner] * views.pixels + j * views.width + i]
        rim = 1 - 0.16 * ((off / r).clamp(max=1.0) ** 4)
        light = 0.16 * (1 - torch.sqrt((dx + 0.35 * r) ** 2 + (dy + 0.4 * r) ** 2) / (0.4 * r)).clamp(min=0)
        old = color[:, pixel]
        done[:, pixel] = old + ((there * rim + light).clamp(0, 1) - old) * share
    return done


def _drops(seed: int, name: str, time_s: float) -> Float[Array, "n 3"]:
    """x and y as shares of the picture's width and height, and radii as shares of its height."""
    key = np.arange(DROPS, dtype=np.uint64) + np.uint64(zlib.crc32(f"{seed}-{name}".encode()) << 8)
    life = 4.0 + 7.0 * _hashed(key, 1)
    turns = time_s / life + _hashed(key, 2)
    age = turns - np.floor(turns)
    now = key * np.uint64(4096) + np.floor(turns).astype(np.uint64)
    x, y, size = _hashed(now, 3), _hashed(now, 4), 0.012 + 0.034 * _hashed(now, 5) ** 2
    run = np.clip((age - 0.7) / 0.3, 0, 1) ** 2
    size = size * np.clip(age / 0.02, 0, 1) * np.clip((1 - age) / 0.08, 0, 1)
    return np.column_stack([x + 0.01 * run * np.sin(20 * run), y + 0.25 * run, np.maximum(size, 1e-3)])


def _hashed(key: Array, stream: int) -> Float[Array, " n"]:
    """Random numbers in [0, 1) that depend on each key alone (splitmix64's finaliser, public domain)."""
    z = key * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream * 0xD1B54A32D192ED03 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) / 2**53
