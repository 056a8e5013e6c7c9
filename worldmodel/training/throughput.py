"""How hard the machine works: the floating point operations of a training step beside what the device could do."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

Result = TypeVar("Result")

# Dense bfloat16 matrix products per second, by a part of the device's name; from the makers' data sheets.
BFLOAT16_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
REPEATS = 5


def count_flops(step: Callable[[], Result]) -> tuple[Result, int]:
    """Run a step, and count the operations of all its matrix products, convolutions and attention.

    A multiplication and an addition count as two. Attention counts all pairs, masked ones included. Passes without gradient
    count as well: it is what the machine does, not an estimate from the number of parameters.
    """
    with FlopCounterMode(display=False) as counter:
        result = step()
    return result, int(counter.get_total_flops())


def peak_flops(device: torch.device, precision: str) -> float:
    """Operations per second of a device at its best: from its data sheet, else the best of a few large matrix products."""
    if precision == "bfloat16":
        named = getattr(torch.get_device_module(device), "get_device_name", lambda _: "")(device)
        for part, peak in BFLOAT16_PEAKS.items():
            if part in named:
                return peak
    return _measured(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def _measured(device: torch.device, dtype: torch.dtype) -> float:
    size = 1024 if device.type == "cpu" else 8192
    a = torch.ones(size, size, device=device, dtype=dtype)
    return 2 * size**3 / min(_seconds(a) for _ in range(REPEATS))


def _seconds(a: torch.Tensor) -> float:
    _wait(a.device)
    started = time.perf_counter()
    torch.mm(a, a)
    _wait(a.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    getattr(torch.get_device_module(device), "synchronize", lambda *_: None)()
