"""What belongs to one visitor: a folder that vanishes with the tab, and a way to stop the work at hand."""

import hashlib
import shutil
import tempfile
import threading
from pathlib import Path


class Visitors:
    """Folders and stop signals by session; two visitors never meet.

    Attributes:
        root: A temporary folder of this server; removed by `close_all`.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="detour-studio-"))
        self._signals: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def folder(self, session: str) -> Path:
        """The visitor's own folder; the session's name comes from the browser, so only its hash reaches the disk."""
        folder = self._place(session)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _place(self, session: str) -> Path:
        return self.root / hashlib.sha256(session.encode()).hexdigest()[:16]

    def begin(self, session: str) -> None:
        """Announce new work; what the visitor started before is stopped."""
        with self._lock:
            if session in self._signals:
                self._signals[session].set()
            self._signals[session] = threading.Event()

    def signal(self, session: str) -> threading.Event:
        """The stop signal of the newest work; set when it was stopped or the tab is closed. A call that announced nothing has
        one, too, which is not set."""
        with self._lock:
            if session not in self._signals:
                self._signals[session] = threading.Event()
            return self._signals[session]

    def current(self, session: str, signal: threading.Event) -> bool:
        """Whether this is the signal of the visitor's newest work; False once the tab is closed."""
        with self._lock:
            return self._signals.get(session) is signal

    def stop(self, session: str) -> None:
        """Ask the visitor's work to end; it ends before its next chunk."""
        self.signal(session).set()

    def close(self, session: str) -> None:
        """The tab is closed: stop the work and remove the folder."""
        self.stop(session)
        with self._lock:
            self._signals.pop(session, None)
        shutil.rmtree(self._place(session), ignore_errors=True)

    def close_all(self) -> None:
        """The server ends."""
        with self._lock:
            for signal in self._signals.values():
                signal.set()
        shutil.rmtree(self.root, ignore_errors=True)
