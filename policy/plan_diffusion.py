"""Diffusion of plans: diffusers' DDPM and DDIM schedulers with the cosine schedule.

The network says the velocity sqrt(a) noise - sqrt(1 - a) plan of a noisy plan sqrt(a) plan + sqrt(1 - a) noise, where a falls
from 1 to 0 over TRAIN_STEPS times. (The paper's network says the noise, which tells nothing about the plan where there is
little else; at a few steps the velocity is the safer half of the same thing.)

Source: Ho et al., DDPM (arXiv 2006.11239); Nichol and Dhariwal's cosine schedule (arXiv 2102.09672); Song et al., DDIM
(arXiv 2010.02502); velocity: Salimans and Ho (arXiv 2202.00512).
"""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from policy.answers import Ask
from policy.planner_config import WAYPOINTS
from worldmodel.flow import stream_noise

TRAIN_STEPS = 1000
LARGEST = 6.0  # normalised plans stay within so many standard deviations


def _settings() -> dict[str, Any]:
    return {
        "num_train_timesteps": TRAIN_STEPS,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "clip_sample": True,
        "clip_sample_range": LARGEST,
        "timestep_spacing": "trailing",  # begins at pure noise however few the steps
    }


def _scheduler(sampler: str) -> Any:
    if sampler == "ddim":
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        return DDIMScheduler(**_settings())
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return DDPMScheduler(**_settings())


@cache
def _path() -> Any:
    """Used for its arithmetic alone."""
    return _scheduler("ddpm")


def noisy_plans(plans: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Plans [B, 8, 3] at whole times [B] of 0 ... TRAIN_STEPS - 1."""
    noisy: Tensor = _path().add_noise(plans, noise, times)
    return noisy


def velocity_of(plans: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """What the network is to say there."""
    velocity: Tensor = _path().get_velocity(plans, noise, times)
    return velocity


def plan_noise(seed: int, samples: int) -> Tensor:
    """The noise that the plans of a seed begin with [samples, 8, 3]."""
    return torch.cat([stream_noise((1, WAYPOINTS, 3), seed, f"policy-plan-{i}", 0) for i in range(samples)])


def drawn_plans(velocity: Callable[[Tensor, Tensor], Tensor], ask: Ask, device: torch.device) -> Tensor:
    """Denoise the plans of a seed, [samples, 8, 3].

    Args:
        velocity: Of noisy plans [samples, 8, 3] at times [samples].
    """
    scheduler, plans = _scheduler(ask.sampler), plan_noise(ask.seed, ask.samples)
    scheduler.set_timesteps(ask.steps)
    more = {"generator": [_generator(ask.seed, i) for i in range(ask.samples)]} if ask.sampler == "ddpm" else {}
    for time in scheduler.timesteps:
        said = velocity(plans.to(device), time.repeat(ask.samples).to(device)).float().cpu()
        plans = scheduler.step(said, time, plans, **more).prev_sample
    return plans


def _generator(seed: int, sample: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/policy-way-{sample}".encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
