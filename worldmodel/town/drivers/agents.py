"""Road users while a scene is simulated: where each is on its path, what it means to do, what it shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, hypot, inf, sin

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.roads.paths import Path
from worldmodel.town.scene import OFF, Body, Cause


@dataclass(frozen=True, kw_only=True)
class Swerve:
    """A stretch of path driven `offset_m` to the left of where one would drive, to get past something.

    Attributes:
        first_s, last_s: Where the whole offset is reached and left.
        ramp_m: Over how many metres it is reached.
        tracks: Whom it leads past.
        beyond: Whether it needs the lane of those who come the other way.
    """

    first_s: float
    last_s: float
    offset_m: float
    ramp_m: float = 18.0
    tracks: tuple[str, ...] = ()
    beyond: bool = False

    def at(self, s: float) -> float:
        """Offset at `s`."""
        up = _smoothstep((s - self.first_s + self.ramp_m) / self.ramp_m)
        return self.offset_m * min(up, 1 - _smoothstep((s - self.last_s) / 18.0))


@dataclass(eq=False, kw_only=True)
class Agent:
    """One road user while the scene is simulated.

    Attributes:
        s, d: Reference point on the path; for wheels this is the rear axle, `back_m` behind the body's centre.
        route: Name of its path among the road's routes; '' if it has one of its own.
        side_m: Sideways place that it keeps when nothing is in the way.
        halts: Time ranges (start, end) in which it wants to stand still.
        clock_s: When it starts at all (people wait at the kerb before).
        standing: It never moves: parked, a cone, a box.
        hazard: Its hazard lights are on.
        rank: Who goes first at crossings where the roads are equal: the higher.
        script: Swerves that it does whatever happens (somebody who overtakes).
        cut: When it changes into which route, whatever others do there; None if it never does.
        keeps: It stays on its route, and changes lanes only around obstacles.
        zebra: The crosswalk that somebody on foot uses; -1 if it is none.
        driven: World pose that somebody from outside drives it to.
        held_s: Where on its path a signal or a stop line holds it now.
        waited_s: For how long it has been standing before a crossing.
        cause: What held it back most at its last decision.
    """

    body: Body
    path: Path
    s: float
    d: float = 0.0
    route: str = ""
    speed: float = 0.0
    wish: float = 0.0
    back_m: float = 0.0
    side_m: float = 0.0
    drift: float = 0.0  # slope of d along the path
    acceleration: float = 0.0
    clock_s: float = 0.0
    halts: tuple[tuple[float, float], ...] = ()
    standing: bool = False
    present: bool = True
    hazard: bool = False
    yaw_offset: float = 0.0
    rank: float = 0.0
    script: tuple[Swerve, ...] = ()
    cut: tuple[float, str] | None = None
    keeps: bool = False
    zebra: int = -1
    driven: tuple[float, float, float] | None = None
    swerves: list[Swerve] = field(default_factory=list)  # that it does
    waits_for: dict[str, str] = field(default_factory=dict)  # obstacles it cannot pass yet: whom it lets pass first
    changed: tuple[float, float, float] | None = None  # lane change: (from s, over m, offset at its start)
    planned: tuple[str, float, int] | None = None  # lane change to come: (route, since when it is indicated, side)
    aside_m: float = 0.0  # how far it keeps right for somebody in its lane
    held_s: float = inf
    waited_s: float = 0.0
    stood: set[float] = field(default_factory=set)  # stop lines at which it has stood
    indicator: int = OFF
    cause: Cause = field(default_factory=Cause)

    @property
    def braking(self) -> bool:
        """Whether its brake lights are on."""
        return self.acceleration < -0.8 and self.speed > 0.2

    @property
    def walks(self) -> bool:
        """Whether it is on foot."""
        return self.body.kind == "pedestrian"

    @property
    def drives(self) -> bool:
        """Whether it is there, on wheels and able to move."""
        return self.present and not self.standing and not self.walks

    def pose(self) -> tuple[float, float, float]:
        """World pose of the reference point."""
        if self.driven is not None:
            return self.driven
        x, y, heading = self.path.at(self.s, self.d)
        return x, y, heading + np.arctan(self.drift) + self.yaw_offset

    def centre(self) -> tuple[float, float, float]:
        """World pose of the body's centre."""
        x, y, yaw = self.pose()
        return x + self.back_m * cos(yaw), y + self.back_m * sin(yaw), yaw

    @property
    def nose_m(self) -> float:
        """From the reference point to the front bumper."""
        return self.back_m + self.body.length_m / 2

    @property
    def tail_m(self) -> float:
        """From the reference point to the rear bumper (behind it)."""
        return self.body.length_m / 2 - self.back_m

    def target_d(self, s: float) -> float:
        """Where sideways it means to be at `s`."""
        target = self.side_m
        if self.changed is not None:
            start, over, offset = self.changed
            target += offset * (1 - _smoothstep((s - start) / over))
        for swerve in self.swerves:
            target += swerve.at(s)
        for swerve in self.script:
            target += swerve.at(s)
        return target - self.aside_m


def _smoothstep(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * u * (10 - 15 * u + 6 * u * u)


def boxes_overlap(pose: Array, body: Body, other_pose: Array, other: Body, margin_m: float = 0.0) -> bool:
    """Whether two oriented rectangles on the ground overlap (separating axes)."""
    dx, dy = float(other_pose[0] - pose[0]), float(other_pose[1] - pose[1])
    l1, w1 = body.length_m / 2 + margin_m, body.width_m / 2 + margin_m
    l2, w2 = other.length_m / 2, other.width_m / 2
    if hypot(dx, dy) > hypot(l1, w1) + hypot(l2, w2):
        return False
    turn = float(other_pose[2] - pose[2])
    c, s = abs(cos(turn)), abs(sin(turn))
    for yaw, (la, wa), (lb, wb) in ((pose[2], (l1, w1), (l2, w2)), (other_pose[2], (l2, w2), (l1, w1))):
        cy, sy = cos(yaw), sin(yaw)
        if abs(cy * dx + sy * dy) > la + c * lb + s * wb or abs(-sy * dx + cy * dy) > wa + s * lb + c * wb:
            return False
    return True


def route_of(path: Path, routes: Mapping[str, Path]) -> str:
    """Name of a path among the routes, its own rather than 'ego'; '' if it is none of them."""
    names = [name for name, route in routes.items() if route is path]
    return next((name for name in names if name != "ego"), names[0] if names else "")
