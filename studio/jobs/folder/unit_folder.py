"""Where a finished unit lies: it is there when its record is, and its record says what else must be there."""

import json
import os
import posixpath
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from studio.jobs.folder.disk import Disk, copied, flush, flush_all, unfinished
from studio.jobs.folder.manifest import place_of
from studio.jobs.folder.storage import Storage
from studio.jobs.units import FileFact, Unit, digest_of
from worldmodel.errors import OutputExists, Unreachable

T = TypeVar("T")
R = TypeVar("R")

RECORD = "unit.json"
DAMAGED = "damaged"
PASSING = ("timings_s", "peak_bytes", "made", "digest")  # of a record: what two computations of a unit may differ in
THREADS = 8  # object stores answer slowly, but many at a time


def record_digest(record: Mapping[str, Any]) -> str:
    """Of all in a record that two computations of the unit agree on."""
    return digest_of({name: value for name, value in record.items() if name not in PASSING})


def read_record(storage: Storage, key: str) -> dict[str, Any]:
    """Content of a unit's unit.json.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged or of another unit.
    """
    found = json.loads(storage.read(f"{place_of(key)}/{RECORD}"))
    if not isinstance(found, dict) or found.get("key") != key:
        raise ValueError("it is of another unit")
    if found.get("digest") != record_digest(found):
        raise ValueError("its content is not what was written")
    return found


def facts_of(record: Mapping[str, Any]) -> tuple[FileFact, ...]:
    """Files of a unit, without its record."""
    return tuple(FileFact(**fact) for fact in record["files"])


def fault_of_sizes(files: tuple[FileFact, ...], sizes: Mapping[str, int]) -> str:
    """What is wrong with the files of a unit, by their sizes; '' for nothing.

    Args:
        files: As they must be.
        sizes: As they are, by name in the unit's folder.
    """
    for file in files:
        if file.name not in sizes:
            return f"'{file.name}' is missing"
        if sizes[file.name] != file.bytes:
            return f"'{file.name}' has {sizes[file.name]} bytes instead of {file.bytes}"
    return ""


def fault_of_content(storage: Storage, key: str, files: tuple[FileFact, ...]) -> str:
    """What is wrong with the files of a unit, by their bytes; '' for nothing."""
    for file in files:
        name = f"{place_of(key)}/{file.name}"
        try:
            wrong = storage.digest(name) != file.sha256
            if wrong and storage.local is None:  # it may have been cut or changed on its way
                wrong = storage.digest(name) != file.sha256
        except FileNotFoundError:
            return f"'{file.name}' is missing"
        if wrong:
            return f"'{file.name}' has other bytes than were written"
    return ""


def set_aside(storage: Storage, key: str) -> str:
    """Move what is left of a damaged unit out of the way; returns where to."""
    taken = set(storage.names(DAMAGED))
    number = next(number for number in range(1, len(taken) + 2) if f"{key}-{number}" not in taken)
    to = f"{DAMAGED}/{key}-{number}"
    storage.move(place_of(key), to)
    return to


def store_unit(storage: Storage, unit: Unit, folder: Path, record: Mapping[str, Any]) -> tuple[FileFact, ...]:
    """Let a unit's output appear; if it is there already, that one stays.

    Raises:
        OutputExists, DiskFull, Unreachable: if it cannot be written.
    """
    present = stored_files(storage, unit.key)
    if present is not None:
        return present
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    names = [name for name in names if name != RECORD]
    files = tuple(FileFact.of(folder / name, name) for name in names)
    whole = json.loads(
        json.dumps({**record, **_named(unit), "files": [asdict(file) for file in files]}, allow_nan=False)
    )
    data = (json.dumps(whole | {"digest": record_digest(whole)}, indent=1, ensure_ascii=False) + "\n").encode()
    if isinstance(storage, Disk):
        return _on_disk(storage, unit.key, folder, files, data)
    in_threads(storage, lambda file: storage.put(folder / file.name, f"{place_of(unit.key)}/{file.name}"), list(files))
    fault = fault_of_sizes(files, sizes_of(storage, unit.key))
    if fault:
        raise Unreachable(
            f"'{storage.address}' does not have what was written to it: of unit {unit.number}, {fault}. "
            "The storage must keep what it accepts; check it and run the same command again."
        )
    storage.write(f"{place_of(unit.key)}/{RECORD}", data)
    return files


def is_stored(storage: Storage, key: str) -> bool:
    """Whether a unit is there; what it holds is not looked at."""
    return storage.exists(f"{place_of(key)}/{RECORD}")


def stored_files(storage: Storage, key: str) -> tuple[FileFact, ...] | None:
    """Files of a unit that is there and looks whole, else None; a damaged one is set aside."""
    sizes = sizes_of(storage, key)
    if RECORD not in sizes:
        return None
    try:
        files = facts_of(read_record(storage, key))
        if not fault_of_sizes(files, sizes):
            return files
    except (ValueError, KeyError, TypeError):
        pass
    set_aside(storage, key)
    return None


def sizes_of(storage: Storage, key: str) -> dict[str, int]:
    """Bytes of all files of a unit, by name in its folder."""
    place = place_of(key)
    return {posixpath.relpath(name, place): size for name, size in storage.sizes(place).items()}


def in_threads(storage: Storage, action: Callable[[T], R], items: list[T]) -> list[R]:
    """The action's results in order; many at a time where answers take long."""
    if storage.local is not None or len(items) < 2:
        return [action(item) for item in items]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(action, items))


def _named(unit: Unit) -> dict[str, Any]:
    return {"key": unit.key, "number": unit.number, "request": unit.request.to_json()}


def _on_disk(storage: Disk, key: str, folder: Path, files: tuple[FileFact, ...], data: bytes) -> tuple[FileFact, ...]:
    """A folder with all files takes the unit's name in one step."""
    place = storage.path(place_of(key))
    new = unfinished(place)
    try:
        with storage.told():
            new.mkdir(parents=True)
            for file in files:
                (new / file.name).parent.mkdir(parents=True, exist_ok=True)
                copied(folder / file.name, new / file.name)
            (new / RECORD).write_bytes(data)
            inside = [new / file.name for file in files]
            flush_all([*inside, new / RECORD, *{path.parent for path in inside}, new])
            return _named_so(storage, key, new, files)
    except FileNotFoundError as error:
        raise OutputExists(
            f"'{place}' cannot be written: {error}. Somebody removed it meanwhile; leave the folder alone and run again."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _named_so(storage: Disk, key: str, new: Path, files: tuple[FileFact, ...]) -> tuple[FileFact, ...]:
    place = storage.path(place_of(key))
    try:
        os.rename(new, place)
    except OSError:
        present = stored_files(storage, key) if place.is_dir() else None
        if present is not None:  # another worker did the same unit
            return present
        if place.is_dir():
            set_aside(storage, key)
        os.rename(new, place)
    flush(place.parent)
    return files
