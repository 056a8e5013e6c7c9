import warnings

import numpy as np
import pytest
from scipy import linalg

from eval_fid_fvd.frechet import FeatureStats, frechet_distance, frechet_distance_of_stats
from worldmodel.errors import BadRequest


def whitened(n, d, rng):
    """Rows with sample mean exactly 0 and sample covariance (N - 1) exactly I, up to rounding; n > d."""
    x = rng.normal(size=(n, d))
    x -= x.mean(axis=0)
    q, _ = np.linalg.qr(x)
    return q * np.sqrt(n - 1)


def scale_of(a, b):
    shift = a.mean(axis=0) - b.mean(axis=0)
    return shift @ shift + np.var(a, axis=0, ddof=1).sum() + np.var(b, axis=0, ddof=1).sum()


def with_scipy(a, b):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    shift = a.mean(axis=0) - b.mean(axis=0)
    return shift @ shift + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.trace(root)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 41), (500, 60)])
def test_shifted_and_scaled_gaussian_has_its_closed_form(rng, n, m):
    d, s = 40, 2.5
    mean = rng.normal(size=d)
    a, b = whitened(n, d, rng), whitened(m, d, rng) * s + mean
    expected = mean @ mean + d * (1 - s) ** 2
    assert abs(frechet_distance(a, b) - expected) < 1e-12 * (expected + d * (1 + s * s))


def test_commuting_covariances_have_their_closed_form(rng):
    d = 30
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    sd_a, sd_b = np.logspace(0, -12, d), np.logspace(-12, 0, d)  # near singular, in opposite directions
    a, b = whitened(80, d, rng) * sd_a @ turn, whitened(90, d, rng) * sd_b @ turn
    expected = ((sd_a - sd_b) ** 2).sum()
    assert abs(frechet_distance(a, b) - expected) < 1e-10 * ((sd_a**2).sum() + (sd_b**2).sum())


def test_two_samples_each_have_their_closed_form():
    a, b = np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([[1.0, 5, 0], [1, 5, 2]])
    # means (1,0,0) and (1,5,1); covariances 2 e1 e1^T and 2 e3 e3^T are orthogonal
    assert frechet_distance(a, b) == pytest.approx(26 + 4, abs=1e-12)
    assert frechet_distance(a, b + a * 0) == frechet_distance(a, b)


@pytest.mark.parametrize("width", [1, 3])
def test_two_samples_of_one_line(width):
    a, b = np.zeros((2, width)), np.zeros((2, width))
    a[:, 0], b[:, 0] = [-1, 1], [-3, 3]
    assert frechet_distance(a, b) == pytest.approx((np.sqrt(18) - np.sqrt(2)) ** 2, abs=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 20), (21, 400, 20), (900, 900, 64)])
def test_agrees_with_scipy_where_well_conditioned(rng, n, m, d):
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ np.diag(rng.uniform(0.5, 2, d)) + 0.3
    assert abs(frechet_distance(a, b) - with_scipy(a, b)) < 1e-10 * scale_of(a, b)


@pytest.mark.parametrize(("n", "m", "d"), [(10, 12, 50), (10, 200, 50), (51, 51, 50), (200, 300, 50), (2, 2, 50)])
def test_equal_sets_give_zero_and_sides_can_be_swapped(rng, n, m, d):
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 1
    assert abs(frechet_distance(a, a[::-1])) < 1e-13 * scale_of(a, a)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(10, 12), (100, 8), (100, 120)])
def test_order_shift_and_rotation_change_nothing(rng, n, m):
    d = 20
    a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 2 + 0.5
    turn, shift = np.linalg.qr(rng.normal(size=(d, d)))[0], rng.normal(size=d)
    value, tolerance = frechet_distance(a, b), 1e-12 * scale_of(a, b)
    assert abs(frechet_distance(a[rng.permutation(n)], b) - value) < tolerance
    assert abs(frechet_distance(a @ turn + shift, b @ turn + shift) - value) < tolerance
    assert abs(frechet_distance(3 * a, 3 * b) - 9 * value) < 9 * tolerance


@pytest.mark.parametrize("n", [5, 200])
def test_means_of_ten_million_lose_nothing(rng, n):
    # Multiples of 1/64 stay exact when 1e7 is added, so the answer must be the same number.
    a, b = np.round(rng.normal(size=(n, 30)) * 64) / 64, np.round(rng.normal(size=(n, 30)) * 64) / 64 + 1
    value, scale = frechet_distance(a, b), scale_of(a, b)
    assert abs(frechet_distance(a + 1e7, b + 1e7) - value) < 1e-12 * scale
    half = n // 2
    stats = [FeatureStats.of(x[:half] + 1e7) + FeatureStats.of(x[half:] + 1e7) for x in (a, b)]
    assert abs(frechet_distance_of_stats(*stats) - value) < 1e-10 * scale


def test_covariance_is_unbiased(rng):
    a, b = rng.normal(size=(20, 4)), 3 * rng.normal(size=(30, 4))
    biased = frechet_distance(a * np.sqrt(19 / 20), b * np.sqrt(29 / 30))
    unbiased = with_scipy(a, b)
    assert abs(biased - unbiased) > 1e-2  # the test can tell N from N - 1
    assert frechet_distance(a, b) == pytest.approx(unbiased, rel=1e-12)


def test_nothing_is_added_to_the_diagonal():
    a = np.array([[1.0, 0], [-1, 0]])
    b = np.array([[0.0, 1], [0, -1]])
    assert frechet_distance(a, b) == pytest.approx(4, abs=1e-14)  # with + 1e-6 I it would be about 4 - 4e-3


def test_float32_features_are_computed_in_float64(rng):
    a, b = (rng.normal(size=(50, 8)) + 1000).astype(np.float32), (rng.normal(size=(60, 8)) + 1000).astype(np.float32)
    wide = a.astype(np.float64), b.astype(np.float64)
    assert frechet_distance(a, b) == frechet_distance(*wide) == pytest.approx(with_scipy(*wide), rel=1e-9)


@pytest.mark.parametrize("n", [12, 40, 300])
def test_streamed_statistics_give_the_batch_distance_in_any_order(rng, n):
    a, b = rng.normal(size=(n, 40)) * np.logspace(0, -3, 40) + 5, rng.normal(size=(n + 7, 40)) + 4
    pieces = np.array_split(a, 5)
    forward = sum((FeatureStats.of(piece) for piece in pieces), FeatureStats.empty(40))
    backward = sum((FeatureStats.of(piece) for piece in pieces[::-1]), FeatureStats.empty(40))
    tree = (FeatureStats.of(pieces[3]) + FeatureStats.of(pieces[0])) + (
        FeatureStats.of(pieces[1]) + (FeatureStats.of(pieces[4]) + FeatureStats.of(pieces[2]))
    )
    assert forward.count == n
    for other in (backward, tree, FeatureStats.of(a)):
        np.testing.assert_allclose(forward.mean, other.mean, rtol=1e-12)
        np.testing.assert_allclose(forward.products, other.products, atol=1e-12 * np.abs(other.products).max())
    np.testing.assert_allclose(forward.covariance, np.cov(a.T), atol=1e-12)
    distance = frechet_distance_of_stats(forward, FeatureStats.of(b))
    assert abs(distance - frechet_distance(a, b)) < 1e-10 * scale_of(a, b)


def test_one_row_batches_can_be_streamed(rng):
    a = rng.normal(size=(9, 3))
    stats = sum((FeatureStats.of(row[None]) for row in a), FeatureStats.empty(3))
    np.testing.assert_allclose(stats.covariance, np.cov(a.T), atol=1e-14)


@pytest.mark.parametrize("shift", [0, 1e7])
@pytest.mark.parametrize("pieces", [2, 30])
def test_streamed_statistics_of_near_singular_sets_keep_all_digits(rng, shift, pieces):
    # Commuting covariances with deviations from 1 to 1e-12: products of them in float64 would lose 1e-7 of the scale.
    d = 24
    sd_a, sd_b = np.logspace(0, -12, d), np.logspace(-12, 0, d)
    a, b = whitened(90, d, rng) * sd_a, whitened(110, d, rng) * sd_b
    if shift:
        a, b = (np.round(x * 2**20) / 2**20 + shift for x in (a, b))  # so that the shift itself is exact
    streamed = [
        sum((FeatureStats.of(x) for x in np.array_split(side, pieces)), FeatureStats.empty(d)) for side in (a, b)
    ]
    expected = frechet_distance(a - shift, b - shift) if shift else ((sd_a - sd_b) ** 2).sum()
    assert abs(frechet_distance_of_stats(*streamed) - expected) < 1e-10 * ((sd_a**2).sum() + (sd_b**2).sum())
    assert all(len(stats.root) <= 2 * d for stats in streamed)  # memory stays constant


def test_published_moments_give_the_distance_where_the_covariance_holds_it(rng):
    d = 12
    a, b = rng.normal(size=(60, d)), rng.normal(size=(9, d)) * 2 + 1  # the second is singular
    stats = [FeatureStats.from_moments(len(x), x.mean(axis=0), np.cov(x.T)) for x in (a, b)]
    assert abs(frechet_distance_of_stats(*stats) - frechet_distance(a, b)) < 1e-10 * scale_of(a, b)
    assert len(stats[1].root) == 8
    more = stats[0] + FeatureStats.of(b)
    np.testing.assert_allclose(more.covariance, np.cov(np.concatenate([a, b]).T), atol=1e-12)


@pytest.mark.parametrize("n", [2, 7, 8, 9, 40])
@pytest.mark.parametrize("m", [2, 8, 41])
def test_below_at_and_above_the_width_the_distance_is_that_of_exact_arithmetic(rng, n, m):
    mpmath = pytest.importorskip("mpmath")
    d = 8
    a, b = rng.normal(size=(n, d)) * np.logspace(0, -4, d), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 2
    with mpmath.workdps(60):
        ca, cb = (mpmath.matrix((x - 0.0).tolist()) for x in (a, b))
        expected, scale = exact_distance(ca, cb, mpmath)
    assert abs(frechet_distance(a, b) - float(expected)) < 1e-14 * scale


@pytest.mark.parametrize("case", range(30))
def test_hard_sets_are_exact_streamed_or_not(case):
    # Far from zero, near singular, constant, few: n from 2 to 11, d from 1 to 6, deviations from 1e-9 to 10.
    mpmath, rng = pytest.importorskip("mpmath"), np.random.default_rng(case)
    d = rng.integers(1, 7)
    a, b = (rng.normal(size=(rng.integers(2, 12), d)) * 10.0 ** rng.uniform(-9, 1, d) for _ in range(2))
    a, b = a + rng.choice([0, 1e7, -3.3e6]), b + rng.choice([0, 1e7])
    if case % 3 == 0:
        a[:, 0] = b[0, 0]
    with mpmath.workdps(80):
        expected, scale = exact_distance(mpmath.matrix(a.tolist()), mpmath.matrix(b.tolist()), mpmath)
        streamed = [sum((FeatureStats.of(row[None]) for row in side), FeatureStats.empty(d)) for side in (a, b)]
        for value in (frechet_distance(a, b), frechet_distance(b, a), frechet_distance_of_stats(*streamed)):
            assert abs(value - expected) < 1e-14 * scale


def exact_distance(a, b, mp):
    """The definition with eigenvalues of the symmetric form, in mpmath's digits, and its scale |dm|^2 + tr S_a + tr S_b."""

    def moments(x):
        mean = [mp.fsum(x[:, j]) / x.rows for j in range(x.cols)]
        centred = mp.matrix(x.rows, x.cols)
        for i in range(x.rows):
            for j in range(x.cols):
                centred[i, j] = x[i, j] - mean[j]
        return mean, centred / mp.sqrt(x.rows - 1)

    (mean_a, x), (mean_b, y) = moments(a), moments(b)
    cross = x * y.T
    small = cross * cross.T if cross.rows <= cross.cols else cross.T * cross
    roots = mp.fsum(mp.sqrt(max(value, 0)) for value in mp.eigsy(small, eigvals_only=True))
    scale = mp.fsum([value**2 for value in [*x, *y]] + [(p - q) ** 2 for p, q in zip(mean_a, mean_b, strict=True)])
    return scale - 2 * roots, scale


def test_lists_and_integers_are_read_as_numbers():
    a, b = [[0, 0], [2, 0], [0, 3]], [[1, 5], [1, 7], [4, 1]]
    assert frechet_distance(a, b) == frechet_distance(np.array(a, float), np.array(b, np.uint8))


def bad(value):
    features = np.zeros((4, 3))
    features[2, 1] = value
    return features


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), r"features a: 1 sample\(s\); at least 2 .* Score more clips"),
        (np.zeros((4, 3)), np.zeros((0, 3)), r"features b: 0 sample\(s\)"),
        (np.zeros((4, 3)), bad(np.nan), r"1 of 4 rows have values that are not finite, first row 2.*Check"),
        (bad(np.inf), np.zeros((4, 3)), "features a: 1 of 4 rows"),
        (np.zeros((4, 3)), np.zeros((4, 5)), "widths 3 and 5; both sides must come from one feature network"),
        (np.zeros(4), np.zeros((4, 3)), r"shape \[n, d\]"),
        (np.zeros((4, 0)), np.zeros((4, 0)), r"shape \[n, d\]"),
    ],
)
def test_bad_features_are_refused_with_advice(a, b, message):
    with pytest.raises(BadRequest, match=message):
        frechet_distance(a, b)


def test_bad_statistics_are_refused_with_advice():
    one = FeatureStats.of(np.zeros((1, 3)))
    with pytest.raises(BadRequest, match="at least 2 are needed"):
        frechet_distance_of_stats(one, one)
    with pytest.raises(BadRequest, match="widths 3 and 2"):
        one + FeatureStats.empty(2)
    with pytest.raises(BadRequest, match="not finite"):
        FeatureStats.of(bad(np.nan))
    with pytest.raises(BadRequest, match=r"mean \(3,\).*Make it with"):
        FeatureStats(count=1, mean=np.zeros(3), mean_low=np.zeros(3), root=np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("count", "mean", "covariance", "message"),
    [
        (1, np.zeros(2), np.eye(2), "at least 2 are needed"),
        (5, np.zeros(2), np.eye(3), r"\[d\] and \[d, d\].*Pass `mu` and `sigma`"),
        (5, np.zeros(2), np.array([[1.0, 0], [1, 1]]), "symmetric"),
        (5, np.zeros(2), np.diag([1.0, -1]), "no negative variance"),
        (5, np.full(2, np.nan), np.eye(2), "finite"),
    ],
)
def test_bad_moments_are_refused_with_advice(count, mean, covariance, message):
    with pytest.raises(BadRequest, match=message):
        FeatureStats.from_moments(count, mean, covariance)
