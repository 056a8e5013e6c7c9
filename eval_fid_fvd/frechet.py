"""The Fréchet distance between two sets of features: one pure function, and its streamed form.

    FD = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)

in the squared form, with unbiased covariances (N - 1) and float64 throughout. A set is not kept as a covariance but as
its count, its mean and a *root* R of its centred products (R^T R = sum of outer products of rows minus their mean), which is
the centred rows themselves while there are few of them and a triangle of them later (QR, or Cholesky where correlations are
far from singular). The last term is the nuclear norm (the sum of singular values) of R_a R_b^T / sqrt((n - 1)(m - 1)). No square root of
rounding noise is ever taken, so singular and near-singular covariances (fewer samples than dimensions) are as exact as any
other, streamed or not; scipy's `sqrtm` and eigenvalues of S_a S_b are off by up to 1e-7 there. Nothing is added to the
diagonal and nothing is clamped: two equal sets give 0 up to rounding.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest

Array = np.ndarray
WELL = 1e-2  # every eigenvalue of a correlation matrix must lie above it to go through products
RANK_CUT = 8 * np.finfo(np.float64).eps  # eigenvalues below this times d times the largest are rounding noise


def frechet_distance(features_a: Float[Array, "n d"], features_b: Float[Array, "m d"]) -> float:
    """Squared Fréchet distance of two sets of features, exact to 1e-10 of |dm|^2 + tr S_a + tr S_b.

    Args:
        features_a: Shape [n, d], n >= 2, any real dtype; computed in float64.
        features_b: Shape [m, d], m >= 2; m need not equal n.
    Returns:
        The distance in squared feature units; about 0 (possibly -1e-15 of the scale) for two equal sets.
    Raises:
        BadRequest: for fewer than two rows, values that are not finite, or unequal widths.
    Source: own derivation; the same number as pytorch-fid and torch-fidelity where covariances are well conditioned.
    """
    a, b = checked_features(features_a, "a"), checked_features(features_b, "b")
    _check_widths(a.shape[1], b.shape[1])
    return frechet_distance_of_stats(FeatureStats.of_checked(a), FeatureStats.of_checked(b))


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureStats:
    """Count, mean and centred products of features seen so far: a value; `+` gives a new one.

    Attributes:
        count: Number of rows.
        mean: Shape [d], float64.
        mean_low: Shape [d], float64: what the mean has beyond its last digit, so that merging sets near 1e7 stays exact.
        root: Shape [k, d], float64, k at most 2 d: root^T root is the sum of outer products of the rows minus their mean.
    """

    count: int
    mean: Float[Array, " d"]
    mean_low: Float[Array, " d"]
    root: Float[Array, "k d"]

    def __post_init__(self) -> None:
        d = len(self.mean)
        if self.count < 0 or self.mean_low.shape != (d,) or self.root.ndim != 2 or self.root.shape[1] != d:
            raise BadRequest(
                f"FeatureStats has count {self.count}, mean {self.mean.shape}, mean_low {self.mean_low.shape} and "
                f"root {self.root.shape}; they must be >= 0, [d], [d] and [k, d]. Make it with `of` or `empty`."
            )

    @classmethod
    def empty(cls, width: int) -> "FeatureStats":
        """Statistics of no rows, for features of this width."""
        return cls(count=0, mean=np.zeros(width), mean_low=np.zeros(width), root=np.zeros((0, width)))

    @classmethod
    def of(cls, features: Float[Array, "n d"]) -> "FeatureStats":
        """Statistics of one batch of at least one row.

        Raises:
            BadRequest: for no rows or values that are not finite.
        """
        return cls.of_checked(checked_features(features, "batch", at_least=1))

    @classmethod
    def of_checked(cls, rows: Float[Array, "n d"]) -> "FeatureStats":
        """`of` for rows that `checked_features` gave."""
        shifted = rows - rows[0]  # features near 1e7 keep their digits: differences of close numbers are exact
        offset = _centre(shifted)
        mean, mean_low = _two_sum(rows[0], offset)
        root = _compressed(shifted) if len(rows) > 1 else shifted[:0]
        return cls(count=len(rows), mean=mean, mean_low=mean_low, root=root)

    @classmethod
    def from_moments(cls, count: int, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> "FeatureStats":
        """Statistics from a mean and an unbiased covariance, such as the `mu` and `sigma` of published reference files.

        A covariance cannot tell a variance below RANK_CUT d of its largest one from rounding; such directions count as none
        (rank cut, at most count - 1 directions), so distances of near-singular sets may be off by 1e-6 of the scale. Those
        who have the features keep all digits with `of`.

        Raises:
            BadRequest: for fewer than two samples, unlike shapes, values that are not finite, or no covariance.
        """
        _check_count(count, "the moments", 2)
        middle, spread = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
        _check_moments(middle, spread)
        values, vectors = np.linalg.eigh((spread + spread.T) / 2)
        noise = RANK_CUT * len(middle) * max(float(values[-1]), 0.0)
        keep = (values > noise) & (np.arange(len(middle)) >= len(middle) - (count - 1))
        root = (vectors[:, keep] * np.sqrt(values[keep] * (count - 1))).T
        return cls(count=count, mean=middle, mean_low=np.zeros_like(middle), root=root)

    def __add__(self, other: "FeatureStats") -> "FeatureStats":
        """Merge two disjoint sets (Chan, Golub and LeVeque 1979, on roots); order does not matter beyond 1e-12."""
        _check_widths(self.width, other.width)
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        delta = (other.mean - self.mean) + (other.mean_low - self.mean_low)
        mean, mean_low = _two_sum(self.mean, self.mean_low + delta * (other.count / count))
        between = delta * np.sqrt(self.count * (other.count / count))
        root = _compressed(np.concatenate([self.root, other.root, between[None]]))
        return FeatureStats(count=count, mean=mean, mean_low=mean_low, root=root)

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.mean)

    @property
    def products(self) -> Float[Array, "d d"]:
        """Sum of outer products of the rows minus their mean."""
        return self.root.T @ self.root

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """Unbiased covariance (N - 1).

        Raises:
            BadRequest: for fewer than two rows.
        """
        _check_count(self.count, "the statistics", 2)
        return self.products / (self.count - 1)


def frechet_distance_of_stats(stats_a: FeatureStats, stats_b: FeatureStats) -> float:
    """Squared Fréchet distance from streamed statistics: as exact as `frechet_distance`, of which it is the second half.

    Raises:
        BadRequest: for fewer than two rows on a side, or unequal widths.
    """
    _check_widths(stats_a.width, stats_b.width)
    for stats, side in ((stats_a, "a"), (stats_b, "b")):
        _check_count(stats.count, f"statistics {side}", 2)
    shift = (stats_a.mean - stats_b.mean) + (stats_a.mean_low - stats_b.mean_low)
    a, b = (stats.root / np.sqrt(stats.count - 1) for stats in (stats_a, stats_b))
    return float(shift @ shift + (a * a).sum() + (b * b).sum() - 2 * _nuclear_norm_of_cross(a, b))


def checked_features(features: Array, side: str, at_least: int = 2) -> Float[Array, "n d"]:
    """Features as float64 [n, d], or an error that says what is wrong with them.

    Raises:
        BadRequest: for another shape, fewer rows than `at_least`, no columns, or values that are not finite.
    """
    rows = np.asarray(features)
    if rows.ndim != 2 or rows.dtype.kind not in "fiub" or not rows.shape[1]:
        raise BadRequest(
            f"features {side}: got {rows.dtype} {rows.shape}; they must be real numbers of shape [n, d]. "
            "Pass one row per picture or clip."
        )
    _check_count(len(rows), f"features {side}", at_least)
    rows = rows.astype(np.float64, copy=False)
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise BadRequest(
            f"features {side}: {len(bad)} of {len(rows)} rows have values that are not finite, first row {bad[0]}. "
            "Every value must be finite. Check that picture or clip and the feature network's weights."
        )
    return rows


def _check_count(count: int, owner: str, at_least: int) -> None:
    if count < at_least:
        raise BadRequest(
            f"{owner}: {count} sample(s); at least {at_least} are needed for a distance. Score more clips or pictures."
        )


def _check_widths(a: int, b: int) -> None:
    if a != b:
        raise BadRequest(f"features have widths {a} and {b}; both sides must come from one feature network. Redo one.")


def _centre(rows: Array) -> Array:
    """Take the mean off the rows, in place and in two passes (rounding of the first is corrected by the second); the mean."""
    mean = rows.mean(axis=0)
    rows -= mean
    correction = rows.mean(axis=0)
    rows -= correction
    return np.asarray(mean + correction)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b as the rounded sum and what rounding left out, exactly (Knuth)."""
    total = a + b
    b_part = total - a
    return total, (a - (total - b_part)) + (b - b_part)


def _compressed(rows: Array) -> Array:
    """The rows, or, when there are more than 2 d of them, d rows with the same products."""
    return _triangle(rows) if len(rows) > 2 * rows.shape[1] else rows


def _triangle(rows: Array) -> Array:
    """R with R^T R = rows^T rows: by Cholesky where that loses nothing, by QR everywhere else.

    Rounding in the products is relative to the deviations of the two features. Where the correlation matrix is proven to have
    no eigenvalue below WELL (what is taken off leaves a positive matrix), it moves the products, and with them the nuclear norm,
    by a relative d eps / WELL at most: 5e-11 at d = 2048.
    """
    if len(rows) > rows.shape[1]:
        products = rows.T @ rows
        try:
            np.linalg.cholesky(products - WELL * np.diag(products.diagonal()))
            return np.asarray(np.linalg.cholesky(products).T)
        except np.linalg.LinAlgError:
            pass  # near singular: products have lost what QR keeps
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _nuclear_norm_of_cross(a: Array, b: Array) -> float:
    """Sum of singular values of a b^T; both sides are reduced to d x d triangles first when both have more rows."""
    if min(len(a), len(b)) > a.shape[1]:
        a, b = _triangle(a), _triangle(b)
    return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


def _check_moments(mean: Array, covariance: Array) -> None:
    d = len(mean) if mean.ndim == 1 else 0
    finite = bool(np.isfinite(mean).all() and np.isfinite(covariance).all())
    largest = float(np.abs(covariance).max(initial=0.0)) if finite else 0.0
    shaped = d > 0 and covariance.shape == (d, d)
    if (
        not shaped
        or not finite
        or np.abs(covariance - covariance.T).max() > 1e-6 * largest
        or (covariance.diagonal() < 0).any()
    ):
        raise BadRequest(
            f"moments: got a mean {mean.shape} and a covariance {covariance.shape}; they must be finite, [d] and [d, d], the "
            "covariance symmetric with no negative variance. Pass `mu` and `sigma` of one file."
        )
