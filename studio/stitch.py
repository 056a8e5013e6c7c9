"""Put an object into a recording: at the right place, size and angle, in every camera and frame that sees it.

The object stands at a fixed place in the world, or moves along it, given in the ego frame of one moment: there its near
side touches the ground. In each frame it is drawn on an upright rectangle that stands on the ground at its near side and
faces the camera; each pixel's ray is met with that rectangle, so any pinhole camera is served exactly, however it is
mounted. What is nearer hides it, where depth or labelled boxes tell. A sky twin is the same drawing, frame by frame,
moved straight up out of the road. A lookalike is something harmless of equal size beside the road.

Not represented: hills (the ground is a plane), light and shadow of the scene on the object, mirrors, glare.

Source: own derivation; the variants and their distances follow the stitching protocol of paper 003.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float

from studio.billboard import Layer, draw
from studio.blending import Look, composite, dressed, look_of
from studio.ground import ground_of
from studio.occlusion import Occluders, Scenery, holds
from studio.placement import ROAD_TWINS, Stand, place_of_edit, stands
from studio.sprites import Sprite
from studio.town_sprites import lookalike_of, sprite_of
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit
from worldmodel.geometry import Array, Camera

SOLID = 0.5  # coverage from which a pixel counts as the object's


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the object is in one frame of one camera.

    Attributes:
        frame, camera: Which picture.
        rectangle_px: Left, top, right, bottom of its solid pixels (right and bottom exclusive); None when it covers none.
        shift_px: How far a sky twin was moved up; 0 on the road.
        depth_m: Along the optical axis.
        occluded_share: Share of its pixels hidden by something nearer; None where nothing is known of that.
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
        provenance: What was done, for the run's record: sprite, variant, place, heading, speed, ground, occlusion ('known
            from depth', 'known from boxes', 'unknown' or 'not applicable'), look per camera, notes.
    """

    clip: Clip
    masks: Bool[Array, "time camera height width"]
    placements: tuple[Placement, ...]
    provenance: dict[str, object] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before trusting it."""
        notes = self.provenance.get("notes")
        return tuple(notes) if isinstance(notes, list) else ()


def stitch(
    clip: Clip,
    edit: StitchSprite,
    *,
    sprite: Sprite | None = None,
    depth_m: Float[Array, "time camera height width"] | None = None,
) -> StitchedClip:
    """Put a sprite into all frames and cameras of a clip.

    Args:
        clip: With motion, unless it has a single frame.
        edit: The variant, the kind, the moment whose ego frame the place refers to, and the place if it is not the variant's.
        sprite: The object; None for the town's own of `edit.kind`.
        depth_m: Depth along the optical axis of everything but the ground, infinite where there is nothing else; None
            where it is unknown: then labelled boxes tell what hides the object.

    Raises:
        UnknownName: if there is no such variant or kind.
        MissingMotion: if the clip has several frames and no motion: the object could not stay fixed in the world.
        ClipTooShort: if the clip has no frame at `edit.at_s`.
        BadEdit: if the place is impossible, or no camera sees the object in any frame up to `edit.at_s`.
    """
    sprite = _shown(edit, sprite or sprite_of(edit.kind))
    ground = ground_of(clip)
    where = stands(clip, edit, sprite, ground)
    sky, empty = edit.variant in ROAD_TWINS, edit.variant == "empty"
    scenery = None if sky else Scenery(clip=clip, depth_m=depth_m)
    now = round(edit.at_s * clip.frequency_hz)
    video, masks = clip.video.copy(), np.zeros((len(clip), len(clip.rig), *clip.video.shape[3:]), bool)
    placements: list[Placement] = []
    looks: dict[str, Look] = {}
    for c, camera in enumerate(clip.rig.cameras):
        layers = _layers(camera, c, where, sprite, scenery)
        look = _look(clip, c, layers, now)
        for t, layer in layers.items():
            # a twin in the sky wears what the one on the road wears: same look, same noise
            layer = dressed(layer, look, _noise_seed(clip, camera, t))
            layer, shift, clamped = _raised(layer, camera) if sky else (layer, 0, False)
            if not empty:
                looks[camera.name] = look
                video[t, c] = composite(video[t, c], layer)
                masks[t, c] = layer.coverage >= SOLID
            known = scenery is not None and scenery.known != "unknown"
            placements.append(_placement(t, camera, layer, masks[t, c], shift, clamped, known))
    if not empty and not masks[: now + 1].any():
        raise BadEdit(_unseen(clip, edit, sprite, where[now]))
    provenance = _provenance(clip, edit, sprite, where[now], placements)
    provenance |= {
        "occlusion": "not applicable" if scenery is None else scenery.known,
        "look": {name: asdict(look) for name, look in looks.items()},
    }
    return StitchedClip(
        clip=replace(clip, video=video), masks=masks, placements=tuple(placements), provenance=provenance
    )


def _shown(edit: StitchSprite, sprite: Sprite) -> Sprite:
    return lookalike_of(sprite) if edit.variant == "lookalike" else sprite


def _layers(
    camera: Camera, c: int, where: Sequence[Stand], sprite: Sprite, scenery: Scenery | None
) -> dict[int, Layer]:
    """The drawing of each frame in which the camera can see the object."""
    found = {}
    for t, stand in enumerate(where):
        layer = draw(camera, stand, sprite, Occluders() if scenery is None else scenery.of(t, c, stand.pose))
        if layer is not None:
            found[t] = layer
    return found


def _noise_seed(clip: Clip, camera: Camera, frame: int) -> int:
    return crc32(f"{clip.id}/{camera.name}/{frame}".encode())


def _unseen(clip: Clip, edit: StitchSprite, sprite: Sprite, stand: Stand) -> str:
    """Why no camera sees the object, in words."""
    x, y = place_of_edit(edit)
    foot = np.array([[x, y, stand.foot_m], [x, y, stand.foot_m + sprite.height_m]])
    _, depths, _ = clip.rig.project(foot)
    why = "It is out of view, too small, or hidden by something nearer"
    if (depths <= 0).all():
        why = "It lies behind every camera"
    beside = "" if y == 0 else f" and {abs(y):g} m to the {'left' if y > 0 else 'right'}"
    return (
        f"no camera of clip '{clip.id}' sees a {sprite.name} {x:g} m ahead{beside} at {edit.at_s:g} s "
        f"(cameras: {', '.join(clip.rig.names)}). {why}; choose another moment, place, variant or kind."
    )


def horizon_rows(camera: Camera) -> Float[Array, " width"]:
    """The row at which each column's ray is level; above it lies the sky (flat world)."""
    up = camera.ego_from_camera[2, :3] @ np.linalg.inv(camera.intrinsics)  # z of the ray = up @ (u, v, 1)
    return np.asarray(-(up[0] * np.arange(camera.width_px) + up[2]) / up[1])


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


def _look(clip: Clip, c: int, layers: dict[int, Layer], now: int) -> Look:
    """One look per camera, from the frame nearest to now in which the object is drawn."""
    for t in sorted(layers, key=lambda t: abs(t - now)):
        if layers[t].coverage.sum() > 0.5:
            return look_of(clip.video[t, c], layers[t])
    return Look()


def _placement(
    frame: int, camera: Camera, layer: Layer, mask: Array, shift: int, clamped: bool, known: bool
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
        occluded_share=max(0.0, hidden) if known else None,
        clamped=clamped,
    )


def _provenance(
    clip: Clip, edit: StitchSprite, sprite: Sprite, stand: Stand, placements: Sequence[Placement]
) -> dict[str, object]:
    return {
        "sprite": sprite.name,
        "variant": edit.variant,
        "at_s": edit.at_s,
        "place_m": list(place_of_edit(edit)),
        "foot_m": stand.foot_m,
        "yaw_rad": edit.yaw_rad,
        "speed_mps": edit.speed_mps,
        "ground": stand.ground.source,
        "cameras": sorted({p.camera for p in placements if p.rectangle_px}),
        "notes": _notes(clip, edit, stand, placements),
    }


def _notes(clip: Clip, edit: StitchSprite, stand: Stand, placements: Sequence[Placement]) -> list[str]:
    notes = []
    if any(p.clamped for p in placements):
        notes.append(
            "the object is taller than the sky in some frames; there it was moved up to the picture's edge only"
        )
    taken = [] if edit.variant in ROAD_TWINS else _standing_in(clip, edit, stand)
    if taken:
        notes.append(f"the place is already taken by: {', '.join(taken)}")
    if clip.rig.nominal:
        notes.append(
            "the recording has no calibration; a usual camera is assumed, so the object's size and place are rough"
        )
    return notes


def _standing_in(clip: Clip, edit: StitchSprite, stand: Stand) -> list[str]:
    """Labelled objects whose footprint holds the object's middle or near side at the moment of the edit."""
    now = round(edit.at_s * clip.frequency_hz)
    boxes = clip.boxes[now] if clip.boxes is not None else ()
    near = np.array([*place_of_edit(edit), 0.0])
    return [f"{box.kind} {box.track}" for box in boxes if holds(box, near) or holds(box, stand.pose)]


def place_of(stitched: StitchedClip) -> tuple[float, float] | None:
    """Where the object stands in the ego frame of the edit's moment, metres; None when nothing was pasted."""
    place = stitched.provenance["place_m"]
    if stitched.provenance["variant"] == "empty" or not isinstance(place, list):
        return None
    return float(place[0]), float(place[1])
