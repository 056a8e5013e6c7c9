"""What an uploaded file is, told from its bytes alone: nothing is decoded, and its name is not believed.

A reader of videos may reserve memory for as many frames as a file claims to have, so the claims of an mp4 or mov are
read here first, by walking over its boxes (ISO/IEC 14496-12).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from worldmodel.errors import BadVideo

HEAD_BYTES = 64
TEXT_BYTES = 65536  # of a file, before it counts as text
MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PAR1", "parquet"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!", "rar"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
    (b"%PDF", "pdf"),
)
VIDEOS = ("mp4", "matroska")
PICTURES = ("png", "jpeg", "gif", "bmp", "webp", "heif")
ARCHIVES = ("zip", "gzip", "bzip2", "xz", "7z", "rar")
PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"avif", b"avis", b"msf1")

MOST_BOXES = 20_000
MOST_EDITS = 16  # each may repeat the whole video in the reader's index
MOST_SOUNDS = 60_000_000  # twenty minutes of uncompressed sound at 48 kHz
OPENED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"edts")
READ = (b"hdlr", b"stsz", b"stz2", b"stts", b"stsd", b"mvhd", b"mdhd", b"elst", b"trun", b"cmov")


def kind_of(path: Path) -> str:
    """'mp4', 'matroska', 'zip', 'parquet', 'png', 'text', ...; 'unknown' for other bytes, 'empty' for none.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(TEXT_BYTES)
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return "heif" if head[8:12] in PICTURE_BRANDS else "mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"  # an old QuickTime file begins without a type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    known = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    return known or ("text" if _is_text(head) else "unknown")


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == TEXT_BYTES  # a letter was cut in two
    return True


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height that a PNG's first bytes say, in pixels; None for other files."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:8] != MAGIC[0][0] or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def lines_of(path: Path) -> tuple[int, int]:
    """Number of lines of a text file, and bytes of its longest one; read piece by piece."""
    lines, longest, open_line = 0, 0, 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            first, *others = piece.split(b"\n")
            open_line += len(first)
            for other in others:
                longest, lines, open_line = max(longest, open_line), lines + 1, len(other)
    return lines + (open_line > 0), max(longest, open_line)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What the boxes of an mp4 or mov say; none of it is checked against the pictures.

    Attributes:
        frames: Of the longest picture track.
        seconds: Of the longest track.
        width_px, height_px: Of the largest picture track.
    """

    frames: int = 0
    seconds: float = 0.0
    width_px: int = 0
    height_px: int = 0


def claims_of(path: Path) -> Claims:
    """What an mp4 or mov claims, from its boxes alone.

    Raises:
        BadVideo: if the boxes do not fit into the file, or there are absurdly many.
    """
    with path.open("rb") as file:
        return _claims(file, path.stat().st_size)


def _claims(file: BinaryIO, size: int) -> Claims:
    known, sounds, fragments, is_sound = Claims(), 0, 0, False
    for kind, body in _boxes(file, size):
        if kind == b"trak":
            is_sound = False
        elif kind == b"hdlr":
            is_sound = body[8:12] == b"soun"
        elif kind in (b"mvhd", b"mdhd"):
            known = replace(known, seconds=max(known.seconds, _seconds(body)))
        elif kind == b"elst":
            _check_edits(body)
        elif kind == b"cmov":
            raise BadVideo("its table of contents is packed, which is not read. Convert it with ffmpeg.")
        elif kind in (b"stsz", b"stz2", b"stts"):
            count = _number(body, 8) if kind != b"stts" else _total(body)
            known = known if is_sound else replace(known, frames=max(known.frames, count))
            sounds = max(sounds, count) if is_sound else sounds
        elif kind == b"trun":
            fragments += _number(body, 4)
        elif kind == b"stsd" and not is_sound and len(body) >= 44:
            width, height = struct.unpack(">HH", body[40:44])
            known = replace(known, width_px=max(known.width_px, width), height_px=max(known.height_px, height))
    if sounds > MOST_SOUNDS:
        raise BadVideo(
            f"its sound claims {sounds:,} samples; at most {MOST_SOUNDS:,} are read. Remove the sound track."
        )
    return replace(known, frames=max(known.frames, fragments))


def _check_edits(body: bytes) -> None:
    if (edits := _number(body, 4)) > MOST_EDITS:
        raise BadVideo(
            f"it has an edit list of {edits:,} entries; at most {MOST_EDITS} are read. Convert it with ffmpeg."
        )


def _number(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 4], "big")


def _total(body: bytes) -> int:
    """Number of frames in a table of (number, duration)."""
    entries = min(_number(body, 4), (len(body) - 8) // 8)
    return sum(_number(body, 8 + 8 * entry) for entry in range(entries))


def _seconds(body: bytes) -> float:
    """Duration in an `mvhd` or `mdhd`; 0 where it is left open."""
    form, begin, end = (">IQ", 20, 32) if body[:1] == b"\1" else (">II", 12, 20)
    if len(body) < end:
        return 0.0
    scale, duration = struct.unpack(form, body[begin:end])
    unknown = duration in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
    return 0.0 if unknown or not scale else duration / scale


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Every box that says something, in order, with its bytes (at most 1 MB of it); boxes that hold boxes are opened."""
    stack = [(0, size)]
    seen = 0
    while stack:
        start, end = stack.pop()
        if start + 8 > end:
            continue
        kind, inside, after = _box_at(file, start, end)
        stack.append((after, end))
        seen += 1
        if seen > MOST_BOXES:
            raise BadVideo(f"it is made of more than {MOST_BOXES:,} boxes. Convert it with ffmpeg.")
        if kind in OPENED:
            stack.append((inside, after))
            yield kind, b""
        elif kind in READ:
            file.seek(inside)
            yield kind, file.read(min(after - inside, 1 << 20))


def _box_at(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int]:
    """Kind of the box at a place of the file, where its content begins, and where it ends."""
    file.seek(start)
    head = file.read(16)
    length, kind, inside = _number(head, 0), head[4:8], start + 8
    if length == 1:
        length, inside = int.from_bytes(head[8:16], "big"), start + 16
    elif length == 0:
        length = end - start
    if length < inside - start or start + length > end:
        raise BadVideo("its boxes do not fit into the file: it is cut off or damaged. Copy or convert it again.")
    return kind, inside, start + length
