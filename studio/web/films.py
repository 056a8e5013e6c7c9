"""The films that players show: frames kept as JPEG for one visitor, within bounds, gone when the tab closes."""

import base64
import io
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import BadRequest, BadVideo
from worldmodel.geometry import Array

QUALITY = 87  # of the JPEGs: no blocks to be seen in a mosaic of 968x160, about 30 kB
MAX_ANSWER_BYTES = 1_500_000  # one answer to a player; it asks again for the rest


@dataclass(frozen=True, kw_only=True)
class Track:
    """One of the pictures that a player shows at the same time.

    Attributes:
        name: How the code calls it.
        label: How the visitor sees it called.
        alt: What is seen, for those who cannot see it.
        imagined: Whether its frames after now were generated; the player marks them.
    """

    name: str
    label: str
    alt: str
    imagined: bool = False


@dataclass(eq=False)
class _Reel:
    """The frames of one track by index; b"" for those that are forgotten."""

    track: Track
    jpegs: list[bytes] = field(default_factory=list)
    size_px: tuple[int, int] = (0, 0)  # width, height
    size_bytes: int = 0
    done: bool = False


class Film:
    """What one player shows; `Films.begin` makes it, a run adds frames to it.

    Attributes:
        run: Names the film in the browser; too long to be guessed, so that it opens no one else's.
        rate_hz: Frames per second.
        start_s: Time of the first frame, in seconds from now.
        columns: How many tracks stand beside each other where there is room.
        expected: How many frames it is going to have, so that the scrubber need not grow; None if unknown.
        tiles: Where the cameras are in each frame (`components.tiles.tiles_of`), if frames are plain mosaics.
        stay: Whether the playhead stays where it is when the film shown before has the same tracks, start and rate.
    """

    def __init__(
        self,
        films: "Films",
        tracks: Sequence[Track],
        *,
        rate_hz: float,
        start_s: float,
        columns: int,
        expected: int | None,
        tiles: Sequence[Mapping[str, Any]],
        stay: bool,
    ) -> None:
        self.run = secrets.token_urlsafe(16)
        self.rate_hz, self.start_s, self.columns, self.expected = rate_hz, start_s, columns, expected
        self.tiles, self.stay = [dict(tile) for tile in tiles], stay
        self._films = films
        self._reels = {track.name: _Reel(track) for track in tracks}
        self._first = 0
        self._notes: list[tuple[float, str]] = []

    def add(self, track: str, frames: UInt8[Array, "n 3 h w"]) -> None:
        """Append frames to a track; frame i of every track belongs to `start_s + i / rate_hz`.

        Raises:
            BadRequest: if the film has no such track.
            BadVideo: if the frames are no uint8 pictures, or of another size than the track's.
        """
        reel = self._reel(track)
        if frames.ndim != 4 or frames.shape[1] != 3 or frames.dtype != np.uint8:
            raise BadVideo(f"a film takes uint8 pictures [n, 3, h, w]; got {frames.dtype} {frames.shape}.")
        size = (frames.shape[3], frames.shape[2])
        if reel.jpegs and len(frames) and size != reel.size_px:
            raise BadVideo(
                f"track '{track}' has pictures of {reel.size_px[0]}x{reel.size_px[1]} pixels and was given {size[0]}x{size[1]}. "
                "Resize them, or begin another film."
            )
        jpegs = [jpeg_of(frame) for frame in frames]
        with self._films.lock:
            if len(frames):
                reel.size_px = size
            reel.jpegs += jpegs
            reel.size_bytes += sum(map(len, jpegs))
            self._films.make_room(self)

    def note(self, from_s: float, text: str) -> None:
        """Say what holds from a time on, e.g. the instruction; shown as a strip below the scrubber."""
        with self._films.lock:
            self._notes = sorted([*((at, said) for at, said in self._notes if at != from_s), (from_s, text)])

    def end(self, track: str | None = None) -> None:
        """No frames follow: in one track (a recording that is complete), or at all."""
        with self._films.lock:
            for reel in self._reels.values() if track is None else [self._reel(track)]:
                reel.done = True

    def value(self) -> dict[str, Any]:
        """What a player is given: names and counts, never pictures; the player fetches those it lacks."""
        with self._films.lock:
            return {
                "run": self.run,
                "rate_hz": self.rate_hz,
                "start_s": self.start_s,
                "columns": self.columns,
                "expected": self.expected,
                "tiles": self.tiles,
                "stay": self.stay,
                "first": self._first,
                "notes": [list(note) for note in self._notes],
                "tracks": [self._about(reel) for reel in self._reels.values()],
            }

    @property
    def size_bytes(self) -> int:
        """Of all its pictures."""
        return sum(reel.size_bytes for reel in self._reels.values())

    def forget(self, bound_bytes: int) -> None:
        """Drop the oldest frames of all tracks until it is no larger than that; the very newest stays."""
        longest = max((len(reel.jpegs) for reel in self._reels.values()), default=0)
        while self.size_bytes > bound_bytes and self._first < longest - 1:
            self._first = min(longest - 1, self._first + max(1, longest // 16))
            for reel in self._reels.values():
                reel.size_bytes -= sum(map(len, reel.jpegs[: self._first]))
                reel.jpegs[: self._first] = [b""] * min(self._first, len(reel.jpegs))

    def answer(self, have: Mapping[str, int]) -> dict[str, Any]:
        """Frames that a player lacks, the earliest of all tracks first, at most about MAX_ANSWER_BYTES of them.

        Args:
            have: Per track, the index of the next frame it needs.
        """
        with self._films.lock:
            starts = {name: max(have.get(name, 0), self._first) for name in self._reels}
            taken: dict[str, list[str]] = {name: [] for name in self._reels}
            size = 0
            for at in range(min(starts.values()), max(len(reel.jpegs) for reel in self._reels.values())):
                for name, reel in self._reels.items():
                    if starts[name] <= at < len(reel.jpegs):
                        taken[name].append(base64.b64encode(reel.jpegs[at]).decode())
                        size += len(reel.jpegs[at])
                if size > MAX_ANSWER_BYTES:
                    break
            frames = {name: {"from": starts[name], "jpegs": jpegs} for name, jpegs in taken.items()}
            return {"film": self.value(), "frames": frames}

    def _reel(self, track: str) -> _Reel:
        if track not in self._reels:
            raise BadRequest(f"the film has no track '{track}'. Its tracks are: {', '.join(self._reels)}.")
        return self._reels[track]

    def _about(self, reel: _Reel) -> dict[str, Any]:
        track = reel.track
        about = {"name": track.name, "label": track.label, "alt": track.alt, "imagined": track.imagined}
        return {**about, "count": len(reel.jpegs), "done": reel.done, "size": list(reel.size_px)}


class Films:
    """All visitors' films, in memory.

    Attributes:
        bytes_each: What one visitor's films may take; older films go first, then the oldest frames of the newest.
        films_each: How many films of one visitor are kept.
        bytes_all: Of the films of all visitors together; those that were begun first go.
        lock: Guards all films.
    """

    def __init__(self, *, bytes_each: int = 96_000_000, films_each: int = 6, bytes_all: int = 1_500_000_000) -> None:
        self.bytes_each, self.films_each, self.bytes_all = bytes_each, films_each, bytes_all
        self.lock = threading.RLock()
        self._shelves: dict[str, list[Film]] = {}
        self._by_run: dict[str, Film] = {}

    def begin(
        self,
        session: str,
        tracks: Sequence[Track],
        *,
        rate_hz: float,
        start_s: float = 0.0,
        columns: int = 1,
        expected: int | None = None,
        tiles: Sequence[Mapping[str, Any]] = (),
        stay: bool = False,
    ) -> Film:
        """A new film of a visitor, without frames.

        Args:
            session: The visitor.
            tracks: What is shown at the same time, in this order; names differ.
            rate_hz: Frames per second.
            start_s: Time of the first frame; 0 is now, the past is negative.
            columns: How many tracks stand beside each other where there is room.
            expected: How many frames there will be, if that is known.
            tiles: `components.tiles.tiles_of(rig)` for frames of `overlays.mosaic`: lets a narrow screen enlarge the front.
            stay: For another version of the same moments, so that the playhead need not go back to the start.
        """
        film = Film(
            self, tracks, rate_hz=rate_hz, start_s=start_s, columns=columns, expected=expected, tiles=tiles, stay=stay
        )
        with self.lock:
            self._shelves.setdefault(session, []).append(film)
            self._by_run[film.run] = film
            self.make_room(film)
        return film

    def pull(self, request: object) -> dict[str, Any]:
        """Answer a player that asks `{"run": RUN, "have": {TRACK: NEXT_INDEX}}`; {"gone": True} for what is no more.

        The request comes from a browser: whatever is not understood is treated as a film that does not exist.
        """
        if not isinstance(request, dict):
            return {"gone": True}
        run, have = request.get("run"), request.get("have")
        film = self._by_run.get(run) if isinstance(run, str) else None
        if film is None or not isinstance(have, dict):
            return {"gone": True}
        return film.answer({str(name): at for name, at in have.items() if isinstance(at, int)})

    def close(self, session: str) -> None:
        """The tab is closed: the visitor's films are gone; a run that still adds to one adds to nothing kept."""
        with self.lock:
            for film in self._shelves.pop(session, []):
                self._by_run.pop(film.run, None)

    def close_all(self) -> None:
        """The server ends."""
        with self.lock:
            self._shelves.clear()
            self._by_run.clear()

    def make_room(self, newest: Film) -> None:
        """Keep a visitor, and all together, within bounds after a film grew."""
        if newest.run not in self._by_run:
            newest.forget(0)  # closed meanwhile
            return
        shelf = next(shelf for shelf in self._shelves.values() if newest in shelf)
        while len(shelf) > 1 and (
            len(shelf) > self.films_each or sum(film.size_bytes for film in shelf) > self.bytes_each
        ):
            self._drop(next(film for film in shelf if film is not newest))
        newest.forget(self.bytes_each)
        while len(self._by_run) > 1 and sum(film.size_bytes for film in self._by_run.values()) > self.bytes_all:
            self._drop(next(film for film in self._by_run.values() if film is not newest))

    def _drop(self, film: Film) -> None:
        del self._by_run[film.run]
        for session, shelf in list(self._shelves.items()):
            if film in shelf:
                shelf.remove(film)
            if not shelf:
                del self._shelves[session]


def jpeg_of(frame: UInt8[Array, "3 h w"]) -> bytes:
    """One picture as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
