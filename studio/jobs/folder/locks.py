"""Who is at work on a folder: one driver per shard, and all of them with the same number of shards.

On disks these are locks of the system: a killed driver's is free at once. Where there are none (object stores, some
network disks) they are leases, see `studio.jobs.folder.leases`.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from studio.jobs.folder.disk import refusal
from studio.jobs.folder.leases import Holder, Pace, found_lease, living, take_lease
from studio.jobs.folder.storage import Storage
from studio.jobs.units import Shard
from worldmodel.errors import OutputExists

FOLDER = "locks"
LEASE = ".lease"
TURN = "turn"  # held for a moment by whoever begins, so that beginners do so one after the other
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})


class Hold(Protocol):
    """Something that is held until it is released."""

    @property
    def lost(self) -> bool:
        """Whether somebody else may have taken it, because nothing was heard of us for long."""

    def release(self) -> None:
        """Let go of it; harmless when repeated."""


class FileHold:
    """A file that the system has locked for us; it cannot be lost."""

    lost = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def release(self) -> None:
        """Let go of it; harmless when repeated."""
        self._file.close()


@contextmanager
def turn(storage: Storage, pace: Pace) -> Iterator[None]:
    """Begin while nobody else does.

    Raises:
        OutputExists: if another one has been beginning for too long.
    """
    holder = Holder.here(Shard())
    until = time.monotonic() + pace.turn_s
    while (hold := _take(storage, TURN, holder, pace)) is None:
        if time.monotonic() > until:
            raise OutputExists(
                f"another command has been preparing '{storage.address}' for more than {pace.turn_s:.0f} s. "
                "Wait until it is done, or end it."
            )
        time.sleep(min(0.05, pace.look_s))
    try:
        yield
    finally:
        hold.release()


def at_work(storage: Storage, pace: Pace) -> tuple[Holder, ...]:
    """Drivers that live; with leases this may take `Pace.dead_s` if one of them was killed."""
    return _looked(storage, pace)[0]


def take_shard(storage: Storage, shard: Shard, pace: Pace) -> Hold:
    """Become the driver of a shard; to be called in one's turn.

    Raises:
        OutputExists: if somebody is at work on it, or on shards of another number; the message names who.
    """
    others, dead = _looked(storage, pace)
    for other in others:
        if other.shard == shard.name:
            raise OutputExists(
                f"another driver is at work on '{storage.address}' ({other.words()}). Only one may be; wait until it is "
                "done, end it, or choose another --out."
            )
        if other.of != shard.of:
            raise OutputExists(
                f"another driver is at work on shard {other.index}/{other.of} of '{storage.address}' ({other.words()}) and "
                f"this is shard {shard.index}/{shard.of}. All must split alike; wait until it is done, or use N/{other.of}."
            )
    for name in dead:
        storage.remove(name)
    holder, tries = Holder.here(shard), 20
    while (hold := _take(storage, shard.name, holder, pace)) is None and (tries := tries - 1):
        time.sleep(0.05)  # somebody only looks whether it is held
    if hold is None:
        raise OutputExists(f"another driver is at work on '{storage.address}'. Only one may be; wait until it is done.")
    return hold


def _looked(storage: Storage, pace: Pace) -> tuple[tuple[Holder, ...], list[str]]:
    """Drivers that live, and names of leases whose holders do not."""
    names = [name for name in storage.names(FOLDER) if name.rpartition(".")[0] != TURN]
    held = [_read(storage, name) for name in names if name.endswith(".lock") and _flocked(_path(storage, name))]
    leases = [f"{FOLDER}/{name}" for name in names if name.endswith(LEASE)]
    alive_ones = living(storage, leases, pace)
    alive = {f"{FOLDER}/{one.shard}{LEASE}" for one in alive_ones}
    found = sorted([*held, *alive_ones], key=lambda one: (one.of, one.index))
    return tuple(found), [name for name in leases if name not in alive]


def _take(storage: Storage, name: str, holder: Holder, pace: Pace) -> Hold | None:
    """Hold a name if nobody does, else None."""
    if storage.local is not None:
        try:
            return _flock(storage, name, holder)
        except ModuleNotFoundError:  # a system without such locks
            pass
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise refusal(storage.address, error) from error
    return take_lease(storage, f"{FOLDER}/{name}{LEASE}", holder, pace)


def _flock(storage: Storage, name: str, holder: Holder) -> Hold | None:
    import fcntl

    path = _path(storage, f"{name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("r+b" if path.exists() else "w+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise
    hold = FileHold(file)
    try:
        file.truncate(0)
        file.write(holder.data())
    except OSError:
        hold.release()
        raise
    return hold


def _flocked(path: Path) -> bool:
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, ModuleNotFoundError):
        return False
    return False


def _read(storage: Storage, name: str) -> Holder:
    return found_lease(storage, f"{FOLDER}/{name}") or Holder.read(b"")


def _path(storage: Storage, name: str) -> Path:
    assert storage.local is not None
    return storage.local / FOLDER / name
