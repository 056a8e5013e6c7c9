"""Which ways the lanes offer along a route: where it branches, and whether an instruction can be followed there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.scene import Lane, Scene

JOIN_M, JOIN_RAD = 0.8, 0.3  # lanes that belong together meet this closely
TURN_RAD = 0.6  # a way that bends further than this is a turn
REACH_M = 120.0  # a turn further ahead than this is no answer to an instruction


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A place on a route where more than one way leads on.

    Attributes:
        s_m: Metres along the route.
        ways: Those that the lanes offer: 'left', 'straight' and 'right', or some of them.
    """

    s_m: float
    ways: frozenset[str]


def arc_lengths(route: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """Metres along a polyline at each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(route, axis=0).T))])


def headings(points: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """Direction at each point of a polyline, radians, without jumps."""
    slopes = np.gradient(points, axis=0)
    return np.unwrap(np.arctan2(slopes[:, 1], slopes[:, 0]))


def branches(lanes: tuple[Lane, ...], route: Float[Array, "n 2"]) -> tuple[Branch, ...]:
    """Where the route comes to the end of a lane from which several lanes lead on, in driving order."""
    if not lanes:
        return ()
    starts = np.array([[*lane.centre[0], _heading(lane.centre[:2])] for lane in lanes])
    along, direction = arc_lengths(route), headings(route)
    found = {}
    for lane in lanes:
        end = lane.centre[-1]
        next_lanes = np.flatnonzero(
            (np.hypot(*(starts[:, :2] - end).T) < JOIN_M)
            & (np.abs(wrap_angle(starts[:, 2] - _heading(lane.centre[-2:]))) < JOIN_RAD)
        )
        if len(next_lanes) < 2:
            continue
        ways = frozenset(way_of(lanes[i].centre) for i in next_lanes)
        close = np.hypot(*(route - end).T) < 1.5
        aligned = np.abs(wrap_angle(direction - _heading(lane.centre[-2:]))) < JOIN_RAD
        for s in _first_of_each_visit(along[close & aligned]):
            found[round(s)] = Branch(s_m=s, ways=ways)
    return tuple(found[s] for s in sorted(found))


def _first_of_each_visit(places: Float[Array, " n"]) -> list[float]:
    """Of places along a route that may come by twice, the first of each visit."""
    return [float(s) for i, s in enumerate(places) if i == 0 or s - places[i - 1] > 10.0]


def _heading(points: Float[Array, "n 2"]) -> float:
    step = points[-1] - points[0]
    return float(np.arctan2(step[1], step[0]))


def way_of(points: Float[Array, "n 2"]) -> str:
    """'left', 'right' or 'straight': where a polyline leads to."""
    turned = headings(points)[-1] - headings(points)[0]
    return "left" if turned > TURN_RAD else "right" if turned < -TURN_RAD else "straight"


def offers(lanes: tuple[Lane, ...], route: Float[Array, "n 2"], way: str, from_s: float) -> bool:
    """Whether the road offers a turn to 'left' or 'right' (or 'straight' on) within REACH_M from a place on the route."""
    return any(
        way in branch.ways for branch in branches(lanes, route) if 0 <= branch.s_m - from_s + 2.0 <= REACH_M + 2.0
    )


def can_be_followed(scene: Scene, manoeuvre: str, frame: int = 0) -> bool:
    """Whether the road ahead has what an instruction asks for.

    Only turns are asked about wrongly (`language.mislead`); every other manoeuvre is the scene's own.

    Args:
        manoeuvre: As `RoadMap.manoeuvre`.
        frame: The moment from which on it should be followed.
    """
    if manoeuvre not in ("left", "right"):
        return True
    return offers(scene.stage.lanes, scene.route, manoeuvre, float(scene.route_s[frame]))
