"""Who changes lanes: MOBIL with a yes/no incentive, away from what stands in the lane, or because it is cast to cut in.

Source: Kesting, Treiber and Helbing (2007), without politeness; indicated a second before.
"""

from dataclasses import dataclass
from math import cos, inf

import numpy as np

from worldmodel.town.drivers.agents import Agent, route_of
from worldmodel.town.drivers.expert import Crowd, idm
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.scene import LEFT, RIGHT

TICKS_PER_TURN = 12  # everybody thinks about it twice a second
INDICATED_S = 1.0
PATIENCE_S = 4.0  # who has not found room by then gives it up
GAIN_MPS2 = 0.35
HARM_MPS2 = -1.5  # what a follower has to brake at most
BLOCKED_M = 140.0  # something that stands this close ahead is reason to leave the lane
BESIDE_M = 2.3


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a lane offers: own acceleration, gap ahead, what the follower would do, whether something stands in it."""

    gain: float
    ahead_m: float
    harm: float
    blocked: bool


class LaneChanges:
    """The lanes that may be changed into, and whose turn it is to think about it."""

    def __init__(self, road: RoadMap, rng: np.random.Generator) -> None:
        self.road = road
        self.turns = rng.integers(0, TICKS_PER_TURN // 2, 200) * 2  # drawn before the scene starts

    def decide(self, crowd: Crowd, tick: int) -> None:
        """Let those whose turn it is plan a change, and those who have indicated it long enough begin it."""
        if not self.road.neighbours:
            return
        now_s = tick / 24
        for index, agent in enumerate(crowd.agents):
            if agent.route not in self.road.neighbours or not agent.drives:
                continue
            if agent.cut is not None:
                self._cut_in(crowd, agent, now_s)
            elif agent.planned is not None:
                self._go_on(crowd, index, agent, now_s)
            elif (tick + int(self.turns[index % 200])) % TICKS_PER_TURN == 0 and self._settled(agent):
                agent.planned = self._plan(crowd, index, agent, now_s)

    def _settled(self, agent: Agent) -> bool:
        return agent.changed is None or agent.s > agent.changed[0] + agent.changed[1] + 20.0

    def _sides(self, agent: Agent) -> list[tuple[str, int]]:
        first, last = self.road.changes.get(agent.route, (0.0, agent.path.length_m))
        if not first <= agent.s <= last - max(3.0 * agent.speed, 20.0):
            return []
        names = self.road.neighbours[agent.route]
        return [(name, side) for name, side in zip(names, (LEFT, RIGHT), strict=True) if name in self.road.routes]

    def _plan(self, crowd: Crowd, index: int, agent: Agent, now_s: float) -> tuple[str, float, int] | None:
        here = self._outlook(crowd, index, agent.path)
        if not here.blocked and (agent.keeps or agent.speed < 5):
            return None
        for name, side in self._sides(agent):
            if self._good(here, self._outlook(crowd, index, self.road.routes[name])):
                return name, now_s, side
        return None

    def _go_on(self, crowd: Crowd, index: int, agent: Agent, now_s: float) -> None:
        assert agent.planned is not None
        name, since, _ = agent.planned
        here = self._outlook(crowd, index, agent.path)
        there = self._outlook(crowd, index, self.road.routes[name])
        if now_s - since > PATIENCE_S or not any(name == known for known, _ in self._sides(agent)):
            agent.planned = None
        elif now_s - since >= INDICATED_S and self._good(here, there):
            self._change(agent, name)
        elif now_s - since >= INDICATED_S and not here.blocked:
            agent.planned = None

    def _cut_in(self, crowd: Crowd, agent: Agent, now_s: float) -> None:
        assert agent.cut is not None
        start, name = agent.cut
        side = LEFT if self.road.neighbours[agent.route][0] == name else RIGHT
        if start - INDICATED_S <= now_s < start:
            agent.planned = (name, start, side)
        elif now_s >= start and self._beside_free(crowd, agent, self.road.routes[name]):
            self._change(agent, name)
            agent.cut = None
        elif now_s >= start + PATIENCE_S:
            agent.cut, agent.planned = None, None

    def _beside_free(self, crowd: Crowd, agent: Agent, path: Path) -> bool:
        s, d, _ = path.see(path.project(*agent.centre()[:2])[0] - 40.0, 80.0, crowd.places[:, :2])
        mine = path.project(*agent.centre()[:2])[0]
        return all(
            other is agent
            or not other.present
            or abs(d[i]) >= BESIDE_M
            or abs(s[i] - mine) >= (agent.body.length_m + other.body.length_m) / 2 + 3.0
            for i, other in enumerate(crowd.agents)
        )

    def _outlook(self, crowd: Crowd, index: int, path: Path) -> Outlook:
        """What the agent would meet if it drove on `path`."""
        agent = crowd.agents[index]
        mine = path.project(*agent.centre()[:2])[0]
        s, d, h = path.see(mine - 70.0, 70.0 + BLOCKED_M, crowd.places[:, :2])
        ahead, behind, speed_ahead, follower = inf, inf, 0.0, None
        blocked = False
        for i, other in enumerate(crowd.agents):
            if other is agent or not other.present or abs(d[i]) > BESIDE_M - (0.4 if other.standing else 0.0):
                continue
            gap = abs(float(s[i]) - mine) - (other.body.length_m + agent.body.length_m) / 2
            if s[i] >= mine:
                blocked = blocked or (other.standing or other.hazard)
                if gap < ahead:
                    ahead, speed_ahead = gap, other.speed * max(cos(crowd.places[i, 2] - h[i]), 0.0)
            elif gap < behind:
                behind, follower = gap, other
        harm = 0.0
        if follower is not None and not follower.standing:
            harm = idm(follower.speed, max(follower.wish, 1.0), behind, agent.speed)
        gain = idm(agent.speed, max(agent.wish, 1.0), ahead, speed_ahead)
        ends = self.road.changes.get(route_of(path, self.road.routes))  # a lane that ends is as good as blocked
        return Outlook(gain=gain, ahead_m=ahead, harm=harm, blocked=blocked or ends is not None)

    def _good(self, here: Outlook, there: Outlook) -> bool:
        if there.ahead_m < 8.0:
            return False
        if here.blocked:
            return not there.blocked and there.harm > 2 * HARM_MPS2 and there.gain > -3.0
        return not there.blocked and there.gain > here.gain + GAIN_MPS2 and there.harm > HARM_MPS2

    def _change(self, agent: Agent, name: str) -> None:
        path = self.road.routes[name]
        x, y, _ = agent.pose()
        s, d = path.project(x, y)
        agent.path, agent.route, agent.s, agent.d = path, name, s, d
        agent.changed = (s, max(4.0 * agent.speed, 22.0), d - agent.side_m)
        agent.planned, agent.swerves = None, []
