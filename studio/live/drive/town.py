"""A drive in the town itself, from the moment of a clip that the town made."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from policy.bicycle import CarState, Limits
from policy.town_drive import Course, TownDrive
from studio.live.drive.obstacle import Obstacle
from studio.moments import Moment
from studio.town_answer import real_obstacle, scene_of
from worldmodel.clips import Box
from worldmodel.errors import BadEdit, BadRequest
from worldmodel.geometry import Array
from worldmodel.plans import Observation, Plan
from worldmodel.town.traffic import SITUATIONS

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

SAME = 1e-2  # metres and radians per frame up to which the town moves as the clip was recorded
LEAST_S = 1.0  # of a drive that is worth beginning
ENDINGS = {
    "time": "the scene is over",
    "done": "you came to the end of the route",
    "collision": "you hit somebody",
    "off_road": "you left the road",
    "off_route": "you left the route",
}


class Town:
    """The town driven by a visitor; everybody else in it reacts.

    Attributes:
        drive: The simulation, the car and the referee.
        rig: The cameras, those of the clip.
        frames: The newest pictures [n, camera, 3, h, w].
    """

    def __init__(self, moment: Moment, *, limits: Limits, history: int) -> None:
        """Take over from the expert at the moment of a clip.

        Args:
            moment: Of a clip that the town made.
            history: Pictures that whoever plans sees.
        Raises:
            BadRequest: if the clip is not of the town, the town has changed since, or the scene is nearly over.
        """
        self._course = course_at(moment, limits)
        self.drive, self.rig, self._history = TownDrive(self._course), moment.clip.rig, history
        _check_same(self.drive, moment)
        self.frames = moment.clip.video[: moment.now + 1][-history:]
        self._held: list[tuple[tuple[float, float], float]] = []

    @property
    def car(self) -> CarState:
        """The ego, in the scene's world."""
        return self.drive.car

    @property
    def end(self) -> str:
        """Why the drive is over, in words; '' while it goes on."""
        if not self.drive.end:
            return ""
        named = [f"{one.kind.replace('_', ' ')} {one.track}".strip() for one in self.drive.conduct.infractions]
        return ENDINGS[self.drive.end] + (f" ({named[-1]})" if self.drive.end == "collision" and named else "")

    @property
    def instruction(self) -> str:
        """What the town tells the driver now."""
        return self.drive.instruction()

    def boxes(self) -> tuple[Box, ...]:
        """Everybody else now, in the ego frame."""
        scene = self.drive.whole_scene()
        return scene.boxes(len(scene) - 1)

    def go_on(self, controls: tuple[float, float], seconds: float) -> UInt8[Array, "n camera 3 h w"]:
        """Drive with acceleration (m/s2) and curvature (1/m) held, and see it; fewer pictures when it ends."""
        before = len(self.drive.whole_scene())
        self.drive.advance(controls, seconds)
        self._held.append((controls, seconds))
        made = len(self.drive.whole_scene()) - before
        seen = self.drive.observation(self.rig, made).video if made else self.frames[:0]
        self.frames = np.concatenate([self.frames, seen])[-self._history :]
        return seen

    def plan(self, model: "WorldModel", text: str, seed: int, *, samples: int, steps: int) -> Plan:
        """What the model would do now, looking at the town, told `text`."""
        scene = self.drive.whole_scene()
        count = min(len(self.frames), len(scene))
        driven = scene.trajectory()
        motion = replace(driven, poses=driven.poses[-count:], times_s=driven.times_s[-count:]).motion()
        seen = Observation(
            video=self.frames[-count:],
            rig=self.rig,
            motion=motion,
            frequency_hz=scene.frequency_hz,
            instruction=text,
        )
        return model.plan(seen, seed=seed, samples=samples, steps=steps)

    def put(self, obstacle: Obstacle, way: Float[Array, "n 3"]) -> None:
        """Put something real on a way ahead of the car.

        The scene is played again up to now, so that it is what it would have been; up to now nothing changes.

        Raises:
            BadEdit: if the place is taken.
        """
        at_s = self._course.warmup_s + self.drive.time_s
        edit = real_obstacle(obstacle.edit(self.car.speed_mps, way, at_s), at_s)
        course = replace(self._course, edits=(*self._course.edits, edit))
        again = TownDrive(course)
        try:
            for controls, seconds in self._held:
                again.advance(controls, seconds)
        except BadEdit as error:
            raise BadEdit(
                f"a {obstacle.kind} has no room {edit.x_m:.0f} m ahead: the place is taken, or off the road. Drive on, then try again."
            ) from error
        self._course, self.drive = course, again


def course_at(moment: Moment, limits: Limits) -> Course:
    """What is to be driven from the moment of a town clip on, to the end of its scene.

    Raises:
        BadRequest: if the clip is not of the town, or its scene is nearly over.
    """
    from worldmodel.town.dataset import SOURCE

    if moment.clip.source != SOURCE:
        raise BadRequest(
            f"clip '{moment.clip.id}' was not made by the town, so there is no town to drive in. Choose a clip of the town, or "
            "drive the dream."
        )
    situation, seed = scene_of(moment.clip.id)
    at_s = moment.start_s + moment.at_s
    left_s = SITUATIONS[situation].max_seconds - at_s if situation in SITUATIONS else LEAST_S
    if left_s < LEAST_S:
        raise BadRequest(f"at {at_s:g} s the scene of clip '{moment.clip.id}' is over. Choose an earlier moment.")
    rate = moment.clip.frequency_hz
    return Course(situation=situation, seed=seed, seconds=left_s, warmup_s=at_s, frequency_hz=rate, limits=limits)


def _check_same(drive: TownDrive, moment: Moment) -> None:
    """Refuse a scene that does not move as recorded, as after a change of the town."""
    recorded = moment.clip.motion
    if recorded is None or not moment.now:
        return
    steps = drive.whole_scene().trajectory().motion().deltas[-moment.now :]
    worst = float(np.abs(steps - recorded.deltas[: moment.now][-len(steps) :]).max())
    if worst > SAME:
        raise BadRequest(
            f"the town no longer moves as clip '{moment.clip.id}' was recorded ({worst:.3g} m or rad per frame apart, at most "
            f"{SAME:g} is allowed). Make the clip again with `detour town`, or drive the dream."
        )


@dataclass(frozen=True, kw_only=True)
class TownScore:
    """How a drive in the town went, in CARLA's terms: metres along the route, and what went wrong."""

    progress_m: float
    route_m: float
    infractions: tuple[str, ...]

    @staticmethod
    def of(town: Town) -> "TownScore":
        """Up to now."""
        drive = town.drive
        wrong = tuple(f"{one.kind.replace('_', ' ')} at {one.time_s:.1f} s" for one in drive.conduct.infractions)
        return TownScore(progress_m=drive.progress_m, route_m=drive.route_m, infractions=wrong)
