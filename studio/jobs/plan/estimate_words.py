"""What `detour jobs plan` says about an estimate, in words: the numbers, and what to know before starting."""

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from studio.jobs.plan.costs import PARTS, ModelShape
from studio.jobs.run.progress import duration
from studio.jobs.units import Batch

if TYPE_CHECKING:
    from studio.jobs.folder.batch_folder import BatchFolder
    from studio.jobs.plan.estimates import Estimate


def warnings_of(
    found: "Estimate", batch: Batch, folder: "BatchFolder | None", shape: ModelShape, local: bool
) -> Iterator[str]:
    """What to know before starting."""
    if found.source == "reference" and not shape.known:
        yield f"'{batch.setup.model}' has no config.json here: the numbers are those of the model that ships. Use --measure."
    if found.source == "reference" and batch.setup.device != "cpu":
        yield f"no reference was measured on '{batch.setup.device}': the numbers are those of one CPU thread. Use --measure there."
    if local and found.together < min(found.workers, found.works):
        yield (
            f"{found.workers} workers share {os.cpu_count()} cores, {batch.setup.threads} for each: "
            f"counted as {found.together} at once."
        )
    if local and (memory := _memory_bytes()) and found.memory_bytes > memory:
        yield f"all workers need about {amount(found.memory_bytes)}, this machine has {amount(memory)}. Use fewer workers."
    free = _free_bytes(folder)
    if free is not None and found.total_bytes > free:
        yield f"about {amount(found.total_bytes)} will be written, {amount(free)} are free there. Free some, or write elsewhere."
    yield from _over_limits(found, batch.job.get("limits") or {})


def _over_limits(found: "Estimate", limits: Mapping[str, Any]) -> Iterator[str]:
    """The job's own limits, where they will probably end it before it is done."""
    hours, size, unit_s = (limits.get(name) for name in ("hours", "bytes", "seconds_per_unit"))
    if hours and found.wall_s > hours * 3600:
        yield f"the job ends after {hours:g} h by its own limit; all of it takes about {duration(found.wall_s)}. Run it again to go on."
    if size and found.total_bytes > size:
        yield f"the job ends at {amount(size)} by its own limit; all of it is about {amount(found.total_bytes)}. Raise limits.bytes."
    if unit_s and found.longest_s > unit_s:
        yield f"a unit is ended after {unit_s:g} s by the job's own limit; the longest takes about {duration(found.longest_s)}. Raise it."


def _memory_bytes() -> int:
    """Of this machine; 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _free_bytes(folder: "BatchFolder | None") -> int | None:
    """Room where the batch lies; None where nobody knows."""
    local = None if folder is None else folder.storage.local
    return None if local is None else shutil.disk_usage(local).free


def lines_of(found: "Estimate") -> Iterator[str]:
    """The numbers, a few lines."""
    several = [f"{count} {name}" for name, count in found.expansion.items() if count > 1]
    yield f"  expansion: {' x '.join(several) or 'one of everything'}"
    if found.done:
        yield f"  done already: {found.done}, to do: {found.units - found.done}"
    likely = "" if not found.wall_s else f" (likely {duration(found.low_s)} to {duration(found.high_s)})"
    yield (
        f"  time: about {duration(found.wall_s)}{likely} with {found.workers} worker{'s' * (found.workers != 1)}, "
        f"{found.core_hours:.3g} core hours; longest work {duration(found.longest_s)}"
    )
    yield f"  of it: {', '.join(f'{part} {_share(found, part)}' for part in PARTS if found.parts_s[part])}"
    yield f"  memory: about {amount(found.worker_bytes)} a worker, {amount(found.memory_bytes)} in all"
    sizes = ", ".join(f"{name} {amount(size)}" for name, size in found.bytes.items())
    yield f"  output: about {amount(found.total_bytes)} ({sizes or 'nothing'})"
    yield f"  from: {found.basis}"
    yield from (f"  warning: {text}" for text in found.warnings)


def _share(found: "Estimate", part: str) -> str:
    return f"{found.parts_s[part] / max(1e-9, sum(found.parts_s.values())):.0%}"


def amount(size: float) -> str:
    """Bytes in decimal units: '980 B', '1.2 MB'."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
