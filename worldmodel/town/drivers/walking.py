"""How people on foot move: along their way, and off the kerb when drivers can stop without hurry."""

from collections.abc import Sequence
from math import cos, sin

from worldmodel.geometry import Array
from worldmodel.town.drivers.agents import Agent

STEP_OFF_MPS2, STEP_OFF_M = 3.0, 2.0  # people step onto the road when drivers can stop this gently, this far away


def walk(me: int, agents: Sequence[Agent], places: Array, now_s: float) -> float:
    """The acceleration of somebody on foot."""
    agent = agents[me]
    waits = now_s < agent.clock_s or (agent.s < 1.0 and _cars_close(agent, agents))
    if waits or _blocked(me, agents, places):
        return -min(agent.speed * 12.0, 6.0)
    return (agent.wish - agent.speed) * 3.0


def _cars_close(agent: Agent, agents: Sequence[Agent]) -> bool:
    """Whether a vehicle would have to brake hard if this person stepped onto the road now."""
    if agent.clock_s <= 0:
        return False
    x, y, _ = agent.path.at(5.0)
    for other in agents:
        if not other.drives or other.speed < 0.5:
            continue
        s, d = other.path.project_near(x, y, other.s, 60.0)
        gap = s - other.s - other.nose_m
        if abs(d) < 7.0 and -8.0 < gap < other.speed**2 / (2 * STEP_OFF_MPS2) + 0.5 * other.speed + STEP_OFF_M:
            return True
    return False


def _blocked(me: int, agents: Sequence[Agent], places: Array) -> bool:
    """Whether a vehicle stands or passes right before this person."""
    agent = agents[me]
    x, y, _ = agent.path.at(agent.s + 0.9, agent.d)
    for i, other in enumerate(agents):
        if i == me or other.walks or not other.present:
            continue
        cx, cy, yaw = places[i]
        dx, dy = x - cx, y - cy
        along, left = cos(yaw) * dx + sin(yaw) * dy, -sin(yaw) * dx + cos(yaw) * dy
        reach = other.body.length_m / 2 + 0.5 + max(0.0, 1.0 * other.speed)
        if -other.body.length_m / 2 - 0.5 < along < reach and abs(left) < other.body.width_m / 2 + 0.5:
            return True
    return False
