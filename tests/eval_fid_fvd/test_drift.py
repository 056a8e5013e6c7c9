import numpy as np
import pytest
from scipy import ndimage

from eval_fid_fvd.drift import UNITS, drift_of, drift_scores, ends_telemetry, frames_telemetry
from worldmodel.errors import BadRequest, BadVideo, ClipTooShort
from worldmodel.telemetry import picture_telemetry

CARD = {
    "frames": 20,
    "frequency_hz": 8.0,
    "condition_frames": 0,
    "cameras": "2, pooled",
    "size": "48x32",
    "codec": "arrays",
    "device": "cpu",
}


@pytest.fixture
def video(rng):
    """uint8 [20, 2, 3, 32, 48]: smooth coloured pictures that move sideways."""
    one = ndimage.gaussian_filter(rng.normal(size=(2, 3, 32, 48)), (0, 0, 2, 2), mode="wrap")
    one = 128 + 50 * one / one.std()
    return np.stack([np.roll(one, 2 * t, axis=-1) for t in range(20)]).clip(0, 255).astype(np.uint8)


def late(video, change, frames=8):
    """The video, changed in its last frames."""
    end = change(video[-frames:].astype(float)).clip(0, 255).astype(np.uint8)
    return np.concatenate([video[:-frames], end])


def test_measures_are_those_of_a_rollouts_telemetry_and_more(video):
    found = frames_telemetry(video)
    assert set(found) == set(UNITS)
    for name, value in picture_telemetry(video).items():
        assert found[name] == [value]
    np.testing.assert_allclose(found["colour_mean"], video.mean(axis=(0, 1, 3, 4)))
    np.testing.assert_allclose(found["colour_spread"], video.transpose(2, 0, 1, 3, 4).reshape(3, -1).std(axis=1))
    assert found["motion"] == pytest.approx(np.abs(np.diff(video.astype(int), axis=0)).mean())


def test_the_laplacian_variance_is_scipys_inside_the_borders(video):
    grey = video.astype(float).mean(axis=2)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    inner = ndimage.convolve(grey, kernel)[..., 1:-1, 1:-1]
    assert frames_telemetry(video)["laplacian_variance"] == pytest.approx(inner.var(axis=(-2, -1)).mean(), rel=1e-4)


def test_a_video_that_stays_alike_drifts_little_and_a_still_one_not_at_all(video):
    still = np.repeat(video[:1], 20, axis=0)
    assert max(drift_of(still).values()) == 0
    moved = drift_of(video)
    assert moved["brightness"] < 0.5
    assert moved["frozen_share"] < 0.05


@pytest.mark.parametrize(
    ("change", "measure", "at_least"),
    [
        (lambda x: ndimage.gaussian_filter(x, (0, 0, 0, 2, 2)), "sharpness", 0.05),
        (lambda x: ndimage.gaussian_filter(x, (0, 0, 0, 2, 2)), "laplacian_variance", 10),
        (lambda x: x + 30, "brightness", 25),
        (lambda x: 128 + (x - 128) * 0.4, "contrast", 10),
        (lambda x: x.mean(axis=2, keepdims=True).repeat(3, axis=2), "colourfulness", 20),
        (lambda x: x + np.array([40, 0, 0])[:, None, None], "colour_mean", 10),
        (lambda x: np.repeat(x[:1], len(x), axis=0), "frozen_share", 0.5),
        (lambda x: np.repeat(x[:1], len(x), axis=0), "frozen_steps", 0.99),
        (lambda x: np.repeat(x[:1], len(x), axis=0), "motion", 5),
    ],
)
def test_each_measure_sees_its_own_kind_of_drift(video, change, measure, at_least):
    assert drift_of(late(video, change))[measure] > at_least
    assert drift_of(late(video, change))[measure] > 5 * drift_of(video)[measure]


def test_more_of_a_change_is_more_drift(video):
    found = [drift_of(late(video, lambda x, s=s: x + s))["colour_mean"] for s in (0, 5, 10, 20)]
    assert found == sorted(found)


def test_beginning_and_end_are_the_first_and_last_share(video):
    first, last = ends_telemetry(video, 0.25)
    np.testing.assert_array_equal(first["colour_mean"], frames_telemetry(video[:5])["colour_mean"])
    np.testing.assert_array_equal(last["motion"], frames_telemetry(video[-5:])["motion"])
    shortest = ends_telemetry(video[:4])
    np.testing.assert_array_equal(shortest[0]["motion"], frames_telemetry(video[:2])["motion"])


def test_scores_stand_beside_those_of_real_clips(video):
    made = [drift_of(late(video, lambda x, s=s: x + s)) for s in (10, 20)]
    real = [drift_of(video), drift_of(video[:, ::-1])]
    scores = drift_scores(made, CARD, real=real)
    assert set(scores) == set(UNITS)
    bright = scores["brightness"]
    assert bright.name == "DRIFT OF BRIGHTNESS"
    assert bright.value == pytest.approx(np.mean([clip["brightness"] for clip in made]))
    assert bright.floor == pytest.approx(np.mean([clip["brightness"] for clip in real]))
    assert bright.interval[0] <= bright.value <= bright.interval[1]
    assert (bright.n_a, bright.n_b) == (2, 2)
    assert drift_scores(made[:1], CARD)["motion"].floor is None


def test_what_cannot_be_measured_is_refused_with_advice(video):
    with pytest.raises(ClipTooShort, match="at least 4"):
        drift_of(video[:3])
    with pytest.raises(BadRequest, match=r"at most 0\.5"):
        drift_of(video, 0.6)
    with pytest.raises(BadVideo, match="at least 2 frames"):
        frames_telemetry(video[:1])
    with pytest.raises(BadVideo, match="float64"):
        drift_of(video / 255)
    with pytest.raises(BadRequest, match="no clips"):
        drift_scores([], CARD)
