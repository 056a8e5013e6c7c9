from dataclasses import replace

import numpy as np
import pytest
from makers import make_clip, make_model, make_observation
from numpy.testing import assert_allclose

from worldmodel.errors import BadRequest, ClipTooShort, Diverged
from worldmodel.geometry import Motion
from worldmodel.observing import at_rate, fitted, frames_between, observation_warnings
from worldmodel.sampling import Sampling

ONE = Sampling(steps=1)


def fast(frames=31, every=2, **changes):
    """An observation at a multiple of the model's rate."""
    return make_observation(frames, frequency_hz=8.0 * every, **changes)


# -- rate -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("got_hz", "every"), [(8, 1), (7.95, 1), (16, 2), (16.1, 2), (24, 3), (80, 10)])
def test_whole_multiples_of_the_rate_are_thinned(got_hz, every):
    assert frames_between(got_hz, 8.0) == every


@pytest.mark.parametrize("got_hz", [4, 7.7, 8.3, 10, 12, 20, 30])
def test_other_rates_are_refused_with_advice(got_hz):
    with pytest.raises(BadRequest, match=f"has {got_hz:g} Hz, the model was trained at 8 Hz.*--frequency 8"):
        frames_between(got_hz, 8.0)


@pytest.mark.parametrize("frames", [9, 10, 11])
def test_the_newest_frame_stays_and_steps_add_up(frames):
    observation = fast(frames, every=3)
    thin = at_rate(observation, 8.0)
    assert thin.frequency_hz == 8
    assert (thin.video[-1] == observation.video[-1]).all()
    assert (thin.video == observation.video[::-1][::3][::-1]).all()
    whole = observation.motion.trajectory().poses
    ends = thin.motion.trajectory().poses
    start = (frames - 1) % 3
    assert_allclose(ends[-1], observation.motion[start:].trajectory().poses[-1], atol=1e-12)
    assert len(ends) == len(thin.video)
    assert thin.motion.period_s == pytest.approx(0.125)
    assert len(whole) == frames


def test_a_fast_recording_gives_what_its_thinned_one_gives(tiny_model):
    observation = fast(15)
    rollout = tiny_model.imagine(observation, seconds=0.5, sampling=ONE)
    thinned = tiny_model.imagine(at_rate(observation, 8.0), seconds=0.5, sampling=ONE)
    assert (rollout.video == thinned.video).all()
    assert any("of 2 frames one was used" in text for text in rollout.warnings)
    assert thinned.warnings == ()
    slow = tiny_model.explain(fast(32), steps=1)
    assert (slow.deltas == tiny_model.explain(at_rate(fast(32), 8.0), steps=1).deltas).all()


def test_a_chunk_is_counted_at_the_rate_of_the_model(tiny_model):
    with pytest.raises(ClipTooShort, match="has 3 frames at 8 Hz"):
        tiny_model.plan(fast(6))


def test_clips_are_thinned_with_motion_and_boxes():
    clip = make_clip(16, frequency_hz=16.0)
    thin = replace(clip, boxes=((),) * 16).thinned(2)
    assert len(thin) == 8 == len(thin.boxes)
    assert thin.frequency_hz == 8
    assert_allclose(thin.motion.trajectory().poses, clip.motion.trajectory().poses[::2], atol=1e-12)


def test_thinned_steps_leave_out_what_is_left_over():
    motion = Motion(deltas=np.tile([1.0, 0, 0], (7, 1)), period_s=0.1)
    assert_allclose(motion.thinned(3).deltas, [[3, 0, 0], [3, 0, 0]])


# -- cameras and sizes ------------------------------------------------------------------------------------------------


def test_what_fits_is_not_warned_of(tiny_model, observation):
    assert observation_warnings(observation, tiny_model.config) == ()
    assert tiny_model.imagine(observation, seconds=0.5, sampling=ONE).warnings == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cameras": 1}, "has 1 camera, the model was trained with 3"),
        ({"cameras": 6}, "has 6 cameras, the model was trained with 3"),
        ({"size": (96, 64)}, "96x64 pixels, the model's 64x32: they were stretched"),
        ({"size": (32, 16)}, "32x16 pixels, the model's 64x32: they were enlarged"),
    ],
)
def test_other_cameras_and_sizes_work_with_a_warning(tiny_model, changes, said):
    rollout = tiny_model.imagine(make_observation(8, **changes), seconds=0.5, sampling=ONE)
    assert any(said in text for text in rollout.warnings)
    assert rollout.video.shape[-2:] == (32, 64)


def test_larger_pictures_of_the_same_shape_need_no_word(tiny_model):
    assert observation_warnings(make_observation(8, size=(256, 128)), tiny_model.config) == ()


def test_warnings_of_an_observation_stay_with_its_sample_and_what_follows(tiny_model):
    observations = [make_observation(8), make_observation(8, size=(32, 16))]
    both = tiny_model.imagine_batch(observations, seconds=0.5, seeds=[0, 0], sampling=ONE)
    assert [len(rollout.warnings) for rollout in both] == [0, 1]
    rest = tiny_model.go_on(both[1].past, seconds=0.5, seeds=[0, 0], sampling=ONE)
    assert [len(rollout.warnings) for rollout in rest] == [0, 1]


def test_one_batch_needs_equally_many_cameras(tiny_model):
    with pytest.raises(BadRequest, match=r"equally many cameras; got \[2, 3\]"):
        tiny_model.remember([make_observation(8), make_observation(8, cameras=2)])


# -- what is not finite -----------------------------------------------------------------------------------------------


def test_a_model_that_cannot_read_says_so(observation):
    import torch

    model = make_model()
    with torch.no_grad():
        model.network.layers[0]["video"].into.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="the memory of the observation"):
        model.imagine(observation, seconds=0.5, sampling=ONE)


def test_fitting_cuts_to_whole_chunks_of_the_newest_frames(tiny_model):
    observation = make_observation(11)
    cut = fitted(observation, tiny_model.config)
    assert (cut.video == observation.video[-8:]).all()
    assert (cut.motion.deltas == observation.motion.deltas[-7:]).all()
