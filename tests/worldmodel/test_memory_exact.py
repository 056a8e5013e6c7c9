"""What is computed against a memory equals what is computed from scratch, also where ages are clamped."""

from dataclasses import replace

import pytest
import torch
from makers import make_network
from test_memory import chunk_by_chunk, only
from test_network import training_layout
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from worldmodel.attention import rotary_angles, rotate
from worldmodel.attention_backends import Backend
from worldmodel.layout import cells_of
from worldmodel.memory import Full, Selective, Window
from worldmodel.sequence import TokenSequence

CHUNKS = 7
OLDEST = 8  # frames: two chunks, so that most of the history is older than any age trained


def recomputed(network, sequence: TokenSequence):
    """All chunks at once, without a cache: every reader turns all keys by their age as its own chunk sees it."""
    cells, size = cells_of(network.config, sequence), network.config.head_size
    whole = rotary_angles(cells.position, size)

    def prepared(mask):
        def attend(queries, keys, values):
            queries, keys = rotate(queries, -whole), rotate(keys, -whole)
            answers = torch.zeros_like(queries)
            for chunk in cells.chunk.unique().tolist():
                now, readers = 4.0 * chunk, cells.chunk == chunk
                position = cells.position.clone()
                position[:, 0] = position[:, 0].clamp(min=now - network.config.oldest_frames) - now
                angles = rotary_angles(position, size)
                answers[:, :, readers] = scaled_dot_product_attention(
                    rotate(queries, angles)[:, :, readers], rotate(keys, angles), values, mask[:, :, readers]
                )
            return answers

        return attend

    cached = network.attention
    network.attention = Backend(name="recomputed", prepared=prepared, in_groups=False)
    try:
        return network(sequence)
    finally:
        network.attention = cached


def assert_equal_chunks(outputs, whole):
    for k, output in enumerate(outputs):
        span = slice(4 * k, 4 * k + 4)
        assert_close(output.video, whole.video[:, span], atol=1e-4, rtol=0)
        assert_close(output.steps, whole.steps[:, span], atol=1e-4, rtol=0)
        assert_close(output.plan, whole.plan[:, k : k + 1], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("oldest", [OLDEST, 4 * CHUNKS])
def test_full_memory_equals_recomputation_whatever_the_oldest_age(oldest):
    network, sequence = make_network(layers=3, oldest_frames=oldest), training_layout(chunks=CHUNKS, batch=2)
    assert_equal_chunks(chunk_by_chunk(network, sequence, Full(), CHUNKS), recomputed(network, sequence))


@torch.no_grad()
def test_clamping_the_age_matters():
    sequence = training_layout(chunks=CHUNKS)
    clamped, free = (recomputed(make_network(oldest_frames=oldest), sequence) for oldest in (OLDEST, 4 * CHUNKS))
    assert_close(clamped.video[:, :8], free.video[:, :8], atol=1e-5, rtol=0)
    assert not torch.allclose(clamped.video[:, -4:], free.video[:, -4:], atol=1e-3)


@torch.no_grad()
def test_a_selective_memory_with_room_for_everything_equals_recomputation():
    network, sequence = make_network(layers=3, oldest_frames=OLDEST), training_layout(chunks=CHUNKS, batch=2)
    roomy = Selective(sink=1, recent=1, video_budget=CHUNKS, action_budget=CHUNKS)
    assert_equal_chunks(chunk_by_chunk(network, sequence, roomy, CHUNKS), recomputed(network, sequence))


def one_of(part, sample):
    """One sample of a batch of tokens."""
    names = [name for name, value in vars(part).items() if isinstance(value, torch.Tensor) and value.ndim > 1]
    return replace(part, **{name: getattr(part, name)[sample : sample + 1] for name in names})


@torch.no_grad()
def test_a_sample_is_answered_alike_alone_and_in_a_batch_whose_samples_keep_different_cells():
    network, sequence = make_network(oldest_frames=OLDEST), training_layout(chunks=CHUNKS, batch=3)
    memory = Selective(sink=1, recent=1, video_budget=1, action_budget=1)
    together = chunk_by_chunk(network, sequence, memory, CHUNKS)
    for sample in range(3):
        alone = replace(
            sequence,
            frames=tuple(one_of(part, sample) for part in sequence.frames),
            rays=sequence.rays[sample : sample + 1],
            period_s=sequence.period_s[sample : sample + 1],
            plan=one_of(sequence.plan, sample),
            guidance=one_of(sequence.guidance, sample),
        )
        for one, many in zip(chunk_by_chunk(network, alone, memory, CHUNKS), together, strict=True):
            for name in ("video", "steps", "plan"):
                assert_close(getattr(one, name), getattr(many, name)[sample : sample + 1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_what_a_bounded_memory_dropped_is_missed():
    network, sequence = make_network(), training_layout(chunks=CHUNKS)
    full = chunk_by_chunk(network, sequence, Full(), CHUNKS)[-1]
    for memory in (Window(sink=1, recent=2), Selective(sink=1, recent=2, video_budget=1, action_budget=1)):
        assert not torch.allclose(chunk_by_chunk(network, sequence, memory, CHUNKS)[-1].video, full.video, atol=1e-4)


@torch.no_grad()
def test_writing_a_chunk_tells_the_oldest_age_that_its_network_knows():
    network, sequence = make_network(oldest_frames=OLDEST), training_layout(chunks=2)
    entry = network(only(sequence, 1, clean=True), now=4.0, remember=True).entry
    assert (entry.oldest_frames, entry.first_frame) == (OLDEST, 4.0)
