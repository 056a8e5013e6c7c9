"""Streets and highways: lanes side by side along one chain of straights and arcs."""

from typing import Any

import numpy as np

from worldmodel.town.network import Segment, add_strand, route_path, stage_lanes
from worldmodel.town.paths import Path
from worldmodel.town.roadmap import PARKING_M, SHOULDER_M, RoadMap


def two_way(segments: list[Segment], *, heading: float, start_s: float, width: float, parking: bool) -> RoadMap:
    """A street with one lane each way, with or without parking strips."""
    from highway_env.road.lane import LineType
    from highway_env.road.road import RoadNetwork

    network = RoadNetwork()
    outer = LineType.NONE if parking else LineType.CONTINUOUS_LINE
    shared: dict[str, Any] = {"heading": heading, "start": np.zeros(2)}
    ahead = add_strand(
        network, segments, lateral=width / 2, width=width, lines=(LineType.STRIPED, outer), names="f", **shared
    )
    back = add_strand(
        network,
        segments,
        lateral=-width / 2,
        width=width,
        lines=(LineType.NONE, outer),
        names="b",
        reverse=True,
        **shared,
    )
    if parking:
        kerb = (LineType.NONE, LineType.CONTINUOUS_LINE)
        beside = width + PARKING_M / 2
        add_strand(network, segments, lateral=beside, width=PARKING_M, lines=kerb, names="pf", **shared)
        add_strand(network, segments, lateral=-beside, width=PARKING_M, lines=kerb, names="pb", reverse=True, **shared)
    return RoadMap(
        lanes=stage_lanes(network),
        routes={"ego": route_path(network, ahead), "oncoming": route_path(network, back)},
        start_s=start_s,
        parking=parking,
        width_m=width,
    )


def highway(segments: list[Segment], *, heading: float, start_s: float, ego_lane: int) -> RoadMap:
    """Three lanes each way with a median; 'lane0' is the leftmost of ours."""
    from highway_env.road.lane import LineType
    from highway_env.road.road import RoadNetwork

    network, width, median = RoadNetwork(), 3.8, 3.0
    none, striped, solid = LineType.NONE, LineType.STRIPED, LineType.CONTINUOUS  # no kerb: grass begins at the line
    lines = [(solid, none), (striped, none), (striped, solid)]
    routes: dict[str, Path] = {}
    shared: dict[str, Any] = {"heading": heading, "start": np.zeros(2)}
    for side, reverse in (("lane", False), ("oncoming", True)):
        for lane in range(3):
            lateral = (median / 2 + width * (lane + 0.5)) * (-1 if reverse else 1)
            nodes = add_strand(
                network,
                segments,
                lateral=lateral,
                width=width,
                lines=lines[lane],
                names=f"{side}{lane}-",
                reverse=reverse,
                **shared,
            )
            routes[f"{side}{lane}"] = route_path(network, nodes)
        shoulder = (median / 2 + width * 3 + 1.0) * (-1 if reverse else 1)
        add_strand(
            network,
            segments,
            lateral=shoulder,
            width=SHOULDER_M,
            lines=(none, solid),
            names=f"shoulder-{side}",
            reverse=reverse,
            **shared,
        )
    routes["ego"] = routes[f"lane{ego_lane}"]
    return RoadMap(lanes=stage_lanes(network), routes=routes, start_s=start_s, width_m=width)
