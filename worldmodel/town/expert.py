"""How drivers drive: one expert for the ego and everybody else on wheels, and the rule by which people walk.

A driver follows its path on rails, so wheels never leave the lane; what it decides is speed (the intelligent driver
model, IDM, towards whatever is in its corridor, slowed for curves) and a smooth sideways offset (around parked cars).

Source: IDM by Treiber, Hennecke and Helbing (2000), measured bumper to bumper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, hypot, sin, sqrt

import numpy as np

from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.paths import Path
from worldmodel.town.right_of_way import RightOfWay
from worldmodel.town.scene import OFF, Body, Cause

COMFORT_MPS2 = 1.8  # strongest usual acceleration
BRAKE_MPS2 = 2.6  # comfortable braking
EMERGENCY_MPS2 = 8.5
JAM_GAP_M = 2.2
TIME_GAP_S = 1.2
SIGHT_M = 75.0
SIDE_MARGIN_M = 0.25
PASSING_GAP_M = 0.45  # sideways, when driving around something that stands
MAX_OFFSET_M = 1.5  # further into the other lane nobody goes; then one stops
SIDEWAYS_MPS2 = 2.2
STEP_OFF_MPS2, STEP_OFF_M = 3.0, 2.0  # people step onto the road when drivers can stop this gently, this far away
EGO_BODY = Body(track="ego", kind="car", length_m=4.6, width_m=1.9, height_m=1.5, color_rgb=(0.8, 0.8, 0.82))


@dataclass(eq=False, kw_only=True)
class Agent:
    """One road user while the scene is simulated.

    Attributes:
        s, d: Reference point on the path; for wheels this is the rear axle, `back_m` behind the body's centre.
        side_m: Sideways place that it keeps when nothing is in the way.
        halts: Time ranges (start, end) in which it wants to stand still.
        clock_s: When it starts at all (people wait at the kerb before).
        standing: It never moves: parked, a cone, a box.
    """

    body: Body
    path: Path
    s: float
    d: float = 0.0
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
    yaw_offset: float = 0.0
    rank: float = 0.0  # who goes first at crossings: the higher
    bumps: list[tuple[float, float, float]] = field(default_factory=list)  # (from s, to s, offset) around obstacles
    changed: tuple[float, float, float] | None = None  # lane change: (from s, over m, offset at its start)
    around: set[str] = field(default_factory=set)  # tracks of the obstacles in `bumps`
    known: int = -1  # version of the standing obstacles that `bumps` belongs to
    driven: tuple[float, float, float] | None = None  # world pose that somebody from outside drives it to
    indicator: int = OFF
    cause: Cause = field(default_factory=Cause)  # what held it back most at its last decision

    @property
    def braking(self) -> bool:
        """Whether its brake lights are on."""
        return self.acceleration < -0.8 and self.speed > 0.2

    @property
    def walks(self) -> bool:
        """Whether it is on foot."""
        return self.body.kind == "pedestrian"

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
        for first, last, offset in self.bumps:
            ramp = 18.0
            up = _smoothstep((s - first + ramp) / ramp)
            down = 1 - _smoothstep((s - last) / ramp)
            target += offset * min(up, down)
        return target


def _smoothstep(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * u * (10 - 15 * u + 6 * u * u)


def idm(speed: float, wish: float, gap_m: float, other: float) -> float:
    """Acceleration of the intelligent driver model; `gap_m` is bumper to bumper, infinite when the road is free."""
    free = COMFORT_MPS2 * (1 - (speed / wish) ** 4) if speed <= wish else -min((speed - wish) / 0.6, 2.5)
    if gap_m == float("inf"):
        return free
    closing = speed * (speed - other) / (2 * sqrt(COMFORT_MPS2 * BRAKE_MPS2))
    wanted = JAM_GAP_M + max(0.0, speed * TIME_GAP_S + closing)
    return min(free, COMFORT_MPS2) - COMFORT_MPS2 * (wanted / max(gap_m, 0.1)) ** 2


class Crowd:
    """All road users of a scene at one moment, and what each can see of the others."""

    def __init__(self, agents: Sequence[Agent], crossings: bool) -> None:
        self.agents = list(agents)
        self.crossings = crossings
        self.right_of_way = RightOfWay()
        self.version = 0
        self.refresh()

    def refresh(self) -> None:
        """Look where everybody is now."""
        self.places = np.array([agent.centre() for agent in self.agents])
        self.there = np.array([agent.present for agent in self.agents])

    # -- what is ahead ------------------------------------------------------------------------------------------

    def obstacles(self, me: int) -> list[tuple[float, float, Cause]]:
        """(gap, speed along my path, cause) of all that stands or drives in my corridor, or will walk into it."""
        agent = self.agents[me]
        start = agent.s + agent.back_m
        s, d, h = agent.path.see(max(agent.s, 0.0), SIGHT_M, self.places[:, :2])
        found = []
        for other_index in np.flatnonzero((s > start) & (s < start + SIGHT_M) & (np.abs(d) < 9.0) & self.there):
            if other_index == me:
                continue
            other = self.agents[other_index]
            angle = float(self.places[other_index, 2] - h[other_index])
            along, across = abs(cos(angle)), abs(sin(angle))
            half_l, half_w = other.body.length_m / 2, other.body.width_m / 2
            deep, wide = along * half_l + across * half_w, across * half_l + along * half_w
            free = abs(d[other_index] - agent.target_d(float(s[other_index])))
            gap = float(s[other_index]) - deep - agent.s - agent.nose_m
            if free < wide + agent.body.width_m / 2 + SIDE_MARGIN_M:
                kind = "walker" if other.walks else "obstacle" if other.standing else "leader"
                if other.speed > 0.5 and cos(angle) < -0.5:
                    kind = "oncoming"
                found.append((gap, other.speed * cos(angle), Cause(kind=kind, track=other.body.track)))
            elif other.walks or (across > 0.5 and not self.crossings):
                walked_in = self._walks_in(agent, other, gap)
                if walked_in:
                    kind = "walker" if other.walks else "crossing"
                    found.append((gap, 0.0, Cause(kind=kind, track=other.body.track)))
        return found

    def _walks_in(self, agent: Agent, other: Agent, gap: float) -> bool:
        if other.speed < 0.1:
            return False
        inside = [t for t in np.arange(0.5, 4.1, 0.5) if self._in_corridor(agent, other, float(t))]
        if not inside:
            return False
        through = (gap + agent.body.length_m + 1.0) / max(agent.speed, 0.5)
        reach = gap / max(agent.speed, 0.5)
        return not (through < inside[0] - 0.8) and not (reach > inside[-1] + 1.0 and gap > 12.0)

    def _in_corridor(self, agent: Agent, other: Agent, seconds: float) -> bool:
        x, y, _ = other.path.at(other.s + other.speed * seconds, other.d)
        s, d, _ = agent.path.see(max(agent.s, 0.0), SIGHT_M, np.array([[x, y]]))
        reach = agent.body.width_m / 2 + other.body.width_m / 2 + 0.7
        return bool(s[0] > agent.s and abs(d[0] - agent.target_d(float(s[0]))) < reach)

    # -- decisions ----------------------------------------------------------------------------------------------

    def decide(self, now_s: float) -> None:
        """Everybody chooses an acceleration for the next moments."""
        self.refresh()
        lines = self.right_of_way.stop_lines(self.agents) if self.crossings else {}
        for i, agent in enumerate(self.agents):
            if not agent.present or agent.standing:
                continue
            if agent.walks:
                agent.acceleration = self._walk(i, now_s)
                continue
            self._pass_obstacles(agent)
            halting = any(first <= now_s < last for first, last in agent.halts)
            limit = agent.path.limit_mps(agent.s + 0.4 * agent.speed)
            if any(first - 25 < agent.s < last + 2 for first, last, _ in agent.bumps):
                limit = min(limit, 8.0)
            wish = max(min(agent.wish, limit), 0.3)
            free = Cause() if limit >= agent.wish else Cause(kind="curve")
            options = [
                (-BRAKE_MPS2, Cause(kind="halt")) if halting else (idm(agent.speed, wish, float("inf"), 0.0), free)
            ]
            options += [
                (idm(agent.speed, wish, gap, max(speed, 0.0)), cause) for gap, speed, cause in self.obstacles(i)
            ]
            options += [
                (idm(agent.speed, wish, gap + JAM_GAP_M - 0.5, 0.0), Cause(kind="crossing", track=track))
                for gap, track in lines.get(i, [])
            ]
            least, agent.cause = min(options, key=lambda option: option[0])
            wanted = min(max(least, -EMERGENCY_MPS2), COMFORT_MPS2)
            urgent = 0.9 if wanted < -3.0 else 0.45
            agent.acceleration += urgent * (wanted - agent.acceleration)

    def _pass_obstacles(self, agent: Agent) -> None:
        """Plan a swerve around standing things that leave enough room."""
        if agent.known == self.version or agent.path.length_m < 30:
            return
        before, agent.around = agent.around, set()
        agent.known, agent.bumps = self.version, []
        for i, other in enumerate(self.agents):
            if not (other.standing and other.present) or other is agent:
                continue
            x, y, yaw = self.places[i]
            s, d = agent.path.project(float(x), float(y))
            angle = yaw - agent.path.at(s)[2]
            half_l, half_w = other.body.length_m / 2, other.body.width_m / 2
            wide = abs(sin(angle)) * half_l + abs(cos(angle)) * half_w
            deep = abs(cos(angle)) * half_l + abs(sin(angle)) * half_w
            room = wide + agent.body.width_m / 2 + PASSING_GAP_M
            offset = d + room if d < 0 else d - room
            ahead = s + deep > agent.s - agent.tail_m or other.body.track in before
            if ahead and abs(d) < room and abs(offset) <= MAX_OFFSET_M and 0 < s < agent.path.length_m:
                agent.around.add(other.body.track)
                agent.bumps.append((s - deep - agent.nose_m - 2.0, s + deep + agent.tail_m + 1.0, offset))
        agent.bumps = _merged(agent.bumps)

    def _walk(self, me: int, now_s: float) -> float:
        agent = self.agents[me]
        if now_s < agent.clock_s or (agent.s < 1.0 and self._cars_close(me)) or self._blocked(me):
            return -min(agent.speed * 12.0, 6.0)
        return (agent.wish - agent.speed) * 3.0

    def _cars_close(self, me: int) -> bool:
        """Whether a vehicle would have to brake hard if this person stepped onto the road now."""
        if self.agents[me].clock_s <= 0:
            return False
        x, y, _ = self.agents[me].path.at(5.0)
        for other in self.agents:
            if other.walks or other.standing or other.speed < 0.5 or not other.present:
                continue
            s, d = other.path.project(x, y)
            gap = s - other.s - other.nose_m
            if abs(d) < 7.0 and -8.0 < gap < other.speed**2 / (2 * STEP_OFF_MPS2) + 0.5 * other.speed + STEP_OFF_M:
                return True
        return False

    def _blocked(self, me: int) -> bool:
        """Whether a vehicle stands or passes right before this person."""
        agent = self.agents[me]
        x, y, _ = agent.path.at(agent.s + 0.9, agent.d)
        for i, other in enumerate(self.agents):
            if i == me or other.walks or not other.present:
                continue
            cx, cy, yaw = self.places[i]
            dx, dy = x - cx, y - cy
            along, left = cos(yaw) * dx + sin(yaw) * dy, -sin(yaw) * dx + cos(yaw) * dy
            reach = other.body.length_m / 2 + 0.5 + max(0.0, 1.0 * other.speed)
            if -other.body.length_m / 2 - 0.5 < along < reach and abs(left) < other.body.width_m / 2 + 0.5:
                return True
        return False

    # -- movement -----------------------------------------------------------------------------------------------

    def place_ego(self, pose: tuple[float, float, float], speed: float, seconds: float) -> None:
        """Put the ego where somebody drives it to within `seconds`; its place on the path is that pose's projection."""
        ego = self.agents[0]
        ego.s, ego.d = ego.path.project_near(pose[0], pose[1], ego.s)
        ego.drift = float(np.tan(np.clip(wrap_angle(pose[2] - ego.path.at(ego.s)[2]), -1.2, 1.2)))
        change = (speed - ego.speed) / seconds
        ego.acceleration, ego.speed, ego.driven = min(max(change, -EMERGENCY_MPS2), COMFORT_MPS2), speed, pose
        self.places[0] = ego.centre()

    def move(self, seconds: float, *, besides_ego: bool = False) -> None:
        """Move everybody (but not the ego, if so wanted); whoever would touch somebody stops dead instead."""
        for i, agent in enumerate(self.agents):
            if besides_ego and i == 0:
                continue
            if not agent.present or agent.standing or (agent.speed <= 0 and agent.acceleration <= 0):
                agent.speed = 0.0 if agent.speed <= 0 else agent.speed
                continue
            before = (agent.s, agent.d, agent.drift)
            speed = min(max(agent.speed + agent.acceleration * seconds, 0.0), 40.0)
            step = 0.5 * (agent.speed + speed) * seconds
            agent.speed = speed
            if not agent.walks:
                self._steer(agent, step)
            agent.s += step
            self.places[i] = agent.centre()
            if self.touches(i):
                agent.s, agent.d, agent.drift = before
                agent.speed, agent.acceleration = 0.0, 0.0
                self.places[i] = agent.centre()
            elif agent.s > agent.path.length_m - 1.0:
                agent.present = False
                self.there[i] = False

    def _steer(self, agent: Agent, step: float) -> None:
        """Follow the target offset like a critically damped spring over the metres driven."""
        if step <= 0:
            return
        stiffness = min(max(1.0 / (0.45 * max(agent.speed, 0.1)), 0.12), 0.5)
        pull = stiffness**2 * (agent.target_d(agent.s) - agent.d) - 2 * stiffness * agent.drift
        most = SIDEWAYS_MPS2 / max(agent.speed, 2.0) ** 2
        agent.drift += min(max(pull, -most), most) * step
        agent.d += agent.drift * step

    def touches(self, me: int) -> bool:
        """Whether this agent's box overlaps another one's."""
        close = np.hypot(self.places[:, 0] - self.places[me, 0], self.places[:, 1] - self.places[me, 1]) < 14.0
        return any(
            j != me
            and self.agents[j].present
            and boxes_overlap(self.places[me], self.agents[me].body, self.places[j], self.agents[j].body)
            for j in np.flatnonzero(close)
        )


def _merged(bumps: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Join swerves that follow closely, so that a row of parked cars is passed in one go."""
    result: list[tuple[float, float, float]] = []
    for first, last, offset in sorted(bumps):
        if result and first - result[-1][1] < 36.0 and offset * result[-1][2] > 0:
            before = result[-1]
            size = max(abs(offset), abs(before[2]))
            result[-1] = (before[0], max(last, before[1]), size if offset > 0 else -size)
        else:
            result.append((first, last, offset))
    return result


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
