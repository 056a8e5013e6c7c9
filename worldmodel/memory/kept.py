"""What a memory kept, and why: for reports, pages and whoever wonders."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from worldmodel.attention import Cells, Stream
from worldmodel.geometry import Array
from worldmodel.memory.entries import ChunkEntry
from worldmodel.memory.memories import AnyMemory, Full
from worldmodel.memory.pool import Pool
from worldmodel.memory.selective import Selective


@dataclass(frozen=True, eq=False, kw_only=True)
class KeptCells:
    """All cells that one sample of a memory holds, in the order in which they are read.

    Attributes:
        stream: `Stream` of each cell.
        chunk: Chunk number.
        frame, row, column: Where it stands; frames count from the first observed one.
        camera: Of a video cell; -1 elsewhere.
        why: 'all' (nothing is ever dropped), 'sink' (among the first chunks), 'recent' (among the newest) or 'selected'.
        relevance: Of a selected cell, the smoothed share of attention that recent queries paid to it; else not a number.
        redundancy: Of a selected cell, its largest cosine with an older kept cell; else not a number.
        score: Of a selected cell, what it was ranked by (`Pool.score`); else not a number.
    """

    stream: Int[Array, " cell"]
    chunk: Int[Array, " cell"]
    frame: Int[Array, " cell"]
    row: Int[Array, " cell"]
    column: Int[Array, " cell"]
    camera: Int[Array, " cell"]
    why: tuple[str, ...]
    relevance: Float[Array, " cell"]
    redundancy: Float[Array, " cell"]
    score: Float[Array, " cell"]

    def __len__(self) -> int:
        return len(self.stream)

    def by_chunk(self) -> list[dict[str, Any]]:
        """Per chunk of which something is kept, oldest first: its number, why, video cells and steps, and mean scores."""
        rows = []
        for chunk in np.unique(self.chunk):
            here = self.chunk == chunk
            row: dict[str, Any] = {
                "chunk": int(chunk),
                "why": self.why[int(np.flatnonzero(here)[0])],
                "video": int((here & (self.stream == Stream.VIDEO)).sum()),
                "steps": int((here & (self.stream == Stream.STEPS)).sum()),
            }
            for name in ("relevance", "redundancy", "score"):
                value = float(getattr(self, name)[here].mean())
                row[name] = round(value, 6) if np.isfinite(value) else None
            rows.append(row)
        return rows

    def counts(self) -> dict[str, int]:
        """How many cells are kept for each reason."""
        return dict(Counter(self.why))


def kept_cells(memory: AnyMemory, sample: int = 0) -> KeptCells:
    """What a memory kept of one sample of its batch, and why."""
    parts = [_whole(entry, why) for entry, why in _entries(memory)]
    if isinstance(memory, Selective):
        pooled = [_pooled(pool, sample, memory.balance) for pool in memory.pools]
        parts = [*parts[: len(memory.first)], *pooled, *parts[len(memory.first) :]]
    columns = {name: _column(parts, name) for name in ("stream", "chunk", "frame", "row", "column", "camera")}
    scores = {name: _column(parts, name) for name in ("relevance", "redundancy", "score")}
    why = tuple(reason for part in parts for reason in [part["why"]] * len(part["stream"]))
    return KeptCells(
        why=why,
        **{name: column.astype(np.int64) for name, column in columns.items()},
        **{name: column.astype(np.float64) for name, column in scores.items()},
    )


def _entries(memory: AnyMemory) -> list[tuple[ChunkEntry, str]]:
    """The chunks kept whole, each with the reason."""
    sink = 0 if isinstance(memory, Full) else memory.sink
    late = "all" if isinstance(memory, Full) else "recent"
    return [(entry, "sink" if i < sink else late) for i, entry in enumerate(memory.entries)]


def _column(parts: list[dict[str, Any]], name: str) -> Array:
    return np.concatenate([np.zeros(0), *(part[name] for part in parts)])


def _places(cells: Cells) -> dict[str, Any]:
    frame, row, column = (values.cpu().numpy() for values in cells.position.unbind(dim=-1))
    told = {name: getattr(cells, name).cpu().numpy() for name in ("stream", "chunk", "camera")}
    return {**told, "frame": frame, "row": row, "column": column}


def _whole(entry: ChunkEntry, why: str) -> dict[str, Any]:
    unmeasured = np.full(len(entry.cells), np.nan)
    return {
        **_places(entry.cells),
        "why": why,
        "relevance": unmeasured,
        "redundancy": unmeasured,
        "score": unmeasured,
    }


def _pooled(pool: Pool, sample: int, balance: float) -> dict[str, Any]:
    def of(values: Tensor) -> Array:
        return values[sample].float().cpu().numpy()

    return {
        **{name: values[sample] for name, values in _places(pool.cells).items()},
        "why": "selected",
        "relevance": of(pool.relevance),
        "redundancy": of(pool.redundancy),
        "score": of(pool.score(balance)),
    }
