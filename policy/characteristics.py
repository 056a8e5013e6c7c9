"""What kind of scene a moment is of: how the ego moves, who is around, what light there is.

Source: "Grounding Driving VLA via Inverse Kinematics", appendix H (the first six); the others are ours.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from worldmodel.geometry import Array, relative, wrap_angle
from worldmodel.town.scene import THINGS, Scene

NEAR_M = 40.0  # around the ego: who counts as being there
FRONT_M = 10.0  # to either side: what counts as in front
LANE_HALF_M = 1.75
SAME_WAY_RAD = np.pi / 4
BEFORE_S = 0.5  # when the nearest was looked up before


@dataclass(frozen=True, kw_only=True)
class Characteristics:
    """One moment of a scene; distances from the ego's rear axle.

    Attributes:
        turn_rate_radps: Absolute yaw rate of the newest step.
        speed_mps: Of the ego.
        front_users: Road users ahead, up to NEAR_M away and FRONT_M to a side.
        nearest_front_m: How far the nearest of them is; NaN for nobody.
        nearest_relative_mps: Its speed relative to the ego; NaN for nobody.
        turnover: Whether it is another one than BEFORE_S ago.
        road_users: Road users up to NEAR_M away, all around.
        leader: Whether somebody drives ahead in the ego's own lane, up to NEAR_M away.
        night: Whether the sun is down.
        weather: One of `worldmodel.town.scene.WEATHERS`.
        situation: The scene's.
        cause: What holds the driver back (`worldmodel.town.scene.CAUSES`).
    """

    turn_rate_radps: float
    speed_mps: float
    front_users: int
    nearest_front_m: float
    nearest_relative_mps: float
    turnover: bool
    road_users: int
    leader: bool
    night: bool
    weather: str
    situation: str
    cause: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; NaN as None."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Characteristics":
        """What `to_json` wrote."""
        known: dict[str, Any] = {name: float("nan") if value is None else value for name, value in values.items()}
        return Characteristics(**known)


def characteristics(scene: Scene, frame: int) -> Characteristics:
    """The characteristics of a scene at a frame that has BEFORE_S behind it."""
    before = max(frame - round(BEFORE_S * scene.frequency_hz), 0)
    users, places = _users(scene, frame)
    ahead = _in_front(places)
    nearest = int(np.argmin(np.where(ahead, _distances(places), np.inf))) if ahead.any() else None
    turned = float(wrap_angle(scene.ego_poses[frame, 2] - scene.ego_poses[max(frame - 1, 0), 2]))
    return Characteristics(
        turn_rate_radps=abs(turned) * scene.frequency_hz,
        speed_mps=float(scene.ego_speeds_mps[frame]),
        front_users=int(ahead.sum()),
        nearest_front_m=float("nan") if nearest is None else float(_distances(places)[nearest]),
        nearest_relative_mps=float("nan") if nearest is None else _relative_speed(scene, frame, users[nearest]),
        turnover=(None if nearest is None else users[nearest]) != _nearest_ahead(scene, before),
        road_users=int((_distances(places) <= NEAR_M).sum()),
        leader=any(_leads(scene, frame, body) for body in users),
        night=bool(scene.light.sun_elevation_rad < 0),
        weather=scene.light.weather,
        situation=scene.situation,
        cause=scene.ego_causes[frame].kind,
    )


def _users(scene: Scene, frame: int) -> tuple[list[int], Array]:
    """Numbers of the road users that are there, and their poses seen from the ego [user, 3]."""
    users = [int(b) for b in np.flatnonzero(scene.body_present[frame]) if scene.bodies[b].kind not in THINGS]
    poses = scene.body_poses[frame, users].reshape(-1, 3)
    return users, np.asarray(relative(scene.ego_poses[frame], poses)).reshape(-1, 3)


def _in_front(places: Array) -> Array:
    """Which of the poses are ahead and near."""
    found: Array = (places[:, 0] > 0) & (np.abs(places[:, 1]) <= FRONT_M) & (_distances(places) <= NEAR_M)
    return found


def _distances(places: Array) -> Array:
    distances: Array = np.linalg.norm(places[:, :2], axis=1)
    return distances


def _nearest_ahead(scene: Scene, frame: int) -> int | None:
    users, places = _users(scene, frame)
    ahead = _in_front(places)
    return users[int(np.argmin(np.where(ahead, _distances(places), np.inf)))] if ahead.any() else None


def _relative_speed(scene: Scene, frame: int, body: int) -> float:
    yaws = np.array([scene.ego_poses[frame, 2], scene.body_poses[frame, body, 2]])
    speeds = np.array([scene.ego_speeds_mps[frame], scene.body_speeds_mps[frame, body]])
    velocities = speeds[:, None] * np.stack([np.cos(yaws), np.sin(yaws)], axis=-1)
    return float(np.linalg.norm(velocities[1] - velocities[0]))


def _leads(scene: Scene, frame: int, body: int) -> bool:
    """Whether a road user drives the same way within half a lane of the ego's route, up to NEAR_M ahead along it."""
    steps = np.linalg.norm(np.diff(scene.route, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)]) - scene.route_s[frame]
    pose = scene.body_poses[frame, body]
    apart = np.linalg.norm(scene.route - pose[:2], axis=1)
    place = int(np.argmin(np.where((along > 0) & (along <= NEAR_M), apart, np.inf)))
    if not 0 < along[place] <= NEAR_M or apart[place] > LANE_HALF_M:
        return False
    ahead, behind = scene.route[min(place + 1, len(scene.route) - 1)], scene.route[max(place - 1, 0)]
    way = np.arctan2(*(ahead - behind)[::-1])
    return bool(abs(wrap_angle(pose[2] - way)) < SAME_WAY_RAD)
