"""One model, many visitors: it is taken chunk by chunk, first come first served, so that all advance together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from worldmodel.errors import Busy

MOST_WAITING, MOST_OF_ONE = 64, 12
WAIT_S = 0.5  # how often one who waits looks whether to go on waiting


class Turns:
    """A queue of tickets. Whoever works a chunk at a time and draws anew for each shares the model fairly.

    Attributes:
        most: Tickets that may wait; more are refused.
        most_of_one: Of these, how many one visitor may hold, so that nobody fills the queue alone.
    """

    def __init__(self, most: int = MOST_WAITING, most_of_one: int = MOST_OF_ONE) -> None:
        self.most, self.most_of_one = most, most_of_one
        self._tickets: deque[Ticket] = deque()
        self._changed = threading.Condition()

    def draw(self, visitor: str) -> "Ticket":
        """A place at the end of the queue; use it as a context, or call `leave`.

        Raises:
            Busy: if `most` are waiting already, or `most_of_one` of this visitor.
        """
        with self._changed:
            own = sum(ticket.visitor == visitor for ticket in self._tickets)
            if own >= self.most_of_one:
                raise Busy(
                    f"{own} requests of yours are waiting for the model, and no more than {self.most_of_one} may. Stop one, or wait."
                )
            if len(self._tickets) >= self.most:
                raise Busy(
                    f"{len(self._tickets)} requests are waiting for the model, and no more than {self.most} may. Try again in a minute."
                )
            ticket = Ticket(self, visitor)
            self._tickets.append(ticket)
            return ticket

    @contextmanager
    def turn(self, visitor: str, stopped: Callable[[], bool] = lambda: False) -> "Iterator[bool]":
        """Wait for the turn and hold it; gives False, without having waited longer, when `stopped()` says so before.

        Raises:
            Busy: as `draw`.
        """
        ticket = self.draw(visitor)
        try:
            for _ in ticket.waiting(stopped):
                pass
            yield ticket.ready()
        finally:
            ticket.leave()

    def waiting(self) -> int:
        """How many hold or wait for the model."""
        with self._changed:
            return len(self._tickets)


class Ticket:
    """A place in the queue.

    Attributes:
        visitor: Whose it is.
    """

    def __init__(self, turns: Turns, visitor: str) -> None:
        self.visitor, self._turns = visitor, turns

    @property
    def ahead(self) -> int:
        """How many are before it; 0 when it is its turn."""
        with self._turns._changed:
            return self._place()

    def _place(self) -> int:
        try:
            return self._turns._tickets.index(self)
        except ValueError:
            return 0

    def ready(self, patience_s: float = 0.0) -> bool:
        """Whether it is its turn, after waiting at most `patience_s` seconds for it."""
        end = time.monotonic() + patience_s
        with self._turns._changed:
            while self._place():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._turns._changed.wait(left)
            return True

    def waiting(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """How many are before it, now and then, until it is its turn or `stopped()` says so."""
        while not self.ready(WAIT_S) and not stopped():
            yield self.ahead

    def leave(self) -> None:
        """Give the place up; harmless when it was left before."""
        with self._turns._changed:
            if self in self._turns._tickets:
                self._turns._tickets.remove(self)
                self._turns._changed.notify_all()

    def __enter__(self) -> "Ticket":
        for _ in self.waiting():
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
