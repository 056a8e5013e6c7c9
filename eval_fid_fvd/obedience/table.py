"""Rows of the table of obedience: a number with its interval, its threshold, and what stands beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from eval_fid_fvd.statistics import bootstrap_indices, bootstrap_interval
from worldmodel.geometry import Array

RESAMPLES = 1000
NOT_KNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        quantity: What was measured, by whom it was read.
        n: Clips behind it.
        value: The number, with its unit in `unit`: 'm', '%' or ''.
        interval: 95 % over clips; NaN where there are too few.
        threshold: What is asked of the value, in words; '' for nothing.
        passed: Whether it is met; None where nothing is asked.
        beside: Baselines by name, in the same unit.
        reader: What the reader reaches on true frames, in the same unit; None where it was not asked.
    """

    quantity: str
    n: int
    value: float
    unit: str
    interval: tuple[float, float] = NOT_KNOWN
    threshold: str = ""
    passed: bool | None = None
    beside: dict[str, float] = field(default_factory=dict)
    reader: float | None = None


def mean_interval(values: Float[Array, " n"], seed: int) -> tuple[float, float]:
    """Interval of a mean over clips; NaN for fewer than two."""
    if len(values) < 2:
        return NOT_KNOWN
    return bootstrap_interval(np.asarray(values, np.float64), np.random.default_rng(seed))


def pooled_interval(statistic: Callable[[Int[Array, " n"]], float], clips: int, seed: int) -> tuple[float, float]:
    """Interval of a statistic of several clips together; resamples for which it is not defined are left out."""
    if clips < 2:
        return NOT_KNOWN
    draws = bootstrap_indices(clips, RESAMPLES, np.random.default_rng(seed))
    numbers = np.array([statistic(rows) for rows in draws])
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < RESAMPLES // 2:
        return NOT_KNOWN
    low, high = np.quantile(numbers, [0.025, 0.975])
    return float(low), float(high)


def as_markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| quantity | clips | value (95 %) | asked | met | beside it | reader on true frames |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row.interval
        spread = f" ({_said(low, row.unit)} to {_said(high, row.unit)})" if np.isfinite([low, high]).all() else ""
        beside = ", ".join(f"{name} {_said(value, row.unit)}" for name, value in row.beside.items())
        met = "" if row.passed is None else "yes" if row.passed else "**no**"
        reader = "" if row.reader is None else _said(row.reader, row.unit)
        value = f"{_said(row.value, row.unit)}{spread}"
        lines.append(f"| {row.quantity} | {row.n} | {value} | {row.threshold} | {met} | {beside} | {reader} |")
    return "\n".join(lines)


def _said(value: float, unit: str) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{100 * value:.0f} %" if unit == "%" else f"{value:.2f} {unit}".strip()
