"""How good are plans at one moment each? Every planner's answers at the same moments, and the errors of each answer.

Errors at 1, 2, 3 and 4 s under both conventions of planning tables: ADE up to h is the mean over the plan's half-second steps
up to h, as ST-P3 and VAD say L2; FDE at h is the error at h, as UniAD says L2. Collisions are those of
`collisions.box_collision_rates`: the ego turns with the plan, everybody counts, nobody is forgiven.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from eval_fid_fvd.collisions import box_collision_rates
from eval_fid_fvd.planning import published_poses
from policy.planner import Planner
from studio.open_loop_scenes import DrivenMoment
from studio.plan_scores import EGO
from worldmodel.decisions import LATERAL, LONGITUDINAL, decisions_of
from worldmodel.errors import Diverged, PolicyError
from worldmodel.geometry import Array, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Decision, Plan

ERRORS_AT_S = (1.0, 2.0, 3.0, 4.0)
STEPS = [int(np.flatnonzero(at_s == PLAN_TIMES_S)[0]) for at_s in ERRORS_AT_S]
EXPERT = "expert (privileged)"  # the driven path itself: what a perfect imitator gets
FAILURES = (PolicyError, Diverged)


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What one planner said at every moment.

    Attributes:
        planner: Its name.
        poses: [n, 8, 3]; NaN where it failed.
        decisions: Lateral and longitudinal class at 1, 2 and 3 s [n, 3, 2]; -1 where it failed.
        says_decisions: Whether it says them; else they are read off its plan.
        ms: Milliseconds per answer; NaN where it failed.
        failures: What went wrong, by moment.
    """

    planner: str
    poses: Float[Array, "n 8 3"]
    decisions: Int[Array, "n 3 2"]
    says_decisions: bool = False
    ms: Float[Array, " n"]
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def fine(self) -> Bool[Array, " n"]:
        """Where there is an answer."""
        found: Array = np.isfinite(self.poses).all(axis=(1, 2))
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; null where it failed."""
        fine = self.fine
        return {
            "planner": self.planner,
            "poses": [row.tolist() if ok else None for row, ok in zip(self.poses, fine, strict=True)],
            "decisions": self.decisions.tolist(),
            "says_decisions": self.says_decisions,
            "ms": [float(ms) if ok else None for ms, ok in zip(self.ms, fine, strict=True)],
            "failures": {str(number): why for number, why in self.failures.items()},
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Answers":
        """What `to_json` wrote."""
        lost = np.full((len(PLAN_TIMES_S), 3), np.nan)
        return Answers(
            planner=values["planner"],
            poses=np.array([lost if row is None else row for row in values["poses"]], np.float64),
            decisions=np.array(values["decisions"], int),
            says_decisions=values["says_decisions"],
            ms=np.array([np.nan if ms is None else ms for ms in values["ms"]], np.float64),
            failures={int(number): why for number, why in values["failures"].items()},
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Errors:
    """The errors of one planner's answers, one row per moment; NaN where it failed.

    Attributes:
        ade_m, fde_m: Up to and at ERRORS_AT_S [n, 4].
        hits: 1 where the plan runs into somebody up to 1, 2 and 3 s [n, 3].
        right: 1 where the decision at 1, 2 and 3 s is the driver's [n, 3, 3]: direction, speed, both.
    """

    ade_m: Float[Array, "n 4"]
    fde_m: Float[Array, "n 4"]
    hits: Float[Array, "n 3"]
    right: Float[Array, "n 3 3"]


def answers_of(planner: Planner, moments: Sequence[DrivenMoment], *, seed: int = 0) -> Answers:
    """Ask a planner at every moment, the same seed each time; a failure counts for its moment alone."""
    made: list[Plan | None] = []
    spent, failures = [], {}
    for number, moment in enumerate(moments):
        started = time.perf_counter()
        try:
            made.append(planner.plan(moment.observation, seed=seed))
        except FAILURES as error:
            made.append(None)
            failures[number] = f"{type(error).__name__}: {error}"
        spent.append(np.nan if made[-1] is None else 1000 * (time.perf_counter() - started))
    return _answers(planner.name, made, moments, np.array(spent), failures)


def driven_answers(moments: Sequence[DrivenMoment]) -> Answers:
    """The driven paths as if they were plans: decisions are read off at half-second steps, which is all that a plan has."""
    made = [Plan(trajectory=Trajectory(poses=moment.label.poses, times_s=PLAN_TIMES_S)) for moment in moments]
    return _answers(EXPERT, made, moments, np.zeros(len(moments)), {})


def _answers(
    name: str, made: Sequence[Plan | None], moments: Sequence[DrivenMoment], ms: Array, failures: dict[int, str]
) -> Answers:
    lost = np.full((len(PLAN_TIMES_S), 3), np.nan)
    return Answers(
        planner=name,
        poses=np.stack([lost if plan is None else plan.trajectory.poses for plan in made]),
        decisions=np.stack([_decided(plan, moment) for plan, moment in zip(made, moments, strict=True)]),
        says_decisions=any(plan is not None and plan.decisions is not None for plan in made),
        ms=ms,
        failures=failures,
    )


def _decided(plan: Plan | None, moment: DrivenMoment) -> Int[Array, "3 2"]:
    """Classes of what the planner says it decided, or else of what its plan amounts to."""
    if plan is None:
        return np.full((3, 2), -1)
    decisions = plan.decisions or decisions_of(plan, start_mps=moment.observation.speed_mps)
    return np.array([_classes(one) for one in decisions])


def _classes(one: Decision) -> list[int]:
    return [LATERAL.index(one.lateral), LONGITUDINAL.index(one.longitudinal)]


def errors_of(answers: Answers, moments: Sequence[DrivenMoment]) -> Errors:
    """Errors of every answer."""
    driven = np.stack([moment.label.poses for moment in moments])
    away = np.linalg.norm(answers.poses[..., :2] - driven[..., :2], axis=-1)
    so_far = np.cumsum(away, axis=1) / np.arange(1, away.shape[1] + 1)
    hits = [_hits(poses, moment) for poses, moment in zip(answers.poses, moments, strict=True)]
    parts = (answers.decisions == np.stack([moment.label.decisions for moment in moments])).astype(float)
    right = np.concatenate([parts, parts.prod(axis=-1, keepdims=True)], axis=-1)
    right[~answers.fine] = np.nan
    return Errors(ade_m=so_far[:, STEPS], fde_m=away[:, STEPS], hits=np.array(hits), right=right)


def _hits(poses: Array, moment: DrivenMoment) -> list[float]:
    if not np.isfinite(poses).all():
        return [np.nan] * 3
    path = published_poses(Trajectory(poses=poses, times_s=PLAN_TIMES_S))
    within = box_collision_rates(path[None], [moment.boxes], ego=EGO)["within"]
    assert isinstance(within, list)
    return within


def majority_right(moments: Sequence[DrivenMoment]) -> Float[Array, "3 3"]:
    """How often always giving the commonest decision is right, at 1, 2 and 3 s: direction, speed, both."""
    made = np.stack([moment.label.decisions for moment in moments])
    both = made[..., 0] * len(LONGITUDINAL) + made[..., 1]
    columns = np.concatenate([made, both[..., None]], axis=-1)
    return np.array([[np.bincount(columns[:, h, k]).max() / len(made) for k in range(3)] for h in range(3)])
