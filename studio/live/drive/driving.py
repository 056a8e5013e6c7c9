"""A drive under way: steered by a visitor or the model, half a second at a time, in the dream, in the town, or in both."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8

from policy.bicycle import CarState, controls_of
from studio.live.drive.dream import PLAN_SAMPLES, PLAN_STEPS, Dream
from studio.live.drive.hands import PAD_CAR, Hands
from studio.live.drive.obstacle import Obstacle
from studio.live.drive.reel import Reel
from studio.live.drive.ride import DREAM, TOWN, DriveRequest, DriveView
from studio.live.drive.town import Town, TownScore
from studio.moments import Moment, Wish, find_moment
from studio.overlays import mosaic
from worldmodel.clips import check_instruction
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, relative
from worldmodel.pictures import resize_video
from worldmodel.plans import Observation, Plan

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

MAX_SECONDS = 120.0
PACE_OVER = 8  # chunks over which the pace is measured
BEHIND_S = 4.0  # of the path driven that is shown from above


def moment_to_drive(clip: str, model: "WorldModel") -> Moment:
    """Where a drive begins: DATASET:EPISODE@SECONDS, with as much past as the model reads.

    Raises:
        BadDataset, UnknownName, BadRequest, ClipTooShort: as `find_moment`.
    """
    config = model.config
    chunk, rate = config.network.frames_per_chunk, config.frequency_hz
    return find_moment(clip, Wish(history=config.history_chunks * chunk, chunk=chunk, future_s=1 / rate, rate_hz=rate))


class Driving:
    """A drive under way. One thread at a time: whoever calls holds `lock`.

    Attributes:
        request: What is driven through.
        folder: The visitor's own.
        course: What is driven in the town; None for a dream.
        reels: What was seen, per world.
        text: What the driver is told from the next half second on.
        lock: Guards the drive; its own methods do not take it.
        ended: Why it is over, as a sentence; '' while it goes on.
    """

    def __init__(
        self,
        model: "WorldModel",
        moment: Moment,
        request: DriveRequest,
        folder: Path,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Read the past.

        Args:
            model: Dreams, and drives as autopilot.
            moment: Where it begins.
            folder: The visitor's own; pictures are kept there.
            clock: Seconds, for the pace.
        Raises:
            BadRequest, ClipTooShort: if the moment cannot be driven from in this world.
        """
        self.request, self.folder, self.lock, self.ended = request, folder, threading.RLock(), ""
        self._model, self._clock = model, clock
        observation = moment.observation()
        self.text = request.text or observation.instruction
        config = model.config
        self.rate_hz, self.chunk_s = config.frequency_hz, config.network.frames_per_chunk / config.frequency_hz
        history = config.history_chunks * config.network.frames_per_chunk
        self._town = Town(moment, limits=PAD_CAR, history=history) if TOWN in request.worlds else None
        self.course = None if self._town is None else self._town.drive.course
        self._score: TownScore | None = None
        self._dream = self._dreaming(observation) if DREAM in request.worlds else None
        self._seen = moment.clip.video[: moment.now + 1][-history:]
        self._start = self._car.pose
        self._before, self._chunks, self._altered = Hands(), 0, False
        self._paces: deque[tuple[float, int]] = deque(maxlen=PACE_OVER)
        self.reels = {
            name: Reel(path=_free(folder, f"drive-{name}"), rig=world.rig, rate_hz=self.rate_hz)
            for name, world in ((DREAM, self._dream), (TOWN, self._town))
            if world is not None
        }

    def _dreaming(self, observation: Observation) -> Dream:
        sampling, seed = self.request.sampling, self.request.seed
        car = None if self._town is None else self._town.car
        return Dream(self._model, observation, limits=PAD_CAR, seed=seed, sampling=sampling, car=car)

    @property
    def _car(self) -> CarState:
        world = self._town or self._dream
        assert world is not None
        return world.car

    @property
    def driven_s(self) -> float:
        """Seconds driven so far."""
        return len(self.reels[self.request.worlds[-1]]) / self.rate_hz

    @property
    def longest_s(self) -> float:
        """Seconds after which the drive ends anyway."""
        return MAX_SECONDS if self.course is None else min(MAX_SECONDS, self.course.seconds)

    @property
    def repeatable(self) -> bool:
        """Whether `detour imagine` with the driven path gives the same dream: nothing was put in the way."""
        return DREAM in self.reels and not self._altered

    def before(self) -> Mapping[str, UInt8[Array, "n 3 h w"]]:
        """What was recorded up to now, for each world the same mosaics."""
        rig = next(iter(self.reels.values())).rig
        video = resize_video(self._seen, rig.width_px, rig.height_px)
        return dict.fromkeys(self.reels, mosaic(video, rig, title="recorded"))

    def say(self, text: str) -> None:
        """Tell the driver something else from the next half second on; '' says nothing.

        Raises:
            BadRequest: if it is no instruction.
        """
        check_instruction(text or "-")
        self.text = text.strip()

    def put(self, obstacle: Obstacle) -> None:
        """Put something on the way that the model would drive, in every world.

        Raises:
            BadEdit, MissingMotion: if it cannot be put there.
            BadRequest: if the drive is over.
        """
        self._check_open()
        way = self._plan().trajectory.poses
        if self._town is not None:
            self._town.put(obstacle, way)
        if self._dream is not None:
            self._dream.put(obstacle, way)
            self._altered = True

    def go_on(self, hands: Hands, *, autopilot: bool = False, waiting_frames: int = 0) -> DriveView:
        """Drive the next half second.

        Args:
            hands: The pad.
            autopilot: The model drives: it plans, and the car follows the plan where the pad is not touched.
            waiting_frames: Pictures that are still to be shown before these.
        Raises:
            BadRequest: if the drive is over.
            Diverged: if the dream's pictures are not finite.
        """
        self._check_open()
        started = self._clock()
        plan = self._plan() if autopilot else None
        car = self._car
        controls = hands.controls(car, self._before)
        if plan is not None:
            controls = _overridden(_first_of(plan, car), hands, controls)
        self._before, text = hands, self.text
        frames = self._drive(controls, text)
        self._chunks += 1
        self._end()
        done = self._clock()
        self._paces.append((done, max(len(pictures) for pictures in frames.values())))
        return DriveView(
            frames=frames,
            driven_s=self.driven_s,
            car=self._car,
            pace_hz=self._pace(),
            delay_s=max(done - started, waiting_frames / self.rate_hz),
            memory=None if self._dream is None else (self._dream.remembered_s, self._dream.megabytes),
            path=self._lately(),
            plan=None if plan is None else _left_of(plan, relative(car.pose, self._car.pose), self.chunk_s),
            boxes=() if self._town is None else self._town.boxes(),
            obstacle=self._obstacle(),
            text=text,
            note="" if self._dream is None else self._dream.note,
            ended=self.ended,
        )

    def _check_open(self) -> None:
        if self.ended:
            raise BadRequest(f"the drive is over: {self.ended} Begin a new one.")

    def _plan(self) -> Plan:
        """The autopilot looks at what is true where there is a town, else at the dream."""
        seed = self.request.seed + self._chunks
        if self._town is not None:
            text = self.text or self._town.instruction
            return self._town.plan(self._model, text, seed, samples=PLAN_SAMPLES, steps=PLAN_STEPS)
        assert self._dream is not None
        return self._dream.plan(self.text, seed)

    def _drive(self, controls: tuple[float, float], text: str) -> dict[str, UInt8[Array, "n 3 h w"]]:
        videos = {}
        if self._town is not None:
            videos[TOWN] = self._town.go_on(controls, self.chunk_s)
        if self._dream is not None:
            videos[DREAM] = self._dream.go_on(controls, text)
        return {name: self._kept(name, videos[name], text) for name in self.request.worlds}

    def _kept(self, name: str, video: UInt8[Array, "n camera 3 h w"], text: str) -> UInt8[Array, "n 3 h w"]:
        reel = self.reels[name]
        reel.add(video, self._poses(name, len(video)), text)
        return mosaic(video, reel.rig, title="imagined" if name == DREAM else "town")

    def _poses(self, name: str, count: int) -> Array:
        """Where the newest pictures of a world were taken, in the ego frame of the beginning."""
        if name == DREAM:
            assert self._dream is not None
            return self._dream.poses[-count:]
        assert self._town is not None
        return relative(self._start, self._town.drive.whole_scene().ego_poses[-count:])

    def _end(self) -> None:
        if self._town is not None and self._town.end:
            self.ended = f"{self._town.end}."
        elif self.driven_s + self.chunk_s > MAX_SECONDS + 1e-6:
            self.ended = f"a drive lasts at most {MAX_SECONDS:g} s."

    def _pace(self) -> float | None:
        if len(self._paces) < 2:
            return None
        spent = self._paces[-1][0] - self._paces[0][0]
        return sum(count for _, count in list(self._paces)[1:]) / spent if spent > 0 else None

    def _lately(self) -> Array:
        reel = next(iter(self.reels.values()))
        poses = reel.path_driven().poses[-round(BEHIND_S * self.rate_hz) :]
        return relative(poses[-1], poses)[:, :2]

    def _obstacle(self) -> dict[str, Any] | None:
        """What stands in the dream; what stands in the town is among its boxes."""
        if self._town is not None or self._dream is None or not self._dream.standing:
            return None
        return self._dream.standing[-1].above(self._dream.car.pose)

    def release(self, why: str) -> None:
        """Free all but what was recorded."""
        self.ended, self._score = self.ended or why, self.score
        self._dream = self._town = None
        self._seen = self._seen[:0]

    def forget(self) -> None:
        """Remove what was recorded."""
        for reel in self.reels.values():
            reel.path.unlink(missing_ok=True)

    @property
    def score(self) -> TownScore | None:
        """How it went in the town; None for a dream."""
        return self._score if self._town is None else TownScore.of(self._town)


def _first_of(plan: Plan, car: CarState) -> tuple[float, float]:
    acceleration, curvature = controls_of(plan, car.speed_mps, PAD_CAR)[0]
    return float(acceleration), float(curvature)


def _overridden(planned: tuple[float, float], hands: Hands, controls: tuple[float, float]) -> tuple[float, float]:
    """What is planned, where the visitor's hands are off."""
    return (controls[0] if hands.throttle else planned[0], controls[1] if hands.steer else planned[1])


def _left_of(plan: Plan, moved: Array, seconds: float) -> Array:
    """Points of a plan that are still ahead after some seconds, in the ego frame of then."""
    later = plan.trajectory.times_s > seconds - 1e-6
    points: Array = plan.trajectory.seen_from(moved).poses[later, :2]
    return points


def _free(folder: Path, name: str) -> Path:
    number = 0
    while (folder / f"{name}-{number}.rgb").exists():
        number += 1
    return folder / f"{name}-{number}.rgb"
