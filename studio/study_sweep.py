"""How the answer changes with the object's distance and size: exploratory, over the scenes of the sweep."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studio.placement import FAR_M, NEAR_M
from studio.study_config import StudyConfig
from studio.study_things import swept_things
from studio.study_values import Value, Values, mean_of

OWN_PLACES = {"near": NEAR_M, "far": FAR_M}  # variants that are points of the sweep over distances


def sweep(
    config: StudyConfig, values: Values, planners: Sequence[str], generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Mean change of path length per planner and point.

    Returns:
        Rows with `planner`, `over` ('distance' in metres or 'size' as a factor), `at`, `scenes`, `change_m` with its interval,
        `pixels` and `driver_m`, the town driver's mean change in the same scenes (None where nobody knows).
    """
    things = swept_things(config)
    if not things:
        return []
    points = [("distance", thing.distance_m, thing.label) for thing in things if thing.x_m is not None]
    points += [("size", thing.size, thing.label) for thing in things if thing.x_m is None]
    over = {which for which, _, _ in points}
    points += [
        ("distance", x, label) for label, x in OWN_PLACES.items() if label in config.variants and "distance" in over
    ]
    points += [("size", 1.0, "near")] if "near" in config.variants and "size" in over else []
    points.sort(key=lambda point: (point[0], float(point[1] or 0.0)))
    found = []
    for name in planners:
        for which, at, label in points:
            there = [value for value in values.get((name, label), {}).values() if value.swept]
            if there:
                found.append({"planner": name, "over": which, "at": at, **_point(there, generator)})
    return found


def _point(there: Sequence[Value], generator: np.random.Generator) -> dict[str, Any]:
    known = [value.oracle_m for value in there if value.oracle_m is not None]
    return {
        "scenes": len(there),
        "change_m": mean_of(np.array([value.change_m for value in there]), generator),
        "pixels": float(np.mean([value.object_px for value in there])),
        "driver_m": float(np.mean(known)) if known else None,
    }
