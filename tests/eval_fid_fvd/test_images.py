import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eval_fid_fvd.images import psnr, psnr_of_frames, ssim, ssim_of_frames
from worldmodel.errors import BadRequest


def skimage_ssim(a, b):
    return structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=-1
    )


@pytest.fixture
def pair(rng):
    a = rng.uniform(size=(31, 44, 3))
    return a, np.clip(a + 0.1 * rng.normal(size=a.shape), 0, 1)


def test_psnr_has_its_closed_form_and_agrees_with_skimage(pair):
    a, b = pair
    assert psnr(np.full((4, 4, 3), 0.5), np.full((4, 4, 3), 0.6)) == pytest.approx(20, abs=1e-12)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0), rel=1e-12)
    assert psnr(a, a) == np.inf


def test_ssim_agrees_with_skimage(pair):
    a, b = pair
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-12)
    assert ssim(a, b) == ssim(b, a)
    assert ssim(a, a) == 1.0


def test_ssim_of_the_smallest_picture_is_one_window(rng):
    a, b = rng.uniform(size=(11, 11, 3)), rng.uniform(size=(11, 11, 3))
    assert ssim(a, b) == pytest.approx(skimage_ssim(a, b), abs=1e-12)


def test_ssim_of_flat_pictures_has_its_closed_form():
    a, b = np.full((15, 15, 3), 0.2), np.full((15, 15, 3), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-9)


def test_float32_is_computed_in_float64(pair):
    a, b = (x.astype(np.float32) for x in pair)
    assert ssim(a, b) == ssim(a.astype(np.float64), b.astype(np.float64))


def test_frames_are_scored_one_by_one_and_identical_ones_count_as_the_cap(rng):
    a = rng.integers(0, 256, size=(3, 3, 16, 20), dtype=np.uint8)
    b = a.copy()
    b[1] = 255 - b[1]
    unit = [x.transpose(1, 2, 0) / 255 for x in (a[1], b[1])]
    np.testing.assert_allclose(psnr_of_frames(a, b), [100, psnr(*unit), 100])
    np.testing.assert_allclose(ssim_of_frames(a, b), [1, ssim(*unit), 1])


@pytest.mark.parametrize("score", [psnr, ssim])
@pytest.mark.parametrize(
    ("a", "message"),
    [
        (np.zeros((20, 20, 3), np.uint8), "Divide uint8 by 255"),
        (np.full((20, 20, 3), 1.5), r"in \[0, 1\]"),
        (np.full((20, 20, 3), -0.5), r"map \[-1, 1\] to \[0, 1\]"),
        (np.full((20, 20, 3), np.nan), "finite"),
        (np.zeros((3, 20, 20)), r"\[h, w, 3\]"),
        (np.zeros((20, 21, 3)), "both must be equal"),
    ],
)
def test_bad_pictures_are_refused_with_advice(score, a, message):
    with pytest.raises(BadRequest, match=message):
        score(a, np.zeros((20, 20, 3)))


def test_pictures_smaller_than_the_window_are_refused():
    small = np.zeros((10, 40, 3))
    with pytest.raises(BadRequest, match="SSIM needs at least 11x11"):
        ssim(small, small)
