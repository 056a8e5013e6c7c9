"""How the tokenizer learns: pictures in, the same pictures out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.tokenizer import Tokenizer
from worldmodel.training.draws import Batch, batch_random
from worldmodel.training.presets import Preset
from worldmodel.training.store import Store

GRADIENT_SCALES = 3


def reconstruction_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 plus half the L1 between gradients at three scales, per pixel weights [n, 1, h, w]."""
    total = (weight * (predicted - target).abs()).mean()
    for scale in range(GRADIENT_SCALES):
        if scale:
            predicted, target, weight = (functional.avg_pool2d(x, 2) for x in (predicted, target, weight))
        for axis in (-1, -2):
            difference = (predicted.diff(dim=axis) - target.diff(dim=axis)).abs()
            share = weight.narrow(axis, 1, weight.shape[axis] - 1)
            total = total + 0.5 / GRADIENT_SCALES * (share * difference).mean()
    return total


class TokenizerTask:
    """Reconstruct frames; road users weigh more, latents are kept small and robust to noise.

    Source: the recipe in `docs/decisions.md`; latent noise as in Song et al., "StableVAE" practice of noisy bottlenecks.
    """

    name = "tokenizer"
    object_weight = 3.0
    latent_noise = 0.1
    latent_penalty = 1e-3

    def __init__(self, stores: Sequence[Store], preset: Preset, seed: int) -> None:
        self.stores, self.preset, self.seed = stores, preset, seed
        self._latent = (preset.model.tokenizer.channels, *preset.model.grid)

    def module(self) -> nn.Module:
        """A new tokenizer."""
        return Tokenizer(self.preset.model.tokenizer)

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """Single pictures from random clips, frames and cameras."""
        random = batch_random(self.seed, step, rank)
        store = self.stores[int(random.integers(len(self.stores)))]
        clips, frames, cameras = store.video.shape[:3]
        rows = [
            (random.integers(clips), random.integers(frames), random.integers(cameras))
            for _ in range(self.preset.batch_frames)
        ]
        pictures = np.stack([store.video[row] for row in rows])
        objects = np.stack([store.objects[row] for row in rows])
        return {"pictures": torch.from_numpy(pictures), "objects": torch.from_numpy(objects)}

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Weighted reconstruction loss plus the latent penalty."""
        pictures = batch["pictures"].float() / 127.5 - 1
        noise = self.latent_noise * torch.randn(len(pictures), *self._latent, generator=generator)
        decoded, latents = module(pictures, noise.to(pictures.device))
        weight = 1 + self.object_weight * batch["objects"][:, None].float()
        error = reconstruction_loss(decoded, pictures, weight)
        with torch.no_grad():
            mse = (decoded.clamp(-1, 1) - pictures).square().mean()
        total = error + self.latent_penalty * latents.square().mean()
        return total, {"reconstruction": float(error.detach()), "psnr_db": float(10 * torch.log10(4 / mse))}


@torch.no_grad()
def measure_latents(tokenizer: Tokenizer, stores: Sequence[Store], pictures: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per latent channel over random pictures of all stores."""
    random, found = np.random.default_rng(seed), []
    for _ in range(max(1, pictures // 24)):
        store = stores[int(random.integers(len(stores)))]
        clips, frames, cameras = store.video.shape[:3]
        rows = [(random.integers(clips), random.integers(frames), random.integers(cameras)) for _ in range(24)]
        batch = torch.from_numpy(np.stack([store.video[row] for row in rows])).float() / 127.5 - 1
        found.append(tokenizer.to_latents(batch.to(tokenizer.device)))
    values = torch.cat(found).transpose(0, 1).flatten(1)
    return values.mean(dim=1), values.std(dim=1).clamp(min=1e-3)
