from dataclasses import replace

import pytest
import torch
from makers import make_network
from test_tasks import generator, only, random_store, world_action
from torch import nn
from torch.testing import assert_close

from worldmodel.sequence import Output
from worldmodel.training.draws import Draw
from worldmodel.training.tasks import OWN_STEPS

CHUNK = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("own") / "store")


def drawn(store, chunks=4, **share):
    """A task, its batch and a draw whose history carries no noise."""
    task = world_action(store, chunks=chunks, preset=only(**(share or {"joint": 1.0})))
    batch = task.batch(0, 0, 1)
    return task, batch, replace(Draw.of(task, batch, generator()), level=torch.zeros(2))


class Knowing(nn.Module):
    """Says the velocity that leads to frames of `video` from anywhere, and keeps what it was shown."""

    def __init__(self, video):
        super().__init__()
        self.video, self.seen = video, []

    def forward(self, sequence):
        past, now = sequence.frames
        self.seen.append((past, now))
        velocity = (now.video - self.video[:, now.frames]) / now.video_time[..., None, None, None, None]
        return Output(video=velocity, steps=None, plan=None, entry=None)


def test_every_chunk_is_sampled_from_noise_in_steps_along_the_true_steps(store):
    task, batch, draw = drawn(store)
    module = Knowing(torch.randn(batch["latents"].shape, generator=generator(5)))
    own = task._with_own_history(module, batch, draw)
    assert_close(own.clean_video[:, CHUNK:], module.video[:, CHUNK : 3 * CHUNK], rtol=1e-4, atol=1e-4)
    assert torch.equal(own.clean_video[:, :CHUNK], batch["latents"][:, :CHUNK])
    assert len(module.seen) == 2 * OWN_STEPS  # the last chunk is nobody's history
    for number, (_, now) in enumerate(module.seen):
        here = slice((1 + number // OWN_STEPS) * CHUNK, (2 + number // OWN_STEPS) * CHUNK)
        assert (now.video_time == 1 - number % OWN_STEPS / OWN_STEPS).all()
        known = batch["known"][:, here]
        assert torch.equal(now.steps[known], batch["steps"][:, here][known])
        assert torch.equal(now.steps_time, (~known).float())
    assert torch.equal(module.seen[0][1].video, draw.video_noise[:, :CHUNK])


def test_a_chunk_is_sampled_after_the_own_chunks_before_it(store):
    task, batch, draw = drawn(store)
    module = Knowing(torch.zeros(batch["latents"].shape))
    task._with_own_history(module, batch, draw)
    first, second = module.seen[0][0], module.seen[OWN_STEPS][0]
    assert_close(first.video, batch["latents"][:, :CHUNK])
    assert_close(second.video[:, :CHUNK], batch["latents"][:, :CHUNK])
    assert_close(second.video[:, CHUNK:], torch.zeros_like(second.video[:, CHUNK:]), rtol=0, atol=1e-5)


def test_the_own_past_carries_the_noise_that_memory_carries(store):
    task, batch, draw = drawn(store)
    draw = replace(draw, level=torch.full((2,), 0.1))
    module = Knowing(torch.zeros(batch["latents"].shape))
    own = task._with_own_history(module, batch, draw)
    noise = 0.1 * draw.history_noise[:, CHUNK : 3 * CHUNK]
    assert_close(own.clean_video[:, CHUNK:], noise, rtol=1e-4, atol=1e-4)
    assert (module.seen[0][0].video_time == 0.1).all()


@pytest.mark.parametrize("mode", ["video_given", "video_absent"])
def test_who_does_not_denoise_video_keeps_the_real_past(store, mode):
    task, batch, draw = drawn(store, **{mode: 1.0})
    own = task._with_own_history(make_network(), batch, draw)
    history = batch["latents"][:, : 3 * CHUNK]
    assert_close(own.clean_video, history)


def test_no_gradient_flows_through_the_own_past(store):
    task, batch, draw = drawn(store)
    assert not task._with_own_history(make_network(), batch, draw).clean_video.requires_grad
