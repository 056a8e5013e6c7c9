"""Frames of both sides of a comparison, one above the other in time, to look at what the numbers are about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from studio.scoring import ScoreRequest
from studio.web.films import Film, Films, Track
from worldmodel.errors import DetourError
from worldmodel.geometry import Array

if TYPE_CHECKING:
    from eval_fid_fvd.sources import ClipSource
    from studio.score_sides import Sides

MOST_FRAMES = 80
USUAL_HZ = 8.0
MOST_WIDTH_PX = 480  # of one camera


@dataclass(frozen=True, eq=False, kw_only=True)
class Pairing:
    """One clip of both sides, frame by frame at the same times.

    Attributes:
        clip: Its name.
        a, b: uint8 [time, 3, height, width], the cameras beside each other; equal shapes.
        frequency_hz: Frames per second.
        of_a_run: Whether `a` was imagined by a run.
    """

    clip: str
    a: UInt8[Array, "time 3 height width"]
    b: UInt8[Array, "time 3 height width"]
    frequency_hz: float
    of_a_run: bool


def first_pair(request: ScoreRequest) -> Pairing | None:
    """The first clip that both sides have, at most MOST_FRAMES of it; None where there is none or it cannot be read."""
    from studio.score_sides import sides_of

    try:
        sides = sides_of(request.a, request.b, request.video)
        return _pair(sides, request.condition_frames or 0)
    except DetourError:
        return None  # the scores say which clips could not be read


def film_of(films: Films, session: str, pair: Pairing) -> Film:
    """Both sides of one clip as a film of a visitor."""
    tracks = [
        Track(name="a", label="Generated side", alt=f"Generated side, clip {pair.clip}, all cameras.", imagined=pair.of_a_run),
        Track(name="b", label="Real side", alt=f"Real side, clip {pair.clip}, all cameras."),
    ]  # fmt: skip
    film = films.begin(session, rate_hz=pair.frequency_hz, start_s=1 / pair.frequency_hz, tracks=tracks)
    film.add("a", np.ascontiguousarray(pair.a))
    film.add("b", np.ascontiguousarray(pair.b))
    film.end()
    return film


def _pair(sides: "Sides", skipped: int) -> Pairing | None:
    shared = sorted(set(sides.a.names) & set(sides.b.names))
    if not shared or len(sides.a.cameras) != len(sides.b.cameras):
        return None
    name = shared[0]
    rates = [side.frequency_hz or USUAL_HZ for side in (sides.a, sides.b)]
    rate = min(rates)
    strides = [max(1, round(one / rate)) for one in rates]
    lengths = [side.length(name) // stride for side, stride in zip((sides.a, sides.b), strides, strict=True)]
    first, last = min(skipped, min(lengths) - 1), min(*lengths, skipped + MOST_FRAMES)
    frames = np.arange(first, last)
    a = _row(sides.a, name, frames * strides[0], None)
    height, width = a[0].shape[-2:]
    b = _row(sides.b, name, frames * strides[1], (width, height))
    return Pairing(clip=name, a=_beside(a), b=_beside(b), frequency_hz=rate, of_a_run=sides.of_a_run)


def _row(
    side: "ClipSource", name: str, frames: Array, size: tuple[int, int] | None
) -> list[UInt8[Array, "time 3 height width"]]:
    """The cameras of a clip from left to right, each brought to a size (or to at most MOST_WIDTH_PX)."""
    from worldmodel.pictures import resize_video

    video = side.read(name, frames)
    height, width = video.shape[-2:]
    if size is None:
        share = min(1.0, MOST_WIDTH_PX / width)
        size = (max(2, round(width * share)), max(2, round(height * share)))
    if size != (width, height):
        video = resize_video(video, *size)
    order = sorted(range(len(side.cameras)), key=lambda c: (_sideways(side.cameras[c]), side.cameras[c]))
    return [video[:, c] for c in order]


def _sideways(camera: str) -> int:
    """-1 for a camera named after the left, 1 after the right, else 0."""
    return ("right" in camera.lower()) - ("left" in camera.lower())


def _beside(cameras: list[UInt8[Array, "time 3 height width"]]) -> UInt8[Array, "time 3 height width"]:
    return np.concatenate(cameras, axis=3)
