import numpy as np
import pytest

from eval_fid_fvd.frechet import FeatureStats, frechet_distance
from eval_fid_fvd.kernel import polynomial_mmd
from eval_fid_fvd.resampling import (
    _block_sums,
    _pulls,
    _self_sums,
    frechet_interval,
    is_cheap,
    kernel_interval,
    linear_frechet_interval,
)


@pytest.fixture
def sides(rng):
    """120 clips of 3 samples on both sides; clips differ from each other, sides a little."""

    def side(shift):
        return [rng.normal(shift, 1, size=(3, 6)) + rng.normal(size=6) for _ in range(120)]

    return side(0.5), side(0.0)


def width(interval):
    return interval[1] - interval[0]


@pytest.mark.parametrize("paired", [True, False])
def test_the_linear_interval_is_that_of_measuring_every_resample(sides, paired):
    a, b = sides
    value = frechet_distance(np.concatenate(a), np.concatenate(b))
    stats = FeatureStats.of(np.concatenate(a)), FeatureStats.of(np.concatenate(b))
    measured = frechet_interval(a, b, value, np.random.default_rng(0), resamples=300, paired=paired)
    linear = linear_frechet_interval(
        stats, a, b, value, np.random.default_rng(0), resamples=300, paired=paired, clips=(120, 120)
    )
    assert measured[0] < value < measured[1]
    assert linear[0] < value < linear[1]
    assert width(linear) == pytest.approx(width(measured), rel=0.3)


@pytest.mark.parametrize("samples", [3, 40])
def test_a_pull_is_the_derivative_of_the_distance(rng, samples):
    """Above and below as many samples as features: move a little weight onto one clip and measure again."""
    a = [rng.normal(0.3, 1, size=(samples, 8)) for _ in range(2)]
    b = [rng.normal(0, 1, size=(2 * samples, 8))]
    pulls = _pulls(FeatureStats.of(np.concatenate(a)), FeatureStats.of(b[0]), a)

    def weighted(copies):
        many = np.concatenate([*a * copies, a[0]])
        scale = np.sqrt((len(many) - 1) / len(many) * 2 * samples / (2 * samples - 1))  # the same N - 1 on both
        centre = many.mean(axis=0)
        return frechet_distance(centre + (many - centre) * scale, b[0])

    copies = 500
    base = frechet_distance(np.concatenate(a), b[0])
    moved = (weighted(copies) - base) * (2 * copies + 1)
    assert moved == pytest.approx(pulls[0] - pulls.mean(), rel=0.02, abs=0.02)


def test_kernel_resamples_are_the_distances_of_the_resampled_clips(sides):
    a, b = sides[0][:6], [clip[:2] for clip in sides[1][:6]]
    rows = np.array([0, 0, 3, 5, 5, 5])
    weights = np.bincount(rows, minlength=6)
    picked = [np.concatenate([side[i] for i in rows]) for side in (a, b)]
    n, m = map(len, picked)
    within = [
        (weights @ _block_sums(s, s) @ weights - weights @ _self_sums(s)) / (k * (k - 1)) for s, k in ((a, n), (b, m))
    ]
    blocks = sum(within) - 2 * (weights @ _block_sums(a, b) @ weights) / (n * m)
    assert blocks == pytest.approx(polynomial_mmd(*picked), rel=1e-12)


@pytest.mark.parametrize("paired", [True, False])
def test_kernel_intervals_lie_around_the_value_and_shrink_with_clips(sides, paired):
    a, b = sides
    value = polynomial_mmd(np.concatenate(a), np.concatenate(b))
    many = kernel_interval(a, b, value, np.random.default_rng(1), resamples=200, paired=paired)
    few = kernel_interval(a[:8], b[:8], value, np.random.default_rng(1), resamples=200, paired=paired)
    assert many[0] < value < many[1]
    assert width(few) > width(many)


def test_intervals_cover_what_repeated_experiments_give(rng):
    """The spread of the distance over fresh sets is that of the interval of one set, within a factor."""

    def clips(shift):
        return [rng.normal(shift, 1, size=(4, 3)) for _ in range(60)]

    fresh = [frechet_distance(np.concatenate(clips(0.5)), np.concatenate(clips(0))) for _ in range(200)]
    a, b = clips(0.5), clips(0)
    value = frechet_distance(np.concatenate(a), np.concatenate(b))
    interval = frechet_interval(a, b, value, np.random.default_rng(0), resamples=200, paired=False)
    spread = np.quantile(fresh, 0.975) - np.quantile(fresh, 0.025)
    assert 0.6 < width(interval) / spread < 1.6


def test_dear_distances_are_not_measured_hundreds_of_times():
    assert is_cheap(150, 150, 2048, 200)
    assert is_cheap(3000, 3000, 160, 200)
    assert not is_cheap(25_000, 25_000, 2048, 200)
