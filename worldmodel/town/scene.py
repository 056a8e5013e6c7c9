"""A town scene: the simulator's state over time, complete enough to be rendered, described and judged.

World frame: x east, y north, z up, metres; yaw counter-clockwise. (highway-env mirrors y; `traffic.py` converts.)
A scene is a pure function of (situation, seed, edits).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.clips import Box, Instruction
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Camera, Rig, Trajectory, look_along, relative

KINDS = ("car", "van", "truck", "bus", "pedestrian", "cyclist", "cone", "box")


@dataclass(frozen=True, eq=False, kw_only=True)
class Lane:
    """One lane as a polyline.

    Attributes:
        centre: Shape [n, 2], metres, about 1 m apart, in driving direction.
        width_m: Full width.
        left_line, right_line: 'none', 'striped', 'solid' or 'edge' (kerb side), seen in driving direction.
    """

    centre: Float[Array, "n 2"]
    width_m: float
    left_line: str
    right_line: str


@dataclass(frozen=True, kw_only=True)
class Building:
    """A house: a box on the ground with a procedural facade chosen by `style` (an integer)."""

    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float
    height_m: float
    style: int


@dataclass(frozen=True, kw_only=True)
class Prop:
    """Something that stands beside the road: 'tree', 'lamp', 'pole' or 'sign'."""

    kind: str
    x_m: float
    y_m: float
    height_m: float
    radius_m: float
    style: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """Everything that never moves: lanes, houses, props."""

    lanes: tuple[Lane, ...]
    buildings: tuple[Building, ...]
    props: tuple[Prop, ...]


@dataclass(frozen=True, kw_only=True)
class Light:
    """Sun and sky. Azimuth counter-clockwise from east; elevation above the horizon; both radians."""

    sun_azimuth_rad: float
    sun_elevation_rad: float
    weather: str = "clear"  # 'clear', 'overcast' or 'fog'
    hour: float = 12.0


@dataclass(frozen=True, kw_only=True)
class Body:
    """A road user or obstacle other than the ego: what it looks like."""

    track: str
    kind: str
    length_m: float
    width_m: float
    height_m: float
    color_rgb: tuple[float, float, float]  # in [0, 1]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """One scene over `time` frames.

    Attributes:
        id: '<situation>-<seed>' (with a suffix for edits).
        ego_poses: World poses of the ego's rear-axle point, shape [time, 3].
        ego_speeds_mps: Shape [time].
        bodies: What each body looks like; row b of the arrays below belongs to body b.
        body_poses: World poses of the body centres (on the ground), shape [time, body, 3].
        body_present: Whether the body is there, shape [time, body].
        body_speeds_mps: Shape [time, body].
        body_braking: Brake lights, shape [time, body].
        instructions: What the driver was told.
    """

    id: str
    situation: str
    seed: int
    frequency_hz: float
    stage: Stage
    light: Light
    ego_poses: Float[Array, "time 3"]
    ego_speeds_mps: Float[Array, " time"]
    bodies: tuple[Body, ...]
    body_poses: Float[Array, "time body 3"]
    body_present: Bool[Array, "time body"]
    body_speeds_mps: Float[Array, "time body"]
    body_braking: Bool[Array, "time body"]
    instructions: tuple[Instruction, ...] = ()

    def __post_init__(self) -> None:
        time, count = len(self.ego_poses), len(self.bodies)
        shapes = {
            "ego_poses": (time, 3),
            "ego_speeds_mps": (time,),
            "body_poses": (time, count, 3),
            "body_present": (time, count),
            "body_speeds_mps": (time, count),
            "body_braking": (time, count),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"Scene.{name} has shape {getattr(self, name).shape}, expected {shape}")

    def __len__(self) -> int:
        return len(self.ego_poses)

    def trajectory(self) -> Trajectory:
        """The ego's poses in the frame of its first pose."""
        times = np.arange(len(self)) / self.frequency_hz
        return Trajectory(poses=self.ego_poses, times_s=times).seen_from(self.ego_poses[0])

    def boxes(self, frame: int) -> tuple[Box, ...]:
        """All present bodies as boxes in the ego frame of `frame`."""
        ego = self.ego_poses[frame]
        found = []
        for b in np.flatnonzero(self.body_present[frame]):
            body, pose = self.bodies[b], self.body_poses[frame, b]
            x, y, yaw = relative(ego, pose)
            speed = self.body_speeds_mps[frame, b]
            found.append(
                Box(
                    track=body.track,
                    kind=body.kind,
                    center=np.array([x, y, body.height_m / 2]),
                    size=np.array([body.length_m, body.width_m, body.height_m]),
                    yaw_rad=float(yaw),
                    velocity_mps=speed * np.array([np.cos(yaw), np.sin(yaw)]),
                )
            )
        return tuple(found)


CAMERA_YAWS_DEG = {
    1: {"front": 0},
    3: {"front_left": 55, "front": 0, "front_right": -55},
    6: {"front_left": 55, "front": 0, "front_right": -55, "back_left": 110, "back": 180, "back_right": -110},
}


def town_rig(cameras: int = 3, width_px: int = 128, height_px: int = 64, fov_deg: float = 65.0) -> Rig:
    """The town's own rigs with 1, 3 or 6 cameras, 1.5 m above the ground, horizon at 40 % of the height.

    Raises:
        BadRequest: for another number of cameras.
    """
    if cameras not in CAMERA_YAWS_DEG:
        raise BadRequest(f"the town has rigs with 1, 3 or 6 cameras; {cameras} were asked for.")
    focal = width_px / 2 / np.tan(np.radians(fov_deg) / 2)
    intrinsics = np.array([[focal, 0, (width_px - 1) / 2], [0, focal, 0.4 * height_px - 0.5], [0, 0, 1]])
    return Rig(
        cameras=tuple(
            Camera(
                name=name,
                intrinsics=intrinsics,
                ego_from_camera=look_along(
                    np.radians(yaw), np.array([1.4 + 0.4 * np.cos(np.radians(yaw)), 0.4 * np.sin(np.radians(yaw)), 1.5])
                ),
                width_px=width_px,
                height_px=height_px,
            )
            for name, yaw in CAMERA_YAWS_DEG[cameras].items()
        )
    )
