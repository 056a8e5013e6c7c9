"""A car as a kinematic bicycle: controls to poses in closed form, and from a plan back to the controls that drive it.

The reference point is the rear axle. Within a step, acceleration and curvature are constant, so the way is an arc and
nothing is integrated numerically; a car that stops within the step stays where it stopped.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadMotion, BadRequest
from worldmodel.geometry import Array, compose
from worldmodel.plans import PLAN_TIMES_S, Plan

PLAN_STEP_S = 0.5
SMOOTH_ACCELERATION = 0.02  # weight of changes of the acceleration, (m/s2)^2, beside squared metres
SMOOTH_CURVATURE = 2.0  # of the curvature, (1/m)^2
YAW_M = 0.5  # a radian of heading counts as this many metres
ROUNDS = 6


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the car can do.

    Attributes:
        brake_mps2, throttle_mps2: Strongest deceleration and acceleration, both positive.
        speed_mps: Highest speed.
        curvature_per_m: Of the tightest turn, at full lock.
        lateral_mps2: Strongest sideways acceleration, from the tyres' grip.
        jerk_mps3: Fastest change of the acceleration.
        curvature_rate: Fastest change of the curvature, 1/m per second: how fast the wheel turns.
    """

    brake_mps2: float = 8.0
    throttle_mps2: float = 3.0
    speed_mps: float = 40.0
    curvature_per_m: float = 0.2
    lateral_mps2: float = 7.0
    jerk_mps3: float = 40.0
    curvature_rate: float = 0.4

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise BadRequest(
                    f"the car's limit {name} is {getattr(self, name)}; it must be positive. Give a limit above 0."
                )


@dataclass(frozen=True, kw_only=True)
class CarState:
    """A car at a moment.

    Attributes:
        x_m, y_m, yaw_rad: World pose of the rear axle.
        speed_mps: Never negative.
        acceleration_mps2, curvature_per_m: What it is doing, positive forward and to the left.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float
    acceleration_mps2: float = 0.0
    curvature_per_m: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite([getattr(self, name) for name in self.__dataclass_fields__]).all() or self.speed_mps < 0:
            raise BadMotion(
                f"the car's state is {self}; it must be finite, its speed not negative. Check the controls."
            )

    @property
    def pose(self) -> Float[Array, " 3"]:
        """World pose (x, y, yaw)."""
        return np.array([self.x_m, self.y_m, self.yaw_rad])


def drive(
    poses: Float[Array, "*n 3"],
    speeds: Float[Array, "*n"],
    acceleration: Float[Array, "*n"],
    curvature: Float[Array, "*n"],
    seconds: float,
) -> tuple[Float[Array, "*n 3"], Float[Array, "*n"]]:
    """Poses and speeds after `seconds` of constant acceleration (m/s2) and curvature (1/m); any leading axes."""
    moving_s = np.where(acceleration < 0, np.minimum(speeds / np.maximum(-acceleration, 1e-9), seconds), seconds)
    way = np.maximum(speeds * moving_s + 0.5 * acceleration * moving_s**2, 0.0)
    turn = curvature * way
    forward = way * np.sinc(turn / np.pi)
    left = way * np.sinc(turn / 2 / np.pi) * np.sin(turn / 2)
    return compose(poses, np.stack([forward, left, turn], axis=-1)), np.maximum(speeds + acceleration * seconds, 0.0)


def step(state: CarState, acceleration_mps2: float, curvature_per_m: float, seconds: float, limits: Limits) -> CarState:
    """The car after `seconds`, doing what was asked for as far as its limits allow.

    Raises:
        BadMotion: if a control is not finite.
    """
    if not np.isfinite([acceleration_mps2, curvature_per_m]).all():
        raise BadMotion(
            f"the controls are {acceleration_mps2} m/s2 and {curvature_per_m} 1/m; both must be finite. Check the planner."
        )
    wanted = float(np.clip(acceleration_mps2, -limits.brake_mps2, limits.throttle_mps2))
    slack = limits.jerk_mps3 * seconds
    gas = float(np.clip(wanted, state.acceleration_mps2 - slack, state.acceleration_mps2 + slack))
    if gas > 0:
        gas = min(gas, max(limits.speed_mps - state.speed_mps, 0.0) / seconds)
    turn = state.curvature_per_m + float(
        np.clip(
            curvature_per_m - state.curvature_per_m, -limits.curvature_rate * seconds, limits.curvature_rate * seconds
        )
    )
    most = min(limits.curvature_per_m, limits.lateral_mps2 / max(state.speed_mps, 1e-3) ** 2)
    turn = float(np.clip(turn, -most, most))
    pose, speed = drive(state.pose, np.array(state.speed_mps), np.array(gas), np.array(turn), seconds)
    x, y, yaw = (float(value) for value in pose)
    stands = speed <= 0 and gas < 0
    return CarState(
        x_m=x,
        y_m=y,
        yaw_rad=yaw,
        speed_mps=float(speed),
        acceleration_mps2=0.0 if stands else gas,
        curvature_per_m=turn,
    )


def rollout(controls: Float[Array, "*n k 2"], speed_mps: float, step_s: float = PLAN_STEP_S) -> Float[Array, "*n k 3"]:
    """Poses at the ends of k steps, from the origin at a speed, for rows of (acceleration, curvature)."""
    lead = controls.shape[:-2]
    pose, speed = np.zeros((*lead, 3)), np.full(lead, float(speed_mps))
    poses = []
    for k in range(controls.shape[-2]):
        pose, speed = drive(pose, speed, controls[..., k, 0], controls[..., k, 1], step_s)
        poses.append(pose)
    return np.stack(poses, axis=-2)


def controls_of(plan: Plan, speed_mps: float, limits: Limits | None = None) -> Float[Array, "8 2"]:
    """Acceleration (m/s2) and curvature (1/m) over each half second that drive a plan as closely as the car can.

    Least squares over the plan's poses with a small weight on changes of the controls, so that a jittery plan is not
    driven jerkily and a plan that the bicycle itself made is found again.

    Args:
        speed_mps: Of the car now.
        limits: Of the car.

    Source: Gauss-Newton on the bicycle; nuPlan's tracker regularises the same way.
    """
    most = limits or Limits()
    target = plan.trajectory.poses.copy()
    target[:, 2] = np.unwrap(np.concatenate([[0.0], target[:, 2]]))[1:]
    controls = _first_guess(target, speed_mps)
    for _ in range(ROUNDS):
        controls = _clipped(controls - _newton(controls, target, speed_mps), most)
    return controls


def _clipped(controls: Array, most: Limits) -> Array:
    return np.stack(
        [
            np.clip(controls[:, 0], -most.brake_mps2, most.throttle_mps2),
            np.clip(controls[:, 1], -most.curvature_per_m, most.curvature_per_m),
        ],
        axis=-1,
    )


def _first_guess(target: Array, speed_mps: float) -> Array:
    before = np.concatenate([np.zeros((1, 3)), target[:-1]])
    way = np.hypot(*(target - before)[:, :2].T)
    speeds = np.concatenate([[speed_mps], way / PLAN_STEP_S])
    middle = np.concatenate([[0.0], PLAN_TIMES_S - PLAN_STEP_S / 2])
    turns = np.diff(target[:, 2], prepend=0.0) / np.maximum(way, 0.5)
    return np.stack([np.diff(speeds) / np.diff(middle), np.clip(turns, -0.2, 0.2)], axis=-1)


def _residuals(controls: Array, target: Array, speed_mps: float) -> Array:
    poses = rollout(controls, speed_mps)
    off = poses - target
    turned = np.remainder(off[..., 2] + np.pi, 2 * np.pi) - np.pi
    change = np.diff(controls, axis=-2) * np.sqrt([SMOOTH_ACCELERATION, SMOOTH_CURVATURE])
    return np.concatenate([off[..., 0], off[..., 1], YAW_M * turned, change[..., 0], change[..., 1]], axis=-1)


def _newton(controls: Array, target: Array, speed_mps: float) -> Array:
    size = controls.size
    nudge = np.array([1e-3, 1e-5])
    moved = controls + (np.eye(size).reshape(size, *controls.shape) * nudge)
    now = _residuals(controls, target, speed_mps)
    slope = (_residuals(moved, target, speed_mps) - now).T / np.tile(nudge, len(controls))
    damping = 1e-6 * np.eye(size)
    return np.asarray(np.linalg.solve(slope.T @ slope + damping, slope.T @ now).reshape(controls.shape))
