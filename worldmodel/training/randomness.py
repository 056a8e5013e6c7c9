"""Chance as a function of (seed, step, process): nothing of it has to be saved with a run."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Mix (seed, step, rank) into 64 bits; near arguments give unrelated seeds."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])


@contextlib.contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Let a run seed torch's global generators (dropout, initialisation) and give the caller's back afterwards."""
    devices = [device.index or 0] if hasattr(torch.get_device_module(device), "default_generators") else []
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        yield


def seed_global(device: torch.device, seed: int) -> None:
    """Make dropout and initialisation functions of the seed; only inside `own_randomness`."""
    torch.default_generator.manual_seed(seed)
    if hasattr(torch.get_device_module(device), "manual_seed"):
        torch.get_device_module(device).manual_seed(seed)
