"""Kernel distances (KID for pictures, KVD for clips): unbiased MMD^2 with the polynomial kernel (x.y / d + 1)^3.

Unbiased means that a set is never compared with itself: the diagonals are left out of both inner sums, the cross sum
is complete. Negative values are right and are not clamped; the same array on both sides gives a negative value.
Kernels are cubes, so float32 loses digits; everything is float64. Values are not multiplied by 1000.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from eval_fid_fvd.frechet import checked_features
from worldmodel.errors import BadRequest

Array = np.ndarray
BLOCK_ROWS = 2048  # rows of the kernel matrix held at once


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
    return _mmd(a, b)


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
    values = np.array([_mmd(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)])
    return float(values.mean()), float(values.std())


def _mmd(a: Array, b: Array) -> float:
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - _diagonal_sum(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _diagonal_sum(b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_blocks(a: Array, b: Array) -> Iterator[Array]:
    for start in range(0, len(a), BLOCK_ROWS):
        yield (a[start : start + BLOCK_ROWS] @ b.T / a.shape[1] + 1) ** 3


def _kernel_sum(a: Array, b: Array) -> float:
    return float(sum(block.sum() for block in _kernel_blocks(a, b)))


def _diagonal_sum(a: Array) -> float:
    return float((((a * a).sum(axis=1) / a.shape[1] + 1) ** 3).sum())


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
