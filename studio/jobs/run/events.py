"""What happened in a batch, one JSON object a line, readable at any moment and after any kill.

On disks a line is appended to OUT/events/NAME.jsonl as it happens; on object stores, which cannot append, lines are
written in parts OUT/events/NAME/000001-000001.jsonl (number of the run, of the part) every few seconds, so that a kill
may cost the last ones. NAME is the shard's. Every line has

    at       wall time in UTC, to read; it may jump
    t_s      monotonic seconds since this run of the driver began
    run      which run: host, process and when it began
    event    what happened, with more fields:

    run_began        shard, batch, engine, units, works, kept, failed_before, damaged, limits, retry
    worker_ready     worker, seconds
    work_began       worker, work, keys, attempt
    work_advanced    worker, work, chunk, chunks            (at most every few seconds of one work)
    unit_done        worker, work, key, number, seconds, timings_s, bytes, chunks, peak_bytes, warnings
    unit_failed      worker, work, key, number, kind, message, attempts, timings_s
    unit_again       worker, work, key, number, kind, message, attempt, wait_s
    worker_lost      worker, work, why
    work_dropped     work, seconds, limit_s
    warned           message
    stopping         why, running, seconds_left
    run_ended        done, failed, missing, seconds, exit_code, stopped
"""

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from studio.jobs.folder.storage import Storage
from worldmodel.errors import DetourError, OutputExists

FOLDER = "events"
PART_EVERY_S = 10.0
PART_BYTES = 1 << 20  # a part that is larger is closed and a new one begun
Clock = Callable[[], float]


class EventLog:
    """Writes the events of one run of a driver; an event that cannot be written is counted, and stops nothing.

    Args:
        storage: The batch's folder.
        name: Of the shard.
        clock: Monotonic seconds.

    Attributes:
        run: Names this run in every line.
        unwritten: Events that are lost.

    Raises:
        OutputExists: when made, if it cannot begin.
    """

    def __init__(self, storage: Storage, name: str, clock: Clock) -> None:
        self.run = f"{socket.gethostname()}-{os.getpid()}-{_now()}"
        self.unwritten = 0
        self._clock, self._began = clock, clock()
        folder = None if storage.local is None else storage.local / FOLDER
        self._sink: _File | _Parts = _Parts(storage, name, clock) if folder is None else _File(folder / f"{name}.jsonl")

    def write(self, event: str, **facts: Any) -> None:
        """One thing that happened, with plain data about it."""
        head = {"at": _now(), "t_s": round(self._clock() - self._began, 3), "run": self.run, "event": event}
        line = json.dumps(head | facts, ensure_ascii=False, default=str)
        try:
            self._sink.add(line.encode("utf-8", "replace") + b"\n")
        except (OSError, DetourError):
            self.unwritten += 1

    def close(self) -> None:
        """Write what waits; harmless when repeated."""
        try:
            self._sink.close()
        except (OSError, DetourError):
            self.unwritten += 1

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _File:
    """Lines appended to a file; what a killed driver or a full disk left of a line is ended first."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        except OSError as error:
            raise OutputExists(
                f"cannot write '{path}': {error}. Free some space, or choose a folder you may write to."
            ) from error

    def add(self, line: bytes) -> None:
        whole = b"\n" + line if self._torn else line
        self._torn = True
        self._torn = os.write(self._file, whole) != len(whole)
        if self._torn:
            raise OSError(errno.ENOSPC, "only a part of the line fits")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class _Parts:
    """Lines collected, and written as small objects: the newest part is written again until it is large."""

    def __init__(self, storage: Storage, name: str, clock: Clock) -> None:
        self._storage, self._folder, self._clock = storage, f"{FOLDER}/{name}", clock
        runs = (part[:6] for part in storage.names(self._folder))
        self._run = max((int(run) for run in runs if run.isdigit()), default=0) + 1
        self._part, self._lines, self._dirty, self._written = 1, bytearray(), False, clock()

    def add(self, line: bytes) -> None:
        self._lines += line
        self._dirty = True
        if self._clock() - self._written >= PART_EVERY_S:
            self.flush()

    def flush(self) -> None:
        self._written = self._clock()
        self._storage.write(f"{self._folder}/{self._run:06d}-{self._part:06d}.jsonl", bytes(self._lines))
        self._dirty = False
        if len(self._lines) >= PART_BYTES:
            self._part, self._lines = self._part + 1, bytearray()

    def close(self) -> None:
        if self._dirty:
            self.flush()


def read_events(storage: Storage, name: str = "") -> Iterator[dict[str, Any]]:
    """All events of a batch in the order they were written, those of one shard if it is named; torn lines are left out."""
    wanted = (f"{FOLDER}/{name}.jsonl", f"{FOLDER}/{name}/") if name else (f"{FOLDER}/",)
    for file in sorted(one for one in storage.sizes(FOLDER) if one.startswith(wanted) and one.endswith(".jsonl")):
        for line in storage.read(file).splitlines():
            event = _parsed(line)
            if event is not None:
                yield event


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
