import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eval_fid_fvd.images import psnr, psnr_of_frames, ssim, ssim_of_frames
from worldmodel.errors import BadRequest


def skimage_ssim(a, b, data_range=1.0):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=data_range, channel_axis=-1
    )


@pytest.fixture
def pair(rng):
    a = rng.uniform(size=(31, 44, 3))
    return a, np.clip(a + 0.1 * rng.normal(size=a.shape), 0, 1)


def test_psnr_has_its_closed_form_and_agrees_with_skimage(pair):
    a, b = pair
    assert psnr(np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 0.6)) == pytest.approx(20, abs=1e-12)
    assert psnr(np.zeros((4, 4, 3)), np.ones((4, 4, 3))) == 0
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0), rel=1e-12)
    assert psnr(a, a) == np.inf


@pytest.mark.parametrize("shape", [(31, 44, 3), (11, 11, 3), (11, 40, 3), (64, 12, 3)])
@pytest.mark.parametrize("spread", [0.0, 0.01, 0.3])
def test_ssim_agrees_with_skimage(rng, shape, spread):
    a = rng.uniform(size=shape)
    b = np.clip(a + spread * rng.normal(size=shape), 0, 1)
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-12)
    assert ssim(a, b) == ssim(b, a)
    assert ssim(a, a) == 1.0


def test_ssim_is_at_most_one_and_falls_with_noise(rng):
    a = rng.uniform(size=(40, 40, 3))
    noise = rng.normal(size=a.shape)
    values = [ssim(a, np.clip(a + s * noise, 0, 1)) for s in (0, 0.02, 0.1, 0.3)]
    assert values == sorted(values, reverse=True)
    assert ssim(a, 1 - a) < 0


def test_scores_do_not_depend_on_mirroring_turning_or_the_order_of_channels(pair):
    a, b = pair
    for change in (np.fliplr, np.flipud, lambda x: x.transpose(1, 0, 2), lambda x: x[..., ::-1]):
        assert ssim(change(a), change(b)) == pytest.approx(ssim(a, b), abs=1e-12)
        assert psnr(change(a), change(b)) == pytest.approx(psnr(a, b), abs=1e-12)


def test_ssim_of_flat_pictures_has_its_closed_form():
    a, b = np.full((15, 15, 3), 0.2), np.full((15, 15, 3), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-9)


def test_float32_is_computed_in_float64(pair):
    a, b = (x.astype(np.float32) for x in pair)
    assert ssim(a, b) == ssim(a.astype(np.float64), b.astype(np.float64))
    assert psnr(a, b) == psnr(a.astype(np.float64), b.astype(np.float64))


def test_levels_are_taken_as_shares_of_255_and_lists_are_read(rng):
    a, b = (rng.integers(0, 256, size=(20, 17, 3), dtype=np.uint8) for _ in range(2))
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b, data_range=255), abs=1e-12)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-12)
    assert ssim(a, b / 255) == ssim(a / 255, b / 255)
    assert psnr((a / 255).tolist(), (b / 255).tolist()) == psnr(a, b)
    corners = (a > 127).astype(int)  # whole numbers that are 0 and 1 are pictures in [0, 1]
    assert ssim(corners, b) == ssim(corners.astype(float), b)


def test_frames_are_scored_one_by_one_and_identical_ones_count_as_the_cap(rng):
    a = rng.integers(0, 256, size=(3, 3, 16, 20), dtype=np.uint8)
    b = a.copy()
    b[1] = 255 - b[1]
    unit = [x.transpose(1, 2, 0) / 255 for x in (a[1], b[1])]
    np.testing.assert_allclose(psnr_of_frames(a, b), [100, psnr(*unit), 100], rtol=1e-13)
    np.testing.assert_allclose(ssim_of_frames(a, b), [1, ssim(*unit), 1], rtol=1e-13)
    assert psnr_of_frames(a[:0], b[:0]).shape == ssim_of_frames(a[:0], b[:0]).shape == (0,)


def test_frames_of_large_pictures_do_not_overflow():
    black, white = np.zeros((1, 3, 700, 900), np.uint8), np.full((1, 3, 700, 900), 255, np.uint8)
    assert psnr_of_frames(black, white)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("score", [psnr, ssim])
@pytest.mark.parametrize(
    ("a", "message"),
    [
        (np.full((20, 20, 3), 128, np.int64), "Divide levels by 255"),
        (np.full((20, 20, 3), 1.5), r"in \[0, 1\]"),
        (np.full((20, 20, 3), -0.5), r"map \[-1, 1\] to \[0, 1\]"),
        (np.full((20, 20, 3), np.nan), "finite"),
        (np.zeros((20, 20, 3), bool), "Convert it"),
        (np.zeros((3, 20, 20)), r"\[h, w, 3\]"),
        (np.zeros((0, 20, 3)), r"\[h, w, 3\]"),
        (np.zeros((20, 21, 3)), "both must be equal"),
    ],
)
def test_bad_pictures_are_refused_with_advice(score, a, message):
    with pytest.raises(BadRequest, match=message):
        score(a, np.zeros((20, 20, 3)))


@pytest.mark.parametrize("score", [psnr_of_frames, ssim_of_frames])
@pytest.mark.parametrize(
    "a", [np.zeros((2, 3, 16, 16)), np.zeros((2, 3, 16, 17), np.uint8), np.zeros((1, 3, 16, 16), np.uint8)]
)
def test_bad_frames_are_refused_with_advice(score, a):
    with pytest.raises(BadRequest, match="Convert or resize"):
        score(a, np.zeros((2, 3, 16, 16), np.uint8))


def test_pictures_smaller_than_the_window_are_refused():
    small = np.zeros((10, 40, 3))
    with pytest.raises(BadRequest, match="40x10 pixels; SSIM needs at least 11x11"):
        ssim(small, small)
    with pytest.raises(BadRequest, match="SSIM needs at least 11x11"):
        ssim_of_frames(np.zeros((1, 3, 11, 10), np.uint8), np.zeros((1, 3, 11, 10), np.uint8))
