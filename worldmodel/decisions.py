"""Meta-actions: what a stretch of driving amounts to, as one word for the direction and one for the speed.

Lateral, from the heading change over [0, h]: straight below 3 degrees, slight below 15, else a turn; a lane change
(more than 2 m sideways with little heading change) is slight. Longitudinal: 'stop' when slower than 0.5 m/s at h,
'keep' when the speed changed by less than 1 m/s, else 'accelerate' or 'slow'.
"""

import numpy as np

from worldmodel.errors import BadMotion
from worldmodel.geometry import Trajectory, wrap_angle
from worldmodel.plans import PLAN_TIMES_S, Decision, Plan

LATERAL = ("straight", "slight_left", "slight_right", "left", "right")
LONGITUDINAL = ("stop", "slow", "keep", "accelerate")
HORIZONS_S = (1.0, 2.0, 3.0)
STOP_MPS = 0.5
KEEP_MPS = 1.0
STRAIGHT_DEG = 3.0
TURN_DEG = 15.0
LANE_CHANGE_M = 2.0


def lateral_decision(heading_change_rad: float, left_m: float) -> str:
    """Direction from the heading change and from how far to the left the path ends (in its first frame)."""
    degrees = float(np.degrees(heading_change_rad))
    if abs(degrees) >= TURN_DEG:
        return "left" if degrees > 0 else "right"
    if abs(degrees) >= STRAIGHT_DEG:
        return "slight_left" if degrees > 0 else "slight_right"
    if abs(left_m) > LANE_CHANGE_M:
        return "slight_left" if left_m > 0 else "slight_right"
    return "straight"


def longitudinal_decision(start_mps: float, end_mps: float) -> str:
    """Speed choice from the speeds at the start and at the horizon."""
    if end_mps < STOP_MPS:
        return "stop"
    if abs(end_mps - start_mps) < KEEP_MPS:
        return "keep"
    return "accelerate" if end_mps > start_mps else "slow"


def decide(trajectory: Trajectory, horizon_s: float, *, start_mps: float | None = None) -> Decision:
    """The decision that a trajectory amounts to over [first time, first time + horizon_s].

    Args:
        trajectory: Poses in any frame, at any times.
        horizon_s: Positive seconds.
        start_mps: Speed at the start where it is known; else taken from the first step.
    Raises:
        BadMotion: if the trajectory is shorter than the horizon.
    """
    if not horizon_s > 0:
        raise BadMotion(f"a decision over {horizon_s:g} s is wanted; the horizon must be positive.")
    begin = float(trajectory.times_s[0])
    end = begin + horizon_s
    first, last = trajectory.resampled(np.array([begin, end])).seen_from(trajectory.poses[0]).poses
    at_start = _speed(trajectory, begin) if start_mps is None else start_mps
    turned = _turned(trajectory, end)
    return Decision(
        lateral=lateral_decision(turned, float(last[1] - first[1])),
        longitudinal=longitudinal_decision(at_start, _speed(trajectory, end)),
    )


def _turned(trajectory: Trajectory, end_s: float) -> float:
    """Heading change up to a time, followed step by step so that more than half a turn counts fully."""
    steps = wrap_angle(np.diff(trajectory.poses[:, 2]))
    headings = np.concatenate([[0.0], np.cumsum(steps)])
    return float(np.interp(end_s, trajectory.times_s, headings))


def _speed(trajectory: Trajectory, time_s: float) -> float:
    """Speed of the step that ends at a time (or of the first step)."""
    times = trajectory.times_s
    i = int(np.clip(np.searchsorted(times, time_s - 1e-6), 1, len(times) - 1))
    gap = trajectory.poses[i, :2] - trajectory.poses[i - 1, :2]
    return float(np.hypot(*gap) / (times[i] - times[i - 1]))


def decide_all(trajectory: Trajectory, *, start_mps: float | None = None) -> tuple[Decision, ...]:
    """Decisions at 1, 2 and 3 s."""
    return tuple(decide(trajectory, horizon, start_mps=start_mps) for horizon in HORIZONS_S)


def decisions_of(plan: Plan, *, start_mps: float | None = None) -> tuple[Decision, ...]:
    """Decisions at 1, 2 and 3 s that a plan amounts to.

    Args:
        start_mps: The present speed; else the mean speed of the plan's first half second.
    """
    poses = np.concatenate([np.zeros((1, 3)), plan.trajectory.poses])
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    return decide_all(Trajectory(poses=poses, times_s=times), start_mps=start_mps)
