"""A dream under way: what the model remembers, carried on chunk by chunk under the car that is driven through it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from policy.bicycle import CarState, Limits, step
from studio.live.drive.obstacle import Obstacle, Standing
from studio.stitch import stitch
from worldmodel.clips import Clip
from worldmodel.errors import MissingMotion
from worldmodel.geometry import Array, Rig, Trajectory, compose, relative
from worldmodel.plans import Observation, Plan
from worldmodel.sampling import Sampling
from worldmodel.town.traffic import TICKS_HZ

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

USUAL_MPS = 8.0  # where a recording without motion does not say how fast it drives
SLOW_MPS = 1.0  # below this a yaw rate says nothing of the wheel
SEED_STEP = 1_000_003  # between the noises of the stretches of one dream that were remembered anew
PLAN_SAMPLES, PLAN_STEPS = 4, 4  # of the autopilot: a plan in less than a tenth of a second


class Dream:
    """A world that is imagined as it is driven through.

    Attributes:
        car: In the frame of the moment at which the dream began.
        frames: The newest pictures [n, camera, 3, h, w] at the model's size, as many as the model reads.
        poses: Where they were taken, [n, 3]; not a number where the recording does not say.
        standing: What was put there and is not passed yet.
        note: What happened in the newest chunk, as a sentence; '' for nothing.
    """

    def __init__(
        self,
        model: "WorldModel",
        observation: Observation,
        *,
        limits: Limits,
        seed: int,
        sampling: Sampling,
        car: CarState | None = None,
    ) -> None:
        """Read the past.

        Args:
            car: What it is doing now, where that is known exactly; None: what the recording shows.
        Raises:
            BadRequest, ClipTooShort: if the observation does not fit the model.
        """
        from worldmodel.observing import fitted

        self._model, self._limits, self._seed, self._sampling = model, limits, seed, sampling
        self.rate_hz = model.config.frequency_hz
        seen = fitted(observation, model.config)
        self.frames, self.poses = seen.video, _poses_before(seen)
        self.car = replace(car or _car_of(observation), x_m=0.0, y_m=0.0, yaw_rad=0.0)
        self._stretch = 0
        self.note, self.standing = "", list[Standing]()
        self._past = model.remember([seen], sampling.empty_memory(model.config.history_chunks))

    @property
    def rig(self) -> Rig:
        """The cameras at the size of the pictures."""
        return self._past.rigs[0]

    @property
    def chunk_s(self) -> float:
        """Seconds that `go_on` drives."""
        return self._model.config.network.frames_per_chunk / self.rate_hz

    @property
    def megabytes(self) -> float:
        """Of the memory."""
        from worldmodel.memory import memory_stats

        return memory_stats(self._past.memory)["megabytes"]

    @property
    def remembered_s(self) -> float:
        """Seconds of the past of which the memory keeps something."""
        from worldmodel.memory import memory_stats

        return memory_stats(self._past.memory)["chunks_kept"] * self.chunk_s

    def plan(self, text: str, seed: int) -> Plan:
        """What the model would do now, told `text`."""
        told = replace(self._past.newest[0], instruction=text)
        return self._model.plan(told, seed=seed, samples=PLAN_SAMPLES, steps=PLAN_STEPS, past=self._past)

    def go_on(self, controls: tuple[float, float], text: str) -> UInt8[Array, "n camera 3 h w"]:
        """Drive a chunk with acceleration (m/s2) and curvature (1/m) held, and see it.

        Raises:
            BadRequest: if the text is no instruction.
            Diverged: if the model's pictures are not finite.
        """
        from worldmodel.guidance import FixedGuide

        guide = FixedGuide(text=text)
        count = self._model.config.network.frames_per_chunk
        car, poses = driven(self.car, controls, count, self.rate_hz, self._limits)
        [rollout] = self._model.go_on(
            self._past,
            seconds=self.chunk_s,
            seeds=[self._seed + SEED_STEP * self._stretch],
            actions=[self._way(poses)],
            guides=[guide],
            sampling=self._sampling,
        )
        assert rollout.past is not None
        self._past, self.car = rollout.past, car
        kept = self._model.config.history_chunks * count
        self.frames = np.concatenate([self.frames, rollout.video])[-kept:]
        self.poses = np.concatenate([self.poses, poses])[-len(self.frames) :]
        self.note = " ".join(_said(one, car) for one in self.standing if one.passed(car.pose))
        self.standing = [one for one in self.standing if not one.passed(car.pose)]
        if self.standing:
            self._stitch(count, self.standing)
        return self.frames[-count:]

    def _way(self, poses: Array) -> Trajectory:
        """The next poses, as the model wants them: from the newest one on, in the frame in which its past began."""
        past = self._past
        here = past.trajectory[0][-1]
        ahead = compose(here, relative(self.car.pose, poses))
        first = past.chunks * self._model.config.network.frames_per_chunk
        times = (first + np.arange(len(poses) + 1)) / self.rate_hz
        return Trajectory(poses=np.concatenate([here[None], ahead]), times_s=times)

    def put(self, obstacle: Obstacle, way: Float[Array, "n 3"]) -> None:
        """Stitch something into the newest pictures, on a way ahead of the car, and remember them anew.

        Raises:
            MissingMotion: while the pictures are of a recording that does not say where they were taken.
            BadEdit: if no camera would see it.
        """
        known = ~np.isnan(self.poses).any(axis=1)
        if not known.all():
            raise MissingMotion(
                "the recording has no ego motion, so nothing can be kept at its place in its pictures. Drive on for "
                f"{(~known).sum() / self.rate_hz:.1f} s, until only imagined pictures are remembered."
            )
        edit = obstacle.edit(self.car.speed_mps, way, 0.0)
        standing = Standing.of(edit, self.car.pose)
        self._stitch(len(self.frames), [standing])
        self.standing.append(standing)

    def _stitch(self, count: int, standing: Sequence[Standing]) -> None:
        """Stitch what stands there into the newest pictures, and remember all of them anew."""
        at_s = (count - 1) / self.rate_hz
        clip = self._clip(self.frames[-count:], self.poses[-count:])
        for one in standing:
            clip = stitch(clip, one.edit(self.car.pose, at_s)).clip
        self.frames = np.concatenate([self.frames[: len(self.frames) - count], clip.video])
        whole = self._clip(self.frames, self.poses)
        self._stretch += 1
        last_s = (len(whole) - 1) / self.rate_hz
        memory = self._sampling.empty_memory(self._model.config.history_chunks)
        self._past = self._model.remember([whole.observation(last_s, whole.duration_s)], memory)

    def _clip(self, video: UInt8[Array, "n camera 3 h w"], poses: Float[Array, "n 3"]) -> Clip:
        times = np.arange(len(poses)) / self.rate_hz
        return Clip(
            id="dream",
            video=video,
            rig=self.rig,
            motion=Trajectory(poses=poses, times_s=times).motion(),
            frequency_hz=self.rate_hz,
        )


def _poses_before(seen: Observation) -> Float[Array, "n 3"]:
    """Where the pictures of an observation were taken, in the frame of the newest."""
    if seen.motion is None:
        return np.concatenate([np.full((len(seen.video) - 1, 3), np.nan), np.zeros((1, 3))])
    whole = seen.motion.trajectory()
    return whole.seen_from(whole.poses[-1]).poses


def _car_of(seen: Observation) -> CarState:
    """What the car is doing, from the newest step."""
    speed, turn = seen.speed_mps, seen.yaw_rate_radps
    speed = USUAL_MPS if speed is None else max(speed, 0.0)
    bend = 0.0 if turn is None or speed < SLOW_MPS else turn / speed
    return CarState(x_m=0.0, y_m=0.0, yaw_rad=0.0, speed_mps=speed, curvature_per_m=bend)


def _said(one: Standing, car: CarState) -> str:
    return f"You drove {'through' if one.hit(car.pose) else 'past'} the {one.kind}."


def driven(
    car: CarState, controls: tuple[float, float], frames: int, rate_hz: float, limits: Limits
) -> tuple[CarState, Float[Array, "frames 3"]]:
    """The car after some frames of constant controls, and its pose at each, stepped as finely as the town's clock."""
    ticks = max(1, round(TICKS_HZ / rate_hz))
    poses = []
    for _ in range(frames):
        for _ in range(ticks):
            car = step(car, *controls, 1 / (rate_hz * ticks), limits)
        poses.append(car.pose)
    return car, np.stack(poses)
