"""Leases: small files whose counter their holder raises, for places that know no locks.

One that stands still for `Pace.dead_s` of the watcher's own clock belongs to nobody any more; no two clocks are compared.
"""

import json
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from studio.jobs.folder.storage import Storage
from studio.jobs.units import Shard
from worldmodel.errors import DetourError


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
        try:
            while not self._over.wait(self._pace.beat_s):
                try:
                    if not _lease_in(self._storage, self._name, self._holder.token):
                        return
                    count += 1
                    self._storage.write(self._name, replace(self._holder, count=count).data())
                    heard = time.monotonic()
                except DetourError:
                    if time.monotonic() - heard > self._pace.dead_s:
                        return
        finally:
            self.lost = not self._over.is_set()


def take_lease(storage: Storage, name: str, holder: Holder, pace: Pace) -> Lease | None:
    """Hold a name if nobody does, else None; whoever held it may first be watched for `Pace.dead_s`."""
    if storage.create(name, holder.data()):
        return Lease(storage, name, holder, pace)
    if living(storage, [name], pace):
        return None
    storage.remove(name)
    if not storage.create(name, holder.data()):
        return None
    time.sleep(pace.settle_s)
    return Lease(storage, name, holder, pace) if _lease_in(storage, name, holder.token) else None


def _lease_in(storage: Storage, name: str, token: str) -> bool:
    try:
        return Holder.read(storage.read(name)).token == token
    except FileNotFoundError:
        return False


def living(storage: Storage, names: list[str], pace: Pace) -> list[Holder]:
    """Holders of those leases whose counter moves; the others are watched for as long as one may stand still."""
    first = {name: found for name in names if (found := found_lease(storage, name)) is not None}
    alive: list[Holder] = []
    until = time.monotonic() + pace.dead_s
    while first and time.monotonic() < until:
        time.sleep(pace.look_s)
        for name, seen in list(first.items()):
            now = found_lease(storage, name)
            if now is None or now != seen:
                del first[name]
            if now is not None and now != seen:
                alive.append(now)
    return alive


def found_lease(storage: Storage, name: str) -> Holder | None:
    """What a lease says; None if there is none."""
    try:
        return Holder.read(storage.read(name))
    except FileNotFoundError:
        return None
