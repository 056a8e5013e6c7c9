"""How drivers drive: one expert for the ego and everybody else on wheels.

A driver follows its path on rails, so wheels never leave the lane; what it decides is speed (the intelligent driver
model, IDM, towards whatever is in its corridor, slowed for curves, gates and those who go first) and a smooth sideways
offset (around what stands or creeps).

Source: IDM by Treiber, Hennecke and Helbing (2000), measured bumper to bumper.
"""

from collections.abc import Sequence
from math import cos, inf, sin, sqrt

import numpy as np

from worldmodel.geometry import wrap_angle
from worldmodel.town.drivers.agents import Agent, boxes_overlap
from worldmodel.town.drivers.gates import Gates
from worldmodel.town.drivers.indicators import Indicators
from worldmodel.town.drivers.passing import HOLD_M, View, plan_swerves
from worldmodel.town.drivers.right_of_way import RightOfWay
from worldmodel.town.drivers.walking import walk
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import EGO_BODY, Cause

__all__ = ["EGO_BODY", "Agent", "Crowd", "boxes_overlap", "idm"]

COMFORT_MPS2 = 1.8  # strongest usual acceleration
BRAKE_MPS2 = 2.6  # comfortable braking
EMERGENCY_MPS2 = 8.5
JAM_GAP_M = 2.2
TIME_GAP_S = 1.2
SIGHT_M = 75.0
LOOK_M = 170.0  # this far one looks for those who come the other way
BEHIND_M = 15.0
SIDE_MARGIN_M = 0.25
SIDEWAYS_MPS2 = 2.2
TIGHTEST_PER_M = 0.16  # steering does not bend the way more than this
ASIDE_M = 0.6  # one keeps this far to the right for somebody who comes in one's own lane
DECISION_S = 1 / 12

Option = tuple[float, float, Cause]  # gap from the nose, speed along my path, why


def idm(speed: float, wish: float, gap_m: float, other: float) -> float:
    """Acceleration of the intelligent driver model; `gap_m` is bumper to bumper, infinite when the road is free."""
    free = COMFORT_MPS2 * (1 - (speed / wish) ** 4) if speed <= wish else -min((speed - wish) / 0.6, 2.5)
    if gap_m == inf:
        return free
    closing = speed * (speed - other) / (2 * sqrt(COMFORT_MPS2 * BRAKE_MPS2))
    wanted = JAM_GAP_M + max(0.0, speed * TIME_GAP_S + closing)
    return min(free, COMFORT_MPS2) - COMFORT_MPS2 * (wanted / max(gap_m, 0.1)) ** 2


class Crowd:
    """All road users of a scene at one moment, what each can see of the others, and what it does.

    Attributes:
        crashes: (track of who drove, track of who was in the way) of all who had to be stopped dead.
    """

    def __init__(self, agents: Sequence[Agent], road: RoadMap) -> None:
        self.agents = list(agents)
        self.road = road
        self.crashes: list[tuple[str, str]] = []
        self.gates = Gates(road)
        self.indicators = Indicators(road)
        self.right_of_way = RightOfWay(road.ranks, road.gates) if road.manoeuvre != "follow" or road.ranks else None
        self.refresh()

    def refresh(self) -> None:
        """Look where everybody is now."""
        self.places = np.array([agent.centre() for agent in self.agents])
        self.there = np.array([agent.present for agent in self.agents])

    # -- what is ahead ------------------------------------------------------------------------------------------

    def view(self, me: int) -> View:
        """Where everybody is on somebody's path, from a little behind it to far ahead."""
        agent = self.agents[me]
        s, d, h = agent.path.see(agent.s - BEHIND_M, BEHIND_M + LOOK_M, self.places[:, :2])
        return View(s=s, d=d, h=h)

    def obstacles(self, me: int, view: View) -> list[Option]:
        """All that stands or drives in my corridor, or will walk into it."""
        agent = self.agents[me]
        start = agent.s + agent.back_m
        found: list[Option] = []
        near = (view.s > start) & (view.s < start + SIGHT_M) & (np.abs(view.d) < 9.0) & self.there
        for i in np.flatnonzero(near):
            if i == me:
                continue
            other = self.agents[i]
            s, d = float(view.s[i]), float(view.d[i])
            angle = float(self.places[i, 2] - view.h[i])
            along, across = abs(cos(angle)), abs(sin(angle))
            half_l, half_w = other.body.length_m / 2, other.body.width_m / 2
            deep, wide = along * half_l + across * half_w, across * half_l + along * half_w
            free = abs(d - agent.target_d(s))
            gap = s - deep - agent.s - agent.nose_m
            comes_over = other.changed is not None and other.path is agent.path
            if free < wide + agent.body.width_m / 2 + SIDE_MARGIN_M or comes_over:
                if agent.script and cos(angle) < -0.5:
                    continue  # who overtakes trusts that there is room to get back
                found.append(self._in_lane(agent, other, gap, angle))
            elif (other.walks or (across > 0.5 and self.right_of_way is None)) and self._walks_in(agent, other, gap):
                kind = "walker" if other.walks else "crossing"
                found.append((gap, 0.0, Cause(kind=kind, track=other.body.track)))
        return found

    def _in_lane(self, agent: Agent, other: Agent, gap: float, angle: float) -> Option:
        track = other.body.track
        if track in agent.waits_for:
            return (
                gap - HOLD_M,
                0.0 if other.standing else other.speed,
                Cause(kind="oncoming", track=agent.waits_for[track]),
            )
        if other.walks:
            return gap, max(other.speed * cos(angle), 0.0), Cause(kind="walker", track=track)
        if other.standing:
            return gap, 0.0, Cause(kind="obstacle", track=track)
        if cos(angle) < -0.5:
            agent.aside_m = min(agent.aside_m + 0.08, ASIDE_M) if agent.d < 0.8 else agent.aside_m
            return gap, max(other.speed * cos(angle), -3.0), Cause(kind="oncoming", track=track)
        return gap, other.speed * cos(angle), Cause(kind="leader", track=track)

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
        """Everybody chooses an acceleration for the next moments, and what to show."""
        self.refresh()
        self.gates.look(now_s)
        held = {i: self.gates.holds(a, self.agents, self.places) for i, a in enumerate(self.agents) if a.drives}
        lines = {} if self.right_of_way is None else self.right_of_way.stop_lines(self.agents)
        for i, agent in enumerate(self.agents):
            if agent.present and agent.walks and not agent.standing:
                agent.acceleration = walk(i, self.agents, self.places, now_s)
            elif agent.drives:
                view = self.view(i)
                agent.aside_m = max(agent.aside_m - 0.02, 0.0)
                plan_swerves(agent, self.agents, self.places, view, self.road)
                waits = [(gap, Cause(kind="crossing", track=track)) for gap, track in lines.get(i, [])]
                self._choose(agent, self.obstacles(i, view), held[i] + waits, now_s)
                near = min((gap for gap, _ in waits), default=inf)
                agent.waited_s = agent.waited_s + DECISION_S if agent.speed < 0.3 and near < 6.0 else 0.0
            agent.indicator = self.indicators.of(agent)

    def _choose(self, agent: Agent, obstacles: list[Option], stops: list[tuple[float, Cause]], now_s: float) -> None:
        limit = min(agent.path.limit_mps(agent.s + 0.4 * agent.speed), self.gates.limit_mps(agent))
        free = Cause() if limit >= agent.wish else Cause(kind="curve")
        for swerve in agent.swerves:
            if swerve.first_s - 25 < agent.s < swerve.last_s + 2 and limit > 8.0:
                limit, free = 8.0, Cause(kind="obstacle", track=swerve.tracks[0])
        wish = max(min(agent.wish, limit), 0.3)
        if any(first <= now_s < last for first, last in agent.halts):
            options = [(-BRAKE_MPS2, Cause(kind="halt"))]
        else:
            options = [(idm(agent.speed, wish, inf, 0.0), free if wish < agent.wish else Cause())]
        options += [(idm(agent.speed, wish, gap, max(speed, 0.0)), cause) for gap, speed, cause in obstacles]
        options += [(idm(agent.speed, wish, gap + JAM_GAP_M, 0.0), cause) for gap, cause in stops]
        least, agent.cause = min(options, key=lambda option: option[0])
        wanted = min(max(least, -EMERGENCY_MPS2), COMFORT_MPS2)
        urgent = 0.9 if wanted < -3.0 else 0.45
        agent.acceleration += urgent * (wanted - agent.acceleration)

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
            touched = self.touches(i)
            if touched is not None:
                self.crashes.append((agent.body.track, touched.body.track))
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
        most = min(SIDEWAYS_MPS2 / max(agent.speed, 2.0) ** 2, TIGHTEST_PER_M)
        agent.drift += min(max(pull, -most), most) * step
        agent.d += agent.drift * step

    def touches(self, me: int) -> Agent | None:
        """Somebody whose box this agent's overlaps."""
        close = np.hypot(self.places[:, 0] - self.places[me, 0], self.places[:, 1] - self.places[me, 1]) < 14.0
        for j in np.flatnonzero(close):
            other = self.agents[j]
            if (
                j != me
                and other.present
                and boxes_overlap(self.places[me], self.agents[me].body, self.places[j], other.body)
            ):
                return other
        return None
