"""One pass of attention: every reader with its sources, worked out once and used by all layers.

Readers that see the same sources are served together and without a mask: in training this saves the scores that the mask
would throw away (three quarters of them for five chunks), in a rollout nothing is left to mask. The groups come from
`worldmodel.attention.visibility`, so the table of who sees whom stays the only place that decides.

Shape suffixes: B batch, G groups of equal shape, R readers, S sources, H heads, D head size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.attention import Cells, visibility
from worldmodel.attention_backends import Attend, Backend
from worldmodel.layout import Withheld

_MOST_CAMERAS = 1 << 12
_MOST_FRAMES = 1 << 24


def reading(
    readers: Cells,
    sources: Cells,
    *,
    backend: Backend,
    withheld: Withheld | None = None,
    across_views: bool = True,
) -> Attend:
    """The attention of one pass, for queries of `readers` on keys and values of `sources` (memory first, then readers).

    Args:
        withheld: What single samples keep from their readers; None: nothing.
        across_views: See `worldmodel.attention.visibility`.
    """
    withheld = withheld or Withheld()
    if backend.in_groups:
        groups = _groups(readers, sources, withheld, across_views)
        if groups is not None:
            return _Grouped(groups, len(readers), len(sources), backend)
    return backend.prepared(dense_mask(readers, sources, withheld, across_views))


def dense_mask(readers: Cells, sources: Cells, withheld: Withheld, across_views: bool = True) -> Tensor:
    """Who may look at whom, bool [B or 1, 1, R, S]. A token always sees itself."""
    seen = visibility(readers, sources, across_views=across_views)
    kept = withheld.kept(readers, sources)
    seen = seen if kept is None else seen & kept
    itself = torch.arange(len(readers), device=seen.device)
    itself = (itself[:, None] + len(sources) - len(readers)) == torch.arange(len(sources), device=seen.device)
    seen = seen | itself
    return seen[:, None] if seen.ndim == 3 else seen[None, None]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Group:
    """Readers and what they all see: indices [G, R] and [G, S], and which of these sources each sample keeps [B, G, S]."""

    readers: Tensor
    sources: Tensor
    kept: Tensor | None

    @property
    def mask(self) -> Tensor | None:
        """For [B * G, H, R, S]."""
        return None if self.kept is None else self.kept.flatten(0, 1)[:, None, None, :]


def _groups(readers: Cells, sources: Cells, withheld: Withheld, across_views: bool) -> list[_Group] | None:
    """Readers by what they see; None if samples differ in it otherwise than by `withheld`."""
    label, first = _labels(readers, across_views)
    kinds = readers[first]
    seen = visibility(kinds, sources, across_views=across_views)
    if seen.ndim == 3:
        if not bool((seen == seen[:1]).all()):
            return None
        seen = seen[0]
    kept = withheld.kept(kinds, sources)
    if kept is not None:
        kept = kept.expand(-1, len(kinds), -1)
        anyone = seen & kept.any(dim=0)
        seen = torch.where(anyone.any(dim=1, keepdim=True), anyone, seen)
    rows, row_of_kind = torch.unique(seen.to(torch.uint8), dim=0, return_inverse=True)
    row_of_reader = row_of_kind[label]
    found: dict[tuple[int, int], list[tuple[Tensor, Tensor, Tensor | None]]] = {}
    for row in range(len(rows)):
        who = (row_of_reader == row).nonzero()[:, 0]
        what = rows[row].nonzero()[:, 0]
        keeps = None if kept is None else kept[:, label[who[0]], what]
        found.setdefault((len(who), len(what)), []).append((who, what, keeps))
    return [_stacked(alike) for alike in found.values()]


def _labels(cells: Cells, across_views: bool) -> tuple[Tensor, Tensor]:
    """A number for each token, equal for tokens that see the same, and one token for each number."""
    code = (cells.chunk * 2 + cells.clean) * 4 + cells.stream
    if not across_views:
        code = (code * _MOST_CAMERAS + cells.camera + 1) * _MOST_FRAMES + cells.position[:, 0].long() * (
            cells.camera >= 0
        )
    found, label = torch.unique(code, return_inverse=True)
    first = torch.zeros(len(found), dtype=torch.int64, device=code.device)
    first[label] = torch.arange(len(code), device=code.device)
    return label, first


def _stacked(alike: list[tuple[Tensor, Tensor, Tensor | None]]) -> _Group:
    kept = [keeps for _, _, keeps in alike if keeps is not None]
    together = torch.stack(kept, dim=1) if kept else None
    if together is not None:
        together = None if bool(together.all()) else together | ~together.any(dim=-1, keepdim=True)
    return _Group(
        readers=torch.stack([who for who, _, _ in alike]),
        sources=torch.stack([what for _, what, _ in alike]),
        kept=together,
    )


class _Grouped:
    """Attention group by group. Queries, keys and values are gathered once for all groups."""

    def __init__(self, groups: list[_Group], readers: int, sources: int, backend: Backend) -> None:
        self._shapes = [(*group.readers.shape, group.sources.shape[1]) for group in groups]
        self._attend: list[Attend] = [backend.prepared(group.mask) for group in groups]
        self._readers = _unless_all(torch.cat([group.readers.flatten() for group in groups]), readers)
        self._sources = _unless_all(torch.cat([group.sources.flatten() for group in groups]), sources)
        self._back = None if self._readers is None else self._readers.argsort()

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        queries = queries if self._readers is None else queries.index_select(2, self._readers)
        if self._sources is not None:
            keys, values = (x.index_select(2, self._sources) for x in (keys, values))
        many = [g * r for g, r, _ in self._shapes]
        much = [g * s for g, _, s in self._shapes]
        parts = zip(queries.split(many, 2), keys.split(much, 2), values.split(much, 2), strict=True)
        answers = [
            _each(attend, group, part)
            for attend, (group, _, _), part in zip(self._attend, self._shapes, parts, strict=True)
        ]
        answer = answers[0] if len(answers) == 1 else torch.cat(answers, dim=2)
        return answer if self._back is None else answer.index_select(2, self._back)


def _unless_all(index: Tensor, count: int) -> Tensor | None:
    """The index; None if it leaves everything where it is."""
    if len(index) == count and bool((index == torch.arange(count, device=index.device)).all()):
        return None
    return index


def _each(attend: Attend, groups: int, part: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Attention of groups of equal shape: they stand in the batch meanwhile."""
    if groups == 1:
        return attend(*part)
    folded = [x.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 1) for x in part]
    return attend(folded[0], folded[1], folded[2]).unflatten(0, (-1, groups)).transpose(1, 2).flatten(2, 3)
