"""A folder on a disk: files appear by renaming, and are on the disk before they appear."""

import errno
import itertools
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from studio.jobs.folder.patience import Patience
from studio.jobs.folder.storage import Storage, safe_name
from studio.jobs.units import file_digest
from worldmodel.errors import DetourError, DiskFull, OutputExists

T = TypeVar("T")

UNFINISHED = ".tmp"  # with a dot in front: names that are passed over
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FLUSHERS = 8
_numbers = itertools.count()


class Disk(Storage):
    """A folder on a disk.

    Attributes:
        local: Its path.
    """

    local: Path

    def __init__(self, path: Path, patience: Patience) -> None:
        self.local, self.patience = Path(os.path.abspath(path)), patience
        self.address = str(path)

    def sub(self, name: str) -> "Disk":
        """A folder inside; nothing is made yet."""
        return Disk(self.local / safe_name(name), self.patience)

    def path(self, name: str) -> Path:
        """Where a file is."""
        return self.local / safe_name(name)

    def folder(self, under: str) -> Path:
        """Where a folder is; '' for this one."""
        return self.path(under) if under else self.local

    def read(self, name: str) -> bytes:
        """Content of a file."""
        return self._try("read", name, self.path(name).read_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Let a file appear, or take the place of the one before, whole or not at all."""
        self._try("write", name, lambda: appear(self.path(name), lambda new: new.write_bytes(data)))

    def create(self, name: str, data: bytes) -> bool:
        """Let a file appear unless there is one of that name; whether it did."""
        try:
            self._try("write", name, lambda: _create(self.path(name), data))
        except FileExistsError:
            return False
        return True

    def put(self, file: Path, name: str) -> None:
        """Copy a local file here, whole or not at all."""
        self._try("write", name, lambda: appear(self.path(name), lambda new: shutil.copyfile(file, new)))

    def get(self, name: str, file: Path) -> None:
        """Copy a file to a local path, whole or not at all."""
        self._try("copy", name, lambda: _copy(self.path(name), file))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        path = self.path(name)
        if self._try("look at", name, path.is_dir):
            raise FileNotFoundError(errno.ENOENT, "a folder, not a file", str(path))
        return self._try("look at", name, path.stat).st_size

    def sizes(self, under: str = "") -> dict[str, int]:
        """Bytes of all files in a folder and below, by name from here; unfinished ones are left out."""
        top = self.folder(under)
        return self._try("look at", under, lambda: dict(_files(top, under)))

    def names(self, under: str = "") -> list[str]:
        """Names of the files and folders directly in a folder, sorted; none if it is not there."""
        try:
            return sorted(
                name for name in self._try("look at", under, lambda: os.listdir(self.folder(under))) if _whole(name)
            )
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; harmless if it is not there."""
        self._try("remove", name, lambda: _remove(self.path(name)))

    def move(self, name: str, to: str) -> None:
        """Move a file or folder to a name that is free."""
        new = self.path(to)
        self._try("write", to, lambda: _make_folder(new.parent))
        self._try("write", to, lambda: os.rename(self.path(name), new))

    def digest(self, name: str) -> str:
        """SHA-256 of a file's bytes, as they are stored."""
        return self._try("read", name, lambda: file_digest(self.path(name)))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what the system refuses into sentences."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise refusal(self.address, error) from error

    def _try(self, verb: str, name: str, action: Callable[[], T]) -> T:
        with self.told():
            return self.patience.call(f"{verb} '{self.folder(name)}'", action)


def unfinished(place: Path) -> Path:
    """A path beside this one for something that is not finished; no two are the same."""
    return place.with_name(f".{place.name[:80]}.{platform.node()[:40]}.{os.getpid()}.{next(_numbers)}{UNFINISHED}")


def abandoned(path: Path) -> bool:
    """Whether something unfinished was left by a process of this machine that is no more."""
    if _whole(path.name) or f".{platform.node()[:40]}." not in path.name:
        return False
    number = path.name.split(".")[-3]
    if not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)  # asks whether it is there
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        return False
    return False


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def flush_all(paths: Sequence[Path]) -> None:
    """Wait until files and folders are on the disk; all at once, for disks write them together: 1 ms instead of 20."""
    with ThreadPoolExecutor(FLUSHERS) as pool:
        list(pool.map(flush, paths))


def copied(source: Path, target: Path) -> None:
    """The same file at another place, without copying bytes where the disk allows it."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in FULL:
            raise
        shutil.copyfile(source, target)


def appear(place: Path, fill: Callable[[Path], object]) -> None:
    """Let a file appear with what `fill` writes, whole or not at all."""
    _make_folder(place.parent)
    new = unfinished(place)
    try:
        fill(new)
        flush(new)
        os.replace(new, place)
        flush(place.parent)
    finally:
        new.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # not to be taken for what `_create` says
        raise NotADirectoryError(errno.ENOTDIR, "a file, not a folder", str(path)) from error


def _copy(source: Path, target: Path) -> None:
    """Whole or not at all, but not waited for: what is copied out can be copied again."""
    _make_folder(target.parent)
    new = unfinished(target)
    try:
        shutil.copyfile(source, new)
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def _create(place: Path, data: bytes) -> None:
    """A name of its own is given to a whole file in one step, or refused."""
    _make_folder(place.parent)
    new = unfinished(place)
    try:
        new.write_bytes(data)
        os.link(new, place)
    finally:
        new.unlink(missing_ok=True)


def _whole(name: str) -> bool:
    return not (name.startswith(".") and name.endswith(UNFINISHED))


def _files(folder: Path, under: str) -> Iterator[tuple[str, int]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = f"{under}/{entry.name}" if under else entry.name
        if not _whole(entry.name):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path), name)
        else:
            yield name, entry.stat().st_size


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refusal(address: str, error: OSError) -> DetourError:
    """What the system refuses, as a sentence."""
    if error.errno in FULL:
        return DiskFull(
            f"the disk of '{address}' is full ({error}). More space is needed there; free some and run the same command again."
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return OutputExists(
            f"'{address}' cannot be used: {error}. It must be a folder that you may read and write; choose another, or change its rights."
        )
    return OutputExists(f"'{address}' cannot be used: {error}. Choose a folder on a disk that works.")
