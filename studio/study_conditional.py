"""What happens where a planner does react to the near object, and how a reaction grows with what is seen.

Source: appendix L of "Grounding Driving VLA via Inverse Kinematics": under the very scenes in which the near object slows a
planner, an object of the same size in the sky should not; the signed differences are paired scene by scene.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval_fid_fvd.statistics import wilcoxon_p
from studio.study_values import Values, mean_of, rank_correlation, shared, sizes_of

PAIRS = (("near", "sky_near"), ("far", "sky_far"), ("near", "lookalike"))
QUIET_M = 0.5
ON_ROAD, ABOVE = ("near", "far", "very_far"), ("sky_near", "sky_far", "sky")


def given_strong(
    values: Values,
    planners: Sequence[str],
    variants: Sequence[str],
    slower_by_m: Sequence[float],
    generator: np.random.Generator,
) -> list[dict[str, Any]]:
    """Among scenes in which the near object shortens the path by more than so much: what the other variants do there.

    Returns:
        Per planner and threshold: `scenes`; `quiet`: share of them with a reaction below QUIET_M per variant; `contrasts`:
        paired differences of reactions with share of scenes, interval and Wilcoxon's p.
    """
    found = []
    for name in planners:
        for limit in slower_by_m:
            strong = [scene for scene, value in values.get((name, "near"), {}).items() if value.change_m < -limit]
            if strong:
                contrasts = [one for pair in PAIRS if (one := _paired(values, name, pair, strong, generator))]
                told = {"planner": name, "slower_by_m": limit, "scenes": len(strong)}
                found.append({**told, "quiet": _quiet(values, name, variants, strong), "contrasts": contrasts})
    return found


def _quiet(values: Values, name: str, variants: Sequence[str], scenes: Sequence[str]) -> dict[str, float]:
    """Share of the scenes with hardly a reaction, per variant."""
    quiet = {}
    for variant in variants:
        there = values.get((name, variant), {})
        sizes = [there[scene].size_m for scene in scenes if scene in there]
        if variant != "near" and sizes:
            quiet[variant] = float(np.mean(np.array(sizes) < QUIET_M))
    return quiet


def _paired(
    values: Values, name: str, pair: tuple[str, str], scenes: Sequence[str], generator: np.random.Generator
) -> dict[str, Any] | None:
    both = shared(values, (name, pair[0]), (name, pair[1]))
    scenes = [scene for scene in scenes if scene in both]
    if not scenes:
        return None
    a, b = (sizes_of(values, name, label, scenes) for label in pair)
    return {
        "larger": pair[0],
        "smaller": pair[1],
        "scenes": len(scenes),
        "difference_m": mean_of(a - b, generator),
        "share_larger": float((a > b).mean()),
        "p": wilcoxon_p(a, b),
    }


def size_relation(values: Values, planner: str) -> dict[str, Any] | None:
    """Whether a reaction grows with the object's visible size: rank correlations on the road and in the sky.

    A reaction to the road grows there alone; one to size alone grows in the sky as well. Every scene and distance is one
    point, so the p values are too small for what they stand for: points of a scene are not independent.
    """
    found: dict[str, Any] = {"planner": planner}
    for where, labels in (("road", ON_ROAD), ("sky", ABOVE)):
        answers = [value for label in labels for value in values.get((planner, label), {}).values()]
        ranked = rank_correlation(
            np.array([float(value.object_px) for value in answers]), np.array([value.size_m for value in answers])
        )
        if ranked is not None:
            found[where] = {"points": len(answers), "spearman": ranked[0]}
    return found if len(found) > 1 else None
