"""NAVSIM's totals from its sub-scores: PDMS (v1), EPDMS (v2) and v2's two-stage score, on arrays and plain dicts.

Names of the sub-scores: NC no at-fault collision, DAC drivable area, DDC driving direction, TLC traffic lights, EP ego
progress, TTC time to collision, C comfort (v1), LK lane keeping, HC history comfort, EC extended comfort (v2).

Every scene is scored, then the mean is taken; a total of mean sub-scores is another number. A scene with a NaN among its
sub-scores has the total NaN (a failed scene is not a zero): count these, and leave them out on purpose or not at all.
A NaN in EC alone means that there was no earlier plan to compare with; its weight is then left out, as in NAVSIM.

Source: `pdm_scorer.py`, `evaluate/pdm_score.py`, `scene_aggregator.py` and `run_pdm_score*.py` of autonomousvision/navsim,
v1.1 for PDMS and main (with the human filter as repaired on 2025-09-29) for EPDMS.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest, UnknownName

Array = np.ndarray
PDMS_GATES = ("NC", "DAC")
PDMS_WEIGHTS = {"EP": 5.0, "TTC": 5.0, "C": 2.0}  # DDC has weight 0
EPDMS_GATES = ("NC", "DAC", "DDC", "TLC")
EPDMS_WEIGHTS = {"EP": 5.0, "TTC": 5.0, "LK": 2.0, "HC": 2.0, "EC": 2.0}
SUB_SCORES = ("NC", "DAC", "DDC", "TLC", "EP", "TTC", "C", "LK", "HC", "EC")
NEVER_FORGIVEN = "EC"
KERNEL_VARIANCE_M2 = 0.1


def pdms(sub: Mapping[str, Any]) -> Float[Array, " n"]:
    """NAVSIM v1: NC * DAC * (5 EP + 5 TTC + 2 C) / 12, per scene.

    Args:
        sub: NC, DAC, EP, TTC and C, each [n] from 0 to 1; other sub-scores may be there and do not count (DDC has weight 0).
    Raises:
        BadRequest: if one is missing, of another length, or outside 0 to 1.
        UnknownName: for a sub-score that does not exist.
    """
    return _total(_columns(sub, (*PDMS_GATES, *PDMS_WEIGHTS)), PDMS_GATES, PDMS_WEIGHTS)


def epdms(sub: Mapping[str, Any], human: Mapping[str, Any] | None = None) -> Float[Array, " n"]:
    """NAVSIM v2: NC * DAC * DDC * TLC * (5 EP + 5 TTC + 2 LK + 2 HC + 2 EC) / 16, per scene.

    Without EC its weight is left out (/ 14), as in NAVSIM's one-stage script; in scenes whose EC is NaN, too.

    Args:
        sub: NC, DAC, DDC, TLC, EP, TTC, LK, HC and, where plans follow each other, EC; each [n] from 0 to 1.
        human: The human driver's sub-scores of the same scenes, those that are known. Where one is exactly 0, the
            driver's own becomes 1 (0.5 forgives nothing, nor does NaN, for scenes without a human; EC is never forgiven).
            NAVSIM filters original scenes only, and its human has EP and HC of 1 always.
    Raises:
        BadRequest: if one is missing, of another length, or outside 0 to 1.
        UnknownName: for a sub-score that does not exist.
    """
    needed = (*EPDMS_GATES, *(name for name in EPDMS_WEIGHTS if name != "EC"))
    columns = _columns(sub, needed)
    columns.setdefault("EC", np.full_like(columns["NC"], np.nan))
    for name, theirs in (_columns(human, (), len(columns["NC"])) if human else {}).items():
        if name in columns and name != NEVER_FORGIVEN:
            columns[name] = np.where(theirs == 0.0, 1.0, columns[name])
    return _total(columns, EPDMS_GATES, EPDMS_WEIGHTS)


def stage_two_weights(end: Float[Array, " 2"], starts: Float[Array, "k 2"]) -> Float[Array, " k"]:
    """How much each second-stage scene of a mapping counts: the closer its start to where the first stage ended, the more.

    exp(-d^2 / (2 * 0.1)), d in metres, normalised to sum 1; equal weights where all are about 0 (NAVSIM: their sum is at
    most 1e-8).

    Args:
        end: Where the first stage's plan ended.
        starts: Where the second-stage scenes start, in the same frame.
    Raises:
        BadRequest: without starts, for other shapes, or positions that are not finite.
    """
    at, places = np.asarray(end, np.float64), np.asarray(starts, np.float64)
    if at.shape != (2,) or places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise BadRequest(
            f"stage-two weights: got an end {at.shape} and starts {places.shape}; they need [2] and [k, 2] with k at "
            "least 1. Give x and y of each."
        )
    if not (np.isfinite(at).all() and np.isfinite(places).all()):
        raise BadRequest(
            "stage-two weights: a position is not finite; all must be. Leave failed scenes out and count them."
        )
    weight = np.exp(-((places - at) ** 2).sum(axis=1) / (2 * KERNEL_VARIANCE_M2))
    total = weight.sum()
    if np.isclose(total, 0.0):
        return np.full(len(weight), 1 / len(weight))
    return np.asarray(weight / total)


def two_stage_score(groups: Sequence[Mapping[str, Any]]) -> float:
    """NAVSIM v2's score over two stages: the mean over groups of s1 * sum(weight * s2).

    A mapping of the benchmark makes two groups, of its present frame and the one 0.5 s before; their scores are
    averaged per mapping, then over mappings, which is the mean over all groups. It is not mean s1 times mean s2.

    Args:
        groups: Per group `end` [2], `start` [k, 2], `s1` (first stage's EPDMS, with the human filter) and `s2` [k] (second
            stage's, without).
    Raises:
        BadRequest: without groups, for missing keys, unequal lengths, or scores outside 0 to 1 (NaN included).
    """
    if not len(groups):
        raise BadRequest("there are no groups to take the mean of; at least one is needed. Score a mapping.")
    return float(np.mean([_group_score(number, group) for number, group in enumerate(groups)]))


def _group_score(number: int, group: Mapping[str, Any]) -> float:
    missing = [key for key in ("end", "start", "s1", "s2") if key not in group]
    if missing:
        raise BadRequest(f"group {number} has no '{missing[0]}'; it needs end, start, s1 and s2. Add it.")
    weights = stage_two_weights(group["end"], group["start"])
    first, second = np.asarray(group["s1"], np.float64), np.asarray(group["s2"], np.float64)
    if first.size != 1 or second.shape != weights.shape:
        raise BadRequest(
            f"group {number} has s1 of shape {first.shape} and s2 of shape {second.shape} for {len(weights)} starts; it needs "
            "one s1 and one s2 per start. Pair them."
        )
    _check_range(f"s1 of group {number}", first)
    _check_range(f"s2 of group {number}", second)
    if np.isnan(first).any() or np.isnan(second).any():
        raise BadRequest(
            f"group {number} has a score that is NaN; all must be numbers. Leave failed scenes out and count."
        )
    return float(first.reshape(())) * float(weights @ second)


def _total(columns: Mapping[str, Array], gates: Sequence[str], weights: Mapping[str, float]) -> Array:
    gate = np.prod([columns[name] for name in gates], axis=0)
    total, whole = np.zeros_like(gate), np.zeros_like(gate)
    for name, weight in weights.items():
        dropped = np.isnan(columns[name]) & (name == "EC")
        total += np.where(dropped, 0.0, weight * columns[name])
        whole += np.where(dropped, 0.0, weight)
    return np.asarray(gate * total / whole)


def _columns(sub: Mapping[str, Any], needed: Sequence[str], length: int | None = None) -> dict[str, Array]:
    for name in sub:
        if name not in SUB_SCORES:
            raise UnknownName("sub-score", name, SUB_SCORES)
    missing = [name for name in needed if sub.get(name) is None]
    if missing:
        raise BadRequest(f"sub-scores {', '.join(sub) or 'none'} were given; {missing[0]} is needed, too. Add it.")
    columns = {
        name: np.atleast_1d(np.asarray(values, np.float64)) for name, values in sub.items() if values is not None
    }
    shapes = {values.shape for values in columns.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes) or (length is not None and shapes - {(length,)}):
        raise BadRequest(
            f"sub-scores have the shapes { ({name: values.shape for name, values in columns.items()}) }; all must be [n], one "
            "value per scene. Pair the scenes."
        )
    for name, values in columns.items():
        _check_range(name, values)
    return columns


def _check_range(what: str, values: Array) -> None:
    wrong = values[~np.isnan(values) & ~((values >= -1e-9) & (values <= 1 + 1e-9))]
    if len(np.atleast_1d(wrong)):
        raise BadRequest(
            f"{what} has the value {np.atleast_1d(wrong)[0]:g}; scores go from 0 to 1. Divide percentages by 100."
        )
