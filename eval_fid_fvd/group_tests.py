"""Does a number differ between kinds of scenes? Rank tests with effect sizes, all questions of one table corrected together.

Two groups: Mann and Whitney's U, effect the rank-biserial correlation (share of pairs in which the first is larger minus the
share in which it is smaller). Several: Kruskal and Wallis's H, effect epsilon squared (H / (n - 1): 0 nothing, 1 everything).

Source: "Grounding Driving VLA via Inverse Kinematics", appendix H; Kerby (2014) and Tomczak and Tomczak (2014) for the effects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.statistics import holm
from worldmodel.errors import BadRequest

Array = np.ndarray
EXTREME = 0.25  # share of the moments at either end that are compared
FEWEST = 2  # values in a group that takes part


def two_groups(first: Float[Array, " n"], second: Float[Array, " m"]) -> dict[str, Any]:
    """Mann and Whitney's U test; entries that are NaN (not defined there) are left out and counted.

    Returns:
        `first`, `second` (each `mean`, `median`, `count`), `u`, `p` (1 where all values are equal), `effect`, `left_out`.
    Raises:
        BadRequest: where fewer than two values are left in a group, or one is infinite.
    """
    a, b = _known(first), _known(second)
    _check_groups([a, b])
    from scipy import stats  # takes seconds to import

    found = stats.mannwhitneyu(a, b)
    alike = np.ptp(np.concatenate([a, b])) == 0  # then the test has no variance to divide by
    return {
        "first": _described(a),
        "second": _described(b),
        "u": float(found.statistic),
        "p": 1.0 if alike else float(found.pvalue),
        "effect": 2 * float(found.statistic) / (len(a) * len(b)) - 1,
        "left_out": len(first) + len(second) - len(a) - len(b),
    }


def several_groups(values: Float[Array, " n"], labels: Sequence[Any] | Array) -> dict[str, Any]:
    """Kruskal and Wallis's H test over the groups that have at least two values.

    Returns:
        `groups` (per label `mean`, `median`, `count`), `h`, `p` (1 where all values are equal), `effect`, `left_out` (moments of
        smaller groups, and values that are NaN).
    Raises:
        BadRequest: for another number of labels, infinite values, or fewer than two groups.
    """
    numbers, names = np.asarray(values, np.float64), np.asarray(labels)
    if numbers.shape != names.shape:
        raise BadRequest(f"{numbers.shape} values and {names.shape} labels; each value needs one. Label all moments.")
    groups = {str(name): _known(numbers[names == name]) for name in np.unique(names)}
    large = {name: group for name, group in groups.items() if len(group) >= FEWEST}
    _check_groups(list(large.values()))
    from scipy import stats

    joined = np.concatenate(list(large.values()))
    alike = bool(np.ptp(joined) == 0)
    found = None if alike else stats.kruskal(*large.values())
    h = 0.0 if found is None else float(found.statistic)
    return {
        "groups": {name: _described(group) for name, group in large.items()},
        "h": h,
        "p": 1.0 if found is None else float(found.pvalue),
        "effect": h / (len(joined) - 1),
        "left_out": len(numbers) - len(joined),
    }


def group_table(
    values: Float[Array, " n"], characteristics: Mapping[str, Sequence[Any] | Array]
) -> list[dict[str, Any]]:
    """One number per moment against every characteristic of the scenes: rows with `characteristic`, the test, and `p_holm`.

    Args:
        characteristics: Labels per moment. Two kinds of labels make a U test, more an H test; what has one kind alone is
            left out.
    Raises:
        BadRequest: as `several_groups`.
    """
    rows: list[dict[str, Any]] = []
    for name, labels in characteristics.items():
        row = _test(np.asarray(values, np.float64), np.asarray(labels))
        rows += [] if row is None else [{"characteristic": name} | row]
    return _corrected(rows)


def _test(values: Array, labels: Array) -> dict[str, Any] | None:
    if values.shape != labels.shape:
        raise BadRequest(f"{values.shape} values and {labels.shape} labels; each value needs one. Label all moments.")
    kinds = [kind for kind in np.unique(labels) if (~np.isnan(values[labels == kind])).sum() >= FEWEST]
    if len(kinds) < 2:
        return None
    if len(kinds) > 2:
        return {"test": "Kruskal-Wallis"} | several_groups(values, labels)
    found = two_groups(*(values[labels == kind] for kind in kinds))
    groups = {str(kind): found.pop(place) for kind, place in zip(kinds, ("first", "second"), strict=True)}
    return {"test": "Mann-Whitney", "groups": groups} | found


def extremes_table(
    difference: Float[Array, " n"], characteristics: Mapping[str, Float[Array, " n"]], *, share: float = EXTREME
) -> list[dict[str, Any]]:
    """In what kind of scenes one model beats another: characteristics of the moments at either end of their difference.

    Args:
        difference: Error of the second model minus that of the first, one per moment: the largest are `first_better`.
        characteristics: Numbers; NaN where not defined.
    Returns:
        One row per characteristic: `first_better`, `second_better` (each `mean`, `median`, `count`), `p`, `p_holm`, `effect`.
    Raises:
        BadRequest: where the ends have fewer than two moments.
    Source: "Grounding Driving VLA via Inverse Kinematics", appendix H.
    """
    order = np.argsort(np.asarray(difference, np.float64), kind="stable")
    size = int(share * len(order))
    rows = []
    for name, values in characteristics.items():
        numbers = np.asarray(values, np.float64)
        found = two_groups(numbers[order[len(order) - size :]], numbers[order[:size]])
        ends = {"first_better": found.pop("first"), "second_better": found.pop("second")}
        rows.append({"characteristic": name} | ends | found)
    return _corrected(rows)


def binned(values: Float[Array, " n"], edges: Sequence[float], unit: str) -> Array:
    """Labels of half-open bins.

    >>> binned(np.array([1.0, 7.0]), [5.0], "m/s").tolist()
    ['< 5 m/s', '>= 5 m/s']
    """
    low, high = [None, *edges], [*edges, None]
    names = [
        f"< {b:g} {unit}" if a is None else f">= {a:g} {unit}" if b is None else f"{a:g} to {b:g} {unit}"
        for a, b in zip(low, high, strict=True)
    ]
    return np.array(names)[np.searchsorted(edges, values, side="right")]


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    adjusted = holm(np.array([row["p"] for row in rows]))
    return [row | {"p_holm": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def _known(values: Array) -> Array:
    numbers = np.asarray(values, np.float64)
    if np.isinf(numbers).any():
        raise BadRequest(
            "a value is infinite; it must be finite, or NaN where not defined. Give NaN for what is not there."
        )
    return numbers[~np.isnan(numbers)]


def _check_groups(groups: Sequence[Array]) -> None:
    if len(groups) < 2 or min(map(len, groups)) < FEWEST:
        raise BadRequest(
            f"groups of {[len(group) for group in groups]} values were to be compared; two or more groups of at least {FEWEST} are "
            "needed. Measure more moments, or join groups."
        )


def _described(values: Array) -> dict[str, float]:
    return {"mean": float(values.mean()), "median": float(np.median(values)), "count": len(values)}
