import numpy as np
import pytest
from numpy.testing import assert_allclose

from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.horizon import Horizon, horizon_checks, horizon_rows, window_evidence, window_frames
from eval_fid_fvd.images import ssim_of_frames
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from worldmodel.errors import BadRequest

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


@pytest.mark.parametrize(
    ("end", "length", "hertz", "frames"),
    [(1.0, 1.0, 8.0, slice(0, 8)), (16.0, 1.0, 8.0, slice(120, 128)), (4.0, 2.0, 10.0, slice(20, 40))],
)
def test_a_window_ends_where_it_says_and_counts_frames_after_now(end, length, hertz, frames):
    assert window_frames(end, length, hertz) == frames


@pytest.mark.parametrize(("end", "length"), [(1.0, 2.0), (1.0, 0.125)])
def test_a_window_must_have_two_frames_after_now(end, length):
    with pytest.raises(BadRequest, match="at least 2, all after now"):
        window_frames(end, length, 8.0)


def test_evidence_holds_every_frame_and_camera_once(networks, moving_clips):
    video = moving_clips(3)
    evidence = window_evidence(video, networks, real=video)
    assert evidence.pictures.shape[:2] == (3, 6 * 2)
    assert evidence.clips.shape[:2] == (3, 2)
    assert_allclose(evidence.per_clip["ssim"], 1)
    expected = np.abs(np.diff(video.astype(int), axis=1)).mean(axis=(1, 2, 3, 4, 5))
    assert_allclose(evidence.per_clip["motion"], expected)
    assert "ssim" not in window_evidence(video, networks).per_clip


def test_scores_are_the_plain_formulas_over_all_clips(horizon):
    a, b = horizon.sides["model"][1], horizon.real[1]
    score = horizon.score("fvd", "model", 1, floor="others")
    assert score.value == pytest.approx(frechet_distance(np.concatenate(a.clips), np.concatenate(b.clips)))
    assert score.floor == pytest.approx(horizon.score("fvd", "others", 1).value)
    assert score.name == "FVD[tokenizer-01234567]"
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


def test_motion_and_ssim_of_a_repeated_frame_are_those_of_a_still_picture(networks, moving_clips):
    video = moving_clips(2)
    still = np.repeat(video[:, :1], 6, axis=1)
    evidence = window_evidence(still, networks, real=video)
    assert_allclose(evidence.per_clip["motion"], 0)
    flat = [x.reshape(-1, *x.shape[2:]) for x in (still[0], video[0])]
    assert evidence.per_clip["ssim"][0] == pytest.approx(ssim_of_frames(*flat).mean())


def test_lpips_is_measured_where_a_network_is_given(networks, moving_clips):
    video = moving_clips(2)
    evidence = window_evidence(video, networks, real=video, lpips=lambda a, b: np.full(len(a), 0.25))
    assert_allclose(evidence.per_clip["lpips"], 0.25)


def test_unequal_numbers_of_clips_cannot_be_compared(horizon, networks, moving_clips):
    few = tuple(window_evidence(moving_clips(5), networks) for _ in range(2))
    with pytest.raises(BadRequest, match=r"\[5, 6\] clips"):
        Horizon(ends_s=(1.0, 2.0), length_s=1.0, real=horizon.real, sides={"x": few}, networks=networks, card=CARD)


def test_both_networks_are_needed(moving_clips):
    from eval_fid_fvd.features import FeatureNetworks

    with pytest.raises(BadRequest, match="one is missing"):
        window_evidence(moving_clips(2), FeatureNetworks())
