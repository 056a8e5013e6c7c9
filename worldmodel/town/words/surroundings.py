"""Who is around the ego at a moment, where, and whether the driver can see them: what every text about a scene starts from."""

from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property
from math import cos, sin

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.geometry import Array, relative, wrap_angle
from worldmodel.town.roads.turns import Branch, arc_lengths, branches, headings
from worldmodel.town.scene import EGO_BODY, HAZARD, REAR_AXLE_M, Scene
from worldmodel.town.situations import SITUATIONS
from worldmodel.town.words.neighbours import VEHICLES, Neighbour
from worldmodel.town.words.sightlines import crosses, gap_m, outline

SIGHT_M = {"clear": 60.0, "overcast": 60.0, "wet": 60.0, "rain": 45.0, "snow": 40.0, "fog": 30.0}
NIGHT_SIGHT_M = 40.0
EYE_M = 1.5
NEAR_M = 100.0  # nobody further away is told of
NARROW_M = 3.0  # parking strips and shoulders are narrower than lanes to drive on
NOSE_M = EGO_BODY.length_m / 2


@dataclass(frozen=True, kw_only=True)
class LanePlace:
    """Where the ego is on its lane: metres to the left of the lane's middle, the lane's heading there, its width."""

    offset_m: float
    heading_rad: float
    width_m: float


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The scene around the ego, frame by frame.

    Attributes:
        visible: Tracks that can be seen, from a renderer; None to go by lines of sight.
    """

    scene: Scene
    visible: Set[str] | None = None
    _found: dict[int, tuple[Neighbour, ...]] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def road(self) -> str:
        """The kind of road, as `Situation.road`; '' where the situation is not one of the town's."""
        config = SITUATIONS.get(self.scene.situation)
        return "" if config is None else config.road

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
    def _lanes(self) -> Float[Array, "n 4"]:
        """x, y, heading and width at the points of all lanes to drive on."""
        rows = [
            np.column_stack([lane.centre, headings(lane.centre), np.full(len(lane.centre), lane.width_m)])
            for lane in self.scene.stage.lanes
            if lane.width_m > NARROW_M
        ]
        return np.concatenate(rows) if rows else np.zeros((0, 4))

    @cached_property
    def parked(self) -> Bool[Array, " body"]:
        """Which bodies are vehicles that are parked or broken down: they never move and stand beside the lanes or blink."""
        scene = self.scene
        still = ~((scene.body_speeds_mps > 0.05) & scene.body_present).any(axis=0)
        centres = self._lanes[:, :2] if len(self._lanes) else np.zeros((1, 2))
        result = np.zeros(len(scene.bodies), bool)
        for b in np.flatnonzero(still):
            if scene.bodies[b].kind in VEHICLES:
                off = np.hypot(*(centres - scene.body_poses[0, b, :2]).T).min()
                result[b] = off > 1.0 or bool((scene.body_indicators[:, b] == HAZARD).all())
        return result

    @cached_property
    def works(self) -> frozenset[str]:
        """Tracks of the cones and barriers that make up road works; empty where there are only a few."""
        tracks = [body.track for body in self.scene.bodies if body.kind in ("cone", "barrier")]
        return frozenset(tracks) if len(tracks) >= 3 else frozenset()

    # -- the ego --------------------------------------------------------------------------------------------------

    def ego_centre(self, frame: int) -> Float[Array, " 3"]:
        """World pose of the middle of the ego's outline."""
        x, y, yaw = self.scene.ego_poses[frame]
        return np.array([x + REAR_AXLE_M * cos(yaw), y + REAR_AXLE_M * sin(yaw), yaw])

    def ego_place(self, frame: int) -> tuple[float, float]:
        """(metres along the route, metres to its left) of the ego's centre."""
        s, d, _ = self.on_route(self.ego_centre(frame)[:2], float(self.scene.route_s[frame]), 25.0)
        return s, d

    def lane_place(self, frame: int) -> LanePlace:
        """Where the ego's centre is on the lane that it drives on; on the route where no lane runs its way."""
        centre = self.ego_centre(frame)
        lane = self._lane_at(centre, 6.0)
        if lane is None:
            _, d, heading = self.on_route(centre[:2], float(self.scene.route_s[frame]), 25.0)
            return LanePlace(offset_m=d, heading_rad=heading, width_m=4.0)
        x, y, heading, width = lane
        offset = -sin(heading) * (centre[0] - x) + cos(heading) * (centre[1] - y)
        return LanePlace(offset_m=float(offset), heading_rad=float(heading), width_m=float(width))

    def sideways_mps(self, frame: int) -> float:
        """How fast the ego moves to the left against its lane; 0 where no lane runs its way."""
        rear = self.scene.ego_poses[frame]
        lane = self._lane_at(rear, 6.0)
        turned = 0.0 if lane is None else float(wrap_angle(rear[2] - lane[2]))
        return float(self.scene.ego_speeds_mps[frame]) * sin(turned)

    def lane_beside(self, frame: int, side: str) -> bool:
        """Whether a lane in the ego's direction lies to the 'left' or 'right' of the ego's."""
        place, centre = self.lane_place(frame), self.ego_centre(frame)
        step = (place.width_m if side == "left" else -place.width_m) - place.offset_m
        h = place.heading_rad
        point = np.array([centre[0] - step * sin(h), centre[1] + step * cos(h), h])
        return self._lane_at(point, 1.2) is not None

    def lanes_our_way(self, frame: int) -> int:
        """How many lanes to drive on run the ego's way side by side, with its own."""
        place, centre = self.lane_place(frame), self.ego_centre(frame)
        count = 1
        for sign in (-1, 1):
            for number in range(1, 5):
                step, h = sign * number * place.width_m - place.offset_m, place.heading_rad
                point = np.array([centre[0] - step * sin(h), centre[1] + step * cos(h), h])
                if self._lane_at(point, 1.2) is None:
                    break
                count += 1
        return count

    def _lane_at(self, pose: Float[Array, " 3"], reach_m: float) -> Float[Array, " 4"] | None:
        """The row of `_lanes` that suits a pose best; None where no lane is near and runs its way."""
        close = np.abs(self._lanes[:, :2] - pose[:2]).max(axis=1) < reach_m
        rows = self._lanes[close]
        if not len(rows):
            return None
        apart = np.hypot(*(rows[:, :2] - pose[:2]).T)
        turned = np.abs(wrap_angle(rows[:, 2] - pose[2]))
        cost = np.where((turned < 0.6) & (apart < reach_m), apart + 3.0 * turned, np.inf)
        best = int(cost.argmin())
        return rows[best] if cost[best] < np.inf else None

    def straight_m(self, frame: int, reach_m: float = 80.0, most_rad: float = 0.35) -> float:
        """How far ahead of the ego the route goes before it has turned by more than `most_rad`."""
        along, heading = self.route
        s = self.ego_place(frame)[0]
        ahead = (along >= s) & (along <= s + reach_m)
        turned = np.flatnonzero(np.abs(heading - np.interp(s, along, heading))[ahead] > most_rad)
        return float(along[ahead][turned[0]] - s) if len(turned) else reach_m

    def turned_rad(self, frame: int, from_m: float, to_m: float) -> float:
        """By how much the route turns to the left between two distances ahead of the ego."""
        along, heading = self.route
        s = self.ego_place(frame)[0]
        first, last = np.interp([s + from_m, s + to_m], along, heading)
        return float(last - first)

    # -- the others -----------------------------------------------------------------------------------------------

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

    def signals_ahead(self, frame: int) -> tuple[int, ...]:
        """Numbers of the signals that are for the ego, ahead and near enough to be read; the nearest first."""
        centre, found = self.ego_centre(frame), []
        for index, signal in enumerate(self.scene.stage.signals):
            x, y, yaw = relative(centre, np.array([signal.x_m, signal.y_m, signal.yaw_rad]))
            if abs(yaw) < 0.6 and abs(y) < 15.0 and 4.0 < x < 0.8 * self.sight_m:
                found.append((float(x), index))
        return tuple(index for _, index in sorted(found))

    def around(self, frame: int) -> tuple[Neighbour, ...]:
        """Everybody present within NEAR_M, nearest first."""
        if frame not in self._found:
            scene, centre = self.scene, self.ego_centre(frame)
            near = np.hypot(*(scene.body_poses[frame, :, :2] - centre[:2]).T) < NEAR_M
            place = (*self.ego_place(frame), self.lane_place(frame).offset_m)
            indices = np.flatnonzero(near & scene.body_present[frame])
            found = [self._neighbour(frame, int(b), centre, place) for b in indices]
            self._found[frame] = tuple(sorted(found, key=lambda one: one.gap_m))
        return self._found[frame]

    def seen(self, frame: int) -> tuple[Neighbour, ...]:
        """Those of them that the driver can see, nearest first."""
        return tuple(one for one in self.around(frame) if one.seen)

    def _neighbour(
        self, frame: int, b: int, centre: Float[Array, " 3"], place: tuple[float, float, float]
    ) -> Neighbour:
        """A body seen from the ego, whose place is (metres along the route, to its left, to the left on its lane)."""
        scene, body, pose = self.scene, self.scene.bodies[b], self.scene.body_poses[frame, b]
        x, y, _ = relative(centre, pose)
        mine, my_d, on_lane = place
        s, d, heading = self.on_route(pose[:2], mine)
        turned = float(wrap_angle(pose[2] - heading))
        half_l, half_w = body.length_m / 2, body.width_m / 2
        apart, deep = s - mine, abs(cos(turned)) * half_l + abs(sin(turned)) * half_w
        return Neighbour(
            index=b,
            track=body.track,
            kind=body.kind,
            x_m=float(x),
            y_m=float(y),
            gap_m=gap_m(centre, EGO_BODY.length_m, EGO_BODY.width_m, outline(pose, body.length_m, body.width_m)),
            along_m=float(np.sign(apart)) * max(abs(apart) - deep - NOSE_M, 0.0),
            side_m=d - my_d + on_lane,
            half_m=abs(cos(turned)) * half_w + abs(sin(turned)) * half_l,
            heading_rad=turned,
            speed_mps=float(scene.body_speeds_mps[frame, b]),
            drift_mps=self._drift_mps(frame, b),
            braking=bool(scene.body_braking[frame, b]),
            indicator=int(scene.body_indicators[frame, b]),
            parked=bool(self.parked[b]),
            share=self._share(frame, b, centre),
            sight_m=self.sight_m,
        )

    def _drift_mps(self, frame: int, b: int) -> float:
        pose, speed = self.scene.body_poses[frame, b], float(self.scene.body_speeds_mps[frame, b])
        lane = self._lane_at(pose, 2.5) if speed > 0 else None
        return 0.0 if lane is None else speed * sin(float(wrap_angle(pose[2] - lane[2])))

    def _share(self, frame: int, b: int, centre: Float[Array, " 3"]) -> float:
        """How much of a body's outline no house hides, and no other body about as tall."""
        scene, body = self.scene, self.scene.bodies[b]
        if self.visible is not None:
            return float(body.track in self.visible)
        boxes = [(h.x_m, h.y_m, h.yaw_rad, h.length_m, h.width_m) for h in scene.stage.buildings]
        for other in np.flatnonzero(scene.body_present[frame]):
            one = scene.bodies[other]
            if other != b and one.height_m > min(body.height_m, EYE_M) - 0.1 and one.width_m > 1.0:
                boxes.append((*scene.body_poses[frame, other], one.length_m, one.width_m))
        if not boxes:
            return 1.0
        points = outline(scene.body_poses[frame, b], 0.9 * body.length_m, 0.9 * body.width_m)
        return 1.0 - float(crosses(centre[:2], points, np.array(boxes)).any(axis=1).mean())
