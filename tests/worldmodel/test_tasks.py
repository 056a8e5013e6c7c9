import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_network, make_rig
from numpy.testing import assert_allclose
from torch.testing import assert_close

from worldmodel.geometry import Motion, integrate_rates
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import HashTextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.draws import Draw, draw_modes
from worldmodel.training.encoded import Encoded, motion_statistics
from worldmodel.training.presets import Modes, find_preset
from worldmodel.training.store import Sample, Store, plan_labels, write_store
from worldmodel.training.tasks import WorldActionTask
from worldmodel.training.tokenizer_task import TokenizerTask, reconstruction_loss
from worldmodel.warping import Warp, poses_after, warped_latents

PRESET = find_preset("test")


def sample(seed, frames=24, long=56, known=True):
    random = np.random.default_rng(seed)
    return Sample(
        video=random.integers(0, 256, (frames, 2, 3, 32, 64), dtype=np.uint8),
        objects=random.random((frames, 2, 32, 64)) < 0.1,
        deltas=random.normal((1, 0, 0), (0.2, 0.03, 0.02), (long - 1, 3)) * known,
        known=np.full(long - 1, known),
        text=("keep going", "turn left")[seed % 2],
    )


def random_store(folder, clips=3, **how):
    samples = (sample(i, **how) for i in range(clips))
    return write_store(samples, clips, folder, make_rig(2), 8.0, {"random": clips})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("data") / "store")


def encoded(store):
    latents = np.random.default_rng(1).normal(size=(*store.video.shape[:3], 4, 2, 4)).astype(np.float16)
    return Encoded.of(store, latents, ray_features(store.rig, PRESET.model.network.grid), HashTextEncoder(32))


def world_action(store, chunks=3, preset=PRESET, own_history=0.0, **statistics):
    config = replace(preset.model, **statistics)
    return WorldActionTask(
        "chunk",
        config,
        [encoded(store)],
        preset,
        chunks=chunks,
        first_noisy=min(1, chunks - 1),
        own_history=own_history,
        seed=3,
    )


def only(**share):
    return replace(PRESET, modes=Modes(**({"joint": 0, "steps_given": 0, "video_absent": 0, "video_given": 0} | share)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- labels and statistics --------------------------------------------------------------------------------------------


def test_plan_labels_on_a_circle_are_the_closed_form():
    speed, rate = 6.0, 0.3
    times = np.arange(60) / 8
    deltas = integrate_rates(np.full(60, speed), np.full(60, rate), times).motion().deltas
    poses, valid = plan_labels(deltas, np.ones(59, bool), 5, 8.0)
    assert valid.all()
    t = PLAN_TIMES_S
    closed = np.stack([speed / rate * np.sin(rate * t), speed / rate * (1 - np.cos(rate * t)), rate * t], axis=-1)
    assert_allclose(poses, closed, atol=1e-9)


@pytest.mark.parametrize("frequency_hz", [1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 12.5, 29.97])
def test_plan_labels_at_other_rates_are_the_trajectory_resampled(frequency_hz):
    count = round(5 * frequency_hz)
    deltas = np.random.default_rng(0).normal((1, 0, 0), 0.1, (count, 3))
    poses, valid = plan_labels(deltas, np.ones(count, bool), 0, frequency_hz)
    assert valid.all()
    expected = Motion(deltas=deltas, period_s=1 / frequency_hz).trajectory().resampled(PLAN_TIMES_S).poses
    assert_allclose(poses, expected, atol=1e-9)


def test_plan_labels_end_where_knowledge_ends():
    deltas, known = np.ones((40, 3)) * 0.01, np.ones(40, bool)
    assert plan_labels(deltas, known, 20, 8.0)[1].tolist() == [True] * 5 + [False] * 3  # 20 steps are left, 2.5 s
    known[9] = False
    assert plan_labels(deltas, known, 0, 8.0)[1].tolist() == [True] * 2 + [False] * 6
    assert not plan_labels(deltas, ~known & False, 0, 8.0)[1].any()
    assert not plan_labels(deltas, known, -1, 8.0)[1].any()  # nobody knows the step before the first frame


def test_motion_statistics_normalise_the_stores_steps(store):
    found = motion_statistics([store])
    steps = store.deltas.reshape(-1, 3)
    assert_allclose(found["step_mean"], steps.mean(0))
    assert_allclose(found["step_std"], steps.std(0))
    assert np.array(found["plan_mean"]).shape == (8, 3)
    assert found["plan_mean"][-1][0] == pytest.approx(32, rel=0.1)  # about 1 m per step


def test_without_motion_there_are_no_statistics(tmp_path):
    assert motion_statistics([random_store(tmp_path / "store", known=False)]) == {}


# -- stores -----------------------------------------------------------------------------------------------------------


def test_a_store_reads_back_what_was_written(store):
    again = Store.open(store.folder)
    expected = sample(1)
    for name in ("video", "objects", "deltas", "known"):
        assert (getattr(again, name)[1] == getattr(expected, name)).all()
    assert again.texts == ("keep going", "turn left", "keep going")
    assert (len(again), again.frequency_hz) == (3, 8.0)
    assert_allclose(again.rig.rays()[1], make_rig(2).rays()[1])


def test_an_interrupted_store_leaves_nothing(tmp_path):
    def broken():
        yield sample(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(broken(), 2, tmp_path / "store", make_rig(2), 8.0, {})
    assert list(tmp_path.iterdir()) == []


# -- batches ----------------------------------------------------------------------------------------------------------


def same_batches(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_batch_is_a_function_of_seed_step_and_process(store):
    for task in (world_action(store), TokenizerTask([store], PRESET, 3)):
        first = task.batch(5, 0, 1)
        task.batch(6, 0, 1)
        assert same_batches(first, task.batch(5, 0, 1))
        assert not same_batches(first, task.batch(6, 0, 1))
        assert not same_batches(first, task.batch(5, 1, 2))
    assert same_batches(world_action(store).batch(9, 0, 1), world_action(store).batch(9, 0, 1))


def test_a_batch_holds_windows_of_the_store(store):
    task = world_action(store, step_mean=(1.0, 0, 0), step_std=(0.2, 0.03, 0.02))
    batch = task.batch(0, 0, 1)
    assert batch["latents"].shape == (2, 12, 2, 4, 2, 4)
    assert batch["steps"].shape == (2, 12, 3)
    assert batch["known"].tolist() == [[False] + [True] * 11] * 2  # the step into the first frame is not in the window
    assert batch["plans"].shape == (2, 2, 8, 3)
    assert not batch["steps"][:, 0].any()
    data = task.data[0]
    for row in range(2):
        steps = batch["steps"][row, 1:].numpy() * np.array([0.2, 0.03, 0.02]) + np.array([1.0, 0, 0])
        found = [
            (clip, start)
            for clip in range(3)
            for start in range(24 - 12 + 1)
            if np.allclose(store.deltas[clip, start : start + 11], steps, atol=1e-5)
        ]
        assert len(found) == 1
        clip, start = found[0]
        assert np.array_equal(data.latents[clip, start : start + 12], batch["latents"][row].numpy())
        labels, _ = plan_labels(store.deltas[clip], store.known[clip], start + 3, 8.0)
        assert_allclose(
            batch["plans"][row, 0].numpy(), labels, atol=1e-4
        )  # seen from the newest frame before the chunk


def test_modes_come_with_their_shares():
    counts = torch.bincount(draw_modes(Modes(), 20_000, generator()), minlength=4) / 20_000
    assert_close(counts, torch.tensor([0.4, 0.2, 0.2, 0.2]), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("mode", "video_zero", "steps_zero", "present", "learns"),
    [
        ("joint", False, False, True, (True, True)),
        ("steps_given", False, True, True, (True, False)),
        ("video_absent", False, False, False, (False, True)),
        ("video_given", True, False, True, (False, True)),
    ],
)
def test_each_mode_gives_hides_and_learns_what_it_should(store, mode, video_zero, steps_zero, present, learns):
    task = world_action(store, preset=only(**{mode: 1.0}))
    batch = task.batch(0, 0, 1)
    draw = Draw.of(task, batch, generator())
    assert bool((draw.video_time == 0).all()) == video_zero
    assert bool((draw.steps_time == 0).all()) == steps_zero
    assert bool(draw.present.all()) == present == bool(draw.present.any())
    assert (bool(draw.learn_video.all()), bool(draw.learn_steps.all())) == learns
    if video_zero:
        assert torch.equal(draw.noisy_video, batch["latents"][:, 4:])
    if steps_zero:
        assert torch.equal(draw.noisy_steps, batch["steps"][:, 4:])
    for times in (draw.video_time, draw.steps_time):
        assert torch.equal(times, times[:, ::4].repeat_interleave(4, dim=1))  # one time per chunk


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("own_history", [0.0, 1.0])
def test_losses_are_finite_and_reach_every_parameter_that_is_used(store, chunks, own_history):
    task, network = world_action(store, chunks, only(joint=1.0), own_history=own_history), make_network()
    loss, metrics = task.loss(network, task.batch(0, 0, 1), generator())
    assert set(metrics) == {"video", "steps", "plan"}
    assert all(math.isfinite(value) and value > 0 for value in metrics.values())
    expected = metrics["video"] + PRESET.steps_weight * metrics["steps"] + PRESET.plan_weight * metrics["plan"]
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    for name in ("video_in.weight", "steps_in.mlp.0.weight", "plan_in.weight", "guidance_in.weight", "ray_in.0.weight"):
        gradient = network.get_parameter(name).grad
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_a_loss_is_a_function_of_its_generator(store):
    task, network = world_action(store), make_network()
    batch = task.batch(0, 0, 1)
    first, again, other = (float(task.loss(network, batch, generator(s))[0].detach()) for s in (0, 0, 1))
    assert first == again != other


def test_own_history_changes_only_the_clean_video(store):
    task, network = world_action(store, preset=only(joint=1.0)), make_network()
    batch = task.batch(0, 0, 1)
    draw = Draw.of(task, batch, generator())
    own = task._with_own_history(network, batch, draw)
    assert torch.equal(own.clean_video[:, :4], draw.clean_video[:, :4])  # the first chunk is never denoised
    assert not torch.equal(own.clean_video[:, 4:], draw.clean_video[:, 4:])
    assert own.noisy_video is draw.noisy_video
    assert not own.clean_video.requires_grad


def viewing(store, tokenizer, preset=PRESET, own_history=0.0):
    return WorldActionTask(
        "chunk",
        preset.model,
        [encoded(store)],
        preset,
        tokenizer=tokenizer,
        chunks=3,
        first_noisy=1,
        own_history=own_history,
        seed=3,
    )


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    return Tokenizer(PRESET.model.tokenizer).eval()


def test_the_view_is_the_last_frame_of_the_chunk_before_warped_along_the_steps(store, tokenizer):
    task = viewing(store, tokenizer, only(steps_given=1.0))
    batch = task.batch(0, 0, 1)
    draw = replace(Draw.of(task, batch, generator()), level=torch.zeros(2), view_known=torch.tensor([True, False]))
    view = task._view(batch, draw, batch["latents"])
    assert view.shape == batch["latents"][:, 4:].shape
    assert not view[1].any()
    warp, steps = Warp(store.rig), batch["steps"][0].double().numpy()
    for chunk in (1, 2):
        start = 4 * chunk
        poses = torch.from_numpy(poses_after(steps[start : start + 4]))[None]
        expected = warped_latents(tokenizer, warp, batch["latents"][:1, start - 1], poses)[0]
        assert_close(view[0, start - 4 : start], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["joint", "video_absent", "video_given"])
def test_who_has_to_find_the_steps_is_not_shown_the_view(store, tokenizer, mode):
    task = viewing(store, tokenizer, only(**{mode: 1.0}))
    batch = task.batch(0, 0, 1)
    draw = Draw.of(task, batch, generator())
    assert not draw.view_known.any()
    assert task._view(batch, draw, batch["latents"]) is None


def test_own_history_shows_its_own_view(store, tokenizer):
    task = viewing(store, tokenizer, only(steps_given=1.0), own_history=1.0)
    batch, module = task.batch(0, 0, 1), task.module()
    draw = Draw.of(task, batch, generator())
    draw = replace(draw, view_known=torch.ones(2, dtype=torch.bool), view=None)
    own = task._with_own_history(module, batch, draw)
    real = task._view(batch, draw, batch["latents"])
    assert_close(own.view[:, :4], real[:, :4])  # before the first imagined chunk there are real frames
    assert (own.view[:, 4:] - real[:, 4:]).abs().max() > 1e-3


def test_some_samples_go_without_past_or_motion_or_with_an_older_memory(store):
    task = world_action(store, chunks=3, preset=replace(only(joint=1.0), batch_clips=400))
    draw = Draw.of(task, task.batch(0, 0, 1), generator())
    assert 0.01 < (~draw.history_known).float().mean() < 0.1
    assert (draw.clean_steps_time[~draw.history_known] == 1).all()
    assert 0.4 < (draw.steps_time == 1).all(dim=1).float().mean() < 0.6
    assert (draw.staleness[:, 0] == 0).all()  # chunk 1 has one chunk of past: it must not lose it
    assert set(draw.staleness[:, 1].tolist()) == {0, 1}


def test_missing_motion_is_unknown_and_costs_no_loss(tmp_path):
    task, network = world_action(random_store(tmp_path / "store", known=False)), make_network()
    batch = task.batch(0, 0, 1)
    assert not batch["known"].any()
    assert not batch["plans_known"].any()
    for seed in range(4):
        draw = Draw.of(task, batch, generator(seed))
        assert (draw.steps_time == 1).all()
        assert (draw.clean_steps_time == 1).all()
        assert not draw.clean_steps.any()
        assert torch.equal(draw.noisy_steps, draw.steps_noise)
    loss, metrics = task.loss(network, batch, generator())
    assert metrics["steps"] == metrics["plan"] == 0
    loss.backward()
    assert not network.plan_out.linear.weight.grad.any()
    assert not network.steps_out.linear.weight.grad.any()


def test_reconstruction_loss_is_zero_for_equal_pictures_and_weighs_objects():
    pictures = torch.rand(2, 3, 16, 16, generator=generator())
    weight = torch.ones(2, 1, 16, 16)
    assert float(reconstruction_loss(pictures, pictures, weight)) == 0
    shifted = pictures + 0.1
    assert float(reconstruction_loss(shifted, pictures, weight)) == pytest.approx(0.1, rel=1e-4)
    assert float(reconstruction_loss(shifted, pictures, 4 * weight)) == pytest.approx(0.4, rel=1e-4)
