import numpy as np
import pytest

from eval_fid_fvd.statistics import bootstrap_interval, centred_bootstrap_interval, wilcoxon_p
from worldmodel.errors import BadRequest


def test_same_generator_state_gives_the_same_interval_and_width_follows_theory(rng):
    values = rng.normal(size=400)
    low, high = bootstrap_interval(values, np.random.default_rng(1))
    assert (low, high) == bootstrap_interval(values, np.random.default_rng(1))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_interval_of_equal_values_is_that_value():
    assert bootstrap_interval(np.full(5, 3.0), np.random.default_rng(0)) == (3, 3)


def test_centred_interval_holds_the_value_even_when_resampling_inflates_it(rng):
    values = rng.normal(size=30)

    def distinct(rows):
        return float(len(values) - len(set(rows.tolist())))  # 0 for the set itself, above 0 for every resample

    low, high = centred_bootstrap_interval(distinct, 30, 0.0, np.random.default_rng(0))
    assert low < 0 < high


def test_wilcoxon_has_its_exact_small_sample_value():
    a = np.array([1.0, 2, 3, 4, 5])
    assert wilcoxon_p(a, np.zeros(5)) == pytest.approx(2 / 2**5)
    assert wilcoxon_p(a, a) == 1.0


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        (np.zeros(1), 0.95, r"1 clip\(s\).*at least 2 clips.*Score more clips"),
        (np.array([1, np.nan]), 0.95, "1 values that are not finite. Leave failed clips out"),
        (np.zeros((2, 2)), 0.95, r"shape \(2, 2\)"),
        (np.arange(3.0), 95, "level of an interval is 95"),
    ],
)
def test_bad_intervals_are_refused_with_advice(values, level, message):
    with pytest.raises(BadRequest, match=message):
        bootstrap_interval(values, np.random.default_rng(0), level=level)


def test_unpaired_values_are_refused():
    with pytest.raises(BadRequest, match="Pair the clips first"):
        wilcoxon_p(np.zeros(3), np.zeros(4))
