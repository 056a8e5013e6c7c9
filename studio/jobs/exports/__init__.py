"""The generated set of a batch in the formats that others train from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.jobs.exports.selection import ALL, Selection
from studio.runs import NOTICE
from worldmodel.errors import BadDataset, BadRequest, OutputExists, UnknownName

if TYPE_CHECKING:
    from studio.jobs.exports.finished import Finished, FinishedUnits
    from studio.jobs.units import Batch

FORMATS = ("lerobot", "webdataset")
SHARD_MB, MAX_SHARD_MB = 256, 100_000
MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export holds.

    Attributes:
        format: One of FORMATS.
        path: The folder.
        units: How many units are in it.
        missing: Units of the batch that are not finished: not yet done, or failed.
        filtered: Finished ones that were not asked for; for 'lerobot' also those that imagine nothing.
        files: How many, and `bytes` in all.
    """

    format: str
    path: Path
    units: int
    missing: int
    filtered: int
    files: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "path": str(self.path)}

    def lines(self) -> list[str]:
        """For people."""
        parts = [f"{self.format}: {self.path} ({self.units} units, {self.files} files, {self.bytes / MB:.1f} MB)"]
        if self.missing:
            parts.append(
                f"{self.missing} units of the batch are not finished and not in it; `detour jobs status` says more."
            )
        if self.filtered:
            parts.append(f"{self.filtered} finished units were not asked for.")
        return parts


def export_batch(
    out: str,
    to: Path,
    format: str = "lerobot",
    *,
    selection: Selection = ALL,
    shard_mb: int = SHARD_MB,
    options: Mapping[str, Any] | None = None,
    on_unit: Callable[[int, int], None] = lambda *_: None,
) -> Exported:
    """Write the finished units of a batch as one set for training; the folder appears whole or not at all.

    Args:
        out: Folder or address of the batch.
        to: A folder that does not exist yet, on this machine.
        format: 'lerobot' for one dataset (needs the output 'cameras', one rig and one rate), 'webdataset' for tar shards.
        selection: Which units.
        shard_mb: Of 'webdataset': most megabytes of a shard, unless one unit alone has more.
        options: Of the storage that `out` lies in.
        on_unit: Called with the units done and their number.
    Raises:
        UnknownName: for another format.
        OutputExists: if `to` exists, lies in the batch, or cannot be written.
        BadDataset: if no unit is to be exported, one is damaged, or units do not go together; it is named.
    """
    from studio.jobs.exports.finished import FinishedUnits
    from studio.jobs.exports.lerobot import write_lerobot
    from studio.jobs.exports.webdataset import write_index_file, write_shards
    from studio.jobs.folder.batch_folder import BatchFolder
    from worldmodel.io.lerobot_writer import new_folder

    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if not 1 <= shard_mb <= MAX_SHARD_MB:
        raise BadRequest(
            f"shards of {shard_mb} MB are asked for; it must be 1 to {MAX_SHARD_MB}. Use --shard-mb {SHARD_MB}."
        )
    folder = BatchFolder.open(out, options)
    _check_apart(to, folder.storage.local)
    batch = folder.batch
    by_key = format == "webdataset"
    wanted = sorted(batch.units, key=lambda unit: unit.key) if by_key else batch.units
    asked = selection if by_key else replace(selection, imagining=True)
    units = FinishedUnits(store=folder.storage, units=wanted, selection=asked)
    with new_folder(to) as partial:
        found = _told(units, len(batch.units), on_unit)
        if by_key:
            shards = write_shards(found, partial, shard_bytes=shard_mb * MB)
            write_index_file(partial, shards, _facts(units, batch))
        else:
            write_lerobot(found, partial, name=f"imagined: {batch.job.get('name') or 'batch'} {batch.digest[:12]}")
        _check_some(units)
        files = [file for file in partial.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
    counts = {"units": units.given, "missing": units.missing, "filtered": units.filtered}
    return Exported(format=format, path=to, **counts, files=len(files), bytes=size)


def _told(units: "FinishedUnits", count: int, on_unit: Callable[[int, int], None]) -> "Iterator[Finished]":
    """The same units; says when one is done with."""
    for unit in units:
        yield unit
        on_unit(units.given + units.missing + units.filtered, count)


def _facts(units: "FinishedUnits", batch: "Batch") -> dict[str, Any]:
    return {
        "imagined": True,
        "notice": NOTICE,
        "batch": batch.digest,
        "setup": batch.setup.mattering(),
        "selection": units.selection.words,
        "units": units.given,
        "missing": units.missing,
        "filtered": units.filtered,
    }


def _check_apart(to: Path, batch: Path | None) -> None:
    if batch is not None and to.resolve().is_relative_to(batch.resolve()):
        raise OutputExists(f"'{to}' lies in the batch's own folder '{batch}'. Choose a folder beside it.")


def _check_some(units: "FinishedUnits") -> None:
    if not units.given:
        raise BadDataset(
            f"no unit is to be exported: {units.missing} are not finished, and {units.filtered} finished ones are not "
            f"asked for ({units.selection.words}). Run the batch first, or ask for more."
        )
