"""What planners' answers to held-out moments say about how they work: strata, parts of the loss, what the plan hangs on.

Everything here takes the answers (`policy.probing`) and gives plain JSON values. One moment per scene; intervals draw scenes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.group_tests import binned, extremes_table, group_table
from eval_fid_fvd.loss_parts import visual_parts
from eval_fid_fvd.statistics import bootstrap_interval, holm, wilcoxon_p
from eval_fid_fvd.strata import MAIN_M, critical_shares, gap_summary, loss_shares, paired_gains, stratified_errors
from policy.held_out_moments import HeldOutMoment, critical_gaps
from policy.planner_config import PlannerConfig
from policy.probing import Probed
from worldmodel.geometry import Array
from worldmodel.plans import PLAN_TIMES_S

SPEED_EDGES_MPS = (4.0, 8.0, 12.0)
TURN_EDGES_RADPS = (0.02, 0.1)
USER_EDGES = (1, 3, 6)
FRONT_EDGES_M = (10.0, 20.0)
NUMBERS = ("turn_rate_radps", "speed_mps", "front_users", "nearest_front_m", "nearest_relative_mps", "turnover")
AGAINST = (
    "ego-only",
    "direct",
    "ik-current",
    "ik-pooled",
    "ik-apart",
    "ik-shuffled",
    "refiner",
)  # what 'ik' is compared with


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """One planner that was asked: its name, what it is, and its answers."""

    name: str
    config: PlannerConfig
    answers: Probed


def distances(plans: Float[Array, "n 8 3"], truth: Float[Array, "n 8 3"]) -> Float[Array, "n 8"]:
    """Metres between planned and driven positions at 0.5 ... 4 s."""
    found: Array = np.linalg.norm(plans[..., :2] - truth[..., :2], axis=-1)
    return found


def ade_m(plans: Float[Array, "n 8 3"], truth: Float[Array, "n 8 3"]) -> Float[Array, " n"]:
    """Mean distance over the eight positions up to 4 s."""
    found: Array = distances(plans, truth).mean(axis=-1)
    return found


def error_at_m(plans: Float[Array, "n 8 3"], truth: Float[Array, "n 8 3"], at_s: float) -> Float[Array, " n"]:
    """Distance at one of the plan's times."""
    found: Array = distances(plans, truth)[:, int(np.argmin(np.abs(PLAN_TIMES_S - at_s)))]
    return found


def gaps_of(moments: Sequence[HeldOutMoment]) -> Array:
    """The ego-status gap of the moment that is planned at, one per scene."""
    return np.array([moment.label.gap_m for moment in moments])


def gap_facts(moments: Sequence[HeldOutMoment], generator: np.random.Generator) -> dict[str, Any]:
    """The gap over all moments of the scenes, two per second, and the shares of vision-critical ones."""
    gaps, scenes = critical_gaps(moments)
    return {"summary": gap_summary(gaps), "shares": critical_shares(gaps, scenes, generator), "scenes": len(moments)}


def strata_facts(
    plans: Mapping[str, Array], truth: Array, gaps: Array, generator: np.random.Generator
) -> dict[str, Any]:
    """ADE of every planner by stratum, and its values per moment."""
    errors = {name: ade_m(poses, truth) for name, poses in plans.items()}
    return {
        "rows": stratified_errors(errors, gaps, generator),
        "ade_m": {name: row.tolist() for name, row in errors.items()},
    }


def pairs_of(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """Names of planners (what is compared with, what is better if its error is smaller): ik with the others of its mix, and
    the rich mix with the natural one."""
    named = {(subject.config.label, subject.config.mix): subject.name for subject in subjects}
    mixes = sorted({mix for _, mix in named})
    pairs = [
        (named[label, mix], named["ik", mix])
        for mix in mixes
        for label in AGAINST
        if (label, mix) in named and ("ik", mix) in named
    ]
    labels = sorted({label for label, _ in named})
    both = [label for label in labels if (label, "natural") in named and (label, "rich") in named]
    return pairs + [(named[label, "natural"], named[label, "rich"]) for label in both]


def gain_facts(
    subjects: Sequence[Subject], truth: Array, gaps: Array, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """Paired differences of ADE between planners, by stratum, with Wilcoxon's test corrected over all pairs."""
    errors = {subject.name: ade_m(subject.answers.plans, truth) for subject in subjects}
    rows = [
        {"first": first, "second": second, "p": wilcoxon_p(errors[first], errors[second])}
        | paired_gains(errors[first], errors[second], gaps, generator)
        for first, second in pairs_of(subjects)
    ]
    adjusted = holm(np.array([row["p"] for row in rows]))
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def loss_facts(subject: Subject, truth: Array, gaps: Array, generator: np.random.Generator) -> dict[str, Any]:
    """Where a planner's loss comes from: strata, and what the pictures cost and earn in each.

    `own`: mean absolute error of normalised poses, the loss that 'direct' is trained with. `parts`: mean squared distance over
    the eight positions, m2, see `eval_fid_fvd.loss_parts.visual_parts`.
    """
    answers = subject.answers
    own = np.abs((answers.plans - truth) / np.array(subject.config.plan_std)).mean(axis=(1, 2))
    parts = visual_parts(answers.plans[..., :2], answers.swapped[..., :2], truth[..., :2])
    critical = gaps > MAIN_M
    masks = {"all": np.ones_like(critical), "critical": critical, "dominated": ~critical}
    points = truth.shape[1]
    return {
        "own": loss_shares(own, gaps),
        "squared": loss_shares(parts.loss, gaps),
        "parts": {
            stratum: {
                name: _mean(getattr(parts, name)[mask] / points, generator)
                for name in ("loss", "blind", "visual", "cross", "earned")
            }
            for stratum, mask in masks.items()
            if mask.sum() > 1
        },
    }


def hangs_on(subject: Subject, truth: Array, generator: np.random.Generator) -> dict[str, Any]:
    """ADE with the moment's own pictures, with other scenes', and from other visual states than the predicted ones (m); and how
    far the plan moves by other pictures (`moved_m`: mean distance over the eight positions)."""
    answers = subject.answers
    swapped = np.linalg.norm(answers.swapped[..., :2] - truth[:, None, :, :2], axis=-1).mean(axis=(1, 2))
    moved = np.linalg.norm(answers.swapped[..., :2] - answers.plans[:, None, :, :2], axis=-1).mean(axis=(1, 2))
    found = {
        "own_m": _mean(ade_m(answers.plans, truth), generator),
        "other_pictures_m": _mean(swapped, generator),
        "moved_m": _mean(moved, generator),
    }
    given = {
        "redrawn_m": answers.from_redrawn,
        "true_states_m": answers.from_true,
        "present_states_m": answers.from_present,
    }
    for name, plans in given.items():
        if plans is not None:
            found[name] = _mean(ade_m(plans, truth), generator)
    return found


def kinds_of(moments: Sequence[HeldOutMoment]) -> dict[str, Array]:
    """The moments' characteristics as labels for group tests."""
    kinds = [moment.kind for moment in moments]
    front = np.array([kind.nearest_front_m for kind in kinds])
    return {
        "situation": np.array([kind.situation for kind in kinds]),
        "what holds back": np.array([kind.cause for kind in kinds]),
        "speed": binned(np.array([kind.speed_mps for kind in kinds]), SPEED_EDGES_MPS, "m/s"),
        "turn rate": binned(np.array([kind.turn_rate_radps for kind in kinds]), TURN_EDGES_RADPS, "rad/s"),
        "leader": _yes_no([kind.leader for kind in kinds]),
        "night": _yes_no([kind.night for kind in kinds]),
        "weather": np.array([kind.weather for kind in kinds]),
        "road users": binned(np.array([kind.road_users for kind in kinds], float), USER_EDGES, "within 40 m"),
        "nearest ahead": np.where(np.isnan(front), "nobody", binned(np.nan_to_num(front), FRONT_EDGES_M, "m")),
    }


def group_facts(subjects: Sequence[Subject], moments: Sequence[HeldOutMoment], truth: Array) -> dict[str, Any]:
    """ADE of every planner by kind of scene."""
    kinds = kinds_of(moments)
    return {subject.name: group_table(ade_m(subject.answers.plans, truth), kinds) for subject in subjects}


def extreme_facts(subjects: Sequence[Subject], moments: Sequence[HeldOutMoment], truth: Array) -> list[dict[str, Any]]:
    """In what kind of scenes 'ik' is better or worse than the others of its mix, by the error at 3 s (appendix H)."""
    numbers = {name: np.array([float(getattr(moment.kind, name)) for moment in moments]) for name in NUMBERS}
    ends = {subject.name: error_at_m(subject.answers.plans, truth, 3.0) for subject in subjects}
    mixes = {subject.name: subject.config.mix for subject in subjects}
    pairs = [(other, ours) for other, ours in pairs_of(subjects) if mixes[other] == mixes[ours]]
    return [
        {"first": ours, "second": other, "rows": extremes_table(ends[other] - ends[ours], numbers)}
        for other, ours in pairs
    ]


def _yes_no(values: Sequence[bool]) -> Array:
    return np.where(np.array(values), "yes", "no")


def _mean(values: Float[Array, " n"] | Bool[Array, " n"], generator: np.random.Generator) -> dict[str, Any]:
    return {"value": float(np.mean(values)), "interval": bootstrap_interval(values, generator)}
