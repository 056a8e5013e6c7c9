"""A bounded pool of remembered cells of one modality, and which of its candidates stay.

Every sample of a batch keeps its own cells. Nothing here is quadratic in the size of the pool: each chunk brings a fixed
number of newcomers, and only these (and as many orphans, see `Pool.twin`) are compared with the cells that are kept.

Shape suffixes: L layers, B batch, H heads, P cells of the pool, n newcomers, D head size.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from worldmodel.attention import Cells, Stream
from worldmodel.memory.entries import ChunkEntry, KeysValues

PER_CELL = ("keys", "values", "name", "camera", "position", "relevance", "redundancy", "twin")
INDEX_BITS = 24  # a cell's name is its chunk and its place in the chunk, in one number
NOBODY = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool:
    """Cells of one stream, oldest first, with what speaks for and against keeping them.

    Attributes:
        stream: Of all cells.
        keys, values: Unrotated, a cell's layers and heads together, [B, P, L, H, D].
        name: Chunk number and place in the chunk [B, P], int64; ascending.
        camera: Of each cell, as in `Cells` [B, P].
        position: Frame, row and column [B, P, 3].
        relevance: Attention that recent queries paid, smoothed over chunks [B, P].
        redundancy: Largest cosine, 0 to 1, between the cell's unrotated keys and those of an older kept cell [B, P].
        twin: Name of that older cell [B, P]; NOBODY without one. A cell whose twin has left is an orphan.
    """

    stream: Stream
    keys: Tensor
    values: Tensor
    name: Tensor
    camera: Tensor
    position: Tensor
    relevance: Tensor
    redundancy: Tensor
    twin: Tensor

    def __len__(self) -> int:
        return self.name.shape[1]

    @property
    def chunk(self) -> Tensor:
        """Chunk number of each cell [B, P]."""
        return self.name >> INDEX_BITS

    @property
    def index(self) -> Tensor:
        """Place of each cell among all cells of its chunk [B, P]."""
        return self.name & (2**INDEX_BITS - 1)

    @property
    def cells(self) -> Cells:
        """What the cells are, [B, P]."""
        return Cells(
            stream=torch.full_like(self.name, int(self.stream)),
            chunk=self.chunk,
            clean=torch.ones_like(self.name, dtype=torch.bool),
            camera=self.camera,
            position=self.position,
        )

    @property
    def bytes(self) -> int:
        """Size of the keys and values."""
        return self.keys.nbytes + self.values.nbytes

    def read(self, layer: int) -> KeysValues:
        """Keys and values of one layer."""
        keys, values = (whole[:, :, layer].transpose(1, 2) for whole in (self.keys, self.values))
        return KeysValues(keys=keys, values=values, cells=self.cells)

    @staticmethod
    def of(entry: ChunkEntry, stream: Stream, relevance: Tensor) -> "Pool":
        """All cells of one stream of a chunk, with their relevance [B, cells of the chunk]; nothing is redundant yet."""
        batch, device = entry.keys.shape[1], entry.keys.device
        place = torch.nonzero(entry.cells.stream == stream)[:, 0]
        part = entry.chosen(place)
        name = (part.cells.chunk << INDEX_BITS) + place
        none = torch.zeros(batch, len(place), device=device)
        return Pool(
            stream=stream,
            keys=part.keys.permute(1, 3, 0, 2, 4),
            values=part.values.permute(1, 3, 0, 2, 4),
            name=name.expand(batch, -1),
            camera=part.cells.camera.expand(batch, -1),
            position=part.cells.position.expand(batch, -1, -1),
            relevance=relevance[:, place],
            redundancy=none,
            twin=torch.full_like(none, NOBODY, dtype=torch.int64),
        )

    def score(self, balance: float) -> Tensor:
        """What each cell is worth [B, P]: `balance` x relevance - (1 - balance) x redundancy, both in 0 to 1.

        Attention is heavy-tailed and its size depends on how much there is to look at, so relevance r counts as
        r / (r + mean of the pool): 1/2 at the mean, whatever the scale.
        """
        mean = self.relevance.mean(dim=1, keepdim=True)
        relevance = self.relevance / (self.relevance + mean).clamp(min=torch.finfo(mean.dtype).tiny)
        return balance * relevance - (1 - balance) * self.redundancy

    def chosen(self, place: Tensor) -> "Pool":
        """The cells at the places [B, k] of each sample."""
        return Pool(stream=self.stream, **{name: _taken(getattr(self, name), place) for name in PER_CELL})

    def grown(self, newcomers: "Pool") -> "Pool":
        """This pool, then the newcomers, their redundancy measured against everything older."""
        both = {name: torch.cat([getattr(self, name), getattr(newcomers, name)], dim=1) for name in PER_CELL}
        whole = Pool(stream=self.stream, **both)
        return whole.compared(_places(len(self), len(whole), self.name))

    def compared_within(self) -> "Pool":
        """A pool's first cells, their redundancy measured against the older ones among them."""
        return self.compared(_places(0, len(self), self.name))

    def repeated(self, batch: int) -> "Pool":
        """The same cells for `batch` samples that share one past."""
        parts = {name: getattr(self, name) for name in PER_CELL}
        return Pool(stream=self.stream, **{name: part.expand(batch, *part.shape[1:]) for name, part in parts.items()})

    def compared(self, place: Tensor) -> "Pool":
        """The redundancy of the cells at the places [B, k] measured anew, against all older ones."""
        directions = _directions(self.keys)
        rows = _taken(directions, place)
        likeness = torch.bmm(rows, directions.transpose(1, 2))
        older = self.name[:, None] < self.name.gather(1, place)[..., None]
        best, nearest = likeness.masked_fill(~older, 0.0).clamp(min=0.0).max(dim=2)
        twin = torch.where(best > 0, self.name.gather(1, nearest), NOBODY)
        return replace(self, redundancy=self.redundancy.scatter(1, place, best), twin=self.twin.scatter(1, place, twin))

    def kept(self, budget: int, balance: float) -> "Pool":
        """The `budget` cells of the highest score, oldest first; of equal ones the older stays."""
        if len(self) <= budget:
            return self
        order = self.score(balance).argsort(dim=1, descending=True, stable=True)
        return self.chosen(order[:, :budget].sort(dim=1).values)

    def without_orphans(self, at_most: int) -> "Pool":
        """Up to so many cells whose twin has left measured anew, oldest first."""
        found = torch.searchsorted(self.name.contiguous(), self.twin.contiguous()).clamp(max=len(self) - 1)
        orphan = (self.twin != NOBODY) & (self.name.gather(1, found) != self.twin)
        if not bool(orphan.any()):
            return self
        order = (~orphan).to(torch.uint8).argsort(dim=1, stable=True)
        return self.compared(order[:, :at_most])


def _taken(values: Tensor, place: Tensor) -> Tensor:
    """Values [B, P, ...] at the places [B, k]."""
    sample = torch.arange(len(place), device=place.device)
    return values[sample[:, None], place]


def _places(first: int, last: int, like: Tensor) -> Tensor:
    return torch.arange(first, last, device=like.device).expand(len(like), -1)


def _directions(keys: Tensor) -> Tensor:
    """Unit vectors [B, P, L * H * D] of keys over all layers and heads, in float32."""
    return functional.normalize(keys.flatten(2).float(), dim=-1)
