"""The kinematic bicycle: closed forms, limits, and plans that are found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.bicycle import CarState, Limits, controls_of, drive, rollout, step
from worldmodel.errors import BadMotion, BadRequest
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan


def a_plan(poses: np.ndarray) -> Plan:
    return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))


def driven(
    state: CarState, acceleration: float, curvature: float, ticks: int, limits: Limits | None = None
) -> CarState:
    for _ in range(ticks):
        state = step(state, acceleration, curvature, 1 / 24, limits or Limits())
    return state


def test_constant_curvature_is_a_circle() -> None:
    curvature, speed = 0.05, 8.0
    seconds = np.linspace(0.1, 15.0, 40)
    poses, speeds = drive(np.zeros((40, 3)), np.full(40, speed), np.zeros(40), np.full(40, curvature), seconds)
    np.testing.assert_allclose(np.hypot(poses[:, 0], poses[:, 1] - 1 / curvature), 1 / curvature, atol=1e-9)
    np.testing.assert_allclose(poses[:, 0], np.sin(curvature * speed * seconds) / curvature, atol=1e-9)
    np.testing.assert_allclose(speeds, speed)


def test_a_step_in_parts_is_the_step_whole() -> None:
    whole, speed = drive(np.zeros(3), np.array(6.0), np.array(1.5), np.array(-0.08), 2.0)
    pose, now = np.zeros(3), np.array(6.0)
    for _ in range(16):
        pose, now = drive(pose, now, np.array(1.5), np.array(-0.08), 0.125)
    np.testing.assert_allclose(pose, whole, atol=1e-9)
    assert now == pytest.approx(float(speed)) == pytest.approx(9.0)


def test_braking_ends_where_the_stopping_distance_says_and_never_goes_back() -> None:
    state = driven(CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=10), -4.0, 0.0, 24 * 5, Limits(jerk_mps3=1e6))
    assert state.speed_mps == 0
    assert state.x_m == pytest.approx(10**2 / (2 * 4.0), abs=1e-6)


def test_controls_are_held_to_the_limits() -> None:
    limits = Limits(jerk_mps3=1e6, curvature_rate=1e6)
    start = CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=10)
    assert step(start, 99.0, 0.0, 1 / 24, limits).acceleration_mps2 == limits.throttle_mps2
    assert step(start, -99.0, 0.0, 1 / 24, limits).acceleration_mps2 == -limits.brake_mps2
    assert step(start, 0.0, 9.0, 1 / 24, limits).curvature_per_m == pytest.approx(limits.lateral_mps2 / 10**2)
    slow = CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=1)
    assert step(slow, 0.0, -9.0, 1 / 24, limits).curvature_per_m == -limits.curvature_per_m
    assert driven(start, 9.0, 0.0, 24 * 60, limits).speed_mps == pytest.approx(limits.speed_mps)


def test_pedals_and_wheel_take_time() -> None:
    start = CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=5)
    after = step(start, -8.0, 0.2, 0.1, Limits(jerk_mps3=20, curvature_rate=0.5))
    assert after.acceleration_mps2 == pytest.approx(-2.0)
    assert after.curvature_per_m == pytest.approx(0.05)


@settings(max_examples=40, deadline=None)
@given(
    speed=st.floats(2.0, 15.0),
    gas=st.lists(st.floats(-1.0, 1.0), min_size=8, max_size=8),
    turn=st.lists(st.floats(-0.02, 0.02), min_size=8, max_size=8),
)
def test_a_plan_that_the_bicycle_made_is_found_again(speed: float, gas: list[float], turn: list[float]) -> None:
    made = rollout(np.stack([gas, turn], axis=-1), speed)
    again = rollout(controls_of(a_plan(made), speed), speed)
    assert np.abs(again[:, :2] - made[:, :2]).max() < 0.15
    assert np.abs(again[:, 2] - made[:, 2]).max() < 0.05


def test_constant_controls_are_found_exactly() -> None:
    made = rollout(np.tile([0.7, 0.06], (8, 1)), 6.0)
    np.testing.assert_allclose(controls_of(a_plan(made), 6.0), np.tile([0.7, 0.06], (8, 1)), atol=2e-3)


def test_jitter_in_a_plan_is_not_driven() -> None:
    noise = np.random.default_rng(0).normal(0, [0.1, 0.05, 0.02], (8, 3))
    controls = controls_of(a_plan(rollout(np.zeros((8, 2)), 8.0) + noise), 8.0)
    assert np.abs(controls[:, 0]).max() < 0.5
    assert np.abs(controls[:, 1]).max() < 0.02


def test_plans_beyond_the_car_are_driven_as_far_as_it_can() -> None:
    limits = Limits()
    stop = controls_of(a_plan(np.zeros((8, 3))), 10.0, limits)
    assert stop[0, 0] == -limits.brake_mps2
    back = controls_of(a_plan(np.stack([-PLAN_TIMES_S, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S], axis=-1)), 0.0)
    assert (rollout(back, 0.0)[:, 0] >= 0).all()
    u_turn = controls_of(a_plan(np.stack([-8 * PLAN_TIMES_S, 9 * PLAN_TIMES_S, 3 * np.ones(8)], axis=-1)), 5.0, limits)
    assert np.isfinite(u_turn).all()
    assert np.abs(u_turn[:, 1]).max() <= limits.curvature_per_m


def test_nonsense_is_refused() -> None:
    start = CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=5)
    with pytest.raises(BadMotion, match="must be finite"):
        step(start, float("nan"), 0.0, 0.1, Limits())
    with pytest.raises(BadMotion, match="not negative"):
        CarState(x_m=0, y_m=0, yaw_rad=0, speed_mps=-1)
    with pytest.raises(BadRequest, match="must be positive"):
        Limits(brake_mps2=0)
