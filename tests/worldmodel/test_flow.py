import math

import pytest
import torch
from torch.testing import assert_close

from worldmodel.flow import clean_from_velocity, draw_times, mix, shifted, stream_noise, velocity_target


def test_the_path_starts_at_the_data_and_ends_at_the_noise():
    clean, noise = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    assert torch.equal(mix(clean, noise, zero), clean)
    assert torch.equal(mix(clean, noise, one), noise)
    h = 1e-6
    slope = (mix(clean, noise, zero + 0.3 + h) - mix(clean, noise, zero + 0.3 - h)) / (2 * h)
    assert_close(slope, velocity_target(clean, noise), atol=1e-4, rtol=0)


@pytest.mark.parametrize("time", [0.0, 1e-3, 0.5, 1.0])
def test_velocity_clean_and_noise_are_a_round_trip(time):
    clean, noise = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.tensor(time, dtype=torch.float64)
    noisy, velocity = mix(clean, noise, t), velocity_target(clean, noise)
    found = clean_from_velocity(noisy, velocity, t)
    assert_close(found, clean, atol=1e-12, rtol=0)
    assert_close(found + velocity, noise, atol=1e-12, rtol=0)


def test_a_shift_of_one_changes_nothing_and_a_larger_one_pushes_towards_noise():
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert_close(shifted(times, 1.0), times)
    pushed = shifted(times, 3.0)
    assert (pushed[0], pushed[-1]) == (0, 1)
    assert (pushed[1:-1] > times[1:-1]).all()
    assert_close(shifted(pushed, 1 / 3), times)


def test_drawn_times_are_logit_normal():
    times = draw_times((20_000,), 1.0, torch.Generator().manual_seed(0))
    assert ((times > 0) & (times < 1)).all()
    logits = torch.logit(times.double())
    assert float(logits.mean()) == pytest.approx(0, abs=0.03)
    assert float(logits.std()) == pytest.approx(1, abs=0.03)
    assert float(draw_times((20_000,), 3.0, torch.Generator().manual_seed(0)).median()) == pytest.approx(0.75, abs=0.01)


def test_noise_of_a_stream_does_not_depend_on_what_was_drawn_before():
    first = {key: stream_noise((3, 2), 7, *key) for key in (("video", 0), ("steps", 0), ("video", 1))}
    torch.rand(10)
    again = {key: stream_noise((3, 2), 7, *key) for key in (("video", 1), ("video", 0), ("steps", 0))}
    for key, noise in first.items():
        assert torch.equal(noise, again[key])
    flat = [noise.flatten() for noise in first.values()]
    assert not any(torch.equal(flat[i], flat[j]) for i in range(3) for j in range(i))
    assert not torch.equal(stream_noise((3, 2), 8, "video", 0), first["video", 0])


def test_stream_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    stream_noise((4,), 0, "video", 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [0, -1, 2**40])
def test_any_integer_is_a_seed_and_the_noise_is_normal(seed):
    noise = stream_noise((100, 100), seed, "video", 3)
    assert noise.dtype == torch.float32
    assert float(noise.mean()) == pytest.approx(0, abs=0.05)
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    assert math.isfinite(float(noise.abs().max()))
