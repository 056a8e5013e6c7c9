"""On what machine something was measured, and how busy it was."""

import os
import platform
from typing import Any


def machine_now(threads: int) -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    import torch

    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_1min": load,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def about_machine(machine: dict[str, Any]) -> str:
    """The machine in a line."""
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, load {machine['load_1min']}, "
        f"torch {machine['torch']}"
    )
