"""Parts of a loss: they sum to it exactly, and are what they are called for answers whose parts are known."""

import numpy as np
import pytest

from eval_fid_fvd.loss_parts import conditional_parts, visual_parts
from worldmodel.errors import BadRequest

RANDOM = np.random.default_rng(0)


def test_the_parts_sum_to_the_loss() -> None:
    own, swapped, truth = RANDOM.normal(size=(9, 8, 3)), RANDOM.normal(size=(9, 4, 8, 3)), RANDOM.normal(size=(9, 8, 3))
    parts = visual_parts(own, swapped, truth)
    np.testing.assert_allclose(parts.loss, ((own - truth) ** 2).sum(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(parts.blind + parts.visual + parts.cross, parts.loss, atol=1e-10)


def test_a_blind_planner_has_neither_a_visual_part_nor_anything_earned() -> None:
    own, truth = RANDOM.normal(size=(5, 8, 2)), RANDOM.normal(size=(5, 8, 2))
    parts = visual_parts(own, np.repeat(own[:, None], 3, axis=1), truth)
    np.testing.assert_allclose(parts.visual, 0, atol=1e-12)
    np.testing.assert_allclose(parts.earned, 0, atol=1e-12)
    np.testing.assert_allclose(parts.blind, parts.loss, atol=1e-12)


def test_looking_earns_its_variance_where_the_truth_depends_on_the_pictures_and_costs_it_where_not() -> None:
    count, k, seen = 4000, 3, RANDOM.normal(size=4000)
    others = RANDOM.normal(size=(count, k))  # what other scenes look like
    told = RANDOM.normal(size=count)
    own, swapped = (told + seen)[:, None], (told[:, None] + others)[..., None]
    needed = visual_parts(own, swapped, (told + seen)[:, None])
    np.testing.assert_allclose(needed.loss, 0, atol=1e-12)
    assert needed.earned.mean() == pytest.approx(1.0, abs=0.1)
    needless = visual_parts(own, swapped, told[:, None])
    assert needless.visual.mean() == pytest.approx(1.0, abs=0.1)  # without bias, few as the pictures are
    assert needless.blind.mean() == pytest.approx(0.0, abs=0.1)
    assert needless.cross.mean() == pytest.approx(0.0, abs=0.1)
    assert needless.earned.mean() == pytest.approx(-1.0, abs=0.1)


def test_within_groups_the_loss_is_bias_and_residual() -> None:
    answers, truth = RANDOM.normal(size=(60, 5)), RANDOM.normal(2.0, 3.0, size=(60, 5))
    groups = np.repeat(["left", "forward", "right"], 20)
    parts = conditional_parts(answers, truth, groups)
    assert parts.groups == 3
    assert parts.loss == pytest.approx(((answers - truth) ** 2).mean(), abs=1e-12)
    assert parts.bias + parts.residual == pytest.approx(parts.loss, abs=1e-10)
    assert parts.answered + parts.diversity + parts.cross == pytest.approx(parts.residual, abs=1e-10)
    within = np.mean([truth[groups == name].var(axis=0).mean() for name in np.unique(groups)])
    assert parts.diversity == pytest.approx(within, abs=1e-10)


def test_answers_that_are_constant_within_groups_leave_the_diversity() -> None:
    groups = RANDOM.integers(0, 4, 100)
    truth = groups[:, None] + RANDOM.normal(size=(100, 3))
    parts = conditional_parts(np.repeat(groups[:, None], 3, axis=1), truth, groups)
    assert parts.residual == pytest.approx(parts.diversity, abs=1e-12)
    assert parts.answered == pytest.approx(0.0, abs=1e-12)


def test_bad_shapes_are_explained() -> None:
    with pytest.raises(BadRequest, match="pictures of two or more other scenes"):
        visual_parts(np.ones((4, 2)), np.ones((4, 1, 2)), np.ones((4, 2)))
    with pytest.raises(BadRequest, match="Pair them first"):
        conditional_parts(np.ones((4, 2)), np.ones((4, 2)), ["a"])
