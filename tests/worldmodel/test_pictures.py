import numpy as np
import pytest

from worldmodel.pictures import resize_video


def test_pictures_of_the_right_size_are_left_alone():
    video = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 8, 12), dtype=np.uint8)
    assert resize_video(video, 12, 8) is video


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("size", [(6, 4), (24, 16), (7, 5)])
def test_any_leading_axes_and_sizes(lead, size):
    video = np.random.default_rng(0).integers(0, 256, (*lead, 3, 8, 12), dtype=np.uint8)
    resized = resize_video(video, *size)
    assert resized.shape == (*lead, 3, size[1], size[0])
    assert resized.dtype == np.uint8


def test_flat_pictures_stay_flat_and_halving_averages():
    flat = np.full((1, 3, 8, 12), 255, np.uint8)
    assert (resize_video(flat, 5, 3) == 255).all()
    stripes = np.zeros((3, 8, 64), np.uint8)
    stripes[..., ::2] = 200
    assert np.abs(resize_video(stripes, 8, 4).astype(int) - 100).max() <= 5  # antialiased, no moire


def test_each_picture_is_resized_on_its_own():
    video = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 8, 12), dtype=np.uint8)
    assert (resize_video(video, 6, 4)[1, 0] == resize_video(video[1, 0], 6, 4)).all()
