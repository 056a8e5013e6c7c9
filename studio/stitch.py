"""Put an object into a recording: at the right place, size and angle, in every camera and frame that sees it.

The object stands at a fixed place in the world, given in the ego frame of one moment: there its near side touches the
ground. In each frame it is drawn on an upright rectangle that stands on the ground there and faces the camera; each
pixel's ray is met with that rectangle, so any pinhole camera is served exactly, however it is mounted. Rays that meet
a labelled box before they meet the rectangle are occluded. A sky twin is the same drawing, frame by frame, moved
straight up out of the road.

Not represented: hills (the ground is flat), light and shadow of the scene on the object, mirrors, glare.

Source: own derivation; the variants and their distances follow the stitching protocol of paper 003.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from studio.sprites import Sprite, SpriteView, sprite_of
from worldmodel.clips import Box, Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Array, Camera, relative

DISTANCES_M = {"near": 12.0, "far": 30.0, "sky_near": 12.0, "sky_far": 30.0, "empty": 12.0}
MIN_DEPTH_M = 1.0  # an object nearer than this along the optical axis is not drawn
SUBPIXELS = 4  # rays per pixel side
SHADOW_STRENGTH = 0.55  # how much of the ground's light the middle of the contact shadow takes
SOLID = 0.5  # coverage from which a pixel counts as the object's


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the object is in one frame of one camera.

    Attributes:
        frame, camera: Which picture.
        rectangle_px: Left, top, right, bottom of its solid pixels (right and bottom exclusive); None when it covers none.
        shift_px: How far a sky twin was moved up; 0 on the road.
        depth_m: Along the optical axis.
        occluded_share: Share of its pixels hidden by labelled boxes; None when nobody labelled the clip.
        clamped: A sky twin that does not fit above the horizon and was moved up only to the picture's edge.
    """

    frame: int
    camera: str
    rectangle_px: tuple[int, int, int, int] | None
    shift_px: int
    depth_m: float
    occluded_share: float | None
    clamped: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class StitchedClip:
    """A clip with an object in it.

    Attributes:
        clip: The edited clip; everything but the video is the original's.
        masks: Where the object's solid pixels are, shape [time, camera, height, width].
        placements: One entry per frame and camera that was drawn on.
        provenance: What was done, for the run's record: sprite, variant, place, occlusion 'known' or 'unknown', notes.
    """

    clip: Clip
    masks: Bool[Array, "time camera height width"]
    placements: tuple[Placement, ...]
    provenance: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Layer:
    """What is drawn on one picture: premultiplied colour [h, w, 3] in [0, 255], coverage and shadow [h, w] in [0, 1]."""

    color: Float[Array, "h w 3"]
    coverage: Float[Array, "h w"]
    shadow: Float[Array, "h w"]
    unoccluded: Float[Array, "h w"]  # coverage before occlusion
    depth_m: float


def stitch(clip: Clip, edit: StitchSprite, *, sprite: Sprite | None = None) -> StitchedClip:
    """Put a sprite into all frames and cameras of a clip.

    Args:
        clip: With motion, unless it has a single frame.
        edit: The variant, the kind and the moment whose ego frame the place (12 m or 30 m ahead) refers to.
        sprite: The object; None for the town's own of `edit.kind`.

    Raises:
        UnknownName: if there is no such variant or kind.
        MissingMotion: if the clip has several frames and no motion: the object could not stay fixed in the world.
        ClipTooShort: if the clip has no frame at `edit.at_s`.
        BadEdit: if no camera sees the object in any frame up to `edit.at_s`.
    """
    if edit.variant not in DISTANCES_M:
        raise UnknownName("variant", edit.variant, DISTANCES_M)
    sprite = sprite or sprite_of(edit.kind)
    places = _places(clip, edit)
    now = round(edit.at_s * clip.frequency_hz)
    sky, empty = edit.variant.startswith("sky"), edit.variant == "empty"
    video, masks = clip.video.copy(), np.zeros((len(clip), len(clip.rig), *clip.video.shape[3:]), bool)
    placements: list[Placement] = []
    for c, camera in enumerate(clip.rig.cameras):
        layers = {
            t: _draw(camera, place, sprite, [] if sky else _hiding(clip, t, place)) for t, place in enumerate(places)
        }
        gain = _gain(clip, c, layers, now)
        for t, layer in layers.items():
            if layer is None:
                continue
            layer, shift, clamped = _raised(layer, camera) if sky else (layer, 0, False)
            if not empty:
                video[t, c] = _composite(video[t, c], layer, gain)
                masks[t, c] = layer.coverage >= SOLID
            placements.append(
                _placement(t, camera, layer, masks[t, c], shift, clamped, clip.boxes is not None and not sky)
            )
    if not empty and not masks[: now + 1].any():
        raise BadEdit(
            f"no camera of clip '{clip.id}' sees a {sprite.name} {DISTANCES_M[edit.variant]:g} m ahead at {edit.at_s:g} s "
            f"(cameras: {', '.join(clip.rig.names)}). It is out of view, too small, or hidden by labelled boxes; "
            "choose another moment, variant or kind."
        )
    provenance = _provenance(clip, edit, sprite, places[now], placements)
    return StitchedClip(
        clip=replace(clip, video=video), masks=masks, placements=tuple(placements), provenance=provenance
    )


def _places(clip: Clip, edit: StitchSprite) -> Float[Array, "time 3"]:
    """The object's planar pose in the ego frame of every frame; it is fixed in the world."""
    now = round(edit.at_s * clip.frequency_hz)
    if not 0 <= now < len(clip):
        raise ClipTooShort(
            f"the object is placed at {edit.at_s:g} s, but clip '{clip.id}' has frames from 0 to "
            f"{(len(clip) - 1) / clip.frequency_hz:.2f} s. Choose a moment inside it."
        )
    ahead = np.array([DISTANCES_M[edit.variant], 0.0, 0.0])
    if len(clip) == 1:
        return ahead[None]
    if clip.motion is None:
        raise MissingMotion(
            f"clip '{clip.id}' has {len(clip)} frames and no ego motion, so an object cannot be kept at one place in the "
            "world. Use a clip with motion, or a single frame of this one."
        )
    ego = clip.motion.trajectory().seen_from(clip.motion.trajectory().poses[now]).poses
    return relative(ego, ahead)


def _hiding(clip: Clip, frame: int, place: Array) -> list[Box]:
    """The boxes of a frame that can hide the object: all but those that it stands in."""
    boxes = () if clip.boxes is None else clip.boxes[frame]
    return [box for box in boxes if not _holds(box, place)]


def _holds(box: Box, place: Array) -> bool:
    inside = relative(np.array([*box.center[:2], box.yaw_rad]), place)
    return bool((np.abs(inside[:2]) <= box.size[:2] / 2).all())


def _draw(camera: Camera, place: Array, sprite: Sprite, boxes: Sequence[Box]) -> _Layer | None:
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
) -> _Layer:
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
    nearest = _nearest(origin, rays, boxes)
    color = _pooled(rgba[..., :3] * (reach < nearest)[..., None])
    solid = _pooled(rgba[..., 3:] * (reach < nearest)[..., None])[..., 0]
    layer = _Layer(
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


def _framed(layer: _Layer, camera: Camera, window: tuple[int, int, int, int]) -> _Layer:
    """The same layer on a picture of full size."""
    left, top, right, bottom = window
    pad = ((top, camera.height_px - bottom), (left, camera.width_px - right))
    return _Layer(
        color=np.pad(layer.color, (*pad, (0, 0))),
        coverage=np.pad(layer.coverage, pad),
        shadow=np.pad(layer.shadow, pad),
        unoccluded=np.pad(layer.unoccluded, pad),
        depth_m=layer.depth_m,
    )


def horizon_rows(camera: Camera) -> Float[Array, " width"]:
    """The row at which each column's ray is level; above it lies the sky (flat world)."""
    up = camera.ego_from_camera[2, :3] @ np.linalg.inv(camera.intrinsics)  # z of the ray = up @ (u, v, 1)
    return -(up[0] * np.arange(camera.width_px) + up[2]) / up[1]


def _raised(layer: _Layer, camera: Camera) -> tuple[_Layer, int, bool]:
    """The same pixels without shadow, moved straight up to the middle of the sky; rows moved, and whether it fits."""
    touched = layer.unoccluded > 0
    if not touched.any():
        return replace(layer, shadow=np.zeros_like(layer.shadow)), 0, False
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    horizon = int(np.floor(horizon_rows(camera)[columns[0] : columns[-1] + 1].min()))
    room = horizon - (bottom - top)
    wanted = max(0, room // 2)  # row of its upper edge: in the middle between the picture's edge and the horizon
    shift = max(0, top - wanted)
    return (
        _Layer(
            color=_up(layer.color, shift),
            coverage=_up(layer.coverage, shift),
            shadow=np.zeros_like(layer.shadow),
            unoccluded=_up(layer.unoccluded, shift),
            depth_m=layer.depth_m,
        ),
        shift,
        room < 0,
    )


def _up(values: Array, rows: int) -> Array:
    return np.concatenate([values[rows:], np.zeros_like(values[:rows])])


def _gain(clip: Clip, c: int, layers: dict[int, _Layer | None], now: int) -> float:
    """One factor per camera that moves the object's brightness a third of the way to its surroundings'."""
    frames = sorted((t for t, layer in layers.items() if layer is not None), key=lambda t: abs(t - now))
    for t in frames:
        layer = layers[t]
        assert layer is not None
        if layer.unoccluded.sum() < 1:
            continue
        weights = np.array([0.299, 0.587, 0.114])
        seen = layer.coverage if layer.coverage.sum() > 0.5 else layer.unoccluded
        own = float((layer.color @ weights).sum() / seen.sum())
        around = float(np.einsum("chw,c->hw", clip.video[t, c].astype(np.float64), weights).mean())
        return float(np.clip((max(around, 1.0) / max(own, 1.0)) ** (1 / 3), 0.7, 1.3))
    return 1.0


def _composite(picture: UInt8[Array, "3 h w"], layer: _Layer, gain: float) -> UInt8[Array, "3 h w"]:
    """Darken the ground, then lay the object over it; pixels without either keep their exact value."""
    ground = picture.astype(np.float64) * (1 - SHADOW_STRENGTH * layer.shadow)
    color = np.minimum(layer.color * gain, 255.0 * layer.coverage[..., None])
    mixed = ground * (1 - layer.coverage) + color.transpose(2, 0, 1)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _placement(
    frame: int, camera: Camera, layer: _Layer, mask: Array, shift: int, clamped: bool, boxes_known: bool
) -> Placement:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    rectangle = (
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1) if len(rows) and len(columns) else None
    )
    whole = float(layer.unoccluded.sum())
    hidden = 1 - float(layer.coverage.sum()) / whole if whole > 0 else 0.0
    return Placement(
        frame=frame,
        camera=camera.name,
        rectangle_px=rectangle,
        shift_px=shift,
        depth_m=layer.depth_m,
        occluded_share=max(0.0, hidden) if boxes_known else None,
        clamped=clamped,
    )


def _provenance(
    clip: Clip, edit: StitchSprite, sprite: Sprite, place: Array, placements: Sequence[Placement]
) -> dict[str, object]:
    sky = edit.variant.startswith("sky")
    notes = []
    if any(p.clamped for p in placements):
        notes.append(
            "the object is taller than the sky in some frames; there it was moved up to the picture's edge only"
        )
    taken = [] if sky else _standing_in(clip, edit, place)
    if taken:
        notes.append(f"the place is already taken by: {', '.join(taken)}")
    return {
        "sprite": sprite.name,
        "variant": edit.variant,
        "at_s": edit.at_s,
        "place_m": [float(place[0]), float(place[1])],
        "occlusion": "not applicable" if sky else "unknown" if clip.boxes is None else "known",
        "cameras": sorted({p.camera for p in placements if p.rectangle_px}),
        "notes": notes,
    }


def _standing_in(clip: Clip, edit: StitchSprite, place: Array) -> list[str]:
    """Labelled objects whose footprint holds the place at the moment of the edit."""
    now = round(edit.at_s * clip.frequency_hz)
    boxes = clip.boxes[now] if clip.boxes is not None else ()
    return [f"{box.kind} {box.track}" for box in boxes if _holds(box, place)]
