"""SIGTERM and Ctrl-C ask a run to stop after the step at hand."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C instead of dying; a second one acts as always. Does nothing outside the main thread."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before: dict[signal.Signals, Any] = {}

    def catch(number: int, _frame: object) -> None:
        caught.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for name in (signal.SIGTERM, signal.SIGINT):
        before[name] = signal.getsignal(name) or signal.SIG_DFL
        signal.signal(name, catch)
    try:
        yield caught
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
