"""Who lets whom pass where paths cross or join.

The route of higher rank goes first. Between equals who would arrive clearly first goes first, and whoever was let go
first stays first; who turns left lets those pass who come the other way, and who has waited long is let go. Who can no
longer stop is never asked to, and who is held by a signal is not waited for.

Source: own rules.
"""

from collections.abc import Mapping, Sequence
from math import sqrt

import numpy as np

from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.drivers.agents import Agent
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import Gate

Zone = tuple[float, float, float, float]  # (from, to) on the first path, (from, to) on the second, metres

TOUCH_M = 3.0  # paths closer than this cannot both be driven
START_MPS2 = 1.5  # how fast one gets going at a crossing
LOOK_S = 8.0  # whoever arrives later does not matter yet
MARGIN_S = 1.2
GATE_M = 22.0  # a line where one gives way is for the paths that cross within this distance behind it


class RightOfWay:
    """The rule, and the memory of who was let go; agents are known by their index, which never changes."""

    def __init__(
        self, ranks: Mapping[str, float] | None = None, gates: Mapping[str, Sequence[Gate]] | None = None
    ) -> None:
        self.ranks, self.gates = ranks or {}, gates or {}
        self._zones: dict[tuple[int, int], tuple[Zone, ...]] = {}
        self._owner: dict[tuple[int, int], int] = {}
        self._paths: list[Path] = []  # keeps ids in `_zones` alive

    def zones(self, a: Agent, b: Agent) -> tuple[Zone, ...]:
        """Where the paths of two agents cross or join, in the driving order of the first."""
        first, second = a.path, b.path
        key = (id(first), id(second))
        if key not in self._zones:
            self._paths += [first, second]
            self._zones[key] = crossing_zones(first, second)
        return self._zones[key]

    def stop_lines(self, agents: Sequence[Agent]) -> dict[int, list[tuple[float, str]]]:
        """For each agent, by its index: gaps from its nose to places where it has to let somebody pass, and whom."""
        lines: dict[int, list[tuple[float, str]]] = {}
        moving = [i for i, agent in enumerate(agents) if agent.drives]
        for position, a in enumerate(moving):
            for b in moving[position + 1 :]:
                contested = False
                for zone in self.zones(agents[a], agents[b]):
                    if not _ahead(agents[a], zone[:2]) or not _ahead(agents[b], zone[2:]):
                        continue
                    contested = True
                    waits = self._who_waits(agents, a, b, zone)
                    if waits is not None:
                        agent, other = agents[waits], agents[b if waits == a else a]
                        entry = zone[0] if waits == a else zone[2]
                        lines.setdefault(waits, []).append((entry - agent.s - agent.nose_m - 0.5, other.body.track))
                    break  # the next zone is for later
                if not contested:
                    self._owner.pop((a, b), None)
        return lines

    def _rank(self, agent: Agent, entry_s: float) -> float:
        gates = self.gates.get(agent.route, ())
        lower = any(gate.kind in ("yield", "stop") and -4.0 < entry_s - gate.s_m < GATE_M for gate in gates)
        return self.ranks.get(agent.route, 0.0) - (10.0 if lower else 0.0)

    def _who_waits(self, agents: Sequence[Agent], a: int, b: int, zone: Zone) -> int | None:
        one, two = agents[a], agents[b]
        enter = (zone[0] - one.s - one.nose_m, zone[2] - two.s - two.nose_m)
        if enter[0] <= 0 and enter[1] <= 0:
            return None
        if enter[0] <= 0 or enter[1] <= 0:
            return b if enter[0] <= 0 else a
        if one.held_s < zone[0] or two.held_s < zone[2]:
            return None  # a signal keeps them apart
        leave = (zone[1] - one.s + one.tail_m, zone[3] - two.s + two.tail_m)
        arrive = (_seconds(one, enter[0]), _seconds(two, enter[1]))
        gone = (_seconds(one, leave[0]), _seconds(two, leave[1]))
        if min(arrive) > LOOK_S or gone[0] + MARGIN_S < arrive[1] or gone[1] + MARGIN_S < arrive[0]:
            return None
        first_goes = self._first_goes(agents, a, b, zone, arrive)
        can_stop = [enter[i] > agent.speed**2 / (2 * 3.0) + 1.0 for i, agent in enumerate((one, two))]
        if first_goes and not can_stop[1] and can_stop[0]:
            first_goes = False
        elif not first_goes and not can_stop[0] and can_stop[1]:
            first_goes = True
        self._owner[(a, b)] = a if first_goes else b
        return b if first_goes else a

    def _first_goes(self, agents: Sequence[Agent], a: int, b: int, zone: Zone, arrive: tuple[float, float]) -> bool:
        one, two = agents[a], agents[b]
        ranks = self._rank(one, zone[0]), self._rank(two, zone[2])
        if ranks[0] != ranks[1]:
            return ranks[0] > ranks[1]
        bonus = {a: 3.0, b: -3.0}.get(self._owner.get((a, b), -1), 0.0)  # who was let go first stays first
        bonus += _left_turn(two, zone[2:]) - _left_turn(one, zone[:2])
        bonus += 0.5 * (one.waited_s - two.waited_s)
        return arrive[0] - one.rank < arrive[1] - two.rank + bonus


def _ahead(agent: Agent, stretch: tuple[float, float]) -> bool:
    """Whether a stretch of its path is not yet left, and close enough to matter."""
    return agent.s - agent.tail_m < stretch[1] and stretch[0] - agent.s < 150.0


def _left_turn(agent: Agent, stretch: tuple[float, float]) -> float:
    """Seconds that somebody gives to those who come the other way when turning left."""
    start, end = max(stretch[0] - 15.0, 0.0), stretch[1] + 15.0
    return 2.0 if agent.path.at(end)[2] - agent.path.at(start)[2] > 0.8 else 0.0


def _seconds(agent: Agent, metres: float) -> float:
    """When somebody who does not have to wait is that far."""
    if metres <= 0:
        return 0.0
    most = max(min(agent.wish, agent.path.limit_mps(agent.s + metres)), 1.0)
    speed = min(agent.speed, most)
    until_most = (most**2 - speed**2) / (2 * START_MPS2)
    if metres < until_most:
        return (sqrt(speed**2 + 2 * START_MPS2 * metres) - speed) / START_MPS2
    return (most - speed) / START_MPS2 + (metres - until_most) / most


def crossing_zones(first: Path, second: Path) -> tuple[Zone, ...]:
    """Stretches (from, to) of each path on which cars on both would touch, in the driving order of the first.

    Where paths come from one lane and part, whoever is behind follows: no zone. Where they join, the zone ends when
    they have become one. Paths that never differ, or run side by side, have none.
    """
    if first is second:
        return ()
    rows, columns, gaps = _touches(first.points, second.points)
    if not len(rows):
        return ()
    own, start = np.unique(rows, return_index=True)  # the nearest comes first
    turn = np.abs(wrap_angle(first.headings[2 * own] - second.headings[2 * columns[start]]))
    one_lane = (gaps[start] <= 1.0) & (turn <= 0.2)
    crosses = turn < 2.6
    step_a, step_b = 2 * first.step_m, 2 * second.step_m
    zones = []
    for run in _runs(own[crosses]):
        inside = np.isin(own, run)
        apart, together = own[inside & ~one_lane], own[inside & one_lane]
        if not len(apart) or (len(together) and together[0] <= apart[0]):
            continue  # one lane, or they part
        last = together[0] if len(together) else apart[-1]
        theirs = np.unique(columns[(rows >= run[0]) & (rows <= last)])
        mine = float(run[0] * step_a), float(last * step_a)  # once for each time that the second comes by:
        zones += [(*mine, float(span[0] * step_b), float(span[-1] * step_b)) for span in _runs(theirs)]
    return tuple(zones)


def _touches(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """(row, column, distance) of every second points closer than TOUCH_M, ordered by row and distance."""
    apart = ((a[::16, None] - b[None, ::16]) ** 2).sum(axis=-1)  # a quick look, 8 m apart
    blocks = np.argwhere(apart < (TOUCH_M + 17.0) ** 2)
    inside = np.arange(8)
    rows = np.minimum(8 * blocks[:, :1] + inside, (len(a) - 1) // 2)
    columns = np.minimum(8 * blocks[:, 1:] + inside, (len(b) - 1) // 2)
    gaps = np.sqrt(((a[2 * rows][:, :, None] - b[2 * columns][:, None]) ** 2).sum(axis=-1))
    block, i, j = np.nonzero(gaps < TOUCH_M)
    row, column, gap = rows[block, i], columns[block, j], gaps[block, i, j]
    order = np.lexsort((gap, row))
    return row[order], column[order], gap[order]


def _runs(indices: Array) -> list[Array]:
    """Split ascending indices where more than 6 are missing."""
    if not len(indices):
        return []
    return np.split(indices, np.flatnonzero(np.diff(indices) > 6) + 1)
