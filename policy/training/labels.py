"""What planners learn from a driven path: poses, route and decisions at each frame, and how much of it needs eyes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policy.planner_config import ROUTE_POINTS
from worldmodel.decisions import LATERAL, LONGITUDINAL, decide_all
from worldmodel.geometry import Array, Motion, Trajectory
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.town.records.moments import CRITICAL_M, GAP_TIMES_S, constant_motion
from worldmodel.training.store import Store

SLACK_S = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class Label:
    """What was driven from one frame on.

    Attributes:
        poses: At 0.5 ... 4 s [8, 3].
        route: Points 1 m apart along the path [20, 2], metres; zeros past its known end.
        route_known: How many of them are known.
        decisions: Lateral and longitudinal class at 1, 2 and 3 s [3, 2].
        gap_m: The ego-status gap: mean distance over 3 s to where present speed and yaw rate lead.
    """

    poses: Array
    route: Array
    route_known: int
    decisions: Array
    gap_m: float


def known_motion(store: Store, clip: int) -> Motion:
    """A clip's steps up to the first unknown one."""
    known = store.known[clip]
    count = len(known) if known.all() else int(np.argmin(known))
    return Motion(deltas=np.asarray(store.deltas[clip, :count], np.float64), period_s=1 / store.frequency_hz)


def labels_of(motion: Motion, frames: Sequence[int]) -> dict[int, Label]:
    """The labels of those of the frames that have a step behind them and 4 s of known path ahead."""
    whole = motion.trajectory()
    last_s = float(whole.times_s[-1]) - float(PLAN_TIMES_S[-1])
    return {
        frame: _label(motion, whole, frame)
        for frame in frames
        if frame >= 1 and frame * motion.period_s <= last_s + SLACK_S
    }


def _label(motion: Motion, whole: Trajectory, frame: int) -> Label:
    seen = whole.seen_from(whole.poses[frame])
    ahead = Trajectory(poses=seen.poses[frame:], times_s=whole.times_s[frame:] - whole.times_s[frame])
    speed = float(motion.speeds_mps[frame - 1])
    route, route_known = _route(ahead)
    made = decide_all(ahead, start_mps=speed)
    guess = constant_motion(speed, float(motion.yaw_rates_radps[frame - 1]), GAP_TIMES_S)
    gap = np.linalg.norm(guess - ahead.resampled(GAP_TIMES_S).poses[:, :2], axis=1).mean()
    return Label(
        poses=ahead.resampled(PLAN_TIMES_S).poses,
        route=route,
        route_known=route_known,
        decisions=np.array([[LATERAL.index(d.lateral), LONGITUDINAL.index(d.longitudinal)] for d in made]),
        gap_m=float(gap),
    )


def _route(ahead: Trajectory) -> tuple[Array, int]:
    """Points 1, 2, ... 20 m along a path, and how many of them it reaches."""
    gaps = np.linalg.norm(np.diff(ahead.poses[:, :2], axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    wanted = np.arange(1, ROUTE_POINTS + 1, dtype=float)
    reached = int((wanted <= along[-1]).sum())
    points = np.stack([np.interp(wanted, along, ahead.poses[:, axis]) for axis in (0, 1)], axis=-1)
    points[reached:] = 0.0
    return points, reached


def critical_share(labels: Sequence[Label]) -> float:
    """Share of labels that are vision-critical, as `worldmodel.town.records.moments` defines it."""
    return float(np.mean([label.gap_m > CRITICAL_M for label in labels])) if labels else float("nan")
