import numpy as np
import pytest
from makers import make_observation
from numpy.testing import assert_allclose

from worldmodel.commands import ROAD_CAR, commanded, driveable
from worldmodel.geometry import Motion, Trajectory, integrate_rates
from worldmodel.sampling import Sampling

HERTZ, DT = 8.0, 0.125


def constant(speed_mps, yaw_rate_radps=0.0, steps=16):
    times = np.arange(steps + 1) * DT
    return integrate_rates(np.full(len(times), speed_mps), np.full(len(times), yaw_rate_radps), times)


def motion(*rows):
    return Motion(deltas=np.array(rows, float) * DT, period_s=DT)


def speeds(deltas):
    return deltas[:, 0] / DT


# -- what a car can do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "rate"), [(0, 0), (30, 0.1), (12, 0.9), (-3, 0.2), (3, 1.4), (69, 0)])
def test_what_a_car_can_do_is_left_alone_bit_for_bit(speed, rate):
    asked = constant(speed, rate).motion()
    steps, said = driveable(asked)
    assert steps is asked.deltas
    assert said == ()


def test_too_fast_is_clipped_and_named_with_its_time():
    steps, [said] = driveable(motion([60, 0, 0], [61, 0, 0], [95, 0, 0]))
    assert (speeds(steps) <= ROAD_CAR.speed_mps).all()
    assert "speed 95.0 m/s at 0.38 s (limit 70.0)" in said
    assert "acceleration" in said
    assert "Check the units" in said


def test_speeds_are_reached_step_by_step():
    steps, [said] = driveable(motion(*[[5, 0, 0]] * 3, *[[20, 0, 0]] * 20))
    gains = np.diff(speeds(steps)) / DT
    assert gains.max() == pytest.approx(ROAD_CAR.acceleration_mps2)
    assert speeds(steps)[-1] == pytest.approx(20)
    assert "acceleration 120.0 m/s² at 0.50 s (limit 12.0" in said


def test_full_braking_does_not_end_in_reverse():
    steps, _ = driveable(motion([20, 0, 0], *[[0, 0, 0]] * 16))
    assert (speeds(steps) >= -1e-12).all()
    assert speeds(steps)[-1] == 0


def test_a_step_that_is_shortened_keeps_its_curve():
    fast = constant(140, 0.0).motion()
    bent = Motion(deltas=np.concatenate([fast.deltas[:, :2], np.full((16, 1), 0.01)], axis=1), period_s=DT)
    steps, _ = driveable(bent)
    assert_allclose(steps[:, 2] / steps[:, 0], bent.deltas[:, 2] / bent.deltas[:, 0])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([30, 0, 1.0], "lateral acceleration 30.0 m/s² at 0.12 s (limit 12.0"),
        ([0, 0, 3.0], "yaw rate 3.0 rad/s at 0.12 s (limit 0.5"),
        ([2, 8, 0], "sideways speed 8.0 m/s at 0.12 s (limit 1.6"),
        ([-40, 0, 0], "speed -40.0 m/s at 0.12 s (limit -15.0"),
    ],
)
def test_each_limit_is_kept_and_named(row, said):
    once, [text] = driveable(motion(row))
    assert said in text
    again, silent = driveable(Motion(deltas=once, period_s=DT))
    assert silent == ()
    assert_allclose(again, once)


def test_clipping_looks_at_the_past_alone():
    rows = np.random.default_rng(0).normal(0, 30, (24, 3))
    whole, _ = driveable(motion(*rows))
    part, _ = driveable(motion(*rows[:10]))
    assert_allclose(part, whole[:10])


def test_any_wish_becomes_something_a_car_can_do():
    rows = np.random.default_rng(1).normal(0, 1, (200, 3)) * [60, 20, 8]
    once, _ = driveable(motion(*rows))
    assert np.isfinite(once).all()
    again, said = driveable(Motion(deltas=once, period_s=DT))
    assert said == ()
    assert_allclose(again, once)


# -- from a path ------------------------------------------------------------------------------------------------------


def test_paths_at_another_rate_are_resampled():
    coarse = Trajectory(poses=np.array([[0, 0, 0], [8.0, 0, 0], [16, 0, 0]]), times_s=np.array([0.0, 1, 2]))
    steps, said = commanded(coarse, 16, HERTZ)
    assert_allclose(steps[:, 0], 1)
    assert said == ()


def test_a_start_at_another_speed_is_said_and_driven_as_given():
    steps, [said] = commanded(constant(12), 8, HERTZ, speed_mps=3.0)
    assert_allclose(speeds(steps), 12)
    assert "begin at 12.0 m/s, but the car drives 3.0 m/s" in said
    assert commanded(constant(12), 8, HERTZ, speed_mps=11.0)[1] == ()
    assert commanded(constant(12), 8, HERTZ)[1] == ()


# -- in a rollout -----------------------------------------------------------------------------------------------------


def test_a_rollout_drives_what_was_clipped_and_warns(tiny_model, observation):
    wild = constant(200, steps=8)
    rollout = tiny_model.imagine(observation, seconds=1, actions=wild, sampling=Sampling(steps=1))
    assert rollout.trajectory.poses[-1, 0] == pytest.approx(70, rel=1e-5)
    assert any("speed 200.0 m/s" in text for text in rollout.warnings)
    assert any("begin at 200.0 m/s" in text for text in rollout.warnings)


def test_clipping_is_the_same_when_a_rollout_is_interrupted(tiny_model, observation):
    wild = Motion(deltas=np.random.default_rng(3).normal(1, 2, (16, 3)), period_s=DT).trajectory()
    ask = {"sampling": Sampling(steps=1)}
    whole = tiny_model.imagine(observation, seconds=2, actions=wild, **ask)
    begun = tiny_model.imagine(observation, seconds=1, actions=wild, **ask)
    [rest] = tiny_model.go_on(begun.past, seconds=1, seeds=[0], actions=[wild], **ask)
    assert (rest.trajectory.poses == whole.trajectory.poses[8:]).all()
    assert any("no car can do" in text for text in rest.warnings)


def test_each_sample_is_warned_of_its_own_actions(tiny_model):
    observations = [make_observation(seed=s) for s in (1, 2)]
    rollouts = tiny_model.imagine_batch(
        observations, seconds=0.5, seeds=[0, 0], actions=[constant(8), constant(300)], sampling=Sampling(steps=1)
    )
    found = [[text for text in rollout.warnings if "no car can do" in text] for rollout in rollouts]
    assert [len(texts) for texts in found] == [0, 1]
