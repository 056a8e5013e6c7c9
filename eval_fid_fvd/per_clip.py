"""Scores that are a mean of one value per clip: their value, interval, level of real clips and card, made in one way."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.cards import MetricCard, Score
from eval_fid_fvd.statistics import RESAMPLES, bootstrap_interval
from worldmodel.errors import BadRequest

Array = np.ndarray


def per_clip_score(
    values: Float[Array, " n"],
    card: Mapping[str, Any],
    *,
    level: Float[Array, " m"] | None = None,
    level_rule: str = "the same of real clips",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """The mean over clips, with a bootstrap interval over clips from two clips on.

    Args:
        values: One value per clip, [n]. Clips that are NaN (not defined there) are left out, and counted in the card.
        card: Lines of the card; those on interval and floor are written here, notes are kept.
        level: The same of real clips, [m]; its mean is the score's floor.
        level_rule: What the level is.
        resamples, seed: Of the interval.
    Raises:
        BadRequest: if no clip is defined, or one is infinite.
    """
    rows, real = _defined(values), None if level is None else _defined(level)
    if not len(rows):
        raise BadRequest(
            f"{card.get('metric', 'the score')} is defined in none of {np.size(values)} clips; at least one is needed. Look at "
            "the clips: they are empty or of one colour."
        )
    many, has_level = len(rows) >= 2, real is not None and len(real) > 0
    left_out = np.size(values) - len(rows)
    notes = [*card.get("notes", ())]
    notes += [f"{left_out} of {np.size(values)} clips are not defined there and left out"] * bool(left_out)
    notes += ["one clip: no interval"] * (not many)
    lines = {
        **card,
        "interval_rule": f"95%, percentile bootstrap over clips, {resamples} resamples" if many else "none",
        "floor_rule": level_rule if has_level else "none",
        "notes": tuple(notes),
    }
    return Score(
        value=float(rows.mean()),
        interval=bootstrap_interval(rows, np.random.default_rng(seed), resamples=resamples) if many else None,
        n_a=len(rows),
        n_b=0 if real is None else len(real),
        floor=float(real.mean()) if real is not None and has_level else None,
        card=MetricCard(**lines),
    )


def _defined(values: Array) -> Array:
    rows = np.asarray(values, np.float64).reshape(-1)
    return rows[~np.isnan(rows)]
