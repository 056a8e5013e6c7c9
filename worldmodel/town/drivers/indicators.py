"""What indicators show: hazards, lane changes, swerves, turns and leaving a roundabout, and nothing else."""

from itertools import pairwise
from math import degrees

import numpy as np

from worldmodel.town.drivers.agents import Agent
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import HAZARD, LEFT, OFF, RIGHT

SHARP_PER_M = 1 / 22.0
TURN_DEG = 40.0
BEFORE_M = 28.0
SIDE_M = 0.9  # smaller swerves are not shown

Turn = tuple[float, float, int]  # from s, to s, side


class Indicators:
    """Decides what everybody shows; the turns of each path are found once."""

    def __init__(self, road: RoadMap) -> None:
        self.ring = road.manoeuvre.startswith("exit ") or any(name.startswith("exit ") for name, _ in road.turns)
        self.junction = road.core is not None or bool(road.turns) or road.manoeuvre in ("left", "right", "straight")
        self._turns: dict[int, tuple[Path, list[Turn]]] = {}

    def turns(self, path: Path) -> list[Turn]:
        """Where a path turns at a crossing or leaves a roundabout."""
        if id(path) not in self._turns:
            found = sharp_bends(path) if self.junction else []
            if self.ring:
                found = found[-1:] if found and found[-1][2] == RIGHT else []
            self._turns[id(path)] = (path, found)
        return self._turns[id(path)][1]

    def of(self, agent: Agent) -> int:
        """What an agent shows now."""
        if agent.hazard:
            return HAZARD
        if not agent.drives or agent.body.kind == "cyclist":
            return OFF
        return self._change(agent) or _swerve(agent) or self._turn(agent)

    def _turn(self, agent: Agent) -> int:
        before = 12.0 if self.ring else max(BEFORE_M, 3.0 * agent.speed)
        for first, last, side in self.turns(agent.path):
            if first - before < agent.s + agent.nose_m and agent.s < last:
                return side
        return OFF

    def _change(self, agent: Agent) -> int:
        if agent.planned is not None:
            return agent.planned[2]
        if agent.changed is not None:
            start, over, offset = agent.changed
            if agent.s < start + 0.8 * over:
                return LEFT if offset < 0 else RIGHT
        return OFF


def _swerve(agent: Agent) -> int:
    for swerve in (*agent.swerves, *agent.script):
        if abs(swerve.offset_m) < SIDE_M:
            continue
        side = LEFT if swerve.offset_m > 0 else RIGHT
        out = swerve.first_s - swerve.ramp_m - max(1.5 * agent.speed, 5.0)
        if out < agent.s < swerve.first_s:
            return side
        if swerve.last_s - 4.0 < agent.s < swerve.last_s + 14.0:
            return -side
    return LEFT if agent.waits_for and agent.speed < 4.0 else OFF


def sharp_bends(path: Path) -> list[Turn]:
    """Stretches on which a path turns by more than TURN_DEG with a small radius, in driving order."""
    found: list[Turn] = []
    sides = np.sign(path.curvatures) * (np.abs(path.curvatures) > SHARP_PER_M)
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], sides, [0.0]])) != 0)
    for first, last in pairwise(edges):
        if sides[first] == 0:
            continue
        turned = degrees(abs(float(path.headings[min(last, len(path.headings) - 1)] - path.headings[first])))
        if turned > TURN_DEG:
            found.append((float(first * path.step_m), float(last * path.step_m), int(sides[first])))
    return found
