"""Guides: which text steers each chunk of an imagined drive.

A guide is asked once per chunk, before the chunk is imagined, and may look at what is known by then: the newest pictures,
the way so far, and a plan drawn from the ready memory. Memory is written without any text (`worldmodel.network`), so a text
acts on its own chunk, and a change of text leaves earlier chunks as they were, bit for bit.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from worldmodel.clips import check_instruction
from worldmodel.decisions import LANE_CHANGE_M, STOP_MPS, STRAIGHT_DEG, longitudinal_decision
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Trajectory, wrap_angle
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan

MAX_SCHEDULE = 1000
TURN_DEG = 35.0  # within DecisionGuide.horizon_s; less is a bend


@dataclass(frozen=True, eq=False, kw_only=True)
class GuideContext:
    """What a guide may look at when it chooses the text of a chunk.

    Attributes:
        chunk: Number of the chunk; 0 is the first imagined one.
        time_s: When it starts, seconds after now.
        observation: What the driver sees by then: the newest chunk at the model's picture size (recorded before chunk 0,
            imagined later), the steps between its frames where they are known, and what the driver was told.
        trajectory: The ego's poses so far in the ego frame of now, from time 0 to `time_s`.
        texts: The texts of the chunks so far.
        plan: Draws a plan of so many samples from the memory; the same as `WorldModel.plan` gives in 4 steps.
    """

    chunk: int
    time_s: float
    observation: Observation
    trajectory: Trajectory
    texts: tuple[str, ...]
    plan: Callable[[int], Plan]


class Guide(Protocol):
    """Says which text steers a chunk."""

    def hint(self, context: GuideContext) -> str:
        """The text for the chunk that `context` is about; '' for none. The same context gives the same text."""


@dataclass(frozen=True, kw_only=True)
class FixedGuide:
    """One text for all chunks."""

    text: str = ""

    def __post_init__(self) -> None:
        if self.text:
            check_instruction(self.text)

    def hint(self, context: GuideContext) -> str:  # noqa: ARG002 (the protocol's signature)
        """The text, whatever happens."""
        return self.text


@dataclass(frozen=True, kw_only=True)
class ScheduleGuide:
    """Text per time range: (start in seconds from now, text), by increasing start; '' says nothing from then on."""

    texts: tuple[tuple[float, str], ...] = field(default=())

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.texts]
        if not all(math.isfinite(start) and start >= 0 for start in starts):
            raise BadRequest(f"the schedule's start times {starts} must be seconds from now, 0 or later. Correct them.")
        if any(b <= a for a, b in pairwise(starts)):
            raise BadRequest(f"the schedule's start times {starts} must increase. Sort the texts by time.")
        for _, text in self.texts:
            if text:
                check_instruction(text)

    def hint(self, context: GuideContext) -> str:
        """The text of the last range that has begun."""
        begun = [text for start, text in self.texts if start <= context.time_s + 1e-9]
        return begun[-1] if begun else ""


def parse_schedule(text: str) -> ScheduleGuide:
    """A schedule from '0:follow the road;2:turn left' or from JSON: [[0, "follow the road"], [2, "turn left"]].

    A text may hold colons, and semicolons only in JSON. JSON may also be an object: {"0": "follow the road"}.

    Raises:
        BadRequest: if it is neither, or the times do not increase.
    """
    try:
        rows = _json_rows(text) if text.lstrip()[:1] in ("[", "{") else _plain_rows(text)
        texts = tuple((float(start), spoken.strip()) for start, spoken in rows)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"the schedule '{text[:80]}' cannot be read ({error}). Write seconds and text as in "
            '\'0:follow the road;2:turn left\', or JSON as in [[0, "follow the road"], [2, "turn left"]].'
        ) from error
    if not 1 <= len(texts) <= MAX_SCHEDULE:
        raise BadRequest(f"the schedule has {len(texts)} texts; 1 to {MAX_SCHEDULE} make sense. Give some.")
    return ScheduleGuide(texts=texts)


def _plain_rows(text: str) -> list[tuple[str, str]]:
    rows = [part.split(":", 1) for part in text.split(";") if part.strip()]
    return [(start, spoken) for start, spoken in rows]


def _json_rows(text: str) -> list[tuple[Any, Any]]:
    data = json.loads(text)
    return list(data.items()) if isinstance(data, dict) else [(start, spoken) for start, spoken in data]


@dataclass(frozen=True, kw_only=True)
class DecisionGuide:
    """Says before each chunk what the model itself decides to do: the majority among plans drawn from the memory.

    The plans follow what the driver was told; the words are those of the town's hints, which models are trained with.

    Attributes:
        samples: Plans drawn per chunk.
        horizon_s: How far ahead the decision looks, at most 4 s.
    """

    samples: int = 5
    horizon_s: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 256:
            raise BadRequest(f"{self.samples} plans per decision were asked for; 1 to 256 make sense.")
        if not PLAN_TIMES_S[0] <= self.horizon_s <= PLAN_TIMES_S[-1]:
            raise BadRequest(
                f"decisions over {self.horizon_s:g} s were asked for; plans reach from {PLAN_TIMES_S[0]:g} to "
                f"{PLAN_TIMES_S[-1]:g} s. Choose a horizon among those."
            )

    def hint(self, context: GuideContext) -> str:
        """What most plans amount to, in words; the first among equals."""
        plan = context.plan(self.samples)
        drawn = plan.trajectory.poses[None] if plan.samples is None else plan.samples
        speed = context.observation.speed_mps
        said = Counter(decision_text(poses, self.horizon_s, start_mps=speed) for poses in drawn)
        return said.most_common(1)[0][0]


def decision_text(poses: Array, horizon_s: float, *, start_mps: float | None = None) -> str:
    """What a plan amounts to, in the words of the town's hints.

    Args:
        poses: At 0.5 ... 4 s in the present ego frame, [8, 3].
        start_mps: The present speed; else the mean speed of the first half second.
    """
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    poses = np.concatenate([np.zeros((1, 3)), poses])
    last = max(1, int(np.searchsorted(times, horizon_s + 1e-6)) - 1)
    speeds = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1) / np.diff(times)
    before = float(speeds[0]) if start_mps is None else start_mps
    pace = longitudinal_decision(before, float(speeds[last - 1]))
    if pace == "stop":
        return "stay where you are" if before < STOP_MPS else "slow down and stop"
    steering = _steering(float(np.degrees(wrap_angle(np.diff(poses[: last + 1, 2])).sum())), float(poses[last, 1]))
    if steering:
        return f"slow down and {steering}" if pace == "slow" else steering
    return {"slow": "slow down a little", "accelerate": "speed up a little", "keep": "keep this speed"}[pace]


def _steering(turned_deg: float, left_m: float) -> str:
    side = "left" if (turned_deg if abs(turned_deg) >= STRAIGHT_DEG else left_m) > 0 else "right"
    if abs(turned_deg) >= TURN_DEG:
        return f"turn {side} at the crossing"
    if abs(turned_deg) >= STRAIGHT_DEG:
        return f"take the bend to the {side}"
    return f"change to the {side} lane" if abs(left_m) > LANE_CHANGE_M else ""
