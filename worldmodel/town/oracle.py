"""The town's true answer: the same seconds with one thing changed, expert and traffic reacting from then on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldmodel.clips import Clip
from worldmodel.edits import Edit
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.geometry import Rig, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan, Response
from worldmodel.town.dataset import clip_of
from worldmodel.town.measures import Measures, Reaction, measure, react
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
        at_s: From when on they may differ; 0 for an edit of the whole scene.
        response: The expert's path over the 4 s from `at_s`, without and with the change.
        reaction: Whether the expert did something else because of it, and when.
        factual_measures, edited_measures: Stop distance, time to collision and smallest gap from `at_s` on.
    """

    factual: Scene
    edited: Scene
    at_s: float
    response: Response
    reaction: Reaction
    factual_measures: Measures
    edited_measures: Measures

    @property
    def brakes(self) -> bool:
        """Whether the expert drives more than REACTION_M less far over 4 s."""
        return self.response.path_length_change_m < -REACTION_M

    @property
    def reacts(self) -> bool:
        """Whether the expert brakes, evades or speeds up."""
        return self.reaction.kind != "none"


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

    def edited(self, scene: Scene, edit: Edit) -> Scene:
        """The same seconds with an edit applied: bit for bit the factual ones before it.

        Args:
            scene: A factual scene of `simulate` (or of tracks), of any duration and rate.
        Raises:
            BadEdit: if the edit cannot be applied.
            BadRequest: if the scene is edited already.
        """
        if scene.id != f"{scene.situation}-{scene.seed}":
            raise BadRequest(
                f"scene '{scene.id}' is edited already, but a counterfactual starts from the factual scene. "
                "Give that, or call `simulate` with all edits."
            )
        seconds = len(scene) / scene.frequency_hz
        return simulate(scene.situation, scene.seed, seconds=seconds, frequency_hz=scene.frequency_hz, edits=(edit,))

    def counterfactual(self, scene: Scene, edit: Edit, *, rig: Rig) -> Clip:
        """The edited scene seen by all cameras.

        Raises:
            BadEdit, BadRequest: as `edited`.
        """
        return clip_of(self.edited(scene, edit), rig=rig, supersample=self.supersample)

    def truth(self, scene: Scene, edit: Edit) -> Truth:
        """What the expert does about an edit, without rendering.

        Raises:
            BadEdit, BadRequest: as `edited`.
            ClipTooShort: if less than 4 s follow the edit.
        """
        at_s = float(getattr(edit, "at_s", 0.0))
        plan = plan_of(scene, at_s)
        edited = self.edited(scene, edit)
        return Truth(
            factual=scene,
            edited=edited,
            at_s=at_s,
            response=Response(factual=plan, edited=plan_of(edited, at_s)),
            reaction=react(scene, edited, at_s),
            factual_measures=measure(scene, at_s),
            edited_measures=measure(edited, at_s),
        )
