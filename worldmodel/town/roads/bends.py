"""Streets that bend."""

from dataclasses import dataclass, replace

import numpy as np

from worldmodel.town.roads.network import Chain, Segment, direction, length_of, mirrored_pose, to_right
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.roads.streets import chain_of, two_way

PAVEMENT_M = 2.5  # between the kerb and the houses inside a blind bend
HOUSE_LENGTH_M, HOUSE_DEPTH_M = 24.0, 9.0
HIDDEN_M = (5.0, 30.0)  # behind the end of a blind bend


def draw_bends(rng: np.random.Generator, length_m: float, *, right_first: bool) -> list[Segment]:
    """A chain of bends at least so long that never meets itself."""
    segments: list[Segment] = [("straight", float(rng.uniform(45, 85)), 0.0)]
    heading = 0.0
    while length_of(segments) < length_m:
        angle = float(rng.uniform(0.35, 1.4))
        to_left = not right_first if len(segments) == 1 else bool(rng.random() < 0.5)
        if heading + angle > 1.5 or (heading - angle > -1.5 and to_left):
            angle = -angle  # never so far round that the road meets itself
        radius = float(rng.uniform(18, 40)) if abs(angle) > 0.8 else float(rng.uniform(30, 90))
        heading += angle
        segments += [("arc", radius, angle), ("straight", float(rng.uniform(12, 55)), 0.0)]
    return segments


@dataclass(frozen=True, kw_only=True)
class Bend:
    """A tight bend between houses.

    Attributes:
        behind_m: Length of the street behind the ego's start.
        before_m: From the ego's start to the bend.
        radius_m: Of the street's middle.
        angle_rad: How far it turns; right turns positive.
        after_m: Length of the street after it.
    """

    behind_m: float
    before_m: float
    radius_m: float
    angle_rad: float
    after_m: float


def blind_bend(bend: Bend, *, heading: float, width: float) -> RoadMap:
    """A street with a bend whose inner side is built up, so that nobody sees what is behind it."""
    arc: Segment = ("arc", bend.radius_m, bend.angle_rad)
    segments: list[Segment] = [
        ("straight", bend.behind_m + bend.before_m, 0.0),
        arc,
        ("straight", bend.after_m, 0.0),
    ]
    road = two_way(segments, heading=heading, start_s=bend.behind_m, width=width, parking=False)
    chain = chain_of(segments, heading)
    x, y, _ = mirrored_pose(*chain.joints()[2])
    end = road.routes["ego"].project(x, y)[0]
    return replace(road, hides=_inner_houses(chain, width), hidden_s=(end + HIDDEN_M[0], end + HIDDEN_M[1]))


def _inner_houses(chain: Chain, width: float) -> tuple[tuple[float, float, float, float, float], ...]:
    """Two houses in the corner inside the chain's bend, one along each straight."""
    side = 1.0 if chain.segments[1][2] > 0 else -1.0
    aside = side * (width + PAVEMENT_M + HOUSE_DEPTH_M / 2)
    found = []
    for (point, heading), along in zip(chain.joints()[1:3], (-1.0, 1.0), strict=True):
        middle = point + along * HOUSE_LENGTH_M / 2 * direction(heading) + aside * to_right(heading)
        x, y, yaw = mirrored_pose(middle, heading)
        found.append((x, y, yaw, HOUSE_LENGTH_M, HOUSE_DEPTH_M))
    return tuple(found)
