"""How far is a plan from what was driven? Displacement errors under the published conventions, and our own types.

The functions on arrays take any one frame of reference for both sides; published planning tables use x right,
y forward at 0.5 s steps, and `right_forward` / `forward_left` convert from and to ours (x forward, y left).
The two conventions below give different numbers for the same plans and never belong into one table:

- UniAD: the error AT 1, 2 and 3 s; masked steps count as 0 and stay in the denominator.
- ST-P3 (and VAD): the mean of the steps UP TO 1, 2 and 3 s; only samples whose whole 3 s are valid.

Collision rates are in `collisions`, and reached from here.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from eval_fid_fvd.collisions import COLUMN_STEPS, box_collision_rates, collision_rates, headings_along, occupancy_of
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion, Trajectory

Array = np.ndarray
PUBLISHED_TIMES_S = np.arange(1, 7) * 0.5
MISS_M = 2.0
DECISION_PARTS = ("lateral", "longitudinal")
__all__ = [
    "COLUMN_STEPS", "MISS_M", "PUBLISHED_TIMES_S", "ade_fde", "box_collision_rates", "collision_rates",
    "decision_accuracy", "displacement_errors", "forward_left", "headings_along", "min_ade_fde", "motion_correlation",
    "occupancy_of", "pearson", "published_points", "published_poses", "right_forward",
]  # fmt: skip


def right_forward(points: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
    """Points of our ego frame (x forward, y left) in the published one (x right, y forward), metres."""
    ours = np.asarray(points, np.float64)
    return np.stack([-ours[..., 1], ours[..., 0]], axis=-1)


def forward_left(points: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
    """Points of the published frame (x right, y forward) in ours (x forward, y left), metres."""
    theirs = np.asarray(points, np.float64)
    return np.stack([theirs[..., 1], -theirs[..., 0]], axis=-1)


def published_points(trajectory: Trajectory) -> Float[Array, "6 2"]:
    """Positions of our trajectory at 0.5, 1.0, ... 3.0 s in the published frame, metres.

    Raises:
        BadMotion: if the trajectory does not cover these times.
    """
    return published_poses(trajectory)[:, :2]


def published_poses(trajectory: Trajectory) -> Float[Array, "6 3"]:
    """`published_points` with the heading, counter-clockwise from straight ahead (the same number in both frames), radians."""
    poses = trajectory.resampled(PUBLISHED_TIMES_S).poses
    return np.concatenate([right_forward(poses[:, :2]), poses[:, 2:]], axis=-1)


def displacement_errors(
    pred: Float[Array, "b 6 2"], truth: Float[Array, "b 6 2"], mask: Bool[Array, "b 6"]
) -> dict[str, list[float] | float]:
    """L2 planning errors in metres under both published conventions.

    Args:
        pred: Planned positions at 0.5, 1.0, ... 3.0 s.
        truth: Driven positions at the same times.
        mask: True where the driven position is known; values elsewhere are never read.
    Returns:
        `uniad` and `stp3`: three columns (1, 2, 3 s); `uniad_avg` and `stp3_avg`: the mean of the columns. The ST-P3
        numbers are NaN when no sample is valid throughout.
    Raises:
        BadRequest: for other shapes, no samples, or valid positions that are not finite.
    Source: UniAD `planning_metrics.py` and ST-P3 `metrics.py`, as published.
    """
    p, t = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    valid = _checked_mask(mask)
    if p.ndim != 3 or p.shape[1:] != (6, 2) or t.shape != p.shape or valid.shape != p.shape[:2] or not len(p):
        raise BadRequest(
            f"displacement errors: got pred {p.shape}, truth {t.shape}, mask {valid.shape}; they need [b, 6, 2], "
            "[b, 6, 2] and [b, 6] at 0.5 s steps. Resample the plans first (`published_points`)."
        )
    error = _distances(p, t, valid)
    uniad = [float(error[:, step].mean()) for step in COLUMN_STEPS]
    whole = error[valid.all(axis=1)]
    stp3 = [float(whole[:, : step + 1].mean()) if len(whole) else float("nan") for step in COLUMN_STEPS]
    return {"uniad": uniad, "uniad_avg": float(np.mean(uniad)), "stp3": stp3, "stp3_avg": float(np.mean(stp3))}


def min_ade_fde(
    pred: Float[Array, "b k t 2"], truth: Float[Array, "b t 2"], valid: Bool[Array, "b t"]
) -> dict[str, float]:
    """Best-of-k errors: the minimum over the k answers is taken for each number separately.

    Args:
        pred: k answers per sample.
        truth: What was driven.
        valid: True where the truth is known; samples without any known step are left out.
    Returns:
        `min_ade`: mean over samples of the smallest mean error over valid steps, metres; `min_fde`: the smallest error
        at the last valid step; `miss_rate_2m`: share of samples whose `min_fde` exceeds 2 m.
    Raises:
        BadRequest: for other shapes, no valid step at all, or valid positions that are not finite.
    """
    p, t, known = np.asarray(pred, np.float64), np.asarray(truth, np.float64), _checked_mask(valid)
    shaped = p.ndim == 4 and p.shape[3] == 2 and t.shape == (p.shape[0], *p.shape[2:]) and known.shape == t.shape[:2]
    if not shaped or not p.size:
        raise BadRequest(
            f"best-of-k errors: got pred {p.shape}, truth {t.shape}, valid {known.shape}; they need [b, k, t, 2], "
            "[b, t, 2] and [b, t]. Add an axis for k = 1."
        )
    used = known.any(axis=1)
    if not used.any():
        raise BadRequest("best-of-k errors: no sample has a valid step; at least one is needed. Check the mask.")
    p, t, known = p[used], t[used], known[used]
    error = _distances(p, t[:, None], np.broadcast_to(known[:, None], p.shape[:3]))
    ade = error.sum(axis=2) / known.sum(axis=1)[:, None]
    last = known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    fde = np.take_along_axis(error, last[:, None, None], axis=2)[:, :, 0].min(axis=1)
    return {
        "min_ade": float(ade.min(axis=1).mean()),
        "min_fde": float(fde.mean()),
        "miss_rate_2m": float((fde > MISS_M).mean()),
    }


def ade_fde(pred: Trajectory, truth: Trajectory) -> dict[str, float]:
    """Mean and last position error of one trajectory, metres: `ade_m` and `fde_m`.

    Both trajectories start from the same pose at time 0; the errors are taken at the times of `pred` after 0 (the
    start has no error by definition and would only dilute the mean), the truth being interpolated to them.

    Raises:
        BadMotion: if the truth does not cover these times; nothing is extrapolated.
        BadRequest: if `pred` has no time after 0.
    """
    times = pred.times_s[pred.times_s > 1e-9]
    if not len(times):
        raise BadRequest("the predicted trajectory has no pose after time 0; an error needs at least one. Plan ahead.")
    offset = pred.resampled(times).poses[:, :2] - truth.resampled(times).poses[:, :2]
    error = np.linalg.norm(offset, axis=1)
    return {"ade_m": float(error.mean()), "fde_m": float(error[-1])}


def decision_accuracy(
    pred: Mapping[str, Shaped[Array, "b h"]], truth: Mapping[str, Shaped[Array, "b h"]]
) -> dict[str, list[float] | int]:
    """How often plans decide as the driver did, per horizon (1, 2, 3 s for `worldmodel.decisions.decide_all`).

    Args:
        pred: `lateral` and `longitudinal` decisions as any labels (words, numbers), one row per sample.
        truth: The same of what was driven.
    Returns:
        `lateral`, `longitudinal` and `joint` (both right at once): share of samples per horizon; the same names with
        `_majority`: what always giving the commonest answer would get (most of driving is straight on); `samples`.
    Raises:
        BadRequest: for missing parts, other shapes, or no samples.
    """
    theirs, ours = ({part: np.asarray(side.get(part)) for part in DECISION_PARTS} for side in (pred, truth))
    shapes = {values.shape for side in (theirs, ours) for values in side.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or not all(next(iter(shapes))):
        raise BadRequest(
            f"decisions have the shapes {sorted(map(str, shapes))}; 'lateral' and 'longitudinal' of plans and truth must all be "
            "[b, h], at least one sample. Pair the samples."
        )
    right = {part: theirs[part] == ours[part] for part in DECISION_PARTS}
    right["joint"] = right["lateral"] & right["longitudinal"]
    both = np.char.add(np.char.add(ours["lateral"].astype(str), "|"), ours["longitudinal"].astype(str))
    found: dict[str, list[float] | int] = {part: [float(x) for x in row.mean(axis=0)] for part, row in right.items()}
    for part, labels in (ours | {"joint": both}).items():
        found[f"{part}_majority"] = [
            float(np.unique(column, return_counts=True)[1].max() / len(column)) for column in labels.T
        ]
    return found | {"samples": len(both)}


def pearson(a: Float[Array, " n"], b: Float[Array, " n"]) -> float:
    """Pearson correlation of two lists; NaN when one of them is constant (then it is not defined).

    Raises:
        BadRequest: for unequal lengths, fewer than two values, or values that are not finite.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2 or not np.isfinite(x).all() or not np.isfinite(y).all():
        raise BadRequest(
            f"a correlation needs two equally long lists of at least two finite values; got {x.shape} and {y.shape}. "
            "Pair the values first."
        )
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    return float(np.clip(x @ y, -1, 1))


def motion_correlation(read_back: list[Motion], commanded: list[Motion]) -> dict[str, float]:
    """Pearson correlation of `speed` and `yaw_rate` over all steps of paired motions (read back against commanded).

    Raises:
        BadRequest: for unequal numbers of motions or steps.
    """
    if len(read_back) != len(commanded) or [len(m) for m in read_back] != [len(m) for m in commanded]:
        raise BadRequest(
            f"{len(read_back)} motions read back and {len(commanded)} commanded, or unequal steps; they must be pairs "
            "of equal length. Cut them to the same steps first."
        )
    speeds, rates = (
        [np.concatenate([getattr(m, name) for m in side] or [np.zeros(0)]) for side in (read_back, commanded)]
        for name in ("speeds_mps", "yaw_rates_radps")
    )
    return {"speed": pearson(*speeds), "yaw_rate": pearson(*rates)}


def _distances(pred: Array, truth: Array, valid: Array) -> Array:
    """Euclidean distance where valid, 0 elsewhere (whatever stands there, NaN included)."""
    offset = np.where(valid[..., None], pred - truth, 0.0)
    if not np.isfinite(offset).all():
        where = np.argwhere(~np.isfinite(offset))[0].tolist()
        raise BadRequest(
            f"a valid position is not finite at index {where}; every valid one must be. Mask it or repair the plan."
        )
    return np.asarray(np.linalg.norm(offset, axis=-1))


def _checked_mask(mask: Array) -> Array:
    known = np.asarray(mask)
    if known.dtype != np.bool_:
        raise BadRequest(f"the mask is {known.dtype}; it must be bool, True where valid. Use `mask > 0`.")
    return known
