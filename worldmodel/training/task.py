"""What a training loop is given, and what it gives back."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from worldmodel.training.progress import Metrics


class Task(Protocol):
    """What is trained."""

    name: str

    def module(self) -> nn.Module:
        """Build the module, on the CPU; torch's global generator is seeded by the loop, so plain initialisation is fine."""

    def batch(self, step: int, rank: int, world: int) -> dict[str, Tensor]:
        """Make a batch on the CPU, batch first: a pure function of its arguments and the task's own seed.

        It runs in a thread of its own, ahead of the step (`LoopConfig.prefetch`), and must not use global random state. With
        `accumulate` above 1 `step` counts the parts. `rank` of `world` processes get different batches.
        """

    def loss(self, module: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, Metrics]:
        """Compute a scalar loss and numbers worth logging.

        Args:
            module: Call it as `module(...)`, once: with several processes it is wrapped, and other methods are not there.
            batch: On the module's device.
            generator: On the CPU, made from (seed, step, rank); draw there, then move.
        Metrics given as scalar tensors are read only when they are logged, so they do not stall an accelerator.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        status: `finished` all steps or minutes, or `stopped` by a signal (its state is saved, it can go on).
        exit_code: What a command should exit with: 0, 143 after SIGTERM, 130 after Ctrl-C.
        step: Optimizer steps done. seconds: Training time, all segments together.
        loss, best_loss: Last and lowest logged mean loss; None before the first line.
        module: With the trained (not averaged) weights. weights: The averaged state dict, what to ship.
        facts: What `state.json` says.
    """

    status: Literal["finished", "stopped"]
    exit_code: int
    step: int
    seconds: float
    loss: float | None
    best_loss: float | None
    module: nn.Module
    weights: dict[str, Tensor]
    facts: dict[str, Any]
