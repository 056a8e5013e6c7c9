"""Several processes of one run (accelerate, torchrun): the first one makes what all of them read."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

Made = TypeVar("Made")


def on_cpu() -> bool:
    """Whether to train on the CPU: asked for (`accelerate launch --cpu`), or because there is no accelerator."""
    from accelerate.utils import parse_flag_from_env

    return bool(parse_flag_from_env("ACCELERATE_USE_CPU")) or not torch.accelerator.is_available()


def _state() -> Any:
    from accelerate import PartialState

    return PartialState(cpu=on_cpu())


def first_process() -> bool:
    """Whether this process writes the run's files; always with a single one."""
    return bool(_state().is_main_process)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    _state().wait_for_everyone()


def in_turn(make: Callable[[], Made]) -> Made:
    """Let the first process make something on disk, then the others, which find it there."""
    with _state().main_process_first():
        return make()


def training_device() -> torch.device:
    """Where this process trains."""
    device: torch.device = _state().device
    return device


def leave_together() -> None:
    """End of a run: wait for all and close the connection, so that nobody's exit looks like a crash to the others."""
    wait_for_all()
    _state().destroy_process_group()
