"""Video files in and out: frame-exact reading (decord or PyAV), H.264 writing, limits checked before decoding.

A frame's number is its place in *presentation* order. All packets are listed once without decoding, so the number
of frames, their times and the key frames are known before a picture is touched. decord reads where it is installed
and where its pictures were found to be bit-identical to PyAV's (8-bit 4:2:0 H.264 in the usual colour spaces, no
open groups of pictures, and both agree on every frame's time); everything else goes through PyAV.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadRequest, BadVideo
from worldmodel.io.video_writer import check_frames, check_rate, encoding, new_video

Array = np.ndarray
Backend = Literal["auto", "decord", "pyav"]

MAX_PIXELS = 4096 * 2304  # per picture; a larger one is a mistake or an attack
MAX_FRAMES = 400_000  # over three hours at 30 Hz
MAX_DURATION_S = 4 * 3600.0
MAX_DECODED_BYTES = 16 * 1024**3  # of one call
DECORD_FORMATS = ("yuv420p", "yuvj420p")
DECORD_COLOUR_SPACES = (1, 2, 5, 6)  # BT.709, unspecified, BT.601 twice: both libraries convert these alike


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video file holds.

    Attributes:
        width_px, height_px: Size of its pictures.
        frames: Number of pictures that will be shown.
        frequency_hz: Mean rate; the true times may be uneven.
    """

    width_px: int
    height_px: int
    frames: int
    frequency_hz: float


@dataclass(frozen=True, eq=False, kw_only=True)
class _Packets:
    """Every frame of a file in presentation order, known without decoding."""

    info: VideoInfo
    pts: Array  # [frames] int64, in units of `time_base`
    key_dts: Array  # [frames] int64: where to seek to decode this frame
    key_index: Array  # [frames] int64: number of the key frame that opens its group
    time_base: Fraction
    decord_agrees: bool  # codec and colours for which decord gives the same bits


def probe(path: Path | str) -> VideoInfo:
    """Size, number of frames and mean rate of a video, without decoding it.

    Raises:
        BadVideo: if the file is missing, empty, truncated, not a video, or beyond the limits of this module.
    """
    return _packets(Path(path)).info


def frame_times(path: Path | str) -> Float[Array, " frames"]:
    """Seconds of every frame from the first one, as the file has them.

    Raises:
        BadVideo: as `probe`.
    """
    packets = _packets(Path(path))
    return (packets.pts - packets.pts[0]) * float(packets.time_base)


def read_frames(
    path: Path | str, indices: Sequence[int] | Array | None = None, *, backend: Backend = "auto"
) -> UInt8[Array, "n 3 height width"]:
    """Pictures of a video, RGB uint8 [n, 3, height, width], in the order asked for (repeats are fine).

    Args:
        path: The video file.
        indices: Frame numbers from 0; None for all.
        backend: 'auto' picks decord where its frames are known to equal PyAV's, else PyAV.
    Raises:
        BadVideo: if the file cannot be read, or the frames would need more than MAX_DECODED_BYTES.
        BadRequest: if a frame number does not exist.
    """
    path = Path(path)
    packets = _packets(path)
    wanted = _wanted(path, packets.info, indices)
    if not len(wanted):
        return np.zeros((0, 3, packets.info.height_px, packets.info.width_px), np.uint8)
    reader = _read_with_decord if backend != "pyav" and _decord_reads(path, packets, backend) else _read_with_pyav
    unique, inverse = np.unique(wanted, return_inverse=True)
    frames = reader(path, packets, unique)
    ordered = frames if np.array_equal(unique, wanted) else frames[inverse]
    return np.ascontiguousarray(ordered.transpose(0, 3, 1, 2))


def write_video(
    path: Path | str,
    frames: UInt8[Array, "n 3 height width"],
    frequency_hz: float,
    crf: int = 18,
    *,
    comment: str = "",
) -> None:
    """Write RGB pictures as H.264 (yuv420p, no B-frames, frequent key frames) in an mp4; whole or not at all.

    Args:
        path: Where to; an existing file is replaced once the new one is complete.
        frames: RGB uint8 [n, 3, height, width], both sides even.
        frequency_hz: Frames per second.
        crf: Quality of x264, 0 (exact luma) to 51; 18 looks like the original.
        comment: Text for the file's metadata, for example 'imagined'.
    Raises:
        BadVideo: if the pictures are not uint8 [n, 3, h, w], n >= 1, with even sides.
        BadRequest: if the rate or the quality is out of range.
        OutputExists: if the file cannot be written.
    """
    path, frames = Path(path), np.asarray(frames)
    check_frames(path, frames)
    check_rate(frequency_hz, crf)
    with new_video(path) as temporary:
        _encode(temporary, frames, frequency_hz, crf, comment)


def _encode(path: Path, frames: Array, frequency_hz: float, crf: int, comment: str) -> None:
    with encoding(path, frequency_hz, crf, comment) as add:
        add(frames)


def _wanted(path: Path, info: VideoInfo, indices: Sequence[int] | Array | None) -> Array:
    wanted = np.arange(info.frames) if indices is None else np.asarray(indices, np.int64).reshape(-1)
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= info.frames):
        raise BadRequest(
            f"frames {wanted.min()} to {wanted.max()} of '{path}' are wanted, but it has frames 0 to {info.frames - 1}."
        )
    size = len(wanted) * info.width_px * info.height_px * 3
    if size > MAX_DECODED_BYTES:
        raise BadVideo(
            f"{len(wanted)} frames of {info.width_px}x{info.height_px} from '{path}' need {size / 1024**3:.1f} GiB; "
            f"at most {MAX_DECODED_BYTES / 1024**3:.0f} are read at once. Read fewer frames at a time."
        )
    return wanted


def _packets(path: Path) -> _Packets:
    try:
        status = path.stat()
    except OSError as error:
        raise BadVideo(f"'{path}' cannot be read: {error.strerror}. Check the path.") from error
    if not path.is_file() or not status.st_size:
        raise BadVideo(f"'{path}' is empty or not a file. Record or copy the video again.")
    return _list_packets(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=512)
def _list_packets(path: str, _mtime_ns: int, _size: int) -> _Packets:
    """List the packets of one version of a file (time and size are only cache keys)."""
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise BadVideo(f"'{path}' has no video stream. Give a video file such as an mp4.")
            stream = container.streams.video[0]
            _check_limits(path, stream)
            rows = _packet_rows(path, container, stream)
            return _sorted_packets(path, stream, rows)
    except (av.error.FFmpegError, EOFError) as error:
        raise BadVideo(
            f"'{path}' is not a readable video ({type(error).__name__}): it is cut off, damaged or of another type. "
            "Record or copy it again, or convert it with ffmpeg."
        ) from error


def _check_limits(path: str, stream: Any) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise BadVideo(f"'{path}' has pictures of {width}x{height} px; at most {MAX_PIXELS} pixels. Scale it down.")
    if stream.frames > MAX_FRAMES or seconds > MAX_DURATION_S:
        raise BadVideo(
            f"'{path}' has {stream.frames} frames and lasts {seconds:.0f} s; at most {MAX_FRAMES} frames "
            f"and {MAX_DURATION_S:.0f} s. Cut it into shorter files."
        )


def _packet_rows(path: str, container: Any, stream: Any) -> list[tuple[int, int, bool]]:
    """(pts, dts, is key frame) of every packet that will be shown, in decoding order."""
    rows: list[tuple[int, int, bool]] = []
    found = 0
    for packet in container.demux(stream):
        if packet.size == 0:
            continue  # the flush packet at the end
        found += 1
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is not None and not packet.is_discard:
            rows.append((pts, packet.dts if packet.dts is not None else pts, packet.is_keyframe))
        if found > MAX_FRAMES:
            raise BadVideo(f"'{path}' has more than {MAX_FRAMES} frames. Cut it into shorter files.")
    if not rows or found < stream.frames:
        raise BadVideo(
            f"'{path}' announces {stream.frames} frames, but only {len(rows)} are in the file: it is cut off. "
            "Copy it again, or repair it with ffmpeg."
        )
    return rows


def _sorted_packets(path: str, stream: Any, rows: list[tuple[int, int, bool]]) -> _Packets:
    open_groups = _has_open_groups(rows)
    rows = sorted(rows)
    pts = np.array([row[0] for row in rows], np.int64)
    if (np.diff(pts) <= 0).any():
        raise BadVideo(f"'{path}' shows two frames at the same time. Convert it with ffmpeg to a constant rate.")
    keys = np.array([row[2] for row in rows])
    keys[0] = True
    key_index = np.maximum.accumulate(np.where(keys, np.arange(len(rows)), 0))
    context = stream.codec_context
    rate = stream.average_rate or Fraction(1)
    info = VideoInfo(width_px=context.width, height_px=context.height, frames=len(rows), frequency_hz=float(rate))
    return _Packets(
        info=info,
        pts=pts,
        key_dts=np.array([row[1] for row in rows], np.int64)[key_index],
        key_index=key_index,
        time_base=Fraction(stream.time_base),
        decord_agrees=context.name == "h264"
        and context.pix_fmt in DECORD_FORMATS
        and int(context.colorspace) in DECORD_COLOUR_SPACES
        and not open_groups,
    )


def _has_open_groups(rows: list[tuple[int, int, bool]]) -> bool:
    """Whether a frame is decoded after a key frame but shown before it: decord decodes such frames wrongly."""
    newest_key = rows[0][0]
    for pts, _, is_key in rows:
        if pts < newest_key:
            return True
        newest_key = pts if is_key else newest_key
    return False


def _read_with_pyav(path: Path, packets: _Packets, numbers: Array) -> Array:
    """Decode sorted, different frame numbers; [n, height, width, 3]."""
    import av

    info = packets.info
    out = np.empty((len(numbers), info.height_px, info.width_px, 3), np.uint8)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for row, frame in enumerate(_frames_at(path, container, stream, packets, numbers)):
                if (frame.width, frame.height) != (info.width_px, info.height_px):
                    raise BadVideo(f"'{path}' changes its size at frame {numbers[row]}. Convert it to one size.")
                out[row] = frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, EOFError) as error:
        raise BadVideo(f"'{path}' cannot be decoded ({error}). Copy or convert it again.") from error
    return out


def _frames_at(path: Path, container: Any, stream: Any, packets: _Packets, numbers: Array) -> Iterator[Any]:
    """The decoded frames at sorted numbers: forward where possible, else from the key frame before."""
    decoded: Iterator[Any] = iter(())
    position = -1  # number of the newest decoded frame
    for number in numbers.tolist():
        if position < 0 or packets.key_index[number] > position:
            container.seek(int(packets.key_dts[number]), stream=stream, backward=True)
            decoded = container.decode(stream)
        frame = _advance(decoded, packets.pts[number])
        if frame is None:  # the container's index pointed behind the frame: decode from the start
            container.seek(int(min(packets.pts[0], packets.key_dts[0])), stream=stream, backward=True)
            decoded = container.decode(stream)
            frame = _advance(decoded, packets.pts[number])
        if frame is None or frame.is_corrupt:
            raise BadVideo(f"frame {number} of '{path}' is damaged or missing. Copy or convert the video again.")
        position = number
        yield frame


def _advance(decoded: Iterator[Any], pts: int) -> Any | None:
    for frame in decoded:
        if frame.pts is not None and frame.pts >= pts:
            return frame if frame.pts == pts else None
    return None


def _decord_reads(path: Path, packets: _Packets, backend: Backend) -> bool:
    if importlib.util.find_spec("decord") is None:
        if backend == "decord":
            raise BadRequest("decord is not installed here. Install it, or read with backend='pyav' (the same frames).")
        return False
    return packets.decord_agrees and _decord_sees(path, packets)


@lru_cache(maxsize=512)
def _decord_sees(path: Path, packets: _Packets) -> bool:
    """Whether decord counts the frames of this version of a file as we do, and shows them at the same times."""
    reader = _open_decord(path)
    if reader is None or len(reader) != packets.info.frames:
        return False
    starts = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    return bool(np.abs(starts - packets.pts * float(packets.time_base)).max() < 1e-3)


def _open_decord(path: Path) -> Any | None:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(str(path), num_threads=1)
    except decord.DECORDError:
        return None  # PyAV can read it, as the list of packets shows


def _read_with_decord(path: Path, packets: _Packets, numbers: Array) -> Array:
    """Read sorted, different frame numbers with decord; [n, height, width, 3]."""
    import decord

    reader = _open_decord(path)
    if reader is None:
        return _read_with_pyav(path, packets, numbers)
    try:
        return np.asarray(reader.get_batch(numbers.tolist()).asnumpy())
    except decord.DECORDError:
        return _read_with_pyav(path, packets, numbers)  # which names the damaged frame
