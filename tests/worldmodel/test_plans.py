import numpy as np
import pytest
from numpy.testing import assert_allclose

from worldmodel.errors import BadMotion
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan, Response


def straight(speeds, left_m=0.0, yaw_rad=0.0):
    """A plan along one heading, half a second at each speed, shifted sideways."""
    along = np.cumsum(np.asarray(speeds, float)) * 0.5
    x = along * np.cos(yaw_rad) - left_m * np.sin(yaw_rad)
    y = along * np.sin(yaw_rad) + left_m * np.cos(yaw_rad)
    poses = np.stack([x, y, np.full(8, yaw_rad)], axis=-1)
    return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))


def test_speeds_and_path_length_count_from_the_present_pose():
    plan = straight([2.0] * 4 + [4.0] * 4)
    assert_allclose(plan.speeds_mps(), [2.0] * 4 + [4.0] * 4)
    assert plan.path_length_m == pytest.approx(12.0)


@pytest.mark.parametrize("times", [PLAN_TIMES_S + 0.1, np.arange(8.0), PLAN_TIMES_S[:7]])
def test_a_plan_has_its_eight_times(times):
    with pytest.raises(BadMotion, match="Resample the trajectory first"):
        Plan(trajectory=Trajectory(poses=np.zeros((len(times), 3)), times_s=times))


def test_braking_is_a_shorter_path_and_has_an_onset():
    response = Response(factual=straight([8.0] * 8), edited=straight([8.0, 8.0, 7.6, 7.0] + [4.0] * 4))
    assert response.path_length_change_m == pytest.approx(-(0.4 + 1.0 + 4 * 4.0) / 2)
    assert response.endpoint_shift_m == pytest.approx(-response.path_length_change_m)
    assert response.lateral_shift_m == pytest.approx(0.0, abs=1e-12)
    assert response.braking_onset_s == 2.0


@pytest.mark.parametrize("yaw", [0.0, 1.2, -2.5])
@pytest.mark.parametrize("left", [1.5, -0.7])
def test_lateral_shift_is_positive_to_the_left_of_the_factual_heading(yaw, left):
    response = Response(factual=straight([5.0] * 8, yaw_rad=yaw), edited=straight([5.0] * 8, left, yaw))
    assert response.lateral_shift_m == pytest.approx(left)


def test_an_equal_plan_is_no_response():
    response = Response(factual=straight([5.0] * 8), edited=straight([5.0] * 8))
    assert (response.path_length_change_m, response.endpoint_shift_m, response.lateral_shift_m) == (0, 0, 0)
    assert response.braking_onset_s is None
