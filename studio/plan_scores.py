"""How good were plans? What followed a moment, and the planning scores of plans against it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.collisions import EgoBox, box_collision_rates, boxes_ahead, is_vehicle, occupancy_of
from eval_fid_fvd.planning import (
    DECISION_PARTS,
    PUBLISHED_TIMES_S,
    collision_rates,
    decision_accuracy,
    displacement_errors,
    published_poses,
)
from eval_fid_fvd.statistics import bootstrap_interval
from studio.demo import plan_errors
from studio.moments import Moment
from worldmodel.decisions import decide_all, decisions_of
from worldmodel.geometry import Array, Trajectory
from worldmodel.plans import Decision, Plan
from worldmodel.town.scene import EGO_BODY, REAR_AXLE_M

EGO = EgoBox(length_m=EGO_BODY.length_m, width_m=EGO_BODY.width_m, ahead_m=REAR_AXLE_M)
INPUTS = "frames, ego motion up to now (speed and yaw rate with it), instruction"


@dataclass(frozen=True, eq=False)
class Future:
    """What followed a moment."""

    moment: Moment

    @cached_property
    def driven(self) -> Trajectory | None:
        """The path driven, in the ego frame of the moment; None when it is unknown or nothing follows."""
        return self.moment.driven()

    @property
    def whole(self) -> bool:
        """Whether 3 s follow, as planning tables need."""
        return self.driven is not None and bool(self.driven.times_s[-1] + 1e-6 >= PUBLISHED_TIMES_S[-1])

    @cached_property
    def poses(self) -> Float[Array, "6 3"]:
        """Driven poses at 0.5, 1.0, ... 3.0 s (only where `whole`)."""
        assert self.driven is not None
        return self.driven.resampled(PUBLISHED_TIMES_S).poses

    def boxes(self, which: Callable[[str], bool] | None = None) -> list[Float[Array, "n 5"]] | None:
        """Who is there at 0.5, 1.0, ... 3.0 s (the nearest frames), as `collisions` takes it; None where nobody knows."""
        clip = self.moment.clip
        if clip.boxes is None or self.driven is None or not self.whole:
            return None
        ahead = np.round(PUBLISHED_TIMES_S * clip.frequency_hz).astype(int)
        there = [clip.boxes[self.moment.now + step] for step in ahead]
        return boxes_ahead(there, self.driven.poses[ahead], which=which)


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One plan, by whom, and what followed the moment it was made for."""

    planner: str
    plan: Plan
    future: Future

    def facts(self) -> dict[str, Any]:
        """As written into a result."""
        moment, driven = self.future.moment, self.future.driven
        return {
            "clip": moment.clip.id,
            "at_s": moment.start_s + moment.at_s,
            "planner": self.planner,
            "poses": self.plan.trajectory.poses.tolist(),
            "truth_3s": self.future.poses[:, :2].tolist() if self.future.whole else None,
            "errors": None if driven is None else plan_errors(self.plan, driven),
            "timing_s": self.plan.timing,
        }

    @cached_property
    def decisions(self) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
        """What the plan and what the driver decided, at 1, 2 and 3 s, both read off the paths."""
        assert self.future.driven is not None
        speed = self.future.moment.observation().speed_mps
        return decisions_of(self.plan, start_mps=speed), decide_all(self.future.driven, start_mps=speed)


def plan_summary(answers: Sequence[Answer], seed: int) -> dict[str, Any]:
    """Planning scores of one planner over moments.

    Returns:
        `plans` made, `scored` (something follows) with `ade_m` and `fde_m` (mean; None where nothing follows) and their
        `_interval` (95 %, bootstrap over moments); `tabled` (3 s follow; the others are left out of what comes next):
        `l2_...` as `displacement_errors`; `decisions` as `decision_accuracy`; where boxes are known (`boxed` moments)
        `collision_...`: the published count of vehicles, and `box_collision_...`: the correct one of everybody, with
        `driven_box_collision_within`, what the path that was driven gets.
    """
    errors = [e for e in (plan_errors(a.plan, a.future.driven) for a in answers if a.future.driven is not None) if e]
    whole = [a for a in answers if a.future.whole]
    boxed = [a for a in whole if a.future.boxes() is not None]
    found: dict[str, Any] = {"plans": len(answers), "scored": len(errors), "tabled": len(whole), "boxed": len(boxed)}
    for name in ("ade_m", "fde_m"):
        values = np.array([one[name] for one in errors])
        found[name] = float(values.mean()) if len(values) else None
        found[f"{name}_interval"] = bootstrap_interval(values, np.random.default_rng(seed)) if len(values) > 1 else None
    return found | (_displacements(whole) if whole else {}) | (_collisions(boxed) if boxed else {})


def _displacements(answers: Sequence[Answer]) -> dict[str, Any]:
    pred, truth = _paths(answers)
    errors = displacement_errors(pred[..., :2], truth[..., :2], np.ones(pred.shape[:2], bool))
    said, done = ([answer.decisions[side] for answer in answers] for side in (0, 1))
    decisions = decision_accuracy(_labels(said), _labels(done))
    return {f"l2_{name}": value for name, value in errors.items()} | {"decisions": decisions}


def _labels(decisions: Sequence[Sequence[Decision]]) -> dict[str, Array]:
    return {part: np.array([[getattr(one, part) for one in row] for row in decisions]) for part in DECISION_PARTS}


def _collisions(answers: Sequence[Answer]) -> dict[str, Any]:
    pred, truth = _paths(answers)
    vehicles = [answer.future.boxes(is_vehicle) or [] for answer in answers]
    occupancy = np.stack([[occupancy_of(step) for step in steps] for steps in vehicles])
    everybody = [answer.future.boxes() or [] for answer in answers]
    published = collision_rates(pred[..., :2], truth[..., :2], occupancy)
    ours, driven = (box_collision_rates(poses, everybody, ego=EGO) for poses in (pred, truth))
    return (
        {f"collision_{name}": value for name, value in published.items()}
        | {f"box_collision_{name}": value for name, value in ours.items()}
        | {"driven_box_collision_within": driven["within"]}
    )


def _paths(answers: Sequence[Answer]) -> tuple[Float[Array, "n 6 3"], Float[Array, "n 6 3"]]:
    """Planned and driven poses in the published frame."""
    driven = [answer.future.driven for answer in answers]
    return (
        np.stack([published_poses(answer.plan.trajectory) for answer in answers]),
        np.stack([published_poses(path) for path in driven if path is not None]),
    )


def plan_lines(name: str, row: dict[str, Any]) -> list[str]:
    """The scores of one planner, for people."""
    if not row["scored"]:
        return [f"{name}: {row['plans']} plans, none scored (no motion follows)"]
    lines = [
        f"{name}: ADE {row['ade_m']:.2f} m{_between(row['ade_m_interval'])}, FDE {row['fde_m']:.2f} m"
        f"{_between(row['fde_m_interval'])} over {row['scored']} of {row['plans']} plans"
    ]
    if row["tabled"]:
        lines += [
            f"  L2 at 1, 2, 3 s (UniAD): {_metres(row['l2_uniad'])} m; up to (ST-P3): {_metres(row['l2_stp3'])} m "
            f"({row['tabled']} plans with 3 s of truth)",
            f"  same decision at 1, 2, 3 s: direction {_percent(row['decisions']['lateral'])}, speed "
            f"{_percent(row['decisions']['longitudinal'])}, both {_percent(row['decisions']['joint'])} (always the "
            f"commonest: {_percent(row['decisions']['joint_majority'])})",
        ]
    if row["boxed"]:
        lines.append(
            f"  collision within 1, 2, 3 s: {_percent(row['box_collision_within'])} (driven path: "
            f"{_percent(row['driven_box_collision_within'])}); published raster of vehicles, at (UniAD): "
            f"{_percent(row['collision_uniad'])}, up to (ST-P3): {_percent(row['collision_stp3'])} ({row['boxed']} plans)"
        )
    return lines


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"


def _metres(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _percent(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares) + " %"
