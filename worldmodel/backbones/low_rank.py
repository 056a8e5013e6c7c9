"""Low-rank updates of frozen linear layers. Source: Hu et al., LoRA (arXiv 2106.09685)."""

import torch
from torch import Tensor, nn

from worldmodel.errors import BadRequest

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


class LowRank(nn.Module):
    """A frozen linear layer plus a product of two thin ones, which starts at zero."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        place = {"device": base.weight.device, "dtype": torch.float32}
        self.down = nn.Linear(base.in_features, rank, bias=False, **place)
        self.up = nn.Linear(rank, base.out_features, bias=False, **place)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of [..., in], in the type of the frozen layer."""
        base: Tensor = self.base(x)
        return base + self.up(self.down(x.to(self.down.weight.dtype))).to(base.dtype)

    def merged(self) -> nn.Linear:
        """One plain layer that computes the same."""
        self.base.weight.data += (self.up.weight @ self.down.weight).to(self.base.weight.dtype)
        return self.base


def add_low_rank(blocks: nn.Module, rank: int, targets: tuple[str, ...] = TARGETS) -> int:
    """Replace the linear layers whose names end in one of `targets` by `LowRank`; says how many.

    Raises:
        BadRequest: if the rank is not positive, or nothing has such a name.
    """
    found = [
        (name, layer)
        for name, layer in blocks.named_modules()
        if isinstance(layer, nn.Linear) and any(name.endswith(f".{target}") for target in targets)
    ]
    if rank < 1 or not found:
        raise BadRequest(
            f"low-rank updates of rank {rank} for layers named {', '.join(targets)} were asked for, and {len(found)} have "
            "such a name. A rank of at least 1 and names of linear layers are needed."
        )
    for name, layer in found:
        _put(blocks, name, LowRank(layer, rank))
    return len(found)


def merge_low_rank(blocks: nn.Module) -> int:
    """Add every update to its frozen layer and drop it, so that running costs nothing extra; says how many."""
    found = [(name, layer) for name, layer in blocks.named_modules() if isinstance(layer, LowRank)]
    for name, layer in found:
        _put(blocks, name, layer.merged())
    return len(found)


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, module)
