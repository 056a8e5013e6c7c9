"""Where cars are on the road: footprints, who touches whom, and which lanes a point lies in.

Plain geometry on arrays and on the parts of a `Scene` that never move; all metres and radians in one world frame.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.scene import EGO_BODY, Body, Lane, Scene, Stage, ego_centres

DRIVING_LANE_M = 2.6  # narrower lanes are parking strips and shoulders
CROSSING_RAD = np.radians(25)  # lanes that overlap at a larger angle make a crossing
EDGE_M = 0.1  # a corner may stick out that far: lanes are polylines with a point per metre


def corners(
    centres: Float[Array, "*n 3"], length_m: float | Float[Array, "*n"], width_m: float | Float[Array, "*n"]
) -> Float[Array, "*n 4 2"]:
    """Corners of rectangles on the ground: front left, rear left, rear right, front right.

    >>> corners(np.array([0.0, 0.0, 0.0]), 4.0, 2.0).tolist()
    [[2.0, 1.0], [-2.0, 1.0], [-2.0, -1.0], [2.0, -1.0]]
    """
    yaw = centres[..., 2]
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1) * (np.asarray(length_m) / 2)[..., None]
    left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1) * (np.asarray(width_m) / 2)[..., None]
    offsets = np.stack([ahead + left, left - ahead, -ahead - left, ahead - left], axis=-2)
    return np.asarray(centres[..., None, :2] + offsets)


def rectangles_meet(a: Float[Array, "*n 4 2"], b: Float[Array, "*n 4 2"]) -> Bool[Array, "*n"]:
    """Whether rectangles given by their corners overlap or touch (separating axes); leading axes broadcast."""
    a, b = np.broadcast_arrays(a, b)
    apart = np.zeros(a.shape[:-2], bool)
    for sides in (a, b):
        for k in (1, 3):
            axis = (sides[..., k, :] - sides[..., 0, :])[..., None, :]
            on_a, on_b = (a * axis).sum(axis=-1), (b * axis).sum(axis=-1)
            apart |= (on_a.max(axis=-1) < on_b.min(axis=-1)) | (on_b.max(axis=-1) < on_a.min(axis=-1))
    return ~apart


def body_sizes(bodies: tuple[Body, ...]) -> tuple[Float[Array, " body"], Float[Array, " body"]]:
    """Lengths and widths."""
    return np.array([b.length_m for b in bodies], np.float64), np.array([b.width_m for b in bodies], np.float64)


def touching(
    scene: Scene, centres: Float[Array, "time 3"], poses: Float[Array, "time body 3"]
) -> Bool[Array, "time body"]:
    """Which bodies, at the poses given, meet the ego's footprint at its centres given; those not there never do."""
    length, width = body_sizes(scene.bodies)
    ego = corners(centres, EGO_BODY.length_m, EGO_BODY.width_m)[:, None]
    return rectangles_meet(
        ego, corners(poses, np.broadcast_to(length, poses.shape[:2]), np.broadcast_to(width, poses.shape[:2]))
    )


@dataclass(frozen=True, eq=False)
class LaneMap:
    """The lanes of a stage, asked where points are."""

    lanes: tuple[Lane, ...]

    @classmethod
    def of(cls, stage: Stage) -> "LaneMap":
        """All lanes that have a direction."""
        return cls(tuple(lane for lane in stage.lanes if len(lane.centre) > 1))

    @cached_property
    def widths_m(self) -> Float[Array, " lane"]:
        """Full widths."""
        return np.array([lane.width_m for lane in self.lanes], np.float64)

    def measure(self, points: Float[Array, "n 2"]) -> tuple[Float[Array, "n lane"], Float[Array, "n lane"]]:
        """(distance to the centre line, direction of the lane there) of every point and lane."""
        distance = np.full((len(points), len(self.lanes)), np.inf)
        heading = np.zeros((len(points), len(self.lanes)))
        for column, lane in enumerate(self.lanes):
            distance[:, column], heading[:, column] = _to_polyline(np.asarray(points, np.float64), lane.centre)
        return distance, heading


def _to_polyline(points: Array, line: Array) -> tuple[Array, Array]:
    start, along = line[:-1], np.diff(line, axis=0)
    squared = np.maximum((along**2).sum(axis=1), 1e-12)
    x, y = points[:, None, 0] - start[:, 0], points[:, None, 1] - start[:, 1]
    part = np.clip((x * along[:, 0] + y * along[:, 1]) / squared, 0.0, 1.0)
    gap = (x - part * along[:, 0]) ** 2 + (y - part * along[:, 1]) ** 2
    nearest = gap.argmin(axis=1)
    slope = along[nearest]
    return np.sqrt(gap[np.arange(len(points)), nearest]), np.arctan2(slope[:, 1], slope[:, 0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Placement:
    """Where the ego is among the lanes, frame by frame.

    Attributes:
        centres: Poses of the middle of its footprint, shape [time, 3].
        outside_m: How far its worst corner sticks out of all lanes, shape [time]; not positive on the road.
        multiple_lanes: Corners in more than one lane, and all four in none, shape [time].
        astray: Its centre lies in no lane of its direction, shape [time].
        oncoming: It is astray, and in a lane of the other direction, shape [time].
        crossing: Its rear axle is where lanes cross, shape [time].
        off_centre_m: From its rear axle to the centre line of the nearest driving lane of its direction, shape [time]; infinite
            where there is none.
    """

    centres: Float[Array, "time 3"]
    outside_m: Float[Array, " time"]
    multiple_lanes: Bool[Array, " time"]
    astray: Bool[Array, " time"]
    oncoming: Bool[Array, " time"]
    crossing: Bool[Array, " time"]
    off_centre_m: Float[Array, " time"]

    @property
    def off_road(self) -> Bool[Array, " time"]:
        """Whether a corner is outside all lanes."""
        return np.asarray(self.outside_m > EDGE_M)

    @property
    def off_lane(self) -> Bool[Array, " time"]:
        """In more than one lane, or off the road: then NAVSIM blames the ego for sideways contacts too."""
        return np.asarray(self.multiple_lanes | self.off_road)

    @classmethod
    def of(cls, poses: Float[Array, "time 3"], lanes: LaneMap) -> "Placement":
        """Of the ego with its rear axle at these poses."""
        centres = ego_centres(poses)
        time = len(poses)
        outline = corners(centres, EGO_BODY.length_m, EGO_BODY.width_m)
        points = np.concatenate([outline.reshape(-1, 2), centres[:, :2], poses[:, :2]])
        distance, heading = lanes.measure(points)
        beyond = distance - lanes.widths_m / 2
        corner = beyond[: 4 * time].reshape(time, 4, -1)
        inside = corner <= EDGE_M
        middle, axle = slice(4 * time, 5 * time), slice(5 * time, 6 * time)
        with_us = np.abs(wrap_angle(heading - poses[_owner(time), 2:])) < np.pi / 2
        driving = lanes.widths_m >= DRIVING_LANE_M
        in_lane = beyond[middle] <= 0
        astray = np.logical_not(np.any(in_lane & with_us[middle], axis=1))
        mine = with_us[axle] & driving
        return cls(
            centres=centres,
            outside_m=corner.min(axis=2, initial=np.inf).max(axis=1),
            multiple_lanes=(np.any(inside, axis=1).sum(axis=1) > 1) & ~np.any(np.all(inside, axis=1), axis=1),
            astray=astray,
            oncoming=astray & np.any(in_lane, axis=1),
            crossing=_lanes_cross(beyond[axle] < -0.3, heading[axle]),
            off_centre_m=np.where(mine, distance[axle], np.inf).min(axis=1, initial=np.inf),
        )


def _owner(time: int) -> Array:
    """Frame that each measured point belongs to: four corners each, then the centres, then the axles."""
    frames = np.arange(time)
    return np.concatenate([frames.repeat(4), frames, frames])


def _lanes_cross(inside: Bool[Array, "time lane"], heading: Float[Array, "time lane"]) -> Bool[Array, " time"]:
    """Whether a point lies well inside two lanes that are neither parallel nor opposite."""
    turn = np.abs(np.sin(heading[:, :, None] - heading[:, None, :])) > np.sin(CROSSING_RAD)
    return np.asarray((turn & inside[:, :, None] & inside[:, None, :]).any(axis=(1, 2)))
