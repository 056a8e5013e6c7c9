"""What `detour bench model` is asked for and says: how long the world model takes, each time beside a named baseline."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.machine import about_machine
from worldmodel.errors import BadRequest, UnknownName

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One row of the table.

    Attributes:
        part: What it is about.
        what: What was measured.
        value, unit: The median of the repeats.
        baseline, ratio: What it is compared with, and how many times as much it is (below 1: less); '' and None without.
        need: What was promised, in words.
    """

    part: str
    what: str
    value: float
    unit: str
    baseline: str = ""
    ratio: float | None = None
    need: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelBench:
    """What `detour bench model` is asked for; checked when made.

    Attributes:
        model: Checkpoint folder.
        repeats: Measurements, of which the median counts; one more before them warms up.
        threads: Of the processor.
        chunks: Ages of the memory, in chunks, at which a chunk is timed.
        cached_chunks: Length of the past in which the cache is compared with recomputation.
        resident_chunks: Length of the rollout whose resident memory is watched.
        batch: Rollouts at once in the row for batches; 1 leaves it out.
        clock: 'wall', or 'processor': the time of this process alone, for machines that do other things meanwhile (one thread,
            no accelerator).
        attention: Backend of the attention.
        compiled: Whether the network's layers are compiled.
    """

    model: str
    repeats: int = 3
    threads: int = 2
    chunks: tuple[int, ...] = (1, 10, 50, 200)
    cached_chunks: int = 64
    resident_chunks: int = 500
    batch: int = 4
    clock: str = "wall"
    attention: str = "torch"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise UnknownName("clock", self.clock, CLOCKS)
        limits = {
            "repeats": (self.repeats, 1, 100),
            "threads": (self.threads, 1, 256),
            "chunks": (min(self.chunks, default=0), 1, 100_000),
            "cached chunks": (self.cached_chunks, 1, 1000),
            "resident chunks": (self.resident_chunks, 2, 100_000),
            "batch": (self.batch, 1, 256),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise BadRequest(
                    f"{value} {name} are asked for; it must be {least} to {most}. Choose a number in between."
                )


Progress = Callable[[str, float | None], None]


def bench_model(request: ModelBench, progress: Progress | None = None) -> dict[str, list[Measured]]:
    """Measure everything on the processor and, where there is one, on the accelerator; rows by device.

    Args:
        progress: Called with (part, None) when it begins and with its seconds when it has ended.
    """
    import torch

    from studio.bench_parts import ModelParts
    from worldmodel.model import WorldModel

    before = torch.get_num_threads()
    torch.set_num_threads(request.threads)
    try:
        model = WorldModel.from_pretrained(request.model)
        found = {}
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        for device in filter(None, (torch.device("cpu"), accelerator)):
            model.to(device)
            model.network.tuned(attention=request.attention, compiled=request.compiled)
            found[device.type] = list(ModelParts(model, request, progress).rows())
        return found
    finally:
        torch.set_num_threads(before)


def model_table(found: dict[str, list[Measured]], request: ModelBench, machine: dict[str, Any]) -> str:
    """The measurements as text."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    into = StringIO()
    for device, rows in found.items():
        text = Table(title=f"{request.model} on {device}", title_justify="left")
        for name in ("", "what", "", "ratio", "to", "need"):
            text.add_column(name, justify="right" if name in ("", "ratio") and len(text.columns) in (2, 3) else "left")
        last = ""
        for row in rows:
            shown = f"{row.value:.3g}" if row.value < 100 else f"{row.value:.0f}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            part, last = "" if row.part == last else row.part, row.part
            text.add_row(part, row.what, f"{shown} {row.unit}", ratio, row.baseline, row.need)
        Console(file=into, width=132).print(text)
    compiled = ", compiled" if request.compiled else ""
    return (
        f"{into.getvalue()}{about_machine(machine)}; {request.clock} clock, median of {request.repeats}, "
        f"attention by {request.attention}{compiled}"
    )
