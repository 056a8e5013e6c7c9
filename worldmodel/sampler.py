"""Few-step samplers: plain functions of a velocity, noise and a list of times. They know no network.

`state` is a tuple of tensors that are denoised together; the velocity answers with a tuple of the same shapes. It is
asked as velocity(state, t, step): `step` is how far the sampler will go with the answer, for networks that were taught
to jump; 0 asks for the slope at t itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.flow import shifted

State = tuple[Tensor, ...]
Velocity = Callable[[State, float, float], State]
Sampler = Callable[[Velocity, State, Tensor], State]


def sampling_times(steps: int, shift: float = 1.0) -> Tensor:
    """Times from 1 (noise) to 0 (data), float64 [steps + 1], shifted towards noise.

    Raises:
        BadRequest: for fewer than 1 or more than 1000 steps.
    """
    if not 1 <= steps <= 1000:
        raise BadRequest(f"{steps} sampling steps were asked for; 1 to 1000 make sense. 4 is quick, 16 is thorough.")
    return shifted(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)


def _moved(state: State, velocity: State, by: float) -> State:
    return tuple(x + by * v for x, v in zip(state, velocity, strict=True))


def euler(velocity: Velocity, noise: State, times: Tensor) -> State:
    """First order: one evaluation per step."""
    state = noise
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        state = _moved(state, velocity(state, now, now - then), then - now)
    return state


def heun(velocity: Velocity, noise: State, times: Tensor) -> State:
    """Second order: two evaluations per step.

    Source: Karras et al. (arXiv 2206.00364); the last step looks at its middle instead of its end, because noise times
    drawn in training have no mass at t = 0.
    """
    state = noise
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        slope = velocity(state, now, 0.0)
        if then > 0:
            ahead = velocity(_moved(state, slope, then - now), then, 0.0)
            slope = tuple((a + b) / 2 for a, b in zip(slope, ahead, strict=True))
        else:
            slope = velocity(_moved(state, slope, (then - now) / 2), (now + then) / 2, 0.0)
        state = _moved(state, slope, then - now)
    return state


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun}


def find_sampler(name: str) -> Sampler:
    """A sampler by name, for command lines.

    Raises:
        UnknownName: with the closest name.
    """
    if name not in SAMPLERS:
        raise UnknownName("sampler", name, SAMPLERS)
    return SAMPLERS[name]
