"""The path between data and noise, the training target, and how noise times are drawn.

Time: t = 0 is clean data, t = 1 is noise. x_t = (1 - t) x + t noise; velocity = noise - x.
Source: rectified flow, Liu et al. (arXiv 2209.03003); logit-normal times and shift, Esser et al. (arXiv 2403.03206).
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def mix(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The point of the path at `time`, which broadcasts against the data."""
    return (1 - time) * clean + time * noise


def velocity_target(clean: Tensor, noise: Tensor) -> Tensor:
    """What the network is trained to say anywhere on the path."""
    return noise - clean


def clean_from_velocity(noisy: Tensor, velocity: Tensor, time: Tensor) -> Tensor:
    """The data that a velocity at `time` points to."""
    return noisy - time * velocity


def shifted(time: Tensor, shift: float) -> Tensor:
    """Push times towards noise: shift t / (1 + (shift - 1) t); 1 changes nothing."""
    return shift * time / (1 + (shift - 1) * time)


def draw_times(shape: Sequence[int], shift: float, generator: torch.Generator) -> Tensor:
    """Logit-normal(0, 1) times in (0, 1), shifted; drawn on the CPU."""
    return shifted(torch.sigmoid(torch.randn(*shape, generator=generator)), shift)


def stream_noise(shape: Sequence[int], seed: int, stream: str, chunk: int) -> Tensor:
    """The noise of (seed, stream, chunk): its own CPU generator, float32, so that no generator state is ever carried."""
    digest = hashlib.sha256(f"{seed}/{stream}/{chunk}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(*shape, generator=generator)
