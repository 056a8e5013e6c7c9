"""Clips to features, one pair at a time: threads decode the next clips while the networks work on the present one.

However many clips there are, only a few are held: the one at hand and those decoded ahead, which are bounded in number and in
bytes. What is kept of a clip is the caller's choice (`FeatureStats` keeps nothing of it). A clip that cannot be read is given
as `Unreadable`, for every source at once, and never as a zero.
"""

import ctypes
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.results import Unreadable
from eval_fid_fvd.sources import ClipSource
from worldmodel.errors import BadDataset, BadRequest, BadVideo, ClipTooShort

Array = np.ndarray
AHEAD = 2  # clips decoded before they are needed
AHEAD_BYTES = 256 * 1024**2  # of all clips decoded ahead; larger clips are decoded when they are needed
DECODERS = 2  # threads
M_MMAP_THRESHOLD, LARGE_BYTES = -3, 1024**2  # glibc's name for the limit (malloc.h), and the limit


@dataclass(frozen=True, kw_only=True)
class FrameWindow:
    """Which frames of every clip are read.

    Attributes:
        start: Frames left out at the start, such as those the model was given.
        frames: How many frames after those; None for all.
    """

    start: int = 0
    frames: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.frames is not None and self.frames < 1):
            raise BadRequest(
                f"a window of {self.frames} frames from frame {self.start} on; it needs a start of at least 0 and at least "
                "1 frame. Change --condition-frames or --frames."
            )

    def read(self, source: ClipSource, name: str) -> UInt8[Array, "time camera 3 h w"]:
        """The frames of one clip.

        Raises:
            ClipTooShort: if it has fewer than asked for; it is not cut to fit.
            BadVideo, BadDataset: if it cannot be read.
        """
        length = source.length(name)
        stop = length if self.frames is None else self.start + self.frames
        if stop > length or self.start >= length:
            raise ClipTooShort(
                f"clip '{name}' of {source.label} has {length} frames; {self.frames or 1} after {self.start} condition "
                "frame(s) are wanted. Ask for fewer with --frames."
            )
        return source.read(name, np.arange(self.start, stop))


@dataclass(frozen=True, eq=False, kw_only=True)
class DecodedClip:
    """One clip of every source.

    Attributes:
        name: The clip's name, the same in all sources.
        videos: Per source uint8 [time, camera, 3, h, w].
    """

    name: str
    videos: tuple[UInt8[Array, "time camera 3 h w"], ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipFeatures:
    """One clip of every source with its features.

    Attributes:
        name: The clip's name, the same in all sources.
        videos: Per source uint8 [time, camera, 3, h, w].
        pictures: Per source [time * camera, width], row `t * cameras + c`; empty without a network of pictures.
        clips: Per source [camera, width]; empty without a network of clips.
    """

    name: str
    videos: tuple[UInt8[Array, "time camera 3 h w"], ...]
    pictures: tuple[Float[Array, "frame width"], ...]
    clips: tuple[Float[Array, "camera width"], ...]


def extracted(
    sources: Sequence[ClipSource],
    networks: FeatureNetworks,
    *,
    window: FrameWindow | None = None,
    names: Iterable[str] | None = None,
    ahead: int = AHEAD,
) -> Iterator[ClipFeatures | Unreadable]:
    """Features of every clip, in order, one clip of all sources at a time.

    Args:
        sources: One source, or two or more whose clips have equal names (the generated and the real side).
        networks: What to compute; a kind without network is left out.
        window: Which frames; None for all.
        names: Which clips; None for all of the first source.
        ahead: Clips to decode before they are needed; 0 decodes in this thread.
    Raises:
        BadRequest: without sources.
        ClipTooShort: if a clip has fewer frames than asked for, or than a network needs.
        BadVideo: if a source gives something else than pictures.
    """
    for clip in decoded(sources, window=window, names=names, ahead=ahead):
        if isinstance(clip, Unreadable):
            yield clip
            continue
        yield ClipFeatures(
            name=clip.name,
            videos=clip.videos,
            pictures=tuple(of_pictures(networks.pictures, video) for video in clip.videos) if networks.pictures else (),
            clips=tuple(of_clips(networks.clips, video) for video in clip.videos) if networks.clips else (),
        )
        del clip


def of_pictures(network: FeatureNetwork, video: UInt8[Array, "time camera 3 h w"]) -> Float[Array, "frame width"]:
    """Features of every frame of every camera, row `t * cameras + c`."""
    return network.features(video.reshape(-1, *video.shape[2:]))


def of_clips(network: FeatureNetwork, video: UInt8[Array, "time camera 3 h w"]) -> Float[Array, "camera width"]:
    """Features of every camera's clip."""
    return network.features(video.swapaxes(0, 1))


def decoded(
    sources: Sequence[ClipSource],
    *,
    window: FrameWindow | None = None,
    names: Iterable[str] | None = None,
    ahead: int = AHEAD,
) -> Iterator[DecodedClip | Unreadable]:
    """Frames of every clip, in order; threads read the next ones meanwhile. Arguments and errors as `extracted`."""
    if not sources or ahead < 0:
        raise BadRequest(f"{len(sources)} sources, {ahead} clips ahead; at least 1 and 0 are needed. Change them.")
    return_large_blocks()
    reader = _Reader(sources=tuple(sources), window=window or FrameWindow())
    wanted = sources[0].names if names is None else names
    return map(reader.read, wanted) if ahead == 0 else _read_ahead(reader, wanted, ahead)


def return_large_blocks() -> None:
    """Let glibc give every block above LARGE_BYTES back to the system at once; elsewhere this does nothing.

    By itself it raises that limit to 32 MiB as large arrays come and go. Aligned blocks below it, such as a network's
    activations, then hardly ever fit into the holes they left, and memory grew by 2.5 MiB per clip.
    """
    if sys.platform == "linux" and (tune := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        tune(M_MMAP_THRESHOLD, LARGE_BYTES)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reader:
    sources: tuple[ClipSource, ...]
    window: FrameWindow

    def read(self, name: str) -> DecodedClip | Unreadable:
        try:
            return DecodedClip(name=name, videos=tuple(self.window.read(source, name) for source in self.sources))
        except (BadVideo, BadDataset) as error:
            return Unreadable(clip=name, message=str(error))


def _read_ahead(reader: _Reader, names: Iterable[str], ahead: int) -> Iterator[DecodedClip | Unreadable]:
    """Ordered results of a few threads; how far ahead they may go follows the size of the clip just read."""
    todo, waiting = iter(names), deque[Future[DecodedClip | Unreadable]]()
    room = 1  # until a size is known
    with ThreadPoolExecutor(max_workers=min(DECODERS, ahead), thread_name_prefix="decode") as pool:
        try:
            while True:
                _fill(waiting, pool, reader, todo, max(room, 1))
                if not waiting:
                    return
                clip = waiting.popleft().result()
                room = min(ahead, AHEAD_BYTES // _bytes(clip))
                _fill(waiting, pool, reader, todo, room)
                yield clip
                del clip  # or it would be held while the next one is waited for
        finally:
            for future in waiting:
                future.cancel()


def _fill(
    waiting: deque[Future[DecodedClip | Unreadable]],
    pool: ThreadPoolExecutor,
    reader: _Reader,
    todo: Iterator[str],
    room: int,
) -> None:
    while len(waiting) < room and (name := next(todo, None)) is not None:
        waiting.append(pool.submit(reader.read, name))


def _bytes(clip: DecodedClip | Unreadable) -> int:
    return max(1, sum(video.nbytes for video in clip.videos)) if isinstance(clip, DecodedClip) else 1
