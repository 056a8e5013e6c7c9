"""From a scene to the colours of samples: what is prepared once, and how every kind of hit is shaded."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from worldmodel.geometry import Array
from worldmodel.town.bodies import body_parts
from worldmodel.town.casting import (
    GROUND,
    GROUND_RANGE_M,
    SKY,
    Sights,
    Views,
    cast,
    dot,
    hit,
    keys,
    plane_matrix,
    times,
)
from worldmodel.town.ground import ground_color
from worldmodel.town.lamps import body_lamps, signal_lamps
from worldmodel.town.lane_index import LaneIndex
from worldmodel.town.paint import Hits, paint
from worldmodel.town.scene import Scene, Stage
from worldmodel.town.scenery import stage_parts
from worldmodel.town.shading import Mood, Rgb, hazed, lit, mood, sky
from worldmodel.town.shadows import Casters, Shade, shade_map
from worldmodel.town.shapes import COLUMN, Facing, Form, Parts

NO_INSTANCE, GROUND_INSTANCE, SCENERY_INSTANCE = -1, -2, -3
CONTRAST = 0.035  # a pixel that differs more from a neighbour is an edge and is supersampled
STRIDE_M = 1.5
WRAP = 0.25  # how far around an edge the sun reaches; softens the dark sides


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fixed:
    """A stage, prepared: parts in the world and the lane index."""

    parts: Parts
    index: LaneIndex


@lru_cache(maxsize=4)
def _fixed(stage: Stage, device: str) -> _Fixed:
    return _Fixed(parts=stage_parts(stage), index=LaneIndex.of(stage, device))


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
    """A scene, prepared for a device. Parts of the stage come first, then those of the bodies.

    Attributes:
        owner: Body of each body part, [body parts].
        walked_m: How far each body has come, [time, body].
    """

    scene: Scene
    device: torch.device | str
    index: LaneIndex
    mood: Mood
    casters: Casters
    still: Parts
    moving: Parts
    owner: Array
    walked_m: Array
    colors: Tensor
    numbers: Tensor
    codes: Tensor

    @staticmethod
    def of(scene: Scene, device: torch.device | str) -> "World":
        """Prepare a scene; its stage is prepared once and kept for the next scenes on it."""
        fixed = _fixed(scene.stage, str(device))
        bodies = [body_parts(body) for body in scene.bodies]
        owner = np.repeat(np.arange(len(bodies)), [len(parts) for parts in bodies]).astype(np.int64)
        moving = Parts.joined(bodies)
        every = Parts.joined([fixed.parts, moving])
        codes = np.concatenate([np.full(len(fixed.parts), SCENERY_INSTANCE), owner])
        return World(
            scene=scene,
            device=device,
            index=fixed.index,
            mood=mood(scene.light),
            casters=Casters.of(scene.stage, scene.bodies, scene.light),
            still=fixed.parts,
            moving=moving,
            owner=owner,
            walked_m=np.cumsum(np.abs(scene.body_speeds_mps), axis=0) / scene.frequency_hz,
            colors=torch.from_numpy(every.colors.reshape(-1, 6).astype(np.float32)).to(device),
            numbers=torch.from_numpy(every.numbers).to(device),
            codes=torch.from_numpy(codes).to(device),
        )

    def vectors(self, frames: list[int]) -> Tensor:
        """Centres and half axes of all parts in the world, [time, part, 4, 3]."""
        pose = self.scene.body_poses[frames][:, self.owner]
        local = np.broadcast_to(self.moving.vectors, (len(frames), *self.moving.vectors.shape)).copy()
        swing = self.moving.numbers[:, COLUMN["swing_m"]]
        stride = 2 * np.pi * self.walked_m[frames][:, self.owner] / STRIDE_M
        local[:, :, 0, 0] += swing * np.sin(stride)
        local[:, :, 0, 2] += self.moving.numbers[:, COLUMN["lift_m"]] * np.cos(stride)
        cos, sin = np.cos(pose[:, :, 2, None]), np.sin(pose[:, :, 2, None])
        x, y = local[..., 0], local[..., 1]
        turned = np.stack([cos * x - sin * y, sin * x + cos * y, local[..., 2]], axis=-1)
        turned[:, :, 0, :2] += pose[:, :, :2]
        still = np.broadcast_to(self.still.vectors, (len(frames), *self.still.vectors.shape))
        return torch.from_numpy(np.concatenate([still, turned], axis=1)).to(self.device)

    def rows(self, values: Array, frames: list[int], still: bool) -> Tensor:
        """A per-body truth value for each part, [time, part]; `still` for parts of the stage."""
        fixed = np.full((len(frames), len(self.still)), still)
        return torch.from_numpy(np.concatenate([fixed, values[frames][:, self.owner]], axis=1)).to(self.device)

    def lamps(self, frames: list[int]) -> Tensor:
        """Which lamps of each part shine, [time, part]; see `lamps.py`."""
        still = signal_lamps(self.scene, self.still, frames)
        moving = body_lamps(self.scene, frames)[:, self.owner]
        return torch.from_numpy(np.concatenate([still, moving], axis=1)).to(self.device)


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Everything known about some views while they are rendered."""

    world: World
    views: Views
    sights: Sights
    ground: Tensor  # [view, 9]
    rays: Tensor  # [view, 9], pixel to world direction
    lamps: Tensor  # [sight], which lamps shine, see `lamps.py`
    sun: Tensor  # [sight, 3], the sun along the sight's axes
    shade: Shade
    heading: Tensor  # [view, 2], where the ego points


def prepared(world: World, views: Views, sights: Sights, frames: list[int]) -> Batch:
    """Everything that shading needs to know about some views of some frames."""
    back = views.turn.transpose(1, 2)
    unit = torch.eye(3, dtype=views.turn.dtype, device=views.turn.device).expand(len(views), 3, 3)
    centre = times(back, -views.eye)
    ground, _ = plane_matrix(views.lens, centre, times(back, unit[:, 0]), times(back, unit[:, 1]))
    inverse = torch.linalg.inv(views.lens.cpu()).to(views.lens.device)
    rays = torch.stack([times(views.turn, inverse[:, :, k]) for k in range(3)], dim=-1)
    to_sun = torch.tensor(world.mood.to_sun, device=views.turn.device)
    yaw = world.scene.ego_poses[frames, 2]
    lamps = world.lamps(frames)
    return Batch(
        world=world,
        views=views,
        sights=sights,
        ground=ground.float(),
        rays=rays.reshape(-1, 9).float(),
        lamps=lamps[views.frame[sights.view], sights.part],
        sun=torch.stack([dot(sights.axes[:, k], to_sun) for k in range(3)], dim=-1),
        heading=torch.from_numpy(np.stack([np.cos(yaw), np.sin(yaw)], axis=-1))
        .float()
        .to(views.turn.device)[views.frame],
        shade=shade_map(world.casters, views, world.scene, frames),
    )


def background(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Keys of the ground, or of the sky above the horizon."""
    m = batch.ground[:, 6:][pixel // batch.views.pixels].unbind(1)
    closeness = m[0] * x + m[1] * y + m[2]
    below = closeness > 1 / GROUND_RANGE_M
    depth = torch.where(below, 1 / closeness.clamp(min=1e-6), torch.inf)
    return keys(depth, torch.where(below, GROUND, SKY))


def smooth(batch: Batch, color: Tensor, winner: Tensor, supersample: int) -> None:
    """Replace the colour of edge pixels by the mean over several rays."""
    views = batch.views
    edge = _edges(color, winner, views)
    pixel = torch.nonzero(edge)[:, 0]
    if not len(pixel):
        return
    slot = torch.full_like(winner, -1)
    slot[pixel] = torch.arange(len(pixel), device=pixel.device)
    many, x, y, offsets = subsamples(views, pixel, supersample)
    best = cast(views, batch.sights, background(batch, many, x, y), slot, offsets)
    fine = torch.stack(shaded(batch, many, x, y, best & 0x7FFFFFFF)).clamp(0, 1)
    fine = fine.reshape(3, len(pixel), len(offsets))
    total = fine[:, :, 0].clone()
    for k in range(1, len(offsets)):
        total += fine[:, :, k]
    color[:, pixel] = total / len(offsets)


def pixel_centres(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Number, x and y of every pixel of a batch."""
    everything = torch.arange(len(views) * views.pixels, device=views.turn.device)
    return everything, (everything % views.width).float(), (everything % views.pixels // views.width).float()


def subsamples(
    views: Views, pixel: Tensor, supersample: int
) -> tuple[Tensor, Tensor, Tensor, list[tuple[float, float]]]:
    """Pixel, x and y of supersample^2 rays through each of some pixels, in blocks; and their offsets in the pixel."""
    steps = [(k + 0.5) / supersample - 0.5 for k in range(supersample)]
    offsets = [(dx, dy) for dy in steps for dx in steps]
    shift = torch.tensor(offsets, device=pixel.device)
    many = pixel.repeat_interleave(len(offsets))
    x = (many % views.width).float() + shift[:, 0].repeat(len(pixel))
    y = (many % views.pixels // views.width).float() + shift[:, 1].repeat(len(pixel))
    return many, x, y, offsets


def _edges(color: Tensor, winner: Tensor, views: Views) -> Tensor:
    picture = color.reshape(3, len(views), views.height, views.width)
    who = winner.reshape(len(views), views.height, views.width)
    edge = torch.zeros_like(who, dtype=torch.bool)
    for axis in (1, 2):
        size = who.shape[axis] - 1
        differs = who.narrow(axis, 1, size) != who.narrow(axis, 0, size)
        contrast = (picture.narrow(axis + 1, 1, size) - picture.narrow(axis + 1, 0, size)).abs().amax(dim=0)
        differs &= contrast > CONTRAST
        edge.narrow(axis, 1, size).logical_or_(differs)
        edge.narrow(axis, 0, size).logical_or_(differs)
    return edge.flatten()


def shaded(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor, winner: Tensor) -> list[Tensor]:
    """Colours of samples: `pixel` of the batch, exact position (x, y) in its picture, and what is hit there."""
    color = [torch.zeros_like(x) for _ in range(3)]
    for shader, chosen in (
        (_shade_sky, winner == SKY),
        (_shade_ground, winner == GROUND),
        (_shade_parts, winner < GROUND),
    ):
        index = torch.nonzero(chosen)[:, 0]
        if not len(index):
            continue
        for whole, some in zip(color, shader(batch, pixel[index], x[index], y[index], winner[index]), strict=True):
            whole[index] = some
    return color


def _directions(batch: Batch, view: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit world directions of rays, and the length of the ray to depth 1."""
    m = batch.rays[view].unbind(1)
    dx, dy, dz = (m[3 * k] * x + m[3 * k + 1] * y + m[3 * k + 2] for k in range(3))
    length = torch.sqrt(dx * dx + dy * dy + dz * dz)
    return dx / length, dy / length, dz / length, length


def _shade_sky(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor, _: Tensor) -> Rgb:
    dx, dy, dz, _length = _directions(batch, pixel // batch.views.pixels, x, y)
    return sky(dx, dy, dz, batch.world.mood)


def _shade_ground(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor, _: Tensor) -> Rgb:
    view = pixel // batch.views.pixels
    m = batch.ground[view].unbind(1)
    p, q, r = (m[3 * k] * x + m[3 * k + 1] * y + m[3 * k + 2] for k in range(3))
    z = 1 / r.clamp(min=1e-6)
    east, north = p * z, q * z
    dx = (m[0] - east * m[6]) * z, (m[3] - north * m[6]) * z
    dy = (m[1] - east * m[7]) * z, (m[4] - north * m[7]) * z
    unlit = ground_color(batch.world.index, east, north, dx, dy).color
    at = batch.world.mood
    visible = 1 - at.shadow * batch.shade.sun[pixel]
    color = lit(unlit, at.to_sun[2] * visible, 1 - batch.shade.contact[pixel], at)
    return hazed(_headlit(batch, (view, x, y, z), unlit, color), z, at)


def _shade_parts(batch: Batch, pixel: Tensor, x: Tensor, y: Tensor, winner: Tensor) -> Rgb:
    sights, world, at = batch.sights, batch.world, batch.world.mood
    matrix = sights.matrix[winner]
    z, u, v, w = hit(matrix, sights.extra[winner], x, y)
    part = sights.part[winner]
    number = world.numbers.float()[part].unbind(1)
    ball = number[COLUMN["form"]] == Form.ELLIPSOID
    m = matrix.unbind(1)
    du = ((m[0] - u * m[6]) * z).abs() + ((m[1] - u * m[7]) * z).abs()
    dv = ((m[3] - v * m[6]) * z).abs() + ((m[4] - v * m[7]) * z).abs()
    colors = world.colors[part].unbind(1)
    hits = Hits(
        u=u,
        v=torch.where(ball, w, v),
        side=torch.where(ball, v, 0.0),
        du=du.clamp(1e-4, 4.0),
        dv=dv.clamp(1e-4, 4.0),
        size_u=number[COLUMN["size_u_m"]],
        size_v=number[COLUMN["size_v_m"]],
        seed=number[COLUMN["seed"]],
        red=colors[0],
        green=colors[1],
        blue=colors[2],
        red2=colors[3],
        green2=colors[4],
        blue2=colors[5],
        lamps=batch.lamps[winner],
        turned=number[COLUMN["side"]],
    )
    color, shine = paint(number[COLUMN["material"]], hits, at)
    direct, up = _facing_light(batch, winner, (u, v, w), ball, number[COLUMN["facing"]] == Facing.CAMERA)
    bright = lit(color, direct, 0.76 + 0.24 * up, at)
    bright = _headlit(batch, (pixel // batch.views.pixels, x, y, z), color, bright)
    r, g, b = (a + (c - a) * shine for a, c in zip(bright, color, strict=True))
    return hazed((r, g, b), z, at)


def _headlit(batch: Batch, spot: tuple[Tensor, Tensor, Tensor, Tensor], unlit: Rgb, color: Rgb) -> Rgb:
    """Add the ego's headlights at night; `spot` is view, x, y and depth."""
    night = 1 - batch.world.mood.day
    if night <= 0:
        return color
    view, x, y, z = spot
    dx, dy, _, length = _directions(batch, view, x, y)
    heading = batch.heading[view]
    ahead = (dx * heading[:, 0] + dy * heading[:, 1]) * length * z
    aside = (dy * heading[:, 0] - dx * heading[:, 1]).abs() * length * z
    beam = (1.5 - aside / (1.2 + 0.34 * ahead.clamp(min=0))).clamp(0, 1) * (ahead / 3).clamp(0, 1)
    glow = 0.85 * night * beam * torch.exp(-ahead.clamp(min=0) / 24)
    return tuple(c + u * tone * glow for c, u, tone in zip(color, unlit, (1.0, 0.95, 0.82), strict=True))  # type: ignore[return-value]


def _facing_light(
    batch: Batch, winner: Tensor, spot: tuple[Tensor, Tensor, Tensor], ball: Tensor, pole: Tensor
) -> tuple[Tensor, Tensor]:
    """How much surfaces face the sun (0 to 1) and the sky (-1 to 1)."""
    sun, axes = batch.sun[winner], batch.sights.axes[winner]
    u = spot[0]
    around = torch.sqrt((1 - u * u).clamp(min=0))
    a, b, c = (part / axes[:, 3, k] for k, part in enumerate(spot))
    length = torch.sqrt(a * a + b * b + c * c).clamp(min=1e-6)
    round_sun = (a * sun[:, 0] + b * sun[:, 1] + c * sun[:, 2]) / length
    round_up = (a * axes[:, 0, 2] + b * axes[:, 1, 2] + c * axes[:, 2, 2]) / length
    flat_sun = torch.where(pole, u * sun[:, 0] + around * sun[:, 1], sun[:, 1])
    facing = torch.where(ball, round_sun, flat_sun)
    return ((facing + WRAP) / (1 + WRAP)).clamp(min=0), torch.where(ball, round_up, axes[:, 1, 2])
