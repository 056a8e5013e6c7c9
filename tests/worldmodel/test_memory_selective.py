"""A selective memory stays within its bounds, keeps both ends, and chooses by relevance less redundancy."""

import time
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from worldmodel.attention import Cells, Stream, rotary_angles, rotate
from worldmodel.errors import BadRequest
from worldmodel.memory import ChunkEntry, Full, Selective, Window, memory_stats
from worldmodel.memory.pool import NOBODY, Pool
from worldmodel.memory.selective import attention_paid

VIDEO, STEPS = 12, 4  # cells of a chunk: four frames of three cells, one step into each
SIZE = 8


def chunk_cells(number: int) -> Cells:
    frame = 4 * number + torch.cat([torch.arange(4).repeat_interleave(VIDEO // 4), torch.arange(4)])
    place = torch.cat([torch.arange(VIDEO) % 3, torch.zeros(STEPS, dtype=torch.int64)])
    return Cells(
        stream=torch.tensor([Stream.VIDEO] * VIDEO + [Stream.STEPS] * STEPS),
        chunk=torch.full((VIDEO + STEPS,), number),
        clean=torch.ones(VIDEO + STEPS, dtype=torch.bool),
        camera=torch.tensor([0] * VIDEO + [-1] * STEPS),
        position=torch.stack([frame, 0 * place, place], dim=-1).float(),
    )


def entry(number: int, *, batch: int = 1, layers: int = 2, heads: int = 2, seed: int = 0) -> ChunkEntry:
    """A chunk of random keys, values and queries; each sample of a batch has its own."""
    random = torch.Generator().manual_seed(1000 * seed + number)
    shape = (layers, batch, heads, VIDEO + STEPS, SIZE)
    keys, values, queries = (torch.randn(shape, generator=random) for _ in range(3))
    return ChunkEntry(keys=keys, values=values, queries=queries, cells=chunk_cells(number), oldest_frames=16)


def filled(memory, chunks, **changes):
    for number in range(chunks):
        memory = memory.append(entry(number, **changes))
    return memory


def names(memory, sample=0):
    """(chunk, stream, frame, column) of every cell, in the order of reading."""
    cells = memory.read(0).cells.expanded(torch.Size([len(memory.read(0).keys)]))
    columns = (cells.chunk, cells.stream, cells.position[..., 0].long(), cells.position[..., 2].long())
    return list(zip(*(column[sample].tolist() for column in columns), strict=True))


# -- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_pools_never_exceed_their_budgets_and_both_ends_are_always_kept(seed):
    random = torch.Generator().manual_seed(seed)
    sink, recent, video, action = (int(x) for x in torch.randint(0, 4, (4,), generator=random))
    memory = Selective(sink=sink, recent=recent + 1, video_budget=video, action_budget=action, balance=seed / 3)
    for number in range(14):
        memory = memory.append(entry(number, seed=seed))
        kept = names(memory)
        assert len(set(kept)) == len(kept)
        whole = {*range(min(sink, number + 1)), *range(max(0, number - recent), number + 1)}
        for stream, each, budget in ((Stream.VIDEO, VIDEO, video), (Stream.STEPS, STEPS, action)):
            between = [cell for cell in kept if cell[1] == stream and cell[0] not in whole]
            assert len(between) == min(budget * each, each * max(0, number + 1 - len(whole)))
            for chunk in whole:
                assert sum(cell[0] == chunk and cell[1] == stream for cell in kept) == each


def test_size_and_stats_are_constant_once_the_pools_are_full():
    memory, sizes = Selective(sink=1, recent=2, video_budget=2, action_budget=3), []
    for number in range(12):
        memory = memory.append(entry(number))
        stats = memory_stats(memory)
        sizes.append((stats["video_cells"], stats["action_cells"], stats["cells"], stats["megabytes"]))
        assert stats["chunks_seen"] == number + 1
    assert sizes[0][:3] == (VIDEO, STEPS, VIDEO + STEPS)
    assert sizes[5:] == [sizes[5]] * 7
    assert sizes[5][:3] == (5 * VIDEO, 6 * STEPS, 5 * VIDEO + 6 * STEPS)


def test_one_modality_never_crowds_out_the_other():
    """Steps that nobody looks at keep their places, and so does video."""
    memory = filled(Selective(sink=0, recent=1, video_budget=1, action_budget=1), 9)
    streams = [stream for _, stream, _, _ in names(memory)]
    assert (streams.count(Stream.VIDEO), streams.count(Stream.STEPS)) == (2 * VIDEO, 2 * STEPS)


def test_without_budgets_it_is_a_window():
    selective = filled(Selective(sink=1, recent=3, video_budget=0, action_budget=0), 9)
    window = filled(Window(sink=1, recent=3), 9)
    assert names(selective) == names(window)
    assert torch.equal(selective.read(1).keys, window.read(1).keys)


def test_with_room_for_everything_it_holds_all_that_full_holds():
    selective, full = filled(Selective(sink=1, recent=2, video_budget=9, action_budget=9), 7), filled(Full(), 7)
    assert sorted(names(selective)) == sorted(names(full))
    order = [names(full).index(name) for name in names(selective)]
    for layer in range(2):
        assert torch.equal(selective.read(layer).keys, full.read(layer).keys[:, :, order])
        assert torch.equal(selective.read(layer).values, full.read(layer).values[:, :, order])


@pytest.mark.parametrize(
    "change",
    [{"sink": -1}, {"recent": 0}, {"video_budget": -1}, {"action_budget": -2}, {"balance": 1.5}, {"balance": -0.1}],
)
def test_sizes_that_make_no_sense_are_refused(change):
    with pytest.raises(BadRequest, match=r"Correct these|0\.5 is a good start"):
        Selective(**change)


# -- samples of a batch -----------------------------------------------------------------------------------------------


def test_each_sample_keeps_its_own_cells_and_a_permuted_batch_keeps_the_same():
    order = torch.tensor([2, 0, 1])
    memory, permuted = (Selective(sink=1, recent=2, video_budget=2, action_budget=2) for _ in range(2))
    for number in range(10):
        one = entry(number, batch=3)
        memory = memory.append(one)
        moved = {name: getattr(one, name)[:, order] for name in ("keys", "values", "queries")}
        permuted = permuted.append(replace(one, **moved))
    assert names(memory, 0) != names(memory, 1)
    for new, old in enumerate(order.tolist()):
        assert names(permuted, new) == names(memory, old)
    assert torch.equal(permuted.read(1).keys, memory.read(1).keys[order])


def test_a_sample_keeps_alone_what_it_keeps_in_a_batch():
    together = filled(Selective(recent=2, video_budget=2, action_budget=2), 10, batch=3)
    alone = Selective(recent=2, video_budget=2, action_budget=2)
    for number in range(10):
        one = entry(number, batch=3)
        alone = alone.append(
            replace(one, keys=one.keys[:, 1:2], values=one.values[:, 1:2], queries=one.queries[:, 1:2])
        )
    assert names(alone) == names(together, 1)


def test_the_same_chunks_give_the_same_memory_bit_for_bit():
    one, other = (filled(Selective(recent=2, video_budget=2, action_budget=2), 10) for _ in range(2))
    assert names(one) == names(other)
    assert all(torch.equal(a.relevance, b.relevance) for a, b in zip(one.pools, other.pools, strict=True))


def test_appending_leaves_the_old_memory_as_it_was():
    old = filled(Selective(recent=2, video_budget=1, action_budget=1), 8)
    before, keys = names(old), old.read(0).keys.clone()
    old.append(entry(8))
    assert names(old) == before
    assert torch.equal(old.read(0).keys, keys)


def test_several_futures_share_one_past():
    memory = filled(Selective(recent=2, video_budget=1, action_budget=1), 8)
    many = memory.repeated(3)
    assert many.read(0).keys.shape[0] == 3
    assert names(many, 2) == names(memory)
    grown = many.append(entry(8, batch=3))
    assert grown.chunks == 9
    assert len(names(grown, 1)) == len(names(memory))


# -- the choice -------------------------------------------------------------------------------------------------------


def looked_at(number: int, direction: torch.Tensor) -> ChunkEntry:
    """A chunk that asks for keys in one direction."""
    one = entry(number)
    return replace(one, queries=one.queries * 0 + 20 * direction)


def marked(one: ChunkEntry, cell: int, direction: torch.Tensor) -> ChunkEntry:
    """A chunk one of whose cells has keys in that direction."""
    keys = one.keys.clone()
    keys[:, :, :, cell] = 3 * direction
    return replace(one, keys=keys)


def test_what_recent_queries_look_at_is_kept():
    direction = torch.nn.functional.one_hot(torch.tensor(SIZE // 2 - 1), SIZE).float()  # turns slowest with position
    memory = Selective(sink=0, recent=1, video_budget=1, action_budget=0, balance=1.0)
    memory = memory.append(marked(entry(0), 5, direction))
    for number in range(1, 8):
        memory = memory.append(looked_at(number, direction))
    frame, column = 5 // 3, 5 % 3
    assert (0, Stream.VIDEO, frame, column) in names(memory)


def test_of_cells_that_look_alike_one_is_kept():
    """A standing ego sees the same again and again: without the redundancy term its copies would fill the pool."""
    still = entry(0)
    memory = Selective(sink=0, recent=1, video_budget=1, action_budget=0, balance=0.0)
    for number in range(6):
        memory = memory.append(replace(still, cells=chunk_cells(number)))
    memory = memory.append(entry(6)).append(entry(7))
    pool = memory.pools[0]
    assert len(pool) == VIDEO
    alike = torch.nn.functional.normalize(pool.keys.flatten(2), dim=-1)[0]
    alike = (alike @ alike.T - torch.eye(VIDEO)).max()
    assert alike < 0.99
    assert sorted(set(pool.chunk[0].tolist())) == [0, 6]


def test_redundancy_is_the_likeness_to_the_nearest_older_cell_that_is_kept():
    memory = filled(Selective(recent=1, video_budget=3, action_budget=3), 12, seed=3)
    for pool in memory.pools:
        directions = torch.nn.functional.normalize(pool.keys.flatten(2), dim=-1)[0]
        likeness = (directions @ directions.T).tril(-1).clamp(min=0)
        best, twin = likeness.max(dim=1)
        assert_close(pool.redundancy[0], best)
        expected = torch.where(best > 0, pool.name[0, twin], torch.tensor(NOBODY))
        assert torch.equal(pool.twin[0], expected)


def test_relevance_is_the_attention_that_the_last_frame_pays():
    """Against a plain softmax over the memory and the chunk itself, ages clamped as by the network."""
    memory, newest = filled(Full(), 3), entry(6)
    past, own = memory.read(0).cells.position, newest.cells.position
    position = torch.cat([past, own])
    position[:, 0] = position[:, 0].clamp(min=24 - 16) - 24
    angles = rotary_angles(position, SIZE)
    expected = torch.zeros(3 * (VIDEO + STEPS))
    asking = {"video": slice(VIDEO - 3, VIDEO), "steps": slice(VIDEO + STEPS - 1, VIDEO + STEPS)}
    for layer in range(2):
        keys = rotate(torch.cat([memory.read(layer).keys, newest.keys[layer]], dim=2), angles)
        queries = rotate(newest.queries[layer], angles[len(past) :])
        shares = (queries @ keys.mT / SIZE**0.5).softmax(dim=-1)[0]
        for rows in asking.values():  # heads, layers and streams count alike
            expected += shares[:, rows, : len(past)].mean(dim=(0, 1)) / 2 / 2
    assert_close(attention_paid(newest, [memory.read(layer) for layer in range(2)])[0], expected)


def test_video_and_steps_ask_with_equal_weight():
    direction, slow = torch.zeros(SIZE), SIZE // 2 - 1
    direction[slow] = 1.0
    older = marked(entry(0), 0, direction)
    memory = Full().append(replace(older, keys=older.keys * (older.keys == 3)))
    newest = entry(1)
    asks = newest.queries * 0
    asks[:, :, :, -1] = 50 * direction  # the last step alone looks at cell 0
    nothing = replace(newest, keys=newest.keys * 0, queries=asks)
    paid = attention_paid(nothing, [memory.read(layer) for layer in range(2)])
    assert float(paid[0, 0]) == pytest.approx(0.5, abs=0.05)


# -- cost -------------------------------------------------------------------------------------------------------------


def test_a_selection_compares_newcomers_only(monkeypatch):
    """Linear in the pool: however large it is, the same number of rows is compared with it."""
    rows = []
    compared = Pool.compared

    def counted(pool, place):
        rows.append((place.shape[1], len(pool)))
        return compared(pool, place)

    monkeypatch.setattr(Pool, "compared", counted)
    for budget in (2, 8):
        rows.clear()
        filled(Selective(recent=1, video_budget=budget, action_budget=0), 14)
        assert max(count for count, _ in rows) == VIDEO
        assert max(size for _, size in rows) == (budget + 1) * VIDEO


@pytest.mark.slow
def test_time_of_a_selection_grows_at_most_linearly():
    def seconds(budget):
        memory = filled(Selective(recent=1, video_budget=budget, action_budget=0), budget + 3, layers=4, heads=4)
        times = []
        for number in range(budget + 3, budget + 13):
            one = entry(number, layers=4, heads=4)
            started = time.process_time()
            memory = memory.append(one)
            times.append(time.process_time() - started)
        return sorted(times)[len(times) // 2]

    small, large = seconds(50), seconds(400)
    assert large < 12 * small
