"""What stands between a camera and a stitched object: depth where it is known, else labelled boxes, else nobody knows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.clips import Box, Clip
from worldmodel.errors import BadEdit
from worldmodel.geometry import Array, Camera, relative

BEHIND_M = 12.0  # shadows of the longest objects end this far behind their near side
DEPTH_SLACK_M = 0.15  # what is this little nearer than the object does not hide it


@dataclass(frozen=True, eq=False, kw_only=True)
class Occluders:
    """What may hide an object in one frame of one camera.

    Attributes:
        boxes: Labelled objects that the object does not stand in.
        depth_m: Depth along the optical axis of everything but the ground at pixel centres, infinite where there is
            nothing else; None where it is unknown.
    """

    boxes: tuple[Box, ...] = ()
    depth_m: Float[Array, "h w"] | None = None

    def nearest(
        self, camera: Camera, window: tuple[int, int, int, int], rays: Array, place: Array
    ) -> Float[Array, "rows columns"]:
        """Distance along each of a window's rays to the first thing that can hide an object at `place` (x, y)."""
        origin = camera.ego_from_camera[:3, 3]
        if self.depth_m is None:
            return _first_box(origin, rays, _before(self.boxes, origin, place))
        left, top, right, bottom = window
        seen = self.depth_m[top:bottom, left:right]
        fine = rays.shape[0] // seen.shape[0]
        seen = np.repeat(np.repeat(seen, fine, axis=0), fine, axis=1)
        return np.asarray(DEPTH_SLACK_M + seen / (rays @ camera.ego_from_camera[:3, 2]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Scenery:
    """What may hide an object in any frame of a clip.

    Attributes:
        clip: With boxes, or without where nobody labelled it.
        depth_m: As of `Occluders`, shape [time, camera, height, width]; None where it is unknown.
    """

    clip: Clip
    depth_m: Float[Array, "time camera h w"] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.clip), len(self.clip.rig), *self.clip.video.shape[3:])
        if self.depth_m is not None and self.depth_m.shape != shape:
            raise BadEdit(
                f"the depth of clip '{self.clip.id}' has shape {self.depth_m.shape}; its pictures need {shape}."
            )

    @property
    def known(self) -> str:
        """From what occlusion is known: 'known from depth', 'known from boxes' or 'unknown'."""
        if self.depth_m is not None:
            return "known from depth"
        return "unknown" if self.clip.boxes is None else "known from boxes"

    def of(self, frame: int, camera: int, place: Array) -> Occluders:
        """For one picture and an object at `place` (planar pose of its middle in the frame's ego frame)."""
        if self.depth_m is not None:
            return Occluders(depth_m=self.depth_m[frame, camera])
        boxes = () if self.clip.boxes is None else self.clip.boxes[frame]
        return Occluders(boxes=tuple(box for box in boxes if not holds(box, place)))


def holds(box: Box, place: Array) -> bool:
    """Whether the footprint of a box holds the middle of a planar pose."""
    inside = relative(np.array([*box.center[:2], box.yaw_rad]), place)
    return bool((np.abs(inside[:2]) <= box.size[:2] / 2).all())


def _before(boxes: Sequence[Box], origin: Array, place: Array) -> list[Box]:
    """The boxes that reach between camera and object; the others cannot hide it."""
    sight = place[:2] - origin[:2]
    distance = float(np.hypot(*sight))
    found = []
    for box in boxes:
        offset, reach = box.center[:2] - origin[:2], float(np.hypot(*box.size[:2])) / 2
        if np.hypot(*offset) - reach < distance + BEHIND_M and offset @ sight / distance > -reach:
            found.append(box)
    return found


def _first_box(origin: Array, rays: Array, boxes: Sequence[Box]) -> Float[Array, "rows columns"]:
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
