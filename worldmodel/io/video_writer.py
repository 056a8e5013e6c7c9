"""H.264 as it comes: frames are encoded one after the other, and finished videos are joined without encoding them again."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.errors import BadRequest, BadVideo, DiskFull, OutputExists

Array = np.ndarray
KEYFRAME_EVERY = 8  # frames; short, so that random access decodes little
_RATE_STEPS = 100_000  # rates are fractions with at most this denominator


@contextmanager
def video_writer(
    path: Path | str, frequency_hz: float, crf: int = 18, *, comment: str = ""
) -> Iterator[Callable[[Array], None]]:
    """Write a video piece by piece, with the bytes that `write_video` gives for all pieces at once; whole or not at all.

    The block gets a function that takes RGB uint8 [n, 3, height, width]; the file is there when the block has ended well.

    Args:
        path: Where to; an existing file is replaced once the new one is complete.
        frequency_hz: Frames per second.
        crf: Quality of x264, 0 (exact luma) to 51; 18 looks like the original.
        comment: Text for the file's metadata, for example 'imagined'.
    Raises:
        BadVideo: if a piece is not uint8 [n, 3, h, w], n >= 1, with even sides like the first one's, or none came.
        BadRequest: if the rate or the quality is out of range.
        OutputExists: if the file cannot be written.
    """
    path = Path(path)
    check_rate(frequency_hz, crf)
    with new_video(path) as temporary, encoding(temporary, frequency_hz, crf, comment) as add:

        def checked(frames: Array) -> None:
            check_frames(path, frames)
            add(frames)

        yield checked


@contextmanager
def new_video(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place when the block ends well.

    Raises:
        OutputExists: if the disk refuses; DiskFull, which is one, if nothing more fits.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial.mp4")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else OutputExists)(
            f"cannot write '{path}': {error}. Choose a folder you may write to, with free space."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_frames(path: Path, frames: Array) -> None:
    """Say why pictures cannot be written.

    Raises:
        BadVideo: if they are not uint8 [n, 3, h, w], n >= 1, with even sides.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise BadVideo(f"'{path.name}' would hold {frames.dtype} {frames.shape}; it needs uint8 [n >= 1, 3, h, w].")
    height, width = frames.shape[2:]
    if height % 2 or width % 2 or not height or not width:
        raise BadVideo(
            f"pictures of {width}x{height} px cannot be written to '{path.name}': H.264 (yuv420p) needs even sides. "
            "Crop or resize by one pixel."
        )


def check_rate(frequency_hz: float, crf: int) -> None:
    """Say why a rate or a quality makes no sense.

    Raises:
        BadRequest: if one is out of range.
    """
    if not (np.isfinite(frequency_hz) and 0.01 <= frequency_hz <= 1000):
        raise BadRequest(f"a video rate of {frequency_hz} Hz is asked for; it must lie between 0.01 and 1000 Hz.")
    if not 0 <= crf <= 51:
        raise BadRequest(f"crf {crf} is asked for; it must lie between 0 and 51 (18 looks like the original).")


@contextmanager
def encoding(path: Path, frequency_hz: float, crf: int, comment: str) -> Iterator[Callable[[Array], None]]:
    """An open encoder as a function of checked frames [n, 3, h, w]; the file is complete when the block has ended well."""
    import av

    rate = Fraction(frequency_hz).limit_denominator(_RATE_STEPS)
    with av.open(str(path), "w") as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # x264's bytes depend on the number of threads
        # x264's macroblock tree reads memory it never wrote: now and then the same frames became other bytes.
        stream.options = {"crf": str(crf), "g": str(KEYFRAME_EVERY), "bf": "0", "preset": "veryfast", "mbtree": "0"}
        written = 0

        def add(frames: Array) -> None:
            nonlocal written
            size = frames.shape[2:]
            if not written:
                stream.height, stream.width = size
            elif (stream.height, stream.width) != size:
                raise BadVideo(
                    f"'{path.name}' has pictures of {stream.width}x{stream.height} px and got some of "
                    f"{size[1]}x{size[0]}; all must have one size. Resize them."
                )
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24")
                frame.pts, frame.time_base = written, 1 / rate
                container.mux(stream.encode(frame))
                written += 1

        yield add
        if not written:
            raise BadVideo(f"'{path.name}' got no pictures; a video needs at least one. Add some.")
        container.mux(stream.encode(None))


def join_videos(parts: Iterable[Path], path: Path | str, *, comment: str = "") -> int:
    """Put videos of `video_writer` after each other, packet by packet; returns the number of frames.

    Nothing is encoded again: every frame decodes as in its part. The table of contents stands in front, so that players
    begin before all is loaded. Only one part is open at a time; a generator may fetch each when its turn comes.

    Raises:
        BadVideo: if there is no part, one cannot be read, or one was written with another size, rate or encoder.
        OutputExists: if the file cannot be written.
    """
    import av

    path = Path(path)
    with new_video(path) as temporary, av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
        if comment:
            container.metadata["comment"] = comment
        joined = _Joined(container)
        for part in parts:
            joined.add(part)
        if not joined.frames:
            raise BadVideo(f"'{path.name}' would be joined from no videos; at least one is needed. Name some.")
    return joined.frames


class _Joined:
    """A video under way to which the packets of finished ones are added."""

    def __init__(self, container: Any) -> None:
        self._container: Any = container
        self._stream: Any = None
        self._kind: Any = None
        self.frames = 0

    def add(self, part: Path) -> None:
        """All packets of one part, shown from where the last one ended."""
        begin = self.frames
        for packet in _packets(part):
            if self.frames == begin:
                self._check(part, packet.stream)
            step = 1 / packet.stream.average_rate / packet.time_base
            packet.pts, packet.dts = (round(value + begin * step) for value in (packet.pts, packet.dts))
            packet.duration = round(step)
            packet.stream = self._stream
            self._container.mux_one(packet)
            self.frames += 1

    def _check(self, part: Path, come: Any) -> None:
        """The first part says what the video is like; all others must be like it."""
        context, rate = come.codec_context, come.average_rate
        kind = (context.name, context.width, context.height, rate, context.extradata)
        if self._stream is None:
            self._stream, self._kind = self._container.add_stream_from_template(come), kind
        elif kind != self._kind:
            raise BadVideo(
                f"'{part.name}' is {context.width}x{context.height} at {rate} Hz and was not written like the part "
                "before; all must share size, rate and encoder. Write them again."
            )


def _packets(part: Path) -> Iterator[Any]:
    import av

    try:
        with av.open(str(part)) as source:
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    yield packet
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise BadVideo(f"'{part}' cannot be joined to others ({error}). Write it again.") from error
