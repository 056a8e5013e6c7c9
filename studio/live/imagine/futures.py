"""Futures of one moment, told and driven as was wished, a chunk at a time."""

from dataclasses import replace
from typing import TYPE_CHECKING

from studio.live.imagine.results import plan_ahead
from studio.live.imagine.wishes import ImagineWish
from worldmodel.geometry import Trajectory
from worldmodel.plans import Observation, Plan

if TYPE_CHECKING:
    from worldmodel.guidance import Guide
    from worldmodel.model import WorldModel
    from worldmodel.past import Past
    from worldmodel.rollout import Rollout

PLAN_SAMPLES = 8
RIBBON_STEPS = 4  # a ribbon needs no finer plan


class Futures:
    """Futures of one moment, a chunk at a time: joined, the chunks are what `WorldModel.imagine` gives at once.

    Attributes:
        frames, chunks: How many there will be.
        actions: The path that is commanded; None when the policy drives.
        done: For each chunk that is there a rollout per future.
    """

    def __init__(self, model: "WorldModel", seen: Observation, wish: ImagineWish) -> None:
        self.model, self.wish = model, wish
        self.told = seen.instruction
        self.observation: Observation = replace(seen, instruction=wish.text_at(0.0, self.told))
        self.rate, self.per_chunk = model.config.frequency_hz, model.config.network.frames_per_chunk
        self.frames = max(1, round(wish.seconds * self.rate))
        self.chunks = -(-self.frames // self.per_chunk)
        self.actions = wish.actions(self.rate, self.per_chunk, seen.speed_mps)
        self.done: list[list[Rollout]] = []
        self._guide: Guide = wish.guide(self.told)
        self._past: Past | None = None

    @property
    def time_s(self) -> float:
        """When the next chunk begins, seconds from now."""
        return len(self.done) * self.per_chunk / self.rate

    def step(self) -> "tuple[list[Rollout], list[Trajectory]]":
        """The next chunk of each future, and the way that each driver sees before it at the chunk's start.

        Raises:
            Diverged: if the model produced values that are not finite; what is done stays.
        """
        count, memory = self.wish.futures, self.wish.sampling.empty_memory(self.model.config.history_chunks)
        past = self._past or self.model.remember([self.observation] * count, memory)
        ahead = [self.actions] * count if self.actions is not None else self._meant(past)
        rollouts = self.model.go_on(
            past,
            seconds=min(self.per_chunk, self.frames - len(self.done) * self.per_chunk) / self.rate,
            seeds=self.wish.seeds,
            actions=None if self.actions is None else [self.actions] * count,
            guides=[self._guide] * count,
            sampling=self.wish.sampling,
        )
        self._past = rollouts[0].past
        self.done.append(rollouts)
        return rollouts, ahead

    def _meant(self, past: "Past") -> list[Trajectory]:
        """A quick plan of each driver at the chunk's start, in the ego frame of now."""
        from worldmodel.planning import draw_plans

        texts = [self.wish.text_at(self.time_s, self.told)] * self.wish.futures
        drawn = draw_plans(self.model, past, texts=texts, seeds=self.wish.seeds, samples=1, steps=RIBBON_STEPS)
        return [plan_ahead(poses[-1], plan[0], self.time_s) for poses, plan in zip(past.trajectory, drawn, strict=True)]

    def plan(self) -> Plan:
        """What the policy would do now, as `detour plan` answers with this text."""
        from policy.planner import JointPlanner

        return JointPlanner(self.model, PLAN_SAMPLES).plan(self.observation, self.wish.seed)
