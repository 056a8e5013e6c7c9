"""What every pixel shows, and how much of every road user the cameras see."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from worldmodel.geometry import Array, Rig, matrix_from_pose
from worldmodel.town.looks.casting import (
    GROUND,
    GROUND_RANGE_M,
    SKY,
    Sights,
    Views,
    cast,
    fragments,
    hit,
    keys,
    plane_matrix,
    see,
    times,
)
from worldmodel.town.looks.ground import ground_kind
from worldmodel.town.looks.shapes import COLUMN, LABELS
from worldmodel.town.looks.world import World
from worldmodel.town.render import BATCH_PX, checked_frames
from worldmodel.town.scene import THINGS, Scene

GROUNDS = ("road", "marking", "pavement", "terrain")  # in the order of `ground.ROAD` ... `ground.TERRAIN`
SEMANTICS = ("sky", *GROUNDS, *LABELS, "car", "van", "truck", "bus", "pedestrian", "cyclist", "obstacle")


def semantic(
    scene: Scene, rig: Rig, frames: Sequence[int] | None = None, *, device: torch.device | str = "cpu"
) -> UInt8[Array, "time camera height width"]:
    """What each pixel's centre shows, as places in SEMANTICS.

    Args:
        scene, rig, frames, device: As for `render.render`; the same pixels as its `instance`.
    Raises:
        BadRequest: if no frame is asked for or one does not exist.
    """
    wanted = checked_frames(scene, frames)
    world = World.of(scene, device)
    return np.concatenate([_semantic_batch(world, rig, some) for some in _batches(rig, wanted)])


def visibility(
    scene: Scene, rig: Rig, frames: Sequence[int] | None = None, *, device: torch.device | str = "cpu"
) -> Float[Array, "time camera body"]:
    """Share of each body's pixels in the picture that nothing in front of it hides.

    What lies outside the picture counts for neither side, so a body that is cut off by the picture's edge but hidden by
    nothing has 1. Bodies without a pixel in the picture, or absent, have 0.

    Args:
        scene, rig, frames, device: As for `render.render`.
    Returns:
        Shares from 0 to 1.
    Raises:
        BadRequest: if no frame is asked for or one does not exist.
    """
    wanted = checked_frames(scene, frames)
    world = World.of(scene, device)
    return np.concatenate([_visibility_batch(world, rig, some) for some in _batches(rig, wanted)])


def _batches(rig: Rig, wanted: list[int]) -> list[list[int]]:
    count = max(1, BATCH_PX // (len(rig) * rig.width_px * rig.height_px))
    return [wanted[i : i + count] for i in range(0, len(wanted), count)]


def _seen(world: World, rig: Rig, frames: list[int]) -> tuple[Views, Sights]:
    poses = np.stack([matrix_from_pose(world.scene.ego_poses[frame]) for frame in frames])
    views = Views.of(poses, rig.cameras, world.device)
    there = world.rows(world.scene.body_present, frames, True)
    return views, see(views, world.vectors(frames), world.numbers, there)


def _semantic_batch(world: World, rig: Rig, frames: list[int]) -> Array:
    views, sights = _seen(world, rig, frames)
    depth, east, north = _ground(views)
    below = torch.isfinite(depth)
    winner = cast(views, sights, keys(depth, torch.where(below, GROUND, SKY)), None, [(0.0, 0.0)]) & 0x7FFFFFFF
    kinds = torch.cat([_part_kinds(world)[sights.part], winner.new_zeros(1)])
    kind = kinds[winner.clamp(max=len(sights))]
    kind[winner == SKY] = SEMANTICS.index("sky")
    ground = torch.nonzero(winner == GROUND)[:, 0]
    kind[ground] = ground_kind(world.index, east[ground], north[ground]) + SEMANTICS.index("road")
    shape = (len(frames), len(rig), views.height, views.width)
    return kind.to(torch.uint8).reshape(shape).cpu().numpy()


def _ground(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    """Depth of the ground at every pixel centre (infinite above the horizon), and the world's x and y there."""
    back = views.turn.transpose(1, 2)
    unit = torch.eye(3, dtype=views.turn.dtype, device=views.turn.device).expand(len(views), 3, 3)
    matrix = plane_matrix(views.lens, times(back, -views.eye), times(back, unit[:, 0]), times(back, unit[:, 1]))[0]
    everything = torch.arange(len(views) * views.pixels, device=views.turn.device)
    x, y = (everything % views.width).float(), (everything % views.pixels // views.width).float()
    m = matrix.float()[everything // views.pixels].unbind(1)
    p, q, r = (m[3 * k] * x + m[3 * k + 1] * y + m[3 * k + 2] for k in range(3))
    depth = torch.where(r > 1 / GROUND_RANGE_M, 1 / r.clamp(min=1e-6), torch.inf)
    return depth, p * depth, q * depth


def _part_kinds(world: World) -> Tensor:
    """Place in SEMANTICS of every part."""
    still = world.still.numbers[:, COLUMN["label"]].astype(np.int64) + SEMANTICS.index(LABELS[0])
    names = ["obstacle" if body.kind in THINGS else body.kind for body in world.scene.bodies]
    moving = np.array([SEMANTICS.index(name) for name in names], np.int64)[world.owner]
    return torch.from_numpy(np.concatenate([still, moving])).to(world.device)


def _visibility_batch(world: World, rig: Rig, frames: list[int]) -> Array:
    views, sights = _seen(world, rig, frames)
    bodies = len(world.scene.bodies)
    nothing = torch.full((len(views) * views.pixels,), (0x7F800000 << 32) | SKY, device=views.turn.device)
    winner = cast(views, sights, nothing, None, [(0.0, 0.0)]) & 0x7FFFFFFF
    owner = world.codes[sights.part]  # body, negative for the stage
    shown = torch.nonzero(winner < GROUND)[:, 0]
    body = owner[winner[shown]]
    seen = _counted((shown // views.pixels)[body >= 0], body[body >= 0], (len(views), bodies))
    whole = _counted(*_alone(views, sights, owner, bodies), (len(views), bodies))
    share = seen / whole.clamp(min=1)
    return share.reshape(len(frames), len(rig), bodies).cpu().numpy()


def _alone(views: Views, sights: Sights, owner: Tensor, bodies: int) -> tuple[Tensor, Tensor]:
    """View and body of every pixel that a body would cover if nothing else were there."""
    mine = torch.nonzero(owner >= 0)[:, 0]
    found = [torch.zeros(0, dtype=torch.int64, device=owner.device)]
    for row, pixel, x, y in fragments(sights.bounds[mine], sights.view[mine], views):
        sight = mine[row]
        met = torch.isfinite(hit(sights.matrix[sight], sights.extra[sight], x, y)[0])
        found.append(torch.unique(pixel[met] * bodies + owner[sight[met]]))
    pairs = torch.unique(torch.cat(found))
    return pairs // bodies // views.pixels if bodies else pairs, pairs % bodies if bodies else pairs


def _counted(view: Tensor, body: Tensor, shape: tuple[int, int]) -> Tensor:
    counts = torch.zeros(shape, dtype=torch.float64, device=view.device)
    return counts.index_put_((view, body), counts.new_ones(len(view)), accumulate=True)
