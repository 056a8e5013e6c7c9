"""Who is around the ego at a moment, where, and whether the driver can see them: what every text about a scene starts from."""

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from math import cos, sin

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.geometry import Array, relative, wrap_angle
from worldmodel.town.expert import EGO_BODY
from worldmodel.town.scene import HAZARD, Scene
from worldmodel.town.situations import REAR_AXLE_M
from worldmodel.town.turns import Branch, arc_lengths, branches, headings

SIGHT_M = {"clear": 60.0, "overcast": 60.0, "wet": 60.0, "rain": 45.0, "snow": 40.0, "fog": 30.0}
NIGHT_SIGHT_M = 40.0
EYE_M = 1.5
NEVER_MOVES = ("cone", "barrier", "box")
VEHICLES = ("car", "van", "truck", "bus", "cyclist")
STILL_MPS = 0.3
NOSE_M = EGO_BODY.length_m / 2


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Somebody or something near the ego at one frame.

    Attributes:
        index: Of the body in the scene.
        kind: As `Body.kind`.
        x_m, y_m: Its centre from the ego's centre, forward and left.
        gap_m: From outline to outline, in a straight line.
        along_m: From bumper to bumper along the route; negative behind, 0 beside.
        side_m: Its centre to the left of the middle of the ego's lane.
        heading_rad: Against the route's direction at that place.
        parked: It is a vehicle that stands for the whole scene, out of the traffic or with its hazard lights on.
        share: Of its outline that no house and no other body hides from the driver; 0 to 1.
        sight_m: How far the driver sees at all.
    """

    index: int
    track: str
    kind: str
    x_m: float
    y_m: float
    gap_m: float
    along_m: float
    side_m: float
    heading_rad: float
    speed_mps: float
    braking: bool
    indicator: int
    parked: bool
    share: float
    sight_m: float

    @property
    def seen(self) -> bool:
        """Whether the driver can see it."""
        return self.gap_m <= self.sight_m and self.share >= 0.25

    @property
    def clear(self) -> bool:
        """Whether nobody would doubt that it can be seen."""
        return self.gap_m <= 0.85 * self.sight_m and self.share >= 0.5

    @property
    def hidden(self) -> bool:
        """Whether nobody would say that it can be seen."""
        return self.gap_m > 1.25 * self.sight_m or self.share < 0.05

    @property
    def bearing_rad(self) -> float:
        """From the ego's centre, to the left."""
        return float(np.arctan2(self.y_m, self.x_m))

    @property
    def moves(self) -> bool:
        """Whether it moves at all."""
        return self.speed_mps > STILL_MPS

    @property
    def oncoming(self) -> bool:
        """Whether it points against the traffic of the ego's lane."""
        return cos(self.heading_rad) < -0.5


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The scene around the ego, frame by frame.

    Attributes:
        visible: Tracks that can be seen, from a renderer; None to go by lines of sight.
    """

    scene: Scene
    visible: Set[str] | None = None

    @cached_property
    def sight_m(self) -> float:
        """How far the driver sees others in this weather and light."""
        light = self.scene.light
        far = SIGHT_M.get(light.weather, 60.0)
        return min(far, NIGHT_SIGHT_M) if light.sun_elevation_rad < 0 else far

    @cached_property
    def route(self) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """Metres along the route and its heading, at each of its points."""
        return arc_lengths(self.scene.route), headings(self.scene.route)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """Where more than one way leads on along the route."""
        return branches(self.scene.stage.lanes, self.scene.route)

    @cached_property
    def lane_width_m(self) -> float:
        """Of the driving lanes (parking strips and shoulders are narrower)."""
        return max((lane.width_m for lane in self.scene.stage.lanes), default=4.0)

    @cached_property
    def parked(self) -> Bool[Array, " body"]:
        """Which bodies are vehicles that are parked or broken down: they never move and stand beside the lanes or blink."""
        scene = self.scene
        still = ~((scene.body_speeds_mps > 0.05) & scene.body_present).any(axis=0)
        lanes = [lane.centre for lane in scene.stage.lanes if lane.width_m > 3.0]
        centres = np.concatenate(lanes) if lanes else np.zeros((1, 2))
        result = np.zeros(len(scene.bodies), bool)
        for b in np.flatnonzero(still):
            if scene.bodies[b].kind in VEHICLES:
                off = np.hypot(*(centres - scene.body_poses[0, b, :2]).T).min()
                result[b] = off > 1.0 or bool((scene.body_indicators[:, b] == HAZARD).all())
        return result

    def on_route(self, point: Float[Array, " 2"], near_s: float, reach_m: float = 80.0) -> tuple[float, float, float]:
        """(metres along, metres to the left, heading there) of a world point, looking around a place on the route."""
        along, heading = self.route
        window = np.flatnonzero(np.abs(along - near_s) <= reach_m)
        if not len(window):
            window = np.arange(len(along))
        offset = point - self.scene.route[window]
        i = int((offset**2).sum(axis=1).argmin())
        dx, dy = offset[i]
        h = float(heading[window[i]])
        return float(along[window[i]] + cos(h) * dx + sin(h) * dy), float(-sin(h) * dx + cos(h) * dy), h

    def ego_place(self, frame: int) -> tuple[float, float]:
        """(metres along the route, metres to its left) of the ego's centre."""
        s, d, _ = self.on_route(self.ego_centre(frame)[:2], float(self.scene.route_s[frame]), 25.0)
        return s, d

    def ego_centre(self, frame: int) -> Float[Array, " 3"]:
        """World pose of the middle of the ego's outline."""
        x, y, yaw = self.scene.ego_poses[frame]
        return np.array([x + REAR_AXLE_M * cos(yaw), y + REAR_AXLE_M * sin(yaw), yaw])

    def lane_offset_m(self, frame: int) -> float:
        """How far to the left of the middle of its lane the ego drives."""
        _, d = self.ego_place(frame)
        return d - self._lane_middle(d)

    def _lane_middle(self, d: float) -> float:
        return self.lane_width_m * round(d / self.lane_width_m)

    def around(self, frame: int, reach_m: float = 80.0) -> tuple[Neighbour, ...]:
        """Everybody present within a distance, nearest first."""
        scene, centre = self.scene, self.ego_centre(frame)
        near = np.hypot(*(scene.body_poses[frame, :, :2] - centre[:2]).T) < reach_m
        indices = np.flatnonzero(near & scene.body_present[frame])
        found = [self._neighbour(frame, int(b), centre) for b in indices]
        return tuple(sorted(found, key=lambda one: one.gap_m))

    def seen(self, frame: int) -> tuple[Neighbour, ...]:
        """Those of them that the driver can see, nearest first."""
        return tuple(one for one in self.around(frame) if one.seen)

    def _neighbour(self, frame: int, b: int, centre: Float[Array, " 3"]) -> Neighbour:
        scene, body, pose = self.scene, self.scene.bodies[b], self.scene.body_poses[frame, b]
        x, y, _ = relative(centre, pose)
        mine, my_d = self.ego_place(frame)
        s, d, heading = self.on_route(pose[:2], mine)
        turned = float(wrap_angle(pose[2] - heading))
        deep = abs(cos(turned)) * body.length_m / 2 + abs(sin(turned)) * body.width_m / 2
        apart = s - mine
        gap = outline_gap_m(centre, outline(pose, body.length_m, body.width_m))
        return Neighbour(
            index=b,
            track=body.track,
            kind=body.kind,
            x_m=float(x),
            y_m=float(y),
            gap_m=gap,
            along_m=float(np.sign(apart)) * max(abs(apart) - deep - NOSE_M, 0.0),
            side_m=d - self._lane_middle(my_d),
            heading_rad=turned,
            speed_mps=float(scene.body_speeds_mps[frame, b]),
            braking=bool(scene.body_braking[frame, b]),
            indicator=int(scene.body_indicators[frame, b]),
            parked=bool(self.parked[b]),
            share=self._share(frame, b, centre),
            sight_m=self.sight_m,
        )

    def _share(self, frame: int, b: int, centre: Float[Array, " 3"]) -> float:
        body = self.scene.bodies[b]
        if self.visible is not None:
            return float(body.track in self.visible)
        points = outline(self.scene.body_poses[frame, b], 0.9 * body.length_m, 0.9 * body.width_m)
        return 1.0 - float(self._hidden(frame, b, centre[:2], points).mean())

    def _hidden(self, frame: int, b: int, eye: Float[Array, " 2"], points: Float[Array, "n 2"]) -> Bool[Array, " n"]:
        """Which points of a body are behind houses or behind others that are about as tall."""
        scene = self.scene
        boxes = [(h.x_m, h.y_m, h.yaw_rad, h.length_m, h.width_m) for h in scene.stage.buildings]
        for other in np.flatnonzero(scene.body_present[frame]):
            one = scene.bodies[other]
            if other != b and one.height_m > min(scene.bodies[b].height_m, EYE_M) - 0.1 and one.width_m > 1.0:
                boxes.append((*scene.body_poses[frame, other], one.length_m, one.width_m))
        if not boxes:
            return np.zeros(len(points), bool)
        return np.asarray(crosses(eye, points, np.array(boxes)).any(axis=1))


def outline(pose: Float[Array, " 3"], length_m: float, width_m: float) -> Float[Array, "8 2"]:
    """Corners and middles of the sides of a rectangle on the ground."""
    u = np.array([1, 1, 1, 0, -1, -1, -1, 0]) * length_m / 2
    v = np.array([-1, 0, 1, 1, 1, 0, -1, -1]) * width_m / 2
    c, s = cos(pose[2]), sin(pose[2])
    return np.stack([pose[0] + c * u - s * v, pose[1] + s * u + c * v], axis=-1)


def outline_gap_m(centre: Float[Array, " 3"], points: Float[Array, "n 2"]) -> float:
    """Metres from the ego's outline (its middle at `centre`) to the nearest of some world points."""
    dx, dy = (points - centre[:2]).T
    c, s = cos(centre[2]), sin(centre[2])
    along = np.maximum(np.abs(c * dx + s * dy) - NOSE_M, 0.0)
    across = np.maximum(np.abs(-s * dx + c * dy) - EGO_BODY.width_m / 2, 0.0)
    return float(np.hypot(along, across).min())


def crosses(eye: Float[Array, " 2"], points: Float[Array, "n 2"], boxes: Float[Array, "m 5"]) -> Bool[Array, "n m"]:
    """Whether the straight line from an eye to each point passes through each rectangle (x, y, yaw, length, width)."""
    c, s = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])

    def local(places: Float[Array, "k 2"]) -> Float[Array, "k m 2"]:
        dx, dy = places[:, None, 0] - boxes[:, 0], places[:, None, 1] - boxes[:, 1]
        return np.stack([c * dx + s * dy, -s * dx + c * dy], axis=-1)

    start, end, half = local(eye[None]), local(points), boxes[:, 3:5] / 2
    step = end - start
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    first, second = (-half - start) / step, (half - start) / step
    enter = np.minimum(first, second).max(axis=-1)
    leave = np.maximum(first, second).min(axis=-1)
    return np.asarray((enter < leave) & (leave > 0.0) & (enter < 1.0))
