"""Strata of the ego-status gap: shares and errors by hand, intervals that draw scenes, shares of a loss that sum to one."""

import numpy as np
import pytest

from eval_fid_fvd.strata import critical_shares, gap_summary, loss_shares, paired_gains, stratified_errors
from worldmodel.errors import BadRequest

GAPS = np.array([0.1, 0.4, 0.9, 1.1, 2.5, 6.0])


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_shares_are_the_counts_above_each_threshold() -> None:
    rows = critical_shares(GAPS, list("aabbcc"), generator(), thresholds_m=(0.5, 1.0, 10.0))
    assert [row["share"] for row in rows] == [4 / 6, 3 / 6, 0.0]
    assert rows[2]["interval"] == (0.0, 0.0)
    summary = gap_summary(GAPS)
    assert summary["moments"] == 6
    assert summary["mean_m"] == pytest.approx(GAPS.mean())
    assert summary["p75_m"] == pytest.approx(np.quantile(GAPS, 0.75))


def test_intervals_draw_scenes_so_that_repeated_moments_do_not_make_them_narrower() -> None:
    random = np.random.default_rng(1)
    gaps, scenes = random.exponential(1.0, 60), np.arange(60)
    once = critical_shares(gaps, scenes, generator(), thresholds_m=(1.0,))[0]
    often = critical_shares(np.repeat(gaps, 10), np.repeat(scenes, 10), generator(), thresholds_m=(1.0,))[0]
    assert often["share"] == pytest.approx(once["share"])
    assert often["interval"] == pytest.approx(once["interval"])
    assert critical_shares(gaps, np.zeros(60), generator())[0]["interval"] is None


def test_errors_split_where_the_gap_passes_the_threshold() -> None:
    errors = {"blind": np.array([0.1, 0.1, 0.1, 1.0, 2.0, 3.0]), "looks": np.full(6, 0.5)}
    rows = stratified_errors(errors, GAPS, generator(), thresholds_m=(1.0, 5.0))
    blind, looks, few, _ = rows
    assert (blind["planner"], blind["threshold_m"]) == ("blind", 1.0)
    assert blind["critical"]["value"] == pytest.approx(2.0)
    assert blind["dominated"]["value"] == pytest.approx(0.1)
    assert blind["ratio"]["value"] == pytest.approx(20.0)
    assert blind["critical"]["moments"] == 3
    low, high = blind["critical"]["interval"]
    assert low < 2.0 < high
    assert looks["ratio"] == {"value": 1.0, "interval": (1.0, 1.0)}
    assert few["critical"] is None  # one moment has no mean to speak of
    assert few["ratio"] is None
    assert few["all"]["value"] == pytest.approx(errors["blind"].mean())


def test_a_gain_on_critical_moments_alone_is_concentrated_there() -> None:
    random = np.random.default_rng(2)
    gaps = random.exponential(1.0, 400)
    second = random.uniform(0.2, 0.4, 400)
    first = second + 0.5 * (gaps > 1.0)
    found = paired_gains(first, second, gaps, generator())
    assert found["critical"]["value"] == pytest.approx(0.5)
    assert found["dominated"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert found["concentration"]["value"] == pytest.approx(0.5)
    assert found["concentration"]["interval"] == pytest.approx((0.5, 0.5))
    swapped = paired_gains(second, first, gaps, generator())
    assert swapped["all"]["value"] == pytest.approx(-found["all"]["value"])
    assert paired_gains(first, second, np.zeros(400), generator())["concentration"] is None


def test_a_loss_is_the_mixture_of_its_strata() -> None:
    losses = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 3.0])
    rows = loss_shares(losses, GAPS, thresholds_m=(1.0, 100.0))
    assert rows[0] == {
        "threshold_m": 1.0,
        "critical_moments": 0.5,
        "critical_loss": 0.7,
        "dominated_loss": pytest.approx(0.3),
    }
    assert rows[1]["critical_loss"] == 0.0
    assert loss_shares(np.zeros(6), GAPS)[0]["critical_loss"] is None


def test_bad_numbers_are_explained() -> None:
    with pytest.raises(BadRequest, match="Leave moments without a known future out"):
        gap_summary(np.array([1.0, np.nan]))
    with pytest.raises(BadRequest, match="Label all moments"):
        critical_shares(GAPS, [1, 2], generator())
    with pytest.raises(BadRequest, match=r"errors of 'late'.*one per gap"):
        stratified_errors({"late": np.ones(5)}, GAPS, generator())
    with pytest.raises(BadRequest, match="Use squared or absolute errors"):
        loss_shares(-np.ones(6), GAPS)
