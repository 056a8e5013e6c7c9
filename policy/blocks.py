"""The parts that all learned planners are built of: attention blocks, tokens of what is seen, and points that look at them.

B batch, N tokens, M tokens looked at, D width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from policy.planner_config import HISTORY_S, STEPS_SEEN, PlannerConfig
from policy.seeing import Seen
from worldmodel.sequence import RAY_FEATURES

MLP_RATIO = 2


class Attention(nn.Module):
    """Tokens look at tokens (perhaps themselves)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, source_BMD: Tensor) -> Tensor:
        """What the tokens [B, N, D] find in the source [B, M, D]."""
        query = self.query(x_BND).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(source_BMD).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).flatten(2))


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))


class SelfBlock(nn.Module):
    """Tokens look at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = Attention(width, heads), _mlp(width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Tokens [B, N, D], after one look."""
        normed = self.norm(x_BND)
        x_BND = x_BND + self.attention(normed, normed)
        return x_BND + self.mlp(self.norm_mlp(x_BND))


class CrossBlock(nn.Module):
    """Tokens look at each other, then at a source."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = SelfBlock(width, heads)
        self.norm, self.norm_source = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)

    def forward(self, x_BND: Tensor, source_BMD: Tensor) -> Tensor:
        """Tokens [B, N, D], after one look at the source [B, M, D]."""
        x_BND = x_BND + self.attention(self.norm(x_BND), self.norm_source(source_BMD))
        return self.own(x_BND)


def cell_tokens(latents: Tensor) -> Tensor:
    """Latents [B, ..., camera, channel, h, w] as one row per cell, [B, camera h w, (...) channel]."""
    batch, (cameras, channels, rows, columns) = len(latents), latents.shape[-4:]
    stacked = latents.reshape(batch, -1, cameras, channels, rows, columns)
    return stacked.permute(0, 2, 4, 5, 1, 3).reshape(batch, cameras * rows * columns, -1)


class CellTokens(nn.Module):
    """One token per latent cell: `pictures` latents at the same place, and the ray through it."""

    def __init__(self, config: PlannerConfig, pictures: int) -> None:
        super().__init__()
        self.latents = nn.Linear(pictures * config.channels, config.width)
        self.rays = nn.Linear(RAY_FEATURES, config.width)

    def forward(self, latents: Tensor, rays: Tensor) -> Tensor:
        """Tokens [B, cells, D] of latents [B, picture, camera, channel, h, w] and rays [B, camera, h, w, features]."""
        return self.latents(cell_tokens(latents)) + self.rays(rays.flatten(1, 3))


class ObjectScores(nn.Module):
    """From tokens of cells to how much of each shows road users and obstacles: said in training, so that they are seen."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.cells = config.cells
        self.norm, self.out = nn.LayerNorm(config.width), nn.Linear(config.width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, 1, cells] of tokens [B, N, D], the cells first."""
        scores: Tensor = self.out(self.norm(tokens[:, : self.cells]))
        return scores.transpose(1, 2)


class SceneTokens(nn.Module):
    """All that is seen, told and felt, mixed: cells first, then ego status and instruction."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.cells = CellTokens(config, len(HISTORY_S))
        self.ego = nn.Sequential(
            nn.Linear(3 * STEPS_SEEN, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        self.text = nn.Linear(config.text_width, config.width)
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.scene_layers))

    def forward(self, seen: Seen) -> Tensor:
        """Tokens [B, cells + 2, D]."""
        told = torch.stack([self.ego(seen.ego), self.text(seen.text)], dim=1)
        tokens = torch.cat([self.cells(seen.cells, seen.rays), told], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class Points(nn.Module):
    """Points of a plan, one token each, that look at what they are conditioned on."""

    def __init__(self, config: PlannerConfig, points: int) -> None:
        super().__init__()
        self.place = nn.Parameter(0.5 * torch.randn(points, config.width))
        self.blocks = nn.ModuleList(CrossBlock(config.width, config.heads) for _ in range(config.plan_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, source_BMD: Tensor, extra_BND: Tensor | None = None) -> Tensor:
        """Tokens [B, points, D]; `extra` is added to the points before they look."""
        tokens = self.place.expand(len(source_BMD), -1, -1)
        tokens = tokens if extra_BND is None else tokens + extra_BND
        for block in self.blocks:
            tokens = block(tokens, source_BMD)
        return self.norm(tokens)


def time_waves(time: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding [B, width] of times [B] in 0 ... 1000.

    Source: Vaswani et al., "Attention Is All You Need" (arXiv 1706.03762), as used for noise times by DDPM.
    """
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=time.device) / (width // 2))
    angles = time[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
