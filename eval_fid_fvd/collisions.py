"""Does a plan run into somebody? The published raster count, and a correct one beside it under its own name.

Points are in the published frame (x right, y forward, metres) at 0.5, 1.0, ... 3.0 s. Headings are counter-clockwise
from straight ahead, in both frames the same number. Rates are shares of samples, 0 to 1 (tables print percent).

The published count (UniAD and ST-P3, `obj_box_col`) is kept as it is, to be comparable: it never turns the ego, knows no
heading, and forgives each step at which even the driven path is counted as a collision, while the sample stays in the denominator.
`box_collision_rates` does what one would expect: the ego turns with the plan, boxes are boxes, nobody is forgiven.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.footprints import corners, rectangles_meet
from worldmodel.clips import Box
from worldmodel.errors import BadRequest

Array = np.ndarray
COLUMN_STEPS = (1, 3, 5)  # 0-based steps at 1, 2 and 3 s
CELLS, CELL_M = 200, 0.5
ROWS, COLUMNS = np.meshgrid(np.arange(97, 105), np.arange(98, 102), indexing="ij")  # the ego's 32 cells at the origin
EDGE_M = -CELLS * CELL_M / 2
# As nuScenes, whose 'vehicle' is what the published raster holds: two-wheelers too, nobody on foot.
VEHICLE_WORDS = {
    "car", "van", "truck", "lorry", "bus", "coach", "tram", "trailer", "vehicle", "motorcycle", "motorbike", "bicycle",
    "bike", "cyclist", "scooter",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EgoBox:
    """The ego's rectangle: length, width, and how far its middle is ahead of the point that is planned."""

    length_m: float
    width_m: float
    ahead_m: float


PUBLISHED_EGO = EgoBox(length_m=4.084, width_m=1.85, ahead_m=0.5)


def collision_rates(
    pred: Float[Array, "b 6 2"], truth: Float[Array, "b 6 2"], occupancy: Bool[Array, "b 6 200 200"]
) -> dict[str, list[float] | float]:
    """The published collision rates of plans, under both conventions.

    The ego is 4.084 x 1.85 m with its middle 0.5 m ahead: cells 97..104 (rows) x 98..101 (columns) at the origin, moved by
    trunc(p / 0.5 + cell), towards zero, cells beyond the raster moved to its edge. Steps at which the driven path is counted as
    a collision count as none; the denominator stays the number of samples.

    Args:
        pred: Planned positions, x right, y forward.
        truth: Driven positions.
        occupancy: True where others are; rows forward from -50 m, columns to the right from -50 m, 0.5 m cells.
    Returns:
        `uniad`: the rate AT 1, 2 and 3 s; `stp3`: the mean rate of the steps UP TO 1, 2 and 3 s (no any-collision rate); and
        `uniad_avg`, `stp3_avg`: means of the three columns.
    Raises:
        BadRequest: for other shapes, no samples, or positions that are not finite.
    Source: `evaluate_single_coll` and `evaluate_coll` of UniAD's `planning_metrics.py` and ST-P3's `metrics.py`. ST-P3 mirrors
        x before it looks into its raster, UniAD does not; mirror x for a raster made by ST-P3's code.
    """
    p, t, taken = np.asarray(pred, np.float64), np.asarray(truth, np.float64), _checked_occupancy(occupancy)
    if p.ndim != 3 or p.shape[1:] != (6, 2) or t.shape != p.shape or taken.shape[:1] != p.shape[:1] or not len(p):
        raise BadRequest(
            f"collision rates: got pred {p.shape}, truth {t.shape}, occupancy {taken.shape}; they need [b, 6, 2], [b, 6, 2] and "
            "[b, 6, 200, 200] at 0.5 s steps. Resample the plans first (`published_points`)."
        )
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise BadRequest(
            "collision rates: a position is not finite; all must be, of plans and of what was driven. Leave samples without a "
            "known 3 s out, and count them."
        )
    excused = raster_hits(t, taken)
    return _columns(raster_hits(p, taken) & ~excused)


def raster_hits(points: Float[Array, "b t 2"], occupancy: Bool[Array, "b t 200 200"]) -> Bool[Array, "b t"]:
    """Whether the unturned ego covers an occupied cell, per sample and step."""
    x, y = points[..., 0, None, None], points[..., 1, None, None]
    row = np.clip(np.trunc(y / CELL_M + ROWS), 0, CELLS - 1).astype(int)
    column = np.clip(np.trunc(x / CELL_M + COLUMNS), 0, CELLS - 1).astype(int)
    sample, step = np.ogrid[: points.shape[0], : points.shape[1]]
    return np.asarray(occupancy[sample[..., None, None], step[..., None, None], row, column].any(axis=(-2, -1)))


def box_collision_rates(
    poses: Float[Array, "b 6 3"],
    boxes: Sequence[Sequence[Float[Array, "n 5"]]],
    *,
    ego: EgoBox = PUBLISHED_EGO,
) -> dict[str, list[float] | float]:
    """Collision rates without the published shortcuts: turned rectangles, everybody counted, nothing forgiven.

    Args:
        poses: Planned x right, y forward and heading at 0.5, 1.0, ... 3.0 s (`headings_along` makes headings of points).
        boxes: Per sample and step everybody there, pedestrians too, rows of x, y, heading, length, width in the same frame.
        ego: The driving car.
    Returns:
        `at`: share of samples with a collision AT 1, 2 and 3 s; `within`: with any at the steps UP TO 1, 2 and 3 s (never
        falling); `at_avg`, `within_avg`: means of the columns.
    Raises:
        BadRequest: for other shapes, no samples, or numbers that are not finite.
    """
    p = np.asarray(poses, np.float64)
    if p.ndim != 3 or p.shape[1:] != (6, 3) or not len(p) or [len(steps) for steps in boxes] != [6] * len(p):
        raise BadRequest(
            f"box collision rates: got poses {p.shape} and boxes of {len(boxes)} samples; they need [b, 6, 3] and, for each of b "
            "samples, 6 steps of boxes. Add headings with `headings_along`."
        )
    hit = np.array(
        [[_meets(pose, others, ego) for pose, others in zip(*one, strict=True)] for one in zip(p, boxes, strict=True)]
    )
    so_far = np.logical_or.accumulate(hit, axis=1)
    at, within = ([float(rows[:, step].mean()) for step in COLUMN_STEPS] for rows in (hit, so_far))
    return {"at": at, "at_avg": float(np.mean(at)), "within": within, "within_avg": float(np.mean(within))}


def headings_along(points: Float[Array, "*n t 2"], *, least_m: float = 0.1) -> Float[Array, "*n t"]:
    """Headings of paths that start at the origin straight ahead, from where each step leads, radians, x right, y forward.

    Steps shorter than `least_m` keep the heading before them, so that standing cars do not spin.
    """
    p = np.asarray(points, np.float64)
    steps = np.diff(p, axis=-2, prepend=np.zeros_like(p[..., :1, :]))
    heading = np.arctan2(-steps[..., 0], steps[..., 1])
    moved = np.linalg.norm(steps, axis=-1) >= least_m
    latest = np.maximum.accumulate(np.where(moved, np.arange(p.shape[-2]), -1), axis=-1)
    kept = np.take_along_axis(heading, np.maximum(latest, 0), axis=-1)
    return np.where(latest >= 0, kept, 0.0)


def occupancy_of(boxes: Float[Array, "n 5"]) -> Bool[Array, "200 200"]:
    """The published raster of boxes: a cell is occupied where a box reaches into it.

    Args:
        boxes: Rows of x right, y forward, heading, length, width, metres and radians.
    """
    raster = np.zeros((CELLS, CELLS), bool)
    for x, y, heading, length, width in np.asarray(boxes, np.float64).reshape(-1, 5):
        reach = np.hypot(length, width) / 2
        rows, columns = (_cells(middle - reach, middle + reach) for middle in (y, x))
        middles = np.stack(np.meshgrid(_middle(rows), _middle(columns), indexing="ij"), axis=-1)
        ahead = np.concatenate(
            [middles * [1, -1], np.zeros((*middles.shape[:2], 1))], axis=-1
        )  # forward, left, heading
        box = corners(np.array([y, -x, heading]), length - 1e-9, width - 1e-9)  # a cell that is only touched is free
        raster[np.ix_(rows, columns)] |= rectangles_meet(corners(ahead, CELL_M, CELL_M), box)
    return raster


def is_vehicle(kind: str) -> bool:
    """Whether a kind of box, in whatever words a data set has, belongs into the published raster.

    >>> [is_vehicle(kind) for kind in ("car", "Medium-sized Truck", "vehicle.bicycle", "Pedestrian with Object", "cone")]
    [True, True, True, False, False]
    """
    return any({word, word.removesuffix("s")} & VEHICLE_WORDS for word in re.findall("[a-z]+", kind.lower()))


def boxes_ahead(
    boxes: Sequence[Sequence[Box]], poses: Float[Array, "t 3"], *, which: Callable[[str], bool] | None = None
) -> list[Float[Array, "n 5"]]:
    """Boxes of later frames, as arrays in the published frame of now: x right, y forward, heading, length, width.

    Args:
        boxes: Per later frame, each box in the ego frame of its own frame (as a `Clip` has them).
        poses: Where the ego was in these frames, in its frame of now (x forward, y left, heading).
        which: Says of a kind whether it counts; everybody does by default.
    """
    found = []
    for there, (x, y, yaw) in zip(boxes, np.asarray(poses, np.float64), strict=True):
        rows = [
            (
                -(y + np.sin(yaw) * b.center[0] + np.cos(yaw) * b.center[1]),
                x + np.cos(yaw) * b.center[0] - np.sin(yaw) * b.center[1],
                yaw + b.yaw_rad,
                b.size[0],
                b.size[1],
            )
            for b in there
            if which is None or which(b.kind)
        ]
        found.append(np.array(rows, np.float64).reshape(-1, 5))
    return found


def _columns(hit: Bool[Array, "b 6"]) -> dict[str, list[float] | float]:
    rate = hit.mean(axis=0)
    uniad = [float(rate[step]) for step in COLUMN_STEPS]
    stp3 = [float(rate[: step + 1].mean()) for step in COLUMN_STEPS]
    return {"uniad": uniad, "uniad_avg": float(np.mean(uniad)), "stp3": stp3, "stp3_avg": float(np.mean(stp3))}


def _meets(pose: Array, others: Array, ego: EgoBox) -> bool:
    there = np.asarray(others, np.float64)
    if there.size and (there.ndim != 2 or there.shape[1] != 5):
        raise BadRequest(
            f"boxes of a step have the shape {there.shape}; they need [n, 5]: x, y, heading, length, width."
        )
    there = there.reshape(-1, 5)
    if not (np.isfinite(pose).all() and np.isfinite(there).all()):
        raise BadRequest("a planned pose or a box is not finite; all must be. Leave the sample out, and count it.")
    middle = pose[:2] + ego.ahead_m * np.array([-np.sin(pose[2]), np.cos(pose[2])])
    own = corners(np.array([middle[1], -middle[0], pose[2]]), ego.length_m, ego.width_m)
    centres = np.stack([there[:, 1], -there[:, 0], there[:, 2]], axis=-1)
    return bool(rectangles_meet(own, corners(centres, there[:, 3], there[:, 4])).any())


def _cells(low_m: float, high_m: float) -> Array:
    first, last = (int(np.clip(np.floor((edge - EDGE_M) / CELL_M), -1, CELLS)) for edge in (low_m, high_m))
    return np.arange(max(first, 0), min(last, CELLS - 1) + 1)


def _middle(cells: Array) -> Array:
    return EDGE_M + (cells + 0.5) * CELL_M


def _checked_occupancy(occupancy: Array) -> Array:
    taken = np.asarray(occupancy)
    if taken.dtype.kind in "iu" and np.isin(taken, (0, 1)).all():
        taken = taken.astype(bool)
    if taken.dtype != np.bool_ or taken.ndim != 4 or taken.shape[1:] != (6, CELLS, CELLS):
        raise BadRequest(
            f"the occupancy is {taken.dtype} {taken.shape}; it must be bool [b, 6, {CELLS}, {CELLS}], True where somebody is. "
            "Use `occupancy > 0`."
        )
    return taken
