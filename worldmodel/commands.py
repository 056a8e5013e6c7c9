"""Commands to drive: a path becomes steps at the model's rate; what no car can do is clipped, and said."""

from dataclasses import dataclass

import numpy as np

from worldmodel.geometry import Array, Motion, Trajectory, compose, relative


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a road car can do at most, generously: beyond this a command is a mistake.

    The town's drives come to 8.5 m/s² along and 10.6 m/s² across at worst; the recordings we have seen stay far below.

    Attributes:
        speed_mps, reverse_mps: Forwards and backwards.
        acceleration_mps2: Speeding up or braking, from step to step; tyres give about 10.
        lateral_mps2: Speed times yaw rate.
        radius_m, slack_radps: The yaw rate is at most speed / radius + slack.
        slip, slack_mps: Sideways speed, besides the arc of the turn, is at most slip * speed + slack; the slack is for
            recordings whose origin is not at the rear axle.
    """

    speed_mps: float = 70.0
    reverse_mps: float = 15.0
    acceleration_mps2: float = 12.0
    lateral_mps2: float = 12.0
    radius_m: float = 3.0
    slack_radps: float = 0.5
    slip: float = 0.3
    slack_mps: float = 1.0


ROAD_CAR = Limits()


def commanded(
    actions: Trajectory,
    frames: int,
    frequency_hz: float,
    *,
    first: int = 0,
    spare: int = 0,
    speed_mps: float | None = None,
) -> tuple[Array, tuple[str, ...]]:
    """Steps [frames - first, 3] of a path, resampled to the model's rate and clipped to what a car can do.

    Args:
        actions: Poses over time, in the ego frame of time 0.
        frames: Frame at which the steps end.
        first: Frame at which they begin; the path is followed from time 0 on, where it says how, so that an interruption
            changes nothing.
        spare: How many of the last steps the path may lack; its own last step is repeated then.
        speed_mps: Of the car before the first step, if known: a start at another speed is reported, and driven as given.

    Returns:
        The steps, and what the user should know of them.

    Raises:
        BadMotion: if the path does not cover the time.
    """
    begin = 0 if actions.times_s[0] <= 1e-6 else first
    times = np.arange(begin, frames + 1) / frequency_hz
    missing_s = times[-1] - actions.times_s[-1]
    if len(actions) > 1 and 1e-6 < missing_s <= spare / frequency_hz + 1e-6:
        actions = _held(actions, times[-1])
    asked = actions.resampled(times).motion()
    steps, clipped = driveable(asked)
    return steps[first - begin :], (*_jump(asked, speed_mps), *clipped)


def _held(trajectory: Trajectory, until_s: float) -> Trajectory:
    """The trajectory with its last step repeated up to a time."""
    poses, times = list(trajectory.poses), list(trajectory.times_s)
    step, gap = relative(poses[-2], poses[-1]), times[-1] - times[-2]
    while times[-1] + 1e-6 < until_s:
        poses.append(compose(poses[-1], step))
        times.append(times[-1] + gap)
    return Trajectory(poses=np.stack(poses), times_s=np.array(times))


def _jump(steps: Motion, speed_mps: float | None, limits: Limits = ROAD_CAR) -> tuple[str, ...]:
    first = float(steps.deltas[0, 0] / steps.period_s)
    if speed_mps is None or abs(first - speed_mps) <= limits.acceleration_mps2 * steps.period_s:
        return ()
    return (
        f"the actions begin at {first:.1f} m/s, but the car drives {speed_mps:.1f} m/s and cannot change so fast. They are "
        "driven as given; begin at the car's own speed for a smooth start.",
    )


def driveable(steps: Motion, limits: Limits = ROAD_CAR) -> tuple[Array, tuple[str, ...]]:
    """The nearest steps [n, 3] that a car can make one after the other, and a sentence on what was clipped, if anything.

    What a step becomes depends on itself and the ones before it. A step that is made shorter or longer keeps its curve.
    """
    dt = steps.period_s
    forward, aside, turn = steps.deltas.T / dt
    fast = np.clip(forward, -limits.reverse_mps, limits.speed_mps)
    speeds = _reachable(fast, limits.acceleration_mps2 * dt)
    before = np.concatenate([fast[:1], speeds[:-1]])
    share = np.divide(speeds, forward, out=np.ones_like(forward), where=np.abs(forward) > 1e-9)
    curve = share * turn
    held = _within(curve, limits.lateral_mps2 / np.maximum(np.abs(speeds), 1e-9))
    rates = _within(held, np.abs(speeds) / limits.radius_m + limits.slack_radps)
    slip = share * aside - _arc(speeds, curve * dt)
    slid = _within(slip, limits.slip * np.abs(speeds) + limits.slack_mps)
    said = [
        *_excess("speed", "m/s", forward, fast, dt),
        *_excess("acceleration", "m/s²", (fast - before) / dt, (speeds - before) / dt, dt),
        *_excess("lateral acceleration", "m/s²", curve * speeds, held * speeds, dt),
        *_excess("yaw rate", "rad/s", held, rates, dt),
        *_excess("sideways speed", "m/s", slip, slid, dt),
    ]
    if not said:
        return steps.deltas, ()
    made = np.stack([speeds, slid + _arc(speeds, rates * dt), rates], axis=1) * dt
    return made, (
        f"the actions ask for what no car can do: {'; '.join(said)}. They were clipped, and the rollout's trajectory is what "
        "was driven. Check the units and the times of the path.",
    )


def _within(values: Array, most: Array) -> Array:
    return np.clip(values, -most, most)


def _reachable(speeds: Array, most: float) -> Array:
    """The nearest speeds of which none differs from the one before by more than `most`."""
    made = speeds.copy()
    for i in range(1, len(made)):
        made[i] = np.clip(speeds[i], made[i - 1] - most, made[i - 1] + most)
    return made


def _arc(speeds: Array, turns_rad: Array) -> Array:
    """Sideways speed of a car that turns by an angle within one step: its path is an arc."""
    return speeds * np.tan(np.clip(turns_rad / 2, -1.5, 1.5))


def _excess(name: str, unit: str, wanted: Array, got: Array, period_s: float) -> list[str]:
    """The worst excess of a quantity, in words; none if all steps stay inside."""
    over = np.abs(wanted - got)
    worst = int(over.argmax())
    if over[worst] <= 1e-6:
        return []
    return [f"{name} {wanted[worst]:.1f} {unit} at {(worst + 1) * period_s:.2f} s (limit {got[worst]:.1f})"]
