"""The town's true answer: the same seconds with one thing changed, expert and traffic reacting from then on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldmodel.clips import Clip
from worldmodel.edits import Edit
from worldmodel.errors import ClipTooShort
from worldmodel.geometry import Rig, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan, Response
from worldmodel.town.dataset import clip_of
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import simulate

REACTION_M = 0.5  # a path shorter by more than this counts as braking


def plan_of(scene: Scene, at_s: float) -> Plan:
    """What the expert drives from a moment on, as a plan in the ego frame of that moment.

    Raises:
        ClipTooShort: if the scene does not go on for 4 s after `at_s`.
    """
    times = np.arange(len(scene)) / scene.frequency_hz
    wanted = at_s + PLAN_TIMES_S
    if wanted[-1] > times[-1] + 1e-6:
        raise ClipTooShort(
            f"scene '{scene.id}' has frames up to {times[-1]:g} s; a plan from {at_s:g} s needs {wanted[-1]:g} s. "
            "Simulate longer, or ask for an earlier moment."
        )
    driven = Trajectory(poses=scene.ego_poses, times_s=times)
    now = driven.resampled(np.array([at_s])).poses[0]
    ahead = driven.resampled(wanted).seen_from(now)
    return Plan(trajectory=Trajectory(poses=ahead.poses, times_s=PLAN_TIMES_S))


@dataclass(frozen=True, eq=False, kw_only=True)
class Truth:
    """What the change did.

    Attributes:
        factual, edited: The two scenes.
        at_s: From when on they may differ.
        response: The expert's path over the 4 s from `at_s`, without and with the change.
    """

    factual: Scene
    edited: Scene
    at_s: float
    response: Response

    @property
    def brakes(self) -> bool:
        """Whether the expert drives more than REACTION_M less far over 4 s."""
        return self.response.path_length_change_m < -REACTION_M


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Answers counterfactual questions about town scenes.

    Attributes:
        seconds: Duration of the scenes; at least 4 s more than the moment of the edit for `truth`.
        frequency_hz: Frames per second.
        supersample: For rendering.
    """

    seconds: float = 8.0
    frequency_hz: float = 8.0
    supersample: int = 2

    def scene(self, situation: str, seed: int, edits: Sequence[Edit] = ()) -> Scene:
        """The scene, factual or edited."""
        return simulate(situation, seed, seconds=self.seconds, frequency_hz=self.frequency_hz, edits=edits)

    def counterfactual(self, situation: str, seed: int, edit: Edit, *, rig: Rig) -> Clip:
        """The edited scene seen by all cameras.

        Raises:
            BadEdit: if the edit cannot be applied.
        """
        return clip_of(self.scene(situation, seed, (edit,)), rig=rig, supersample=self.supersample)

    def truth(self, situation: str, seed: int, edit: Edit) -> Truth:
        """How the expert's path over 4 s changes, without rendering.

        Raises:
            BadEdit: if the edit cannot be applied.
            ClipTooShort: if less than 4 s follow the edit.
        """
        factual, edited = self.scene(situation, seed), self.scene(situation, seed, (edit,))
        at_s = float(getattr(edit, "at_s", 0.0))
        response = Response(factual=plan_of(factual, at_s), edited=plan_of(edited, at_s))
        return Truth(factual=factual, edited=edited, at_s=at_s, response=response)
