"""How well are the next visual states predicted, and does it matter to the plan?

Errors are per moment and horizon, in the tokenizer's normalised latents. Beside every predictor stand four that need no
training: the *mean* state, the mean *given the command*, a *blind linear* reader of ego status and command (all three leave the
moment out that they speak of), and a *copy* of the present picture, the hard one in a town where much stands still.

Source: "Grounding Driving VLA via Inverse Kinematics", appendices E.4, H and I; baselines: ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.associations import association, partial_spearman
from eval_fid_fvd.statistics import RESAMPLES, bootstrap_interval, wilcoxon_p
from worldmodel.errors import BadRequest

Array = np.ndarray
QUARTILES = ("Q1 (best)", "Q2", "Q3", "Q4 (worst)")
RIDGE = 1.0  # of the blind linear reader, in units of its standardised inputs


def state_errors(
    predicted: Float[Array, "n state camera channel h w"], true: Float[Array, "n state camera channel h w"]
) -> Float[Array, "n state"]:
    """Mean squared error per element of each predicted state.

    Raises:
        BadRequest: for other shapes or values that are not finite.
    """
    said, target = _checked(predicted, true)
    errors: Array = ((said - target) ** 2).mean(axis=(2, 3, 4, 5))
    return errors


def state_cosines(
    predicted: Float[Array, "n state camera channel h w"], true: Float[Array, "n state camera channel h w"]
) -> Float[Array, "n state"]:
    """Mean cosine similarity over cells of each predicted state; a cell without any length has 0.

    Raises:
        BadRequest: for other shapes or values that are not finite.
    """
    said, target = _checked(predicted, true)
    lengths = np.linalg.norm(said, axis=3) * np.linalg.norm(target, axis=3)
    products = (said * target).sum(axis=3)
    found: Array = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0).mean(axis=(2, 3, 4))
    return found


def baseline_errors(
    true: Float[Array, "n state camera channel h w"],
    now: Float[Array, "n camera channel h w"],
    told: Float[Array, "n told"],
    command: Sequence[str] | Array,
) -> dict[str, Float[Array, "n state"]]:
    """Errors of what needs no training: `mean`, `mean given command`, `blind linear` and `copy`.

    Args:
        now: The present states.
        told: What is known without looking (ego steps), any units.
        command: One label per moment.
    Raises:
        BadRequest: for other shapes, fewer than 3 moments, or values that are not finite.
    """
    target, _ = _checked(true, true)
    present = np.broadcast_to(np.asarray(now, np.float64)[:, None], target.shape)
    words = np.asarray(command)
    status = np.asarray(told, np.float64)
    known = (words[:, None] == np.unique(words)).astype(float)
    if (
        len({len(target), len(present), len(words), len(status)}) != 1
        or len(target) < 3
        or not np.isfinite(status).all()
    ):
        raise BadRequest(
            f"{len(target)} states, {len(present)} present ones, {len(words)} commands and {len(status)} rows of what is told; "
            "they must be of one length, at least 3, and finite. Pair them first."
        )
    return {
        "mean": left_out_errors(target, np.zeros((len(words), 0)), 0.0),
        "mean given command": left_out_errors(target, known, RIDGE),
        "blind linear": left_out_errors(target, np.concatenate([_standardised(status), known], axis=1), RIDGE),
        "copy": state_errors(present, target),
    }


def left_out_errors(
    targets: Float[Array, "n state ..."], features: Float[Array, "n f"], ridge: float
) -> Float[Array, "n state"]:
    """Mean squared error of a linear reader on each moment when it has learned from all the others: exact, in closed form.

    Args:
        features: What it reads; a constant is added, which the ridge leaves alone.
        ridge: Added to the diagonal of the features' Gram matrix.
    """
    count, states = targets.shape[:2]
    columns = np.concatenate([np.ones((count, 1)), features], axis=1)
    penalty = ridge * np.eye(columns.shape[1])
    penalty[0, 0] = 0.0
    hat = columns @ np.linalg.solve(columns.T @ columns + penalty, columns.T)
    flat = targets.reshape(count, -1)
    residuals = (flat - hat @ flat) / (1 - np.diag(hat))[:, None]
    errors: Array = (residuals**2).reshape(count, states, -1).mean(axis=2)
    return errors


def quartile_table(errors: Float[Array, " n"], columns: Mapping[str, Float[Array, " n"]]) -> list[dict[str, Any]]:
    """Means within the quarters of the moments by prediction error, the best predicted first.

    Returns:
        Four rows: `quartile`, `moments`, `error`, and the mean of every column.
    Raises:
        BadRequest: for fewer than four moments or columns of another length.
    """
    by = np.asarray(errors, np.float64)
    if by.ndim != 1 or len(by) < len(QUARTILES) or any(len(column) != len(by) for column in columns.values()):
        raise BadRequest(
            f"{by.shape} errors and columns of {sorted({len(c) for c in columns.values()})} values cannot be split into quarters; "
            "they must be of one length, at least 4. Measure more moments."
        )
    parts = np.array_split(np.argsort(by, kind="stable"), len(QUARTILES))
    return [
        {"quartile": name, "moments": len(part), "error": float(by[part].mean())}
        | {column: float(np.asarray(values)[part].mean()) for column, values in columns.items()}
        for name, part in zip(QUARTILES, parts, strict=True)
    ]


def against_floor(errors: Float[Array, " n"], floor: float) -> dict[str, Any]:
    """An error beside the floor: `error`, `floor`, `ratio`, `below` (whether the mean is), `quartiles` (ratio of each quarter).

    Raises:
        BadRequest: for a floor that is not positive, or fewer than four moments.
    """
    if not floor > 0:
        raise BadRequest(f"the floor is {floor:g}; a variance above 0 is needed. Measure it on moments that differ.")
    rows = quartile_table(errors, {})
    mean = float(np.mean(errors))
    return {
        "error": mean,
        "floor": floor,
        "ratio": mean / floor,
        "below": mean < floor,
        "quartiles": {row["quartile"]: row["error"] / floor for row in rows},
    }


def skill(
    errors: Float[Array, " n"],
    baseline: Float[Array, " n"],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """How much smaller a predictor's error is than a baseline's on the same moments.

    Returns:
        `value`: 1 - mean error / mean error of the baseline (0: as good, negative: worse); `gain` and its `interval`: mean of
        baseline - error; `p` of the Wilcoxon signed-rank test; `better`: share of the moments.
    Raises:
        BadRequest: as `bootstrap_interval` and `wilcoxon_p`.
    """
    gain = np.asarray(baseline, np.float64) - np.asarray(errors, np.float64)
    return {
        "value": float(gain.mean() / np.mean(baseline)),
        "gain": float(gain.mean()),
        "interval": bootstrap_interval(gain, generator, resamples=resamples),
        "p": wilcoxon_p(np.asarray(errors), np.asarray(baseline)),
        "better": float((gain > 0).mean()),
    }


def plan_link(
    state_error: Float[Array, " n"], plan_error: Float[Array, " n"], gaps_m: Float[Array, " n"]
) -> dict[str, Any]:
    """Whether moments that are predicted better are also planned better: correlations, and quarters of the moments.

    Returns:
        `pearson`, `spearman` with their p values; `partial`: Spearman's given the ego-status gap (both errors grow where
        driving is hard, which alone makes them go together); `quartiles`: see `quartile_table`, with `plan_m` and `gap_m`.
    Raises:
        BadRequest: as `association`, `partial_spearman` and `quartile_table`.
    Source: "Grounding Driving VLA via Inverse Kinematics", appendix I; the partial correlation is ours.
    """
    return association(state_error, plan_error) | {
        "partial": partial_spearman(state_error, plan_error, np.asarray(gaps_m)[:, None]),
        "quartiles": quartile_table(state_error, {"plan_m": plan_error, "gap_m": gaps_m}),
    }


def _standardised(values: Array) -> Array:
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _checked(predicted: Array, true: Array) -> tuple[Array, Array]:
    said, target = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if said.shape != target.shape or said.ndim != 6 or not said.size:
        raise BadRequest(
            f"predicted states {said.shape} and true ones {target.shape}; both must be [n, state, camera, channel, h, w], at least "
            "one. Pair them first."
        )
    if not np.isfinite(said).all() or not np.isfinite(target).all():
        raise BadRequest("a visual state is not finite; all must be. Leave its moment out, and count it.")
    return said, target
