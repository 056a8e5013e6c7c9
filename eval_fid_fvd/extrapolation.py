"""A Fréchet distance without its sample-size bias: the fit N -> infinity, with its error.

With N samples on each side a Fréchet distance is too large by about c / N, where c depends on the features: numbers at unlike N
are not comparable, and two halves of one set are not at distance 0. After Chong and Forsyth 2020 the distance is
measured at several N and a straight line in 1/N is continued to 0. Here the N are n, n/2, n/3, ...: equally spaced in
1/N, each averaged over the disjoint blocks that the data give, so that every size sees every sample. Both sides shrink
together, because both are samples (their code keeps the reference whole and draws one subset per size).

The bias is a straight line only from about N = d on. With fewer samples the line ends too high: `bend` tells how much
a parabola through the same points would change the answer, and belongs beside `error`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eval_fid_fvd.frechet import checked_features, frechet_distance
from worldmodel.errors import BadRequest

Array = np.ndarray
SIZES, GROUPS = 4, 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Extrapolation:
    """A distance continued to infinitely many samples.

    Attributes:
        value: The straight line at 1/N = 0; may be slightly negative, and is not clamped.
        error: Standard error of `value` from leaving out groups of samples (delete-a-group jackknife).
        bend: A parabola's value at 0 minus the straight line's: near 0 if N is large enough; nan with two sizes.
        counts: Samples on each side per size, shape [sizes, 2].
        distances: Mean distance at each size, shape [sizes], the largest size first.
    """

    value: float
    error: float
    bend: float
    counts: Int[Array, "sizes 2"]
    distances: Float[Array, " sizes"]


def frechet_distance_at_infinity(
    features_a: Float[Array, "n d"],
    features_b: Float[Array, "m d"],
    *,
    seed: int = 0,
    sizes: int = SIZES,
    groups: int = GROUPS,
) -> Extrapolation:
    """The Fréchet distance continued to infinitely many samples on both sides.

    Args:
        features_a: Shape [n, d]; the smallest block, n // sizes rows of what one group leaves, must have 2 rows.
        features_b: Shape [m, d].
        seed: Of the order in which rows are dealt into blocks and groups.
        sizes: How many sample sizes are fitted: n, n/2, ..., n/sizes.
        groups: Of the jackknife. The cost is (groups + 1) sizes (sizes + 1) / 2 distances.
    Raises:
        BadRequest: for fewer rows than that, fewer than two sizes or groups, or what `frechet_distance` refuses.
    Source: Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score", with disjoint blocks and an error.
    """
    a, b = checked_features(features_a, "a"), checked_features(features_b, "b")
    _check_sizes(min(len(a), len(b)), sizes, groups)
    order = np.random.default_rng(seed)
    a, b = a[order.permutation(len(a))], b[order.permutation(len(b))]
    distances = _distances(a, b, sizes)
    left_out = [_line(_distances(_without(a, g, groups), _without(b, g, groups), sizes)) for g in range(groups)]
    spread = np.sqrt((groups - 1) * np.var(left_out))
    line = _line(distances)
    return Extrapolation(
        value=line,
        error=float(spread),
        bend=_fit(distances, 2) - line if sizes > 2 else float("nan"),
        counts=np.array([[len(a) // k, len(b) // k] for k in range(1, sizes + 1)]),
        distances=distances,
    )


def _distances(a: Array, b: Array, sizes: int) -> Float[Array, " sizes"]:
    """Mean distance over the k disjoint pairs of blocks, for k = 1 ... sizes."""
    return np.array([np.mean([frechet_distance(a[i::k], b[i::k]) for i in range(k)]) for k in range(1, sizes + 1)])


def _line(distances: Float[Array, " sizes"]) -> float:
    return _fit(distances, 1)


def _fit(distances: Float[Array, " sizes"], degree: int) -> float:
    """The least-squares polynomial in k, which is n / N, at k = 0."""
    return float(np.polynomial.Polynomial.fit(np.arange(1, len(distances) + 1), distances, degree)(0.0))


def _without(rows: Array, group: int, groups: int) -> Array:
    return rows[np.arange(len(rows)) * groups // len(rows) != group]


def _check_sizes(rows: int, sizes: int, groups: int) -> None:
    if sizes < 2 or groups < 2:
        raise BadRequest(
            f"{sizes} sizes and {groups} groups are asked for; both must be at least 2. Keep the defaults."
        )
    left = rows - -(-rows // groups)
    if left // sizes < 2:
        raise BadRequest(
            f"{rows} samples give blocks of {left // sizes} when fitted at {sizes} sizes with one of {groups} groups left "
            "out; every block needs at least 2. Use more samples or fewer sizes."
        )
