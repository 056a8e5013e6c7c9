"""What is to be driven in the town, and a drive under way: the simulation, the car, the referee.

The town's expert drives the first seconds, so that whoever takes over has a past to look at. Scores count from the
hand-over on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eval_fid_fvd.driving_score import (
    COLLISIONS,
    DEFAULT_FORM,
    PENALTIES,
    Conduct,
    DrivingScore,
    Referee,
    driving_score,
)
from eval_fid_fvd.footprints import LaneMap
from eval_fid_fvd.rules import along_route
from policy.bicycle import CarState, Limits, step
from worldmodel.edits import Edit
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.plans import Observation
from worldmodel.town.drivers.expert import idm
from worldmodel.town.scene import Scene, from_frame
from worldmodel.town.traffic import SITUATIONS, TICKS_HZ, EgoState, Simulation, check_rate

WARMUP_S = 2.0
OFF_ROAD_M = 5.0  # a corner that far beside all lanes ends the drive
OFF_ROUTE_M = 30.0  # so does this distance from the route, as in CARLA
ENDS = ("time", "done", "collision", "off_road", "off_route")


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is to be driven.

    Attributes:
        situation, seed: Of the scene.
        seconds: Time given from the hand-over on.
        warmup_s: The expert drives before it; at least one frame, for a past.
        frequency_hz: Frames per second.
        edits: What is changed in the scene.
        limits: Of the car.
        form: Of the driving score; one of `driving_score.PENALTIES`.
    """

    situation: str
    seed: int
    seconds: float = 20.0
    warmup_s: float = WARMUP_S
    frequency_hz: float = 8.0
    edits: tuple[Edit, ...] = ()
    limits: Limits = field(default_factory=Limits)
    form: str = DEFAULT_FORM

    def __post_init__(self) -> None:
        if self.situation not in SITUATIONS:
            raise UnknownName("situation", self.situation, SITUATIONS)
        if self.form not in PENALTIES:
            raise UnknownName("form of the driving score", self.form, PENALTIES)
        self._check_times()
        longest = SITUATIONS[self.situation].max_seconds
        if not self.seconds + self.warmup_s <= longest:
            raise BadRequest(
                f"a drive of {self.seconds:g} s after {self.warmup_s:g} s is asked for; scenes of '{self.situation}' last up to "
                f"{longest:g} s. Choose at most {longest - self.warmup_s:g} s."
            )

    def _check_times(self) -> None:
        check_rate(self.frequency_hz)
        least = max(1.0, 5 / self.frequency_hz)
        if not self.seconds >= least:
            raise BadRequest(
                f"a drive of {self.seconds:g} s is asked for; it needs at least {least:g} s. Choose a longer one."
            )
        frames = self.warmup_s * self.frequency_hz
        if not (frames >= 1 and abs(frames - round(frames)) < 1e-6):
            raise BadRequest(
                f"the expert is to drive the first {self.warmup_s:g} s, which is {frames:g} frames; it must be a whole number, at "
                "least 1. Choose another warm-up."
            )


class TownDrive:
    """A drive under way: the simulation, the car, the referee.

    Attributes:
        course: What is driven.
        route_m: Metres that free driving makes in the time given: the length of the route.
        car: The ego now.
        end: Why the drive is over, one of ENDS; '' while it goes on.
    """

    def __init__(self, course: Course) -> None:
        """Draw the scene and let the expert drive to the hand-over.

        Raises:
            BadInput: as `Simulation`.
        """
        self.course, self.end = course, ""
        self._simulation = Simulation(course.situation, course.seed, course.edits, course.frequency_hz)
        self._total_s = course.warmup_s + course.seconds
        for _ in range(round(course.warmup_s * TICKS_HZ)):
            self._simulation.step()
        self._first = round(course.warmup_s * course.frequency_hz)
        self._ticks = 0
        self._pictures: dict[int, Array] = {}
        self._cached: tuple[int, Scene] | None = None
        self.car = self._where_the_expert_is()
        ego = self._simulation.crowd.agents[0]
        self.route_m = free_flow_m(self._simulation, ego.s, ego.speed, course.seconds)
        self._referee = Referee(lanes=LaneMap.of(self._simulation.stage))
        scene = self.scene()
        along, _ = along_route(scene.route, scene.ego_poses[:1, :2], start_s=float(scene.route_s[0]))
        self._start_m = self._here_m = self._furthest_m = float(along[0])
        self._judge()

    def _where_the_expert_is(self) -> CarState:
        agent = self._simulation.crowd.agents[0]
        x, y, yaw = agent.pose()
        return CarState(
            x_m=float(x),
            y_m=float(y),
            yaw_rad=float(yaw),
            speed_mps=float(agent.speed),
            acceleration_mps2=float(agent.acceleration),
            curvature_per_m=agent.path.curvature(agent.s),
        )

    @property
    def time_s(self) -> float:
        """Since the hand-over."""
        return self._ticks / TICKS_HZ

    @property
    def conduct(self) -> Conduct:
        """What went wrong up to now."""
        return self._referee.conduct

    @property
    def score(self) -> DrivingScore:
        """CARLA's driving score up to now."""
        return driving_score(self.progress_m, self.route_m, self.conduct, form=self.course.form)

    def whole_scene(self) -> Scene:
        """All frames, the expert's first seconds included."""
        if self._cached is None or self._cached[0] != self._ticks:
            self._cached = (self._ticks, self._simulation.scene(self._total_s))
        return self._cached[1]

    def scene(self) -> Scene:
        """The frames from the hand-over on; its first frame is the hand-over."""
        return from_frame(self.whole_scene(), self._first)

    def advance(self, controls: tuple[float, float] | None, seconds: float) -> None:
        """Drive on for `seconds`, or until the drive is over.

        Args:
            controls: Acceleration in m/s2 and curvature in 1/m, held; None: the expert drives.
        Raises:
            BadRequest: if the drive is over.
        """
        if self.end:
            raise BadRequest(f"the drive is over ('{self.end}'); it cannot go on. Start a new one.")
        per_frame = round(TICKS_HZ / self.course.frequency_hz)
        for _ in range(round(seconds * TICKS_HZ)):
            self._tick(controls)
            if self._ticks % per_frame == 0:
                self._judge()
                if self.end:
                    return

    def _tick(self, controls: tuple[float, float] | None) -> None:
        self._ticks += 1
        if controls is None:
            self._simulation.step()
            self.car = self._where_the_expert_is()
            return
        self.car = step(self.car, controls[0], controls[1], 1 / TICKS_HZ, self.course.limits)
        self._simulation.step(
            EgoState(x_m=self.car.x_m, y_m=self.car.y_m, yaw_rad=self.car.yaw_rad, speed_mps=self.car.speed_mps)
        )

    def _judge(self) -> None:
        scene = self.scene()
        self._referee.watch(scene)
        along, away = along_route(scene.route, scene.ego_poses[-1:, :2], start_s=self._here_m)
        self._here_m = float(along[-1])
        self._furthest_m = max(self._furthest_m, self._here_m)
        self.end = self._ended(float(away[-1]))

    def _ended(self, away_m: float) -> str:
        placement = self._referee.placement
        assert placement is not None
        if any(one.kind in COLLISIONS for one in self.conduct.infractions):
            return "collision"
        if placement.outside_m[-1] > OFF_ROAD_M:
            return "off_road"
        if away_m > OFF_ROUTE_M:
            return "off_route"
        if self.progress_m >= self.route_m:
            return "done"
        return "time" if self.time_s >= self.course.seconds - 1e-9 else ""

    @property
    def progress_m(self) -> float:
        """Along the route since the hand-over, to the furthest place reached."""
        return self._furthest_m - self._start_m

    def instruction(self) -> str:
        """What the driver is told now; '' for nothing."""
        now = self.course.warmup_s + self.time_s
        texts = [one.text for one in self.whole_scene().instructions if one.start_s <= now + 1e-9 < one.end_s]
        return texts[-1] if texts else ""

    def observation(
        self, rig: Rig, frames: int, *, pixels: bool = True, ages: Sequence[int] | None = None
    ) -> Observation:
        """What a planner may see now: the last frames, the motion between them, the instruction.

        Args:
            frames: At most this many; at the hand-over there are as many as the expert drove.
            pixels: Without them all frames are black and cost nothing.
            ages: How many frames old those are that the planner looks at; the others are black and cost nothing. None: all.
        """
        scene = self.whole_scene()
        numbers = list(range(max(0, len(scene) - frames), len(scene)))
        shape = (len(numbers), len(rig), 3, rig.height_px, rig.width_px)
        looked_at = [n for n in numbers if pixels and (ages is None or numbers[-1] - n in ages)]
        video = self._video(scene, rig, numbers, looked_at) if looked_at else np.broadcast_to(np.uint8(0), shape)
        times = np.arange(len(numbers)) / scene.frequency_hz
        past = Trajectory(poses=scene.ego_poses[numbers], times_s=times)
        return Observation(
            video=video,
            rig=rig,
            motion=past.motion() if len(numbers) > 1 else None,
            frequency_hz=scene.frequency_hz,
            instruction=self.instruction(),
        )

    def _video(self, scene: Scene, rig: Rig, numbers: Sequence[int], looked_at: Sequence[int]) -> Array:
        """Frames as datasets have them, smooth edges and all; those that nobody looks at stay black."""
        from worldmodel.town.render import render

        missing = [number for number in looked_at if number not in self._pictures]
        if missing:
            self._pictures |= dict(zip(missing, render(scene, rig, missing).rgb, strict=True))
        self._pictures = {number: picture for number, picture in self._pictures.items() if number >= numbers[0]}
        video = np.zeros((len(numbers), len(rig), 3, rig.height_px, rig.width_px), np.uint8)
        for number in looked_at:
            video[number - numbers[0]] = self._pictures[number]
        return video


def free_flow_m(simulation: Simulation, s_m: float, speed_mps: float, seconds: float) -> float:
    """How far the expert would come along its route in a time if nobody else were there and no signal red, metres."""
    path = simulation.road.routes["ego"]
    place, speed = s_m, speed_mps
    for _ in range(round(seconds * TICKS_HZ)):
        wish = max(min(simulation.wish_mps, path.limit_mps(place + 0.4 * speed)), 0.3)
        speed = max(speed + idm(speed, wish, float("inf"), 0.0) / TICKS_HZ, 0.0)
        place += speed / TICKS_HZ
    return max(min(place, path.length_m - 5.0) - s_m, 1.0)
