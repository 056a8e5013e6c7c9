"""From a scene to the colours of samples: what is prepared once, and how every kind of hit is shaded."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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
from worldmodel.town.paint import Hits, paint
from worldmodel.town.shading import Rgb, hazed, lit
from worldmodel.town.shadows import Shade, shade_map
from worldmodel.town.shapes import COLUMN, Facing, Form
from worldmodel.town.sky import sky
from worldmodel.town.world import World

CONTRAST = 0.035  # a pixel that differs more from a neighbour is an edge and is supersampled
WRAP = 0.25  # how far around an edge the sun reaches; softens the dark sides


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
