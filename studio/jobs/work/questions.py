"""What the model is asked for a work: one past, and for each rollout in it a seed, a text over time and how the ego moves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from studio.jobs.units import ActionChoice, Unit, UnitRequest, Work
from studio.jobs.work.clip_reader import ClipReader, EditedMoment, Recording
from studio.moments import Moment, Wish
from worldmodel.clips import check_instruction
from worldmodel.errors import BadMotion, BadRequest, MissingMotion
from worldmodel.geometry import Trajectory, integrate_rates
from worldmodel.guidance import FixedGuide, Guide, parse_schedule
from worldmodel.plans import Observation

if TYPE_CHECKING:
    from worldmodel.loaded import LoadedModel


@dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """One rollout of a work, ready to be asked.

    Attributes:
        unit: What it is for.
        observation: What is seen, with the text that the driver is told.
        guide: Which text steers each chunk.
        actions: The path to drive in the ego frame of now; None where the model imagines it.
    """

    unit: Unit
    observation: Observation
    guide: Guide
    actions: Trajectory | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """A work, read.

    Attributes:
        recording: The moment, what followed it, and what was driven.
        edited: The moment with the edit in it, as the model sees it; None without one.
        questions: One per unit, in order.
    """

    recording: Recording
    edited: EditedMoment | None
    questions: tuple[Question, ...]

    @property
    def moment(self) -> Moment:
        """What is seen."""
        return self.recording.moment if self.edited is None else self.edited.moment

    def filled(self, batch: int) -> tuple[Question, ...]:
        """As many questions as go through the network together; the last one is repeated."""
        return (*self.questions, *[self.questions[-1]] * (batch - len(self.questions)))


def group_of(work: Work, reader: ClipReader, model: "LoadedModel", wish: Wish) -> Group:
    """Read what a work is about.

    Args:
        wish: How much is seen, and how far the driven path is wanted.
    Raises:
        BadInput: if the clip, the edit, the texts or the actions of a unit cannot be used.
        MissingMotion: if a future with an edit is asked for, and the recording has no ego motion.
    """
    request = work.units[0].request
    recording = reader.read(request.clip, wish)
    if request.edit is not None and request.seconds and recording.moment.clip.motion is None:
        raise MissingMotion(
            f"clip '{request.clip.id}' has no ego motion, so an edit cannot be kept at its place while the past goes by, and a "
            "future goes on from several frames. Choose a clip with motion, or ask planners alone with seconds: 0."
        )
    edited = None if request.edit is None else reader.edited(request.clip, wish, request.edit)
    seen = (recording.moment if edited is None else edited.moment).observation()
    driven = recording.driven
    return Group(
        recording=recording,
        edited=edited,
        questions=tuple(_question(unit, seen, driven, model) for unit in work.units),
    )


def _question(unit: Unit, seen: Observation, driven: Trajectory | None, model: "LoadedModel") -> Question:
    request = unit.request
    if request.text is not None:
        check_instruction(request.text)
    text = seen.instruction if request.text is None else request.text
    guide: Guide = parse_schedule(request.schedule) if request.schedule else FixedGuide(text=text)
    observation = replace(seen, instruction=text)
    actions = None
    if request.seconds:
        actions = path_to_drive(request, observation, driven, model.config.frequency_hz, model.per_chunk)
    return Question(unit=unit, observation=observation, guide=guide, actions=actions)


def path_to_drive(
    request: UnitRequest, seen: Observation, driven: Trajectory | None, frequency_hz: float, per_chunk: int
) -> Trajectory | None:
    """The path that a unit commands, in the ego frame of now; None where the model imagines it.

    Args:
        request: Its choice, and the horizon.
        seen: For the speed of now.
        driven: What was recorded.
        frequency_hz, per_chunk: Of the model.
    Raises:
        MissingMotion: if the recording's path or speed is wanted, and it has none.
        BadMotion: if the recording ends before the horizon, or poses do not increase in time.
        BadRequest: if there is no such kind of actions.
    """
    choice = request.actions
    if choice.kind == "policy":
        return None
    if choice.kind == "recorded":
        return _recorded(request, driven)
    if choice.kind == "constant":
        return _constant(choice, request.seconds, seen, frequency_hz, per_chunk)
    if choice.kind == "poses":
        return _posed(choice.poses)
    raise BadRequest(f"actions of kind '{choice.kind}' are asked for; need policy, recorded, constant or poses.")


def _recorded(request: UnitRequest, driven: Trajectory | None) -> Trajectory:
    clip = request.clip
    if driven is None:
        raise MissingMotion(
            f"clip '{clip.id}' has no ego motion after {clip.at_s:g} s, so its drive cannot be repeated. Choose an earlier "
            "moment or another clip, or use actions: policy."
        )
    if driven.times_s[-1] + 1e-6 < request.seconds:
        raise BadMotion(
            f"clip '{clip.id}' goes on for {driven.times_s[-1]:g} s after {clip.at_s:g} s, and {request.seconds:g} s of it "
            "are to be driven. Ask for fewer seconds, an earlier moment, or actions: policy."
        )
    return driven


def _constant(choice: ActionChoice, seconds: float, seen: Observation, hertz: float, per_chunk: int) -> Trajectory:
    """An arc over whole chunks."""
    speed = seen.speed_mps if choice.speed_mps is None else choice.speed_mps
    if speed is None:
        raise MissingMotion(
            "actions 'constant' without a speed go on at the speed of now, which the recording does not tell. "
            "Give speed_mps."
        )
    frames = -(-max(1, round(seconds * hertz)) // per_chunk) * per_chunk
    rates = np.full(frames, np.radians(choice.yaw_rate_dps))
    return integrate_rates(np.full(frames, speed), rates, np.arange(frames + 1) / hertz)


def _posed(poses: Sequence[tuple[float, float, float, float]]) -> Trajectory:
    """As `detour imagine --actions` reads a file: it starts at the origin where it does not say."""
    if not poses:
        raise BadMotion("actions 'poses' have no pose; at least one after now is needed. Give t, x, y, yaw.")
    rows = np.array([(0.0, 0.0, 0.0, 0.0), *poses] if poses[0][0] > 0 else poses)
    return Trajectory(poses=rows[:, 1:], times_s=rows[:, 0])
