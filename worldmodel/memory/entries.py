"""What the network leaves behind for later chunks: keys and values with what their cells are.

Keys are stored unrotated; `worldmodel.network` rotates them by age relative to the chunk that reads them.
Shape suffixes: L layers, B batch, H heads, N cells, D head size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldmodel.attention import Cells


@dataclass(frozen=True, eq=False, kw_only=True)
class KeysValues:
    """One layer's memory: unrotated keys and values [B, H, N, D], and what the N cells are.

    The chunks and positions of the cells have a batch axis where each sample keeps cells of its own.
    """

    keys: Tensor
    values: Tensor
    cells: Cells


@dataclass(frozen=True, eq=False, kw_only=True)
class ChunkEntry:
    """One clean chunk as the network left it.

    Attributes:
        keys, values, queries: Unrotated, [L, B, H, n, D].
        cells: What the n tokens are.
        oldest_frames: The age, in frames, at which the network that wrote it lets every older cell stand.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor
    cells: Cells
    oldest_frames: float = math.inf

    @property
    def bytes(self) -> int:
        """Size of the keys and values."""
        return self.keys.nbytes + self.values.nbytes

    @property
    def first_frame(self) -> float:
        """Number of the chunk's first frame; the ages that its queries saw count from it."""
        return float(self.cells.position[:, 0].min())

    def chosen(self, cells: Tensor) -> "ChunkEntry":
        """Some of its cells only: bool [n] or places [k]."""
        return replace(
            self,
            keys=self.keys[:, :, :, cells],
            values=self.values[:, :, :, cells],
            queries=self.queries[:, :, :, cells],
            cells=self.cells[cells],
        )

    def repeated(self, batch: int) -> "ChunkEntry":
        """The same chunk for `batch` samples that share one past."""
        shape = (-1, batch, -1, -1, -1)
        return replace(
            self, keys=self.keys.expand(shape), values=self.values.expand(shape), queries=self.queries.expand(shape)
        )


def joined(entries: Sequence[ChunkEntry], layer: int) -> KeysValues | None:
    """Keys and values of one layer of whole chunks, in order; None for no chunk."""
    if not entries:
        return None
    return KeysValues(
        keys=torch.cat([entry.keys[layer] for entry in entries], dim=2),
        values=torch.cat([entry.values[layer] for entry in entries], dim=2),
        cells=Cells.joined([entry.cells for entry in entries]),
    )
