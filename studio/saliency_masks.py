"""Where road users are in the pictures: what a heat map is held against.

Two masks per moment: all road users, and the one that matters most, which is the nearest body in the ego's own lane. Of town clips they are
the town's own instance masks, exact to the pixel; of recordings with boxes they are the boxes' outlines in the picture, from
which nothing that stands in front is cut out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from studio.eligible import FREE_M, LANE_HALF_M
from studio.moments import Moment
from studio.town_scene import town_scene
from worldmodel.clips import Box
from worldmodel.geometry import Array, Camera, Rig, relative

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

STEP_M = 0.5  # between points of the way
EDGE_POINTS = np.linspace(0.0, 1.0, 9)
NEAR_M = 0.2  # what is nearer to the camera plane has no place in the picture
HIDDEN = 0.1  # boxes of which less is in sight are left out, where that is known


@dataclass(frozen=True, eq=False, kw_only=True)
class Masks:
    """What stands where in the newest pictures.

    Attributes:
        users: All road users [camera, h, w].
        ahead: The nearest body in the ego's lane within 40 m [camera, h, w]; empty where there is none.
        track: Which body that is; '' for none.
        source: 'instances' of the town, or 'boxes'.
    """

    users: Bool[Array, "camera h w"]
    ahead: Bool[Array, "camera h w"]
    track: str
    source: str


def masks_of(moment: Moment) -> Masks | None:
    """The masks of a moment's newest pictures; None where nobody knows what stands where."""
    scene = town_scene(moment)
    if scene is not None:
        frame = round(moment.start_s * scene.frequency_hz) + moment.now
        return town_masks(scene, frame, moment.clip.rig)
    if moment.clip.boxes is None:
        return None
    driven = moment.driven()
    path = np.zeros((1, 2)) if driven is None else driven.poses[:, :2]
    return box_masks(moment.clip.boxes[moment.now], moment.clip.rig, lane_from(path))


def town_masks(scene: "Scene", frame: int, rig: Rig, instance: Int[Array, "camera h w"] | None = None) -> Masks:
    """The masks of one frame of a scene.

    Args:
        instance: What each pixel shows, as `render.Rendering` has it; rendered here if it is not at hand.
    """
    from worldmodel.town.scene import THINGS

    if instance is None:
        from worldmodel.town.render import render

        instance = render(scene, rig, [frame], supersample=1).instance[0]
    users = [b for b, body in enumerate(scene.bodies) if body.kind not in THINGS]
    track = nearest_on(scene.boxes(frame), way_of(scene, frame))
    ahead = [b for b, body in enumerate(scene.bodies) if body.track == track]
    return Masks(users=np.isin(instance, users), ahead=np.isin(instance, ahead), track=track, source="instances")


def way_of(scene: "Scene", frame: int) -> Float[Array, "n 2"]:
    """The ego's route from here on, at most FREE_M of it, in the ego frame, STEP_M apart."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(scene.route, axis=0), axis=1))])
    start = float(scene.route_s[frame])
    wanted = np.arange(start, min(start + FREE_M, float(lengths[-1])) + 1e-9, STEP_M)
    world = np.column_stack([np.interp(wanted, lengths, scene.route[:, axis]) for axis in (0, 1)])
    return np.asarray(relative(scene.ego_poses[frame], np.column_stack([world, np.zeros(len(world))]))[:, :2])


def lane_from(path: Float[Array, "n 2"]) -> Float[Array, "m 2"]:
    """A way of FREE_M along a path that was driven, straight on beyond its end; straight ahead where it is a point."""
    points = np.concatenate([np.zeros((1, 2)), path])
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1) > 0.05
    points = points[np.concatenate([[True], moved])]
    heading = points[-1] - points[-2] if len(points) > 1 else np.array([1.0, 0.0])
    points = np.concatenate([points, points[-1:] + FREE_M * heading / np.linalg.norm(heading)])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.arange(0.0, FREE_M + 1e-9, STEP_M)
    return np.column_stack([np.interp(wanted, lengths, points[:, axis]) for axis in (0, 1)])


def nearest_on(boxes: Sequence[Box], way: Float[Array, "n 2"]) -> str:
    """Track of the first box along a way whose footprint comes within half a lane of it; '' for none."""
    first: tuple[int, str] | None = None
    for box in boxes:
        pose = np.array([*box.center[:2], box.yaw_rad])
        beside = relative(pose, np.column_stack([way, np.zeros(len(way))]))[:, :2]
        outside = np.maximum(np.abs(beside) - box.size[:2] / 2, 0.0)
        near = np.flatnonzero(np.hypot(*outside.T) < LANE_HALF_M)
        if len(near) and (first is None or near[0] < first[0]):
            first = (int(near[0]), box.track)
    return "" if first is None else first[1]


def box_masks(boxes: Sequence[Box], rig: Rig, way: Float[Array, "n 2"]) -> Masks:
    """The masks of boxes in the ego frame of the pictures."""
    from worldmodel.town.scene import THINGS

    shown = [box for box in boxes if box.visibility is None or box.visibility >= HIDDEN]
    track = nearest_on(shown, way)

    def drawn(chosen: Sequence[Box]) -> Array:
        empty = np.zeros((rig.height_px, rig.width_px), bool)
        outlines = [[outline(box, camera) for box in chosen] for camera in rig.cameras]
        return np.stack([np.any([empty, *one], axis=0) for one in outlines])

    users = drawn([box for box in shown if box.kind not in THINGS])
    return Masks(users=users, ahead=drawn([box for box in shown if box.track == track]), track=track, source="boxes")


def outline(box: Box, camera: Camera) -> Bool[Array, "h w"]:
    """The pixels that a box covers in a camera: the convex hull of that part of it that is in front of the camera."""
    from PIL import Image, ImageDraw

    pixels, depth, _ = camera.project(_edges(box))
    image = Image.new("1", (camera.width_px, camera.height_px))
    corners = _hull(pixels[depth > NEAR_M])
    if len(corners):
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners.round().tolist()], fill=1, outline=1)
    return np.asarray(image, bool)


def _edges(box: Box) -> Float[Array, "n 3"]:
    """Points on the twelve edges of a box."""
    corners = box.corners()
    pairs = [(i, (i + 1) % 4) for i in range(4)]
    pairs += [(i + 4, j + 4) for i, j in pairs] + [(i, i + 4) for i in range(4)]
    ends = np.array([(corners[i], corners[j]) for i, j in pairs])
    return np.asarray((ends[:, :1] + EDGE_POINTS[None, :, None] * (ends[:, 1:] - ends[:, :1])).reshape(-1, 3))


def _hull(points: Float[Array, "n 2"]) -> Float[Array, "m 2"]:
    """Corners of the convex hull, in order (monotone chain); none for fewer than three points."""
    if len(points) < 3:
        return np.zeros((0, 2))
    ordered = points[np.lexsort(points.T[::-1])]
    sides = []
    for some in (ordered, ordered[::-1]):
        chain: list[Array] = []
        for point in some:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        sides += chain[:-1]
    return np.array(sides)


def _turn(a: Array, b: Array, c: Array) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
