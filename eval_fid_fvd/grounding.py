"""Does a heat map look where it should? Pointing mass, average precision, IoU and F1 of the hottest fifth.

One image has four numbers; a table takes their means over images and says beside each what a map that knows nothing would
get (random level) and what a perfect map would get (ceiling). Scores are of raw maps at the mask's resolution: min-max
normalisation before it changes the pointing mass, and upsampling makes ties. A map of few cells cannot point at something
smaller than a cell: `grid_ceiling` says how well it could, and a table lists such images apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.statistics import RESAMPLES, bootstrap_indices, bootstrap_interval
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


def grounding_rows(
    heatmaps: Sequence[Float[Array, "h w"]], masks: Sequence[Bool[Array, "h w"]]
) -> dict[str, Float[Array, " n"]]:
    """Scores image by image: each of METRICS, and `area` (the object's share of the image).

    Raises:
        BadRequest: for unequal numbers; else as `grounding_scores`.
    """
    _check_pairs(heatmaps, masks)
    scores = [grounding_scores(h, m) for h, m in zip(heatmaps, masks, strict=True)]
    rows = {name: np.array([one[name] for one in scores], np.float64) for name in METRICS}
    return rows | {"area": np.array([np.asarray(mask, bool).mean() for mask in masks], np.float64)}


def pointing_ratio(
    pm: Float[Array, " n"], area: Float[Array, " n"], generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """How often as much of the map lies on the object as its area alone gives: mean pointing mass over mean area share.

    A ratio of means, for the mean of ratios is what the tiniest object makes of it. For a paired difference of two planners
    on the same images give the difference of their pointing masses.

    Returns:
        `value`, and `interval` (95 % bootstrap over images; None for a single one).
    Raises:
        BadRequest: for unequal lengths, no image, or an image without the object.
    """
    mass, share = np.asarray(pm, np.float64), np.asarray(area, np.float64)
    if mass.shape != share.shape or mass.ndim != 1 or not len(mass) or not (share > 0).all():
        raise BadRequest(
            f"a pointing ratio needs one mass and one positive area share per image; got {mass.shape} and {share.shape}. Leave "
            "images without the object out, and count them."
        )
    value = float(mass.mean() / share.mean())
    if len(mass) == 1:
        return {"value": value, "interval": None}
    rows = bootstrap_indices(len(mass), resamples, generator)
    low, high = np.quantile(mass[rows].mean(axis=1) / share[rows].mean(axis=1), [0.025, 0.975])
    return {"value": value, "interval": (float(low), float(high))}


def upsampled(maps: Float[Array, "*b h w"], height: int, width: int) -> Float[Array, "*b height width"]:
    """Maps of cells at the size of pictures, bilinear between the cells' middles, float64; never beyond a map's own range."""
    values = np.asarray(maps, np.float64)
    return np.asarray(_spread(values.shape[-2], height) @ values @ _spread(values.shape[-1], width).T)


def _spread(cells: int, pixels: int) -> Float[Array, "pixels cells"]:
    """How much of each cell every pixel has, along one axis; the outermost half cells are flat."""
    place = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    return np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(cells)))


def grid_ceiling(mask: Bool[Array, "h w"], rows: int, columns: int) -> float:
    """The largest pointing mass that a map of `rows` x `columns` cells, upsampled, can have: all its heat in its best cell.

    Raises:
        BadRequest: as `grounding_scores`; for a grid finer than the picture.
    """
    inside, whole = cell_shares(mask, rows, columns)
    return float((inside / whole).max())


def cell_shares(
    mask: Bool[Array, "h w"], rows: int, columns: int
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows columns"]]:
    """How many pixels' worth of each cell's upsampled heat lies on the object, and in the whole picture.

    The pointing mass of an upsampled map without negative cells is the sum of cells times the first over that of cells
    times the second.

    Raises:
        BadRequest: as `grounding_scores`; for a grid finer than the picture.
    """
    inside = _checked_mask(mask).astype(np.float64)
    if not (1 <= rows <= inside.shape[0] and 1 <= columns <= inside.shape[1]):
        raise BadRequest(
            f"a grid of {rows} x {columns} cells on a picture of {inside.shape}; cells must be a pixel or more. Take the planner's grid."
        )
    up, across = _spread(rows, inside.shape[0]), _spread(columns, inside.shape[1])
    return up.T @ inside @ across, np.outer(up.sum(axis=0), across.sum(axis=0))


def grounding_table(
    heatmaps: Sequence[Float[Array, "h w"]],
    masks: Sequence[Bool[Array, "h w"]],
    generator: np.random.Generator,
    *,
    grid: tuple[int, int] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Mean grounding scores over images, with everything that is needed to read them.

    Args:
        heatmaps, masks: One of each per image; sizes may differ between images.
        generator: Draws the images of the bootstrap.
        grid: Rows and columns of the maps before they were upsampled, if they were.
    Returns:
        Per metric a dict of `value` (mean over images of the image's score), `interval` (95 % bootstrap over images; None
        for a single image), `random` and `ceiling` (means over the same images) and `share_of_ceiling` (value / ceiling);
        `pm_over_area` as `pointing_ratio`; and `images` scored, `empty_masks` left out, `zero_maps` (share of maps without
        positive part; their `pm` is 0), `area_share` (mean share of the object) and `tied` (share of images whose selection
        cuts through equal values). With a grid also `grid_ceiling` (mean of what its pointing mass could be) and `sizes`:
        `pm_over_area` and number of images of objects `smaller` than a cell and of the `larger` ones, where there are any.
    Raises:
        BadRequest: for unequal numbers, or where no mask has a pixel; else as `grounding_scores`.
    """
    _check_pairs(heatmaps, masks)
    pairs = [(h, m) for h, m in zip(heatmaps, masks, strict=True) if np.any(np.asarray(m))]
    if not pairs:
        raise BadRequest(
            f"none of {len(masks)} masks has a pixel; at least one is needed. Score images with the object."
        )
    rows = grounding_rows([h for h, _ in pairs], [m for _, m in pairs])
    random, best = ([level(m) for _, m in pairs] for level in (random_levels, ceilings))
    table: dict[str, Any] = {}
    for name in METRICS:
        value, ceiling = float(rows[name].mean()), float(np.mean([one[name] for one in best]))
        interval = bootstrap_interval(rows[name], generator, resamples=resamples) if len(pairs) > 1 else None
        table[name] = {
            "value": value,
            "interval": interval,
            "random": float(np.mean([one[name] for one in random])),
            "ceiling": ceiling,
            "share_of_ceiling": value / ceiling,
        }
    table["pm_over_area"] = pointing_ratio(rows["pm"], rows["area"], generator, resamples=resamples)
    return (
        table
        | {
            "images": len(pairs),
            "empty_masks": len(masks) - len(pairs),
            "zero_maps": float(np.mean([not (np.asarray(h) > 0).any() for h, _ in pairs])),
            "area_share": float(rows["area"].mean()),
            "tied": float(np.mean([_cuts_a_tie(np.asarray(h, np.float64).ravel()) for h, _ in pairs])),
        }
        | ({} if grid is None else _of_grid(rows, [m for _, m in pairs], grid, generator, resamples))
    )


def _of_grid(
    rows: Mapping[str, Array],
    masks: Sequence[Array],
    grid: tuple[int, int],
    generator: np.random.Generator,
    resamples: int,
) -> dict[str, Any]:
    """What a map of few cells could reach, and the images whose object is smaller than a cell apart from the others."""
    small = rows["area"] < 1 / (grid[0] * grid[1])
    sizes = {
        name: pointing_ratio(rows["pm"][which], rows["area"][which], generator, resamples=resamples)
        | {"images": int(which.sum())}
        for name, which in (("smaller", small), ("larger", ~small))
        if which.any()
    }
    return {"grid_ceiling": float(np.mean([grid_ceiling(mask, *grid) for mask in masks])), "sizes": sizes}


def _check_pairs(heatmaps: Sequence[Array], masks: Sequence[Array]) -> None:
    if len(heatmaps) != len(masks):
        raise BadRequest(f"{len(heatmaps)} maps and {len(masks)} masks; they must be pairs. Pair them.")


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
