"""Attention in groups against the whole mask, and texts read ahead of the chunk."""

from dataclasses import replace

import pytest
import torch
from makers import make_network
from test_network import normal, training_layout
from torch.testing import assert_close

from worldmodel.attention import Cells, Stream, visibility
from worldmodel.attention_backends import BACKENDS
from worldmodel.layout import Withheld, cells_of, withheld
from worldmodel.reading import dense_mask, reading
from worldmodel.sequence import PlanPart, TokenSequence

WHOLE = replace(BACKENDS["torch"], in_groups=False)
GROUPED = BACKENDS["torch"]


def both_ways(network, *inputs, **options):
    answers = []
    for backend in (GROUPED, WHOLE):
        network.attention = backend
        answers.append(network(*inputs, **options))
    return answers


def hidden_in_parts(batch=3):
    """A training batch in which samples differ: one without video, texts of unequal length, plans of unequal staleness."""
    sequence = training_layout(batch=batch)
    clean, noisy = sequence.frames
    present = torch.tensor([True, False, True])
    valid = torch.arange(5)[None, None] < torch.tensor([5, 2, 1])[:, None, None]
    return present, replace(
        sequence,
        frames=(clean, replace(noisy, video_present=present)),
        plan=replace(sequence.plan, staleness=torch.tensor([[0, 0, 1], [0, 1, 2], [1, 0, 0]])),
        guidance=replace(sequence.guidance, valid=valid.expand(-1, 3, -1).contiguous()),
    )


@torch.no_grad()
@pytest.mark.parametrize("views", ["all", "factorised"])
def test_attention_in_groups_is_attention_under_the_mask(views):
    network = make_network(view_attention=views)
    grouped, masked = both_ways(network, training_layout(cameras=3), remember=True)
    for name in ("video", "steps", "plan"):
        assert_close(getattr(grouped, name), getattr(masked, name), atol=1e-5, rtol=1e-4)
    assert_close(grouped.entry.keys, masked.entry.keys, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("views", ["all", "factorised"])
def test_samples_that_withhold_different_things_are_masked_in_their_groups(views):
    present, sequence = hidden_in_parts()
    grouped, masked = both_ways(make_network(view_attention=views), sequence)
    assert_close(grouped.video[present], masked.video[present], atol=1e-5, rtol=1e-4)  # nobody reads absent video
    assert_close(grouped.steps, masked.steps, atol=1e-5, rtol=1e-4)
    assert_close(grouped.plan, masked.plan, atol=1e-5, rtol=1e-4)


def test_gradients_of_groups_are_those_of_the_mask():
    present, sequence = hidden_in_parts()
    network = make_network()
    gradients = []
    for output in both_ways(network, sequence):
        network.zero_grad()
        (output.video[present].square().mean() + output.steps.square().mean() + output.plan.square().mean()).backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient.isfinite().all()
        assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-3, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("views", ["all", "factorised"])
def test_a_chunk_reads_its_memory_in_groups_as_under_the_mask(views):
    network = make_network(view_attention=views)
    whole = training_layout(chunks=3, cameras=3)
    recall = recalled(network, whole)
    noisy = whole.frames[1]
    last = {name: getattr(noisy, name)[:, 8:] for name in ("steps", "steps_time", "video", "video_time")}
    now = TokenSequence(
        frames=(replace(noisy, frames=torch.arange(8, 12), **last),), rays=whole.rays, period_s=whole.period_s
    )
    grouped, masked = both_ways(network, now, recall, now=8.0)
    assert_close(grouped.video, masked.video, atol=1e-5, rtol=1e-4)
    assert_close(grouped.steps, masked.steps, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(grouped.steps, network(now, None, now=8.0).steps, atol=1e-3)


def recalled(network, whole, chunks=2):
    """The first chunks of the clean copy as the third chunk reads them."""
    from worldmodel.memory import KeysValues

    clean = whole.frames[0]
    first = {name: getattr(clean, name)[:, : 4 * chunks] for name in ("steps", "steps_time", "video", "video_time")}
    past = replace(clean, frames=torch.arange(4 * chunks), **first)
    entry = network(TokenSequence(frames=(past,), rays=whole.rays, period_s=whole.period_s), remember=True).entry
    layers = [
        KeysValues(keys=keys, values=values, cells=entry.cells)
        for keys, values in zip(entry.keys, entry.values, strict=True)
    ]
    return network.recall(layers, 4.0 * chunks)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [(5, 5), (3, 3), (5, 1)])
def test_texts_read_ahead_change_nothing(lengths):
    network, whole = make_network(), training_layout(chunks=3, batch=2)
    recall, noisy = recalled(network, whole), whole.frames[1]
    last = {name: getattr(noisy, name)[:, 8:] for name in ("steps", "steps_time", "video", "video_time")}
    part = replace(noisy, frames=torch.arange(8, 12), **last)
    valid = (torch.arange(5)[None] < torch.tensor(lengths)[:, None])[:, None]
    text = replace(
        whole.guidance, chunks=torch.tensor([2]), features=normal(2, 1, 5, 32, seed=7), valid=valid.contiguous()
    )
    plan = PlanPart(chunks=torch.tensor([2]), values=normal(2, 1, 8, 3), time=torch.full((2, 1), 0.5))
    inside = TokenSequence(frames=(part,), rays=whole.rays, period_s=whole.period_s, guidance=text, plan=plan)
    for past in (recall, None):
        ahead = network.with_guidance(past, text, whole.period_s, 8.0)
        expected = network(inside, past, now=8.0)
        found = network(replace(inside, guidance=None), ahead, now=8.0)
        for name in ("video", "steps", "plan"):
            assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-4)
        assert len(ahead.cells) == (0 if past is None else len(past.cells)) + max(lengths)


@torch.no_grad()
def test_a_rollouts_pass_masks_nothing():
    seen = []

    def watched(mask):
        seen.append(mask)
        return GROUPED.prepared(mask)

    network, whole = make_network(), training_layout(chunks=3)
    recall, noisy = recalled(network, whole), whole.frames[1]
    last = {name: getattr(noisy, name)[:, 8:] for name in ("steps", "steps_time", "video", "video_time")}
    text = replace(whole.guidance, chunks=torch.tensor([2]), features=whole.guidance.features[:, :1])
    text = replace(text, valid=whole.guidance.valid[:, :1])
    now = TokenSequence(
        frames=(replace(noisy, frames=torch.arange(8, 12), **last),), rays=whole.rays, period_s=whole.period_s
    )
    recall = network.with_guidance(recall, text, whole.period_s, 8.0)
    network.attention = replace(GROUPED, prepared=watched)
    network(now, recall, now=8.0)
    assert seen == [None]


def test_samples_that_remember_different_cells_are_served_by_the_mask():
    """The third cell of sample 0 is of a later chunk; the grouping gives way to the mask, and the answer is exact."""
    cells = cells_of(make_network().config, training_layout(chunks=1))
    readers = cells[cells.clean]
    stream = torch.full((2, 3), int(Stream.VIDEO))
    past = Cells(
        stream=stream,
        chunk=torch.tensor([[-1, -1, 5], [-1, -1, -1]]),
        clean=torch.ones(2, 3, dtype=torch.bool),
        camera=torch.zeros_like(stream),
        position=torch.zeros(2, 3, 3),
    )
    sources = Cells.joined([past, readers])
    q = normal(2, 2, len(readers), 8)
    k, v = normal(2, 2, len(sources), 8, seed=1), normal(2, 2, len(sources), 8, seed=2)
    answer = reading(readers, sources, backend=GROUPED)(q, k, v)
    assert_close(answer, WHOLE.prepared(dense_mask(readers, sources, Withheld()))(q, k, v))
    changed = v.clone()
    changed[0, :, 2] += 1e3
    again = reading(readers, sources, backend=GROUPED)(q, k, changed)
    assert torch.equal(again[0], answer[0])
    changed[1, :, 2] += 1e3
    assert not torch.equal(reading(readers, sources, backend=GROUPED)(q, k, changed)[1], answer[1])


def test_factorised_views_read_their_camera_at_all_times_and_the_others_in_their_frame():
    network, sequence = make_network(view_attention="factorised"), training_layout(chunks=2, cameras=3)
    cells = cells_of(network.config, sequence)
    everything = visibility(cells, cells)
    factorised = visibility(cells, cells, across_views=False)
    video = (cells.stream == Stream.VIDEO)[:, None] & (cells.stream == Stream.VIDEO)[None]
    near = (cells.camera[:, None] == cells.camera[None]) | (cells.position[:, None, 0] == cells.position[None, :, 0])
    assert torch.equal(factorised, everything & (~video | near))
    assert factorised.sum() < everything.sum()


def test_a_sequence_in_which_nothing_is_hidden_withholds_nothing():
    network, sequence = make_network(), training_layout()
    assert withheld(network.config, replace(sequence, guidance=None), None).valid is None
    assert withheld(network.config, sequence, None).valid is not None
