"""Highways that a ramp joins or leaves, over a lane beside them that opens or ends in a taper.

All routes have the same metres at the same places as far as they run side by side.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.roads.network import Chain, Look, Network, Segment, direction, to_right
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import SHOULDER_M, Gate, RoadMap
from worldmodel.town.roads.streets import (
    HIGHWAY_LANE_M,
    MEDIAN_M,
    SHOULDER,
    add_highway,
    parallel,
    shoulder_lateral,
)

TAPER_M, STEP_M = 52.5, 7.5  # seven dashes long
GORE_M = 2.0  # length of the pieces of which the corner between highway and ramp is made
BESIDE = Look(width_m=HIGHWAY_LANE_M, left="striped")
ALONE = Look(width_m=HIGHWAY_LANE_M, left="solid")
GIVE_WAY = 1.0  # by how much the highway ranks above its ramp


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """What a highway with a ramp is like.

    Attributes:
        lanes: Of the highway, each way.
        before_m: From the highway's start to where the lane beside it begins (its taper not counted).
        beside_m: Length of that lane, tapers not counted.
        radius_m, angle_rad: Of the ramp's bend.
        away_m: Length of the ramp that leaves, behind its bend.
        beyond: How the highway goes on behind the end of the lane beside it.
        ego: The ego's route: 'ramp', 'lane0', ...
        start_s: Where on it the ego starts.
    """

    heading: float
    lanes: int
    before_m: float
    beside_m: float
    radius_m: float
    angle_rad: float
    away_m: float
    beyond: list[Segment]
    ego: str
    start_s: float

    @property
    def lateral_m(self) -> float:
        """From the middle of the highway to that of the lane beside it."""
        return MEDIAN_M / 2 + HIGHWAY_LANE_M * (self.lanes + 0.5)

    def place(self, along_m: float, lateral_m: float) -> Array:
        """A place on the highway's straight part, in highway-env's frame."""
        return along_m * direction(self.heading) + lateral_m * to_right(self.heading)

    def straight(self, along_m: float, length_m: float) -> Chain:
        """A stretch of the lane beside the highway."""
        start = self.place(along_m, self.lateral_m)
        return Chain(start=start, heading=self.heading, segments=[("straight", length_m, 0.0)])


def joining(plan: Ramp) -> RoadMap:
    """A highway that a ramp joins: who comes from it changes lanes before its lane ends, or gives way there."""
    network, outer = Network(), plan.lanes - 1
    ends = plan.before_m + plan.beside_m
    nodes = _add_highway(network, plan, ends + TAPER_M)
    arc: Segment = ("arc", plan.radius_m, plan.angle_rad)
    coming = plan.before_m - plan.radius_m * plan.angle_rad
    chain = _ending_at(plan.place(plan.before_m, plan.lateral_m), plan.heading, [("straight", coming, 0.0), arc])
    taper: Segment = ("shift", TAPER_M, -HIGHWAY_LANE_M)
    network.strand("ramp", chain, ALONE)
    beside = network.strand("beside", plan.straight(plan.before_m, plan.beside_m), BESIDE, ends=("ramp-2", "end"))
    narrowing = Chain(start=plan.place(ends, plan.lateral_m), heading=plan.heading, segments=[taper])
    network.strand("taper", narrowing, BESIDE, ends=("end", nodes[f"lane{outer}"][1]), painted=False)
    _add_wedge(network, plan, ends, closing=True)
    _add_shoulder(
        network,
        "s",
        Chain(
            start=chain.start,
            heading=chain.heading,
            segments=[*chain.segments, ("straight", plan.beside_m, 0.0), taper],
        ),
    )
    nose = plan.before_m - _add_gore(network, plan, plan.before_m, -1)
    _add_main_shoulders(network, plan, nose, ends + TAPER_M)
    ramp = network.path(["ramp-0", "ramp-1", *beside, *nodes[f"lane{outer}"][1:]])
    gates: dict[str, tuple[Gate, ...]] = {"ramp": (Gate(s_m=ends, kind="yield"),)}
    return _road(network, plan, nodes, ramp, changes=(plan.before_m, ends), gates=gates, done=("merge", ends + TAPER_M))


def leaving(plan: Ramp) -> RoadMap:
    """A highway that a ramp leaves; its route moves over by itself where the lane beside the highway opens."""
    network, outer = Network(), plan.lanes - 1
    opens, ends = plan.before_m - TAPER_M, plan.before_m + plan.beside_m
    nodes = _add_highway(network, plan, opens)
    taper: Segment = ("shift", TAPER_M, HIGHWAY_LANE_M)
    away: list[Segment] = [("arc", plan.radius_m, plan.angle_rad), ("straight", plan.away_m, 0.0)]
    start = plan.place(opens, plan.lateral_m - HIGHWAY_LANE_M)
    opening = Chain(start=start, heading=plan.heading, segments=[taper])
    network.strand("taper", opening, BESIDE, ends=(nodes[f"lane{outer}"][1], "begin"), painted=False)
    _add_wedge(network, plan, opens, closing=False)
    network.strand("beside", plan.straight(plan.before_m, plan.beside_m), BESIDE, ends=("begin", "part"))
    going = Chain(start=plan.place(ends, plan.lateral_m), heading=plan.heading, segments=away)
    after = network.strand("ramp", going, ALONE, ends=("part", "gone"))
    _add_shoulder(
        network,
        "s",
        Chain(start=start, heading=plan.heading, segments=[taper, ("straight", plan.beside_m, 0.0), *away]),
    )
    _add_main_shoulders(network, plan, opens, ends + _add_gore(network, plan, ends, 1))
    ramp = network.path([*nodes[f"lane{outer}"][:2], "begin", *after])
    done = ends + plan.radius_m * plan.angle_rad / 2
    return _road(network, plan, nodes, ramp, changes=None, gates={}, done=("exit", done))


def _road(
    network: Network,
    plan: Ramp,
    nodes: dict[str, list[str]],
    ramp: Path,
    *,
    changes: tuple[float, float] | None,
    gates: dict[str, tuple[Gate, ...]],
    done: tuple[str, float],
) -> RoadMap:
    routes = {name: network.path(strand) for name, strand in nodes.items()} | {"ramp": ramp}
    routes["ego"] = routes[plan.ego]
    neighbours = parallel(plan.lanes)
    if changes is not None:
        neighbours["ramp"] = (f"lane{plan.lanes - 1}", "")
    on_ramp = plan.ego == "ramp"

    def with_ego(table: dict[str, Any]) -> dict[str, Any]:
        return table | ({"ego": table[plan.ego]} if plan.ego in table else {})

    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=plan.start_s,
        manoeuvre=done[0] if on_ramp else "follow",
        done_s=done[1] if on_ramp else 0.0,
        turns=(done,) if on_ramp else (),
        width_m=HIGHWAY_LANE_M,
        gates=with_ego(gates),
        ranks=with_ego({name: GIVE_WAY for name in routes if name.startswith("lane")}),
        neighbours=with_ego(neighbours),
        changes=with_ego({} if changes is None else {"ramp": changes}),
        rural=True,
    )


def _add_highway(network: Network, plan: Ramp, split_m: float) -> dict[str, list[str]]:
    """Its lanes; the first node after the start is `split_m` along it."""
    length = plan.before_m + plan.beside_m + 2 * TAPER_M
    straight: list[Segment] = [("straight", split_m, 0.0), ("straight", length - split_m, 0.0)]
    chain = Chain(start=np.zeros(2), heading=plan.heading, segments=[*straight, *plan.beyond])
    return add_highway(network, chain, plan.lanes, shoulder=False)


def _ending_at(end: Array, heading: float, segments: list[Segment]) -> Chain:
    """The chain that ends at a place with a heading."""
    turned = sum(angle for kind, _, angle in segments if kind == "arc")
    there, _ = Chain(start=np.zeros(2), heading=heading - turned, segments=segments).end()
    return Chain(start=end - there, heading=heading - turned, segments=segments)


def _add_wedge(network: Network, plan: Ramp, start_m: float, *, closing: bool) -> None:
    """Pieces of lane that get narrower, or wider, beside the highway; the shoulder covers their steps."""
    count = round(TAPER_M / STEP_M)
    for i in range(count):
        wide = i if closing else count - 1 - i
        width = HIGHWAY_LANE_M * (1 + np.cos(np.pi * wide / count)) / 2
        if width < 0.5:
            continue
        along, aside = start_m + i * STEP_M, plan.lateral_m - (HIGHWAY_LANE_M - width) / 2
        chain = Chain(start=plan.place(along, aside), heading=plan.heading, segments=[("straight", STEP_M, 0.0)])
        network.strand(f"wedge{i}", chain, Look(width_m=float(width), left="striped"))


def _add_shoulder(network: Network, name: str, chain: Chain) -> None:
    network.strand(name, chain, SHOULDER, lateral_m=(HIGHWAY_LANE_M + SHOULDER_M) / 2)


def _add_main_shoulders(network: Network, plan: Ramp, until_m: float, from_m: float) -> None:
    """The highway's own shoulder up to a place, and on from another one."""
    lateral = shoulder_lateral(plan.lanes)
    length = plan.before_m + plan.beside_m + 2 * TAPER_M
    before = Chain(start=np.zeros(2), heading=plan.heading, segments=[("straight", until_m, 0.0)])
    rest: list[Segment] = [("straight", length - from_m, 0.0), *plan.beyond]
    after = Chain(start=plan.place(from_m, 0.0), heading=plan.heading, segments=rest)
    network.strand("s-before", before, SHOULDER, lateral_m=lateral)
    network.strand("s-after", after, SHOULDER, lateral_m=lateral)


def _add_gore(network: Network, plan: Ramp, at_m: float, sign: int) -> float:
    """The paved corner between highway and ramp, behind (1) or before (-1) where they touch; returns its length."""
    count = round(np.sqrt(2 * plan.radius_m * SHOULDER_M) / GORE_M)
    for i in range(count):
        near, far = i * GORE_M, (i + 1) * GORE_M
        width = float(plan.radius_m - np.sqrt(plan.radius_m**2 - far**2))
        start = plan.place(at_m + (near if sign > 0 else -far), plan.lateral_m - HIGHWAY_LANE_M / 2 + width / 2)
        chain = Chain(start=start, heading=plan.heading, segments=[("straight", GORE_M, 0.0)])
        network.strand(f"gore{i}", chain, Look(width_m=width))
    return count * GORE_M
