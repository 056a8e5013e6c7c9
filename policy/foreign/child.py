"""A process that answers one JSON line with one JSON line; it may hang, crash or babble, and never takes us with it.

Lines go through threads, so that neither a full pipe nor silence can block; no shell is involved.
"""

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import IO, Any

from worldmodel.errors import BadPolicy, PolicyError

LONGEST_LINE = 16_000_000  # bytes
MOST_UNREAD = 100  # lines that nobody asked for
STDERR_KEPT = 16_000  # bytes, of the end
GRACE_S = 2.0  # to end by itself after closing its output, before it is killed


class Child:
    """A process with its group, started on the first question and again after every failure.

    Attributes:
        folder: For pictures; removed with the child.
        starts: How often it was started.
    """

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self._command, self._cwd = list(command), cwd
        self._env = {**os.environ, **(env or {})}
        self._owner = 0
        self._running: _Running | None = None
        self._temporary = tempfile.TemporaryDirectory(prefix="detour-policy-")
        self.folder = Path(self._temporary.name)
        self.starts = 0
        self._ended = util.Finalize(self, _end, args=(box := _Box(), self._temporary), exitpriority=10)
        self._box = box

    @property
    def alive(self) -> bool:
        """Whether it is running, and ours (a fork of this process is not its owner)."""
        return self._running is not None and self._owner == os.getpid()

    def start(self) -> None:
        """Start it, if it is not running.

        Raises:
            BadPolicy: if there is no such program.
        """
        if self.alive:
            return
        self._running, self._owner = _Running(self._command, self._cwd, self._env), os.getpid()
        self._box.running = self._running
        self.starts += 1

    def ask(self, message: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one object and wait for one; after any failure the process and its children are killed.

        Raises:
            PolicyError: of kind 'timeout', 'crash' or 'garbage'.
            BadPolicy: if it cannot be started.
        """
        self.start()
        assert self._running is not None
        try:
            return self._running.exchange(json.dumps(message).encode(), timeout_s)
        except PolicyError as error:
            self.kill()
            error.stderr = self.stderr
            raise

    def said_more(self, within_s: float) -> bool:
        """Whether it says anything that nobody asked for, within some time."""
        return self._running is not None and self._running.said_more(within_s)

    @property
    def stderr(self) -> str:
        """The end of what it wrote to standard error, since it was last started."""
        return "" if self._running is None else self._running.stderr

    def kill(self) -> None:
        """End it and its children; the next question starts it again."""
        if self.alive:
            assert self._running is not None
            self._running.kill()
            self._owner = 0

    def close(self) -> None:
        """End it for good."""
        self._ended()


class _Box:
    """What a finalizer needs, without the child itself."""

    running: "_Running | None" = None


def _end(box: _Box, folder: "tempfile.TemporaryDirectory[str]") -> None:
    if box.running is not None:
        box.running.kill()
    folder.cleanup()


class _Running:
    """One life of a child."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise BadPolicy(
                f"the policy's command '{' '.join(command)}' cannot be started ({error}). Name a program that exists and may be "
                "run; no shell is used, so there are no pipes, no variables and no '~'."
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: collections.deque[bytes] = collections.deque()
        self._owner = os.getpid()
        self._threads = [
            threading.Thread(target=_read_lines, args=(self._process.stdout, self._lines), daemon=True),
            threading.Thread(target=_keep_end, args=(self._process.stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stderr(self) -> str:
        return b"".join(self._errors).decode("utf-8", "replace")[-STDERR_KEPT:]

    def exchange(self, line: bytes, timeout_s: float) -> dict[str, Any]:
        writer = threading.Thread(target=_write, args=(self._process.stdin, line + b"\n"), daemon=True)
        writer.start()
        try:
            answer = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise PolicyError(
                f"the policy gave no answer within {timeout_s:g} s and was stopped. Make it faster, or declare a longer `timeout_s`.",
                "timeout",
            ) from None
        if answer is None:
            raise PolicyError(
                f"the policy {self._how_it_ended()} instead of answering. Its standard error says why.", "crash"
            )
        return _object(answer)

    def said_more(self, within_s: float) -> bool:
        time.sleep(within_s)
        return not self._lines.empty()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return "closed its standard output"
        self._threads[1].join(GRACE_S)
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        if self._owner != os.getpid():
            return
        self._kill_group()
        self._process.wait()
        for thread in self._threads:
            thread.join(GRACE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def _write(pipe: IO[bytes], line: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # it ended: the reader says so
        pipe.write(line)
        pipe.flush()


def _read_lines(pipe: IO[bytes], lines: "queue.Queue[bytes | None]") -> None:
    with contextlib.suppress(OSError, ValueError):
        while (line := pipe.readline(LONGEST_LINE + 1)) and lines.qsize() < MOST_UNREAD:
            lines.put(line)
    lines.put(None)


def _keep_end(pipe: IO[bytes], kept: "collections.deque[bytes]") -> None:
    with contextlib.suppress(OSError, ValueError):
        while part := os.read(pipe.fileno(), 4096):
            kept.append(part)
            while len(kept) > STDERR_KEPT // 16:  # parts may be as short as a line
                kept.popleft()


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line) if len(line) <= LONGEST_LINE else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PolicyError(
            f"the policy wrote {_shown(line)} to its standard output; one JSON object per request is needed there. Send everything "
            "else to standard error.",
            "garbage",
        )
    return found


def _shown(line: bytes) -> str:
    text = line[:60].decode("utf-8", "replace").strip()
    return f"'{text}'{' ...' if len(line) > len(text) + 2 else ''}"
