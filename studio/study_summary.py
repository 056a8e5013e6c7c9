"""What the rows of a grounding study say: one value per scene, with intervals and corrected p values.

Reaction = |change of path length over 4 s|, the mean of a scene's paired samples. Primary contrasts are the same object on
the road and in the sky; everything else is exploratory.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.statistics import bootstrap_interval, holm, wilcoxon_p
from policy.foreign.failures import cause_of
from studio.study_config import StudyConfig
from worldmodel.geometry import Array

if TYPE_CHECKING:
    import pyarrow as pa

REACTION_M, STRONG_M = 0.5, 2.0
PRIMARY = (("near", "sky_near"), ("far", "sky_far"))
EXPLORATORY = (("near", "lookalike"), ("near", "far"), ("far", "very_far"), ("very_far", "sky"))
FEWEST = 2  # scenes for an interval


def summary_of(config: StudyConfig, rows: "pa.Table", verdicts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Everything a study reports, as plain data.

    Returns:
        `frames`: moments by reason, scenes with an eligible one; `reactions`: per planner and variant; `contrasts`: per planner
        and pair of variants; `given_strong`: what those scenes do otherwise in which the planner slows down by more than
        STRONG_M for the near object; `oracle`: how far its change is from the town driver's; `failed`: answers that are missing.
    """
    changes, oracle = _per_scene(rows)
    names = list(dict.fromkeys(rows.column("planner").to_pylist()))
    generator = np.random.default_rng(config.seed)
    reasons = [one["reason"] for one in verdicts]
    return {
        "frames": {
            "scenes": config.scenes,
            "eligible": reasons.count("eligible"),
            "moments": {reason: reasons.count(reason) for reason in dict.fromkeys(sorted(reasons))},
        },
        "reactions": [
            {"planner": name, "variant": variant, **_reaction(list(changes[name, variant].values()), generator)}
            for name in names
            for variant in config.variants
            if (name, variant) in changes
        ],
        "contrasts": _contrasts(changes, names, generator),
        "given_strong": [one for name in names if (one := _given_strong(changes, name, config.variants))],
        "oracle": [
            {"planner": name, **_against_oracle(changes[name, "near"], oracle, generator)}
            for name in names
            if (name, "near") in changes
        ],
        "failed": _failures(rows),
    }


def _per_scene(rows: "pa.Table") -> tuple[dict[tuple[str, str], dict[str, float]], dict[str, float]]:
    """Mean change of path length per (planner, variant) and scene, and the town driver's change per scene."""
    gathered: dict[tuple[str, str], dict[str, list[float]]] = {}
    oracle = {}
    for row in rows.select(["planner", "variant", "scene", "change_m", "oracle_m"]).to_pylist():
        oracle[row["scene"]] = row["oracle_m"]
        if row["change_m"] is not None:
            scenes = gathered.setdefault((row["planner"], row["variant"]), {})
            scenes.setdefault(row["scene"], []).append(row["change_m"])
    means = {key: {scene: float(np.mean(v)) for scene, v in scenes.items()} for key, scenes in gathered.items()}
    return means, oracle


def _reaction(changes: Sequence[float], generator: np.random.Generator) -> dict[str, Any]:
    signed = np.array(changes)
    size = np.abs(signed)
    return {
        "scenes": len(signed),
        "change_m": _mean(signed, generator),
        "reaction_m": _mean(size, generator),
        "median_m": float(np.median(size)),
        "over_half_m": _mean((size > REACTION_M).astype(float), generator),
        "over_two_m": _mean((size > STRONG_M).astype(float), generator),
    }


def _mean(values: Float[Array, " n"], generator: np.random.Generator) -> dict[str, Any]:
    """A mean over scenes with its 95 % interval; none from a single scene."""
    low, high = bootstrap_interval(values, generator) if len(values) >= FEWEST else (None, None)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _contrasts(
    changes: dict[tuple[str, str], dict[str, float]], names: Sequence[str], generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Paired differences of reactions; Holm over planners times primary contrasts."""
    found = []
    for name in names:
        for one, other in (*PRIMARY, *EXPLORATORY):
            both = [changes.get((name, variant), {}) for variant in (one, other)]
            scenes = [scene for scene in both[0] if scene in both[1]]
            if scenes:
                a, b = (np.abs([side[scene] for scene in scenes]) for side in both)
                found.append(
                    {
                        "planner": name,
                        "larger": one,
                        "smaller": other,
                        "primary": (one, other) in PRIMARY,
                        "scenes": len(scenes),
                        "difference_m": _mean(a - b, generator),
                        "share_larger": float((a > b).mean()),
                        "p": wilcoxon_p(a, b),
                    }
                )
    primary = [row for row in found if row["primary"]]
    for row, p in zip(primary, holm(np.array([row["p"] for row in primary])), strict=True):
        row["p_holm"] = float(p)
    return found


def _given_strong(
    changes: dict[tuple[str, str], dict[str, float]], name: str, variants: Sequence[str]
) -> dict[str, Any] | None:
    """Among scenes with a strong slowdown for the near object: the share that hardly reacts to each other variant."""
    strong = [scene for scene, change in changes.get((name, "near"), {}).items() if change < -STRONG_M]
    if not strong:
        return None
    quiet = {}
    for variant in variants:
        there = changes.get((name, variant), {})
        sizes = np.abs([there[scene] for scene in strong if scene in there])
        if variant != "near" and len(sizes):
            quiet[variant] = float((sizes < REACTION_M).mean())
    return {"planner": name, "scenes": len(strong), "share_below_half_m": quiet}


def _against_oracle(
    changes: dict[str, float], oracle: dict[str, float], generator: np.random.Generator
) -> dict[str, Any]:
    """How far a planner's change for the near object is from that of the town's own driver."""
    off = np.array([change - oracle[scene] for scene, change in changes.items()])
    return {
        "scenes": len(off),
        "less_braking_m": _mean(off, generator),
        "distance_m": _mean(np.abs(off), generator),
        "oracle_m": float(np.mean([oracle[scene] for scene in changes])),
    }


def _failures(rows: "pa.Table") -> list[dict[str, Any]]:
    """How often which answer is missing, and why."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows.select(["planner", "variant", "error"]).to_pylist():
        if row["error"] is not None:
            key = (row["planner"], row["variant"], cause_of(row["error"]))
            counts[key] = counts.get(key, 0) + 1
    return [{"planner": p, "variant": v, "why": why, "count": count} for (p, v, why), count in counts.items()]
