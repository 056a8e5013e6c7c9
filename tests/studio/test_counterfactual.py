"""Pairs share everything but the edit; responses have closed forms."""

import numpy as np
import pytest

from policy.baselines import ConstantVelocityPlanner
from policy.planner import JointPlanner
from studio.counterfactual import apply_edit, run_pair
from studio.sprites import PictureSprite
from worldmodel.edits import ChangeInstruction, RemoveActor, StitchSprite
from worldmodel.errors import BadEdit
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan, Response

RED = np.zeros((30, 30, 4), np.uint8)
RED[...] = (250, 10, 10, 255)
CRATE = PictureSprite(name="crate", rgba=RED, height_m=1.6)


def plan(x: np.ndarray, y: np.ndarray, yaw: float = 0.0) -> Plan:
    return Plan(trajectory=Trajectory(poses=np.stack([x, y, np.full(8, yaw)], axis=-1), times_s=PLAN_TIMES_S))


def test_response_of_a_slower_plan() -> None:
    t = PLAN_TIMES_S
    response = Response(factual=plan(8 * t, 0 * t), edited=plan(5 * t, 0 * t))
    assert response.path_length_change_m == pytest.approx(-12.0)
    assert response.endpoint_shift_m == pytest.approx(12.0)
    assert response.lateral_shift_m == pytest.approx(0.0)
    assert response.braking_onset_s == pytest.approx(0.5)


def test_response_of_a_swerve_to_the_left() -> None:
    t = PLAN_TIMES_S
    response = Response(factual=plan(8 * t, 0 * t), edited=plan(8 * t, np.where(t >= 2, 1.5, 0.0)))
    assert response.lateral_shift_m == pytest.approx(1.5)
    assert response.endpoint_shift_m == pytest.approx(1.5)
    assert response.braking_onset_s is None


def test_lateral_is_measured_against_the_factual_heading() -> None:
    t = PLAN_TIMES_S
    response = Response(factual=plan(0 * t, 8 * t, np.pi / 2), edited=plan(0 * t - 2.0, 8 * t, np.pi / 2))
    assert response.lateral_shift_m == pytest.approx(2.0)  # -x is left of +y


def test_empty_edit_gives_bit_identical_plans(drives, world) -> None:
    pair = run_pair(
        JointPlanner(world, 4), drives.clip(0), StitchSprite(variant="empty", at_s=2.0), at_s=2.0, history_s=2.0, seed=5
    )
    np.testing.assert_array_equal(pair.factual.trajectory.poses, pair.edited.trajectory.poses)
    np.testing.assert_array_equal(pair.factual.samples, pair.edited.samples)
    assert pair.response.path_length_change_m == 0.0
    assert pair.stitched is not None
    assert not pair.stitched.masks.any()


def test_a_planner_that_looks_reacts_and_a_blind_one_does_not(drives, world) -> None:
    edit = StitchSprite(variant="near", at_s=2.0)
    asked = {"at_s": 2.0, "history_s": 2.0, "seed": 5, "sprite": CRATE}
    looking = run_pair(JointPlanner(world, 4), drives.clip(0), edit, **asked)
    blind = run_pair(ConstantVelocityPlanner(), drives.clip(0), edit, **asked)
    assert looking.response.path_length_change_m == pytest.approx(-24.0, abs=0.01)
    assert blind.response.path_length_change_m == 0.0


class Listener:
    name = "listener"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        self.heard.append(observation.instruction)
        return plan(8 * PLAN_TIMES_S, 0 * PLAN_TIMES_S)


def test_changed_instruction_is_heard_from_its_moment_on(drives) -> None:
    listener, edit = Listener(), ChangeInstruction(text="stop here", at_s=1.5)
    run_pair(listener, drives.clip(0), edit, at_s=1.0, history_s=0.5, seed=0)
    pair = run_pair(listener, drives.clip(0), edit, at_s=2.0, history_s=0.5, seed=0)
    told = "turn left at the crossing"
    assert listener.heard == [told, told, told, "stop here"]
    assert pair.stitched is None


def test_edits_that_need_the_town_are_refused(drives) -> None:
    with pytest.raises(BadEdit, match="needs a town scene"):
        apply_edit(drives.clip(0), RemoveActor(track="7"))
