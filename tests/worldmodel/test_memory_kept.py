"""A memory tells what it kept, and why."""

from collections import Counter

import numpy as np
import pytest
from test_memory_selective import STEPS, VIDEO, filled, names

from worldmodel.attention import Stream
from worldmodel.memory import Full, Selective, Window, memory_stats
from worldmodel.memory.kept import kept_cells

CHUNKS = 9


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (Full(), {"all": 9}),
        (Window(sink=1, recent=2), {"sink": 1, "recent": 2}),
        (Window(sink=0, recent=2), {"recent": 2}),
    ],
)
def test_whole_chunks_are_kept_for_one_reason_each(memory, expected):
    kept = kept_cells(filled(memory, CHUNKS))
    assert kept.counts() == {why: count * (VIDEO + STEPS) for why, count in expected.items()}
    assert [row["why"] for row in kept.by_chunk()] == [why for why, count in expected.items() for _ in range(count)]
    assert {(row["video"], row["steps"]) for row in kept.by_chunk()} == {(VIDEO, STEPS)}
    assert np.isnan(kept.score).all()
    assert kept.by_chunk()[0]["score"] is None


def test_a_selective_memory_tells_each_cell_with_its_reason_and_scores():
    memory = filled(Selective(sink=1, recent=2, video_budget=2, action_budget=1, balance=0.3), CHUNKS, batch=2)
    for sample in range(2):
        kept = kept_cells(memory, sample)
        assert len(kept) == memory_stats(memory)["cells"]
        told = list(
            zip(kept.chunk.tolist(), kept.stream.tolist(), kept.frame.tolist(), kept.column.tolist(), strict=True)
        )
        assert told == names(memory, sample)  # in the order of reading
        assert kept.counts() == {"sink": VIDEO + STEPS, "selected": 2 * VIDEO + STEPS, "recent": 2 * (VIDEO + STEPS)}
        selected = np.array(kept.why) == "selected"
        for values in (kept.relevance, kept.redundancy, kept.score):
            assert (np.isfinite(values) == selected).all()
        video = selected & (kept.stream == Stream.VIDEO)
        mean = kept.relevance[video].mean()
        score = 0.3 * kept.relevance / (kept.relevance + mean) - 0.7 * kept.redundancy
        np.testing.assert_allclose(kept.score[video], score[video], rtol=1e-5)
        assert set(kept.camera[kept.stream == Stream.VIDEO]) == {0}
        assert set(kept.camera[kept.stream == Stream.STEPS]) == {-1}


def test_chunks_are_told_oldest_first_with_what_is_left_of_them():
    memory = filled(Selective(sink=1, recent=2, video_budget=2, action_budget=1), CHUNKS)
    rows = kept_cells(memory).by_chunk()
    assert [row["chunk"] for row in rows] == sorted(row["chunk"] for row in rows)
    assert Counter(row["why"] for row in rows)["recent"] == 2
    assert sum(row["video"] for row in rows if row["why"] == "selected") == 2 * VIDEO
    assert sum(row["steps"] for row in rows if row["why"] == "selected") == STEPS
    assert len(rows) == memory_stats(memory)["chunks_kept"]


@pytest.mark.parametrize("memory", [Full(), Window(), Selective()])
def test_an_empty_memory_kept_nothing(memory):
    kept = kept_cells(memory)
    assert len(kept) == 0
    assert kept.by_chunk() == []
    assert kept.counts() == {}
