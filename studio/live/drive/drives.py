"""The drives of all visitors: one each, freed when nobody has asked for more of it for a while."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.web.films import Film
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from studio.live.drive.driving import Driving

IDLE_S = 20.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Seat:
    """A visitor's drive, what its player shows, and how it is told on the command line and in links.

    Attributes:
        driving: Under way, or over with what was recorded.
        film: What the player shows.
        clip: Where it began: DATASET:EPISODE@SECONDS.
        stopped: Whether the visitor stopped it, or left.
        used_s: When somebody last asked for it.
    """

    driving: "Driving"
    film: Film
    clip: str
    stopped: Callable[[], bool] = lambda: False
    used_s: float = 0.0


class Drives:
    """One drive per visitor.

    Attributes:
        idle_s: A drive that nobody asks anything for so long is over, and its memory freed.
    """

    def __init__(self, idle_s: float = IDLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.idle_s, self._clock = idle_s, clock
        self._seats: dict[str, Seat] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __len__(self) -> int:
        return len(self._seats)

    def begin(self, session: str, seat: Seat) -> None:
        """A visitor's drive; the one before is over, and what was recorded of it is gone."""
        self.end(session, "you began another one.")
        with self._lock:
            if before := self._seats.get(session):
                before.driving.forget()
            self._seats[session] = replace(seat, used_s=self._clock())
            self._watch()

    def of(self, session: str) -> Seat:
        """A visitor's drive, which is thereby in use.

        Raises:
            BadRequest: if there is none.
        """
        seat = self.find(session)
        if seat is None:
            raise BadRequest("you have not driven yet; nothing can go on or be kept. Press 'Drive'.")
        return seat

    def find(self, session: str) -> Seat | None:
        """`of`, but None when there is none."""
        with self._lock:
            if session not in self._seats:
                return None
            self._seats[session] = seat = replace(self._seats[session], used_s=self._clock())
            return seat

    def end(self, session: str, why: str) -> None:
        """A drive is over; what was recorded stays until the visitor leaves. Harmless when there is none."""
        with self._lock:
            seat = self._seats.get(session)
        if seat is not None:
            self._release(seat, why)

    def free_idle(self) -> None:
        """End the drives that nobody asked anything for a while, and forget those of visitors who left."""
        with self._lock:
            latest = self._clock() - self.idle_s
            idle = [seat for seat in self._seats.values() if seat.used_s <= latest]
            self._seats = {who: seat for who, seat in self._seats.items() if seat.driving.folder.is_dir()}
            self._timer = None
            self._watch()
        for seat in idle:
            self._release(seat, f"nobody drove for {self.idle_s:g} s.")

    @staticmethod
    def _release(seat: Seat, why: str) -> None:
        with seat.driving.lock:
            seat.driving.release(why)
        seat.film.end()

    def _watch(self) -> None:
        """Look again later, as long as there is a drive."""
        if self._timer is None and self._seats:
            self._timer = threading.Timer(self.idle_s / 2, self.free_idle)
            self._timer.daemon = True
            self._timer.start()
