"""A town scene: the simulator's state over time, complete enough to be rendered, described and judged.

World frame: x east, y north, z up, metres; yaw counter-clockwise. (highway-env mirrors y; `traffic.py` converts.)
A scene is a pure function of (situation, seed, edits).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int8

from worldmodel.clips import Box, Instruction
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Camera, Rig, Trajectory, look_along, relative

KINDS = ("car", "van", "truck", "bus", "pedestrian", "cyclist", "cone", "barrier", "box")
THINGS = ("cone", "barrier", "box")  # kinds of body that are no road users
WEATHERS = ("clear", "overcast", "fog", "rain", "wet", "snow")  # 'wet' is the hour after the rain
RED, AMBER, GREEN = 0, 1, 2  # states of a traffic light
SIGNAL_NAMES = ("red", "amber", "green")
RIGHT, OFF, LEFT, HAZARD = -1, 0, 1, 2  # states of a pair of indicators
CAUSES = ("free", "curve", "leader", "walker", "crossing", "signal", "obstacle", "oncoming", "halt")


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
    """Something that stands beside the road: 'tree', 'bush', 'lamp', 'pole', 'sign', ... (`scenery.PROPS` has them all).

    Attributes:
        yaw_rad: Where its front points; for a sign, towards those who are to read it.
        style: An integer that chooses among looks; for a sign, its place in `signs.SIGNS`.
    """

    kind: str
    x_m: float
    y_m: float
    height_m: float
    radius_m: float
    style: int
    yaw_rad: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Crosswalk:
    """A zebra crossing: a rectangle of stripes on the road.

    Attributes:
        x_m, y_m: Its middle.
        yaw_rad: Direction of the traffic that it crosses; the stripes run along it.
        length_m: Along the traffic.
        width_m: Across the road, from kerb to kerb.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float


@dataclass(frozen=True, kw_only=True)
class StopLine:
    """A line across one lane at which traffic waits: `x_m`, `y_m` its middle, `yaw_rad` the driving direction.

    Attributes:
        kind: 'solid' (stop, signal) or 'teeth' (give way).
        rule: Why one waits there: 'signal', 'stop', 'yield' or 'crosswalk'; '' unknown.
        number: Of the signal or crosswalk on the stage; -1 for the others.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    width_m: float
    kind: str = "solid"
    rule: str = ""
    number: int = -1


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A traffic light on a pole beside the road.

    Attributes:
        x_m, y_m: The foot of its pole.
        yaw_rad: Driving direction of the traffic that it is for; its lamps face the other way.
        height_m: Of the pole; the head hangs at its top.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    height_m: float = 3.4


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """Everything that never moves."""

    lanes: tuple[Lane, ...]
    buildings: tuple[Building, ...]
    props: tuple[Prop, ...]
    crosswalks: tuple[Crosswalk, ...] = ()
    stop_lines: tuple[StopLine, ...] = ()
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Light:
    """Sun and sky. Azimuth counter-clockwise from east; elevation above the horizon; both radians."""

    sun_azimuth_rad: float
    sun_elevation_rad: float
    weather: str = "clear"  # one of WEATHERS
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


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What held the ego back most at a moment.

    Attributes:
        kind: One of CAUSES: 'free' (nothing), 'curve' (of its own route), 'leader' (somebody ahead in its lane), 'walker'
            (somebody on foot who is in the way or steps into it), 'crossing' (somebody who goes first where paths
            meet), 'signal', 'obstacle' (something that stands in the lane), 'oncoming' (somebody who comes the other way
            past an obstacle, or in its lane), 'halt' (it was told to stand).
        track: Of the body it is about; 'signal-<index>' for a signal; '' where nobody is.
    """

    kind: str = "free"
    track: str = ""


REAR_AXLE_M = 1.4  # of the ego, behind its centre
EGO_BODY = Body(track="ego", kind="car", length_m=4.6, width_m=1.9, height_m=1.5, color_rgb=(0.8, 0.8, 0.82))


def ego_centres(poses: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    """Poses of the middle of the ego's footprint from those of its rear axle."""
    ahead = REAR_AXLE_M * np.stack([np.cos(poses[..., 2]), np.sin(poses[..., 2])], axis=-1)
    return np.concatenate([poses[..., :2] + ahead, poses[..., 2:]], axis=-1)


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
        body_indicators: RIGHT, OFF, LEFT or HAZARD, shape [time, body]; whether the lamp shines at this moment of its
            blinking is the renderer's business.
        signal_states: RED, AMBER or GREEN of each of the stage's signals, shape [time, signal].
        route: Where the ego is to drive, in the world, points about 1 m apart, shape [n, 2].
        route_s: How far along `route` the ego is, metres, shape [time].
        wish_mps: The speed that the ego would drive on a free straight road.
        ego_braking, ego_indicators: As of the bodies, shape [time].
        ego_causes: What held the ego back, one per frame.
        instructions: What the driver was told.
        to_be_followed: False where the instruction is misleading (asks for a turn that does not exist): the driver goes on.
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
    body_indicators: Int8[Array, "time body"]
    signal_states: Int8[Array, "time signal"]
    route: Float[Array, "n 2"]
    route_s: Float[Array, " time"]
    wish_mps: float
    ego_braking: Bool[Array, " time"]
    ego_indicators: Int8[Array, " time"]
    ego_causes: tuple[Cause, ...]
    instructions: tuple[Instruction, ...] = ()
    to_be_followed: bool = True

    def __post_init__(self) -> None:
        time, count = len(self.ego_poses), len(self.bodies)
        if len(self.ego_causes) != time:
            raise ValueError(f"Scene.ego_causes has {len(self.ego_causes)} entries, expected {time}")
        shapes = {
            "ego_poses": (time, 3),
            "ego_speeds_mps": (time,),
            "body_poses": (time, count, 3),
            "body_present": (time, count),
            "body_speeds_mps": (time, count),
            "body_braking": (time, count),
            "body_indicators": (time, count),
            "signal_states": (time, len(self.stage.signals)),
            "route_s": (time,),
            "ego_braking": (time,),
            "ego_indicators": (time,),
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


def from_frame(scene: Scene, first: int) -> Scene:
    """A scene without the frames before `first`, its clock set to 0 there."""
    offset = first / scene.frequency_hz
    told = [
        Instruction(text=one.text, start_s=max(one.start_s - offset, 0.0), end_s=one.end_s - offset)
        for one in scene.instructions
        if one.end_s > offset
    ]
    arrays: dict[str, Any] = {
        name: getattr(scene, name)[first:]
        for name in (
            "ego_poses", "ego_speeds_mps", "body_poses", "body_present", "body_speeds_mps", "body_braking",
            "body_indicators", "signal_states", "route_s", "ego_braking", "ego_indicators", "ego_causes",
        )
    }  # fmt: skip
    return replace(scene, instructions=tuple(told), **arrays)


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
