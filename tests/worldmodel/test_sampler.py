import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.sampler import SAMPLERS, euler, find_sampler, heun, sampling_times

SCALE = 0.5  # data are N(0, SCALE^2)


def gaussian_velocity(state, t, step=0.0):
    """Exact: E[noise - data | x_t] = (t - (1 - t) s^2) / ((1 - t)^2 s^2 + t^2) x_t."""
    variance = (1 - t) ** 2 * SCALE**2 + t**2
    return tuple((t - (1 - t) * SCALE**2) / variance * x for x in state)


def largest_error(sampler, steps):
    noise = torch.linspace(-1, 1, 9, dtype=torch.float64)
    (found,) = sampler(gaussian_velocity, (noise,), sampling_times(steps))
    return float((found - SCALE * noise).abs().max())


def test_gaussian_data_end_at_half_the_start():
    assert largest_error(heun, 64) == pytest.approx(5e-5, rel=0.2)
    assert largest_error(euler, 64) == pytest.approx(1e-2, rel=0.2)


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_errors_fall_with_the_order_of_the_sampler(sampler, order):
    steps = (64, 128, 256)
    errors = [math.log2(largest_error(sampler, n)) for n in steps]
    slopes = [before - after for before, after in pairwise(errors)]
    assert slopes == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("sampler", [euler, heun])
@pytest.mark.parametrize("steps", [1, 3])
def test_straight_paths_are_exact_in_any_number_of_steps(sampler, steps):
    clean, noise = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (found,) = sampler(lambda state, t, step: (noise - clean,), (noise,), sampling_times(steps, 3.0))
    assert_close(found, clean, atol=1e-12, rtol=0)


@pytest.mark.parametrize("sampler", [euler, heun])
def test_tensors_are_moved_together_and_the_noise_is_left_alone(sampler):
    a, b = torch.ones(2), torch.full((3,), 2.0)
    found = sampler(lambda state, t, step: (state[1][:2], state[1]), (a, b), sampling_times(2))
    assert [x.shape for x in found] == [(2,), (3,)]
    assert (a == 1).all()
    assert (b == 2).all()


def test_heun_takes_two_evaluations_per_step_and_never_asks_at_time_zero():
    seen = []
    heun(lambda state, t, step: (seen.append(t) or state[0],), (torch.ones(1),), sampling_times(3))
    assert seen == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 6])


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_agrees_with_diffusers_on_the_same_noise(shift):
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    noise = torch.randn(50, generator=torch.Generator().manual_seed(0))
    times = sampling_times(10, shift)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, 11)[:-1].tolist())
    assert_close(scheduler.sigmas.double(), times, atol=1e-6, rtol=0)
    theirs = noise
    for i, timestep in enumerate(scheduler.timesteps):
        (velocity,) = gaussian_velocity((theirs,), float(scheduler.sigmas[i]))
        theirs = scheduler.step(velocity, timestep, theirs).prev_sample
    (ours,) = euler(gaussian_velocity, (noise,), times)
    assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_times_fall_from_noise_to_data():
    times = sampling_times(4, 2.0)
    assert (times[0], times[-1], len(times)) == (1, 0, 5)
    assert (times.diff() < 0).all()


@pytest.mark.parametrize("steps", [0, -3, 1001, 10**9])
def test_impossible_numbers_of_steps_are_refused(steps):
    with pytest.raises(BadRequest, match="4 is quick, 16 is thorough"):
        sampling_times(steps)


def test_an_unknown_sampler_offers_the_closest():
    assert {name: find_sampler(name) for name in SAMPLERS} == SAMPLERS
    with pytest.raises(UnknownName, match="Did you mean 'euler'"):
        find_sampler("eular")
