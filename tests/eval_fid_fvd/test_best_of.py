from itertools import combinations

import numpy as np
import pytest

from eval_fid_fvd.best_of import best_of, best_of_scores, expected_best
from eval_fid_fvd.cards import check_comparable
from worldmodel.errors import BadRequest

CARD = {
    "metric": "SSIM",
    "rule": "Gaussian 11",
    "frames": 8,
    "frequency_hz": 8.0,
    "condition_frames": 1,
    "cameras": "1",
    "size": "48x32",
    "codec": "arrays",
    "device": "cpu",
}


def test_the_best_is_chosen_clip_by_clip():
    values = [[1, 3, 2], [9, 7, 8]]
    np.testing.assert_array_equal(best_of(values, "higher"), [3, 9])
    np.testing.assert_array_equal(best_of(values, "lower"), [1, 7])


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_expected_best_is_the_mean_over_all_choices(rng, better):
    values = rng.normal(size=(4, 6))
    pick = max if better == "higher" else min
    naive = [
        np.mean([[pick(clip[list(some)]) for some in combinations(range(6), j)] for clip in values])
        for j in range(1, 7)
    ]
    np.testing.assert_allclose(expected_best(values, better), naive, rtol=1e-12)


def test_more_samples_are_never_worse_and_order_does_not_matter(rng):
    values = rng.normal(size=(5, 8))
    curve = expected_best(values, "higher")
    assert (np.diff(curve) >= 0).all()
    np.testing.assert_allclose(expected_best(rng.permuted(values, axis=1), "higher"), curve)
    assert curve[-1] == pytest.approx(best_of(values, "higher").mean())
    assert curve[0] == pytest.approx(values.mean())


def test_the_name_and_the_card_say_k(rng):
    values = rng.uniform(size=(6, 4))
    four = best_of_scores(values, "higher", CARD, level=np.full(3, 0.2))
    assert four.best.name == "SSIM BEST OF 4"
    assert "K = 4" in four.best.card.rule
    assert four.best.value == pytest.approx(values.max(axis=1).mean())
    assert four.single.name == "SSIM"
    assert four.single.value == pytest.approx(values.mean())
    assert four.best.floor == pytest.approx(0.2)
    assert four.curve[-1] == pytest.approx(four.best.value)
    with pytest.raises(BadRequest, match="BEST OF 4 against SSIM BEST OF 2"):
        check_comparable(four.best, best_of_scores(values[:, :2], "higher", CARD, level=np.full(3, 0.2)).best)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[]], np.zeros((0, 3)), [[1.0, np.nan]]])
def test_missing_samples_are_refused(values):
    with pytest.raises(BadRequest, match=r"\[clips, K samples\]"):
        best_of(values, "higher")
