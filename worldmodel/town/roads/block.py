"""Streets around a block of houses: the ego goes round and comes back to where it was.

The ego drives along side 0 to corner 0, turns, drives along side 1 to corner 1, and so on. Two more streets may meet at
each corner: the one that goes on 'ahead', and the one from 'behind' that the next side continues.
"""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.roads.junctions import BARE_M, Control, Junction, add_arm, add_junction, waits_at
from worldmodel.town.roads.network import Chain, Look, Network, Segment, direction
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, RoadMap
from worldmodel.town.roads.waits import Wait, gates_of, passes, stop_lines

CLEAR_M = 7.0  # between a corner and a parking strip
ROUND = 1.0  # rank of those who go round the block; they go before the streets that come to it


@dataclass(frozen=True, kw_only=True)
class Block:
    """What a block is like.

    Attributes:
        to_right: Whether the ego turns right at the corners; else left.
        along_m, across_m: Between the middles of the corners, of sides 0 and 2, and of sides 1 and 3.
        outside_m: Length of the streets that lead away.
        ahead, behind: Corners that have these streets; `behind` always has corner 3.
        start: Where on side 0 the ego starts, from 0 to 1.
        length_m: Must lie ahead of the ego.
    """

    heading: float
    to_right: bool
    along_m: float
    across_m: float
    outside_m: float
    ahead: frozenset[int]
    behind: frozenset[int]
    start: float
    length_m: float
    width_m: float

    def arm(self, side: int) -> int:
        """Arm of the corner at the end of a side by which the side comes in; with headings of arms all over the same."""
        return (side if self.to_right else -side) % 4

    def corners(self) -> list[Junction]:
        """The four corners; their arms are numbered alike."""
        found, place = [], np.zeros(2)
        for corner in range(4):
            ahead, behind = corner in self.ahead or corner not in self.behind, corner in self.behind
            arms = {self.arm(corner), (self.arm(corner + 1) + 2) % 4}
            arms |= {(self.arm(corner) + 2) % 4} if ahead else set()
            arms |= {self.arm(corner + 1)} if behind else set()
            found.append(
                Junction(
                    name=f"c{corner}-",
                    centre=place,
                    heading=self.heading,
                    arms=tuple(sorted(arms)),
                    width_m=self.width_m,
                )
            )
            length = self.across_m if corner % 2 == 0 else self.along_m
            place = place + length * direction(self.heading + self.arm(corner + 1) * np.pi / 2)
        return found


def block(plan: Block) -> RoadMap:
    """The streets, with parking strips along the block's sides."""
    network, corners = Network(), plan.corners()
    waits: list[Wait] = []
    for corner, junction in enumerate(corners):
        add_junction(network, junction)
        outer = [arm for arm in junction.arms if arm not in _inner(plan, corner)]
        for arm in outer:
            add_arm(network, junction, arm, plan.outside_m)
        waits += waits_at(junction, Control(kind="yield", lower=tuple(outer)))
        _add_side(network, plan, corners, corner)
    lap = 2 * (plan.along_m + plan.across_m)
    laps = ceil(plan.length_m / (lap - 40.0)) + 1
    routes = _routes(network, plan, corners, laps)
    ego = routes["ego"]
    first = passes(ego, corners[3].leaving(2, corners[3].box_m))[0]
    start_s = first + plan.start * (plan.along_m - 2 * corners[0].box_m)
    turns = _turns(plan, corners, ego, start_s)
    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=start_s,
        manoeuvre=turns[0][0],
        done_s=turns[0][1],
        turns=turns,
        parking=True,
        strips={name: _strips(plan, corners, path) for name, path in routes.items()},
        width_m=plan.width_m,
        gates=gates_of(routes, waits),
        ranks={"ego": ROUND, "oncoming": ROUND},
        stop_lines=stop_lines(waits),
    )


def _inner(plan: Block, corner: int) -> tuple[int, int]:
    """Arms of a corner that are sides of the block: the one before it and the one behind it."""
    return plan.arm(corner), (plan.arm(corner + 1) + 2) % 4


def _side(plan: Block, corners: list[Junction], side: int) -> tuple[Array, float, float]:
    """Where the middle of a side begins, its heading and its length between the corners' lanes."""
    before = corners[(side - 1) % 4]
    heading = plan.heading + plan.arm(side) * np.pi / 2
    length = plan.along_m if side % 2 == 0 else plan.across_m
    return before.centre + before.box_m * direction(heading), heading, length - 2 * before.box_m


def _add_side(network: Network, plan: Block, corners: list[Junction], side: int) -> None:
    """Both lanes of a side and its parking strips."""
    start, heading, length = _side(plan, corners, side)
    chain = Chain(start=start, heading=heading, segments=[("straight", length, 0.0)])
    here, there, width = corners[(side - 1) % 4].name, corners[side].name, plan.width_m
    away, come = (plan.arm(side) + 2) % 4, plan.arm(side)
    plain = Look(width_m=width)
    first, second = f"f{side}-1", f"f{side}-2"  # between them is the line in the middle
    for begin, piece, look, ends in (
        (0.0, BARE_M, plain, (f"{here}out{away}", first)),
        (BARE_M, length - 2 * BARE_M, replace(plain, left="striped"), (first, second)),
        (length - BARE_M, BARE_M, plain, (second, f"{there}in{come}")),
    ):
        part = Chain(start=start + begin * direction(heading), heading=heading, segments=[("straight", piece, 0.0)])
        network.strand(f"s{side}", part, look, lateral_m=width / 2, ends=ends)
    network.strand(
        f"b{side}", chain, plain, lateral_m=-width / 2, reverse=True, ends=(f"{there}out{come}", f"{here}in{away}")
    )
    strip: list[Segment] = [("straight", length - 2 * CLEAR_M, 0.0)]
    middle = Chain(start=start + CLEAR_M * direction(heading), heading=heading, segments=strip)
    kerb, lateral = Look(width_m=PARKING_M, right="edge"), width + PARKING_M / 2
    network.strand(f"pf{side}", middle, kerb, lateral_m=lateral)
    network.strand(f"pb{side}", middle, kerb, lateral_m=-lateral, reverse=True)


def _routes(network: Network, plan: Block, corners: list[Junction], laps: int) -> dict[str, Path]:
    """The ego's way round, the other way round, and straight along every street that goes on at both ends."""
    forth = [node for side in range(4) for node in _along(plan, corners, side)]
    back = [node for side in range(3, -1, -1) for node in _against(plan, corners, side)]
    start = [f"{corners[3].name}{node}" for node in ("far0", "line0", "in0")]
    routes = {"ego": network.path([*start, *forth * laps]), "oncoming": network.path(back * laps)}
    number = 0
    for side in range(4):
        before, after = corners[(side - 1) % 4], corners[side]
        come, away = plan.arm(side), (plan.arm(side) + 2) % 4
        if come not in before.arms or away not in after.arms:
            continue
        routes[f"through{number}"] = network.path(
            [*_coming(before, come), *_along(plan, corners, side), *_going(after, away)]
        )
        routes[f"through{number + 1}"] = network.path(
            [*_coming(after, away), *_against(plan, corners, side), *_going(before, come)]
        )
        number += 2
    return routes


def _coming(junction: Junction, arm: int) -> list[str]:
    return [f"{junction.name}{node}{arm}" for node in ("far", "line", "in")]


def _going(junction: Junction, arm: int) -> list[str]:
    return [f"{junction.name}{node}{arm}" for node in ("out", "gone")]


def _along(plan: Block, corners: list[Junction], side: int) -> list[str]:
    """Nodes of a side's lane in the ego's direction."""
    come = plan.arm(side)
    first, last = f"{corners[(side - 1) % 4].name}out{(come + 2) % 4}", f"{corners[side].name}in{come}"
    return [first, f"f{side}-1", f"f{side}-2", last]


def _against(plan: Block, corners: list[Junction], side: int) -> list[str]:
    """Nodes of a side's lane in the other direction."""
    come = plan.arm(side)
    return [f"{corners[side].name}out{come}", f"{corners[(side - 1) % 4].name}in{(come + 2) % 4}"]


def _turns(plan: Block, corners: list[Junction], ego: Path, start_s: float) -> tuple[tuple[str, float], ...]:
    """Every turn of the ego that lies ahead."""
    word = "right" if plan.to_right else "left"
    found = []
    for corner, junction in enumerate(corners):
        found += passes(ego, junction.leaving(_inner(plan, corner)[1], junction.box_m + 3.0))
    return tuple((word, s) for s in sorted(found) if s > start_s)


def _strips(plan: Block, corners: list[Junction], path: Path) -> tuple[tuple[float, float], ...]:
    """Where a route has a parking strip beside it."""
    found = []
    for side in range(4):
        length = _side(plan, corners, side)[2] - 2 * CLEAR_M
        for corner, arm in (((side - 1) % 4, (plan.arm(side) + 2) % 4), (side, plan.arm(side))):
            junction = corners[corner]
            starts = passes(path, junction.leaving(arm, junction.box_m + CLEAR_M))
            found += [(s, s + length) for s in starts]
    return tuple(sorted(found))
