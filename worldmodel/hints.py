"""Asks the guides: what each of them may look at before a chunk, and the texts that they answer."""

from collections.abc import Sequence

import numpy as np

from worldmodel.clips import check_instruction
from worldmodel.geometry import Array, Trajectory
from worldmodel.guidance import Guide, GuideContext
from worldmodel.loaded import LoadedModel
from worldmodel.past import Past
from worldmodel.planning import draw_plans, plan_of
from worldmodel.plans import Plan

PLAN_STEPS = 4  # a plan that becomes a few words need not be fine


def ask_guides(model: LoadedModel, past: Past, guides: Sequence[Guide], seeds: Sequence[int]) -> tuple[str, ...]:
    """The texts for the next chunk, one per sample.

    Raises:
        BadRequest: if a guide answers something that is no instruction.
    """
    plans = _Plans(model, past, seeds)
    texts = tuple(guide.hint(_context(model, past, sample, plans)) for sample, guide in enumerate(guides))
    return tuple(check_instruction(text) if text else "" for text in texts)


def _context(model: LoadedModel, past: Past, sample: int, plans: "_Plans") -> GuideContext:
    hertz, poses = model.config.frequency_hz, past.trajectory[sample]
    return GuideContext(
        chunk=past.chunks,
        time_s=past.chunks * model.per_chunk / hertz,
        observation=past.newest[sample],
        trajectory=Trajectory(poses=poses, times_s=np.arange(len(poses)) / hertz),
        texts=past.texts[sample],
        plan=lambda samples: plans.of(sample, samples),
    )


class _Plans:
    """Plans from one past, drawn for all its samples together, when the first guide asks."""

    def __init__(self, model: LoadedModel, past: Past, seeds: Sequence[int]) -> None:
        self._model, self._past, self._seeds = model, past, tuple(seeds)
        self._drawn: dict[int, Array] = {}

    def of(self, sample: int, samples: int) -> Plan:
        """The plan of one sample of the past."""
        if samples not in self._drawn:
            texts, seeds = self._past.instructions, self._seeds
            self._drawn[samples] = draw_plans(
                self._model, self._past, texts=texts, seeds=seeds, samples=samples, steps=PLAN_STEPS
            )
        return plan_of(self._drawn[samples][sample])
