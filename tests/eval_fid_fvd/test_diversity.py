"""Diversity of visual states: the law of total variance, merging in any order, groups by hand."""

import numpy as np
import pytest

from eval_fid_fvd.diversity import Spread, commands, diversity, merged, spreads, told_groups
from worldmodel.errors import BadRequest

RANDOM = np.random.default_rng(0)
STATES = RANDOM.normal(size=(90, 2, 3, 4)) + np.arange(90)[:, None, None, None] % 3
LABELS = np.array(["left", "forward", "right"])[np.arange(90) % 3]


def test_total_variance_is_that_within_and_between_the_groups() -> None:
    found = diversity(spreads(STATES, LABELS))
    assert found.total == pytest.approx(STATES.var(axis=0).mean(), abs=1e-10)
    assert found.given + found.between == pytest.approx(found.total, abs=1e-10)
    assert found.given == pytest.approx(
        np.mean([STATES[name == LABELS].var(axis=0).mean() for name in np.unique(LABELS)]), abs=1e-10
    )
    assert found.elements == 24
    assert found.moments == 90
    assert found.explained == pytest.approx(found.between / found.total)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_unequal_groups_far_from_zero_keep_the_law(offset) -> None:
    labels = np.where(np.arange(90) < 7, "left", "forward")
    found = diversity(spreads(STATES + offset, labels))
    assert found.given + found.between == pytest.approx(found.total, abs=1e-10)


def test_parts_merge_to_the_whole_in_any_order() -> None:
    pieces = [spreads(STATES[part], LABELS[part]) for part in np.array_split(np.arange(90), 7)]
    whole, forwards, backwards = (
        diversity(spreads(STATES, LABELS)),
        diversity(merged(pieces)),
        diversity(merged(pieces[::-1])),
    )
    for found in (forwards, backwards):
        assert found.total == pytest.approx(whole.total, rel=1e-12)
        assert found.given == pytest.approx(whole.given, rel=1e-12)
        assert found.counts == whole.counts
    np.testing.assert_allclose((Spread.of(STATES) + Spread.of(STATES[:0])).mean, STATES.mean(axis=0))


def test_small_groups_are_unbiased_when_asked() -> None:
    noise = RANDOM.normal(size=(3000, 40))
    found = diversity(spreads(noise, np.arange(3000) // 2))  # pairs
    assert found.given == pytest.approx(0.5, abs=0.02)
    assert found.given_unbiased == pytest.approx(1.0, abs=0.04)
    assert np.isnan(diversity(spreads(noise[:3], ["a", "b", "c"])).given_unbiased)


def test_a_command_that_tells_everything_leaves_no_floor() -> None:
    states = np.array([[1.0, 2.0], [5.0, 6.0]])[np.arange(20) % 2]
    found = diversity(spreads(states, np.arange(20) % 2))
    assert found.given == pytest.approx(0.0, abs=1e-12)
    assert found.explained == pytest.approx(1.0)


def test_commands_are_two_metres_to_a_side() -> None:
    points = np.array([[20.0, 0.0], [20.0, 2.0], [15.0, -2.5], [20.0, 1.9]])
    assert commands(points).tolist() == ["forward", "left", "right", "forward"]
    told = told_groups(commands(points), np.array([1.0, 2.0, 3.0, 4.0]), bins=2)
    assert told.tolist() == ["forward 0", "left 0", "right 1", "forward 1"]


def test_bad_states_are_explained() -> None:
    with pytest.raises(BadRequest, match="Leave its moment out"):
        Spread.of(np.array([[np.nan]]))
    with pytest.raises(BadRequest, match="whose later pictures are known"):
        diversity({"left": Spread.of(np.zeros((0, 3)))})
    with pytest.raises(BadRequest, match="Label all moments"):
        spreads(STATES, ["left"])
