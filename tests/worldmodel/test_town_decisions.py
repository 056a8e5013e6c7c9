import numpy as np
import pytest

from worldmodel.decisions import decide, decide_all, decisions_of, lateral_decision, longitudinal_decision
from worldmodel.errors import BadMotion
from worldmodel.geometry import Trajectory, integrate_rates
from worldmodel.plans import PLAN_TIMES_S, Plan


def drive(speeds: np.ndarray, yaw_rate: float = 0.0) -> Trajectory:
    times = np.arange(len(speeds)) * 0.125
    return integrate_rates(speeds, np.full(len(speeds), yaw_rate), times)


@pytest.mark.parametrize(
    ("degrees", "left_m", "expected"),
    [
        (0, 0, "straight"),
        (2.9, 0.5, "straight"),
        (3.1, 0, "slight_left"),
        (-14.9, 0, "slight_right"),
        (15.1, 0, "left"),
        (-40, 5, "right"),
        (0, 2.1, "slight_left"),
        (1, -3.5, "slight_right"),
    ],
)
def test_direction_thresholds(degrees: float, left_m: float, expected: str) -> None:
    assert lateral_decision(np.radians(degrees), left_m) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (8, 0.4, "stop"),
        (0, 0, "stop"),
        (8, 8.9, "keep"),
        (8, 9.1, "accelerate"),
        (8, 6.9, "slow"),
        (0, 2, "accelerate"),
    ],
)
def test_speed_thresholds(start: float, end: float, expected: str) -> None:
    assert longitudinal_decision(start, end) == expected


def test_decisions_follow_the_trajectory() -> None:
    left = drive(np.full(33, 8.0), yaw_rate=0.15)
    assert [d.lateral for d in decide_all(left)] == ["slight_left", "left", "left"]
    assert decide(left, 3.0).longitudinal == "keep"
    braking = drive(np.maximum(8.0 - np.arange(33) * 0.5, 0.0))
    assert decide(braking, 1.0).longitudinal == "slow"
    assert decide(braking, 3.0).longitudinal == "stop"


def test_a_u_turn_stays_a_turn_to_the_same_side() -> None:
    assert decide(drive(np.full(33, 4.0), yaw_rate=1.2), 3.0).lateral == "left"  # 206 degrees


def test_the_frame_of_the_poses_does_not_matter() -> None:
    path = drive(np.linspace(5, 9, 33), yaw_rate=-0.1)
    moved = path.seen_from(np.array([30.0, -4.0, 2.5]))
    assert decide_all(path) == decide_all(moved)


def test_a_plan_has_three_decisions() -> None:
    poses = np.stack([PLAN_TIMES_S * 8.0, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S], axis=-1)
    decisions = decisions_of(Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S)), start_mps=5.0)
    assert [d.longitudinal for d in decisions] == ["accelerate"] * 3


def test_too_short_a_trajectory_is_refused() -> None:
    with pytest.raises(BadMotion):
        decide(drive(np.full(9, 8.0)), 3.0)
    with pytest.raises(BadMotion, match="positive"):
        decide(drive(np.full(9, 8.0)), 0.0)
