"""Does a heat map look where it should? Pointing mass, average precision, IoU and F1 of the hottest fifth.

One image has four numbers; a table takes their means over images and says beside each what a map that knows nothing would
get (random level) and what a perfect map would get (ceiling). Scores are of raw maps at the mask's resolution: min-max
normalisation before it changes the pointing mass, and upsampling makes ties.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.statistics import RESAMPLES, bootstrap_interval
from worldmodel.errors import BadRequest

Array = np.ndarray
TOP_PART = 5  # the hottest 1 / TOP_PART of all pixels
METRICS = ("pm", "ap", "iou_top20", "f1_top20")


def grounding_scores(heatmap: Float[Array, "h w"], mask: Bool[Array, "h w"]) -> dict[str, float]:
    """The four grounding scores of one image, each from 0 to 1.

    Args:
        heatmap: Any finite numbers, larger where the model looks; negative ones are allowed.
        mask: True on the object; at least one pixel.
    Returns:
        `pm`: share of the map's positive part that lies in the mask, 0 for a map without positive part.
        `ap`: average precision over pixels, ranked by the raw map: sum of precision times step in recall, equal values
        together (scikit-learn's `average_precision_score`; the trapezoid rule flatters constant maps).
        `iou_top20`, `f1_top20`: of the mask with exactly K = h * w // 5 hottest pixels; of equally hot ones those that come
        first in reading order (rows from the top, each from the left).
    Raises:
        BadRequest: for shapes that differ, fewer than 5 pixels, an empty mask, or values that are not finite.
    """
    heat, inside = _checked(heatmap, mask)
    order = np.argsort(-heat, kind="stable")
    chosen = order[: len(heat) // TOP_PART]
    top, size, wanted = int(inside[chosen].sum()), len(chosen), int(inside.sum())
    return {
        "pm": pointing_mass(heat, inside),
        "ap": _average_precision(heat[order], inside[order]),
        "iou_top20": top / (size + wanted - top),
        "f1_top20": 2 * top / (size + wanted),
    }


def pointing_mass(heat: Float[Array, " n"], inside: Bool[Array, " n"]) -> float:
    """Share of the positive part of the map that lies inside; 0 where there is no positive part."""
    positive = np.maximum(heat, 0.0)
    peak = positive.max()
    if peak == 0:
        return 0.0
    positive = positive / peak  # so that sums of huge values stay finite
    return float(positive[inside].sum() / positive.sum())


def _average_precision(heat: Array, inside: Array) -> float:
    """Step-wise average precision of values in falling order."""
    last = np.append(np.flatnonzero(np.diff(heat)), len(heat) - 1)  # of each run of equal values
    found = np.cumsum(inside)[last]
    recall = found / found[-1]
    return float((np.diff(recall, prepend=0.0) * found / (last + 1)).sum())


def random_levels(mask: Bool[Array, "h w"]) -> dict[str, float]:
    """What a map that knows nothing gets on average: the object's share p of the image for `pm` and `ap`.

    IoU and F1 are those of a selection that holds the share p of the object, k p / (k + p - k p) and 2 k p / (k + p) with k the
    selected share of all pixels (about 0.2).

    Raises:
        BadRequest: as `grounding_scores`.
    """
    p, k = _shares(mask)
    return {"pm": p, "ap": p, "iou_top20": k * p / (k + p - k * p), "f1_top20": 2 * k * p / (k + p)}


def ceilings(mask: Bool[Array, "h w"]) -> dict[str, float]:
    """What a perfect map gets: 1 for `pm` and `ap`; less for a selection of a fixed size that the object does not have.

    With an object of 1.3 % of the image, no map has an IoU above 0.065.

    Raises:
        BadRequest: as `grounding_scores`.
    """
    p, k = _shares(mask)
    return {"pm": 1.0, "ap": 1.0, "iou_top20": min(p, k) / max(p, k), "f1_top20": 2 * min(p, k) / (p + k)}


def grounding_table(
    heatmaps: Sequence[Float[Array, "h w"]],
    masks: Sequence[Bool[Array, "h w"]],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Mean grounding scores over images, with everything that is needed to read them.

    Args:
        heatmaps, masks: One of each per image; sizes may differ between images.
        generator: Draws the images of the bootstrap.
    Returns:
        Per metric a dict of `value` (mean over images of the image's score), `interval` (95 % bootstrap over images; None
        for a single image), `random` and `ceiling` (means over the same images) and `share_of_ceiling` (value / ceiling); and
        `images` scored, `empty_masks` left out, `zero_maps` (share of maps without positive part; their `pm` is 0),
        `area_share` (mean share of the object) and `tied` (share of images whose selection cuts through equal values).
    Raises:
        BadRequest: for unequal numbers, or where no mask has a pixel; else as `grounding_scores`.
    """
    if len(heatmaps) != len(masks):
        raise BadRequest(f"{len(heatmaps)} maps and {len(masks)} masks; they must be pairs. Pair them.")
    pairs = [(h, m) for h, m in zip(heatmaps, masks, strict=True) if np.any(np.asarray(m))]
    if not pairs:
        raise BadRequest(
            f"none of {len(masks)} masks has a pixel; at least one is needed. Score images with the object."
        )
    scores, random, best = (
        {name: np.array([one[name] for one in rows], np.float64) for name in METRICS}
        for rows in (
            [grounding_scores(h, m) for h, m in pairs],
            [random_levels(m) for _, m in pairs],
            [ceilings(m) for _, m in pairs],
        )
    )
    table: dict[str, Any] = {}
    for name in METRICS:
        value, ceiling = float(scores[name].mean()), float(best[name].mean())
        interval = bootstrap_interval(scores[name], generator, resamples=resamples) if len(pairs) > 1 else None
        table[name] = {
            "value": value,
            "interval": interval,
            "random": float(random[name].mean()),
            "ceiling": ceiling,
            "share_of_ceiling": value / ceiling,
        }
    return table | {
        "images": len(pairs),
        "empty_masks": len(masks) - len(pairs),
        "zero_maps": float(np.mean([not (np.asarray(h) > 0).any() for h, _ in pairs])),
        "area_share": float(random["pm"].mean()),
        "tied": float(np.mean([_cuts_a_tie(np.asarray(h, np.float64).ravel()) for h, _ in pairs])),
    }


def _cuts_a_tie(heat: Array) -> bool:
    falling, size = np.sort(heat)[::-1], len(heat) // TOP_PART
    return bool(falling[size - 1] == falling[size])


def _shares(mask: Array) -> tuple[float, float]:
    """Of all pixels, the object's share and the selection's."""
    inside = _checked_mask(mask).ravel()
    return float(inside.mean()), (len(inside) // TOP_PART) / len(inside)


def _checked_mask(mask: Array) -> Array:
    inside = np.asarray(mask)
    if inside.dtype.kind in "iu" and np.isin(inside, (0, 1)).all():
        inside = inside.astype(bool)
    if inside.dtype != np.bool_:
        raise BadRequest(f"the mask is {inside.dtype}; it must be bool, True on the object. Use `mask > 0`.")
    if inside.ndim != 2 or inside.size < TOP_PART:
        raise BadRequest(
            f"the mask has the shape {inside.shape}; it must be [h, w] with at least {TOP_PART} pixels. Reshape it."
        )
    if not inside.any():
        raise BadRequest("the mask is empty: nothing to look at; it needs a pixel. Leave the image out, and count it.")
    return inside


def _checked(heatmap: Array, mask: Array) -> tuple[Array, Array]:
    heat, inside = np.asarray(heatmap, np.float64), _checked_mask(mask)
    if heat.shape != inside.shape:
        raise BadRequest(
            f"a map {heat.shape} and a mask {inside.shape}: they must be of one size. Upsample the map once."
        )
    if not np.isfinite(heat).all():
        bad = int((~np.isfinite(heat)).sum())
        raise BadRequest(
            f"the map has {bad} values that are not finite; all must be. Leave the image out, and count it."
        )
    return heat.ravel(), inside.ravel()
