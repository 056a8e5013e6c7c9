"""Weights, gradients and moments shared between the processes instead of copied to each (fully sharded data parallel).

The parameters become distributed tensors, gathered for each pass. Source: Zhao et al., PyTorch FSDP (arXiv 2304.11277), in the
form of `torch.distributed.fsdp.fully_shard`. What is saved is whole and does not tell how it was sharded.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def shard(module: nn.Module, device: torch.device, processes: int) -> None:
    """Share a module's parameters between all processes.

    A module with large blocks names them in its `shard_blocks()`: each is then gathered by itself; else all of it at once.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes,))
    for block in getattr(module, "shard_blocks", list)():
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as one process would have them; every process must ask, and every process gets them."""
    return {name: whole_tensor(value) for name, value in tensors.items()}


def whole_tensor(value: Tensor) -> Tensor:
    """One tensor, gathered where it was shared."""
    gather: Any = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def shared_like(value: Tensor, example: Tensor) -> Tensor:
    """A whole tensor, shared between the processes as the example is."""
    mesh: Any = getattr(example, "device_mesh", None)
    if mesh is None:
        return value
    from torch.distributed.tensor import distribute_tensor

    placements: Any = example.placements  # type: ignore[attr-defined]
    return distribute_tensor(value.to(example.device), mesh, placements)
