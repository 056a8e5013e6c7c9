"""What Wan's blocks compute, taken apart so that other streams and a memory can attend with them.

The weights stay in diffusers' modules; with one chunk, no memory and nothing added, the sum of these functions is diffusers'
own forward pass (tested). Shape suffixes: B batch, L latent frames, n tokens per latent frame, H heads, N tokens, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.backbones.files import TEMPORAL_STRIDE

_THETA = 10000.0


def wan_angles(position: Tensor, head_size: int) -> Tensor:
    """Rotation angles [..., head_size / 2] of positions (frame, row, column) [..., 3].

    Wan counts latent frames: four frames of ours are 1. Source: Wan (arXiv 2503.20314), one ladder per axis.
    """
    side = 2 * (head_size // 6)
    scaled = position.double() / position.new_tensor([TEMPORAL_STRIDE, 1, 1]).double()
    parts = []
    for axis, size in enumerate((head_size - 2 * side, side, side)):
        steps = torch.arange(0, size, 2, device=position.device, dtype=torch.float64)
        parts.append(scaled[..., axis, None] * _THETA ** (-steps / size))
    return torch.cat(parts, dim=-1).float()


def rotate_pairs(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate neighbouring features of [B, H, N, D] by angles [N, D / 2] or [B, N, D / 2]."""
    angles = angles[:, None] if angles.ndim == 3 else angles
    cos, sin = angles.cos(), angles.sin()
    first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2).type_as(x)


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined_heads(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _modulated(norm: nn.Module, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return (norm(x.float()) * (1 + scale) + shift).type_as(x)


def block_modulation(block: Any, condition: Tensor) -> tuple[Tensor, ...]:
    """Six vectors [B, L, 1, D], float32, of conditions [B, L, 6, D]."""
    parts: Tensor = block.scale_shift_table + condition.float()
    return parts.chunk(6, dim=2)


def self_projection(block: Any, x: Tensor, modulation: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Unrotated queries, keys and values [B, H, L n, d] of tokens [B, L, n, D]."""
    attention = block.attn1
    moved = _modulated(block.norm1, x, modulation[0], modulation[1]).flatten(1, 2)
    q, k = attention.norm_q(attention.to_q(moved)), attention.norm_k(attention.to_k(moved))
    q, k, v = (_by_head(part, attention.heads) for part in (q, k, attention.to_v(moved)))
    return q, k, v


def text_projection(block: Any, text: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values [B, H, T, d] of embedded text [B, T, D]."""
    attention = block.attn2
    keys, values = attention.norm_k(attention.to_k(text)), attention.to_v(text)
    return _by_head(keys, attention.heads), _by_head(values, attention.heads)


def block_finish(
    block: Any,
    x: Tensor,
    attended: Tensor,
    modulation: tuple[Tensor, ...],
    texts: list[tuple[Tensor, Tensor]],
    rows: list[int],
) -> Tensor:
    """Add the attention's answer [B, H, L n, d], the text's, and the feed-forward to tokens [B, L, n, D].

    Args:
        texts: Keys and values per text. rows: Which text each latent frame reads.
    """
    _, _, gate, shift, scale, gate_feed = modulation
    out = block.attn1.to_out[0](_joined_heads(attended).type_as(x)).view_as(x)
    x = (x.float() + out * gate).type_as(x)
    x = x + _told(block, x, texts, rows)
    fed = block.ffn(_modulated(block.norm3, x, shift, scale))
    return (x.float() + fed.float() * gate_feed).type_as(x)


def _told(block: Any, x: Tensor, texts: list[tuple[Tensor, Tensor]], rows: list[int]) -> Tensor:
    """Cross-attention of each latent frame to its own text, [B, L, n, D]."""
    attention = block.attn2
    queries = attention.norm_q(attention.to_q(block.norm2(x.float()).type_as(x)))
    answer = torch.empty_like(queries)
    for row, (keys, values) in enumerate(texts):
        own = [index for index, text in enumerate(rows) if text == row]
        if own:
            asked = _by_head(queries[:, own].flatten(1, 2), attention.heads)
            read = functional.scaled_dot_product_attention(asked, keys.type_as(asked), values.type_as(asked))
            answer[:, own] = _joined_heads(read).view_as(queries[:, own])
    told: Tensor = attention.to_out[0](answer)
    return told


def time_condition(wan: Any, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Embeddings [B, L, D] of timesteps [B, L], and six of them for the blocks [B, L, 6, D]."""
    embedder = wan.condition_embedder
    inner = next(iter(embedder.time_embedder.parameters())).dtype
    features = embedder.timesteps_proj(timestep.flatten()).to(inner).unflatten(0, timestep.shape)
    embedded = embedder.time_embedder(features).to(dtype)
    return embedded, embedder.time_proj(embedder.act_fn(embedded)).unflatten(-1, (6, -1))


def patches(wan: Any, video: Tensor) -> Tensor:
    """Tokens [B, L, C rows columns, D] of latents [B, L, C, channels, h, w]."""
    embedding = wan.patch_embedding
    flat = embedding(video.flatten(0, 2)[:, :, None].to(embedding.weight.dtype))[:, :, 0]
    return flat.flatten(2).transpose(1, 2).unflatten(0, video.shape[:3]).flatten(2, 3)


def velocities(wan: Any, x: Tensor, embedded: Tensor, cameras: int, grid: tuple[int, int]) -> Tensor:
    """Velocities [B, L, C, channels, h, w], float32, of tokens [B, L, n, D] and their time embeddings [B, L, D]."""
    shift, scale = (wan.scale_shift_table + embedded[:, :, None].float()).chunk(2, dim=2)
    said = wan.proj_out(_modulated(wan.norm_out, x, shift, scale)).float()
    patch = wan.config.patch_size[1]
    cells = said.unflatten(-1, (patch, patch, -1)).unflatten(2, (cameras, *grid))
    # [B, L, C, rows, columns, patch, patch, channels] to [B, L, C, channels, rows, patch, columns, patch]
    return cells.permute(0, 1, 2, 7, 3, 5, 4, 6).flatten(6, 7).flatten(4, 5)
