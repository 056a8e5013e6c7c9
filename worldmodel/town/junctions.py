"""Crossings of two streets."""

from typing import Any

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.network import route_path, stage_lanes
from worldmodel.town.roadmap import RoadMap


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
