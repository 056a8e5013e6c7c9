"""The planner that imagines: the world model shows how the drive goes on, and says which motion explains what it shows."""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from policy.answers import Ask
from worldmodel.geometry import Motion
from worldmodel.observing import at_rate
from worldmodel.pictures import resize_video
from worldmodel.planning import plan_of
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.rollout import Rollout

SEED_STEP = 1_000_003  # between the seeds of an answer's samples, so that sample 0 is the one of the seed itself


class ImaginingModel(Protocol):
    """The part of `worldmodel.model.WorldModel` that this planner needs."""

    def imagine_batch(
        self, observations: Sequence[Observation], *, seconds: float, seeds: Sequence[int]
    ) -> list[Rollout]:
        """How the drives go on."""
        ...

    def explain_batch(self, observations: Sequence[Observation], *, seed: int = 0) -> list[Motion]:
        """The motions that the pictures after the first chunk amount to."""
        ...


class ImaginingPlanner:
    """Imagine 4 s of video, then read the motion back from the pictures alone.

    The steps that were imagined together with the video are not looked at: the plan is what the pictures show.

    Attributes:
        name: 'imagining'.
        samples: Futures imagined per answer; the plan is the mean of what they explain.
    """

    needs_pixels = True

    def __init__(self, model: ImaginingModel, samples: int = 1) -> None:
        self.name, self.samples, self._model = "imagining", Ask(samples=samples).samples, model

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """The mean of `samples` imagined and explained drives, with all of them in `Plan.samples` where there are several.

        Raises:
            BadRequest, ClipTooShort: if the observation does not fit the model.
        """
        del memory
        started = time.perf_counter()
        seeds = [seed + SEED_STEP * i for i in range(self.samples)]
        seconds = float(PLAN_TIMES_S[-1])
        rollouts = self._model.imagine_batch([observation] * len(seeds), seconds=seconds, seeds=seeds)
        imagined = time.perf_counter()
        motions = self._model.explain_batch([_shown(observation, rollout) for rollout in rollouts], seed=seed)
        poses = np.stack([motion.trajectory().resampled(PLAN_TIMES_S).poses for motion in motions])
        return plan_of(poses, {"imagine_s": imagined - started, "explain_s": time.perf_counter() - imagined})


def _shown(observation: Observation, rollout: Rollout) -> Observation:
    """The last real chunk and the imagined frames, without motion."""
    context = round(rollout.chunk_s * rollout.frequency_hz)
    past = at_rate(observation, rollout.frequency_hz).video[-context:]
    past = resize_video(past, rollout.rig.width_px, rollout.rig.height_px)
    return Observation(
        video=np.concatenate([past, rollout.video]),
        rig=rollout.rig,
        motion=None,
        frequency_hz=rollout.frequency_hz,
        instruction=observation.instruction,
    )
