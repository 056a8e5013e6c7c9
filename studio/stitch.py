"""Put an object into a recording: at the right place, size and angle, in every camera and frame that sees it.

The object stands at a fixed place in the world, given in the ego frame of one moment: there its near side touches the
ground. In each frame it is drawn on an upright rectangle that stands on the ground there and faces the camera; each
pixel's ray is met with that rectangle, so any pinhole camera is served exactly, however it is mounted. Rays that meet
a labelled box before they meet the rectangle are occluded. A sky twin is the same drawing, frame by frame, moved
straight up out of the road.

Not represented: hills (the ground is flat), light and shadow of the scene on the object, mirrors, glare.

Source: own derivation; the variants and their distances follow the stitching protocol of paper 003.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from studio.billboard import Layer, draw
from studio.sprites import Sprite, sprite_of
from worldmodel.clips import Box, Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Array, Camera, relative

DISTANCES_M = {"near": 12.0, "far": 30.0, "sky_near": 12.0, "sky_far": 30.0, "empty": 12.0}
SHADOW_STRENGTH = 0.55  # how much of the ground's light the middle of the contact shadow takes
LUMA = np.array([0.299, 0.587, 0.114])
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
            t: draw(camera, place, sprite, [] if sky else _hiding(clip, t, place)) for t, place in enumerate(places)
        }
        look = _look(clip, c, layers, now)
        for t, layer in layers.items():
            if layer is None:
                continue
            layer, shift, clamped = _raised(layer, camera) if sky else (layer, 0, False)
            if not empty:
                video[t, c] = _composite(video[t, c], layer, look)
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


def horizon_rows(camera: Camera) -> Float[Array, " width"]:
    """The row at which each column's ray is level; above it lies the sky (flat world)."""
    up = camera.ego_from_camera[2, :3] @ np.linalg.inv(camera.intrinsics)  # z of the ray = up @ (u, v, 1)
    return -(up[0] * np.arange(camera.width_px) + up[2]) / up[1]


def _raised(layer: Layer, camera: Camera) -> tuple[Layer, int, bool]:
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
        Layer(
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


@dataclass(frozen=True, kw_only=True)
class _Look:
    """How the object's colours are brought towards its surroundings': brightness factor, and how much colour is kept."""

    gain: float = 1.0
    chroma: float = 1.0


def _look(clip: Clip, c: int, layers: dict[int, Layer | None], now: int) -> _Look:
    """One look per camera, from the frame nearest to now in which the object is drawn: a third of the way in brightness,
    half of the way in colourfulness (never more colourful than the object is)."""
    frames = sorted((t for t, layer in layers.items() if layer is not None), key=lambda t: abs(t - now))
    for t in frames:
        layer = layers[t]
        assert layer is not None
        seen = layer.coverage if layer.coverage.sum() > 0.5 else layer.unoccluded
        if layer.unoccluded.sum() < 1 or not layer.color.any():
            continue
        own, own_chroma = _brightness(layer.color.sum(axis=(0, 1))[None] / seen.sum(), layer.color / seen.sum())
        picture = clip.video[t, c].transpose(1, 2, 0).astype(np.float64)
        around, chroma = _brightness(picture.mean(axis=(0, 1))[None], picture / picture[..., 0].size)
        return _Look(
            gain=float(np.clip((max(around, 1.0) / max(own, 1.0)) ** (1 / 3), 0.7, 1.3)),
            chroma=float(np.clip((max(chroma, 1.0) / max(own_chroma, 1.0)) ** 0.5, 0.4, 1.0)),
        )
    return _Look()


def _brightness(mean: Array, weighted: Array) -> tuple[float, float]:
    """Luma of a mean colour, and the summed distance of (already weighted) colours from their own grey."""
    grey = weighted @ LUMA
    return float((mean @ LUMA)[0]), float(np.abs(weighted - grey[..., None]).sum())


def _composite(picture: UInt8[Array, "3 h w"], layer: Layer, look: _Look) -> UInt8[Array, "3 h w"]:
    """Darken the ground, then lay the object over it; pixels without either keep their exact value."""
    ground = picture.astype(np.float64) * (1 - SHADOW_STRENGTH * layer.shadow)
    grey = (layer.color @ LUMA)[..., None]
    color = np.clip((grey + (layer.color - grey) * look.chroma) * look.gain, 0.0, 255.0 * layer.coverage[..., None])
    mixed = ground * (1 - layer.coverage) + color.transpose(2, 0, 1)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _placement(
    frame: int, camera: Camera, layer: Layer, mask: Array, shift: int, clamped: bool, boxes_known: bool
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


def place_of(stitched: StitchedClip) -> tuple[float, float] | None:
    """Where the object stands in the ego frame of the edit's moment, metres; None when nothing was pasted."""
    place = stitched.provenance["place_m"]
    if stitched.provenance["variant"] == "empty" or not isinstance(place, list):
        return None
    return float(place[0]), float(place[1])
