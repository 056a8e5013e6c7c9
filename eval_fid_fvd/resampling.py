"""Intervals of distances between sets: bootstrap over clips, the samples of a clip always together.

Small sets are resampled and measured again and again. Where one measurement takes long, the Fréchet distance is made
linear around its value (the infinitesimal jackknife: how much each clip pulls at it), and the pulls are resampled: the
same spread to first order, for the price of one measurement. Kernel distances are sums over pairs of clips: those are
taken once and weighted.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.frechet import RANK_CUT, FeatureStats, frechet_distance
from eval_fid_fvd.statistics import bootstrap_indices, centred_bootstrap_interval
from worldmodel.errors import BadRequest

Array = np.ndarray
Clips = Sequence[Float[Array, "samples width"]]
Interval = tuple[float, float]
RESAMPLED_FLOPS = 2e11  # of all resamples together, some ten seconds on one core; beyond, the distance is made linear


def frechet_interval(
    a: Clips, b: Clips, value: float, generator: np.random.Generator, *, resamples: int, paired: bool
) -> Interval:
    """95% interval of the Fréchet distance from clips that were all kept, by measuring resampled sets.

    Args:
        a, b: Features per clip.
        value: The distance of all.
        paired: Whether clip i of both sides is drawn together.
    """

    def of(rows: Array, others: Array) -> float:
        return frechet_distance(np.concatenate([a[i] for i in rows]), np.concatenate([b[i] for i in others]))

    if paired:
        return centred_bootstrap_interval(lambda rows: of(rows, rows), len(a), value, generator, resamples=resamples)
    rows_a, rows_b = (bootstrap_indices(len(side), resamples, generator) for side in (a, b))
    return _around(np.array([of(*rows) for rows in zip(rows_a, rows_b, strict=True)]), value)


def is_cheap(rows_a: int, rows_b: int, width: int, resamples: int) -> bool:
    """Whether measuring every resampled set stays below RESAMPLED_FLOPS."""
    small = min(rows_a, rows_b, width)
    return resamples * (20.0 * small**3 + 4.0 * (rows_a + rows_b) * width * small) <= RESAMPLED_FLOPS


def linear_frechet_interval(
    stats: tuple[FeatureStats, FeatureStats],
    a: Clips,
    b: Clips,
    value: float,
    generator: np.random.Generator,
    *,
    resamples: int,
    paired: bool,
    clips: tuple[int, int],
) -> Interval:
    """95% interval of the Fréchet distance made linear around its value.

    Args:
        stats: Of all clips of both sides.
        a, b: Features of the clips that are at hand: all, or a fair sample.
        value: The distance of all.
        clips: How many clips there are on each side.
    """
    pulls_a, pulls_b = _pulls(stats[0], stats[1], a), _pulls(stats[1], stats[0], b)  # one side's matrices at a time
    if paired:
        draws = generator.integers(0, len(a), size=(resamples, clips[0]))
        return _around((pulls_a + pulls_b)[draws].mean(axis=1), value)
    moved_a = pulls_a[generator.integers(0, len(a), size=(resamples, clips[0]))].mean(axis=1)
    return _around(moved_a + pulls_b[generator.integers(0, len(b), size=(resamples, clips[1]))].mean(axis=1), value)


def _pulls(own: FeatureStats, other: FeatureStats, clips: Clips) -> Float[Array, " clips"]:
    """How far the distance moves per share of weight that goes to a clip of `own`.

    The derivative at a sample x, c = x - m: 2 (m - m') . c + n/(n - 1) (|c|^2 - c' T c), with T the optimal map from S to S'
    (T = S^(-1/2) (S^(1/2) S' S^(1/2))^(1/2) S^(-1/2)), taken on the range of S.
    """
    shift = (own.mean - other.mean) + (own.mean_low - other.mean_low)
    vectors, scale = _axes(own)
    others, other_scale = _axes(other)
    cross = (vectors.T @ others) * scale[:, None] * other_scale
    del others
    left, values, _ = np.linalg.svd(cross, full_matrices=False)
    unbiased = own.count / (own.count - 1)
    project = (vectors / scale) @ (left * np.sqrt(values))
    rows = []
    for clip in clips:
        centred = (clip - own.mean) - own.mean_low
        spread = (centred * centred).sum(axis=1) - ((centred @ project) ** 2).sum(axis=1)
        rows.append((2 * (centred @ shift) + unbiased * spread).mean())
    return np.array(rows)


def _axes(stats: FeatureStats) -> tuple[Float[Array, "d rank"], Float[Array, " rank"]]:
    """Eigenvectors of the covariance and the standard deviations along them, without what is rounding noise."""
    values, vectors = np.linalg.eigh(stats.covariance)
    keep = values > RANK_CUT * len(values) * max(float(values[-1]), 0.0)
    return vectors[:, keep], np.sqrt(values[keep])


def kernel_interval(
    a: Clips, b: Clips, value: float, generator: np.random.Generator, *, resamples: int, paired: bool
) -> Interval:
    """95% interval of the unbiased MMD: each resample is the distance of the resampled clips, from sums over pairs of clips."""
    within_a, within_b, cross = _block_sums(a, a), _block_sums(b, b), _block_sums(a, b)
    sides = [(within, _self_sums(side), np.array([len(clip) for clip in side])) for within, side in
             ((within_a, a), (within_b, b))]  # fmt: skip
    rows_a = bootstrap_indices(len(a), resamples, generator)
    rows_b = rows_a if paired else bootstrap_indices(len(b), resamples, generator)
    numbers = []
    for rows, others in zip(rows_a, rows_b, strict=True):
        weights = np.bincount(rows, minlength=len(a)), np.bincount(others, minlength=len(b))
        counts = [float(w @ side[2]) for w, side in zip(weights, sides, strict=True)]
        inner = [
            (w @ side[0] @ w - w @ side[1]) / (n * (n - 1)) for w, side, n in zip(weights, sides, counts, strict=True)
        ]
        numbers.append(sum(inner) - 2 * (weights[0] @ cross @ weights[1]) / (counts[0] * counts[1]))
    return _around(np.array(numbers), value)


def _block_sums(a: Clips, b: Clips) -> Float[Array, "clips others"]:
    """Sum of the kernel (x.y/d + 1)^3 between every clip of a and every clip of b."""
    columns = np.concatenate(b)
    starts = np.cumsum([0, *(len(clip) for clip in b[:-1])])
    width = columns.shape[1]
    return np.stack([np.add.reduceat(((clip @ columns.T / width + 1) ** 3).sum(axis=0), starts) for clip in a])


def _self_sums(clips: Clips) -> Float[Array, " clips"]:
    """Sum of the kernel of every sample with itself, per clip."""
    return np.array([((((clip * clip).sum(axis=1) / clip.shape[1]) + 1) ** 3).sum() for clip in clips])


def _around(numbers: Float[Array, " resamples"], value: float) -> Interval:
    """The middle 95% of resampled numbers, moved so that their mean lies on the value."""
    if not np.isfinite(numbers).all():
        raise BadRequest(
            "resampled distances are not finite; features must be of moderate size. Check the feature network."
        )
    low, high = np.quantile(numbers - numbers.mean() + value, [0.025, 0.975])
    return float(low), float(high)
