"""Who lets whom pass where paths cross or merge.

Nobody has signs or lights: who would arrive clearly first goes first, corrected by rank, and whoever was let go first
stays first. Who can no longer stop is never asked to.

Source: own rules.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.geometry import wrap_angle
from worldmodel.town.paths import Path

if TYPE_CHECKING:
    from worldmodel.town.expert import Agent

Zone = tuple[float, float, float, float]  # (from, to) on the first path, (from, to) on the second, metres


class RightOfWay:
    """The rule, and the memory of who was let go; agents are known by their index, which never changes."""

    def __init__(self) -> None:
        self._zones: dict[tuple[int, int], Zone | None] = {}
        self._owner: dict[tuple[int, int], int] = {}
        self._paths: list[Path] = []  # keeps ids in `_zones` alive

    def zone(self, a: "Agent", b: "Agent") -> Zone | None:
        """Where the paths of two agents cross or merge; None if they do not."""
        first, second = a.path, b.path
        key = (id(first), id(second))
        if key not in self._zones:
            self._paths += [first, second]
            self._zones[key] = crossing_zone(first, second)
        return self._zones[key]

    def stop_lines(self, agents: "Sequence[Agent]") -> dict[int, list[tuple[float, str]]]:
        """For each agent, by its index: gaps from its nose to places where it has to let somebody pass, and whom."""
        lines: dict[int, list[tuple[float, str]]] = {}
        moving = [i for i, agent in enumerate(agents) if agent.present and not agent.standing and not agent.walks]
        for position, a in enumerate(moving):
            for b in moving[position + 1 :]:
                zone = self.zone(agents[a], agents[b])
                if zone is None:
                    self._owner.pop((a, b), None)
                    continue
                waits = self._who_waits(agents, a, b, zone)
                if waits is not None:
                    agent = agents[waits]
                    entry = zone[0] if waits == a else zone[2]
                    other = agents[b if waits == a else a]
                    lines.setdefault(waits, []).append((entry - agent.s - agent.nose_m - 0.5, other.body.track))
        return lines

    def _who_waits(self, agents: "Sequence[Agent]", a: int, b: int, zone: Zone) -> int | None:
        one, two = agents[a], agents[b]
        enter = (zone[0] - one.s - one.nose_m, zone[2] - two.s - two.nose_m)
        leave = (zone[1] - one.s + one.tail_m, zone[3] - two.s + two.tail_m)
        if leave[0] < 0 or leave[1] < 0 or (enter[0] <= 0 and enter[1] <= 0):
            self._owner.pop((a, b), None)
            return None
        if enter[0] <= 0 or enter[1] <= 0:
            return b if enter[0] <= 0 else a
        arrive, gone = [0.0, 0.0], [0.0, 0.0]
        for i, (agent, entry) in enumerate(((one, zone[0]), (two, zone[2]))):
            now = max(agent.speed, 0.6 * min(agent.wish, 6.0))
            inside = min(now, agent.path.limit_mps(entry + 3.0))
            arrive[i] = enter[i] / (0.5 * (now + inside))
            gone[i] = arrive[i] + (leave[i] - enter[i]) / inside
        if min(arrive) > 7.0 or gone[0] + 1.2 < arrive[1] or gone[1] + 1.2 < arrive[0]:
            return None
        bonus = {a: 3.0, b: -3.0}.get(self._owner.get((a, b), -1), 0.0)  # who was let go first stays first
        first_goes = arrive[0] - one.rank < arrive[1] - two.rank + bonus
        can_stop = [enter[i] > agent.speed**2 / (2 * 3.0) + 1.0 for i, agent in enumerate((one, two))]
        if first_goes and not can_stop[1] and can_stop[0]:
            first_goes = False
        elif not first_goes and not can_stop[0] and can_stop[1]:
            first_goes = True
        self._owner[(a, b)] = a if first_goes else b
        return b if first_goes else a


def crossing_zone(first: Path, second: Path) -> Zone | None:
    """Stretch (from, to) of each path on which cars on both would touch; None if there is none.

    Paths that merely share a lane are no crossing: whoever is behind follows. Only where headings differ, counted.
    """
    if first is second:
        return None
    start_a, start_b = _near(first, second), _near(second, first)
    if start_a is None or start_b is None:
        return None
    a, b = first.points[start_a], second.points[start_b]
    close = ((a[:, None] - b[None]) ** 2).sum(axis=-1) < 3.0**2
    if not close.any():
        return None
    angle = np.abs(wrap_angle(first.headings[start_a][:, None] - second.headings[start_b][None]))
    rows, columns = np.nonzero(close & (angle > 0.2) & (angle < 2.9))
    if not len(rows):
        return None
    on_a, on_b = (start_a.start + 2 * rows) * first.step_m, (start_b.start + 2 * columns) * second.step_m
    return float(on_a.min()), float(on_a.max()), float(on_b.min()), float(on_b.max())


def _near(path: Path, other: Path) -> slice | None:
    """Every second point on the stretch of a path that may come close to another one (a quick look, 8 m apart)."""
    apart = ((path.points[::16, None] - other.points[None, ::16]) ** 2).sum(axis=-1).min(axis=1)
    hits = np.flatnonzero(apart < 15.0**2)
    return slice(max(int(hits[0]) - 1, 0) * 16, (int(hits[-1]) + 2) * 16, 2) if len(hits) else None
