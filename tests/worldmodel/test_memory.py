from dataclasses import replace

import pytest
import torch
from makers import make_network
from test_network import training_layout
from torch.testing import assert_close

from worldmodel.attention import Cells, Stream, rotary_angles, rotate
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.memory import (
    ChunkEntry,
    Full,
    KeysValues,
    Selective,
    Window,
    make_memory,
    memory_stats,
    memory_warnings,
)
from worldmodel.sequence import TokenSequence


def entry(number, cells=3, layers=2):
    """A chunk whose keys, values and cells all carry its number."""
    tensor = torch.full((layers, 1, 2, cells, 4), float(number))
    return ChunkEntry(
        keys=tensor,
        values=-tensor,
        queries=tensor,
        cells=Cells(
            stream=torch.full((cells,), int(Stream.VIDEO)),
            chunk=torch.full((cells,), number),
            clean=torch.ones(cells, dtype=torch.bool),
            camera=torch.zeros(cells, dtype=torch.int64),
            position=torch.full((cells, 3), 4.0 * number),
        ),
    )


def kept(memory):
    read = memory.read(1)
    assert read.keys.shape[2] == read.values.shape[2] == len(read.cells)
    assert torch.equal(read.keys[0, 0, :, 0], read.cells.chunk.float())
    assert torch.equal(read.values, -read.keys)
    return sorted(set(read.cells.chunk.tolist()))


def filled(memory, chunks):
    for number in range(chunks):
        memory = memory.append(entry(number))
    return memory


def test_an_empty_memory_reads_as_nothing():
    assert Full().read(0) is None
    assert Window().read(0) is None


def test_full_keeps_all_chunks_oldest_first():
    memory = filled(Full(), 5)
    assert kept(memory) == [0, 1, 2, 3, 4]
    assert memory.read(0).cells.chunk.tolist() == sorted(memory.read(0).cells.chunk.tolist())


@pytest.mark.parametrize(
    ("sink", "recent", "expected"), [(1, 2, [0, 5, 6]), (0, 3, [4, 5, 6]), (2, 1, [0, 1, 6]), (1, 9, list(range(7)))]
)
def test_a_window_keeps_the_first_and_the_newest_chunks(sink, recent, expected):
    assert kept(filled(Window(sink=sink, recent=recent), 7)) == expected


def test_a_windows_size_stays_constant_while_full_grows():
    sizes = {"window": [], "full": []}
    for name, memory in (("window", Window(sink=1, recent=2)), ("full", Full())):
        for number in range(8):
            memory = memory.append(entry(number))
            sizes[name].append(memory_stats(memory)["cells"])
    assert sizes["window"] == [3, 6, 9, 9, 9, 9, 9, 9]
    assert sizes["full"] == [3 * n for n in range(1, 9)]


@pytest.mark.parametrize("memory", [Full(), Window(sink=1, recent=2)])
def test_appending_gives_a_new_memory_and_leaves_the_old_one(memory):
    old = filled(memory, 3)
    before, values = kept(old), old.read(0).keys.clone()
    one, other = old.append(entry(3)), old.append(entry(7))
    assert kept(old) == before
    assert torch.equal(old.read(0).keys, values)
    assert (old.chunks, one.chunks, other.chunks) == (3, 4, 4)
    assert kept(one)[-1] == 3
    assert kept(other)[-1] == 7


@pytest.mark.parametrize("memory", [Full(), Window(sink=1, recent=2)])
def test_several_futures_share_one_past(memory):
    many = filled(memory, 2).repeated(5)
    assert many.read(0).keys.shape[0] == 5
    assert kept(many) == [0, 1]
    assert many.chunks == 2


def test_stats_count_what_is_kept():
    stats = memory_stats(filled(Window(sink=1, recent=1), 4))
    assert (stats["chunks_seen"], stats["chunks_kept"], stats["cells"]) == (4, 2, 6)
    assert stats["megabytes"] == pytest.approx(2 * 2 * 2 * 1 * 2 * 3 * 4 * 4 / 2**20)


@pytest.mark.parametrize(("sink", "recent"), [(-1, 2), (1, 0)])
def test_a_window_without_recent_chunks_is_refused(sink, recent):
    with pytest.raises(BadRequest, match="at least one recent chunk"):
        Window(sink=sink, recent=recent)


def test_full_memory_warns_once_it_reaches_back_further_than_was_trained():
    aged = [replace(entry(number), oldest_frames=12) for number in range(6)]
    full, window = Full(), Window(sink=1, recent=2)
    for number, one in enumerate(aged):
        full, window = full.append(one), window.append(one)
        assert bool(memory_warnings(full)) == (number > 3)  # a chunk is four frames
        assert not memory_warnings(window)
    assert "reached back 20 frames, further than the 12 that were trained" in memory_warnings(full)[0]
    assert "--memory window or selective" in memory_warnings(full)[0]
    assert not memory_warnings(Full())


def test_memories_have_names_and_the_closest_is_offered():
    assert isinstance(make_memory("full"), Full)
    window = make_memory("window", sink=2, recent=3)
    assert isinstance(window, Window)
    assert (window.sink, window.recent) == (2, 3)
    selective = make_memory("selective", sink=2, recent=3, video_budget=5, action_budget=6, balance=0.2)
    assert isinstance(selective, Selective)
    sizes = (selective.sink, selective.recent, selective.video_budget, selective.action_budget, selective.balance)
    assert sizes == (2, 3, 5, 6, 0.2)
    with pytest.raises(UnknownName, match="Did you mean 'window'"):
        make_memory("windw")


# -- a memory against computing everything again ----------------------------------------------------------------------


def chunk_of(part, k):
    span = slice(4 * k, 4 * k + 4)
    cut = {name: getattr(part, name)[:, span] for name in ("steps", "steps_time", "video", "video_time")}
    return replace(part, frames=part.frames[span], **cut)


def only(sequence, k, *, clean):
    """One chunk of a training layout: its clean copy alone, or its noisy copy with plan and text."""
    part = chunk_of(sequence.frames[0 if clean else 1], k)
    if clean:
        return TokenSequence(frames=(part,), rays=sequence.rays, period_s=sequence.period_s)
    plan, text = sequence.plan, sequence.guidance
    return replace(
        sequence,
        frames=(part,),
        plan=replace(
            plan, chunks=plan.chunks[k : k + 1], values=plan.values[:, k : k + 1], time=plan.time[:, k : k + 1]
        ),
        guidance=replace(
            text, chunks=text.chunks[k : k + 1], features=text.features[:, k : k + 1], valid=text.valid[:, k : k + 1]
        ),
    )


def chunk_by_chunk(network, sequence, memory, chunks):
    """Outputs of every chunk, computed against the memory alone."""
    outputs = []
    for k in range(chunks):
        layers = [memory.read(layer) for layer in range(network.config.layers)]
        recall = network.recall([layer for layer in layers if layer is not None], 4.0 * k)
        outputs.append(network(only(sequence, k, clean=False), recall, now=4.0 * k))
        memory = memory.append(network(only(sequence, k, clean=True), recall, now=4.0 * k, remember=True).entry)
    return outputs


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
def test_full_memory_equals_recomputation(batch):
    chunks = 6
    network, sequence = make_network(layers=3), training_layout(chunks=chunks, batch=batch)
    whole = network(sequence)
    for k, output in enumerate(chunk_by_chunk(network, sequence, Full(), chunks)):
        span = slice(4 * k, 4 * k + 4)
        assert_close(output.video, whole.video[:, span], atol=1e-4, rtol=0)
        assert_close(output.steps, whole.steps[:, span], atol=1e-4, rtol=0)
        assert_close(output.plan, whole.plan[:, k : k + 1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_memory_matters():
    network, sequence = make_network(layers=3), training_layout(chunks=3)
    with_memory = chunk_by_chunk(network, sequence, Full(), 3)[2]
    without = network(only(sequence, 2, clean=False), now=8.0)
    for name in ("video", "steps", "plan"):
        assert not torch.allclose(getattr(with_memory, name), getattr(without, name), atol=1e-2)


@torch.no_grad()
def test_a_window_that_has_dropped_nothing_is_full_memory():
    network, sequence = make_network(), training_layout(chunks=4)
    full = chunk_by_chunk(network, sequence, Full(), 4)
    window = chunk_by_chunk(network, sequence, Window(sink=1, recent=2), 4)
    assert torch.equal(full[3].video, window[3].video)
    smaller = chunk_by_chunk(network, sequence, Window(sink=1, recent=1), 4)
    assert torch.equal(full[2].video, smaller[2].video)
    assert not torch.equal(full[3].video, smaller[3].video)


@torch.no_grad()
def test_cells_older_than_any_in_training_stand_at_the_oldest_age():
    network = make_network(oldest_frames=8)
    cells = entry(0).cells
    keys = torch.randn(1, 2, 3, 16, generator=torch.Generator().manual_seed(0))
    layer = [KeysValues(keys=keys, values=keys, cells=cells)]
    young, oldest, ancient = (network.recall(layer, now).keys[0] for now in (4.0, 8.0, 400.0))
    assert torch.equal(oldest, ancient)
    assert not torch.equal(young, oldest)
    assert_close(young, rotate(keys, rotary_angles(torch.tensor([[-4.0, 0, 0]] * 3), 16)))
    assert not cells.position.any()  # read, not changed


def test_no_memory_is_no_recall():
    assert make_network().recall([], 0.0) is None
