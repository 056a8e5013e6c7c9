"""How far a planner's answer is from the town's own driver, who meets the same object for real.

Frames are eligible because the driver brakes for the *near* object; about the far one it may do nothing within 4 s. Those
scenes are counted, and the planner is compared there, too: to keep calm is right then.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studio.study_values import Values, mean_of, rank_correlation

LABELS = ("near", "far")


def against_oracle(
    values: Values, planners: Sequence[str], reaction_m: float, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Per planner and object on the road.

    Returns:
        `scenes` in which the driver's answer is known, `driver_reacts` how many of them it reacts to; `driver_m` its mean change;
        `less_braking_m` the planner's change minus the driver's, `distance_m` the same without sign; `both_brake`: share of
        the scenes with a braking driver in which the planner brakes, too; `false_alarm`: share of the others in which it does;
        `same_sign`: share in which both changes point the same way; `spearman`, `p`: rank correlation over scenes.
    """
    found = []
    for name in planners:
        for label in LABELS:
            known = [value for value in values.get((name, label), {}).values() if value.oracle_m is not None]
            if known:
                own = np.array([value.change_m for value in known])
                true = np.array([value.oracle_m for value in known], np.float64)
                found.append({"planner": name, "variant": label, **_agreement(own, true, reaction_m, generator)})
    return found


def _agreement(own: np.ndarray, true: np.ndarray, reaction_m: float, generator: np.random.Generator) -> dict[str, Any]:
    brakes, own_brakes = true < -reaction_m, own < -reaction_m
    ranked = rank_correlation(own, true)
    return {
        "scenes": len(own),
        "driver_reacts": int((np.abs(true) > reaction_m).sum()),
        "driver_m": float(true.mean()),
        "less_braking_m": mean_of(own - true, generator),
        "distance_m": mean_of(np.abs(own - true), generator),
        "both_brake": float(own_brakes[brakes].mean()) if brakes.any() else None,
        "false_alarm": float(own_brakes[~brakes].mean()) if (~brakes).any() else None,
        "same_sign": float((np.sign(own) == np.sign(true)).mean()),
        "spearman": None if ranked is None else ranked[0],
        "p": None if ranked is None else ranked[1],
    }
