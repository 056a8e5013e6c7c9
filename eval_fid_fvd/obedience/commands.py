"""Commands that differ from what was driven: another speed, another place in the road, another turn, or anything at all."""

import numpy as np

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array, Trajectory, compose, integrate_rates

KINDS = ("slower", "faster", "left", "right", "turn")
PACE = 0.3  # slower and faster by this share
ASIDE_M = 2.0
ASIDE_S = 3.0  # after this the whole way aside is done
TURN_RADPS = 0.35
MAX_LATERAL_MPS2 = 3.0
SHORTEST_M = 8.0  # a shorter path says nothing about obeying


def reach_s(seconds: float) -> float:
    """How much of what was driven is needed for every command of a length."""
    return seconds * (1 + PACE)


def varied(driven: Trajectory, kind: str, seconds: float, frequency_hz: float) -> Trajectory:
    """What was driven, changed in one way, at every frame from 0 to `seconds`.

    Args:
        driven: From now on, over `reach_s(seconds)`.
        kind: One of KINDS: 30 % slower or faster along the same path; 2 m to the left or right within 3 s; a turn of up to
            0.35 rad/s against the side that the path bends to, with at most 3 m/s² sideways.
        seconds: How long.
        frequency_hz: Frames per second.
    Raises:
        UnknownName: for another kind.
        BadMotion: if `driven` is too short.
    """
    times = np.arange(round(seconds * frequency_hz) + 1) / frequency_hz
    if kind in ("slower", "faster"):
        pace = 1 - PACE if kind == "slower" else 1 + PACE
        return Trajectory(poses=driven.resampled(times * pace).poses, times_s=times)
    here = driven.resampled(times)
    if kind in ("left", "right"):
        return _beside(here, ASIDE_M if kind == "left" else -ASIDE_M)
    if kind == "turn":
        return _turned(here)
    raise UnknownName("kind of command", kind, KINDS)


def _beside(path: Trajectory, aside_m: float) -> Trajectory:
    share = np.clip(path.times_s / ASIDE_S, 0, 1)
    offset = aside_m * share**2 * (3 - 2 * share)
    metres = np.linalg.norm(np.diff(path.poses[:, :2], axis=0), axis=1)
    slope = np.concatenate([[0.0], np.diff(offset) / np.maximum(metres, 0.1)])
    moves = np.stack([np.zeros_like(offset), offset, np.arctan(slope)], axis=-1)
    return Trajectory(poses=compose(path.poses, moves), times_s=path.times_s)


def _turned(path: Trajectory) -> Trajectory:
    motion = path.motion()
    speeds = motion.speeds_mps
    bends = float(motion.deltas[:, 2].sum())
    side = -1.0 if bends > 0 else 1.0
    rates = side * np.minimum(TURN_RADPS, MAX_LATERAL_MPS2 / np.maximum(np.abs(speeds), 1.0))
    return integrate_rates(speeds, rates, path.times_s)


def draw_commands(count: int, seconds: float, frequency_hz: float, seed: int) -> list[Trajectory]:
    """Drives at constant rates without regard to any log: 1 to 12 m/s, up to 0.35 rad/s either way, at most 3 m/s² sideways.

    Raises:
        BadRequest: for no command or no time.
    """
    if count < 1 or not seconds > 0:
        raise BadRequest(f"{count} commands of {seconds:g} s were asked for; both must be positive. Ask for more.")
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * frequency_hz) + 1) / frequency_hz
    drawn = []
    for _ in range(count):
        speed = random.uniform(1, 12)
        limit = min(TURN_RADPS, MAX_LATERAL_MPS2 / speed)
        rate = random.uniform(-limit, limit)
        drawn.append(integrate_rates(np.full(len(times), speed), np.full(len(times), rate), times))
    return drawn


def path_lengths(commands: list[Trajectory]) -> Array:
    """Metres driven by each command, [n]."""
    return np.array([command.path_length_m for command in commands])
