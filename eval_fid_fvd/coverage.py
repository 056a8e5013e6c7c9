"""Precision, recall, density and coverage: how much of one set of features lies where the other one is.

Around every sample lies a ball that reaches to its k-th nearest neighbour in its own set (itself not counted).

- precision: share of generated samples inside at least one ball of a real sample (Kynkäänniemi et al. 2019);
- recall: share of real samples inside at least one ball of a generated sample (the same);
- density: in how many balls of real samples a generated sample lies, in the mean, divided by k (Naeem et al. 2020);
- coverage: share of real samples whose ball holds at least one generated sample (the same).

Conventions: Euclidean distance, float64; balls are closed (<=), as in the papers and the code of the first and in torch-fidelity;
the code of the second uses open balls (<), which differs only where distances tie and then counts a set of equal samples as not
covered by itself. k is 3 for the first pair and 5 for the second, as in the papers. Features are not normalised.

Distances come from one matrix product per block; where that product cannot tell on which side of a ball a sample lies, the
distance is computed anew from the differences, so ties are decided exactly as by the naive definition.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.frechet import checked_features
from worldmodel.errors import BadRequest

Array = np.ndarray
BLOCK_VALUES = 2**22  # entries of the distance matrix held at once
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5


def precision_recall(
    features_real: Float[Array, "n d"], features_generated: Float[Array, "m d"], neighbours: int = PRECISION_NEIGHBOURS
) -> dict[str, float]:
    """Precision and recall, each 0 to 1.

    Args:
        features_real: Shape [n, d], n > neighbours.
        features_generated: Shape [m, d], m > neighbours; sizes may differ.
        neighbours: k: a ball reaches to the k-th nearest neighbour.
    Raises:
        BadRequest: for too few rows, values that are not finite, unequal widths or k < 1.
    Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models".
    """
    real, generated = _checked_sets(features_real, features_generated, neighbours, balls_of_both=True)
    hits_of_generated, _ = _inside(real, _squared_radii(real, neighbours), generated)
    hits_of_real, _ = _inside(generated, _squared_radii(generated, neighbours), real)
    return {"precision": float((hits_of_generated > 0).mean()), "recall": float((hits_of_real > 0).mean())}


def density_coverage(
    features_real: Float[Array, "n d"], features_generated: Float[Array, "m d"], neighbours: int = DENSITY_NEIGHBOURS
) -> dict[str, float]:
    """Density (0 and up, 1 expected for equal distributions) and coverage (0 to 1).

    Args:
        features_real: Shape [n, d], n > neighbours.
        features_generated: Shape [m, d], m >= 1; sizes may differ.
        neighbours: k: a ball reaches to the k-th nearest neighbour.
    Raises:
        BadRequest: for too few rows, values that are not finite, unequal widths or k < 1.
    Source: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", with closed balls.
    """
    real, generated = _checked_sets(features_real, features_generated, neighbours, balls_of_both=False)
    hits, held = _inside(real, _squared_radii(real, neighbours), generated)
    return {"density": float(hits.mean() / neighbours), "coverage": float((held > 0).mean())}


def values_per_sample(
    name: str, features_real: Float[Array, "n d"], features_generated: Float[Array, "m d"]
) -> Float[Array, " samples"]:
    """What one of the four scores is the mean of, with its usual k: a value for each sample.

    Args:
        name: 'precision' or 'density' (a value per generated sample), 'recall' or 'coverage' (per real sample).
    Raises:
        BadRequest: as the scores themselves.
    """
    if name in ("precision", "recall"):
        k = PRECISION_NEIGHBOURS
        real, generated = _checked_sets(features_real, features_generated, k, balls_of_both=True)
        centres, rows = (real, generated) if name == "precision" else (generated, real)
        return np.asarray(_inside(centres, _squared_radii(centres, k), rows)[0] > 0, np.float64)
    k = DENSITY_NEIGHBOURS
    real, generated = _checked_sets(features_real, features_generated, k, balls_of_both=False)
    hits, held = _inside(real, _squared_radii(real, k), generated)
    return np.asarray(hits / k if name == "density" else held > 0, np.float64)


def expected_coverage(real: int, generated: int, neighbours: int = DENSITY_NEIGHBOURS) -> float:
    """Coverage that two sets of one distribution have in the mean: what a perfect generator can hope for.

    Source: Naeem et al. 2020, lemma 2.
    """
    steps = np.arange(1, neighbours + 1)
    return float(1 - np.prod((real - steps) / (real + generated - steps)))


def _squared_radii(rows: Array, neighbours: int) -> Float[Array, " n"]:
    """Squared distance to the k-th nearest neighbour in the same set, each taken from differences."""
    radii = np.empty(len(rows))
    for start, squared, slack in _blocks(rows, rows):
        own = np.arange(len(squared))
        squared[own, start + own] = np.inf
        kth = np.partition(squared + slack, neighbours - 1, axis=1)[:, neighbours - 1, None]
        for i, near in enumerate(squared - slack <= kth):  # the k-th neighbour is among these
            exact = _squared_distances(rows[start + i], rows[near])
            radii[start + i] = np.partition(exact, neighbours - 1)[neighbours - 1]
    return radii


def _inside(centres: Array, squared_radii: Array, rows: Array) -> tuple[Array, Array]:
    """How many balls each row lies in, and how many rows each ball holds."""
    balls = np.empty(len(rows), dtype=np.int64)
    held = np.zeros(len(centres), dtype=np.int64)
    for start, squared, slack in _blocks(rows, centres):
        hit = squared <= squared_radii
        i, j = np.nonzero(np.abs(squared - squared_radii) <= slack)
        for some in np.array_split(np.arange(len(i)), 1 + i.size * rows.shape[1] // BLOCK_VALUES):
            exact = _squared_distances(rows[start + i[some]], centres[j[some]])
            hit[i[some], j[some]] = exact <= squared_radii[j[some]]
        balls[start : start + len(hit)] = hit.sum(axis=1)
        held += hit.sum(axis=0)
    return balls, held


def _blocks(rows: Array, others: Array) -> Iterator[tuple[int, Array, Array]]:
    """(first row, squared distances to all others, by how much they may be wrong) per block of rows."""
    middle = others.mean(axis=0)
    rows, others = rows - middle, others - middle
    norms, other_norms = (rows * rows).sum(axis=1), (others * others).sum(axis=1)
    unit = 4 * (rows.shape[1] + 8) * np.finfo(np.float64).eps
    step = max(1, BLOCK_VALUES // len(others))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        sums = norms[block, None] + other_norms
        yield start, sums - 2 * (rows[block] @ others.T), unit * sums + np.finfo(np.float64).tiny


def _squared_distances(a: Array, b: Array) -> Array:
    difference = np.ascontiguousarray(a - b)  # one order of summation, whichever rows come together
    return np.asarray((difference * difference).sum(axis=-1))


def _checked_sets(real: Array, generated: Array, neighbours: int, *, balls_of_both: bool) -> tuple[Array, Array]:
    a = checked_features(real, "real", at_least=1)
    b = checked_features(generated, "generated", at_least=1)
    if a.shape[1] != b.shape[1]:
        raise BadRequest(
            f"features have widths {a.shape[1]} and {b.shape[1]}; both sides must come from one feature network. "
            "Redo one."
        )
    fewest = min(len(a), len(b)) if balls_of_both else len(a)
    if not 1 <= neighbours < fewest:
        raise BadRequest(
            f"{len(a)} real and {len(b)} generated samples with k = {neighbours}; k must be at least 1 and every set with balls "
            "needs more samples than k. Score more clips or pictures, or choose a smaller k."
        )
    return a, b
