"""Do two numbers go together over moments? Pearson's and Spearman's correlation, and Spearman's given others."""

from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest

Array = np.ndarray
FEWEST = 4


def association(x: Float[Array, " n"], y: Float[Array, " n"]) -> dict[str, Any]:
    """Pearson's and Spearman's correlation with two-sided p values; None for both where one list is constant.

    Returns:
        `pearson` and `spearman` (each `r` and `p`), and `moments`.
    Raises:
        BadRequest: for unequal lengths, fewer than 4 values, or values that are not finite.
    """
    a, b = _checked(x, y)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"moments": len(a), "pearson": None, "spearman": None}
    from scipy import stats  # takes seconds to import

    linear, ranked = stats.pearsonr(a, b), stats.spearmanr(a, b)
    return {
        "moments": len(a),
        "pearson": {"r": float(linear.statistic), "p": float(linear.pvalue)},
        "spearman": {"r": float(ranked.statistic), "p": float(ranked.pvalue)},
    }


def partial_spearman(
    x: Float[Array, " n"], y: Float[Array, " n"], given: Float[Array, "n k"]
) -> dict[str, float] | None:
    """Spearman's correlation of what is left of both when the ranks of `given` are accounted for linearly.

    Returns:
        `r` and its two-sided `p` (Student's t with n - 2 - k degrees of freedom); None where nothing is left to vary.
    Raises:
        BadRequest: for unequal lengths, too few values, or values that are not finite.
    Source: Conover, "Practical Nonparametric Statistics"; for one variable equal to
        (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2)(1 - r_yz^2)) of the rank correlations.
    """
    a, b = _checked(x, y)
    others = np.asarray(given, np.float64)
    if others.ndim != 2 or len(others) != len(a) or not np.isfinite(others).all() or len(a) < FEWEST + others.shape[1]:
        raise BadRequest(
            f"{len(a)} values given {others.shape}: [n, k] finite values and at least {FEWEST} + k rows are needed. Measure more "
            "moments, or account for fewer."
        )
    from scipy import stats

    columns = np.column_stack([np.ones(len(a)), *(stats.rankdata(column) for column in others.T)])
    left = [_residual(stats.rankdata(values), columns) for values in (a, b)]
    lengths = [float(np.linalg.norm(values)) for values in left]
    if min(lengths) < 1e-9 * len(a) ** 1.5:  # ranks have about this length: what is left is rounding
        return None
    r = float(np.clip(left[0] @ left[1] / (lengths[0] * lengths[1]), -1, 1))
    free = len(a) - 2 - others.shape[1]
    t = r * np.sqrt(free / max(1 - r * r, 1e-300))
    return {"r": r, "p": float(2 * stats.t.sf(abs(t), free))}


def _residual(values: Array, columns: Array) -> Array:
    fitted: Array = columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return values - fitted


def _checked(x: Array, y: Array) -> tuple[Array, Array]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < FEWEST or not np.isfinite(a).all() or not np.isfinite(b).all():
        raise BadRequest(
            f"a correlation was asked of {a.shape} and {b.shape} values; two equally long lists of at least {FEWEST} finite ones are "
            "needed. Pair them first, and leave failed moments out on both sides."
        )
    return a, b
