"""One `detour` command in a process of its own: what it says, what it prints at the end, and how it is stopped."""

import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

GRACE_S = 5.0  # between a polite request to end and the end
MOST_PRINTED = 8_000_000  # bytes of a result that are read
LONGEST_LINE = 2000
REASON_LINES = 3
COUNTED = re.compile(r"^\s*(\d+) of (\d+) (\S+), (\d+) s left")
PYTHON = (sys.executable, "-m", "studio.live.tasks.worker")


@dataclass(frozen=True, kw_only=True)
class Count:
    """How far a command is, as it says itself: so many of so many things, seconds left."""

    done: int
    total: int
    things: str
    left_s: float

    @staticmethod
    def of(line: str) -> "Count | None":
        """What a line of `console.counter` says; None for any other line."""
        found = COUNTED.match(line)
        if found is None or found[2] == "0":
            return None
        return Count(done=int(found[1]), total=int(found[2]), things=found[3], left_s=float(found[4]))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: 0 for success.
        reason: Why it failed, a sentence; '' for success.
        printed: What it wrote to standard output, at most MOST_PRINTED bytes.
    """

    code: int
    reason: str
    printed: str


class Process:
    """A command under way. `wait` must be called once; it leaves no process behind.

    Attributes:
        words: After `detour`.
    """

    def __init__(self, words: Sequence[str], hear: Callable[[str], None]) -> None:
        self.words = tuple(words)
        self._hear = hear
        self._last: deque[str] = deque(maxlen=REASON_LINES)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `wait`)
        self._process = subprocess.Popen(
            [*PYTHON, *self.words], stdin=subprocess.PIPE, stdout=self._printed, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, name="listen-to-task", daemon=True)
        self._listener.start()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Ask it to end, and end it after some seconds (never, if infinite) if it does not; returns at once."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            if math.isinf(grace_s):
                return
            killer = threading.Timer(grace_s, self._kill)
            killer.daemon = True
            killer.start()

    def wait(self, limit_s: float = math.inf) -> Ended:
        """How it ended; it is stopped when it takes longer than `limit_s`."""
        late = False
        try:
            self._process.wait(None if math.isinf(limit_s) else limit_s)
        except subprocess.TimeoutExpired:
            late = True
            self.stop()
            self._process.wait()
        self._kill()  # whatever it started and left behind
        self._listener.join(GRACE_S)
        for pipe in (self._process.stdin, self._process.stderr):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        with self._printed:
            self._printed.seek(0)
            printed = self._printed.read(MOST_PRINTED).decode("utf-8", "replace")
        code = self._process.returncode
        reason = f"it took longer than {limit_s:.0f} s and was stopped" if late else _reason(code, tuple(self._last))
        return Ended(code=code, reason=reason, printed=printed)

    def _kill(self) -> None:
        """End it and all it started."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        elif self._process.poll() is None:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with suppress(ValueError, OSError):  # closed while something it left behind kept it open
            while line := self._process.stderr.readline(LONGEST_LINE):
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    self._last.append(text)
                    self._hear(text)


def _reason(code: int, last: Sequence[str]) -> str:
    """Why a command failed, from its exit code and last lines."""
    if code == 0:
        return ""
    said = [line.removeprefix("error: ") for line in last if line.startswith("error: ")]
    if said:
        return said[-1]
    if code < 0:
        return f"it was killed by signal {-code}, perhaps for want of memory"
    return last[-1] if last else f"it ended with exit code {code} and said nothing"
