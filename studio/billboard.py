"""One object on one picture: an upright rectangle met by the rays of the pixels, its shadow, and what hides it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from studio.sprites import Sprite, SpriteView
from worldmodel.clips import Box
from worldmodel.geometry import Array, Camera

MIN_DEPTH_M = 1.0  # an object nearer than this along the optical axis is not drawn
SUBPIXELS = 4  # rays per pixel side
SHADOW_REACH_M = 12.0  # shadows of the longest objects end this far behind their near side


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


def draw(camera: Camera, place: Array, sprite: Sprite, boxes: Sequence[Box]) -> Layer | None:
    """The object on one picture; None where the camera does not see it."""
    position = camera.ego_from_camera[:3, 3]
    offset = np.array([place[0], place[1]]) - position[:2]
    distance = float(np.hypot(*offset))
    _, depth, _ = camera.project(np.array([[place[0], place[1], 0.0]]))
    if distance < MIN_DEPTH_M or depth[0] < MIN_DEPTH_M:
        return None
    window = _window(camera, place, sprite)
    if window is None:
        return None
    azimuth = math.atan2(-offset[1], -offset[0]) - float(place[2])
    view = sprite.view(azimuth, math.atan2(position[2], distance))
    return _cast(camera, place, sprite, view, boxes, window, float(depth[0]))


def _window(camera: Camera, place: Array, sprite: Sprite) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the pixels that object and shadow can touch; None when there are none."""
    facing = _facing(camera.ego_from_camera[:3, 3], place)
    across = np.array([-facing[1], facing[0]])
    half, deep = 0.55 * sum(sprite.footprint_m) + 0.2, _deep(sprite, place, facing)
    nearer = 0.6 * max(sprite.footprint_m) + 0.2 - deep / 2
    ends = np.array([place[:2] + a * facing + b * across for a in (nearer, -deep - nearer) for b in (-half, half)])
    ground = np.concatenate([ends, np.zeros((4, 1))], axis=1)
    points = np.concatenate([ground, ground + np.array([0.0, 0.0, 1.02 * sprite.height_m + 0.1 * deep])])
    pixels, depth, _ = camera.project(points)
    if (depth < 0.1).any():  # straddles the camera plane: look everywhere
        return (0, 0, camera.width_px, camera.height_px)
    low, high = np.floor(pixels.min(axis=0)) - 1, np.ceil(pixels.max(axis=0)) + 2
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(camera.width_px, int(high[0])), min(camera.height_px, int(high[1]))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _facing(position: Array, place: Array) -> Array:
    """Unit direction on the ground from the object to the camera."""
    offset = position[:2] - place[:2]
    return offset / np.hypot(*offset)


def _deep(sprite: Sprite, place: Array, facing: Array) -> float:
    """How far the footprint reaches along the line of sight, metres."""
    angle = math.atan2(facing[1], facing[0]) - place[2]
    length, width = sprite.footprint_m
    return length * abs(math.cos(angle)) + width * abs(math.sin(angle))


def _cast(
    camera: Camera,
    place: Array,
    sprite: Sprite,
    view: SpriteView,
    boxes: Sequence[Box],
    window: tuple[int, int, int, int],
    depth_m: float,
) -> Layer:
    """Meet the rays of a window of pixels with the upright rectangle and with the ground."""
    origin, rays = _rays(camera, window)
    facing = _facing(origin, place)
    across = np.array([-facing[1], facing[0]])  # to the right as the camera sees it
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = ((place[:2] - origin[:2]) @ facing) / (rays[..., :2] @ facing)  # ray parameter at the rectangle
        fall = -origin[2] / rays[..., 2]  # ray parameter at the ground
    reach = np.where(np.isfinite(reach) & (reach > 0), reach, np.inf)
    fall = np.where(np.isfinite(fall) & (fall > 0), fall, np.inf)
    on_plane = origin + np.where(np.isfinite(reach), reach, 0.0)[..., None] * rays
    side = (on_plane[..., :2] - place[:2]) @ across / view.width_m + 0.5
    up = on_plane[..., 2] / view.height_m
    texel = view.width_m / _pixels_across(camera, depth_m, view.width_m) / SUBPIXELS
    rgba = _sampled(_shrunk(view, texel), side, 1 - up) * np.isfinite(reach)[..., None]
    on_ground = origin[:2] + np.where(np.isfinite(fall), fall, 0.0)[..., None] * rays[..., :2]
    middle = np.array(
        [*(place[:2] - facing * _deep(sprite, place, facing) / 2), place[2]]
    )  # the place is where its near side stands
    shadow = _shadow(on_ground, middle, sprite.footprint_m) * np.isfinite(fall)
    nearest = _nearest(origin, rays, _before(boxes, origin, place))
    color = _pooled(rgba[..., :3] * (reach < nearest)[..., None])
    solid = _pooled(rgba[..., 3:] * (reach < nearest)[..., None])[..., 0]
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
    """A soft ellipse on the ground, one footprint wide and a little over; 1 in the middle, 0 outside."""
    delta = ground - place[:2]
    cos, sin = math.cos(place[2]), math.sin(place[2])
    along, left = delta @ [cos, sin], delta @ [-sin, cos]
    length, width = footprint_m
    radius = np.hypot(along / (length * 0.6 + 0.2), left / (width * 0.6 + 0.2))
    return np.clip(1.6 * (1 - radius), 0, 1) ** 1.5


def _before(boxes: Sequence[Box], origin: Array, place: Array) -> list[Box]:
    """The boxes that reach between camera and object; the others cannot hide it."""
    sight = place[:2] - origin[:2]
    distance = float(np.hypot(*sight))
    found = []
    for box in boxes:
        offset, reach = box.center[:2] - origin[:2], float(np.hypot(*box.size[:2])) / 2
        if np.hypot(*offset) - reach < distance + SHADOW_REACH_M and offset @ sight / distance > -reach:
            found.append(box)
    return found


def _nearest(origin: Array, rays: Array, boxes: Sequence[Box]) -> Float[Array, "rows columns"]:
    """Distance along each ray to the first box it enters, infinite where it meets none (slab method)."""
    nearest = np.full(rays.shape[:2], np.inf)
    for box in boxes:
        cos, sin = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
        box_from_ego = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        start, directions = box_from_ego @ (origin - box.center), rays @ box_from_ego.T
        safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        one, two = (-box.size / 2 - start) / safe, (box.size / 2 - start) / safe
        enter, leave = np.minimum(one, two).max(axis=-1), np.maximum(one, two).min(axis=-1)
        nearest = np.minimum(nearest, np.where((enter <= leave) & (leave > 0), np.maximum(enter, 0), np.inf))
    return nearest


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
