"""What `detour bench scores` is asked for and says: our metrics beside the libraries people use, same inputs, one run."""

import importlib
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from studio.machine import about_machine
from worldmodel.errors import BadRequest, UnknownName

Progress = Callable[[str, float | None], None]
CLOCKS: dict[str, Callable[[], float]] = {
    "wall": time.perf_counter,
    "processor": lambda: time.process_time() + sum(os.times()[2:4]),
}
TICK_S = 1e-6  # what no time at all counts as


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One row of the table: one thing computed by us and by one library from the same input.

    Attributes:
        part: What it is about.
        what: What was computed, and on how much.
        seconds: Ours, the median of the repeats.
        peer: Who else computed it.
        peer_seconds: Theirs; None if the library is not installed.
        difference: How far the two values are apart, as a share of `scale`; None without a peer.
        scale: What the difference is a share of.
        need: How many times as fast ours was promised to be; None without a promise.
        note: Anything else to know, such as memory.
    """

    part: str
    what: str
    seconds: float
    peer: str
    peer_seconds: float | None = None
    difference: float | None = None
    scale: str = ""
    need: float | None = None
    note: str = ""

    @property
    def faster(self) -> float | None:
        """Their seconds over ours."""
        return None if self.peer_seconds is None else self.peer_seconds / self.seconds


@dataclass(frozen=True, kw_only=True)
class ScoresBench:
    """What `detour bench scores` is asked for; checked when made.

    Attributes:
        width: Features per sample.
        few, many: Samples on each side of the Fréchet distances.
        subsets: Of 1,000 samples in KID; torch-fidelity's own number is 100.
        clips, frames: Videos whose features are extracted, and frames in each; 0 clips leave extraction out.
        repeats: Measurements, of which the median counts.
        threads: Of the processor.
        clock: 'wall', or 'processor': the time of this process, all its threads and those it started, for machines that do
            other things meanwhile.
    """

    width: int = 2048
    few: int = 50
    many: int = 5000
    subsets: int = 20
    clips: int = 8
    frames: int = 16
    repeats: int = 1
    threads: int = 2
    clock: str = "wall"

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise UnknownName("clock", self.clock, CLOCKS)
        limits = {
            "features": (self.width, 2, 16384),
            "few samples": (self.few, 2, self.many),
            "many samples": (self.many, 10, 200_000),
            "subsets": (self.subsets, 1, 10_000),
            "clips": (self.clips, 0, 10_000),
            "frames": (self.frames, 1, 1000),
            "repeats": (self.repeats, 1, 100),
            "threads": (self.threads, 1, 256),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise BadRequest(
                    f"{value} {name} are asked for; it must be {least} to {most}. Choose a number in between."
                )


def bench_scores(request: ScoresBench, progress: Progress | None = None) -> list[Compared]:
    """Compute and time everything, one after the other.

    Args:
        progress: Called with (part, None) when it begins and with its seconds when it has ended.
    """
    from studio.bench_extraction import extraction_rows
    from studio.bench_formulas import FORMULAS

    rows: list[Compared] = []
    parts: dict[str, Callable[[ScoresBench], list[Compared]]] = {**FORMULAS, "extraction": extraction_rows}
    with limited_threads(request.threads):
        for name, part in parts.items():
            started = time.perf_counter()
            if progress is not None:
                progress(name, None)
            rows += part(request)
            if progress is not None:
                progress(name, time.perf_counter() - started)
    return rows


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Torch and, where threadpoolctl is installed, numpy and scipy use so many threads; the numbers before are restored."""
    import torch

    before, pools = torch.get_num_threads(), library("threadpoolctl")
    torch.set_num_threads(threads)
    limits = None if pools is None else pools.threadpool_limits(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if limits is not None:
            limits.restore_original_limits()


def library(name: str) -> Any:
    """A module of a library that need not be installed, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about themselves
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def timed(work: Callable[[], Any], request: ScoresBench) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    clock, taken = CLOCKS[request.clock], []
    for _ in range(request.repeats):
        started = clock()
        result = work()
        taken.append(clock() - started)
    return max(statistics.median(taken), TICK_S), result


def scores_table(rows: list[Compared], request: ScoresBench, machine: dict[str, Any]) -> str:
    """The measurements as text."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table

    text = Table(title="scores: ours beside other libraries, same inputs", title_justify="left")
    for name in ("", "what", "ours", "theirs", "times as fast", "difference", "library"):
        text.add_column(name, justify="left" if name in ("", "what", "library") else "right")
    last = ""
    for row in rows:
        part, last = "" if row.part == last else row.part, row.part
        about = row.peer + (f"; {row.note}" if row.note else "")
        text.add_row(
            part, row.what, _seconds(row.seconds), _seconds(row.peer_seconds), _faster(row), _apart(row), about
        )
    into = StringIO()
    Console(file=into, width=150).print(text)
    return f"{into.getvalue()}{about_machine(machine)}; {request.clock} clock, median of {request.repeats}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _faster(row: Compared) -> str:
    if row.faster is None:
        return "-"
    promised = "" if row.need is None else f" (need {row.need:g})"
    return (f"{row.faster:.2f}" if row.faster < 10 else f"{row.faster:.0f}") + promised


def _apart(row: Compared) -> str:
    return "-" if row.difference is None else f"{row.difference:.1e} {row.scale}"
