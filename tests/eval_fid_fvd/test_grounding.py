"""Grounding scores of hand-made maps, and against naive loops and scikit-learn."""

import numpy as np
import pytest

from eval_fid_fvd.grounding import (
    ceilings,
    grid_ceiling,
    grounding_rows,
    grounding_scores,
    grounding_table,
    pointing_ratio,
    random_levels,
    upsampled,
)
from worldmodel.errors import BadRequest


def a_mask(shape=(10, 10), rows=slice(2, 4), columns=slice(3, 8)):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def naive(heatmap, mask):
    """Definitions as loops over pixels and thresholds."""
    heat, inside = [float(x) for x in np.ravel(heatmap)], [bool(x) for x in np.ravel(mask)]
    positive = [max(x, 0.0) for x in heat]
    mass = sum(p for p, m in zip(positive, inside, strict=True) if m)
    ap, recall = 0.0, 0.0
    for threshold in sorted(set(heat), reverse=True):
        taken = [m for x, m in zip(heat, inside, strict=True) if x >= threshold]
        precision, now = sum(taken) / len(taken), sum(taken) / sum(inside)
        ap, recall = ap + (now - recall) * precision, now
    k = len(heat) // 5
    chosen = sorted(range(len(heat)), key=lambda i: (-heat[i], i))[:k]
    hit = sum(inside[i] for i in chosen)
    return {
        "pm": mass / sum(positive) if sum(positive) > 0 else 0.0,
        "ap": ap,
        "iou_top20": hit / (k + sum(inside) - hit),
        "f1_top20": 2 * hit / (k + sum(inside)),
    }


def pairs(rng, kind):
    """A map of each of several shapes, and a mask for it."""
    for shape in ((10, 10), (7, 9), (1, 5)):
        heat = rng.normal(size=shape)
        if kind == "relu":
            heat = np.maximum(heat, 0)
        if kind == "blocks":
            heat = np.repeat(heat, 2, axis=1)[:, : shape[1]]
        if kind == "integers":
            heat = rng.integers(0, 4, shape).astype(np.uint8)
        if kind == "float32":
            heat = heat.astype(np.float32)
        if kind == "constant":
            heat = np.full(shape, -1.5)
        mask = rng.random(shape) < 0.3
        mask.flat[0] = True
        yield heat, mask


KINDS = ("normal", "relu", "blocks", "integers", "float32", "constant")


@pytest.mark.parametrize("kind", KINDS)
def test_scores_agree_with_loops(rng, kind: str) -> None:
    for heat, mask in pairs(rng, kind):
        assert grounding_scores(heat, mask) == pytest.approx(naive(heat, mask), abs=1e-12)
        assert grounding_scores(heat.tolist(), mask.tolist()) == grounding_scores(heat, mask)


@pytest.mark.slow  # importing scikit-learn takes seconds
@pytest.mark.parametrize("kind", KINDS)
def test_average_precision_is_scikit_learns(rng, kind: str) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    for heat, mask in pairs(rng, kind):
        expected = sklearn.average_precision_score(mask.ravel(), heat.ravel())
        assert grounding_scores(heat, mask)["ap"] == pytest.approx(expected, abs=1e-12)


def test_a_perfect_map_reaches_the_ceiling() -> None:
    for mask in (a_mask(), a_mask(rows=slice(0, 8)), a_mask(rows=slice(0, 4), columns=slice(0, 5))):
        assert grounding_scores(mask.astype(float), mask) == pytest.approx(ceilings(mask))
    assert ceilings(a_mask())["iou_top20"] == pytest.approx(0.1 / 0.2)


def test_pointing_mass_is_of_the_positive_part_alone() -> None:
    heat = np.where(a_mask(), 1.0, -5.0)
    heat[9, 9] = 10.0
    assert grounding_scores(heat, a_mask())["pm"] == pytest.approx(10 / 20)


def test_a_map_without_positive_part_points_nowhere_but_still_ranks() -> None:
    heat = np.where(a_mask(), -1.0, -2.0)
    found = grounding_scores(heat, a_mask())
    assert found["pm"] == 0
    assert found["ap"] == 1


def test_a_constant_map_has_the_prevalence_as_precision() -> None:
    found = grounding_scores(np.ones((10, 10)), a_mask())
    assert found["ap"] == pytest.approx(0.1)  # the trapezoid rule would say 0.55
    assert found["pm"] == pytest.approx(0.1)


def test_exactly_a_fifth_is_selected_even_among_equals() -> None:
    mask = a_mask()
    heat = np.zeros((10, 10))
    heat[2, 3:8] = 1.0  # 5 pixels are hot, 95 equal; ">= quantile" would select all 100
    found = grounding_scores(heat[::-1], mask[::-1])
    assert found["iou_top20"] == pytest.approx(5 / (20 + 10 - 5))
    assert grounding_scores(heat[:, :9], mask[:, :9])["f1_top20"] == pytest.approx(2 * 5 / (18 + 10))


def test_scale_and_shared_flips_change_nothing(rng) -> None:
    heat, mask = rng.normal(size=(12, 11)), a_mask((12, 11))
    one = grounding_scores(heat, mask)
    for other in (grounding_scores(3e200 * heat, mask), grounding_scores(heat[::-1], mask[::-1])):
        assert other == pytest.approx(one, abs=1e-12)
    moved = grounding_scores(heat + 100, mask)
    assert (moved["ap"], moved["iou_top20"]) == pytest.approx((one["ap"], one["iou_top20"]))


def test_random_levels_are_what_noise_gets(rng) -> None:
    mask = a_mask((40, 50), slice(3, 15), slice(10, 40))
    noise = [grounding_scores(rng.random((40, 50)), mask) for _ in range(300)]
    for name, level in random_levels(mask).items():
        assert np.mean([one[name] for one in noise]) == pytest.approx(level, abs=0.004)


def test_a_table_says_what_is_needed_to_read_it(rng) -> None:
    masks = [a_mask(), a_mask(columns=slice(0, 5)), a_mask(), np.zeros((10, 10), bool)]
    heats = [rng.normal(size=(10, 10)), masks[1].astype(float), -np.ones((10, 10)), rng.normal(size=(10, 10))]
    table = grounding_table(heats, masks, np.random.default_rng(0), resamples=200)
    scores = [grounding_scores(h, m) for h, m in zip(heats[:3], masks[:3], strict=True)]
    for name in ("pm", "ap", "iou_top20", "f1_top20"):
        row = table[name]
        assert row["value"] == pytest.approx(np.mean([one[name] for one in scores]))
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
        assert row["random"] == pytest.approx(random_levels(masks[0])[name])
        assert row["share_of_ceiling"] == pytest.approx(row["value"] / row["ceiling"])
    assert (table["images"], table["empty_masks"]) == (3, 1)
    assert table["zero_maps"] == pytest.approx(1 / 3)
    assert table["tied"] == pytest.approx(2 / 3)
    assert table["area_share"] == pytest.approx(0.1)
    again = grounding_table(heats, masks, np.random.default_rng(0), resamples=200)
    assert again == table


def test_a_single_image_has_no_interval() -> None:
    table = grounding_table([np.ones((10, 10))], [a_mask()], np.random.default_rng(0))
    assert table["ap"]["interval"] is None


@pytest.mark.parametrize(
    ("heat", "mask", "message"),
    [
        (np.ones((10, 10)), np.zeros((10, 10), bool), "mask is empty.*count it"),
        (np.ones((9, 10)), a_mask(), "of one size"),
        (np.full((10, 10), np.nan), a_mask(), "100 values that are not finite"),
        (np.ones((10, 10)), a_mask().astype(float), "must be bool"),
        (np.ones((2, 2)), np.ones((2, 2), bool), "at least 5 pixels"),
    ],
)
def test_what_cannot_be_scored_is_refused(heat, mask, message) -> None:
    with pytest.raises(BadRequest, match=message):
        grounding_scores(heat, mask)


def test_tables_without_anything_are_refused(rng) -> None:
    with pytest.raises(BadRequest, match="none of 1 masks"):
        grounding_table([np.ones((10, 10))], [np.zeros((10, 10), bool)], rng)
    with pytest.raises(BadRequest, match="2 maps and 1 masks"):
        grounding_table([np.ones((10, 10))] * 2, [a_mask()], rng)


def test_upsampling_is_torchs_bilinear_one(rng) -> None:
    torch = pytest.importorskip("torch")
    maps = rng.normal(size=(3, 4, 8))
    for size in ((64, 128), (9, 20), (4, 8)):
        wanted = torch.nn.functional.interpolate(torch.from_numpy(maps)[:, None], size=size, mode="bilinear")[:, 0]
        np.testing.assert_allclose(upsampled(maps, *size), wanted.numpy(), atol=1e-12)


def test_the_ceiling_of_a_grid_is_the_best_single_cell_and_no_map_beats_it(rng) -> None:
    mask = np.zeros((32, 64), bool)
    mask[10:14, 20:25] = True  # smaller than a cell
    ceiling = grid_ceiling(mask, 4, 8)
    cells = np.eye(32).reshape(32, 4, 8)
    of_cells = [grounding_scores(upsampled(cell, 32, 64), mask)["pm"] for cell in cells]
    assert ceiling == pytest.approx(max(of_cells))
    assert 0 < ceiling < 0.3
    for _ in range(20):
        assert grounding_scores(upsampled(rng.random((4, 8)), 32, 64), mask)["pm"] <= ceiling
    assert grid_ceiling(mask, 32, 64) == pytest.approx(1)  # a cell per pixel can point exactly
    with pytest.raises(BadRequest, match="a pixel or more"):
        grid_ceiling(mask, 33, 8)


def test_a_pointing_ratio_is_one_for_a_constant_map_and_counts_how_often_area_explains_the_mass(rng) -> None:
    masks = [a_mask(rows=slice(0, 1 + i % 3)) for i in range(30)]
    flat = grounding_rows([np.ones((10, 10))] * 30, masks)
    assert pointing_ratio(flat["pm"], flat["area"], rng)["value"] == pytest.approx(1)
    perfect = grounding_rows([mask.astype(float) for mask in masks], masks)
    found = pointing_ratio(perfect["pm"], perfect["area"], rng)
    assert found["value"] == pytest.approx(1 / perfect["area"].mean())
    assert found["interval"][0] < found["value"] < found["interval"][1]
    apart = pointing_ratio(perfect["pm"] - flat["pm"], flat["area"], rng)
    assert apart["value"] == pytest.approx(found["value"] - 1)
    assert pointing_ratio(flat["pm"][:1], flat["area"][:1], rng)["interval"] is None
    with pytest.raises(BadRequest, match="count them"):
        pointing_ratio(flat["pm"], np.zeros(30), rng)


def test_objects_smaller_than_a_cell_are_listed_apart(rng) -> None:
    small, large = a_mask((8, 8), slice(0, 1), slice(0, 3)), a_mask((8, 8), slice(4, 8), slice(0, 4))
    heats = [np.ones((8, 8)), large.astype(float)]
    table = grounding_table(heats, [small, large], rng, grid=(4, 4))
    assert table["sizes"]["smaller"]["images"] == table["sizes"]["larger"]["images"] == 1
    assert table["sizes"]["smaller"]["value"] == pytest.approx(1)
    assert table["sizes"]["larger"]["value"] == pytest.approx(4)
    assert table["pm_over_area"]["value"] == pytest.approx((3 / 64 + 1) / (3 / 64 + 1 / 4))
    assert 0.5 < table["grid_ceiling"] < 1
    assert "sizes" not in grounding_table(heats, [small, large], rng)
    assert set(grounding_table(heats[:1], [small], rng, grid=(4, 4))["sizes"]) == {"smaller"}
