"""Did the video obey? Commands are driven in imagination, then read back from the pixels alone.

The reader is the model's own `explain`, with past steps withheld. So that following the log cannot pass for obeying,
commands are drawn without regard to the log; shuffled commands show what chance gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from eval_fid_fvd.planning import motion_correlation
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Motion, Trajectory, integrate_rates
from worldmodel.plans import Observation
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling

MAX_LATERAL_MPS2 = 3.0
SHUFFLES = 16


class Obedient(Protocol):
    """What a model must be able to do."""

    def imagine_batch(
        self,
        observations: Sequence[Observation],
        *,
        seconds: float,
        seeds: Sequence[int],
        actions: Sequence[Trajectory],
        sampling: Sampling,
    ) -> list[Rollout]:
        """Continue each observation along its action."""

    def explain_batch(self, observations: Sequence[Observation], *, seed: int, steps: int) -> list[Motion]:
        """The steps into all frames after the first chunk."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ActionFidelity:
    """How well commands are read back, step by step over all commands.

    Attributes:
        commands: How many were driven.
        correlation: Pearson for 'speed' and 'yaw_rate'.
        shuffled: The same against commands of other rollouts, mean over SHUFFLES orders.
        speed_error_mps, yaw_rate_error_radps: Mean absolute errors.
    """

    commands: int
    correlation: dict[str, float]
    shuffled: dict[str, float]
    speed_error_mps: float
    yaw_rate_error_radps: float


def draw_commands(count: int, seconds: float, frequency_hz: float, seed: int) -> list[Trajectory]:
    """Constant-rate drives of 1 to 12 m/s and up to 0.35 rad/s either way, lateral acceleration at most 3 m/s².

    Raises:
        BadRequest: for no command or no time.
    """
    if count < 1 or not seconds > 0:
        raise BadRequest(f"{count} commands of {seconds:g} s were asked for; both must be positive.")
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * frequency_hz) + 1) / frequency_hz
    drawn = []
    for _ in range(count):
        speed = random.uniform(1, 12)
        limit = min(0.35, MAX_LATERAL_MPS2 / speed)
        rate = random.uniform(-limit, limit)
        drawn.append(integrate_rates(np.full(len(times), speed), np.full(len(times), rate), times))
    return drawn


def action_fidelity(
    model: Obedient,
    observations: Sequence[Observation],
    commands: Sequence[Trajectory],
    *,
    steps: int = 8,
    seed: int = 0,
    batch: int = 8,
) -> ActionFidelity:
    """Drive every command from its observation, read all of them back, and correlate.

    The reader's context is the last half second that was observed.
    """
    if len(observations) != len(commands):
        raise BadRequest(f"{len(observations)} observations came with {len(commands)} commands. Give one for each.")
    wanted = [command.motion() for command in commands]
    found: list[Motion] = []
    for start in range(0, len(commands), batch):
        part = slice(start, start + batch)
        found += _read_back(model, observations[part], commands[part], steps, seed)
    pairs = [(read[: len(asked)], asked) for read, asked in zip(found, wanted, strict=True)]
    read, asked = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return ActionFidelity(
        commands=len(commands),
        correlation=motion_correlation(read, asked),
        shuffled=_mean_over([motion_correlation(read, _others(asked, seed + i)) for i in range(SHUFFLES)]),
        speed_error_mps=_mean_error([m.speeds_mps for m in read], [m.speeds_mps for m in asked]),
        yaw_rate_error_radps=_mean_error([m.yaw_rates_radps for m in read], [m.yaw_rates_radps for m in asked]),
    )


def _read_back(
    model: Obedient, observations: Sequence[Observation], commands: Sequence[Trajectory], steps: int, seed: int
) -> list[Motion]:
    seeds = [seed + i for i in range(len(commands))]
    seconds = float(commands[0].times_s[-1])
    rollouts = model.imagine_batch(
        observations, seconds=seconds, seeds=seeds, actions=commands, sampling=Sampling(steps=steps)
    )
    context = round(0.5 * rollouts[0].frequency_hz)
    watched = []
    for observation, rollout in zip(observations, rollouts, strict=True):
        if observation.video.shape[-2:] != rollout.video.shape[-2:]:
            raise BadRequest(
                f"observations have {observation.video.shape[-2:]} pixels, the model makes {rollout.video.shape[-2:]}. "
                "Resize the clips to the model's pictures first."
            )
        video = np.concatenate([observation.video[-context:], rollout.video])
        watched.append(replace(observation, video=video, motion=None))
    return model.explain_batch(watched, seed=seed, steps=steps)


def _others(motions: Sequence[Motion], seed: int) -> list[Motion]:
    """The motions in an order in which none stays at its place."""
    order = np.random.default_rng(seed).permutation(len(motions))
    shifted = np.empty(len(motions), dtype=int)
    shifted[order] = np.roll(order, 1)
    return [motions[i] for i in shifted]


def _mean_over(correlations: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in correlations])) for name in correlations[0]}


def _mean_error(a: Sequence[Array], b: Sequence[Array]) -> float:
    return float(np.abs(np.concatenate(a) - np.concatenate(b)).mean())
