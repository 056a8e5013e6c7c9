"""How sure is a number? Bootstrap over clips and a paired rank test. The random generator is always an argument."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from worldmodel.errors import BadRequest

Array = np.ndarray
INTERVAL_LEVEL = 0.95
RESAMPLES = 1000


def bootstrap_indices(count: int, resamples: int, generator: np.random.Generator) -> Int[Array, "resamples count"]:
    """Rows drawn with replacement: one resampled set of clips per row.

    Raises:
        BadRequest: for fewer than two clips or no resamples.
    """
    if count < 2 or resamples < 1:
        raise BadRequest(
            f"{count} clip(s) and {resamples} resamples; an interval needs at least 2 clips and 1 resample. "
            "Score more clips, or leave the interval out."
        )
    return generator.integers(0, count, size=(resamples, count))


def bootstrap_interval(
    values: Float[Array, " n"],
    generator: np.random.Generator,
    *,
    level: float = INTERVAL_LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of the mean of one value per clip.

    Args:
        values: One finite value per clip (not per frame: frames of a clip are not independent).
        generator: Source of the resampled clips; the same state gives the same interval.
        level: Share of resampled means inside, between 0 and 1.
    Raises:
        BadRequest: for fewer than two values, values that are not finite, or a level outside (0, 1).
    """
    rows = np.asarray(values, np.float64)
    if rows.ndim != 1 or not np.isfinite(rows).all():
        raise BadRequest(
            f"an interval needs one finite value per clip; got shape {rows.shape} with "
            f"{int((~np.isfinite(rows)).sum())} values that are not finite. Leave failed clips out and count them."
        )
    means = rows[bootstrap_indices(len(rows), resamples, generator)].mean(axis=1)
    return _quantiles(means, level)


def centred_bootstrap_interval(
    statistic: Callable[[Int[Array, " n"]], float],
    count: int,
    value: float,
    generator: np.random.Generator,
    *,
    level: float = INTERVAL_LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Bootstrap interval of a statistic of whole sets, moved so that the resamples' mean lies on the value.

    A resampled set repeats clips, which makes a distance between sets larger than it is; the plain percentile
    interval may then not even contain the value. Moving it keeps the spread and takes that bias out.

    Args:
        statistic: Takes the indices of the resampled clips, gives the number.
        count: Number of clips.
        value: The number for all clips.
    """
    draws = bootstrap_indices(count, resamples, generator)
    numbers = np.array([statistic(rows) for rows in draws])
    return _quantiles(numbers - numbers.mean() + value, level)


def wilcoxon_p(a: Float[Array, " n"], b: Float[Array, " n"]) -> float:
    """Two-sided p value of the Wilcoxon signed-rank test for paired values (one pair per clip); 1 if all are equal.

    Raises:
        BadRequest: for unequal lengths, no pairs, or values that are not finite.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not np.isfinite(x - y).all():
        raise BadRequest(
            f"a paired test needs two equally long lists of finite values; got {x.shape} and {y.shape}. "
            "Pair the clips first and leave failed ones out on both sides."
        )
    from scipy import stats  # takes seconds to import

    return float(stats.wilcoxon(x, y).pvalue) if (x != y).any() else 1.0


def holm(p_values: Float[Array, " n"]) -> Float[Array, " n"]:
    """P values adjusted for having been asked together: the family-wise error rate stays at the level they are read at.

    Raises:
        BadRequest: for values outside [0, 1] or not in one row.
    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise BadRequest(f"Holm's correction needs a row of p values from 0 to 1; got {p.tolist()}. Correct them.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _quantiles(numbers: Array, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise BadRequest(f"the level of an interval is {level}; it must lie between 0 and 1, for example 0.95.")
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
