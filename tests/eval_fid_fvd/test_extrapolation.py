import numpy as np
import pytest

from eval_fid_fvd.extrapolation import frechet_distance_at_infinity
from eval_fid_fvd.frechet import frechet_distance
from worldmodel.errors import BadRequest

D = 10
SHIFT, SCALE = 0.3, 1.3
TRUTH = D * SHIFT**2 + D * (SCALE - 1) ** 2


def drawn(rng, n, m):
    return rng.normal(size=(n, D)), rng.normal(size=(m, D)) * SCALE + SHIFT


def test_removes_the_bias_of_few_samples_and_knows_its_error(rng):
    found = [
        (frechet_distance(*pair), frechet_distance_at_infinity(*pair))
        for pair in (drawn(rng, 200, 150) for _ in range(60))
    ]
    plain = np.array([distance for distance, _ in found]) - TRUTH
    fitted = np.array([fit.value for _, fit in found]) - TRUTH
    errors = np.array([fit.error for _, fit in found])
    assert plain.mean() > 0.15 * TRUTH
    assert abs(fitted.mean()) < 0.2 * plain.mean()
    assert 0.7 < np.sqrt((errors**2).mean()) / fitted.std() < 1.5
    assert (np.abs(fitted) < 2.5 * errors).mean() > 0.85


def test_one_distribution_is_at_distance_zero_from_itself(rng):
    rows = rng.normal(size=(400, D))
    fit = frechet_distance_at_infinity(rows[:200], rows[200:])
    assert frechet_distance(rows[:200], rows[200:]) > 0.3
    assert abs(fit.value) < 3 * fit.error < 0.3


def test_sizes_are_fractions_of_both_sides_and_the_largest_is_the_plain_distance(rng):
    a, b = drawn(rng, 60, 45)
    fit = frechet_distance_at_infinity(a, b, sizes=3)
    assert fit.counts.tolist() == [[60, 45], [30, 22], [20, 15]]
    assert fit.distances[0] == pytest.approx(frechet_distance(a, b), rel=1e-12)
    assert np.all(np.diff(fit.distances) > 0)


def test_the_line_through_two_sizes_is_richardsons(rng):
    fit = frechet_distance_at_infinity(*drawn(rng, 60, 60), sizes=2)
    assert fit.value == pytest.approx(2 * fit.distances[0] - fit.distances[1], rel=1e-12)
    assert np.isnan(fit.bend)


def test_too_few_samples_for_the_width_show_as_a_bend(rng):
    rows = rng.normal(size=(120, 100))
    few = frechet_distance_at_infinity(rows[:60], rows[60:])
    assert abs(few.bend) > 3 * few.error
    many = frechet_distance_at_infinity(*drawn(rng, 400, 400))
    assert abs(many.bend) < 3 * many.error


def test_the_same_seed_gives_the_same_answer(rng):
    pair = drawn(rng, 50, 50)
    first, again, other = (frechet_distance_at_infinity(*pair, seed=seed) for seed in (1, 1, 2))
    assert (first.value, first.error) == (again.value, again.error)
    assert first.value != other.value


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        (8, {}, "8 samples give blocks of 1 .*Use more samples or fewer sizes"),
        (40, {"sizes": 1}, "1 sizes and 8 groups.*at least 2"),
        (40, {"groups": 1}, "4 sizes and 1 groups"),
    ],
)
def test_too_little_to_fit_is_refused_with_advice(rng, rows, asked, message):
    with pytest.raises(BadRequest, match=message):
        frechet_distance_at_infinity(*drawn(rng, rows, 40), **asked)


def test_bad_features_are_refused():
    with pytest.raises(BadRequest, match="not finite"):
        frechet_distance_at_infinity(np.full((40, 2), np.nan), np.zeros((40, 2)))
    with pytest.raises(BadRequest, match="widths 2 and 3"):
        frechet_distance_at_infinity(np.zeros((40, 2)), np.zeros((40, 3)))
