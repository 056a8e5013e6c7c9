"""Pictures of the town: colour, depth and instances for any rig, on any device.

`render` and `render_scenes` are pure functions of their arguments: a frame looks the same alone and in a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Rig, matrix_from_pose
from worldmodel.town.looks.casting import GROUND, SKY, Views, cast
from worldmodel.town.looks.edges import smooth
from worldmodel.town.looks.falling import fallen, lens_drops
from worldmodel.town.looks.glare import dazzled
from worldmodel.town.looks.picture import Batch, Shot, background, depth_of, grounded, pixel_centres, prepared, shaded
from worldmodel.town.looks.world import GROUND_INSTANCE, NO_INSTANCE, World
from worldmodel.town.scene import Scene

BATCH_PX = 2**18  # pixels worked on at once
BATCH_VIEWS = 256  # pictures worked on at once, however small
HALO_PX = 1  # rows that strips of a large picture share, so that edges between them are found


@dataclass(frozen=True, eq=False, kw_only=True)
class Rendering:
    """What the cameras see.

    Attributes:
        rgb: Colour, shape [time, camera, 3, height, width].
        depth_m: Depth along the optical axis at pixel centres, metres; infinite for the sky; [time, camera, h, w].
        instance: -1 sky, -2 ground, -3 buildings and props, b >= 0 the scene's body b; [time, camera, h, w].
    """

    rgb: UInt8[Array, "time camera 3 height width"]
    depth_m: Float[Array, "time camera height width"]
    instance: Int[Array, "time camera height width"]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How pictures are taken.

    Attributes:
        supersample: Edges get supersample x supersample rays per pixel; 1 is fastest. Depth and instances never blend.
        adaptive: False gives every pixel that many rays: slow, the reference for the quick way.
    """

    supersample: int = 2
    adaptive: bool = True


@dataclass(frozen=True, kw_only=True)
class _Unit:
    """One picture to take: of which request, the place of its frame there, the frame, and the camera."""

    request: int
    row: int
    frame: int
    camera: int


def render(
    scene: Scene,
    rig: Rig,
    frames: Sequence[int] | None = None,
    *,
    supersample: int = 2,
    adaptive: bool = True,
    device: torch.device | str = "cpu",
) -> Rendering:
    """Render frames of a scene from all cameras of a rig.

    Args:
        scene: What there is to see; the ego vehicle itself is not drawn.
        rig: The cameras, riding on the ego.
        frames: Which frames, in this order; all when None.
        supersample, adaptive: See `Quality`.
        device: Where to compute.
    Raises:
        BadRequest: if no frame is asked for, one does not exist, or supersample is not in 1 to 8.
    """
    return next(render_scenes([(scene, frames)], rig, supersample=supersample, adaptive=adaptive, device=device))


def render_scenes(
    requests: Sequence[tuple[Scene, Sequence[int] | None]],
    rig: Rig,
    *,
    supersample: int = 2,
    adaptive: bool = True,
    device: torch.device | str = "cpu",
) -> Iterator[Rendering]:
    """Render frames of several scenes, many at once; each is yielded when it is done, in order.

    Memory is bounded by the work on `BATCH_PX` pixels, one picture, and the rendering that is being made.

    Args:
        requests: Scenes with the frames that are asked for (all when None).
        rig, supersample, adaptive, device: As for `render`.
    Raises:
        BadRequest: as `render`, before anything is rendered.
    """
    wanted = [checked_frames(scene, frames) for scene, frames in requests]
    if not 1 <= supersample <= 8:
        raise BadRequest(f"supersample is {supersample}; it must be 1 to 8. Use 2 for smooth edges.")
    studio = _Studio([scene for scene, _ in requests], wanted, rig, device)
    return studio.renderings(Quality(supersample=supersample, adaptive=adaptive))


def checked_frames(scene: Scene, frames: Sequence[int] | None) -> list[int]:
    """The frames that are asked for, all of the scene's when None.

    Raises:
        BadRequest: if there is none, or one does not exist.
    """
    wanted = list(range(len(scene))) if frames is None else [int(frame) for frame in frames]
    if not wanted:
        raise BadRequest(f"no frame of scene '{scene.id}' is asked for; at least one is needed. Pass frames or None.")
    bad = [frame for frame in wanted if not 0 <= frame < len(scene)]
    if bad:
        raise BadRequest(
            f"frame {bad[0]} of scene '{scene.id}' is asked for, but it has frames 0 to {len(scene) - 1}. Ask for those."
        )
    return wanted


class _Studio:
    """Takes the pictures of all requests, some at a time."""

    def __init__(self, scenes: list[Scene], frames: list[list[int]], rig: Rig, device: torch.device | str) -> None:
        self.scenes, self.frames, self.rig, self.device = scenes, frames, rig, device
        self.worlds: dict[int, World] = {}

    def renderings(self, quality: Quality) -> Iterator[Rendering]:
        """Every request's rendering, in order."""
        done: dict[int, Rendering] = {}
        ready = 0
        for units in self._chunks():
            for number in {unit.request for unit in units} - done.keys():
                done[number] = _blank(len(self.frames[number]), self.rig)
            if self.rig.width_px * self.rig.height_px > BATCH_PX:
                self._take_in_strips(units, quality, done)
            else:
                self._take(units, quality, done)
            while ready < units[-1].request:
                yield done.pop(ready)
                ready += 1
        yield done.pop(ready)

    def _chunks(self) -> Iterator[list[_Unit]]:
        size = max(1, min(BATCH_VIEWS, BATCH_PX // (self.rig.width_px * self.rig.height_px)))
        chunk: list[_Unit] = []
        for number, frames in enumerate(self.frames):
            for row, frame in enumerate(frames):
                for camera in range(len(self.rig)):
                    chunk.append(_Unit(request=number, row=row, frame=frame, camera=camera))
                    if len(chunk) == size:
                        yield chunk
                        chunk = []
        if chunk:
            yield chunk

    def _world(self, request: int) -> World:
        if request not in self.worlds:
            self.worlds = {k: world for k, world in self.worlds.items() if k >= request - 1}
            self.worlds[request] = World.of(self.scenes[request], self.device)
        return self.worlds[request]

    def _shot(self, units: list[_Unit]) -> Shot:
        """The views of units of one request."""
        world = self._world(units[0].request)
        frames = list(dict.fromkeys(unit.frame for unit in units))
        poses = np.stack([matrix_from_pose(world.scene.ego_poses[frame]) for frame in frames])
        places = np.array([frames.index(unit.frame) for unit in units])
        cameras = [self.rig.cameras[unit.camera] for unit in units]
        return Shot(world=world, frames=frames, views=Views.chosen(poses, places, cameras, self.device))

    def _take(self, units: list[_Unit], quality: Quality, done: dict[int, Rendering]) -> None:
        groups = [list(some) for _, some in groupby(units, key=lambda unit: unit.request)]
        shots = tuple(self._shot(some) for some in groups)
        color, depth, code = _exposed(shots, quality)
        first = 0
        for shot, some in zip(shots, groups, strict=True):
            last = first + len(shot.views) * shot.views.pixels
            film = (color[:, first:last], depth[first:last], code[first:last])
            self._develop(shot, film, some, done)
            first = last

    def _take_in_strips(self, units: list[_Unit], quality: Quality, done: dict[int, Rendering]) -> None:
        for unit in units:
            shot = self._shot([unit])
            height, width = shot.views.height, shot.views.width
            rows = max(8, BATCH_PX // width)
            films = []
            for first in range(0, height, rows):
                low, high = max(0, first - HALO_PX), min(height, first + rows + HALO_PX)
                strip = Shot(world=shot.world, frames=shot.frames, views=shot.views.cut(low, high - low))
                keep = slice((first - low) * width, (min(height, first + rows) - low) * width)
                films.append([part[..., keep] for part in _exposed((strip,), quality)])
            color, depth, code = (torch.cat(parts, dim=-1) for parts in zip(*films, strict=True))
            self._develop(shot, (color, depth, code), [unit], done)

    def _develop(
        self, shot: Shot, film: tuple[Tensor, Tensor, Tensor], units: list[_Unit], done: dict[int, Rendering]
    ) -> None:
        """Add what comes between the world and the film, and file the pictures."""
        color, depth, code = film
        views, scene, frames, mood = shot.views, shot.world.scene, shot.frames, shot.world.mood
        names = [self.rig.cameras[unit.camera].name for unit in units]
        color = dazzled(color.clamp(0, 1), depth, views, scene, frames, mood)
        color = fallen(color, depth, views, scene, frames, mood)
        color = lens_drops(color, views, names, scene, frames)
        shape = (len(units), views.height, views.width)
        rgb = (color.clamp(0, 1) * 255 + 0.5).to(torch.uint8).reshape(3, *shape).permute(1, 0, 2, 3).cpu().numpy()
        depths, codes = depth.reshape(shape).cpu().numpy(), code.reshape(shape).cpu().numpy()
        for k, unit in enumerate(units):
            into = done[unit.request]
            into.rgb[unit.row, unit.camera] = rgb[k]
            into.depth_m[unit.row, unit.camera] = depths[k]
            into.instance[unit.row, unit.camera] = codes[k]


def _blank(frames: int, rig: Rig) -> Rendering:
    shape = (frames, len(rig), rig.height_px, rig.width_px)
    return Rendering(
        rgb=np.zeros((*shape[:2], 3, *shape[2:]), np.uint8),
        depth_m=np.zeros(shape, np.float32),
        instance=np.zeros(shape, np.int16),
    )


def _exposed(shots: tuple[Shot, ...], quality: Quality) -> tuple[Tensor, Tensor, Tensor]:
    """Colour [3, pixels], depth and instance codes of the views of all shots."""
    batch = grounded(prepared(shots))
    everything, x, y = pixel_centres(batch.views)
    best = cast(batch.views, batch.sights, background(batch, everything, x, y), None, [(0.0, 0.0)])
    winner = best & 0x7FFFFFFF
    color = torch.stack(shaded(batch, everything, x, y, winner))
    if quality.supersample > 1:
        smooth(batch, color, winner, quality.supersample, adaptive=quality.adaptive)
    return color, depth_of(best), _instances(batch, winner)


def _instances(batch: Batch, winner: Tensor) -> Tensor:
    codes = torch.cat([batch.codes, batch.codes.new_zeros(1)])
    code = codes[winner.clamp(max=len(batch.codes))]
    code = torch.where(winner == GROUND, GROUND_INSTANCE, code)
    return torch.where(winner == SKY, NO_INSTANCE, code).to(torch.int16)
