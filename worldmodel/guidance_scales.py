"""Classifier-free guidance with a scale for each condition: which passes it takes, and how their answers are mixed.

With history h, motion m and text t, and scales s for each:

    v = v(0) + s_h [v(h) - v(0)] + s_m [v(h,m) - v(h)] + s_t [v(h,m,t) - v(h,m)]

The terms are sorted by pass: pass i, which is told the first i conditions, counts s_i - s_(i+1), with s = 1 before the first
and s = 0 after the last condition. What counts nothing is not asked for; so scales of 1 cost no pass.

Source: Ho and Salimans (arXiv 2207.12598), one scale per condition as in Brooks et al. (arXiv 2211.09800).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.sampling import Sampling
from worldmodel.sequence import Recall

CONDITIONS = ("history", "motion", "text")


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass of the network under guidance.

    Attributes:
        weight: How much its answer counts; the weights of all passes sum to 1.
        told: The conditions that it is told; the others are withheld.
    """

    weight: float
    told: frozenset[str]


def passes_of(sampling: Sampling, given: Collection[str]) -> tuple[Pass, ...]:
    """The passes that the scales ask for, the barest first; a condition that is not given has no scale."""
    names = [name for name in CONDITIONS if name in given]
    scales = [1.0, *(scale_of(sampling, name) for name in names), 0.0]
    passes = (Pass(weight=scales[i] - scales[i + 1], told=frozenset(names[:i])) for i in range(len(names) + 1))
    return tuple(one for one in passes if one.weight)


def scale_of(sampling: Sampling, condition: str) -> float:
    """The scale of one condition."""
    return float(getattr(sampling, f"guidance_{condition}"))


def scales_input(sampling: Sampling, given: Collection[str], batch: int) -> Tensor:
    """The scales as a distilled network reads them, float32 [batch, 3]; 1 for what is not given."""
    scales = [scale_of(sampling, name) if name in given else 1.0 for name in CONDITIONS]
    return torch.tensor([scales]).expand(batch, -1)


def told(passes: Sequence[Pass], condition: str, batch: int, device: torch.device) -> Tensor:
    """Which samples are told a condition, bool [passes * batch]; a pass's samples stand together."""
    return torch.tensor([condition in one.told for one in passes], device=device).repeat_interleave(batch)


def side_by_side(values: Tensor, passes: Sequence[Pass]) -> Tensor:
    """The same values for every pass, [passes * B, ...] of [B, ...]."""
    return values if len(passes) == 1 else values.repeat(len(passes), *[1] * (values.ndim - 1))


def recall_side_by_side(recall: Recall | None, passes: Sequence[Pass]) -> Recall | None:
    """The memory for every pass; withheld from those that are not told the history."""
    if recall is None or not any("history" in one.told for one in passes):
        return None
    if len(passes) == 1:
        return recall
    keys, batch = recall.keys[0], recall.keys[0].shape[0]
    history = told(passes, "history", batch, keys.device)[:, None].expand(-1, keys.shape[2])
    valid = history if recall.valid is None else history & side_by_side(recall.valid, passes)
    return Recall(
        keys=tuple(side_by_side(layer, passes) for layer in recall.keys),
        values=tuple(side_by_side(layer, passes) for layer in recall.values),
        cells=recall.cells.repeated(len(passes)),
        valid=None if bool(valid.all()) else valid,
    )


def mixed(answers: Tensor, passes: Sequence[Pass]) -> Tensor:
    """The guided answer [B, ...] of the answers of all passes [passes * B, ...]."""
    if len(passes) == 1:
        return answers
    weights = answers.new_tensor([one.weight for one in passes])
    return torch.einsum("p,p...->...", weights, answers.unflatten(0, (len(passes), -1)))
