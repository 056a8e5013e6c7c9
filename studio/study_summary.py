"""What the rows of a grounding study say: one value per scene, with intervals and corrected p values.

Reaction = |change of path length over 4 s|, the mean of a scene's paired samples. The primary contrasts are named in the
study's config; everything else is exploratory.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval_fid_fvd.statistics import holm, wilcoxon_p
from policy.foreign.failures import cause_of
from studio.study_comparisons import comparisons
from studio.study_conditional import given_strong, size_relation
from studio.study_config import StudyConfig
from studio.study_oracle import against_oracle
from studio.study_rows import NOT_STITCHED, OTHER_SEED
from studio.study_sweep import sweep
from studio.study_values import Scenes, Values, mean_of, shared, sizes_of, values_of

if TYPE_CHECKING:
    import pyarrow as pa

REACTION_M, STRONG_M, SIDEWAYS_M = 0.5, 2.0, 0.5
EXPLORATORY = (
    ("near", "sky_near"), ("far", "sky_far"), ("very_far", "sky"), ("near", "lookalike"), ("near", "far"), ("far", "very_far"),
)  # fmt: skip
GOALS = {"near": 0.6, "sky_near": 0.1, "sky_far": 0.1, "p": 0.001}  # at least, at most, at most, below


def summary_of(
    config: StudyConfig, rows: "pa.Table", verdicts: Sequence[Mapping[str, Any]], names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything a study reports, as plain data.

    Args:
        names: What the planners of the config call themselves; None where they are called as in the config.
    Returns:
        `frames`: moments by reason, scenes with an eligible one; `reactions`: per planner and variant; `noise`: the same of
        another seed and no object; `contrasts`: per planner and pair of variants; `goals`: what a grounded planner is to do;
        `given_strong`: what those scenes do otherwise in which the planner slows down for the near object; `size_relation`:
        reaction against visible size; `oracle`: how far its change is from the town driver's; `comparisons`: between planners;
        `sweep`: change against distance and size; `failed`: answers that are missing.
    """
    values = values_of(rows)
    planners = list(dict.fromkeys(rows.column("planner").to_pylist()))
    called = names or {name: name for name in config.planners}
    generator = np.random.default_rng(config.seed)
    reasons = [one["reason"] for one in verdicts]
    contrasts = _contrasts(config, values, planners, generator)
    return {
        "frames": {
            "scenes": len({one["scene"] for one in verdicts}),
            "eligible": reasons.count("eligible"),
            "moments": {reason: reasons.count(reason) for reason in dict.fromkeys(sorted(reasons))},
        },
        "reactions": [
            {"planner": name, "variant": variant, **_reaction(values[name, variant], generator)}
            for name in planners
            for variant in config.variants
            if (name, variant) in values
        ],
        "noise": [
            {"planner": name, **_reaction(values[name, OTHER_SEED], generator)}
            for name in planners
            if (name, OTHER_SEED) in values
        ],
        "contrasts": contrasts,
        "goals": [one for name in planners if (one := _goals(values, name, contrasts))],
        "given_strong": given_strong(values, planners, config.variants, (REACTION_M, STRONG_M), generator),
        "size_relation": [one for name in planners if (one := size_relation(values, name))],
        "oracle": against_oracle(values, planners, REACTION_M, generator),
        "comparisons": comparisons([(called[a], called[b]) for a, b in config.comparisons], values, generator),
        "sweep": sweep(config, values, planners, generator),
        "failed": _failures(rows),
    }


def _reaction(scenes: Scenes, generator: np.random.Generator) -> dict[str, Any]:
    """Mean change, reaction and shares; braking and evading told apart."""
    signed = np.array([value.change_m for value in scenes.values()])
    sideways = np.array([abs(value.lateral_m) for value in scenes.values()])
    onsets = [value.onset_s for value in scenes.values() if value.onset_s is not None and value.change_m < -REACTION_M]
    size = np.abs(signed)
    return {
        "scenes": len(signed),
        "change_m": mean_of(signed, generator),
        "reaction_m": mean_of(size, generator),
        "median_m": float(np.median(size)),
        "high_m": float(np.quantile(size, 0.95)),
        "over_half_m": mean_of((size > REACTION_M).astype(float), generator),
        "over_two_m": mean_of((size > STRONG_M).astype(float), generator),
        "brakes": float((signed < -REACTION_M).mean()),
        "speeds_up": float((signed > REACTION_M).mean()),
        "evades": float((sideways > SIDEWAYS_M).mean()),
        "sideways_m": float(sideways.mean()),
        "onset_s": float(np.median(onsets)) if onsets else None,
    }


def _contrasts(
    config: StudyConfig, values: Values, planners: Sequence[str], generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Paired differences of reactions; Holm over planners times primary contrasts."""
    found = []
    pairs = (*config.primary, *(pair for pair in EXPLORATORY if pair not in config.primary))
    for name in planners:
        for one, other in pairs:
            scenes = shared(values, (name, one), (name, other))
            if scenes:
                a, b = (sizes_of(values, name, label, scenes) for label in (one, other))
                found.append(
                    {
                        "planner": name,
                        "larger": one,
                        "smaller": other,
                        "primary": (one, other) in config.primary,
                        "scenes": len(scenes),
                        "difference_m": mean_of(a - b, generator),
                        "share_larger": float((a > b).mean()),
                        "p": wilcoxon_p(a, b),
                    }
                )
    primary = [row for row in found if row["primary"]]
    for row, p in zip(primary, holm(np.array([row["p"] for row in primary])), strict=True):
        row["p_holm"] = float(p)
    return found


def _goals(values: Values, name: str, contrasts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What is expected of a planner that looks at the road, and whether it does."""
    far = [row for row in contrasts if (row["planner"], row["larger"], row["smaller"]) == (name, "far", "sky_far")]
    shares = {
        label: float(np.mean([value.size_m > REACTION_M for value in values[name, label].values()]))
        for label in ("near", "sky_near", "sky_far")
        if (name, label) in values
    }
    lookalike = [row for row in contrasts if (row["planner"], row["smaller"]) == (name, "lookalike")]
    if len(shares) < 3 or not far:
        return None
    difference, p = far[0]["difference_m"]["mean"], far[0]["p"]
    return {
        "planner": name,
        **shares,
        "far_minus_sky_far_m": difference,
        "p": p,
        "near_minus_lookalike_m": lookalike[0]["difference_m"]["mean"] if lookalike else None,
        "met": {
            "near": shares["near"] >= GOALS["near"],
            "sky_near": shares["sky_near"] <= GOALS["sky_near"],
            "sky_far": shares["sky_far"] <= GOALS["sky_far"],
            "far_minus_sky_far": difference > 0 and p < GOALS["p"],
            "near_minus_lookalike": lookalike[0]["difference_m"]["mean"] > 0 if lookalike else None,
        },
    }


def _failures(rows: "pa.Table") -> list[dict[str, Any]]:
    """How often which answer is missing, and why; what could not be stitched is missing for all planners alike."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows.select(["scene", "planner", "variant", "error"]).to_pylist():
        if row["error"] is not None:
            unstitched = row["error"].startswith(NOT_STITCHED)
            who = "all planners" if unstitched else row["planner"]
            if not unstitched or row["planner"] == rows.column("planner")[0].as_py():
                why = row["error"].split(" of clip ")[0] if unstitched else cause_of(row["error"])
                counts[who, row["variant"], why] = counts.get((who, row["variant"], why), 0) + 1
    return [{"planner": p, "variant": v, "why": why, "count": count} for (p, v, why), count in counts.items()]
