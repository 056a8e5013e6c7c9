"""Best of K: a paired score of the best of K futures that a model imagined for the same moment. K is part of the name.

The best of more samples is never worse, so two numbers of unlike K are not comparable; the K is therefore in the score's name
and in its card, and the score of a single sample stands beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.cards import Score
from eval_fid_fvd.per_clip import per_clip_score
from eval_fid_fvd.statistics import RESAMPLES
from worldmodel.errors import BadRequest

Array = np.ndarray
Better = Literal["higher", "lower"]


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """A paired score of several samples per clip.

    Attributes:
        best: The best of all K samples of each clip.
        single: The mean over all samples: what one sample is worth.
        curve: Expected best of 1, 2, ..., K samples, over all ways to choose them.
    """

    best: Score
    single: Score
    curve: tuple[float, ...]


def best_of(values: Float[Array, "clips k"], better: Better) -> Float[Array, " clips"]:
    """The best sample of each clip, [clips].

    Raises:
        BadRequest: for another shape, no samples, or values that are NaN.
    """
    rows = _checked(values)
    return np.asarray(rows.max(axis=1) if better == "higher" else rows.min(axis=1))


def expected_best(values: Float[Array, "clips k"], better: Better) -> Float[Array, " k"]:
    """Expected best of 1, 2, ..., K samples, mean over clips, [k].

    Over all ways to choose j of the K samples, without bias for any j up to K: the i-th best of K is the best of j with
    probability C(K - i, j - 1) / C(K, j).

    Raises:
        BadRequest: as `best_of`.
    Source: the estimator of pass@k (Chen et al. 2021, "Evaluating Large Language Models Trained on Code") for ordered values.
    """
    rows = np.sort(_checked(values), axis=1)
    ordered = (rows[:, ::-1] if better == "higher" else rows).mean(axis=0)
    k = rows.shape[1]
    chances = [[comb(k - i, j - 1) / comb(k, j) for i in range(1, k + 1)] for j in range(1, k + 1)]
    return np.asarray(np.array(chances) @ ordered)


def best_of_scores(
    values: Float[Array, "clips k"],
    better: Better,
    card: Mapping[str, Any],
    *,
    level: Float[Array, " m"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> BestOf:
    """Scores of the best and of a single sample.

    Args:
        values: One paired score per clip and sample, [clips, K], such as the mean SSIM over a clip's frames.
        better: Whether 'higher' or 'lower' values are better.
        card: The card's lines of the paired score, with its `metric` and `rule`.
        level: The same score between different real clips.
        resamples, seed: Of the intervals, over clips.
    Raises:
        BadRequest: as `best_of`.
    """
    rows = _checked(values)
    k, metric, rule = rows.shape[1], str(card["metric"]), str(card["rule"])

    def score(per_clip: Array, name: str, how: str) -> Score:
        lines = {**card, "metric": name, "rule": f"{rule}; {how}"}
        return per_clip_score(per_clip, lines, level=level, resamples=resamples, seed=seed)

    return BestOf(
        best=score(best_of(rows, better), f"{metric} BEST OF {k}", f"best of K = {k} samples, chosen per clip"),
        single=score(rows.mean(axis=1), metric, f"mean over {k} samples of each clip"),
        curve=tuple(float(value) for value in expected_best(rows, better)),
    )


def _checked(values: Array) -> Array:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or not rows.size or np.isnan(rows).any():
        raise BadRequest(
            f"values are {rows.shape} with {int(np.isnan(rows).sum())} NaN; they must be [clips, K samples], at least one each. "
            "Leave failed clips out, and give every clip equally many samples."
        )
    return rows
