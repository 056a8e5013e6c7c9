import numpy as np
import pytest

from eval_fid_fvd.per_clip import per_clip_score
from worldmodel.errors import BadRequest

CARD = {
    "metric": "SOMETHING",
    "rule": "of clips",
    "frames": 8,
    "frequency_hz": None,
    "condition_frames": 0,
    "cameras": "1",
    "size": "48x32",
    "codec": "arrays",
    "device": "cpu",
}


def test_a_score_is_the_mean_over_clips_with_its_interval_and_level():
    score = per_clip_score([1.0, 2.0, 6.0], CARD, level=[0.5, 1.5])
    assert (score.value, score.floor, score.n_a, score.n_b) == (3.0, 1.0, 3, 2)
    assert score.interval[0] < 3 < score.interval[1]
    assert score.card.floor_rule == "the same of real clips"
    assert per_clip_score([1.0, 2.0, 6.0], CARD, level=[0.5, 1.5]) == score


def test_undefined_clips_are_left_out_and_counted_never_zero():
    score = per_clip_score([1.0, np.nan, 3.0], {**CARD, "notes": ("kept",)}, level=[np.nan])
    assert (score.value, score.n_a, score.n_b, score.floor) == (2.0, 2, 0, None)
    assert score.card.notes == ("kept", "1 of 3 clips are not defined there and left out")
    assert score.card.floor_rule == "none"


def test_one_clip_has_no_interval():
    score = per_clip_score([2.5], CARD)
    assert (score.value, score.interval, score.card.interval_rule) == (2.5, None, "none")
    assert score.card.notes == ("one clip: no interval",)


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_to_average_is_refused(values):
    with pytest.raises(BadRequest, match="SOMETHING is defined in none of"):
        per_clip_score(values, CARD)


@pytest.mark.parametrize("values", [[np.inf], [1.0, np.inf]])
def test_an_infinite_clip_is_refused_not_left_out(values):
    with pytest.raises(BadRequest, match="finite"):
        per_clip_score(values, CARD)
