"""A memory of bounded size for any horizon: the first chunks, the newest ones, and the best of what lies between."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from worldmodel.attention import Cells, Stream, rotary_angles, rotate
from worldmodel.errors import BadRequest
from worldmodel.memory.entries import ChunkEntry, KeysValues, joined
from worldmodel.memory.pool import Pool

SMOOTHING = 0.8  # share of the relevance so far that stays when a chunk has looked anew


@dataclass(frozen=True, eq=False, kw_only=True)
class Selective:
    """Keeps the first `sink` and the newest `recent` chunks whole, and of all others the cells most worth keeping.

    There is one bounded pool per modality, for steps are so few that video would crowd them out. When a chunk leaves the
    newest ones, its cells compete with those of the pool by relevance (attention from recent queries, smoothed) minus
    redundancy (similarity of unrotated keys to keys already kept); a cell stays or goes with all its layers and heads.
    Cost and size per chunk are constant, and a selection is linear in the pool.

    Attributes:
        sink, recent: Whole chunks at the two ends.
        video_budget, action_budget: Sizes of the pools, in chunks' worth of video and of steps.
        balance: Weight of the relevance, 0 to 1; the redundancy weighs the rest.
        first, newest: The whole chunks kept.
        attention: Smoothed relevance of the newest chunks' cells, [B, n] each; None for one that nobody has read yet.
        pools: What is kept between them.
        chunks: How many chunks were appended so far.
    Source: the selective memory of DriveWAM (arXiv 2605.28544); score as in R-KV (arXiv 2505.24133), but keys unrotated,
        cells whole, all batch items, and similarity measured only where something is new.
    """

    sink: int = 1
    recent: int = 4
    video_budget: int = 4
    action_budget: int = 16
    balance: float = 0.5
    first: tuple[ChunkEntry, ...] = field(default=())
    newest: tuple[ChunkEntry, ...] = field(default=())
    attention: tuple[Tensor | None, ...] = field(default=())
    pools: tuple[Pool, ...] = field(default=())
    chunks: int = 0

    def __post_init__(self) -> None:
        if self.sink < 0 or self.recent < 1 or self.video_budget < 0 or self.action_budget < 0:
            raise BadRequest(
                f"a selective memory got sink {self.sink}, recent {self.recent}, budgets {self.video_budget} and "
                f"{self.action_budget}; it needs at least one recent chunk and nothing below zero. Correct these."
            )
        if not 0 <= self.balance <= 1:
            raise BadRequest(
                f"a selective memory got balance {self.balance:g}; it needs 0 (no two alike) to 1 (the most looked at). "
                "0.5 is a good start."
            )

    @property
    def entries(self) -> tuple[ChunkEntry, ...]:
        """The chunks kept whole, oldest first."""
        return (*self.first, *self.newest)

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, layer: int) -> KeysValues | None:
        """Keys and values of one layer: sink, pools, newest chunks; None while nothing is remembered."""
        parts = [joined(self.first, layer), *(pool.read(layer) for pool in self.pools), joined(self.newest, layer)]
        there = [part for part in parts if part is not None]
        if not there:
            return None
        return KeysValues(
            keys=torch.cat([part.keys for part in there], dim=2),
            values=torch.cat([part.values for part in there], dim=2),
            cells=Cells.joined([part.cells for part in there]),
        )

    def repeated(self, batch: int) -> "Selective":
        """The same past for `batch` futures."""
        return replace(
            self,
            first=tuple(entry.repeated(batch) for entry in self.first),
            newest=tuple(entry.repeated(batch) for entry in self.newest),
            attention=tuple(None if paid is None else paid.expand(batch, -1) for paid in self.attention),
            pools=tuple(pool.repeated(batch) for pool in self.pools),
        )

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, entry: ChunkEntry) -> "Selective":
        """A memory with one chunk more; the oldest of the newest chunks enters the competition when there are too many."""
        if self.chunks < self.sink:
            return replace(self, first=(*self.first, entry), chunks=self.chunks + 1)
        watched = self._watched(entry)
        grown = replace(
            watched,
            newest=(*watched.newest, entry),
            attention=(*watched.attention, None),
            chunks=self.chunks + 1,
        )
        return grown._settled() if len(grown.newest) > self.recent else grown

    def _watched(self, entry: ChunkEntry) -> "Selective":
        """What the newest chunk looked at is a little more relevant."""
        if not self.pools and not self.newest:
            return self
        sizes = [*(len(pool) for pool in self.pools), *(len(kept.cells) for kept in self.newest)]
        paid = attention_paid(entry, [layer for layer in map(self.read, range(len(entry.keys))) if layer is not None])
        shares = paid[:, paid.shape[1] - sum(sizes) :].split(sizes, dim=1)
        pools, newest = shares[: len(self.pools)], shares[len(self.pools) :]
        return replace(
            self,
            pools=tuple(
                replace(pool, relevance=_smoothed(pool.relevance, new))
                for pool, new in zip(self.pools, pools, strict=True)
            ),
            attention=tuple(_smoothed(old, new) for old, new in zip(self.attention, newest, strict=True)),
        )

    def _settled(self) -> "Selective":
        """The oldest of the newest chunks has left; the pools keep their best."""
        leaving, paid = self.newest[0], self.attention[0]
        assert paid is not None
        pools = {pool.stream: pool for pool in self.pools}
        for stream, budget in ((Stream.VIDEO, self.video_budget), (Stream.STEPS, self.action_budget)):
            newcomers = Pool.of(leaving, stream, paid)
            if budget and len(newcomers):
                pools[stream] = self._competed(pools.get(stream), newcomers, budget * len(newcomers))
        return replace(self, newest=self.newest[1:], attention=self.attention[1:], pools=tuple(pools.values()))

    def _competed(self, pool: Pool | None, newcomers: Pool, budget: int) -> Pool:
        whole = newcomers.compared_within() if pool is None else pool.grown(newcomers)
        return whole.kept(budget, self.balance).without_orphans(len(newcomers))


def attention_paid(entry: ChunkEntry, memory: Sequence[KeysValues]) -> Tensor:
    """Share of attention that a chunk's last frame paid to each remembered cell [B, N], the chunk itself left out.

    Mean over layers, heads and streams: video and steps ask with equal weight, however many tokens they have. Ages are
    counted and clamped as by the network.

    Args:
        entry: The chunk that looks.
        memory: What it could look at besides itself, one for each layer.
    """
    now, cells = entry.first_frame, entry.cells
    asking = cells.position[:, 0] == cells.position[:, 0].max()
    weight = _equal_weights(cells.stream[asking])
    own = _angles(cells.position, now, entry)
    past = _angles(memory[0].cells.position, now, entry).unsqueeze(-3)
    total = torch.zeros((), device=weight.device)
    for layer, remembered in enumerate(memory):
        queries = rotate(entry.queries[layer][:, :, asking], own[asking])
        keys = torch.cat([rotate(remembered.keys, past), rotate(entry.keys[layer], own)], dim=2)
        shares = (queries @ keys.transpose(2, 3) / keys.shape[-1] ** 0.5).float().softmax(dim=-1)
        total = total + (weight @ shares).mean(dim=1)
    return total[:, : -len(cells)] / len(memory)


def _equal_weights(stream: Tensor) -> Tensor:
    """Weights [n] that sum to 1 and give each stream the same."""
    counts = torch.bincount(stream, minlength=len(Stream)).float()
    return 1 / counts[stream] / (counts > 0).sum()


def _angles(position: Tensor, now: float, entry: ChunkEntry) -> Tensor:
    clamped = position.clone()
    clamped[..., 0] = clamped[..., 0].clamp(min=now - entry.oldest_frames) - now
    return rotary_angles(clamped, entry.keys.shape[-1])


def _smoothed(old: Tensor | None, new: Tensor) -> Tensor:
    return new if old is None else SMOOTHING * old + (1 - SMOOTHING) * new
