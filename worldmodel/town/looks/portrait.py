"""A cut-out picture of one road user, or of one thing beside the road: what is stitched into recordings."""

import math
from dataclasses import replace

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


def render_body_rgba(
    body: Body, view_azimuth_rad: float, elevation_rad: float, height_px: int
) -> UInt8[Array, "height width 4"]:
    """A cut-out picture of one body, standing on the bottom edge, tightly cropped.

    Args:
        body: What to draw.
        view_azimuth_rad: From where it is seen: 0 exactly from behind, positive for a viewer who walks counter-clockwise
            (seen from above) around it, so pi / 2 sees its right side.
        elevation_rad: How far above the horizon the viewer is.
        height_px: Height of the picture, 1 to 2048.
    Returns:
        RGBA with straight (not premultiplied) alpha.
    Raises:
        BadRequest: if the height or the elevation is out of range.
    """
    _check(elevation_rad, height_px)
    size = (body.length_m, body.width_m, body.height_m)
    return _portrayed(_alone((body,), (), _sun(view_azimuth_rad)), size, view_azimuth_rad, elevation_rad, height_px)


def render_prop_rgba(prop: Prop, elevation_rad: float, height_px: int) -> UInt8[Array, "height width 4"]:
    """A cut-out picture of one thing that stands beside the road, seen along its x axis; else as `render_body_rgba`.

    Raises:
        BadRequest: if the height or the elevation is out of range.
    """
    _check(elevation_rad, height_px)
    size = (2 * prop.radius_m, 2 * prop.radius_m, prop.height_m)
    middle = replace(prop, x_m=0.0, y_m=0.0)
    return _portrayed(_alone((), (middle,), _sun(0.0)), size, 0.0, elevation_rad, height_px)


def _check(elevation_rad: float, height_px: int) -> None:
    if not 1 <= height_px <= 2048:
        raise BadRequest(
            f"a sprite of {height_px} px is asked for; it must be 1 to 2048 px high. Choose another height."
        )
    if not -0.2 <= elevation_rad <= 1.4:
        raise BadRequest(f"the elevation is {elevation_rad:g} rad; sprites need -0.2 to 1.4. Choose one in between.")


def _sun(view_azimuth_rad: float) -> Light:
    """In the viewer's back, to the right."""
    return Light(sun_azimuth_rad=view_azimuth_rad + math.pi - 0.7, sun_elevation_rad=0.8)


def _portrayed(
    scene: Scene, size_m: tuple[float, float, float], azimuth_rad: float, elevation_rad: float, height_px: int
) -> UInt8[Array, "height width 4"]:
    world = World.of(scene, "cpu")
    world = replace(world, mood=replace(world.mood, haze_m=1e9))
    camera = _portrait(size_m, azimuth_rad, elevation_rad)
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
    return np.concatenate(rows)


def _alone(bodies: tuple[Body, ...], props: tuple[Prop, ...], light: Light) -> Scene:
    """A scene with nothing but these, bodies at the origin."""
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


def _portrait(size_m: tuple[float, float, float], azimuth_rad: float, elevation_rad: float) -> Camera:
    """A camera about seven sizes away whose square picture holds the whole thing."""
    size = float(np.hypot(np.hypot(size_m[0], size_m[1]), size_m[2]))
    away = np.array([math.cos(azimuth_rad), math.sin(azimuth_rad), 0.0]) * math.cos(elevation_rad)
    eye = np.array([0, 0, size_m[2] / 2]) - 7 * size * (away - np.array([0, 0, math.sin(elevation_rad)]))
    focal = 0.9 * 6.5 * PROBE_PX
    middle = (PROBE_PX - 1) / 2
    return Camera(
        name="portrait",
        intrinsics=np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]),
        ego_from_camera=look_along(azimuth_rad, eye, elevation_rad),
        width_px=PROBE_PX,
        height_px=PROBE_PX,
    )


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
