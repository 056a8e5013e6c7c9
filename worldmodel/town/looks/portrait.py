"""A cut-out picture of one road user, or of one thing beside the road: what is stitched into recordings."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8

from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Camera, look_along
from worldmodel.town.looks.casting import GROUND, Views, cast
from worldmodel.town.looks.edges import subsamples
from worldmodel.town.looks.picture import Batch, Shot, nothing, prepared, shaded
from worldmodel.town.looks.world import World
from worldmodel.town.scene import Body, Cause, Light, Prop, Scene, Stage

STRIP_PX = 2**18  # rays worked on at once
SPRITE_RAYS = 4  # rays per pixel of a sprite, along each side
PROBE_PX = 400  # height of the trial picture that finds a sprite's outline


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """From where a thing is looked at.

    Attributes:
        azimuth_rad: 0 exactly from behind, positive for a viewer who walks counter-clockwise (seen from above) around it,
            so pi / 2 sees its right side.
        distance_m: From the eye to the nearest part of the thing's footprint, along the ground.
        eye_m: Height of the eye above the ground that the thing stands on.
    """

    azimuth_rad: float
    distance_m: float
    eye_m: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Cutout:
    """A thing as it is seen through an upright sheet that touches the near side of its footprint and faces the viewer.

    Attributes:
        rgba: Straight (not premultiplied) colours and coverage, uint8, shape [height, width, 4], tightly cropped.
        left_m: The picture's left edge on the sheet, to the right of the vertical line nearest to the viewer.
        bottom_m: The picture's lower edge on the sheet, above the ground.
        width_m, height_m: What the picture's sides measure on the sheet.
    """

    rgba: UInt8[Array, "height width 4"]
    left_m: float
    bottom_m: float
    width_m: float
    height_m: float


def render_cutout(thing: Body | Prop, viewer: Viewer, height_px: int) -> Cutout:
    """A cut-out picture of one road user, or of one thing that stands beside the road, in the viewer's own perspective.

    Args:
        thing: What to draw; alone, wherever it says that it stands.
        viewer: From where.
        height_px: Height of the picture, 1 to 2048.
    Raises:
        BadRequest: if the picture's height is out of range, or the viewer stands in the thing or below the ground.
    """
    if not 1 <= height_px <= 2048:
        raise BadRequest(
            f"a sprite of {height_px} px is asked for; it must be 1 to 2048 px high. Choose another height."
        )
    if not (viewer.distance_m > 0 and viewer.eye_m > 0):
        raise BadRequest(
            f"a sprite is looked at from {viewer.distance_m:g} m away and {viewer.eye_m:g} m above the ground; both must be "
            "positive. Choose another viewer."
        )
    world = World.of(_alone(thing, _sun(viewer.azimuth_rad)), "cpu")
    world = replace(world, mood=replace(world.mood, haze_m=1e9))
    camera, scale_m = _portrait(thing, viewer)
    left, top, right, bottom = _outline(world, camera)
    scale = height_px / (bottom - top)
    width_px = max(1, math.ceil((right - left) * scale - 1e-6))
    lens = camera.intrinsics.copy()
    lens[:2] *= scale
    lens[:2, 2] += 0.5 * scale - 0.5 - np.array([left, top]) * scale
    lens[0, 2] += (width_px - (right - left) * scale) / 2
    strip = max(1, STRIP_PX // (width_px * SPRITE_RAYS**2))
    rows = [
        _cut_out(world, _strip(camera, lens, width_px, y, min(strip, height_px - y)))
        for y in range(0, height_px, strip)
    ]
    middle = (left + right) / 2 - 0.5 - camera.intrinsics[0, 2]
    width_m = width_px / scale * scale_m
    return Cutout(
        rgba=np.concatenate(rows),
        left_m=float(middle * scale_m - width_m / 2),
        bottom_m=float(viewer.eye_m - (bottom - 0.5 - camera.intrinsics[1, 2]) * scale_m),
        width_m=float(width_m),
        height_m=float((bottom - top) * scale_m),
    )


def _sun(view_azimuth_rad: float) -> Light:
    """In the viewer's back, to the right."""
    return Light(sun_azimuth_rad=view_azimuth_rad + math.pi - 0.7, sun_elevation_rad=0.8)


def _size(thing: Body | Prop) -> tuple[float, float, float]:
    if isinstance(thing, Prop):
        return 2 * thing.radius_m, 2 * thing.radius_m, thing.height_m
    return thing.length_m, thing.width_m, thing.height_m


def _alone(thing: Body | Prop, light: Light) -> Scene:
    """A scene with nothing but one thing at the origin."""
    bodies = (thing,) if isinstance(thing, Body) else ()
    props = (replace(thing, x_m=0.0, y_m=0.0),) if isinstance(thing, Prop) else ()
    count = len(bodies)
    return Scene(
        id="sprite",
        situation="sprite",
        seed=0,
        frequency_hz=1.0,
        stage=Stage(lanes=(), buildings=(), props=props),
        light=light,
        ego_poses=np.zeros((1, 3)),
        ego_speeds_mps=np.zeros(1),
        bodies=bodies,
        body_poses=np.zeros((1, count, 3)),
        body_present=np.ones((1, count), dtype=bool),
        body_speeds_mps=np.full((1, count), 0.35),
        body_braking=np.zeros((1, count), dtype=bool),
        body_indicators=np.zeros((1, count), dtype=np.int8),
        signal_states=np.zeros((1, 0), dtype=np.int8),
        route=np.zeros((1, 2)),
        route_s=np.zeros(1),
        wish_mps=0.0,
        ego_braking=np.zeros(1, dtype=bool),
        ego_indicators=np.zeros(1, dtype=np.int8),
        ego_causes=(Cause(),),
    )


def _portrait(thing: Body | Prop, viewer: Viewer) -> tuple[Camera, float]:
    """A level camera at the viewer's eye whose picture holds the whole thing; metres per pixel on the sheet."""
    length, width, height = _size(thing)
    cos, sin = math.cos(viewer.azimuth_rad), math.sin(viewer.azimuth_rad)
    reach = length * abs(cos) + width * abs(sin)  # of the footprint along the line of sight
    away = viewer.distance_m + reach / 2
    top = height + max(0.0, viewer.eye_m - height) * reach / (viewer.distance_m + reach)
    extent = 1.15 * max(top, length * abs(sin) + width * abs(cos))
    scale_m = extent / PROBE_PX
    focal, middle = viewer.distance_m / scale_m, (PROBE_PX - 1) / 2
    level = middle - (viewer.eye_m - top / 2) / scale_m  # the row of the eye's own height
    camera = Camera(
        name="portrait",
        intrinsics=np.array([[focal, 0, middle], [0, focal, level], [0, 0, 1]]),
        ego_from_camera=look_along(viewer.azimuth_rad, np.array([-away * cos, -away * sin, viewer.eye_m])),
        width_px=PROBE_PX,
        height_px=PROBE_PX,
    )
    return camera, scale_m


def _strip(camera: Camera, lens: Array, width_px: int, first: int, rows: int) -> Camera:
    shifted = lens.copy()
    shifted[1, 2] -= first
    return replace(camera, intrinsics=shifted, width_px=width_px, height_px=rows)


def _studio(world: World, camera: Camera) -> Batch:
    return prepared((Shot(world=world, frames=[0], views=Views.of(np.eye(4)[None], (camera,), world.device)),))


def _outline(world: World, camera: Camera) -> tuple[float, float, float, float]:
    """Left, top, right and bottom edge of the body in the picture, pixels from the picture's corner."""
    batch = _studio(world, camera)
    best = cast(batch.views, batch.sights, nothing(torch.arange(batch.views.pixels)), None, [(0.0, 0.0)])
    seen = ((best & 0x7FFFFFFF) < GROUND).reshape(camera.height_px, camera.width_px).numpy()
    x, y = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    return float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1)


def _cut_out(world: World, camera: Camera) -> UInt8[Array, "height width 4"]:
    batch = _studio(world, camera)
    everything = torch.arange(batch.views.pixels)
    many, x, y, offsets = subsamples(batch.views, everything, SPRITE_RAYS)
    best = cast(batch.views, batch.sights, nothing(many), None, offsets)
    winner = best & 0x7FFFFFFF
    solid = (winner < GROUND).float()
    index = torch.nonzero(solid)[:, 0]
    color = torch.zeros(3, len(many))
    color[:, index] = torch.stack(shaded(batch, many[index], x[index], y[index], winner[index])).clamp(0, 1)
    count = solid.reshape(-1, len(offsets)).sum(dim=1)
    mean = color.reshape(3, -1, len(offsets)).sum(dim=2) / count.clamp(min=1)
    rgba = torch.cat([mean, count[None] / len(offsets)]) * 255 + 0.5
    return rgba.to(torch.uint8).reshape(4, camera.height_px, camera.width_px).permute(1, 2, 0).contiguous().numpy()
