"""Folders of what workers have not finished: removed when they end, and by whoever comes next when they were killed."""

import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

NAME = "detour-jobs-"


@contextmanager
def own_scratch(base: str) -> Iterator[Path]:
    """A new folder in `base`, '' for the system's, while the context lasts; what killed processes left there is removed.

    A lock beside each folder is held while its process lives, and free the moment that is killed.
    """
    parent = scratch_base(base)
    sweep(base)
    lock, folder = _claimed(parent)
    try:
        folder.mkdir()
        yield folder
    finally:
        _remove(folder)
        lock.close()


def scratch_base(base: str) -> Path:
    """The folder that holds the folders; made if it is not there."""
    parent = Path(base or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def sweep(base: str) -> None:
    """Remove the folders of this machine's processes that live no more."""
    for path in scratch_base(base).glob(f"{_ours()}*.lock"):
        with suppress(OSError), path.open("rb") as lock:  # somebody else's, or gone meanwhile
            if path.stat().st_uid == os.getuid() and _locked(lock):
                _remove(path.with_name(path.name.removesuffix(".lock")))


def _claimed(parent: Path) -> tuple[BinaryIO, Path]:
    """A lock that is ours, and the folder's name that goes with it."""
    while True:
        path = parent / f"{_ours()}{uuid.uuid4().hex[:12]}.lock"
        lock = path.open("xb")
        with suppress(OSError):  # a disk without locks: nobody sweeps there
            if not _locked(lock) or not os.fstat(lock.fileno()).st_nlink:  # a sweeper came in between
                lock.close()
                continue
        return lock, path.with_name(path.name.removesuffix(".lock"))


def _ours() -> str:
    """How names begin on this machine; on a shared disk, locks of others may not be seen."""
    return f"{NAME}{platform.node()}-"


def _locked(file: BinaryIO) -> bool:
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
