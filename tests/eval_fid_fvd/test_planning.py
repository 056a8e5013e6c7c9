import numpy as np
import pytest

from eval_fid_fvd.planning import (
    ade_fde,
    decision_accuracy,
    displacement_errors,
    forward_left,
    min_ade_fde,
    motion_correlation,
    pearson,
    published_points,
    right_forward,
)
from worldmodel.errors import BadMotion, BadRequest
from worldmodel.geometry import Motion, Trajectory

ALL = np.ones((1, 6), bool)


def off_by(*errors):
    """Predictions whose error at step i is errors[i] metres to the right of a truth at the origin."""
    return np.stack([np.array(errors, float), np.zeros(len(errors))], axis=-1)[None]


def test_two_conventions_give_their_two_numbers():
    result = displacement_errors(off_by(1, 2, 3, 4, 5, 6), np.zeros((1, 6, 2)), ALL)
    assert result["uniad"] == [2, 4, 6]
    assert result["uniad_avg"] == 4
    assert result["stp3"] == [1.5, 2.5, 3.5]
    assert result["stp3_avg"] == 2.5  # the mean of the columns, not of the six steps


def test_masked_steps_count_as_zero_for_uniad_and_drop_the_sample_for_stp3():
    pred = np.concatenate([off_by(1, 2, 3, 4, 5, 6), off_by(10, 10, 10, 10, 10, np.nan)])
    mask = np.array([[True] * 6, [True] * 5 + [False]])
    result = displacement_errors(pred, np.zeros((2, 6, 2)), mask)
    assert result["uniad"] == [6, 7, 3]
    assert result["stp3"] == [1.5, 2.5, 3.5]


def test_without_a_whole_sample_stp3_is_undefined():
    mask = ALL.copy()
    mask[0, 2] = False
    result = displacement_errors(off_by(1, 2, 3, 4, 5, 6), np.zeros((1, 6, 2)), mask)
    assert np.isnan([*result["stp3"], result["stp3_avg"]]).all()
    assert result["uniad"] == [2, 4, 6]


def test_errors_do_not_depend_on_the_frame(rng):
    pred, truth, mask = rng.normal(size=(5, 6, 2)), rng.normal(size=(5, 6, 2)), rng.random((5, 6)) > 0.1
    ours = displacement_errors(pred, truth, mask)
    theirs = displacement_errors(right_forward(pred), right_forward(truth), mask)
    np.testing.assert_allclose(ours["uniad"], theirs["uniad"], rtol=1e-12)


def test_both_conventions_agree_with_loops(rng):
    pred, truth, mask = rng.normal(size=(30, 6, 2)), rng.normal(size=(30, 6, 2)), rng.random((30, 6)) > 0.05
    result = displacement_errors(pred.tolist(), truth.astype(np.float32).tolist(), mask.tolist())
    truth = truth.astype(np.float32).astype(float)
    for column, step in enumerate((1, 3, 5)):
        at = [np.hypot(*(pred[b, step] - truth[b, step])) if mask[b, step] else 0.0 for b in range(30)]
        up_to = [np.hypot(*(pred[b, : step + 1] - truth[b, : step + 1]).T) for b in range(30) if mask[b].all()]
        assert result["uniad"][column] == pytest.approx(sum(at) / 30, rel=1e-12)
        assert result["stp3"][column] == pytest.approx(np.mean(up_to), rel=1e-12)


def test_errors_do_not_move_with_shift_turn_or_order(rng):
    pred, truth, mask = rng.normal(size=(9, 6, 2)), rng.normal(size=(9, 6, 2)), rng.random((9, 6)) > 0.1
    turn, order = np.array([[0.6, -0.8], [0.8, 0.6]]), rng.permutation(9)
    one = displacement_errors(pred, truth, mask)
    moved = displacement_errors((pred @ turn.T + 5)[order], (truth @ turn.T + 5)[order], mask[order])
    np.testing.assert_allclose([*moved["uniad"], *moved["stp3"]], [*one["uniad"], *one["stp3"]], rtol=1e-12)
    assert displacement_errors(truth, truth, mask)["uniad_avg"] == 0
    assert displacement_errors(truth, pred, mask) == one


def test_best_of_k_agrees_with_loops(rng):
    pred, truth, valid = rng.normal(size=(20, 4, 7, 2)), rng.normal(size=(20, 7, 2)), rng.random((20, 7)) > 0.3
    ade, fde = [], []
    for b in np.flatnonzero(valid.any(axis=1)):
        error = np.linalg.norm(pred[b] - truth[b], axis=-1)[:, valid[b]]
        ade.append(min(row.mean() for row in error))
        fde.append(min(row[-1] for row in error))
    result = min_ade_fde(pred, truth, valid)
    assert result["min_ade"] == pytest.approx(np.mean(ade), rel=1e-12)
    assert result["min_fde"] == pytest.approx(np.mean(fde), rel=1e-12)
    assert result["miss_rate_2m"] == pytest.approx(np.mean(np.array(fde) > 2))


def test_minimum_is_taken_separately_and_the_end_is_the_last_valid_step():
    truth, valid = np.zeros((1, 4, 2)), np.array([[True, True, True, False]])
    pred = np.concatenate([off_by(0, 0, 3, 99), off_by(2, 2, 2.5, 0)])[None]  # best mean: first; best end: second
    result = min_ade_fde(pred, truth, valid)
    assert result == {"min_ade": 1.0, "min_fde": 2.5, "miss_rate_2m": 1.0}


def test_misses_begin_beyond_two_metres_and_samples_without_truth_are_left_out():
    pred = np.stack([off_by(0, 2.0), off_by(0, 2.1), off_by(50, 50)])
    truth, valid = np.zeros((3, 2, 2)), np.array([[True, True], [True, True], [False, False]])
    truth[2] = np.nan
    result = min_ade_fde(pred, truth, valid)
    assert result["miss_rate_2m"] == 0.5
    assert result["min_ade"] == pytest.approx(1.025)
    assert result["min_fde"] == pytest.approx(2.05)


def test_published_frame_is_right_forward_and_round_trips(rng):
    np.testing.assert_array_equal(right_forward(np.array([10.0, 3.0])), [-3, 10])  # 3 m to the left is x = -3
    points = rng.normal(size=(4, 6, 2))
    np.testing.assert_array_equal(forward_left(right_forward(points)), points)


def test_our_trajectory_is_resampled_to_published_steps():
    times = np.arange(0, 4.25, 0.25)
    poses = np.stack([5 * times, 0.5 * times, 0 * times], axis=-1)
    points = published_points(Trajectory(poses=poses, times_s=times))
    steps = np.arange(1, 7) * 0.5
    np.testing.assert_allclose(points, np.stack([-0.5 * steps, 5 * steps], axis=-1), atol=1e-12)
    with pytest.raises(BadMotion, match="covers 0 to 2 s"):
        published_points(Trajectory(poses=poses[:9], times_s=times[:9]))


def test_decisions_are_right_in_part_or_jointly():
    truth = {
        "lateral": [["straight", "left"], ["straight", "straight"]],
        "longitudinal": [["keep", "slow"], ["keep", "keep"]],
    }
    pred = {
        "lateral": [["straight", "right"], ["left", "straight"]],
        "longitudinal": [["keep", "slow"], ["keep", "stop"]],
    }
    found = decision_accuracy(pred, truth)
    assert found["lateral"] == [0.5, 0.5]
    assert found["longitudinal"] == [1.0, 0.5]
    assert found["joint"] == [0.5, 0.0]
    assert found["lateral_majority"] == [1.0, 0.5]
    assert found["joint_majority"] == [1.0, 0.5]
    assert found["samples"] == 2
    perfect = decision_accuracy(truth, truth)
    assert perfect["joint"] == [1, 1]


def test_decisions_must_be_pairs():
    one = {"lateral": [["left"]], "longitudinal": [["keep"]]}
    for other in ({"lateral": [["left"]]}, {"lateral": [["left"]] * 2, "longitudinal": [["keep"]] * 2}):
        with pytest.raises(BadRequest, match="Pair the samples"):
            decision_accuracy(one, other)


def straight(speed, times):
    return Trajectory(poses=np.stack([speed * times, 0 * times, 0 * times], axis=-1), times_s=times)


def test_errors_of_our_trajectories_leave_the_start_out():
    pred, truth = straight(2, np.array([0, 1.0, 2, 3])), straight(1, np.arange(0, 4.5, 0.5))
    assert ade_fde(pred, truth) == {"ade_m": 2.0, "fde_m": 3.0}
    with pytest.raises(BadMotion, match="covers 0 to 3 s"):
        ade_fde(truth, pred)
    with pytest.raises(BadRequest, match="no pose after time 0"):
        ade_fde(straight(1, np.zeros(1)), truth)


def test_pearson_agrees_with_numpy_and_is_undefined_for_a_constant(rng):
    a = rng.normal(size=50) + 1e6
    b = 0.3 * a + rng.normal(size=50)
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert pearson(a, -2 * a + 1) == pytest.approx(-1)
    assert np.isnan(pearson(a, np.full(50, 0.1)))


def test_motion_correlation_pools_all_steps():
    slow, fast = (Motion(deltas=np.array([[v, 0, 0.1 * v], [v, 0, -0.2]]), period_s=0.5) for v in (1.0, 2.0))
    assert motion_correlation([slow, fast], [slow, fast]) == pytest.approx({"speed": 1, "yaw_rate": 1})
    assert motion_correlation([slow, fast], [fast, slow])["speed"] == pytest.approx(-1)
    with pytest.raises(BadRequest, match="1 motions read back and 2 commanded"):
        motion_correlation([slow], [slow, fast])


@pytest.mark.parametrize(
    ("pred", "mask", "message"),
    [
        (np.zeros((1, 5, 2)), ALL, r"need \[b, 6, 2\].*Resample"),
        (np.zeros((0, 6, 2)), np.zeros((0, 6), bool), r"\(0, 6, 2\)"),
        (np.full((1, 6, 2), np.nan), ALL, r"not finite at index \[0, 0, 0\]"),
        (np.zeros((1, 6, 2)), np.ones((1, 6)), "mask is float64; it must be bool"),
    ],
)
def test_bad_plans_are_refused_with_advice(pred, mask, message):
    with pytest.raises(BadRequest, match=message):
        displacement_errors(pred, np.zeros_like(np.nan_to_num(pred)), mask)


def test_bad_answers_are_refused_with_advice():
    with pytest.raises(BadRequest, match="Add an axis for k = 1"):
        min_ade_fde(np.zeros((2, 4, 2)), np.zeros((2, 4, 2)), np.ones((2, 4), bool))
    with pytest.raises(BadRequest, match="no sample has a valid step"):
        min_ade_fde(np.zeros((2, 1, 4, 2)), np.zeros((2, 4, 2)), np.zeros((2, 4), bool))
    with pytest.raises(BadRequest, match="Pair the values first"):
        pearson(np.zeros(3), np.zeros(4))
