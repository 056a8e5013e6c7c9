import numpy as np
import pytest
import torch


@pytest.fixture
def rng():
    return np.random.default_rng(7)


class StripeTokenizer:
    """Latents are 16 x 16 block means and their squares: six channels, no weights."""

    hash = "0123456789abcdef"

    def encode(self, frames):
        x = torch.from_numpy(np.asarray(frames)).float() / 127.5 - 1
        small = torch.nn.functional.avg_pool2d(x, 16)
        return torch.cat([small, small**2], dim=1)


@pytest.fixture
def tokenizer():
    return StripeTokenizer()


@pytest.fixture
def moving_clips(rng):
    """uint8 [n, time, camera, 3, 32, 48]: smooth pictures that move sideways, alike in kind, unlike in detail."""

    def make(n, time=6, cameras=2):
        coarse = rng.integers(0, 256, size=(n, 1, cameras, 3, 4, 6)).repeat(8, axis=-1).repeat(8, axis=-2)
        return np.concatenate([np.roll(coarse, 2 * t, axis=-1) for t in range(time)], axis=1).astype(np.uint8)

    return make
