"""Guidance learnt: what a network with guidance scales as inputs is to answer, from its own answers without them.

The mix is the one of `worldmodel.guidance_scales`; Meng et al. (arXiv 2210.03142) taught a student the guided velocity of its
teacher so, with one scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from worldmodel.guidance_scales import CONDITIONS
from worldmodel.training.draws import Batch, Draw

LARGEST = {"history": 2.0, "motion": 3.0, "text": 4.0}
PLAIN_SHARE = 0.4  # of the scales, which stay 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Variant:
    """A batch that is told some of the conditions, and how much its answer counts, [B]."""

    batch: Batch
    draw: Draw
    weight: Tensor


def draw_scales(draw: Draw, count: int, generator: torch.Generator) -> Tensor:
    """Guidance scales [B, 3] of the first `count` samples; 1 for the others and for what is not given."""
    size = len(draw.present)
    largest = torch.tensor([LARGEST[name] for name in CONDITIONS])
    scales = 1 + (largest - 1) * torch.rand(size, len(CONDITIONS), generator=generator)
    plain = torch.rand(size, len(CONDITIONS), generator=generator) < PLAIN_SHARE
    plain |= (torch.arange(size) >= count)[:, None]
    scales = torch.where(plain, 1.0, scales).to(draw.present.device)
    given = torch.stack([draw.history_known, motion_given(draw), torch.ones_like(draw.present)], dim=1)
    return torch.where(given, scales, 1.0)


def motion_given(draw: Draw) -> Tensor:
    """Whose steps are told, bool [B]."""
    return draw.learn_video & ~draw.learn_steps


def variants(batch: Batch, draw: Draw, scales: Tensor) -> Iterator[Variant]:
    """The same samples told nothing, the history, the motion as well, and everything; their weights sum to 1.

    Args:
        batch: With the features of the empty text as `silence` and `silence_valid`, shaped like one chunk's.
    """
    history, motion, text = scales.unbind(dim=1)
    motion = torch.where(motion_given(draw), motion, text)  # a condition that is not given is no step on the way
    silent = _silent(batch)
    still = _without_motion(draw)
    yield Variant(batch=silent, draw=_without_history(still), weight=1 - history)
    yield Variant(batch=silent, draw=still, weight=history - motion)
    yield Variant(batch=silent, draw=draw, weight=motion - text)
    yield Variant(batch=batch, draw=draw, weight=text)


def first_rows(batch: Batch, draw: Draw, count: int) -> tuple[Batch, Draw]:
    """The first samples of a batch."""
    values: dict[str, Any] = {one.name: getattr(draw, one.name) for one in fields(draw)}
    kept: dict[str, Any] = {name: None if value is None else value[:count] for name, value in values.items()}
    return {name: value[:count] for name, value in batch.items()}, replace(draw, **kept)


def _silent(batch: Batch) -> Batch:
    text, valid = batch["silence"], batch["silence_valid"]
    silence = {
        "text": text[:, None].expand_as(batch["text"]),
        "text_valid": valid[:, None].expand_as(batch["text_valid"]),
    }
    return {**batch, **silence}


def _without_motion(draw: Draw) -> Draw:
    given = motion_given(draw)
    return replace(
        draw,
        noisy_steps=torch.where(given[:, None, None], draw.steps_noise, draw.noisy_steps),
        steps_time=torch.where(given[:, None], 1.0, draw.steps_time),
        view_known=draw.view_known & ~given,
    )


def _without_history(draw: Draw) -> Draw:
    nobody = torch.zeros_like(draw.history_known)
    return replace(
        draw,
        clean_steps=torch.zeros_like(draw.clean_steps),
        clean_steps_time=torch.ones_like(draw.clean_steps_time),
        history_known=nobody,
        view_known=nobody,
    )
