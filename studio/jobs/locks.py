"""Who is at work on a folder: one driver per shard, and all of them with the same number of shards.

On disks these are locks of the system: a killed driver's is free at once. Where there are none (object stores, some
network disks) they are leases: small files whose counter their holder raises; one that stands still for `Pace.dead_s`
of the watcher's own clock belongs to nobody any more. No two clocks are ever compared.
"""

import errno
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from studio.jobs.storage import Storage
from studio.jobs.units import Shard
from worldmodel.errors import DetourError, OutputExists

FOLDER = "locks"
TURN = "turn"  # held for a moment by whoever begins, so that beginners do so one after the other
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How leases are kept and watched, in seconds.

    Attributes:
        beat_s: A holder raises its counter this often.
        dead_s: A counter that stands still for so long belongs to nobody.
        look_s: A watcher looks this often.
        settle_s: After taking a dead one's turn: whoever's name is there then has it.
        turn_s: How long to wait for one's turn.
    """

    beat_s: float = 5.0
    dead_s: float = 30.0
    look_s: float = 1.0
    settle_s: float = 1.0
    turn_s: float = 300.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A driver at work.

    Attributes:
        shard: Name of its shard.
        index, of: Its shard.
        host, pid: Where it runs.
        since: When it began, by that machine's clock; to read, never to compare.
        token: No other holder has it.
        count: Of a lease; raised while it lives.
    """

    shard: str
    index: int
    of: int
    host: str
    pid: int
    since: str
    token: str = ""
    count: int = 0

    @staticmethod
    def here(shard: Shard) -> "Holder":
        """This process."""
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        host, pid, token = platform.node(), os.getpid(), uuid.uuid4().hex
        return Holder(shard=shard.name, index=shard.index, of=shard.of, host=host, pid=pid, since=since, token=token)

    @staticmethod
    def read(data: bytes) -> "Holder":
        """What a lock or lease says; question marks where it says nothing."""
        facts: dict[str, Any] = {"shard": "all", "index": 1, "of": 1, "host": "?", "pid": 0, "since": "?"}
        with suppress(ValueError):
            found = json.loads(data)
            facts |= {name: found[name] for name in Holder.__dataclass_fields__ if name in found}
        return Holder(**facts)

    def data(self) -> bytes:
        """What `read` reads."""
        return json.dumps(asdict(self)).encode()

    def words(self) -> str:
        """Host, process and since when."""
        return f"process {self.pid} on '{self.host}', since {self.since}"


class Hold:
    """Something that is held until it is released."""

    def __init__(self, file: IO[bytes] | None = None, lease: "Lease | None" = None) -> None:
        self._file, self._lease = file, lease

    @property
    def lost(self) -> bool:
        """Whether somebody else took it, because nothing was heard of us for long."""
        return self._lease is not None and self._lease.lost

    def release(self) -> None:
        """Let go of it; harmless when repeated."""
        if self._file is not None:
            self._file.close()
        if self._lease is not None:
            self._lease.release()


class Lease:
    """A file whose counter a thread raises until it is released."""

    def __init__(self, storage: Storage, name: str, holder: Holder, pace: Pace) -> None:
        self.lost = False
        self._storage, self._name, self._holder, self._pace = storage, name, holder, pace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {name}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Stop raising it and remove it."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        with suppress(DetourError):  # a lease that cannot be removed is found dead
            if _lease_in(self._storage, self._name, self._holder.token):
                self._storage.remove(self._name)

    def _keep(self) -> None:
        count, heard = 0, time.monotonic()
        while not self._over.wait(self._pace.beat_s):
            try:
                if not _lease_in(self._storage, self._name, self._holder.token):
                    self.lost = True
                    return
                count += 1
                facts = asdict(self._holder) | {"count": count}
                self._storage.write(self._name, json.dumps(facts).encode())
                heard = time.monotonic()
            except DetourError:
                if time.monotonic() - heard > self._pace.dead_s:
                    self.lost = True
                    return


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
    leases = [f"{FOLDER}/{name}" for name in names if name.endswith(".lease")]
    living = _living(storage, leases, pace)
    alive = {f"{FOLDER}/{one.shard}.lease" for one in living}
    found = sorted([*held, *living], key=lambda one: (one.of, one.index))
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
                raise OutputExists(
                    f"cannot write '{storage.address}': {error}. Choose a folder you may write to with --out."
                ) from error
    return _lease(storage, f"{FOLDER}/{name}.lease", holder, pace)


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
    file.truncate(0)
    file.write(holder.data())
    return Hold(file=file)


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


def _lease(storage: Storage, name: str, holder: Holder, pace: Pace) -> Hold | None:
    if storage.create(name, holder.data()):
        return Hold(lease=Lease(storage, name, holder, pace))
    if _living(storage, [name], pace):
        return None
    storage.remove(name)
    if not storage.create(name, holder.data()):
        return None
    time.sleep(pace.settle_s)
    return Hold(lease=Lease(storage, name, holder, pace)) if _lease_in(storage, name, holder.token) else None


def _lease_in(storage: Storage, name: str, token: str) -> bool:
    try:
        return Holder.read(storage.read(name)).token == token
    except FileNotFoundError:
        return False


def _living(storage: Storage, names: list[str], pace: Pace) -> list[Holder]:
    """Holders of those leases whose counter moves; the others are watched for as long as one may stand still."""
    first = {name: found for name in names if (found := _found(storage, name)) is not None}
    alive: list[Holder] = []
    until = time.monotonic() + pace.dead_s
    while first and time.monotonic() < until:
        time.sleep(pace.look_s)
        for name, seen in list(first.items()):
            now = _found(storage, name)
            if now is None or now != seen:
                del first[name]
            if now is not None and now != seen:
                alive.append(now)
    return alive


def _found(storage: Storage, name: str) -> Holder | None:
    try:
        return Holder.read(storage.read(name))
    except FileNotFoundError:
        return None


def _read(storage: Storage, name: str) -> Holder:
    return _found(storage, f"{FOLDER}/{name}") or Holder.read(b"")


def _path(storage: Storage, name: str) -> Path:
    assert storage.local is not None
    return storage.local / FOLDER / name
