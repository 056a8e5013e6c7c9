"""highway-env networks: lanes along chains of straights and arcs, and back into our frame.

highway-env looks at the world with y to the *right* of x. All lane geometry is built in its frame; only `mirrored` and
`mirrored_pose` cross the border (y and headings change their sign), and nothing outside the files that build roads sees
its coordinates.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.roads.paths import Path, evenly_spaced
from worldmodel.town.scene import Lane

# ('straight', length, 0), ('arc', radius, signed angle; right turns positive) or ('shift', length, metres to the right)
Segment = tuple[str, float, float]
Pose = tuple[float, float, float]


def mirrored(points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Between highway-env's frame (y to the right) and ours (y to the left)."""
    return points * np.array([1.0, -1.0])


def mirrored_pose(point: Array, heading: float) -> Pose:
    """A place and direction of highway-env's frame in ours."""
    return float(point[0]), -float(point[1]), -heading


def direction(heading: float) -> Array:
    """Unit vector of a heading."""
    return np.array([np.cos(heading), np.sin(heading)])


def to_right(heading: float) -> Array:
    """Unit vector to the right of a heading, in highway-env's frame."""
    return np.array([-np.sin(heading), np.cos(heading)])


def length_of(segments: list[Segment]) -> float:
    """Length of a chain of segments along its middle, metres."""
    return sum(size * abs(angle) if kind == "arc" else size for kind, size, angle in segments)


@dataclass(frozen=True, eq=False, kw_only=True)
class Chain:
    """Straights and arcs, one after another, in highway-env's frame.

    Attributes:
        start: Where it begins, shape [2].
        heading: In which direction, radians.
    """

    start: Array
    heading: float
    segments: list[Segment]

    def joints(self) -> list[tuple[Array, float]]:
        """Place and heading before each segment, and after the last one."""
        found = [(self.start, self.heading)]
        for segment in self.segments:
            found.append(_advance(*found[-1], segment))
        return found

    def end(self) -> tuple[Array, float]:
        """Place and heading after the last segment."""
        return self.joints()[-1]


@dataclass(frozen=True, kw_only=True)
class Look:
    """Width of a lane and the lines at its sides: 'none', 'striped', 'solid' or 'edge'."""

    width_m: float
    left: str = "none"
    right: str = "none"


class Network:
    """A highway-env road network under construction."""

    def __init__(self) -> None:
        from highway_env.road.road import RoadNetwork

        self.roads: Any = RoadNetwork()
        self._painted: list[tuple[str, str, Any, Look]] = []

    def strand(
        self,
        name: str,
        chain: Chain,
        look: Look,
        *,
        lateral_m: float = 0.0,
        reverse: bool = False,
        ends: tuple[str, str] | None = None,
        painted: bool = True,
    ) -> list[str]:
        """Add one lane that runs beside a chain; returns its nodes in driving order.

        Args:
            name: Of its nodes, which get numbers.
            lateral_m: How far to the right of the chain.
            reverse: Whether traffic runs against the chain.
            ends: Nodes of other strands, in driving order, between which it runs.
            painted: Whether it is a lane of the stage; else it is there to be driven only.
        """
        nodes = [f"{name}-{i}" for i in range(len(chain.segments) + 1)]
        if ends is not None:
            nodes[0], nodes[-1] = ends[::-1] if reverse else ends
        for segment, (start, heading), pair in zip(chain.segments, chain.joints(), pairwise(nodes), strict=False):
            first, last = pair[::-1] if reverse else pair
            lane = _LANES[segment[0]](start, heading, segment, lateral_m, reverse, look)
            self.roads.add_lane(first, last, lane)
            if painted:
                self._painted.append((first, last, lane, look))
        return nodes[::-1] if reverse else nodes

    def path(self, nodes: list[str]) -> Path:
        """The path through a list of nodes."""
        return Path(np.concatenate([sample_lane(self.roads.graph[a][b][0], 0.25) for a, b in pairwise(nodes)]))

    def lanes(self) -> tuple[Lane, ...]:
        """All painted lanes as polylines about 1 m apart; what goes on straight from one piece to the next is one lane."""
        starts: dict[str, list[int]] = {}
        ends: dict[str, list[int]] = {}
        for i, (first, last, _, _) in enumerate(self._painted):
            starts.setdefault(first, []).append(i)
            ends.setdefault(last, []).append(i)

        def follower(i: int) -> int | None:
            node, look = self._painted[i][1], self._painted[i][3]
            after = starts.get(node, [])
            alone = len(after) == 1 and len(ends[node]) == 1
            return after[0] if alone and self._painted[after[0]][3] == look else None

        followers = {i: follower(i) for i in range(len(self._painted))}
        found = []
        for i in sorted(set(followers) - set(followers.values())):
            pieces, at = [i], followers[i]
            while at is not None:
                pieces.append(at)
                at = followers[at]
            found.append(_lane([self._painted[k][2] for k in pieces], self._painted[i][3]))
        return tuple(found)


def _lane(pieces: list[Any], look: Look) -> Lane:
    points = np.concatenate([sample_lane(piece, 1.0) for piece in pieces])
    return Lane(
        centre=evenly_spaced(points, 1.0), width_m=float(look.width_m), left_line=look.left, right_line=look.right
    )


def sample_lane(lane: Any, step_m: float) -> Float[Array, "n 2"]:
    """Centre line of a highway-env lane in our frame."""
    from highway_env.road.lane import StraightLane

    if type(lane) is StraightLane:  # its ends say it all
        return evenly_spaced(mirrored(np.array([lane.position(0.0, 0.0), lane.position(lane.length, 0.0)])), step_m)
    along = np.linspace(0.0, lane.length, max(2, round(lane.length / step_m) + 1))
    return mirrored(np.array([lane.position(s, 0.0) for s in along]))


def _advance(start: Array, heading: float, segment: Segment) -> tuple[Array, float]:
    kind, size, angle = segment
    if kind != "arc":
        aside = angle if kind == "shift" else 0.0
        return start + size * direction(heading) + aside * to_right(heading), heading
    side = 1.0 if angle > 0 else -1.0
    centre = start + side * size * to_right(heading)
    return centre - side * size * to_right(heading + angle), heading + angle


def _options(look: Look) -> dict[str, Any]:
    from highway_env.road.lane import LineType

    lines = {
        "none": LineType.NONE,
        "striped": LineType.STRIPED,
        "solid": LineType.CONTINUOUS,
        "edge": LineType.CONTINUOUS_LINE,
    }
    return {"width": look.width_m, "line_types": [lines[look.left], lines[look.right]]}


def _straight(start: Array, heading: float, segment: Segment, lateral: float, reverse: bool, look: Look) -> Any:
    from highway_env.road.lane import StraightLane

    first = start + lateral * to_right(heading)
    last = first + segment[1] * direction(heading)
    return StraightLane(*((last, first) if reverse else (first, last)), **_options(look))


def _arc(start: Array, heading: float, segment: Segment, lateral: float, reverse: bool, look: Look) -> Any:
    from highway_env.road.lane import CircularLane

    _, radius, angle = segment
    side = 1.0 if angle > 0 else -1.0
    first = heading - side * np.pi / 2
    last = first + angle
    clockwise = angle > 0
    if reverse:
        first, last, clockwise = last, first, not clockwise
    centre = start + side * radius * to_right(heading)
    return CircularLane(centre, radius - side * lateral, first, last, clockwise, **_options(look))


def _shift(start: Array, heading: float, segment: Segment, lateral: float, reverse: bool, look: Look) -> Any:
    from highway_env.road.lane import SineLane

    _, length, aside = segment
    first = start + (lateral + aside / 2) * to_right(heading)
    last = first + length * direction(heading)
    ends = (last, first) if reverse else (first, last)
    return SineLane(*ends, aside / 2, np.pi / length, -np.pi / 2, **_options(look))


_LANES = {"straight": _straight, "arc": _arc, "shift": _shift}
