"""Baselines drive on; the joint planner passes seed and samples through."""

import numpy as np
import pytest

from policy.baselines import ConstantTurnRatePlanner, ConstantVelocityPlanner
from policy.planner import JointPlanner, Planner
from worldmodel.errors import BadRequest, MissingMotion
from worldmodel.geometry import Motion, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.town.scene import town_rig


def observation(delta: tuple[float, float, float] | None, frames: int = 3) -> Observation:
    rig = town_rig(1, 16, 8)
    motion = None if delta is None else Motion(deltas=np.array([delta] * (frames - 1)).reshape(-1, 3), period_s=0.125)
    return Observation(video=np.zeros((frames, 1, 3, 8, 16), np.uint8), rig=rig, motion=motion, frequency_hz=8.0)


def test_constant_velocity_drives_straight_at_the_current_speed() -> None:
    plan = ConstantVelocityPlanner().plan(observation((1.0, 0.0, 0.1)), seed=0)
    np.testing.assert_allclose(plan.trajectory.poses[:, 0], 8.0 * PLAN_TIMES_S)
    np.testing.assert_allclose(plan.trajectory.poses[:, 1:], 0.0, atol=1e-12)


def test_constant_turn_rate_follows_a_circle() -> None:
    speed, yaw_rate = 8.0, 0.4
    plan = ConstantTurnRatePlanner().plan(observation((speed / 8, 0.0, yaw_rate / 8)), seed=0)
    radius = speed / yaw_rate
    x, y, yaw = plan.trajectory.poses.T
    np.testing.assert_allclose(yaw, yaw_rate * PLAN_TIMES_S, atol=1e-9)
    np.testing.assert_allclose(np.hypot(x, y - radius), radius, atol=1e-9)


def test_reversing_drives_backwards() -> None:
    plan = ConstantVelocityPlanner().plan(observation((-0.5, 0.0, 0.0)), seed=0)
    assert plan.trajectory.poses[-1, 0] == pytest.approx(-16.0)


@pytest.mark.parametrize("planner", [ConstantVelocityPlanner(), ConstantTurnRatePlanner()])
@pytest.mark.parametrize("seen", [observation(None), observation((1.0, 0.0, 0.0), frames=1)])
def test_unknown_speed_is_said_not_guessed(planner: Planner, seen: Observation) -> None:
    with pytest.raises(MissingMotion, match="at least two frames"):
        planner.plan(seen, seed=0)


class FakeModel:
    def plan(self, observation: Observation, *, seed: int, samples: int = 1) -> Plan:
        drawn = np.random.default_rng(seed).normal(size=(samples, 8, 3))
        return Plan(trajectory=Trajectory(poses=drawn.mean(axis=0), times_s=PLAN_TIMES_S), samples=drawn)


def test_joint_planner_passes_seed_and_samples() -> None:
    planner = JointPlanner(FakeModel(), samples=5)
    first, again, other = (planner.plan(observation(None), seed=seed) for seed in (3, 3, 4))
    assert first.samples is not None
    assert first.samples.shape == (5, 8, 3)
    np.testing.assert_array_equal(first.trajectory.poses, again.trajectory.poses)
    assert np.abs(first.trajectory.poses - other.trajectory.poses).max() > 1e-3


@pytest.mark.parametrize("samples", [0, -1, 10_000])
def test_absurd_numbers_of_samples_are_refused(samples: int) -> None:
    with pytest.raises(BadRequest, match="1 to 256"):
        JointPlanner(FakeModel(), samples=samples)
