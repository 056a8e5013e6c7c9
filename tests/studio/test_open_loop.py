"""Plans at one moment each: errors in closed form, collisions, decisions, failures that count alone, moments that are kept."""

from pathlib import Path

import numpy as np
import pytest

from policy.baselines import ConstantVelocityPlanner, StandStillPlanner
from policy.training.labels import labels_of
from studio.open_loop import EXPERT, Answers, answers_of, driven_answers, errors_of, majority_right
from studio.open_loop_scenes import DRIVE, SURPRISE, DrivenMoment, driven_moments
from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.errors import BadDataset, PolicyError
from worldmodel.geometry import Motion, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Decision, Observation, Plan
from worldmodel.town.scene import town_rig

RIG = town_rig(1, 32, 16)
NOBODY = np.zeros((0, 5))


def moment(step_m: float = 1.0, ahead_m: float | None = None) -> DrivenMoment:
    """Straight on with `step_m` per frame of 1/8 s; perhaps somebody stands so far ahead."""
    motion = Motion(deltas=np.array([[step_m, 0.0, 0.0]] * 40), period_s=0.125)
    seen = Observation(
        video=np.zeros((5, 1, 3, 16, 32), np.uint8), rig=RIG, motion=motion[:4], frequency_hz=8.0, instruction=""
    )
    box = NOBODY if ahead_m is None else np.array([[0.0, ahead_m, 0.0, 1.0, 1.0]])
    return DrivenMoment(
        scene="made", kind=DRIVE, now=4, observation=seen, label=labels_of(motion, [4])[4], boxes=(box,) * 6
    )


class Says:
    """Straight on at a speed, with a decision if it is given one; fails whenever the ego stands."""

    name = "says"

    def __init__(self, speed_mps: float, decision: Decision | None = None) -> None:
        self.speed_mps, self.decision = speed_mps, decision

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        if observation.speed_mps == 0:
            raise PolicyError("it cannot stand", "made a fuss")
        poses = np.stack([self.speed_mps * PLAN_TIMES_S, np.zeros(8), np.zeros(8)], axis=-1)
        decisions = None if self.decision is None else (self.decision,) * 3
        return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S), decisions=decisions)


def test_the_driven_path_has_no_error() -> None:
    moments = [moment(), moment(0.5)]
    errors = errors_of(driven_answers(moments), moments)
    assert np.abs(errors.ade_m).max() < 1e-9
    assert np.abs(errors.fde_m).max() < 1e-9
    assert (errors.hits == 0).all()
    assert (errors.right == 1).all()
    assert driven_answers(moments).planner == EXPERT


def test_errors_up_to_a_time_and_at_it() -> None:
    moments = [moment()]  # 8 m/s
    errors = errors_of(answers_of(Says(9.0), moments), moments)
    np.testing.assert_allclose(errors.fde_m[0], [1, 2, 3, 4])  # 1 m/s too fast
    np.testing.assert_allclose(errors.ade_m[0], [0.75, 1.25, 1.75, 2.25])  # means of 0.5, 1.0, ... up to the time


def test_who_drives_into_somebody_is_told_from_when_on() -> None:
    moments = [moment(ahead_m=14.0), moment(ahead_m=40.0)]
    errors = errors_of(answers_of(ConstantVelocityPlanner(), moments), moments)
    assert errors.hits.tolist() == [[0, 1, 1], [0, 0, 0]]
    stops = errors_of(answers_of(StandStillPlanner(), moments), moments)
    assert stops.hits.sum() <= errors.hits.sum()


def test_decisions_that_are_said_count_before_those_of_the_plan() -> None:
    moments = [moment()]
    wrong = Decision(lateral="left", longitudinal="keep")
    said = answers_of(Says(8.0, wrong), moments)
    read = answers_of(Says(8.0), moments)
    assert said.says_decisions
    assert not read.says_decisions
    assert errors_of(said, moments).right[0].tolist() == [[0, 1, 0]] * 3
    assert errors_of(read, moments).right[0].tolist() == [[1, 1, 1]] * 3


def test_a_failure_counts_for_its_moment_alone() -> None:
    moments = [moment(), moment(0.0), moment()]
    answers = answers_of(Says(8.0), moments)
    assert answers.fine.tolist() == [True, False, True]
    assert answers.failures == {1: "PolicyError: it cannot stand"}
    errors = errors_of(answers, moments)
    for values in (errors.ade_m, errors.fde_m, errors.hits, errors.right):
        assert np.isnan(values[1]).all()
        assert np.isfinite(values[[0, 2]]).all()


def test_answers_are_read_as_they_were_written() -> None:
    moments = [moment(), moment(0.0)]
    answers = answers_of(Says(7.0, Decision(lateral="straight", longitudinal="slow")), moments)
    again = Answers.from_json(answers.to_json())
    for name in ("poses", "decisions", "ms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(answers, name))
    assert (again.planner, again.failures, again.says_decisions) == ("says", answers.failures, True)


def test_the_commonest_decision_is_right_as_often_as_it_is_made() -> None:
    moments = [moment(), moment(), moment(0.0)]  # twice straight on, once standing
    made = moments[0].label.decisions[0].tolist()
    assert made == [LATERAL.index("straight"), LONGITUDINAL.index("keep")]
    np.testing.assert_allclose(majority_right(moments), [[1, 2 / 3, 2 / 3]] * 3)


@pytest.mark.slow
def test_moments_are_rendered_once_and_hold_what_was_driven(tmp_path: Path) -> None:
    rendered: list[int] = []
    moments = driven_moments(tmp_path, 1, 1, rig=RIG, progress=lambda number, _: rendered.append(number))
    assert [one.kind for one in moments] == [DRIVE, SURPRISE]
    assert [len(one.observation.video) for one in moments] == [16, 5]
    again = driven_moments(tmp_path, 1, 1, rig=RIG, progress=lambda number, _: rendered.append(number))
    assert rendered == [1, 2]
    for one, other in zip(moments, again, strict=True):
        np.testing.assert_array_equal(one.observation.video, other.observation.video)
        np.testing.assert_array_equal(one.label.poses, other.label.poses)
        assert one.facts() == other.facts()
        assert len(one.boxes) == 6
        assert one.observation.video.std() > 1
    assert (errors_of(driven_answers(moments), moments).hits == 0).all()  # the expert runs into nobody
    with pytest.raises(BadDataset, match="Name another folder"):
        driven_moments(tmp_path, 1, 0, rig=town_rig(3, 32, 16))
    next(tmp_path.glob("drive-*")).write_bytes(b"no")
    with pytest.raises(BadDataset, match="Delete it"):
        driven_moments(tmp_path, 1, 0, rig=RIG)
