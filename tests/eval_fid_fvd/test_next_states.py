"""Errors of predicted states, what needs no training, and the link to plans."""

import numpy as np
import pytest

from eval_fid_fvd.next_states import (
    against_floor,
    baseline_errors,
    left_out_errors,
    plan_link,
    quartile_table,
    skill,
    state_cosines,
    state_errors,
)
from worldmodel.errors import BadRequest

RANDOM = np.random.default_rng(0)
TRUE = RANDOM.normal(size=(12, 3, 2, 4, 2, 2))


def test_errors_are_means_over_the_elements_of_each_state() -> None:
    predicted = TRUE.copy()
    predicted[:, 1] += 0.5
    errors, cosines = state_errors(predicted, TRUE), state_cosines(predicted, TRUE)
    np.testing.assert_allclose(errors[:, [0, 2]], 0, atol=1e-12)
    np.testing.assert_allclose(errors[:, 1], 0.25, atol=1e-12)
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-12)
    np.testing.assert_allclose(state_cosines(-TRUE, TRUE), -1, atol=1e-12)
    np.testing.assert_array_equal(state_cosines(0 * TRUE, TRUE), 0)


def test_leaving_one_out_in_closed_form_is_fitting_anew_without_it() -> None:
    features, targets = RANDOM.normal(size=(12, 3)), RANDOM.normal(size=(12, 2, 5))
    found = left_out_errors(targets, features, 0.7)
    columns = np.concatenate([np.ones((12, 1)), features], axis=1)
    penalty = np.diag([0.0, 0.7, 0.7, 0.7])
    for i in range(12):
        rest = np.arange(12) != i
        gram = columns[rest].T @ columns[rest] + penalty
        weights = np.linalg.solve(gram, columns[rest].T @ targets[rest].reshape(11, -1))
        error = (columns[i] @ weights - targets[i].reshape(-1)) ** 2
        np.testing.assert_allclose(found[i], error.reshape(2, 5).mean(axis=1), rtol=1e-10)


def test_baselines_are_what_they_are_called() -> None:
    command = np.array(["left", "forward"])[np.arange(12) % 2]
    told = RANDOM.normal(size=(12, 2))
    found = baseline_errors(TRUE, TRUE[:, 0], told, command)
    np.testing.assert_allclose(found["copy"][:, 0], 0, atol=1e-12)
    rest = TRUE[1:].mean(axis=0)
    np.testing.assert_allclose(found["mean"][0], ((TRUE[0] - rest) ** 2).mean(axis=(1, 2, 3, 4)), rtol=1e-10)
    moved = np.tile(told[:, :1, None, None, None, None], (1, 3, 2, 4, 2, 2))  # a state that follows from what is told
    follows = baseline_errors(moved, TRUE[:, 0], told, command)
    assert follows["blind linear"].mean() < 0.1 * follows["mean given command"].mean()


def test_quarters_hold_the_best_predicted_first() -> None:
    errors = np.arange(8.0)[::-1]
    rows = quartile_table(errors, {"plan_m": 10 * errors})
    assert [row["error"] for row in rows] == [0.5, 2.5, 4.5, 6.5]
    assert [row["plan_m"] for row in rows] == [5.0, 25.0, 45.0, 65.0]
    assert [row["moments"] for row in rows] == [2, 2, 2, 2]
    beside = against_floor(errors, 5.0)
    assert beside["below"]
    assert beside["ratio"] == pytest.approx(0.7)
    assert beside["quartiles"]["Q4 (worst)"] == pytest.approx(1.3)


def test_skill_is_zero_for_the_baseline_itself_and_negative_for_worse() -> None:
    baseline = RANDOM.uniform(1, 2, 40)
    generator = np.random.default_rng(1)
    assert skill(baseline, baseline, generator)["value"] == 0.0
    assert skill(baseline, baseline, generator)["p"] == 1.0
    better, worse = skill(0.5 * baseline, baseline, generator), skill(2 * baseline, baseline, generator)
    assert better["value"] == pytest.approx(0.5)
    assert better["better"] == 1.0
    assert better["p"] < 1e-6
    assert worse["value"] == pytest.approx(-1.0)
    assert worse["interval"][1] < 0


def test_errors_that_go_together_only_because_driving_is_hard_have_no_partial_correlation() -> None:
    gaps = RANDOM.exponential(1.0, 600)
    state, plan = gaps + 0.3 * RANDOM.normal(size=600), gaps + 0.3 * RANDOM.normal(size=600)
    found = plan_link(state, plan, gaps)
    assert found["spearman"]["r"] > 0.6
    assert abs(found["partial"]["r"]) < 0.15
    plans = [row["plan_m"] for row in found["quartiles"]]
    assert plans == sorted(plans)


def test_bad_numbers_are_explained() -> None:
    with pytest.raises(BadRequest, match="Pair them first"):
        state_errors(TRUE[:3], TRUE)
    with pytest.raises(BadRequest, match="Leave its moment out"):
        state_errors(TRUE * np.nan, TRUE)
    with pytest.raises(BadRequest, match="one length"):
        baseline_errors(TRUE, TRUE[:, 0], np.ones((12, 1)), ["left"])
    with pytest.raises(BadRequest, match="Measure more moments"):
        quartile_table(np.ones(3), {})
    with pytest.raises(BadRequest, match="moments that differ"):
        against_floor(np.ones(8), 0.0)
