"""Kernel distances (KID for pictures, KVD for clips): unbiased MMD^2 with the polynomial kernel (x.y / d + 1)^3.

Unbiased means that a set is never compared with itself: the diagonals are left out of both inner sums, the cross sum
is complete. Negative values are right and are not clamped; the same array on both sides gives a negative value.
Kernels are cubes, so float32 loses digits; everything is float64. Values are not multiplied by 1000.
"""

import numpy as np
from jaxtyping import Float, Int

from eval_fid_fvd.frechet import checked_features
from worldmodel.errors import BadRequest

Array = np.ndarray
BLOCK_VALUES = 2**23  # entries of the kernel matrix held at once


def polynomial_mmd(features_a: Float[Array, "n d"], features_b: Float[Array, "m d"]) -> float:
    """Unbiased squared MMD over all samples.

    Args:
        features_a: Shape [n, d], n >= 2.
        features_b: Shape [m, d], m >= 2; sizes may differ.
    Raises:
        BadRequest: for fewer than two rows, values that are not finite, or unequal widths.
    Source: Binkowski et al. 2018, "Demystifying MMD GANs", equation 4, for unequal sizes.
    """
    a, b = _checked_pair(features_a, features_b)
    return float(_mmds(a, b, np.ones((len(a), 1)), np.ones((len(b), 1)))[0])


def polynomial_mmd_subsets(
    features_a: Float[Array, "n d"],
    features_b: Float[Array, "m d"],
    indices_a: Int[Array, "s k"],
    indices_b: Int[Array, "s k"],
) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0) of `polynomial_mmd` over given subsets, as torch-fidelity reports it.

    Args:
        indices_a: Rows of `features_a` in each subset, shape [s, k], k >= 2; the caller draws them.
        indices_b: Rows of `features_b` in each subset, shape [s, k'].
    Raises:
        BadRequest: for indices that are not integers inside the features, or unlike numbers of subsets.
    The deviation is over subsets of one sample; it is not an error bar of the distance.
    """
    a, b = _checked_pair(features_a, features_b)
    rows_a, rows_b = _checked_indices(indices_a, len(a), "a"), _checked_indices(indices_b, len(b), "b")
    if len(rows_a) != len(rows_b):
        raise BadRequest(f"{len(rows_a)} subsets of a and {len(rows_b)} of b; give both the same number of subsets.")
    values = _mmds_of_subsets(a, b, rows_a, rows_b)
    return float(values.mean()), float(values.std())


def _mmds_of_subsets(a: Array, b: Array, rows_a: Array, rows_b: Array) -> Array:
    """One distance per subset; subsets that overlap much share one pass over the kernel of all rows they use."""
    used_a, places_a = np.unique(rows_a, return_inverse=True)
    used_b, places_b = np.unique(rows_b, return_inverse=True)
    if (len(used_a) + len(used_b)) ** 2 > len(rows_a) * (rows_a.shape[1] + rows_b.shape[1]) ** 2:
        return np.array([polynomial_mmd(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)])
    times_a = _times_drawn(places_a.reshape(rows_a.shape), len(used_a))
    times_b = _times_drawn(places_b.reshape(rows_b.shape), len(used_b))
    return _mmds(a[used_a], b[used_b], times_a, times_b)


def _times_drawn(places: Array, count: int) -> Float[Array, "n s"]:
    """How often each of `count` rows is in each subset."""
    return np.stack([np.bincount(row, minlength=count) for row in places], axis=1).astype(np.float64)


def _mmds(a: Array, b: Array, times_a: Float[Array, "n s"], times_b: Float[Array, "m s"]) -> Float[Array, " s"]:
    """Unbiased MMD^2 of s weighted sets: row i of a is in set s times_a[i, s] times."""
    n, m = times_a.sum(axis=0), times_b.sum(axis=0)
    within_a = (_kernel_sums(a, a, times_a, times_a) - _diagonal_sums(a, times_a)) / (n * (n - 1))
    within_b = (_kernel_sums(b, b, times_b, times_b) - _diagonal_sums(b, times_b)) / (m * (m - 1))
    return np.asarray(within_a + within_b - 2 * _kernel_sums(a, b, times_a, times_b) / (n * m))


def _kernel_sums(a: Array, b: Array, times_a: Array, times_b: Array) -> Float[Array, " s"]:
    """Sums of kernels over all pairs of each set, block after block."""
    sums = np.zeros(times_a.shape[1])
    step = max(1, BLOCK_VALUES // len(b))
    for start in range(0, len(a), step):
        block = slice(start, start + step)
        kernel = _cubed(a[block] @ b.T / a.shape[1] + 1)
        sums += (times_a[block] * (kernel @ times_b)).sum(axis=0)
    return sums


def _diagonal_sums(a: Array, times: Array) -> Float[Array, " s"]:
    return np.asarray(_cubed((a * a).sum(axis=1) / a.shape[1] + 1) @ times)


def _cubed(x: Array) -> Array:
    return np.asarray(x * x * x)  # ** 3 takes five times as long


def _checked_pair(features_a: Array, features_b: Array) -> tuple[Array, Array]:
    a, b = checked_features(features_a, "a"), checked_features(features_b, "b")
    if a.shape[1] != b.shape[1]:
        raise BadRequest(
            f"features have widths {a.shape[1]} and {b.shape[1]}; both sides must come from one feature network. "
            "Redo one."
        )
    return a, b


def _checked_indices(indices: Array, count: int, side: str) -> Array:
    rows = np.asarray(indices)
    shaped = rows.ndim == 2 and rows.dtype.kind in "iu" and len(rows) >= 1 and rows.shape[1] >= 2
    if not shaped or rows.min() < 0 or rows.max() >= count:
        raise BadRequest(
            f"indices of {side}: got {rows.dtype} {rows.shape}; they must be integers from 0 to {count - 1}, shape "
            "[subsets, k] with k >= 2. Draw them with numpy's Generator.permuted or choice."
        )
    return rows
