from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from eval_fid_fvd.corruptions import CORRUPTIONS, corrupted
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.networks.town import town_r2p1d
from worldmodel.errors import BadVideo, ClipTooShort, UnknownName
from worldmodel.io.lerobot import Dataset

FRAMES = 16
ASSETS = Path(__file__).parents[2] / "assets"


def video(time=32, size=(24, 40), seed=0):
    """Frame t is smooth noise around the level 40 + 5 t, so that every frame differs from every other."""
    noise = np.random.default_rng(seed).integers(0, 30, (1, 3, *size))
    return (40 + 5 * np.arange(time)[:, None, None, None] + noise).astype(np.uint8)


def made(kind, amount, source=None, frames=FRAMES, seed=0):
    source = video() if source is None else source
    return corrupted(source, kind, amount, frames=frames, generator=np.random.default_rng(seed))


def order_of(frames, source):
    """Which frame of the source each one is."""
    return [int(np.flatnonzero((source == frame).all(axis=(1, 2, 3)))[0]) for frame in frames]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_no_damage_is_no_change(kind):
    assert_array_equal(made(kind, 1.0 if kind == "speed" else 0.0), video()[:FRAMES])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_severities_rise_and_each_changes_more(kind):
    severities = CORRUPTIONS[kind].severities
    assert list(severities) == sorted(set(severities))
    changed = [np.abs(made(kind, amount).astype(int) - video()[:FRAMES]).mean() for amount in severities]
    assert (np.diff([0.0, *changed]) > 0).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_repeats_and_leaves_its_input_alone(kind):
    source = video()
    first, again = (made(kind, CORRUPTIONS[kind].severities[2], source) for _ in range(2))
    assert_array_equal(first, again)
    assert_array_equal(source, video())
    assert first.dtype == np.uint8
    assert first.shape == (FRAMES, *source.shape[1:])


def test_blur_keeps_flat_pictures_and_spreads_a_point_as_a_gaussian():
    flat = np.full((2, 3, 24, 40), 77, np.uint8)
    assert_array_equal(made("blur", 2.0, flat, frames=2), flat)
    point = np.zeros((1, 3, 33, 33), np.uint8)
    point[:, :, 16, 16] = 255
    blurred = made("blur", 1.0, point, frames=1)
    assert_allclose(blurred[0, 0, 16, 16], 255 / (2 * np.pi), atol=1)
    assert_allclose(blurred[0, 0, 16, 17] / blurred[0, 0, 16, 16], np.exp(-0.5), atol=0.03)


def test_noise_has_the_spread_that_is_said_and_no_bias():
    grey = np.full((8, 3, 64, 64), 128, np.uint8)
    noisy = made("noise", 0.1, grey, frames=8).astype(float)
    assert_allclose(noisy.std(), 25.5, rtol=0.02)
    assert_allclose(noisy.mean(), 128, atol=0.3)


def test_a_frozen_share_stands_still_and_then_the_video_goes_on():
    source = video()
    order = order_of(made("frozen", 0.4, source), source)
    still = [b == a for a, b in pairwise(order)]
    assert sum(still) == 6  # 40 % of 15 steps
    assert all(b == i for i, b in enumerate(order) if b != min(x for x in order if order.count(x) > 1))
    assert len(set(order_of(made("frozen", 1.0, source), source))) == 1


def test_speed_takes_the_nearest_frames():
    source = video()
    assert order_of(made("speed", 2.0, source), source) == list(range(0, 32, 2))
    assert order_of(made("speed", 1.25, source, frames=5), source) == [0, 1, 3, 4, 5]
    assert order_of(made("speed", 0.5, source, frames=5), source) == [0, 1, 1, 2, 2]


def test_shuffled_frames_are_the_same_frames_and_none_of_the_chosen_stays():
    source = video()
    order = order_of(made("shuffled", 0.5, source), source)
    assert sorted(order) == list(range(FRAMES))
    assert sum(i != frame for i, frame in enumerate(order)) == 8
    assert sum(i != frame for i, frame in enumerate(order_of(made("shuffled", 1.0, source), source))) == FRAMES


def test_colours_drift_from_none_to_the_amount():
    grey = np.full((FRAMES, 3, 4, 4), 100, np.uint8)
    drifted = made("colour", 0.3, grey).astype(float)
    assert_allclose(drifted[0], 100)
    assert_allclose(np.abs(drifted[-1] - 100).max(), 30, atol=1)
    assert_allclose(drifted[5, :, 0, 0] - 100, (drifted[-1, :, 0, 0] - 100) / 3, atol=1)


def test_what_cannot_be_damaged_is_refused():
    with pytest.raises(UnknownName, match="blur"):
        made("blurr", 1.0)
    with pytest.raises(BadVideo, match="uint8 RGB"):
        made("blur", 1.0, video().astype(np.float32))
    with pytest.raises(BadVideo, match="0 or more"):
        made("noise", float("nan"))
    with pytest.raises(ClipTooShort, match="take 31"):
        made("speed", 2.0, video(time=30))
    with pytest.raises(ClipTooShort, match="has 10 frames"):
        made("blur", 1.0, video(time=10))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_shipped_network_sees_more_damage_as_a_larger_distance(kind):
    """Clips of the shipped set against themselves, damaged; `benchmarks/corruptions.py` sets them beside other real ones."""
    network, data = town_r2p1d().clips, Dataset.open(ASSETS / "clips")
    drives = [data.clip(i).video for i in range(data.episodes)]
    clips = [drive[start:, c] for drive in drives for start in range(0, 80, 16) for c in range(drive.shape[1])]

    def features(amount):
        return network.features(np.stack([made(kind, amount, clip, 8, seed=i) for i, clip in enumerate(clips)]))

    real = features(1.0 if kind == "speed" else 0.0)
    curve = [frechet_distance(features(amount), real) for amount in CORRUPTIONS[kind].severities]
    assert (np.diff([0.0, *curve]) > 0).all(), curve
