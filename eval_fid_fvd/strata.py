"""How much of driving needs eyes, and how good are planners where it does? Strata of the ego-status gap.

The ego-status gap of a moment is the mean distance over 3 s between what was driven and where the present speed and yaw rate
lead (`worldmodel.town.records.moments.ego_status_gap`). Moments whose gap exceeds a threshold are *vision-critical*, the others
*ego-dominated*. Where several moments are of one scene, intervals draw scenes, not moments.

Source: "Grounding Driving VLA via Inverse Kinematics", appendices E.4 (shares) and J (strata). The thresholds of its tables are
not legible in our copy; the ones here are our own, and 1 m is the one that the town's mixes are made with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.statistics import INTERVAL_LEVEL, RESAMPLES, bootstrap_indices
from worldmodel.errors import BadRequest

Array = np.ndarray
THRESHOLDS_M = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
MAIN_M = 1.0  # as in `worldmodel.town.records.moments.CRITICAL_M`
FEWEST = 2  # moments in a stratum that has a mean to speak of


def gap_summary(gaps_m: Float[Array, " n"]) -> dict[str, float]:
    """Mean, median, and the 75th, 90th and 99th percentile of the gaps, metres, with their number `moments`.

    Raises:
        BadRequest: for no gaps, or gaps that are not finite or negative.
    """
    gaps = _checked_gaps(gaps_m)
    levels = {"median_m": 0.5, "p75_m": 0.75, "p90_m": 0.9, "p99_m": 0.99}
    found = {name: float(np.quantile(gaps, level)) for name, level in levels.items()}
    return {"moments": len(gaps), "mean_m": float(gaps.mean())} | found


def critical_shares(
    gaps_m: Float[Array, " n"],
    scenes: Sequence[Any] | Array,
    generator: np.random.Generator,
    *,
    thresholds_m: Sequence[float] = THRESHOLDS_M,
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """Share of vision-critical moments per threshold: `threshold_m`, `share`, and `interval` (None for a single scene).

    Args:
        scenes: Which scene each moment is of: any labels.
        generator: Draws the scenes of the bootstrap.
    Raises:
        BadRequest: for no gaps, gaps that are not finite or negative, or another number of labels.
    """
    gaps, rows = _checked_gaps(gaps_m), _rows_of(scenes, len(gaps_m))
    above = (gaps[:, None] > np.array(thresholds_m)).astype(float)
    sums, counts = np.zeros((rows.max() + 1, len(thresholds_m))), np.bincount(rows)
    np.add.at(sums, rows, above)
    drawn = bootstrap_indices(len(counts), resamples, generator) if len(counts) > 1 else None
    shares = None if drawn is None else sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)[:, None]
    return [
        {
            "threshold_m": float(threshold),
            "share": float(above[:, i].mean()),
            "interval": None if shares is None else _interval(shares[:, i]),
        }
        for i, threshold in enumerate(thresholds_m)
    ]


def stratified_errors(
    errors: Mapping[str, Float[Array, " n"]],
    gaps_m: Float[Array, " n"],
    generator: np.random.Generator,
    *,
    thresholds_m: Sequence[float] = THRESHOLDS_M,
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """Mean error of every planner on vision-critical and on ego-dominated moments, one moment per scene.

    Returns:
        One row per threshold and planner: `threshold_m`, `planner`, `all`, `critical` and `dominated` (each `value`,
        `interval`, `moments`), and `ratio` (critical over dominated, with its interval). A stratum of fewer than two moments
        has None for all of them. All planners and thresholds share the same drawn scenes.
    Raises:
        BadRequest: for errors that are not finite or of another length than the gaps.
    """
    gaps = _checked_gaps(gaps_m)
    values = {name: _checked_errors(name, row, len(gaps)) for name, row in errors.items()}
    drawn = bootstrap_indices(len(gaps), resamples, generator)
    return [
        {"threshold_m": float(threshold), "planner": name} | _strata(row, gaps > threshold, drawn)
        for threshold in thresholds_m
        for name, row in values.items()
    ]


def _strata(row: Array, critical: Array, drawn: Array) -> dict[str, Any]:
    masks = {"all": np.ones_like(critical), "critical": critical, "dominated": ~critical}
    found: dict[str, Any] = {name: _mean_of(row, mask, drawn) for name, mask in masks.items()}
    if found["critical"] is None or found["dominated"] is None:
        return found | {"ratio": None}
    above, below = (_drawn_means(row, mask, drawn) for mask in (critical, ~critical))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above / below
    value = found["critical"]["value"] / found["dominated"]["value"] if found["dominated"]["value"] else float("inf")
    return found | {"ratio": {"value": value, "interval": _interval(ratios)}}


def paired_gains(
    first: Float[Array, " n"],
    second: Float[Array, " n"],
    gaps_m: Float[Array, " n"],
    generator: np.random.Generator,
    *,
    threshold_m: float = MAIN_M,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """How much smaller the second planner's error is, and whether the gain lies where eyes are needed.

    Returns:
        `all`, `critical`, `dominated`: mean of first - second (`value`, `interval`, `moments`; positive: the second is better);
        `concentration`: the gain on critical moments minus that on the others, with its interval.
    Raises:
        BadRequest: for errors that are not finite or of another length than the gaps.
    Source: "Grounding Driving VLA via Inverse Kinematics", appendix J, observation 2.
    """
    gaps = _checked_gaps(gaps_m)
    gain = _checked_errors("first", first, len(gaps)) - _checked_errors("second", second, len(gaps))
    drawn, critical = bootstrap_indices(len(gaps), resamples, generator), gaps > threshold_m
    found = _strata(gain, critical, drawn)
    del found["ratio"]
    if found["critical"] is None or found["dominated"] is None:
        return found | {"concentration": None}
    apart = _drawn_means(gain, critical, drawn) - _drawn_means(gain, ~critical, drawn)
    value = found["critical"]["value"] - found["dominated"]["value"]
    return found | {"concentration": {"value": value, "interval": _interval(apart)}}


def loss_shares(
    losses: Float[Array, " n"], gaps_m: Float[Array, " n"], *, thresholds_m: Sequence[float] = THRESHOLDS_M
) -> list[dict[str, float | None]]:
    """Where a training loss comes from: the mixture p L(critical) + (1 - p) L(ego-dominated), per threshold.

    Args:
        losses: One per moment, never negative: of direct regression its own loss.
    Returns:
        `threshold_m`, `critical_moments` (p), `critical_loss` and `dominated_loss` (their shares of the whole loss; they sum
        to 1, or None where the whole loss is 0).
    Raises:
        BadRequest: for losses that are negative, not finite or of another length than the gaps.
    Source: "Grounding Driving VLA via Inverse Kinematics", equation 4 and appendix E.1.
    """
    gaps = _checked_gaps(gaps_m)
    values = _checked_errors("losses", losses, len(gaps))
    if (values < 0).any():
        raise BadRequest(
            f"a loss is {values.min():g}; none may be negative to have a share. Use squared or absolute errors."
        )
    whole = float(values.sum())
    rows: list[dict[str, float | None]] = []
    for threshold in thresholds_m:
        critical = gaps > threshold
        share = float(values[critical].sum()) / whole if whole else None
        rows.append(
            {
                "threshold_m": float(threshold),
                "critical_moments": float(critical.mean()),
                "critical_loss": share,
                "dominated_loss": None if share is None else 1.0 - share,
            }
        )
    return rows


def _mean_of(row: Array, mask: Array, drawn: Array) -> dict[str, Any] | None:
    count = int(mask.sum())
    if count < FEWEST:
        return None
    return {"value": float(row[mask].mean()), "interval": _interval(_drawn_means(row, mask, drawn)), "moments": count}


def _drawn_means(row: Array, mask: Bool[Array, " n"], drawn: Array) -> Array:
    """Mean over the masked entries of each resample [r]; NaN where a resample has none."""
    weights = mask[drawn].astype(float)
    with np.errstate(invalid="ignore"):
        means: Array = (row[drawn] * weights).sum(axis=1) / weights.sum(axis=1)
    return means


def _interval(numbers: Array) -> tuple[float, float]:
    """Percentiles of the resamples that have a number."""
    tail = (1 - INTERVAL_LEVEL) / 2
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _rows_of(scenes: Sequence[Any] | Array, count: int) -> Array:
    if len(scenes) != count:
        raise BadRequest(f"{count} gaps and {len(scenes)} scene labels; each moment needs one. Label all moments.")
    rows: Array = np.unique(np.asarray(scenes), return_inverse=True)[1]
    return rows.reshape(-1)


def _checked_gaps(gaps_m: Array) -> Array:
    gaps = np.asarray(gaps_m, np.float64)
    if gaps.ndim != 1 or not len(gaps) or not np.isfinite(gaps).all() or (gaps < 0).any():
        raise BadRequest(
            f"the ego-status gaps have the shape {gaps.shape} and {int((~np.isfinite(gaps) | (gaps < 0)).sum())} bad values; "
            "they must be one finite distance per moment, at least one. Leave moments without a known future out, and count them."
        )
    return gaps


def _checked_errors(name: str, errors: Array, count: int) -> Array:
    row = np.asarray(errors, np.float64)
    if row.shape != (count,) or not np.isfinite(row).all():
        raise BadRequest(
            f"the errors of '{name}' have the shape {row.shape} and {int((~np.isfinite(row)).sum())} values that are not finite; "
            f"{count} finite ones are needed, one per gap. Leave failed moments out on all sides, and count them."
        )
    return row
