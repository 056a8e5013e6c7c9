import numpy as np
import pytest
from numpy.testing import assert_allclose

from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.images import psnr_of_frames, ssim_of_frames
from eval_fid_fvd.networks.tokenizer import tokenizer_features
from eval_fid_fvd.windows import WindowCollector, even_windows, joined, window_evidence, window_frames
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.telemetry import picture_telemetry


@pytest.fixture
def networks(tokenizer):
    return tokenizer_features(tokenizer)


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


def test_even_windows_follow_one_another_and_leave_the_rest_out():
    assert even_windows(17, 1.0, 8.0) == (slice(0, 8), slice(8, 16))
    assert even_windows(8, 1.0, 8.0) == (slice(0, 8),)
    with pytest.raises(ClipTooShort, match="hold no window"):
        even_windows(7, 1.0, 8.0)
    with pytest.raises(BadRequest, match="at least 2"):
        even_windows(7, 0.1, 8.0)


def test_evidence_holds_every_frame_and_camera_once(networks, moving_clips):
    video = moving_clips(3)
    evidence = window_evidence(video, networks, real=video)
    assert evidence.pictures.shape[:2] == (3, 6 * 2)
    assert evidence.clips.shape[:2] == (3, 2)
    assert_allclose(evidence.per_clip["ssim"], 1)
    expected = np.abs(np.diff(video.astype(int), axis=1)).mean(axis=(1, 2, 3, 4, 5))
    assert_allclose(evidence.per_clip["motion"], expected)
    assert "ssim" not in window_evidence(video, networks).per_clip


def test_frames_alone_are_measured_as_in_rollouts(moving_clips):
    video = moving_clips(2)
    evidence = window_evidence(video, FeatureNetworks())
    assert evidence.pictures is None
    assert evidence.clips is None
    for name, value in picture_telemetry(video[1]).items():
        assert evidence.per_clip[name][1] == value


def test_motion_and_ssim_of_a_repeated_frame_are_those_of_a_still_picture(networks, moving_clips):
    video = moving_clips(2)
    still = np.repeat(video[:, :1], 6, axis=1)
    evidence = window_evidence(still, networks, real=video)
    assert_allclose(evidence.per_clip["motion"], 0)
    assert_allclose(evidence.per_clip["frozen_share"], 1)
    flat = [x.reshape(-1, *x.shape[2:]) for x in (still[0], video[0])]
    assert evidence.per_clip["ssim"][0] == pytest.approx(ssim_of_frames(*flat).mean())
    assert evidence.per_clip["psnr"][0] == pytest.approx(psnr_of_frames(*flat).mean())


def test_any_paired_score_can_be_given(moving_clips):
    video = moving_clips(2)
    evidence = window_evidence(
        video, FeatureNetworks(), real=video, formulas={"lpips": lambda a, b: np.full(len(a), 0.25)}
    )
    assert_allclose(evidence.per_clip["lpips"], 0.25)
    assert "ssim" not in evidence.per_clip


def test_clips_taken_one_by_one_are_the_same_evidence(networks, moving_clips):
    made, real = moving_clips(3), moving_clips(3)
    windows = even_windows(6, 0.5, 6.0)
    collector = WindowCollector(windows, networks)
    for a, b in zip(made, real, strict=True):
        collector.add(a, b)
    ours, truth = collector.evidence()
    for i, window in enumerate(windows):
        whole = window_evidence(made[:, window], networks, real=real[:, window])
        assert_allclose(ours[i].pictures, whole.pictures)
        assert_allclose(ours[i].clips, whole.clips)
        for name, values in whole.per_clip.items():
            assert_allclose(ours[i].per_clip[name], values)
        others = window_evidence(np.roll(real, 1, axis=0)[:, window], networks, real=real[:, window])
        assert_allclose(truth[i].per_clip["ssim"], others.per_clip["ssim"])  # another real clip in each one's place
        assert_allclose(truth[i].per_clip["motion"], window_evidence(real[:, window], networks).per_clip["motion"])


def test_a_single_clip_has_no_other_to_stand_for_it_and_none_is_refused(networks, moving_clips):
    collector = WindowCollector(even_windows(6, 0.5, 6.0), networks)
    with pytest.raises(BadRequest, match="no pair"):
        collector.evidence()
    collector.add(moving_clips(1)[0], moving_clips(1)[0])
    ours, truth = collector.evidence()
    assert len(ours) == len(truth) == 2
    assert "ssim" in ours[0].per_clip
    assert "ssim" not in truth[0].per_clip


def test_windows_that_do_not_fit_are_refused(networks, moving_clips):
    video = moving_clips(2)
    with pytest.raises(BadRequest, match="of one shape"):
        window_evidence(video, networks, real=video[:, :5])
    with pytest.raises(BadRequest, match="at least two frames"):
        window_evidence(video[:, :1], networks)
    with pytest.raises(BadRequest, match="2 sets of measures"):
        joined([window_evidence(video, networks), window_evidence(video, FeatureNetworks())])
