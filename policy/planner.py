"""What would the driver do? The protocol every planner follows, and the planner that asks the world model.

A planner sees an `Observation`, which has no field for the future, and answers with a `Plan`: poses at 0.5, 1.0, ... 4.0 s.
The same observation and the same seed give the same plan, so a counterfactual pair that shares its seed differs by
the edit alone.
"""

from typing import Protocol

from worldmodel.errors import BadRequest
from worldmodel.plans import Observation, Plan

MAX_SAMPLES = 256


class Planner(Protocol):
    """Anything that turns what was seen into where to drive."""

    @property
    def name(self) -> str:
        """Short and unique; printed beside every number of this planner."""
        ...

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """The plan in the ego frame of the observation's newest frame.

        Args:
            observation: What was seen up to now.
            seed: All the randomness there is.
            memory: What an earlier `prepare` of the same planner returned; None to start from the observation alone.
        """
        ...


class PlanningModel(Protocol):
    """The part of `worldmodel.model.WorldModel` that a planner needs."""

    def plan(self, observation: Observation, *, seed: int, samples: int = 1) -> Plan:
        """Denoise `samples` plans from the noise of `seed`; the plan's trajectory is their mean."""
        ...


class JointPlanner:
    """The world model's own action expert, reading the model's memory of the frames (the fast path).

    Attributes:
        name: 'joint'.
        samples: Plans drawn per answer; the answer is their mean.
    """

    def __init__(self, model: PlanningModel, samples: int = 8) -> None:
        if not 1 <= samples <= MAX_SAMPLES:
            raise BadRequest(f"{samples} samples per plan were asked for; give a number from 1 to {MAX_SAMPLES}.")
        self.name = "joint"
        self.samples = samples
        self._model = model

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """The mean of `samples` plans, with all of them in `Plan.samples`; `memory` is built anew each time."""
        del memory  # the model builds its memory from the observation
        return self._model.plan(observation, seed=seed, samples=self.samples)
