"""One object on one picture: an upright rectangle met by the rays of the pixels, its shadow, and what hides it."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from studio.occlusion import Occluders
from studio.placement import Stand
from studio.sprites import Eye, Sprite, SpriteView
from worldmodel.geometry import Array, Camera

MIN_DEPTH_M = 1.0  # an object nearer than this along the optical axis is not drawn
PLANE_M = 0.1  # what lies nearer to the camera's plane than this is in no picture
SUBPIXELS = 4  # rays per pixel side
SHADOW_SOFT_M = 0.4  # over which the contact shadow fades, to either side of the footprint's edge


@dataclass(frozen=True, eq=False)
class Layer:
    """What is drawn on one picture.

    Attributes:
        color: Premultiplied RGB in [0, 255], shape [h, w, 3].
        coverage, shadow: Shares in [0, 1], shape [h, w].
        unoccluded: Coverage before labelled boxes hid any of it.
        depth_m: Of the object's place along the optical axis.
    """

    color: Float[Array, "h w 3"]
    coverage: Float[Array, "h w"]
    shadow: Float[Array, "h w"]
    unoccluded: Float[Array, "h w"]  # coverage before occlusion
    depth_m: float


def draw(camera: Camera, stand: Stand, sprite: Sprite, occluders: Occluders) -> Layer | None:
    """The object on one picture; None where the camera does not see it."""
    position, place = camera.ego_from_camera[:3, 3], stand.pose
    offset = place[:2] - position[:2]
    distance = float(np.hypot(*offset))
    if distance < 1e-6:
        return None
    facing = -offset / distance
    reach = sprite.reach_m(math.atan2(-facing[1], -facing[0]) - float(place[2]))
    foot = np.array([*(place[:2] + facing * reach / 2), stand.foot_m])  # where its near side stands
    _, depth, _ = camera.project(foot[None])
    if distance - reach / 2 < MIN_DEPTH_M or depth[0] < MIN_DEPTH_M:
        return None
    window = _window(camera, stand, sprite, facing)
    if window is None:
        return None
    eye = Eye(
        azimuth_rad=math.atan2(facing[1], facing[0]) - float(place[2]),
        distance_m=distance - reach / 2,
        height_m=float(position[2]) - stand.foot_m,
        pixels_per_m=float(camera.intrinsics[1, 1] / depth[0]),
    )
    view = sprite.view(eye)
    return _cast(camera, stand, sprite, _Board(view=view, foot=foot, facing=facing), occluders, window, float(depth[0]))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Board:
    """The upright rectangle: its picture, the middle of its lower edge [3], and the direction on the ground it faces [2]."""

    view: SpriteView
    foot: Array
    facing: Array


def _window(camera: Camera, stand: Stand, sprite: Sprite, facing: Array) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the pixels that object and shadow can touch; None when there are none."""
    across = np.array([-facing[1], facing[0]])
    half = 0.55 * sum(sprite.footprint_m) + 0.2
    deep = 0.6 * max(sprite.footprint_m) + 0.2
    ends = np.array([stand.pose[:2] + a * facing + b * across for a in (deep, -deep) for b in (-half, half)])
    ground = np.column_stack([ends, stand.ground.under(ends)])
    base = np.column_stack([ends, np.full(4, stand.foot_m)])
    points = np.concatenate([ground, base, base + np.array([0.0, 0.0, 1.02 * sprite.height_m + 0.2 * deep])])
    points = _in_front(camera, points)
    if not len(points):
        return None
    pixels, _, _ = camera.project(points)
    low, high = np.floor(pixels.min(axis=0)) - 1, np.ceil(pixels.max(axis=0)) + 2
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(camera.width_px, int(high[0])), min(camera.height_px, int(high[1]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _in_front(camera: Camera, points: Array) -> Array:
    """Corners of the part of a convex body that lies in front of the camera's plane, from the body's corners [n, 3]."""
    _, depth, _ = camera.project(points)
    front = points[depth >= PLANE_M]
    one, two = np.nonzero((depth[:, None] >= PLANE_M) & (depth[None] < PLANE_M))
    share = ((depth[one] - PLANE_M) / (depth[one] - depth[two]))[:, None]
    return np.concatenate([front, points[one] + share * (points[two] - points[one]) * (1 - 1e-9)])


def _cast(
    camera: Camera,
    stand: Stand,
    sprite: Sprite,
    board: _Board,
    occluders: Occluders,
    window: tuple[int, int, int, int],
    depth_m: float,
) -> Layer:
    """Meet the rays of a window of pixels with the upright rectangle and with the ground."""
    origin, rays = _rays(camera, window)
    view, facing = board.view, board.facing
    across = np.array([-facing[1], facing[0]])  # to the right as the camera sees it
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = ((board.foot[:2] - origin[:2]) @ facing) / (rays[..., :2] @ facing)  # ray parameter at the rectangle
    reach = np.where(np.isfinite(reach) & (reach > 0), reach, np.inf)
    fall = stand.ground.met_by(origin, rays)
    on_plane = origin + np.where(np.isfinite(reach), reach, 0.0)[..., None] * rays
    side = ((on_plane[..., :2] - board.foot[:2]) @ across - view.middle_m) / view.width_m + 0.5
    up = (on_plane[..., 2] - board.foot[2] - view.bottom_m) / view.height_m
    texel = view.width_m / _pixels_across(camera, depth_m, view.width_m) / SUBPIXELS
    rgba = _sampled(_shrunk(view, texel), side, 1 - up) * np.isfinite(reach)[..., None]
    on_ground = origin[:2] + np.where(np.isfinite(fall), fall, 0.0)[..., None] * rays[..., :2]
    shadow = _shadow(on_ground, stand.pose, sprite.footprint_m) * np.isfinite(fall)
    nearest = occluders.nearest(camera, window, rays, stand.pose)
    free = (reach <= nearest)[..., None]
    color, solid = _pooled(rgba[..., :3] * free), _pooled(rgba[..., 3:] * free)[..., 0]
    layer = Layer(
        color=color,
        coverage=solid,
        shadow=_pooled((shadow * (fall < nearest + 0.05))[..., None])[..., 0],
        unoccluded=_pooled(rgba[..., 3:])[..., 0],
        depth_m=depth_m,
    )
    return _framed(layer, camera, window)


def _rays(camera: Camera, window: tuple[int, int, int, int]) -> tuple[Array, Array]:
    """Origin [3] and unit directions [rows * SUBPIXELS, columns * SUBPIXELS, 3] of a window, in the ego frame."""
    left, top, right, bottom = window
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    u = (np.arange(left, right)[:, None] + offsets).ravel()
    v = (np.arange(top, bottom)[:, None] + offsets).ravel()
    grid = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=-1)
    directions = grid @ np.linalg.inv(camera.intrinsics).T @ camera.ego_from_camera[:3, :3].T
    return camera.ego_from_camera[:3, 3], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _pixels_across(camera: Camera, depth_m: float, width_m: float) -> float:
    return max(1.0, camera.intrinsics[0, 0] * width_m / depth_m)


def _shrunk(view: SpriteView, texel_m: float) -> Float[Array, "h w 4"]:
    """The picture, premultiplied with coverage in [0, 1], averaged down until its texels match the rays' spacing."""
    rgba = view.rgba.astype(np.float64)
    rgba[..., 3] /= 255
    rgba[..., :3] *= rgba[..., 3:]
    factor = max(1, int(texel_m / (view.height_m / view.rgba.shape[0])))
    if factor > 1:
        rows, columns = (-rgba.shape[0] % factor, -rgba.shape[1] % factor)
        # rows are added above, columns left and right alike, so that the object keeps its feet and its middle
        rgba = np.pad(rgba, ((rows, 0), (columns // 2, columns - columns // 2), (0, 0)))
        h, w = rgba.shape[0] // factor, rgba.shape[1] // factor
        rgba = rgba.reshape(h, factor, w, factor, 4).mean(axis=(1, 3))
    return rgba


def _sampled(picture: Array, x: Array, y: Array) -> Float[Array, "rows columns 4"]:
    """Bilinear lookup; x and y in [0, 1] across the picture, nothing outside."""
    height, width = picture.shape[:2]
    column, row = x * width - 0.5 + 1, y * height - 0.5 + 1
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    padded[-1] = padded[-2]  # the feet stay sharp: what is below the ground is cut, not faded
    column, row = np.clip(column, 0, width + 1), np.clip(row, 0, height + 1)
    j, i = np.minimum(column.astype(int), width), np.minimum(row.astype(int), height)
    a, b = (column - j)[..., None], (row - i)[..., None]
    top = padded[i, j] * (1 - a) + padded[i, j + 1] * a
    low = padded[i + 1, j] * (1 - a) + padded[i + 1, j + 1] * a
    inside = (x > 0) & (x < 1) & (y > 0) & (y < 1)
    return (top * (1 - b) + low * b) * inside[..., None]


def _shadow(ground: Array, place: Array, footprint_m: tuple[float, float]) -> Float[Array, "rows columns"]:
    """How dark the ground is under and around a footprint: 1 well below it, half at its edge, 0 outside."""
    delta = ground - place[:2]
    cos, sin = math.cos(place[2]), math.sin(place[2])
    along, left = delta @ [cos, sin], delta @ [-sin, cos]
    half = np.array(footprint_m) / 2
    soft = min(SHADOW_SOFT_M, float(half.min()))
    over = np.stack([np.abs(along) - half[0], np.abs(left) - half[1]])
    outside = np.hypot(*np.maximum(over, 0.0)) + np.minimum(over.max(axis=0), 0.0)
    return np.clip(0.5 - outside / (2 * soft), 0.0, 1.0)


def _pooled(values: Array) -> Array:
    """Mean over the rays of each pixel."""
    rows, columns, channels = values.shape
    split = values.reshape(rows // SUBPIXELS, SUBPIXELS, columns // SUBPIXELS, SUBPIXELS, channels)
    return split.mean(axis=(1, 3))


def _framed(layer: Layer, camera: Camera, window: tuple[int, int, int, int]) -> Layer:
    """The same layer on a picture of full size."""
    left, top, right, bottom = window
    pad = ((top, camera.height_px - bottom), (left, camera.width_px - right))
    return Layer(
        color=np.pad(layer.color, (*pad, (0, 0))),
        coverage=np.pad(layer.coverage, pad),
        shadow=np.pad(layer.shadow, pad),
        unoccluded=np.pad(layer.unoccluded, pad),
        depth_m=layer.depth_m,
    )
