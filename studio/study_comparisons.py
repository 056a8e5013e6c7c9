"""Planner against planner, scene by scene: reported whichever way it falls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval_fid_fvd.statistics import holm, wilcoxon_p
from studio.study_values import Value, Values, mean_of, shared

HALF_M = 0.5
# what is compared: the variants it needs, and the number that they give in a scene
MEASURES: dict[str, tuple[tuple[str, ...], Callable[..., float]]] = {
    "reaction to near, m": (("near",), lambda near: near.size_m),
    "near over 0.5 m, share": (("near",), lambda near: float(near.size_m > HALF_M)),
    "near - sky near, m": (("near", "sky_near"), lambda near, sky: near.size_m - sky.size_m),
    "far - sky far, m": (("far", "sky_far"), lambda far, sky: far.size_m - sky.size_m),
    "distance to the driver at near, m": (("near",), lambda near: _off(near)),
}


def _off(near: Value) -> float:
    return float("nan") if near.oracle_m is None else abs(near.change_m - near.oracle_m)


def comparisons(
    pairs: Sequence[tuple[str, str]], values: Values, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """The first planner minus the second in every measure, over the scenes that both answered.

    Returns:
        Per pair and measure: both means, the paired `difference` with its 95 % bootstrap interval over scenes, Wilcoxon's p, and
        that p after Holm over all pairs and measures.
    """
    found = []
    for one, other in pairs:
        for measure, (labels, number) in MEASURES.items():
            scenes = shared(values, *((planner, label) for planner in (one, other) for label in labels))
            a, b = (
                np.array([number(*(values[planner, label][scene] for label in labels)) for scene in scenes])
                for planner in (one, other)
            )
            known = np.isfinite(a) & np.isfinite(b)
            if known.any():
                found.append({"one": one, "other": other, "measure": measure, **_paired(a[known], b[known], generator)})
    for row, p in zip(found, holm(np.array([row["p"] for row in found])), strict=True):
        row["p_holm"] = float(p)
    return found


def _paired(a: np.ndarray, b: np.ndarray, generator: np.random.Generator) -> dict[str, Any]:
    return {
        "scenes": len(a),
        "one_mean": float(a.mean()),
        "other_mean": float(b.mean()),
        "difference": mean_of(a - b, generator),
        "p": wilcoxon_p(a, b),
    }
