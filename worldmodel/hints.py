"""Asks the guides: what each of them may look at before a chunk, and the texts that they answer."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.clips import check_instruction
from worldmodel.geometry import Array, Motion, Trajectory, relative
from worldmodel.guidance import Guide, GuideContext
from worldmodel.plans import Observation, Plan

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.rollout import Past

PLAN_STEPS = 4  # a plan that becomes a few words need not be fine


def ask_guides(model: "WorldModel", past: "Past", guides: Sequence[Guide], seeds: Sequence[int]) -> tuple[str, ...]:
    """The texts for the next chunk, one per sample.

    Raises:
        BadRequest: if a guide answers something that is no instruction.
    """
    plans = _Plans(model, past, seeds)
    texts = tuple(guide.hint(_context(model, past, sample, plans)) for sample, guide in enumerate(guides))
    return tuple(check_instruction(text) if text else "" for text in texts)


def _context(model: "WorldModel", past: "Past", sample: int, plans: "_Plans") -> GuideContext:
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

    def __init__(self, model: "WorldModel", past: "Past", seeds: Sequence[int]) -> None:
        self._model, self._past, self._seeds = model, past, tuple(seeds)
        self._drawn: dict[int, Array] = {}

    def of(self, sample: int, samples: int) -> Plan:
        """The plan of one sample of the past."""
        from worldmodel.planning import draw_plans, plan_of  # which imports the rollout, which imports this

        if samples not in self._drawn:
            texts, seeds = self._past.instructions, self._seeds
            self._drawn[samples] = draw_plans(
                self._model, self._past, texts=texts, seeds=seeds, samples=samples, steps=PLAN_STEPS
            )
        return plan_of(self._drawn[samples][sample])


def newest_chunk(observation: Observation, per_chunk: int) -> Observation:
    """The last chunk of an observation."""
    motion = observation.motion
    kept = None if motion is None else motion[len(motion) - per_chunk + 1 :]
    return replace(observation, video=observation.video[-per_chunk:], motion=kept)


def imagined_chunk(before: Observation, video: Array, poses: Array) -> Observation:
    """What is seen after one more chunk: its pictures uint8 [F, C, 3, h, w], imagined at poses [F, 3]."""
    deltas = np.array([relative(a, b) for a, b in pairwise(poses)]).reshape(-1, 3)
    return replace(before, video=video, motion=Motion(deltas=deltas, period_s=1 / before.frequency_hz))
