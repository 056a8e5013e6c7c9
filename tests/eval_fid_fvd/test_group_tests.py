"""Rank tests and correlations against scipy and closed forms; several questions are corrected together."""

import numpy as np
import pytest
from scipy import stats

from eval_fid_fvd.associations import association, partial_spearman
from eval_fid_fvd.group_tests import binned, extremes_table, group_table, several_groups, two_groups
from eval_fid_fvd.statistics import holm
from worldmodel.errors import BadRequest

RANDOM = np.random.default_rng(0)
A, B, C = RANDOM.normal(0, 1, 40), RANDOM.normal(0.5, 1, 35), RANDOM.normal(2, 3, 30)


def test_two_groups_are_scipys_u_test_with_the_share_of_won_pairs_as_effect() -> None:
    found = two_groups(A, B)
    theirs = stats.mannwhitneyu(A, B)
    assert (found["u"], found["p"]) == (theirs.statistic, theirs.pvalue)
    won = np.sign(A[:, None] - B[None]).mean()
    assert found["effect"] == pytest.approx(won, abs=1e-12)
    assert two_groups(np.array([4.0, 5.0]), np.array([1.0, 2.0]))["effect"] == 1.0
    assert two_groups(np.ones(4), np.ones(5))["p"] == 1.0
    gaps = np.concatenate([A, [np.nan, np.nan]])
    assert two_groups(gaps, B)["left_out"] == 2
    assert two_groups(gaps, B)["p"] == found["p"]


def test_several_groups_are_scipys_h_test() -> None:
    values, labels = np.concatenate([A, B, C, [9.0]]), np.repeat(["a", "b", "c", "alone"], [40, 35, 30, 1])
    found = several_groups(values, labels)
    theirs = stats.kruskal(A, B, C)
    assert (found["h"], found["p"]) == (theirs.statistic, theirs.pvalue)
    assert found["effect"] == pytest.approx(theirs.statistic / 104)
    assert found["left_out"] == 1
    assert found["groups"]["b"]["count"] == 35
    assert several_groups(np.ones(6), np.repeat(["a", "b"], 3))["p"] == 1.0


def test_a_table_chooses_the_test_and_corrects_all_rows_together() -> None:
    values = np.concatenate([A, B])
    night = np.repeat([True, False], [40, 35])
    thirds, same = np.arange(75) % 3, np.zeros(75)
    rows = group_table(values, {"night": night, "third": thirds, "same": same})
    assert [(row["characteristic"], row["test"]) for row in rows] == [
        ("night", "Mann-Whitney"),
        ("third", "Kruskal-Wallis"),
    ]
    np.testing.assert_allclose([row["p_holm"] for row in rows], holm(np.array([row["p"] for row in rows])))
    assert rows[0]["groups"]["True"]["count"] == 40
    assert rows[0]["p"] == pytest.approx(stats.mannwhitneyu(A, B).pvalue)


def test_extremes_find_what_one_model_is_better_at() -> None:
    turning = RANDOM.exponential(1.0, 200)
    rows = extremes_table(turning + 0.1 * RANDOM.normal(size=200), {"turn": turning, "noise": RANDOM.normal(size=200)})
    turn, noise = rows
    assert turn["first_better"]["mean"] > turn["second_better"]["mean"]
    assert turn["first_better"]["count"] == 50
    assert turn["p_holm"] < 1e-6
    assert noise["p"] > 0.01


def test_correlations_are_scipys() -> None:
    x, y = A, A + RANDOM.normal(size=40)
    found = association(x, y)
    assert found["pearson"]["r"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert found["spearman"]["p"] == pytest.approx(stats.spearmanr(x, y).pvalue, rel=1e-9)
    assert association(x, np.ones(40))["spearman"] is None


def test_a_partial_correlation_is_its_formula() -> None:
    z = RANDOM.normal(size=80)
    x, y = z + RANDOM.normal(size=80), z + RANDOM.normal(size=80)
    r = stats.spearmanr(np.stack([x, y, z], axis=1)).statistic
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    found = partial_spearman(x, y, z[:, None])
    assert found is not None
    assert found["r"] == pytest.approx(expected, abs=1e-12)
    t = expected * np.sqrt(77 / (1 - expected**2))
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(t), 77), rel=1e-9)
    assert partial_spearman(x, z, z[:, None]) is None


def test_bins_are_named() -> None:
    assert binned(np.array([1.0, 5.0, 30.0]), [5.0, 10.0], "m/s").tolist() == ["< 5 m/s", "5 to 10 m/s", ">= 10 m/s"]


def test_bad_groups_are_explained() -> None:
    with pytest.raises(BadRequest, match="Measure more moments, or join groups"):
        two_groups(A, np.array([1.0]))
    with pytest.raises(BadRequest, match="Give NaN for what is not there"):
        two_groups(A, np.array([1.0, np.inf]))
    with pytest.raises(BadRequest, match="Label all moments"):
        several_groups(A, ["a"])
    with pytest.raises(BadRequest, match="Pair them first"):
        association(A, B)
    with pytest.raises(BadRequest, match="account for fewer"):
        partial_spearman(A[:5], A[:5], RANDOM.normal(size=(5, 3)))
