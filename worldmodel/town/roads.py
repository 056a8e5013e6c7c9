"""Roads: highway-env networks for each kind of road, turned into our lanes and into paths to drive.

highway-env looks at the world with y to the *right* of x. All lane geometry below is built in its frame; only
`mirrored` crosses the border (y changes its sign), and nothing outside this file sees its coordinates.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.paths import Path, evenly_spaced
from worldmodel.town.scene import AMBER, GREEN, RED, Crosswalk, Lane, Signal, StopLine

PARKING_M = 2.3
SHOULDER_M = 2.0  # of highways
Segment = tuple[str, float, float]  # ('straight', length, 0) or ('arc', radius, signed angle; right turns positive)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A place on a route where one may have to wait.

    Attributes:
        s_m: Of the stop line, metres along the route.
        kind: 'signal', 'stop' (stands first), 'yield' (lets everybody on the other road pass) or 'crosswalk'.
        number: Of the signal or crosswalk on the stage; -1 for the others.
    """

    s_m: float
    kind: str
    number: int = -1


@dataclass(frozen=True, kw_only=True)
class Programme:
    """What the signals of one crossing show: groups take turns, each green, then amber, then all red for a moment.

    Attributes:
        groups: Group of each signal.
        green_s, amber_s, clear_s: Durations of a turn's three parts.
        offset_s: Where in the cycle the scene starts.
    """

    groups: tuple[int, ...]
    green_s: float = 10.0
    amber_s: float = 2.0
    clear_s: float = 1.5
    offset_s: float = 0.0

    def states(self, time_s: float) -> tuple[int, ...]:
        """RED, AMBER or GREEN of every signal."""
        turn = self.green_s + self.amber_s + self.clear_s
        count = max(self.groups, default=0) + 1
        place = (time_s + self.offset_s) % (turn * count)
        group, within = int(place // turn), place % turn
        shown = GREEN if within < self.green_s else AMBER if within < self.green_s + self.amber_s else RED
        return tuple(shown if mine == group else RED for mine in self.groups)


@dataclass(frozen=True, eq=False, kw_only=True)
class RoadMap:
    """A piece of road network around the ego.

    Attributes:
        lanes: For the stage.
        routes: Paths to drive, by name; 'ego' is the ego's.
        start_s: Where the ego starts on its route, metres.
        manoeuvre: What the route asks for: 'follow', 'left', 'right', 'straight' or 'exit 1' ... 'exit 3'.
        done_s: Where on its route the manoeuvre is over, metres; the start for 'follow'.
        parking: Whether parking strips lie beside the driving lanes.
        width_m: Width of a driving lane.
        gates: Where one may have to wait, by route; a route without gates may be missing.
        ranks: Which routes go first where they cross others: the higher; 0 for a route that is missing.
        neighbours: For routes with a parallel lane to change into: names of the routes to the left and to the right ('' none).
        crosswalks, stop_lines, signals: For the stage.
        programme: Of the signals; None where there are none.
    """

    lanes: tuple[Lane, ...]
    routes: dict[str, Path]
    start_s: float
    manoeuvre: str = "follow"
    done_s: float = 0.0
    parking: bool = False
    width_m: float = 4.0
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)
    neighbours: dict[str, tuple[str, str]] = field(default_factory=dict)
    crosswalks: tuple[Crosswalk, ...] = ()
    stop_lines: tuple[StopLine, ...] = ()
    signals: tuple[Signal, ...] = ()
    programme: Programme | None = None


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


def _rotation(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def intersection(
    *, heading: float, turn: str, approach_m: float, reach_m: float, missing: int | None, width: float
) -> RoadMap:
    """A crossing without signals; arm 0 is the ego's, arms 1, 2, 3 lie to the left, ahead, to the right.

    Args:
        turn: 'left', 'right' or 'straight'.
        approach_m: From the ego's start to the crossing.
        reach_m: Length of the arms.
        missing: An arm that does not exist (a T-junction), or None.
    """
    from highway_env.road.lane import CircularLane, LineType, StraightLane
    from highway_env.road.road import RoadNetwork

    network, half = RoadNetwork(), width / 2
    radius = 9.0
    box = radius + half
    none, striped, edge = LineType.NONE, LineType.STRIPED, LineType.CONTINUOUS_LINE
    arms = [arm for arm in range(4) if arm != missing]
    for arm in arms:
        # In highway-env's frame the arm's traffic comes in along +x after turning by `angle` (to the right).
        angle = heading + arm * np.pi / 2
        turned = _rotation(angle)
        options: dict[str, Any] = {"width": width}
        network.add_lane(
            f"in{arm}",
            f"stop{arm}",
            StraightLane(turned @ [-reach_m - box, half], turned @ [-box, half], line_types=[striped, edge], **options),
        )
        network.add_lane(
            f"leave{arm}",
            f"out{arm}",
            StraightLane(turned @ [-box, -half], turned @ [-reach_m - box, -half], line_types=[none, edge], **options),
        )
        ahead, left, right = (arm + 2) % 4, (arm + 1) % 4, (arm + 3) % 4
        if ahead in arms:
            beside = edge if right == missing else none
            lane = StraightLane(turned @ [-box, half], turned @ [box, half], line_types=[none, beside], **options)
            network.add_lane(f"stop{arm}", f"leave{ahead}", lane)
        if right in arms:
            lane = CircularLane(
                turned @ [-box, half + radius],
                radius,
                angle - np.pi / 2,
                angle,
                True,
                line_types=[none, edge],
                **options,
            )
            network.add_lane(f"stop{arm}", f"leave{right}", lane)
        if left in arms:
            wide = radius + width
            lane = CircularLane(
                turned @ [-box, half - wide],
                wide,
                angle + np.pi / 2,
                angle,
                False,
                line_types=[none, none],
                **options,
            )
            network.add_lane(f"stop{arm}", f"leave{left}", lane)
    targets = {"left": 1, "straight": 2, "right": 3}
    routes = {
        f"{arm}-{other}": route_path(network, [f"in{arm}", f"stop{arm}", f"leave{other}", f"out{other}"])
        for arm in arms
        for other in arms
        if arm != other
    }
    routes["ego"] = routes[f"0-{targets[turn]}"]
    inside = {"left": (radius + width) * np.pi / 2, "right": radius * np.pi / 2, "straight": 2 * box}[turn]
    return RoadMap(
        lanes=stage_lanes(network),
        routes=routes,
        start_s=reach_m - approach_m,
        manoeuvre=turn,
        done_s=reach_m + inside + 3.0,
        width_m=width,
    )
