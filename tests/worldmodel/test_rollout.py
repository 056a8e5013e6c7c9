from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_model, make_observation
from numpy.testing import assert_allclose

from worldmodel import chunks as chunks_module
from worldmodel.chunks import check_finite
from worldmodel.errors import BadMotion, BadRequest, Diverged
from worldmodel.geometry import Motion, Trajectory
from worldmodel.guidance import FixedGuide, ScheduleGuide
from worldmodel.memory import Full, Window
from worldmodel.sampling import Sampling

CHUNK_S = 0.5
ONE, TWO = Sampling(steps=1), Sampling(steps=2)


def drive(seconds, seed=0):
    """Poses to drive: a wavy path that nobody would imagine by chance."""
    steps = round(seconds * 8)
    random = np.random.default_rng(seed)
    deltas = random.normal((0.9, 0.0, 0.03), (0.02, 0.02, 0.05), (steps, 3))
    return Motion(deltas=deltas, period_s=0.125).trajectory()


def same(a, b):
    assert a.video.shape == b.video.shape
    assert (a.video == b.video).all()
    assert (a.trajectory.poses == b.trajectory.poses).all()
    assert (a.trajectory.times_s == b.trajectory.times_s).all()


# -- shape and provenance ---------------------------------------------------------------------------------------------


def test_a_rollout_begins_after_the_newest_frame_and_says_where_it_comes_from(tiny_model, observation):
    rollout = tiny_model.imagine(observation, seconds=1.0, seed=3, sampling=TWO)
    assert rollout.video.shape == (8, 3, 3, 32, 64)
    assert rollout.video.dtype == np.uint8
    assert_allclose(rollout.trajectory.times_s, np.arange(9) / 8)
    assert_allclose(rollout.trajectory.poses[0], 0)
    assert rollout.frequency_hz == 8
    assert rollout.texts == ("keep going",) * 2
    assert (rollout.seed, rollout.actions_given) == (3, False)
    assert rollout.provenance["imagined"]
    assert rollout.provenance["model"] == tiny_model.hash
    assert (rollout.provenance["steps"], rollout.provenance["sampler"]) == (2, "euler")
    assert rollout.memory_stats["chunks_seen"] == 4
    assert len(rollout.telemetry) == 2
    assert set(rollout.timing) == {"encode_s", "generate_s", "chunks"}


@pytest.mark.parametrize(("seconds", "frames"), [(0.01, 1), (0.125, 1), (0.5, 4), (0.625, 5), (1.0, 8)])
def test_any_horizon_of_whole_frames(tiny_model, observation, seconds, frames):
    rollout = tiny_model.imagine(observation, seconds=seconds, sampling=ONE)
    assert len(rollout.video) == frames == len(rollout.trajectory) - 1


def test_chunks_are_told_as_they_come(tiny_model, observation):
    seen = []
    rollout = tiny_model.imagine(
        observation, seconds=1.5, sampling=ONE, on_chunk=lambda i, n, video: seen.append((i, n, video[0]))
    )
    assert [(i, n) for i, n, _ in seen] == [(0, 3), (1, 3), (2, 3)]
    assert (np.concatenate([video for _, _, video in seen]) == rollout.video).all()


def test_a_rollout_is_a_clip_marked_as_imagined(tiny_model, observation):
    rollout = tiny_model.imagine(observation, seconds=1.0, sampling=ONE)
    clip = rollout.as_clip("dream")
    assert (clip.video == rollout.video).all()
    assert clip.motion_origin == "imagined"
    assert "imagined by Detour" in clip.source
    assert_allclose(clip.motion.deltas, rollout.trajectory.motion().deltas[1:], atol=1e-12)
    assert clip.instruction_at(0.5) == "keep going"
    assert tiny_model.plan(clip.observation(at_s=0.875, history_s=1.0), steps=1).path_length_m > 0


def test_a_clip_of_a_rollout_keeps_the_text_of_every_chunk(tiny_model, observation):
    guide = ScheduleGuide(texts=((0.5, "turn left"), (1.0, "stop")))
    clip = tiny_model.imagine(observation, seconds=1.5, sampling=ONE, guide=guide).as_clip("dream")
    assert [clip.instruction_at(t) for t in (0.0, 0.5, 0.9, 1.0, 1.4)] == ["", "turn left", "turn left", "stop", "stop"]


# -- seeds and lengths ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_rollout_and_another_one_another(tiny_model, observation):
    first, again, other = (tiny_model.imagine(observation, seconds=1, seed=s, sampling=TWO) for s in (5, 5, 6))
    same(first, again)
    assert (first.video != other.video).any()
    assert not np.allclose(first.trajectory.poses, other.trajectory.poses)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("actions", [None, drive(2.0)], ids=["free", "commanded"])
def test_one_second_is_the_beginning_of_two(tiny_model, observation, sampler, actions):
    one, two = (
        tiny_model.imagine(observation, seconds=s, seed=1, sampling=Sampling(steps=2, sampler=sampler), actions=actions)
        for s in (1, 2)
    )
    assert (one.video == two.video[:8]).all()
    assert (one.trajectory.poses == two.trajectory.poses[:9]).all()


@pytest.mark.parametrize("memory", [{"memory": "full"}, {"memory": "window", "recent": 2}], ids=["full", "window"])
@pytest.mark.parametrize("actions", [None, drive(2.5)], ids=["free", "commanded"])
def test_five_chunks_are_two_and_then_three_more(tiny_model, observation, memory, actions):
    guide = ScheduleGuide(texts=((0.5, "turn left"), (1.5, "stop")))
    sampling = Sampling(steps=2, **memory)
    how = {"sampling": sampling, "actions": actions, "guide": guide, "seed": 4}
    whole, begun = (tiny_model.imagine(observation, seconds=seconds, **how) for seconds in (2.5, 1.0))
    commands = None if actions is None else [actions]
    [rest] = tiny_model.go_on(begun.past, seconds=1.5, seeds=[4], guides=[guide], actions=commands, sampling=sampling)
    assert (np.concatenate([begun.video, rest.video]) == whole.video).all()
    assert (rest.trajectory.poses == whole.trajectory.poses[8:]).all()
    assert_allclose(rest.trajectory.times_s, whole.trajectory.times_s[8:])
    assert begun.texts + rest.texts == whole.texts
    assert rest.memory_stats == whole.memory_stats


def test_going_on_without_a_guide_keeps_the_observed_instruction(tiny_model, observation):
    whole = tiny_model.imagine(observation, seconds=1.0, sampling=TWO)
    begun = tiny_model.imagine(observation, seconds=0.5, sampling=TWO)
    [rest] = tiny_model.go_on(begun.past, seconds=0.5, seeds=[0], sampling=TWO)
    assert rest.texts == ("keep going",)
    assert (rest.video == whole.video[4:]).all()


def test_two_futures_can_share_one_past(tiny_model, observation):
    begun = tiny_model.imagine(observation, seconds=0.5, sampling=TWO)
    first, other, again = (
        tiny_model.go_on(begun.past, seconds=0.5, seeds=[0], sampling=TWO, guides=[FixedGuide(text=text)])[0]
        for text in ("turn left", "stop", "turn left")
    )
    same(first, again)
    assert (first.video != other.video).any()


def test_a_window_keeps_its_size_and_full_memory_grows(tiny_model, observation):
    cells = {}
    for name, memory in (("window", Window(sink=1, recent=2)), ("full", Full())):
        past = tiny_model.remember([observation], memory)
        cells[name] = []
        for _ in range(4):
            [rollout] = tiny_model.go_on(past, seconds=CHUNK_S, seeds=[0], sampling=ONE)
            past = rollout.past
            cells[name].append(rollout.memory_stats["cells"])
    per_chunk = 4 * 3 * 2 + 4
    assert cells["window"] == [3 * per_chunk] * 4
    assert cells["full"] == [n * per_chunk for n in (3, 4, 5, 6)]


# -- actions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.625, 2.0])
def test_commanded_motion_is_driven_exactly(tiny_model, observation, seconds):
    actions = drive(2.0)
    rollout = tiny_model.imagine(observation, seconds=seconds, sampling=ONE, actions=actions)
    assert rollout.actions_given
    expected = actions.poses[: len(rollout.trajectory)]
    assert_allclose(rollout.trajectory.poses, expected, rtol=1e-6, atol=5e-6)
    assert_allclose(
        rollout.trajectory.motion().deltas, actions.motion().deltas[: len(expected) - 1], rtol=1e-6, atol=1e-6
    )


def test_commands_at_other_times_are_resampled(tiny_model, observation):
    coarse = Trajectory(poses=np.array([[0, 0, 0], [8.0, 0, 0]]), times_s=np.array([0.0, 1.0]))
    rollout = tiny_model.imagine(observation, seconds=1.0, sampling=ONE, actions=coarse)
    assert_allclose(rollout.trajectory.poses[:, 0], np.arange(9.0), atol=1e-5)


def test_a_last_chunk_that_is_cut_short_needs_no_actions_beyond_the_horizon(tiny_model, observation):
    short, long = (
        tiny_model.imagine(observation, seconds=0.625, sampling=ONE, actions=actions)
        for actions in (drive(0.625), drive(1.0))
    )
    assert (short.video[:4] == long.video[:4]).all()
    assert_allclose(short.trajectory.poses, long.trajectory.poses, atol=1e-5)


@pytest.mark.parametrize(
    "actions",
    [
        drive(1.0),
        Trajectory(poses=np.zeros((1, 3)), times_s=np.array([2.0])),
        Trajectory(poses=np.zeros((2, 3)), times_s=np.array([0.5, 2.0])),
    ],
    ids=["too short", "one pose", "starts late"],
)
def test_actions_must_cover_the_horizon(tiny_model, observation, actions):
    with pytest.raises(BadMotion, match="Ask for times inside it"):
        tiny_model.imagine(observation, seconds=2.0, sampling=ONE, actions=actions)


def test_other_commands_show_other_pictures(tiny_model, observation):
    videos = [tiny_model.imagine(observation, seconds=1, sampling=TWO, actions=drive(1, seed=s)).video for s in (0, 1)]
    assert (videos[0] != videos[1]).any()


# -- guidance ---------------------------------------------------------------------------------------------------------


def test_a_later_change_of_text_leaves_earlier_chunks_untouched(tiny_model, observation):
    texts = [((0.0, "keep going"),), ((0.0, "keep going"), (1.0, "turn left"))]
    plain, changed = (
        tiny_model.imagine(observation, seconds=2, sampling=TWO, guide=ScheduleGuide(texts=text)) for text in texts
    )
    assert (plain.video[:8] == changed.video[:8]).all()
    assert (plain.trajectory.poses[:9] == changed.trajectory.poses[:9]).all()
    assert (plain.video[8:12] != changed.video[8:12]).any()
    assert changed.texts == ("keep going", "keep going", "turn left", "turn left")


def test_text_steers_the_chunk_it_is_given_to(tiny_model, observation):
    videos = [
        tiny_model.imagine(observation, seconds=0.5, sampling=TWO, guide=FixedGuide(text=text)).video
        for text in ("turn left", "turn right")
    ]
    assert (videos[0] != videos[1]).any()


# -- batches and cameras ----------------------------------------------------------------------------------------------


def close(a, b):
    """Equal to 1e-4 before rounding to whole grey values."""
    assert np.abs(a.video.astype(int) - b.video).max() <= 1
    assert (a.video != b.video).mean() < 0.01
    assert_allclose(a.trajectory.poses, b.trajectory.poses, atol=1e-4)


def test_alone_or_in_a_batch_is_the_same(tiny_model):
    observations = [make_observation(8, seed=s, instruction=text) for s, text in enumerate(("go", "turn left now"))]
    together = tiny_model.imagine_batch(observations, seconds=1, seeds=[3, 4], sampling=TWO)
    for i, (observation, rollout) in enumerate(zip(observations, together, strict=True)):
        alone = tiny_model.imagine(observation, seconds=1, seed=3 + i, sampling=TWO)
        close(rollout, alone)
        assert rollout.texts == alone.texts
        assert rollout.seed == 3 + i


def test_every_rollout_of_a_batch_keeps_its_own_calibration(tiny_model, observation):
    other = replace(observation, rig=make_observation(8, size=(128, 32)).rig.scaled(64, 32))
    for rollout, one in zip(
        tiny_model.imagine_batch([observation, other], seconds=0.5, seeds=[0, 0], sampling=ONE),
        (observation, other),
        strict=True,
    ):
        assert_allclose(rollout.rig.cameras[1].intrinsics, one.rig.cameras[1].intrinsics)


def test_swapped_cameras_swap_the_pictures(observation, monkeypatch):
    order = [2, 0, 1]
    model = make_model()
    plain = model.imagine(observation, seconds=1, sampling=TWO)
    drawn = chunks_module.seeded_noise

    def noise(model, shape, seeds, stream, chunk):
        values = drawn(model, shape, seeds, stream, chunk)
        return values[:, :, order] if len(shape) == 5 else values

    monkeypatch.setattr(chunks_module, "seeded_noise", noise)
    swapped = replace(
        observation,
        video=observation.video[:, order],
        rig=replace(observation.rig, cameras=tuple(observation.rig.cameras[i] for i in order)),
    )
    rollout = model.imagine(swapped, seconds=1, sampling=TWO)
    close(replace(rollout, video=rollout.video), replace(plain, video=plain.video[:, order]))
    assert rollout.rig.names == tuple(plain.rig.names[i] for i in order)


def test_a_batch_needs_one_of_each_for_every_observation(tiny_model, observation):
    with pytest.raises(BadRequest, match="2 observations came with 1 seeds"):
        tiny_model.imagine_batch([observation] * 2, seconds=0.5, seeds=[0])
    with pytest.raises(BadRequest, match="1 observations came with 2 guides"):
        tiny_model.imagine_batch([observation], seconds=0.5, seeds=[0], guides=[FixedGuide()] * 2)
    with pytest.raises(BadRequest, match="equal history"):
        tiny_model.imagine_batch([observation, make_observation(4)], seconds=0.5, seeds=[0, 1])


# -- drift ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(value):
    check_finite("nothing")
    with pytest.raises(Diverged, match=r"chunk 3 has values that are not finite\. Use more sampling steps"):
        check_finite("chunk 3", torch.zeros(2), torch.tensor([0.0, value]))
