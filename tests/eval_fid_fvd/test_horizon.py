import numpy as np
import pytest
from numpy.testing import assert_allclose

from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.horizon import HALVES, REAL, Horizon, horizon_rows
from eval_fid_fvd.horizon_checks import horizon_checks
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.windows import WindowEvidence, window_evidence
from worldmodel.errors import BadRequest, UnknownName

CARD = {
    "frequency_hz": 6.0,
    "condition_frames": 0,
    "cameras": "2, pooled",
    "size": "48x32",
    "codec": "arrays",
    "device": "cpu",
}


@pytest.fixture
def networks(tokenizer):
    return tokenizer_features(tokenizer)


@pytest.fixture
def horizon(networks, moving_clips):
    """Two windows of six clips: a good model, one that freezes later, a floor close to real, other real clips."""
    real = [moving_clips(6), moving_clips(6)]
    random = np.random.default_rng(0)

    def near(video, spread):
        return random.normal(video, spread).clip(0, 255).astype(np.uint8)

    def side(videos):
        return tuple(window_evidence(v, networks, real=r) for v, r in zip(videos, real, strict=True))

    sides = {
        "model": side([near(real[0], 6), near(real[1], 6)]),
        "floor": side([near(real[0], 5), near(real[1], 5)]),
        "repeat": side([np.repeat(moving_clips(6)[:, :1], 6, axis=1) for _ in real]),
        "others": side([moving_clips(6), moving_clips(6)]),
    }
    truth = tuple(window_evidence(video, networks) for video in real)
    return Horizon(ends_s=(1.0, 2.0), length_s=1.0, real=truth, sides=sides, networks=networks, card=CARD, resamples=50)


def test_scores_are_the_plain_formulas_over_all_clips(horizon):
    a, b = horizon.sides["model"][1], horizon.real[1]
    score = horizon.score("fvd", "model", 1, floor="others")
    assert score.value == pytest.approx(frechet_distance(np.concatenate(a.clips), np.concatenate(b.clips)))
    assert score.floor == pytest.approx(horizon.score("fvd", "others", 1).value)
    assert score.name == "FVD[tokenizer-01234567] 1-2 s"
    assert horizon.name("fvd") == "FVD[tokenizer-01234567]"
    assert (score.n_a, score.n_b) == (12, 12)
    assert score.card.frames == 6
    assert horizon.score("fid", "model", 0).n_a == 6 * 6 * 2
    assert horizon.score("ssim", "model", 0).value == pytest.approx(
        a_mean := horizon.sides["model"][0].per_clip["ssim"].mean()
    )
    assert 0 < a_mean < 1


def test_intervals_hold_the_value_and_repeat_for_the_same_seed(horizon):
    for metric in ("fid", "fvd", "ssim", "motion"):
        score = horizon.score(metric, "model", 0)
        low, high = score.interval
        assert low <= score.value <= high
        assert horizon.score(metric, "model", 0).interval == score.interval


def test_a_ratio_with_itself_is_one_without_any_spread(horizon):
    value, interval = horizon.ratio("fid", ("model", 0), ("model", 0))
    assert value == 1
    assert_allclose(interval, 1)
    value, (low, high) = horizon.ratio("fvd", ("repeat", 1), ("model", 1))
    assert 1 < low <= value <= high


def test_the_checks_tell_a_model_that_holds_from_one_that_freezes(horizon):
    good = horizon_checks(horizon, "model", floor="floor", repeat="repeat")
    assert [check.met for check in good] == [True] * 5
    frozen = horizon_checks(horizon, "repeat", floor="floor", repeat="repeat")
    assert not frozen[0].met
    assert not frozen[4].met
    assert frozen[4].value < 0.01
    assert "motion" in frozen[4].name.lower()


def test_rows_have_every_side_that_has_the_metric(horizon):
    sides = [side for metric, side, _ in horizon_rows(horizon, ["ssim", "motion"]) if metric == "ssim"]
    assert sides == ["model", "floor", "repeat", "others"]
    rows = horizon_rows(horizon, ["motion"])
    assert rows[-1][1] == "real"
    assert all(len(scores) == 2 for _, _, scores in rows)
    assert horizon_rows(horizon, ["lpips"]) == []


def test_unequal_numbers_of_clips_cannot_be_compared(horizon, networks, moving_clips):
    few = tuple(window_evidence(moving_clips(5), networks) for _ in range(2))
    with pytest.raises(BadRequest, match=r"\[5, 6\] clips"):
        Horizon(ends_s=(1.0, 2.0), length_s=1.0, real=horizon.real, sides={"x": few}, networks=networks, card=CARD)


def plain(values, card=CARD):
    """A horizon of one measure, 'motion': values [window, clip] of a side, with real ones of 10."""
    rows = np.asarray(values, float)
    made = tuple(WindowEvidence(per_clip={"motion": row}) for row in rows)
    real = tuple(WindowEvidence(per_clip={"motion": np.full(len(row), 10.0)}) for row in rows)
    ends = tuple(float(i + 1) for i in range(len(rows)))
    return Horizon(
        ends_s=ends,
        length_s=1.0,
        real=real,
        sides={"model": made},
        networks=FeatureNetworks(),
        card=card,
        resamples=200,
    )


def test_a_trend_has_the_slope_and_ratio_of_its_line():
    trend = plain([[4, 6], [6, 8], [8, 10]]).trend("motion", "model", floor=HALVES)
    assert trend.slope_per_s == pytest.approx(2)
    assert trend.last_over_first == pytest.approx(9 / 5)
    assert trend.middles_s == (0.5, 1.5, 2.5)
    assert [score.value for score in trend.scores] == [5, 7, 9]
    assert [score.floor for score in trend.scores] == [10, 10, 10]
    assert trend.slope_interval == pytest.approx((2, 2))  # both clips rise alike: resampling changes nothing
    assert trend.ratio_interval[0] < trend.last_over_first < trend.ratio_interval[1]
    assert [score.card.part for score in trend.scores] == ["0-1 s", "1-2 s", "2-3 s"]


def test_a_slope_of_clips_that_do_not_rise_alike_has_a_spread():
    trend = plain([[1, 1, 1, 1], [1, 2, 3, 4]]).trend("motion", "model")
    low, high = trend.slope_interval
    assert trend.slope_per_s == pytest.approx(1.5)
    assert low < 1.2
    assert high > 1.8
    assert trend.scores[0].floor is None


def test_one_window_has_no_slope_and_nothing_has_no_ratio():
    alone = plain([[1, 2]]).trend("motion", "model")
    assert (alone.slope_per_s, alone.slope_interval) == (0, None)
    still = plain([[0, 0], [1, 1]]).trend("motion", "model")
    assert (still.last_over_first, still.ratio_interval) == (None, None)
    one_clip = plain([[1], [3]]).trend("motion", "model")
    assert one_clip.slope_per_s == pytest.approx(2)
    assert one_clip.slope_interval is None


def test_trends_of_every_metric_can_be_written(horizon):
    import json

    names = horizon.metrics("model")
    assert {"fid", "kid", "fvd", "kvd", "density", "ssim", "psnr", "motion", "sharpness", "frozen_share"} <= set(names)
    for name in names:
        trend = horizon.trend(name, "model", floor=HALVES)
        data = json.loads(json.dumps(trend.to_json(), allow_nan=False))
        assert len(data["windows"]) == 2
        assert data["name"] == horizon.name(name)
    frozen = horizon.trend("frozen_share", "repeat")
    assert frozen.scores[0].value == 1
    assert horizon.trend("fid", "model").slope_interval is not None


def test_halves_of_the_real_clips_are_a_floor(horizon):
    rows = horizon.real[0].clips
    expected = frechet_distance(np.concatenate(rows[::2]), np.concatenate(rows[1::2]))
    score = horizon.score("fvd", "model", 0, floor=HALVES)
    assert score.floor == pytest.approx(expected)
    assert "half the samples" in score.card.floor_rule
    assert horizon.score("motion", "model", 0, floor=HALVES).floor == pytest.approx(
        horizon.score("motion", REAL, 0).value
    )
    assert horizon.score("ssim", "model", 0, floor=HALVES).floor is None


def test_unknown_metrics_and_sides_are_named(horizon):
    with pytest.raises(UnknownName, match="sharpness"):
        horizon.score("sharpnes", "model", 0)
    with pytest.raises(UnknownName, match="model"):
        horizon.trend("fid", "modell")
    with pytest.raises(UnknownName, match="metric of 'real'"):
        horizon.score("ssim", REAL, 0)
