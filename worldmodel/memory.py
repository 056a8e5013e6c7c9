"""What the model keeps of the past: keys and values of clean chunks, as values, never as hidden state.

Keys are stored unrotated; `worldmodel.network` rotates them by age relative to the chunk that reads them.
Shape suffixes: L layers, B batch, H heads, N cells, D head size.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from worldmodel.attention import Cells
from worldmodel.errors import BadRequest


@dataclass(frozen=True, eq=False, kw_only=True)
class KeysValues:
    """One layer's memory: unrotated keys and values [B, H, N, D], and what the N cells are."""

    keys: Tensor
    values: Tensor
    cells: Cells


class Memory(Protocol):
    """What every memory can do. `append` returns a new value; the old one still holds."""

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer; None while nothing is remembered."""

    def append(self, entry: "ChunkEntry") -> Self:
        """A memory that also holds one more chunk."""

    @property
    def chunks(self) -> int:
        """How many chunks were appended so far (kept or not)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ChunkEntry:
    """One clean chunk as the network left it: keys, values and queries [L, B, H, n, D], and its cells."""

    keys: Tensor
    values: Tensor
    queries: Tensor
    cells: Cells

    @property
    def bytes(self) -> int:
        """Size of the keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def repeated(self, batch: int) -> "ChunkEntry":
        """The same chunk for `batch` samples that share one past."""
        shape = (-1, batch, -1, -1, -1)
        return replace(
            self, keys=self.keys.expand(shape), values=self.values.expand(shape), queries=self.queries.expand(shape)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Full:
    """Keeps every chunk. Cost grows with the horizon."""

    entries: tuple[ChunkEntry, ...] = field(default=())
    chunks: int = 0

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer, oldest first; None while nothing is remembered."""
        return _joined(self.entries, layer)

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
        return _joined(self.entries, layer)

    def append(self, entry: ChunkEntry) -> "Window":
        """A memory with one chunk more; the oldest chunk outside the sink leaves when there are too many."""
        entries = (*self.entries, entry)
        if len(entries) > self.sink + self.recent:
            entries = entries[: self.sink] + entries[self.sink + 1 :]
        return replace(self, entries=entries, chunks=self.chunks + 1)

    def repeated(self, batch: int) -> "Window":
        """The same past for `batch` futures."""
        return replace(self, entries=tuple(entry.repeated(batch) for entry in self.entries))


def _joined(entries: tuple[ChunkEntry, ...], layer: int) -> KeysValues | None:
    if not entries:
        return None
    return KeysValues(
        keys=torch.cat([entry.keys[layer] for entry in entries], dim=2),
        values=torch.cat([entry.values[layer] for entry in entries], dim=2),
        cells=Cells.joined([entry.cells for entry in entries]),
    )


AnyMemory = Full | Window


def make_memory(name: str, *, sink: int = 1, recent: int = 6) -> AnyMemory:
    """A memory by name, 'full' or 'window'; for command lines and pages."""
    from worldmodel.errors import UnknownName

    if name == "full":
        return Full()
    if name == "window":
        return Window(sink=sink, recent=recent)
    raise UnknownName("memory", name, ("full", "window"))


def memory_stats(memory: AnyMemory) -> dict[str, float]:
    """Chunks seen and kept, cells kept, and megabytes; for reports."""
    return {
        "chunks_seen": memory.chunks,
        "chunks_kept": len(memory.entries),
        "cells": sum(len(entry.cells) for entry in memory.entries),
        "megabytes": sum(entry.bytes for entry in memory.entries) / 2**20,
    }
