"""The plans' diffusion against closed forms: a perfect network finds the data, and pairs share their noise."""

import math

import numpy as np
import pytest
import torch

from policy.answers import Ask
from policy.plan_diffusion import TRAIN_STEPS, drawn_plans, noisy_plans, plan_noise, velocity_of

CPU = torch.device("cpu")


def cosine_share(time: int) -> float:
    """The share of the data's variance left at a whole time, after Nichol and Dhariwal with betas of at most 0.999."""
    kept = 1.0
    for t in range(time + 1):
        a, b = (math.cos((s / TRAIN_STEPS + 0.008) / 1.008 * math.pi / 2) ** 2 for s in (t, t + 1))
        kept *= 1 - min(1 - b / a, 0.999)
    return kept


@pytest.mark.parametrize("time", [0, 10, 500, 999])
def test_noise_follows_the_cosine_schedule(time) -> None:
    plans, noise, times = torch.full((1, 8, 3), 2.0), torch.full((1, 8, 3), -1.0), torch.tensor([time])
    kept = cosine_share(time)
    noisy = 2 * math.sqrt(kept) - math.sqrt(1 - kept)
    torch.testing.assert_close(noisy_plans(plans, noise, times), torch.full((1, 8, 3), noisy), atol=1e-4, rtol=1e-4)
    wanted = -math.sqrt(kept) - 2 * math.sqrt(1 - kept)
    torch.testing.assert_close(velocity_of(plans, noise, times), torch.full((1, 8, 3), wanted), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 4), ("ddim", 20), ("ddpm", 20)])
def test_a_perfect_network_of_one_plan_finds_it(sampler, steps) -> None:
    plan = torch.linspace(-1, 2, 24).reshape(8, 3)

    def velocity(noisy, times):
        kept = torch.tensor([cosine_share(int(t)) for t in times])[:, None, None]
        noise = (noisy - kept.sqrt() * plan) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * plan

    found = drawn_plans(velocity, Ask(seed=1, samples=3, steps=steps, sampler=sampler), CPU)
    torch.testing.assert_close(found, plan.expand(3, -1, -1), atol=2e-2, rtol=0)


def test_a_perfect_network_of_normal_plans_draws_normal_plans() -> None:
    mean, std = 0.7, 0.5

    def velocity(noisy, times):
        kept = cosine_share(int(times[0]))
        spread = kept * std**2 + 1 - kept
        plan = mean + math.sqrt(kept) * std**2 / spread * (noisy - math.sqrt(kept) * mean)
        noise = (noisy - math.sqrt(kept) * plan) / math.sqrt(1 - kept)
        return math.sqrt(kept) * noise - math.sqrt(1 - kept) * plan

    for sampler in ("ddim", "ddpm"):
        drawn = drawn_plans(velocity, Ask(seed=2, samples=200, steps=50, sampler=sampler), CPU).numpy()
        assert drawn.mean() == pytest.approx(mean, abs=0.03)
        assert drawn.std() == pytest.approx(std, abs=0.04)


def test_plan_i_of_a_seed_is_the_same_however_many_are_drawn() -> None:
    torch.testing.assert_close(plan_noise(3, 8)[:2], plan_noise(3, 2), atol=0, rtol=0)
    assert np.abs(plan_noise(3, 1).numpy() - plan_noise(4, 1).numpy()).max() > 0
    few, many = (
        drawn_plans(lambda noisy, _: 0.3 * noisy, Ask(seed=1, samples=k, steps=3, sampler="ddpm"), CPU) for k in (2, 5)
    )
    torch.testing.assert_close(many[:2], few, atol=1e-6, rtol=0)
