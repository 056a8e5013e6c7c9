"""Where recordings lie: datasets that a pattern names, here or in an object store, and their copies on this machine."""

import fnmatch
import glob
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from studio.jobs.folder.object_store import ObjectStore
from studio.jobs.folder.storage import Storage, protocol_of, safe_name
from studio.jobs.plan.job_values import MAGIC
from studio.jobs.units import digest_of
from worldmodel.errors import BadDataset, DiskFull, OutputExists, Unreachable

MAX_FETCHED_BYTES = 200 * 10**9  # of one dataset
MAX_FETCHED_FILES = 1_000_000
RESERVE_BYTES = 1 << 30  # of the disk that is left to others
AT_ONCE = 8  # files; a store's answers take their time
_PARTS = ("meta", "data", "videos")  # a folder with one of these was meant as a dataset, even if it is broken


def default_cache() -> Path:
    """The folder for fetched clips of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detour" / "clips"


def options_for(address: str, out: str, options: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Of a batch's storage options those for a dataset: all where it lies in a store like the batch's, or the batch lies here."""
    kinds = {protocol_of(address), protocol_of(out) if out else "file"} - {"file"}
    return options if len(kinds) == 1 and protocol_of(address) != "file" else None


def matching(pattern: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Folders or addresses of the datasets that a pattern names, sorted; what holds nothing of a dataset is left out.

    Args:
        pattern: An absolute path or an address; `*`, `?` and `[...]` are wildcards, within one part of it each.
        options: Of the object store.
    Raises:
        BadDataset: if there is none.
    """
    if protocol_of(pattern) != "file":
        found = list(_stored(pattern, options)) if MAGIC.search(pattern) else [pattern]
    elif Path(pattern).is_dir() or not MAGIC.search(pattern):
        found = [pattern]
    else:
        found = [path for path in sorted(glob.glob(pattern)) if any(Path(path, part).is_dir() for part in _PARTS)]
    if not found:
        raise BadDataset(f"'{pattern}' names no dataset. Name folders that `detour import` or `detour town` wrote.")
    return tuple(found)


def _stored(pattern: str, options: Mapping[str, Any] | None) -> Iterator[str]:
    """`matching` in an object store, level by level."""
    head, _, rest = pattern.partition("://")
    parts = rest.split("/")
    first = next(number for number, part in enumerate(parts) if MAGIC.search(part))
    if not first:
        raise BadDataset(f"'{pattern}' has a wildcard for the bucket; name the bucket itself.")
    below = [f"{head}://{'/'.join(parts[:first])}"]
    for part in parts[first:]:
        below = [
            f"{folder}/{name}"
            for folder in below
            for name in Storage.at(folder, options).names()
            if fnmatch.fnmatchcase(name, part)
        ]
    yield from (folder for folder in sorted(below) if {*Storage.at(folder, options).names()} & {*_PARTS})


def fetched(address: str, cache: Path | str | None = None, options: Mapping[str, Any] | None = None) -> Path:
    """The folder of a dataset on this machine; one that lies elsewhere is copied first, whole or not at all.

    A copy is named by the address and by names, sizes and tags of all files, so a dataset that was changed is copied anew.

    Args:
        address: A path, or an address such as s3://bucket/folder.
        cache: Where copies are kept; None or '' for the user's cache folder.
        options: Of the object store.
    Raises:
        BadDataset: if nothing is there, too much, or files whose names lead elsewhere.
        DiskFull, OutputExists: if it does not fit, or the cache cannot be written.
        Unreachable: if the store does not answer.
    """
    if protocol_of(address) == "file":
        return Path(address.removeprefix("file://"))
    store = Storage.at(address, options)
    listed = _listed(store)
    folder = Path(cache or default_cache())
    copy = folder / digest_of([address, sorted(listed.items())])
    try:
        if not copy.is_dir():
            _check_room(address, sum(size for size, _ in listed.values()), folder)
            _copy(store, listed, copy)
    except OSError as error:
        raise OutputExists(
            f"'{folder}' cannot hold a copy of '{address}' ({error}). Name another folder with --cache, with space and the "
            "right to write."
        ) from error
    return copy


def _listed(store: Storage) -> dict[str, tuple[int, str]]:
    """Size and tag of every file, by name; tags change when contents do, as far as the store says."""
    tags = store.tags() if isinstance(store, ObjectStore) else {}
    found = {
        safe_name(name): (size, tags.get(name, ""))
        for name, size in store.sizes().items()
        if not _marks_folder(name, size)
    }
    if not found:
        raise BadDataset(f"'{store.address}' holds no files. Name a dataset that is there, and check who may read it.")
    if len(found) > MAX_FETCHED_FILES or sum(size for size, _ in found.values()) > MAX_FETCHED_BYTES:
        raise BadDataset(
            f"'{store.address}' has {len(found)} files of {sum(size for size, _ in found.values()) / 1e9:.0f} GB; at most "
            f"{MAX_FETCHED_FILES} files and {MAX_FETCHED_BYTES / 1e9:.0f} GB are fetched. Name a smaller dataset."
        )
    return found


def _marks_folder(name: str, size: int) -> bool:
    """Consoles of object stores leave empty objects where people make folders."""
    return size == 0 and (not name or name.endswith("/"))


def _check_room(address: str, size: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size + RESERVE_BYTES > free:
        raise DiskFull(
            f"'{address}' has {size / 1e9:.1f} GB, but '{folder}' has {free / 1e9:.1f} GB left. Free some space, or name a "
            "folder on another disk with --cache."
        )


def _clear_abandoned(folder: Path) -> None:
    """Remove what copying left here when it was killed."""
    for path in folder.glob(f".{glob.escape(socket.gethostname())}.*.*"):
        process = path.name.rsplit(".", 2)[-2]
        if process.isdecimal() and not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _copy(store: Storage, listed: Mapping[str, tuple[int, str]], copy: Path) -> None:
    """All files, under a name of our own until the last one is there."""
    _clear_abandoned(copy.parent)
    partial = Path(mkdtemp(prefix=f".{socket.gethostname()}.{os.getpid()}.", dir=copy.parent))
    try:
        if not _get_all(store, sorted(listed), partial) or _listed(store) != listed:
            raise Unreachable(f"'{store.address}' was changed while it was copied. Try again when nobody writes there.")
        try:
            partial.rename(copy)
        except OSError:
            if not copy.is_dir():  # another process was faster otherwise
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _get_all(store: Storage, names: Sequence[str], folder: Path) -> bool:
    """Copy some files at a time; False if one of them is not there any more."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        copying = [pool.submit(store.get, name, folder / name) for name in names]
        try:
            for one in copying:
                one.result()
        except FileNotFoundError:
            return False
        finally:
            pool.shutdown(cancel_futures=True)
    return True
