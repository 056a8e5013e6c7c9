"""How a batch stands: which units are done, which are missing, which are damaged."""

import os
import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.jobs.folder.manifest import planned, read_parts, row_of, rows_of, table_of
from studio.jobs.folder.roster import Roster
from studio.jobs.folder.storage import Storage
from studio.jobs.folder.unit_folder import RECORD, facts_of, fault_of_content, fault_of_sizes, in_threads, read_record
from studio.jobs.units import FileFact, Unit
from worldmodel.errors import UnknownName

CHECKS = ("checksum", "size", "none")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a batch, or one shard of it, stands.

    Attributes:
        done: Bytes of each finished unit's output, by key.
        missing: Units that are to be done, in order; the damaged ones among them.
        damaged: What is wrong, by key.
        stale: Finished units in the folder that the plan does not have; they are kept.
        found: Rows of units that are done but were not in the manifest, as after a crash.
    """

    done: Mapping[str, int]
    missing: tuple[Unit, ...]
    damaged: Mapping[str, str] = field(default_factory=dict)
    stale: int = 0
    found: tuple[Mapping[str, Any], ...] = ()

    @property
    def bytes(self) -> int:
        """Of all that is done."""
        return sum(self.done.values())


def look(storage: Storage, units: Iterable[Unit], table: Any, keys: set[str], check: str) -> Standing:
    """How units stand; nothing is changed.

    Args:
        storage: The batch's folder.
        units: To look at.
        table: The manifest, as far as it is known.
        keys: Of all units of the plan.
        check: 'checksum' reads all bytes, 'size' compares sizes, 'none' believes that a unit with a record is whole.

    Raises:
        UnknownName: if there is no such check.
    """
    if check not in CHECKS:
        raise UnknownName("check", check, CHECKS)
    units = list(units)
    there = present(storage, sizes=check != "none")
    known = _known(table, {unit.key for unit in units})
    todo = [unit for unit in units if unit.key in there]
    looked = in_threads(storage, lambda unit: _looked(storage, unit, there[unit.key], known.get(unit.key), check), todo)
    damaged = {unit.key: fault for unit, (_, _, fault) in zip(todo, looked, strict=True) if fault}
    done = {unit.key: size for unit, (size, _, fault) in zip(todo, looked, strict=True) if not fault}
    return Standing(
        done=done,
        missing=tuple(unit for unit in units if unit.key not in done),
        damaged=damaged,
        stale=sum(key not in keys for key in there),
        found=tuple(row for _, row, fault in looked if row is not None and not fault),
    )


def complete(storage: Storage, roster: Roster) -> Any:
    """Rows of all finished units of a plan: those of the manifest, and those that a crash kept out of it, from the units."""
    import pyarrow as pa

    stored, there = planned(read_parts(storage), roster.numbers), present(storage, sizes=False)
    known = set(stored["key"].to_pylist())
    fresh = [roster.units[key] for key in there if key in roster.numbers and key not in known]
    rows = [row for row in in_threads(storage, lambda unit: _row(storage, unit), fresh) if row is not None]
    kept = stored.filter(pa.array([key in there for key in stored["key"].to_pylist()], pa.bool_()))
    return pa.concat_tables([kept, table_of(rows)])


def _row(storage: Storage, unit: Unit) -> dict[str, Any] | None:
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return row_of(unit, read_record(storage, unit.key))
    return None


def present(storage: Storage, *, sizes: bool) -> dict[str, dict[str, int]]:
    """Units that have a folder with a record, or on disks any folder: their files' bytes, or of the record alone."""
    if storage.local is not None:
        return dict(_on_disk(storage, storage.local / "units", sizes))
    found: dict[str, dict[str, int]] = {}
    for name, size in storage.sizes("units").items():
        _, _, key, file = name.split("/", 3)
        found.setdefault(key, {})[file] = size
    return {key: files for key, files in found.items() if RECORD in files}  # others have not arrived yet


def _on_disk(storage: Storage, top: Path, sizes: bool) -> Iterable[tuple[str, dict[str, int]]]:
    for group in sorted(os.listdir(top)) if top.is_dir() else ():
        for key in storage.names(f"units/{group}"):
            place = f"units/{group}/{key}"
            files = storage.sizes(place) if sizes else {}
            yield key, {posixpath.relpath(name, place): size for name, size in files.items()}


def _looked(
    storage: Storage, unit: Unit, sizes: Mapping[str, int], known: tuple[FileFact, ...] | None, check: str
) -> tuple[int, dict[str, Any] | None, str]:
    """Bytes of a unit, its row if the manifest does not have it, and what is wrong with it."""
    files, row = known, None
    if files is None or check == "checksum":
        try:
            record = read_record(storage, unit.key)
            files = facts_of(record)
            row = row_of(unit, record) if known is None else None
        except FileNotFoundError:
            return 0, None, f"'{RECORD}' is missing"
        except (ValueError, KeyError, TypeError) as error:
            return 0, None, f"'{RECORD}' is damaged: {error}"
    fault = fault_of_sizes(files, sizes) if check != "none" else ""
    if check == "checksum" and not fault:
        fault = fault_of_content(storage, unit.key, files)
    return sum(file.bytes for file in files), row, fault


def _known(table: Any, keys: set[str]) -> dict[str, tuple[FileFact, ...]]:
    """Files of units that the manifest has."""
    chosen = table.select(["key", "number", "files"])
    return {
        row["key"]: tuple(FileFact(**file) for file in row["files"]) for row in rows_of(chosen) if row["key"] in keys
    }
