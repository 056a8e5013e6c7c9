"""Who computes the attention: torch (everywhere), xformers or flex attention (where installed, on CUDA). Same results.

A backend is chosen by name and prepared once per pass with the mask, so that what it derives from the mask serves all
layers. Adding one: a function from a mask to a function of queries, keys and values, and an entry in `BACKENDS`.

Shape suffixes: B batch, Q queries, N keys, H heads, D head size.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from worldmodel.errors import BadRequest, UnknownName

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries [B, H, Q, D], keys and values [B, H, N, D] to answers [B, H, Q, D]."""

_BIAS_ALIGNMENT = 8  # xformers reads rows of a bias in blocks of eight


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One way to compute scaled dot-product attention.

    Attributes:
        name: As users write it.
        prepared: From a mask (bool, broadcast to [B, H, Q, N], True = visible; None: all is visible) to the attention.
        in_groups: Whether readers that see the same sources are better served apart, without a mask; False hands over the
            whole mask, for kernels that skip its empty blocks.
        package: What must be installed; '' for nothing.
        cuda_only: Whether it refuses other devices.
    """

    name: str
    prepared: Callable[[Tensor | None], Attend]
    in_groups: bool = True
    package: str = ""
    cuda_only: bool = False


def _torch(mask: Tensor | None) -> Attend:
    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)

    return attend


def _xformers(mask: Tensor | None) -> Attend:
    from xformers.ops import memory_efficient_attention  # type: ignore[import-not-found, unused-ignore]

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        swapped = (x.transpose(1, 2) for x in (queries, keys, values))
        answer: Tensor = memory_efficient_attention(*swapped, attn_bias=_bias(mask, queries, keys))
        return answer.transpose(1, 2)

    return attend


def _bias(mask: Tensor | None, queries: Tensor, keys: Tensor) -> Tensor | None:
    """The mask as numbers to add to the scores, [B, H, Q, N], in storage whose rows are aligned."""
    if mask is None:
        return None
    shape = (*queries.shape[:3], keys.shape[2])
    padded = -(-shape[-1] // _BIAS_ALIGNMENT) * _BIAS_ALIGNMENT
    bias = queries.new_zeros(*shape[:-1], padded)[..., : shape[-1]]
    return bias.masked_fill_(~mask, -torch.inf)


@cache
def _flex_kernel(device_type: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    kernel: Callable[..., Any] = flex_attention
    return kernel if device_type == "cpu" else torch.compile(kernel, dynamic=True)


def _flex(mask: Tensor | None) -> Attend:
    @cache
    def blocks(readers: int, sources: int) -> Any:
        return None if mask is None else _blocks(mask, readers, sources)

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        block_mask = blocks(queries.shape[2], keys.shape[2])
        answer: Tensor = _flex_kernel(queries.device.type)(queries, keys, values, block_mask=block_mask)
        return answer

    return attend


def _blocks(mask: Tensor, readers: int, sources: int) -> Any:
    """Which blocks of the mask are empty; made once per pass. Source: He et al., FlexAttention (arXiv 2412.05496)."""
    from torch.nn.attention.flex_attention import create_block_mask

    whole = mask.expand(-1, -1, readers, sources)
    batch = None if whole.shape[0] == 1 else whole.shape[0]

    def seen(b: Tensor, _: Tensor, reader: Tensor, source: Tensor) -> Tensor:
        return whole[b if batch else 0, 0, reader, source]

    return create_block_mask(seen, batch, None, readers, sources, device=str(mask.device))


BACKENDS = {
    "torch": Backend(name="torch", prepared=_torch),
    "xformers": Backend(name="xformers", prepared=_xformers, package="xformers", cuda_only=True),
    "flex": Backend(name="flex", prepared=_flex, in_groups=False, cuda_only=True),
}


def find_backend(name: str, device: torch.device) -> Backend:
    """A backend by name, for a network on a device.

    Raises:
        UnknownName: with the closest name.
        BadRequest: if its package is not installed or it does not run on the device.
    """
    if name not in BACKENDS:
        raise UnknownName("attention backend", name, BACKENDS)
    backend = BACKENDS[name]
    if backend.package and importlib.util.find_spec(backend.package) is None:
        raise BadRequest(
            f"attention by '{name}' was asked for, but {backend.package} is not installed. It needs that package. "
            f"Run `pip install {backend.package}`, or choose 'torch'."
        )
    if backend.cuda_only and device.type != "cuda":
        raise BadRequest(
            f"attention by '{name}' was asked for on '{device.type}'. It runs on CUDA devices alone. "
            "Move the model there, or choose 'torch'."
        )
    return backend
