"""How people and schedulers ask a batch to stop: once to finish what is running, twice to end now."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stops:
    """How often one asked to stop, and by which signal. Safe to call from any thread and from signal handlers.

    Attributes:
        count: 0 to go on, 1 to finish what is running, 2 to end now.
        signum: Of the first signal; None for none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signum: int | None = None

    def ask(self, signum: int = signal.SIGINT) -> None:
        """Ask once more."""
        if self.signum is None:
            self.signum = int(signum)
        self.count += 1

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 when nobody asked."""
        return 0 if self.signum is None else 128 + self.signum

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM count as asking while the block runs; outside the main thread only `ask` does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(TypeError):  # a handler that was not set from Python cannot be put back
                    signal.signal(number, handler)

    def _heard(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self.ask(signum)
