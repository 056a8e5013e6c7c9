"""Streets and highways: lanes side by side along one chain of straights and arcs."""

from dataclasses import replace
from math import pi

import numpy as np

from worldmodel.town.roads.network import Chain, Look, Network, Segment
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, SHOULDER_M, RoadMap
from worldmodel.town.roads.waits import CROSSWALK_M, LINE_GAP_M, Wait, gates_of, stop_lines
from worldmodel.town.scene import Crosswalk

HIGHWAY_LANE_M, MEDIAN_M = 3.8, 3.0


def chain_of(segments: list[Segment], heading: float) -> Chain:
    """A chain that starts at the world's origin."""
    return Chain(start=np.zeros(2), heading=heading, segments=segments)


def two_way(segments: list[Segment], *, heading: float, start_s: float, width: float, parking: bool) -> RoadMap:
    """A street with one lane each way, with or without parking strips."""
    network, chain = Network(), chain_of(segments, heading)
    outer = "none" if parking else "edge"
    ahead = network.strand("f", chain, Look(width_m=width, left="striped", right=outer), lateral_m=width / 2)
    back = network.strand("b", chain, Look(width_m=width, right=outer), lateral_m=-width / 2, reverse=True)
    if parking:
        _park(network, chain, width)
    return RoadMap(
        lanes=network.lanes(),
        routes={"ego": network.path(ahead), "oncoming": network.path(back)},
        start_s=start_s,
        parking=parking,
        width_m=width,
    )


def _park(network: Network, chain: Chain, beside_m: float) -> None:
    """Parking strips on both sides, `beside_m` from the middle."""
    kerb, lateral = Look(width_m=PARKING_M, right="edge"), beside_m + PARKING_M / 2
    network.strand("pf", chain, kerb, lateral_m=lateral)
    network.strand("pb", chain, kerb, lateral_m=-lateral, reverse=True)


def two_lanes(
    segments: list[Segment], *, heading: float, start_s: float, width: float, parking: bool, ego_lane: int
) -> RoadMap:
    """A town street with two lanes each way; 'lane0' is the left one."""
    network, chain = Network(), chain_of(segments, heading)
    outer = "none" if parking else "edge"
    looks = (Look(width_m=width, left="solid"), Look(width_m=width, left="striped", right=outer))
    routes: dict[str, Path] = {}
    for side, sign in (("lane", 1.0), ("oncoming", -1.0)):
        for lane, look in enumerate(looks):
            lateral = sign * width * (lane + 0.5)
            nodes = network.strand(f"{side}{lane}", chain, look, lateral_m=lateral, reverse=sign < 0)
            routes[f"{side}{lane}"] = network.path(nodes)
    if parking:
        _park(network, chain, 2 * width)
    routes["ego"] = routes[f"lane{ego_lane}"]
    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=start_s,
        parking=parking,
        width_m=width,
        neighbours=_with_ego(parallel(2), ego_lane),
    )


def parallel(count: int) -> dict[str, tuple[str, str]]:
    """Neighbours of lanes that are numbered from the middle outwards."""
    found = {}
    for side in ("lane", "oncoming"):
        for lane in range(count):
            left = f"{side}{lane - 1}" if lane > 0 else ""
            right = f"{side}{lane + 1}" if lane < count - 1 else ""
            found[f"{side}{lane}"] = (left, right)
    return found


def _with_ego(neighbours: dict[str, tuple[str, str]], ego_lane: int) -> dict[str, tuple[str, str]]:
    return neighbours | {"ego": neighbours[f"lane{ego_lane}"]}


def add_highway(network: Network, chain: Chain, count: int, *, shoulder: bool = True) -> dict[str, list[str]]:
    """Lanes of a highway with a median; returns the nodes of each lane's strand."""
    looks = [Look(width_m=HIGHWAY_LANE_M, left="striped") for _ in range(count)]
    looks[0] = replace(looks[0], left="solid")
    looks[-1] = replace(looks[-1], right="solid")  # no kerb: grass begins behind the shoulder
    nodes = {}
    for side, sign in (("lane", 1.0), ("oncoming", -1.0)):
        for lane, look in enumerate(looks):
            lateral = sign * (MEDIAN_M / 2 + HIGHWAY_LANE_M * (lane + 0.5))
            nodes[f"{side}{lane}"] = network.strand(f"{side}{lane}", chain, look, lateral_m=lateral, reverse=sign < 0)
        if shoulder or sign < 0:
            network.strand(
                f"shoulder-{side}", chain, SHOULDER, lateral_m=sign * shoulder_lateral(count), reverse=sign < 0
            )
    return nodes


SHOULDER = Look(width_m=SHOULDER_M, right="solid")


def shoulder_lateral(count: int) -> float:
    """From the middle of a highway to the middle of its shoulder, metres."""
    return MEDIAN_M / 2 + HIGHWAY_LANE_M * count + SHOULDER_M / 2


def highway(segments: list[Segment], *, heading: float, start_s: float, ego_lane: int) -> RoadMap:
    """Three lanes each way with a median; 'lane0' is the leftmost of ours."""
    network = Network()
    nodes = add_highway(network, chain_of(segments, heading), 3)
    routes = {name: network.path(strand) for name, strand in nodes.items()}
    routes["ego"] = routes[f"lane{ego_lane}"]
    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=start_s,
        width_m=HIGHWAY_LANE_M,
        neighbours=_with_ego(parallel(3), ego_lane),
        rural=True,
    )


# -- streets with something on them -------------------------------------------------------------------------------


def with_crosswalk(road: RoadMap, ahead_m: float, line: str) -> RoadMap:
    """The same two-way street with a zebra crosswalk, so far ahead of the ego.

    Args:
        line: What is painted before it: 'solid', 'teeth' or ''.
    """
    middle, half = road.start_s + ahead_m, road.width_m / 2
    x, y, heading = road.routes["ego"].at(middle, half)
    kerb_m = road.width_m + (PARKING_M if road.parking else 0.0)
    before = CROSSWALK_M / 2 + LINE_GAP_M
    far = (x + before * np.cos(heading) - half * np.sin(heading), y + before * np.sin(heading) + half * np.cos(heading))
    poses = (road.routes["ego"].at(middle - before), (float(far[0]), float(far[1]), heading + pi))
    waits = [Wait(pose=pose, kind="crosswalk", number=0, line=line, width_m=road.width_m) for pose in poses]
    return replace(
        road,
        gates=gates_of(road.routes, waits),
        crosswalks=(Crosswalk(x_m=x, y_m=y, yaw_rad=heading, length_m=CROSSWALK_M, width_m=2 * kerb_m),),
        stop_lines=stop_lines(waits),
    )
