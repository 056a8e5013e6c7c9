"""What is kept of a scene while it happens: everybody's state at every frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldmodel.geometry import wrap_angle
from worldmodel.town.drivers.expert import Crowd
from worldmodel.town.scene import Cause


@dataclass(eq=False)
class Log:
    """States at the frames."""

    rows: list[list[tuple[float, float, float, float, bool, bool, int]]] = field(default_factory=list)
    ego: list[tuple[float, float, float, float, float, bool, int]] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    signals: list[list[int]] = field(default_factory=list)

    def write(self, crowd: Crowd, signals: Sequence[int] = ()) -> None:
        """Note where everybody is, and what the signals show."""
        ego, pose = crowd.agents[0], crowd.agents[0].pose()
        along = ego.s
        if ego.path is not crowd.road.routes["ego"]:  # it has changed lanes
            along = crowd.road.routes["ego"].project_near(pose[0], pose[1], self.ego[-1][4] if self.ego else ego.s)[0]
        self.ego.append((*pose, ego.speed, along, ego.braking, ego.indicator))
        self.causes.append(ego.cause)
        self.signals.append(list(signals))
        self.rows.append(
            [
                (*agent.centre(), agent.speed, agent.present, agent.braking, agent.indicator)
                for agent in crowd.agents[1:]
            ]
        )

    def arrays(self, crowd: Crowd) -> dict[str, Any]:
        """Fields of `Scene`; somebody who came later is not present before."""
        time, count = len(self.rows), len(crowd.agents) - 1
        states = np.zeros((time, count, 7))
        for t, row in enumerate(self.rows):
            if row:
                states[t, : len(row)] = row
        for b in range(count):
            first = next(t for t, row in enumerate(self.rows) if len(row) > b)
            states[:first, b, :3] = states[first, b, :3]
        states[..., 2] = wrap_angle(states[..., 2])
        ego = np.array(self.ego)
        ego[:, 2] = wrap_angle(ego[:, 2])
        return {
            "ego_poses": ego[:, :3],
            "ego_speeds_mps": ego[:, 3],
            "bodies": tuple(agent.body for agent in crowd.agents[1:]),
            "body_poses": states[..., :3],
            "body_present": states[..., 4] > 0.5,
            "body_speeds_mps": states[..., 3],
            "body_braking": states[..., 5] > 0.5,
            "body_indicators": states[..., 6].astype(np.int8),
            "signal_states": np.array(self.signals, np.int8).reshape(time, -1),
            "route_s": ego[:, 4],
            "ego_braking": ego[:, 5] > 0.5,
            "ego_indicators": ego[:, 6].astype(np.int8),
            "ego_causes": tuple(self.causes),
        }
