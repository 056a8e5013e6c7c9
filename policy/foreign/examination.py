"""Moments that a foreign policy is asked about, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float

from policy.foreign.answers import plan_from
from policy.foreign.planner import ForeignPlanner
from worldmodel.errors import BadInput, PolicyError
from worldmodel.geometry import Array
from worldmodel.plans import Observation, Plan


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """A moment of a recording whose future is known.

    Attributes:
        observation: What the policy may see.
        driven: Poses at 0.5, 1.0, ... 4.0 s in the ego frame of now.
        way: 'straight', 'left' or 'right'.
        place: Where it is, for people.
    """

    observation: Observation
    driven: Float[Array, "8 3"]
    way: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        problem: Whether it is wrong; else only worth knowing.
        check: Which question told it.
        place: Where.
        message: What was found, and what to do.
    """

    problem: bool
    check: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{'problem' if self.problem else 'note'}: {self.check}, {self.place}: {self.message}"


@dataclass
class Asked:
    """A policy under examination: what it was asked, and what was found.

    Attributes:
        findings: In the order of the questions.
        seconds: Of every answer.
    """

    planner: ForeignPlanner
    findings: list[Finding] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def found(self, problem: bool, check: str, place: str, message: str) -> None:
        """Write a finding down."""
        self.findings.append(Finding(problem=problem, check=check, place=place, message=message))

    def ask(self, observation: Observation, place: str, seed: int = 0) -> tuple[Plan, dict[str, Any]] | None:
        """The plan, and the answer as it was said; None, with a finding, where there is none."""
        try:
            answer = self.planner.answer(observation, seed)
            plan = plan_from(answer, self.planner.declared.convention, self.planner.name)
        except (PolicyError, BadInput) as error:
            kind = error.kind if isinstance(error, PolicyError) else type(error).__name__
            tail = error.stderr.strip().splitlines()[-1:] if isinstance(error, PolicyError) else []
            self.found(True, kind, place, " | its standard error ends: ".join([str(error), *(t[:200] for t in tail)]))
            return None
        return plan, answer

    def poses(self, observation: Observation, place: str, seed: int = 0) -> Float[Array, "8 3"] | None:
        """The plan's poses."""
        told = self.ask(observation, place, seed)
        return None if told is None else told[0].trajectory.poses


Told = Sequence[tuple[Probe, Plan, dict[str, Any]]]  # a moment, the plan, and the answer as it was said
