"""Who changes lanes: MOBIL (Kesting, Treiber and Helbing, 2007) with a yes/no incentive."""

from dataclasses import dataclass, field

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.expert import Agent, Crowd, idm
from worldmodel.town.paths import Path
from worldmodel.town.roads import RoadMap


@dataclass(eq=False)
class LaneChanges:
    """Who changes lanes on a highway: MOBIL with a yes/no incentive, once a second at most, everybody in turn."""

    road: RoadMap
    rng: np.random.Generator
    offsets: Array = field(init=False)

    def __post_init__(self) -> None:
        self.offsets = self.rng.random(200)  # drawn before the scene starts

    def decide(self, crowd: Crowd, tick: int) -> None:
        """Let those whose turn it is change lanes when that is faster and safe."""
        names = {id(self.road.routes[f"lane{i}"]): i for i in range(3)}
        for index, agent in enumerate(crowd.agents):
            due = (tick + int(self.offsets[index % 200] * 24)) // 2 % 12 == 0
            lane = names.get(id(agent.path))
            settled = agent.changed is None or agent.s > agent.changed[0] + agent.changed[1] + 20.0
            if not due or lane is None or not settled or agent.standing or not agent.present or agent.speed < 5:
                continue
            here = self._gain(crowd, index, agent.path)[0]
            for side in (lane - 1, lane + 1):
                if 0 <= side <= 2 and self._better(crowd, index, here, self.road.routes[f"lane{side}"]):
                    self._change(agent, self.road.routes[f"lane{side}"])
                    break

    def _gain(self, crowd: Crowd, index: int, path: Path) -> tuple[float, float, float]:
        """(own acceleration, gap ahead, harm to the follower) if the agent drove on `path`."""
        agent = crowd.agents[index]
        s, _ = path.project(*agent.centre()[:2])
        ahead, behind, speed_ahead, follower = float("inf"), float("inf"), 0.0, None
        for other in crowd.agents:
            if other is agent or not other.present:
                continue
            so, do = path.project(*other.centre()[:2])
            gap = abs(so - s) - (other.body.length_m + agent.body.length_m) / 2
            if abs(do) > 2.3:
                continue
            if so >= s and gap < ahead:
                ahead, speed_ahead = gap, other.speed
            elif so < s and gap < behind:
                behind, follower = gap, other
        harm = 0.0 if follower is None else idm(follower.speed, max(follower.wish, 1.0), behind, agent.speed)
        return idm(agent.speed, max(agent.wish, 1.0), ahead, speed_ahead), ahead, harm

    def _better(self, crowd: Crowd, index: int, here: float, path: Path) -> bool:
        there, ahead, harm = self._gain(crowd, index, path)
        return there > here + 0.35 and harm > -1.5 and ahead > 8.0

    def _change(self, agent: Agent, path: Path) -> None:
        x, y, _ = agent.pose()
        s, d = path.project(x, y)
        agent.path, agent.s, agent.d = path, s, d
        agent.changed = (s, max(4.0 * agent.speed, 30.0), d - agent.side_m)
        agent.known = -1
