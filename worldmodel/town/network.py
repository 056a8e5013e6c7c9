"""highway-env networks: lanes along chains of straights and arcs, and back into our frame.

highway-env looks at the world with y to the *right* of x. All lane geometry is built in its frame; only `mirrored`
crosses the border (y changes its sign), and nothing outside the files that build roads sees its coordinates.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.paths import Path, evenly_spaced
from worldmodel.town.scene import Lane

Segment = tuple[str, float, float]  # ('straight', length, 0) or ('arc', radius, signed angle; right turns positive)


def mirrored(points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Between highway-env's frame (y to the right) and ours (y to the left)."""
    return points * np.array([1.0, -1.0])


def sample_lane(lane: Any, step_m: float) -> Float[Array, "n 2"]:
    """Centre line of a highway-env lane in our frame."""
    from highway_env.road.lane import StraightLane

    if type(lane) is StraightLane:  # its ends say it all
        return evenly_spaced(mirrored(np.array([lane.position(0.0, 0.0), lane.position(lane.length, 0.0)])), step_m)
    along = np.linspace(0.0, lane.length, max(2, round(lane.length / step_m) + 1))
    return mirrored(np.array([lane.position(s, 0.0) for s in along]))


def _lines() -> dict[int, str]:
    from highway_env.road.lane import LineType

    return {
        LineType.NONE: "none",
        LineType.STRIPED: "striped",
        LineType.CONTINUOUS: "solid",
        LineType.CONTINUOUS_LINE: "edge",
    }


def stage_lanes(network: Any) -> tuple[Lane, ...]:
    """All lanes of a highway-env network as polylines about 1 m apart."""
    names = _lines()
    return tuple(
        Lane(
            centre=evenly_spaced(sample_lane(lane, 1.0), 1.0),
            width_m=float(lane.width),
            left_line=names[lane.line_types[0]],
            right_line=names[lane.line_types[1]],
        )
        for lane in network.lanes_list()
    )


def route_path(network: Any, nodes: list[str], lane: int = 0) -> Path:
    """The path through a list of nodes, always on the lane with this number."""
    pieces = []
    for start, end in pairwise(nodes):
        lanes = network.graph[start][end]
        pieces.append(sample_lane(lanes[min(lane, len(lanes) - 1)], 0.25))
    return Path(np.concatenate(pieces))


def _straight(start: Array, heading: float, length: float, lateral: float, reverse: bool, **options: Any) -> Any:
    from highway_env.road.lane import StraightLane

    right = np.array([-np.sin(heading), np.cos(heading)])
    first = start + lateral * right
    last = first + length * np.array([np.cos(heading), np.sin(heading)])
    return StraightLane(last, first, **options) if reverse else StraightLane(first, last, **options)


def _arc(start: Array, heading: float, segment: Segment, lateral: float, reverse: bool, **options: Any) -> Any:
    from highway_env.road.lane import CircularLane

    _, radius, angle = segment
    side = 1.0 if angle > 0 else -1.0
    right = np.array([-np.sin(heading), np.cos(heading)])
    first = heading - side * np.pi / 2
    last = first + angle
    clockwise = angle > 0
    if reverse:
        first, last, clockwise = last, first, not clockwise
    return CircularLane(start + side * radius * right, radius - side * lateral, first, last, clockwise, **options)


def _advance(start: Array, heading: float, segment: Segment) -> tuple[Array, float]:
    kind, size, angle = segment
    if kind == "straight":
        return start + size * np.array([np.cos(heading), np.sin(heading)]), heading
    side = 1.0 if angle > 0 else -1.0
    centre = start + side * size * np.array([-np.sin(heading), np.cos(heading)])
    out = heading + angle
    return centre - side * size * np.array([-np.sin(out), np.cos(out)]), out


def add_strand(
    network: Any,
    segments: list[Segment],
    *,
    heading: float,
    start: Array,
    lateral: float,
    width: float,
    lines: tuple[int, int],
    names: str,
    reverse: bool = False,
) -> list[str]:
    """Add one lane that runs `lateral` metres to the right of a chain of segments; returns its nodes in driving order."""
    count = len(segments)
    for i, segment in enumerate(segments):
        build = _straight if segment[0] == "straight" else _arc
        size: Any = segment[1] if segment[0] == "straight" else segment
        lane = build(start, heading, size, lateral, reverse, width=width, line_types=list(lines))
        ends = (f"{names}{i}", f"{names}{i + 1}")
        network.add_lane(*(ends[::-1] if reverse else ends), lane)
        start, heading = _advance(start, heading, segment)
    nodes = [f"{names}{i}" for i in range(count + 1)]
    return nodes[::-1] if reverse else nodes
