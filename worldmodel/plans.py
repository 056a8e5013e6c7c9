"""What a planner may see, what it answers, and how an answer moved: Observation, Plan, Response."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadMotion, BadVideo
from worldmodel.geometry import Array, Motion, Rig, Trajectory

PLAN_TIMES_S = np.arange(1, 9) * 0.5  # 0.5, 1.0, ... 4.0 s
BRAKING_MPS = 0.5  # a plan brakes when it is this much slower than its twin


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    """The part of a clip a planner may see. It has no field for the future.

    Attributes:
        video: RGB uint8, shape [time, camera, 3, height, width]; the last frame is now.
        rig: The cameras.
        motion: Ego steps between the frames, shape [time - 1, 3]; None when unknown.
        frequency_hz: Frames per second.
        instruction: What the driver is told; '' for nothing.
    """

    video: UInt8[Array, "time camera 3 height width"]
    rig: Rig
    motion: Motion | None
    frequency_hz: float
    instruction: str = ""

    def __post_init__(self) -> None:
        shape = self.video.shape
        if self.video.dtype != np.uint8 or len(shape) != 5 or not shape[0] or shape[1] != len(self.rig):
            raise BadVideo(
                f"Observation.video is {self.video.dtype} {shape}; it must be uint8 [time, {len(self.rig)} cameras, 3, h, w]."
            )
        if self.motion is not None and len(self.motion) != shape[0] - 1:
            raise BadMotion(
                f"Observation has {shape[0]} frames and {len(self.motion)} steps; it needs one step less than frames."
            )

    @property
    def speed_mps(self) -> float | None:
        """Current speed from the newest step; None when the motion is unknown."""
        return None if self.motion is None or not len(self.motion) else float(self.motion.speeds_mps[-1])

    @property
    def yaw_rate_radps(self) -> float | None:
        """Current yaw rate from the newest step; None when the motion is unknown."""
        return None if self.motion is None or not len(self.motion) else float(self.motion.yaw_rates_radps[-1])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A meta-action over one horizon: where to, and how fast.

    Attributes:
        lateral: 'straight', 'slight_left', 'slight_right', 'left' or 'right'.
        longitudinal: 'stop', 'slow', 'keep' or 'accelerate'.
    """

    lateral: str
    longitudinal: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What a planner would drive.

    Attributes:
        trajectory: Poses at 0.5, 1.0, ... 4.0 s in the ego frame of the observation's newest frame.
        route: Points 1 m apart along the intended way, shape [20, 2], metres; None when the planner has none.
        decisions: Meta-actions at 1, 2 and 3 s; None when the planner has none.
        samples: Alternative plans, shape [k, 8, 3]; `trajectory` is their mean. None when there is only one.
        timing: Seconds spent per part.
    """

    trajectory: Trajectory
    route: Float[Array, "20 2"] | None = None
    decisions: tuple[Decision, ...] | None = None
    samples: Float[Array, "k 8 3"] | None = None
    timing: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = self.trajectory.times_s
        if times.shape != PLAN_TIMES_S.shape or np.abs(times - PLAN_TIMES_S).max() > 1e-6:
            raise BadMotion(
                f"a plan has poses at 0.5, 1.0, ... 4.0 s; got times {times.tolist()}. Resample the trajectory first."
            )

    def speeds_mps(self) -> Float[Array, " 8"]:
        """Mean speed over each half second, metres per second; the first from the present pose."""
        points = np.concatenate([np.zeros((1, 2)), self.trajectory.poses[:, :2]])
        return np.linalg.norm(np.diff(points, axis=0), axis=1) / 0.5

    @property
    def path_length_m(self) -> float:
        """Metres driven over the 4 s, from the present pose."""
        return float(self.speeds_mps().sum() * 0.5)


@dataclass(frozen=True, eq=False, kw_only=True)
class Response:
    """How the plan moved between a clip and its edited twin (same seed, same everything else)."""

    factual: Plan
    edited: Plan

    @property
    def path_length_change_m(self) -> float:
        """Edited minus factual metres driven over 4 s; negative means slower."""
        return self.edited.path_length_m - self.factual.path_length_m

    @property
    def endpoint_shift_m(self) -> float:
        """Distance between the two poses at 4 s."""
        return float(np.linalg.norm(self.edited.trajectory.poses[-1, :2] - self.factual.trajectory.poses[-1, :2]))

    @property
    def lateral_shift_m(self) -> float:
        """Largest sideways move of the path against the factual heading at the same time; positive to the left."""
        base = self.factual.trajectory.poses
        offset = self.edited.trajectory.poses[:, :2] - base[:, :2]
        left = -np.sin(base[:, 2]) * offset[:, 0] + np.cos(base[:, 2]) * offset[:, 1]
        return float(left[np.abs(left).argmax()])

    @property
    def braking_onset_s(self) -> float | None:
        """End of the first half second in which the edited plan is slower by BRAKING_MPS; None if it never is."""
        slower = np.flatnonzero(self.factual.speeds_mps() - self.edited.speeds_mps() > BRAKING_MPS)
        return float(PLAN_TIMES_S[slower[0]]) if len(slower) else None
