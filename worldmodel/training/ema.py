"""A slow average of the weights: less noisy than the weights themselves, so it is what we ship and show."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worldmodel.training.sharding import shared_like


def warm_decay(decay: float, step: int) -> float:
    """Share of the old average that stays at update `step` (from 0); small at first, so the start is soon forgotten.

    >>> warm_decay(0.999, 0), warm_decay(0.999, 90), warm_decay(0.999, 10**6)
    (0.1, 0.91, 0.999)
    """
    return min(decay, (1 + step) / (10 + step))


class Ema:
    """Exponential moving average of a module's parameters; buffers are taken as they are.

    The averages live on the parameters' device in the parameters' type; they start as a copy.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._decay = decay
        self._average = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters, after update `step` (from 0) of the optimizer."""
        new = [value.detach() for _, value in self._module.named_parameters()]
        torch._foreach_lerp_(list(self._average.values()), new, 1.0 - warm_decay(self._decay, step))

    def tensors(self) -> dict[str, Tensor]:
        """The module's state dict with averaged parameters; a tied parameter appears under each of its names."""
        by_parameter = {id(value): self._average[name] for name, value in self._module.named_parameters()}
        state = self._module.state_dict(keep_vars=True)
        return {name: by_parameter.get(id(value), value.detach()) for name, value in state.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from saved averages (names and shapes as `tensors()` gives them; others are ignored)."""
        for name, value in self._average.items():
            value.copy_(shared_like(tensors[name], value))
