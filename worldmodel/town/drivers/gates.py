"""Where drivers have to wait whatever others do: signals, stop lines and zebra crossings."""

from collections.abc import Sequence
from math import cos, inf, pi, sin

from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.drivers.agents import Agent
from worldmodel.town.roads.roadmap import Gate, RoadMap
from worldmodel.town.scene import AMBER, GREEN, Cause, Crosswalk

STOP_SHORT_M = 1.0  # from the front bumper to the line
FIRM_MPS2 = 3.5  # who would have to brake harder drives on when somebody steps onto a zebra
YIELD_MPS = 6.0  # speed at which one comes to a line where others go first
STEP_M = 1.5  # people this close to the kerb are about to step


class Gates:
    """The gates of a road; signals are read at `look`."""

    def __init__(self, road: RoadMap) -> None:
        self.road = road
        self.states: tuple[int, ...] = ()
        self.left_s = inf  # until the next change that matters: the end of the present amber
        self.look(0.0)

    def look(self, now_s: float) -> None:
        """See what the signals show."""
        programme = self.road.programme
        if programme is None:
            return
        self.states = programme.states(now_s)
        turn = programme.green_s + programme.amber_s + programme.clear_s
        self.left_s = max(programme.green_s + programme.amber_s - (now_s + programme.offset_s) % turn, 0.0)

    def holds(self, agent: Agent, agents: Sequence[Agent], places: Array) -> list[tuple[float, Cause]]:
        """(gap from its nose, cause) of the lines at which somebody has to stop now; sets `held_s`."""
        agent.held_s = inf
        found = []
        for gate in self.road.gates.get(agent.route, ()):
            gap = gate.s_m - agent.s - agent.nose_m
            if not -1.5 < gap < 90.0:
                continue
            cause = self._held(agent, gate, gap, agents, places)
            if cause is not None:
                agent.held_s = min(agent.held_s, gate.s_m)
                found.append((gap - STOP_SHORT_M, cause))
        return found

    def limit_mps(self, agent: Agent) -> float:
        """Highest speed with which somebody comes to a line where others go first."""
        limit = inf
        for gate in self.road.gates.get(agent.route, ()):
            gap = gate.s_m - agent.s - agent.nose_m
            if gate.kind == "yield" and -2.0 < gap < 60.0:
                limit = min(limit, (YIELD_MPS**2 + 2 * 1.6 * max(gap, 0.0)) ** 0.5)
        return limit

    def _held(self, agent: Agent, gate: Gate, gap: float, agents: Sequence[Agent], places: Array) -> Cause | None:
        if gate.kind == "signal":
            return self._at_signal(agent, gate, gap)
        if gate.kind == "stop" and gate.s_m not in agent.stood:
            if agent.speed < 0.3 and gap < 3.0:
                agent.stood.add(gate.s_m)
                return None
            return Cause(kind="crossing") if gap > 0 else None
        if gate.kind == "crosswalk" and gap > -0.5 and agent.speed**2 / (2 * FIRM_MPS2) < gap + 1.0:
            zebra = self.road.crosswalks[gate.number]
            for i, person in enumerate(agents):
                if person.walks and person.present and not person.standing and _uses(places[i], zebra, agent):
                    return Cause(kind="walker", track=person.body.track)
        return None

    def _at_signal(self, agent: Agent, gate: Gate, gap: float) -> Cause | None:
        state = self.states[gate.number]
        if state == GREEN or gap < 0:
            return None
        if state == AMBER and gap < 0.9 * agent.speed * (self.left_s - 0.1):
            return None  # it is over the line before the red
        return Cause(kind="signal", track=f"signal-{gate.number}")


def _uses(place: Array, zebra: Crosswalk, driver: Agent) -> bool:
    """Whether somebody is on a zebra, or about to step onto it, and not yet past the driver's lane."""
    dx, dy = float(place[0]) - zebra.x_m, float(place[1]) - zebra.y_m
    c, s = cos(zebra.yaw_rad), sin(zebra.yaw_rad)
    along, left = c * dx + s * dy, -s * dx + c * dy
    facing = float(wrap_angle(float(place[2]) - zebra.yaw_rad))
    if abs(along) > zebra.length_m / 2 + 0.3 or abs(abs(facing) - pi / 2) > 0.7:
        return False
    to_left = 1.0 if facing > 0 else -1.0
    waiting = -zebra.width_m / 2 - STEP_M < left * to_left <= -zebra.width_m / 2
    if waiting:
        return True
    if abs(left) > zebra.width_m / 2:
        return False
    x, y, _ = driver.path.at(driver.path.project_near(zebra.x_m, zebra.y_m, driver.s + driver.nose_m, 40.0)[0])
    lane = -s * (x - zebra.x_m) + c * (y - zebra.y_m)  # the driver's lane on the zebra
    return left * to_left < lane * to_left + driver.body.width_m / 2 + 0.8
