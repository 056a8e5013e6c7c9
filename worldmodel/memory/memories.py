"""The memories by name, and what can be said of any of them: `Full`, `Window`, and the selective one beside them."""

from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import torch

from worldmodel.attention import Stream
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.memory.entries import ChunkEntry, KeysValues, joined
from worldmodel.memory.selective import Selective


class Memory(Protocol):
    """What every memory can do. `append` returns a new value; the old one still holds."""

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer; None while nothing is remembered."""

    def append(self, entry: ChunkEntry) -> Self:
        """A memory that also holds one more chunk."""

    @property
    def chunks(self) -> int:
        """How many chunks were appended so far (kept or not)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Full:
    """Keeps every chunk. Cost grows with the horizon, and beyond the trained age so does the unknown (`memory_warnings`)."""

    entries: tuple[ChunkEntry, ...] = field(default=())
    chunks: int = 0

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer, oldest first; None while nothing is remembered."""
        return joined(self.entries, layer)

    def append(self, entry: ChunkEntry) -> "Full":
        """A memory with one chunk more."""
        return replace(self, entries=(*self.entries, entry), chunks=self.chunks + 1)

    def repeated(self, batch: int) -> "Full":
        """The same past for `batch` futures."""
        return replace(self, entries=tuple(entry.repeated(batch) for entry in self.entries))


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """Keeps the first `sink` chunks and the newest `recent` ones. Cost per chunk is constant.

    Source: attention sinks, Xiao et al. (arXiv 2309.17453); whole chunks instead of tokens.
    """

    sink: int = 1
    recent: int = 6
    entries: tuple[ChunkEntry, ...] = field(default=())
    chunks: int = 0

    def __post_init__(self) -> None:
        if self.sink < 0 or self.recent < 1:
            raise BadRequest(f"a window keeps at least one recent chunk; got sink {self.sink}, recent {self.recent}.")

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer, oldest first; None while nothing is remembered."""
        return joined(self.entries, layer)

    def append(self, entry: ChunkEntry) -> "Window":
        """A memory with one chunk more; the oldest chunk outside the sink leaves when there are too many."""
        entries = (*self.entries, entry)
        if len(entries) > self.sink + self.recent:
            entries = entries[: self.sink] + entries[self.sink + 1 :]
        return replace(self, entries=entries, chunks=self.chunks + 1)

    def repeated(self, batch: int) -> "Window":
        """The same past for `batch` futures."""
        return replace(self, entries=tuple(entry.repeated(batch) for entry in self.entries))


AnyMemory = Full | Window | Selective
NAMES = ("full", "window", "selective")


def make_memory(
    name: str,
    *,
    sink: int = 1,
    recent: int = 6,
    video_budget: int = 4,
    action_budget: int = 16,
    balance: float = 0.5,
) -> AnyMemory:
    """A memory by name, 'full', 'window' or 'selective'; for command lines and pages.

    Args:
        sink, recent: Of 'window' and 'selective'.
        video_budget, action_budget, balance: Of 'selective'.
    Raises:
        UnknownName: with the closest name.
        BadRequest: for sizes that make no sense.
    """
    if name == "full":
        return Full()
    if name == "window":
        return Window(sink=sink, recent=recent)
    if name == "selective":
        return Selective(
            sink=sink, recent=recent, video_budget=video_budget, action_budget=action_budget, balance=balance
        )
    raise UnknownName("memory", name, NAMES)


def memory_stats(memory: AnyMemory) -> dict[str, float]:
    """Chunks seen, chunks of which something is kept, cells kept of each sample, and megabytes of all; for reports."""
    pools = memory.pools if isinstance(memory, Selective) else ()
    pooled = {pool.stream: len(pool) for pool in pools}
    cells = sum(len(part.cells) for part in memory.entries) + sum(pooled.values())
    steps = sum(int((part.cells.stream == Stream.STEPS).sum()) for part in memory.entries)
    steps += pooled.get(Stream.STEPS, 0)
    between = torch.cat([pool.chunk.flatten() for pool in pools]).unique() if pools else ()
    return {
        "chunks_seen": memory.chunks,
        "chunks_kept": len(memory.entries) + len(between),
        "cells": cells,
        "video_cells": cells - steps,
        "action_cells": steps,
        "megabytes": (sum(part.bytes for part in memory.entries) + sum(pool.bytes for pool in pools)) / 2**20,
    }


def memory_warnings(memory: AnyMemory) -> tuple[str, ...]:
    """What a user should know of a memory before trusting what is read from it; for reports."""
    if not isinstance(memory, Full) or not memory.entries:
        return ()
    first, newest = memory.entries[0], memory.entries[-1]
    age = newest.first_frame - first.first_frame
    if age <= newest.oldest_frames:
        return ()
    return (
        f"full memory reached back {age:g} frames, further than the {newest.oldest_frames:g} that were trained; what is older "
        "counts as that old, and so much of it was never trained. Use --memory window or selective.",
    )
