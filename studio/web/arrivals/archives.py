"""Unpack a zip that a visitor sent, within bounds that are checked before and while its bytes are read."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from worldmodel.errors import BadDataset

MOST_DIRECTORY_BYTES = 2 << 20  # of the table of contents: it is read as a whole
MOST_DEPTH = 12
PIECE = 1 << 18
SMALL = 1 << 20  # a file that stays below this may be packed as tightly as it likes
END_OF_ZIP = b"PK\x05\x06"
START_OF_ZIP64 = b"PK\x06\x07"  # twenty bytes before the end, and it would overrule it


def unpack(path: Path, into: Path, *, most_files: int, most_bytes: int, most_ratio: float) -> list[tuple[str, Path]]:
    """Unpack the files of a zip as `into/0`, `into/1`, ...: no name of the archive reaches the disk.

    Args:
        path: The zip.
        into: An existing folder.
        most_files: How many files are taken.
        most_bytes: Their size together, unpacked.
        most_ratio: Unpacked over packed size of one file; only for files above 1 MB.
    Returns:
        The files: their name in the archive, with '/', and where they are now.
    Raises:
        BadDataset: if it is no sound zip, is too large, or holds anything but plain files with plain names.
    """
    try:
        _check_contents(path, most_files)
        with zipfile.ZipFile(path) as archive:
            return list(_unpacked(archive, into, most_files, most_bytes, most_ratio))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadDataset(f"the zip is damaged or packed in a way that is not read ({error}). Pack it again.") from error


def _check_contents(path: Path, most_files: int) -> None:
    """The table of contents, from the last bytes of the file, before a reader loads it."""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, size - 22 - 65535))
        tail = file.read()
    at = tail.rfind(END_OF_ZIP)
    if at < 0 or len(tail) - at < 22:
        raise BadDataset("the zip is cut off: it has no end. Pack or send it again.")
    entries, length = struct.unpack("<HI", tail[at + 10 : at + 16])
    if tail[max(0, at - 20) :].startswith(START_OF_ZIP64) or 0xFFFF in (entries, length >> 16):
        raise BadDataset("the zip has the form for more than 65,534 files or 4 GB (zip64). Pack fewer files.")
    if length > MOST_DIRECTORY_BYTES or entries > 4 * most_files:
        raise BadDataset(f"the zip lists {entries} files or more; at most {most_files} are taken. Pack fewer files.")


def _unpacked(
    archive: zipfile.ZipFile, into: Path, most_files: int, most_bytes: int, most_ratio: float
) -> Iterator[tuple[str, Path]]:
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(files) > most_files:
        raise BadDataset(f"the zip holds {len(files)} files; at most {most_files} are taken. Pack fewer files.")
    for entry in files:
        _check_entry(entry, most_ratio)
    if (total := sum(entry.file_size for entry in files)) > most_bytes:
        raise BadDataset(
            f"the zip unpacks to {total / 1e6:,.0f} MB; at most {most_bytes / 1e6:,.0f} MB are taken. Pack less, or smaller videos."
        )
    left = most_bytes
    for number, entry in enumerate(files):
        left -= _write(archive, entry, into / str(number), left)
        yield entry.filename, into / str(number)


def _check_entry(entry: zipfile.ZipInfo, most_ratio: float) -> None:
    name = printable(entry.filename)
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BadDataset(
            f"'{name}' in the zip is a link or a device; only plain files are taken. Pack the file itself."
        )
    if entry.flag_bits & 0x1:
        raise BadDataset(f"'{name}' in the zip is locked with a password. Pack it without one.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadDataset(f"'{name}' in the zip is packed in a rare way; need 'deflate' or none. Pack it again.")
    check_name(entry.filename)
    if entry.file_size > SMALL and entry.file_size > most_ratio * max(1, entry.compress_size):
        raise BadDataset(
            f"'{name}' in the zip unpacks to {entry.file_size / max(1, entry.compress_size):,.0f} times its size; "
            f"at most {most_ratio:g} times is taken. No recording packs like that."
        )


def check_name(name: str) -> PurePosixPath:
    """The path that a file's name in an archive or a folder stands for.

    Raises:
        BadDataset: if it leaves its folder, or is no plain name.
    """
    path = PurePosixPath(name)
    parts = path.parts
    leaves = path.is_absolute() or ".." in parts or "\\" in name or ":" in name
    if leaves or not parts or len(parts) > MOST_DEPTH or len(name) > 400 or not name.isprintable():
        raise BadDataset(
            f"a file is called '{printable(name)}', which leaves its folder or is no plain name. Rename it, with letters "
            "and digits, and send it again."
        )
    return path


def printable(name: str, most: int = 60) -> str:
    """A visitor's name for a file, for a sentence: one line, not too long."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= most else f"{plain[: most // 2 - 2]}...{plain[-most // 2 + 2 :]}"


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most_bytes: int) -> int:
    """Unpack one file; what its table says of its size is not believed."""
    written = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while piece := source.read(PIECE):
            written += len(piece)
            if written > most_bytes:
                raise BadDataset(
                    f"'{printable(entry.filename)}' in the zip unpacks to more than its table says. Pack it again."
                )
            sink.write(piece)
    return written
