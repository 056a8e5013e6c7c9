"""What a visitor sent, sorted: every file checked by its bytes, zips unpacked, all under clean names in one folder."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.web.arrivals import contents
from studio.web.arrivals.archives import check_name, printable, unpack
from studio.web.arrivals.limits import Limits
from worldmodel.errors import BadDataset, BadInput, BadTable, BadVideo

IGNORED = re.compile(r"^(\..*|__MACOSX|Thumbs\.db|desktop\.ini|README.*|LICENSE.*|.*\.md|.*\.txt)$", re.IGNORECASE)
TABLES = (".csv", ".json", ".yaml", ".yml")
RIG_FILES = ("rig.yaml", "rig.yml", "rig.json")
WANTED = (
    "Send a video (mp4, mov, mkv or webm), videos called CLIP.CAMERA.mp4 with their CLIP.ego.csv and rig.yaml, a LeRobot v3 "
    "folder, or a zip of one of these."
)


@dataclass(frozen=True, kw_only=True)
class Received:
    """One file as a browser sent it.

    Attributes:
        name: What the visitor calls it, with the folders above it where a folder was sent ('drive/videos/a.mp4').
        path: Where it is now.
    """

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class File:
    """One file that matters.

    Attributes:
        name: As it was sent, with the folders above it.
        path: Where it is.
        kind: 'video', 'table' or 'parquet'.
    """

    name: PurePosixPath
    path: Path
    kind: str


def gathered(received: Sequence[Received], staging: Path, limits: Limits) -> list[File]:
    """Every file that matters, its content checked; zips are unpacked below `staging`.

    Raises:
        BadInput: at the first file that is refused.
    """
    files: list[Received] = []
    left = limits.unpacked_bytes
    for number, file in enumerate(received):
        if contents.kind_of(file.path) != "zip":
            files.append(file)
            continue
        (folder := staging / f"zip{number}").mkdir()
        unpacked = unpack(file.path, folder, most_files=limits.files, most_bytes=left, most_ratio=limits.ratio)
        left -= sum(path.stat().st_size for _, path in unpacked)
        files += [Received(name=name, path=path) for name, path in unpacked]
    if len(files) > limits.files:
        raise BadDataset(f"{len(files)} files were sent; at most {limits.files} are taken. Send fewer at a time.")
    named = [(check_name(file.name), file.path) for file in files]
    wanted = [(name, path) for name, path in named if not any(IGNORED.match(part) for part in name.parts)]
    if not wanted:
        raise BadDataset(f"there is no recording in what was sent. {WANTED}")
    return [File(name=name, path=path, kind=_checked_kind(name, path, limits)) for name, path in wanted]


def _checked_kind(name: PurePosixPath, path: Path, limits: Limits) -> str:
    """'video', 'table' or 'parquet', after everything that can be checked without decoding."""
    kind, said, size = contents.kind_of(path), printable(str(name)), path.stat().st_size
    if kind in contents.VIDEOS and name.suffix.lower() not in (*TABLES, ".parquet"):
        if kind == "mp4":
            _check_claims(said, path, limits)
        return "video"
    if kind == "text" and name.suffix.lower() in TABLES:
        _check_table(said, name.suffix.lower(), path, size, limits)
        return "table"
    if kind == "parquet" and name.suffix.lower() == ".parquet":
        if size > limits.parquet_bytes:
            raise BadTable(
                f"'{said}' has {size / 1e6:,.0f} MB; at most {limits.parquet_bytes / 1e6:,.0f} MB. Send fewer clips."
            )
        return "parquet"
    raise _refusal(said, kind, path)


def _refusal(said: str, kind: str, path: Path) -> BadInput:
    if kind in contents.PICTURES:
        size = contents.picture_size(path)
        pixels = f" of {size[0]:,}x{size[1]:,} px" if size else ""
        return BadVideo(f"'{said}' is a picture ({kind}{pixels}), but only videos are read. {WANTED}")
    if kind in contents.ARCHIVES:
        return BadDataset(
            f"'{said}' is an archive ({kind}) inside what was sent; only a zip by itself is unpacked. Unpack it first."
        )
    what = {"empty": "is empty", "text": "holds text", "unknown": "is of an unknown type"}.get(
        kind, f"is of type {kind}"
    )
    return BadDataset(f"'{said}' {what}, which is no recording under that name. {WANTED}")


def _check_claims(said: str, path: Path, limits: Limits) -> None:
    try:
        claims = contents.claims_of(path)
    except BadVideo as error:
        raise BadVideo(f"'{said}': {error}") from None
    if claims.frames > limits.frames or claims.seconds > limits.seconds:
        raise BadVideo(
            f"'{said}' claims {claims.frames:,} frames and {claims.seconds:,.0f} s; at most {limits.frames:,} frames and "
            f"{limits.seconds:g} s are taken. Cut it, for example with `ffmpeg -i IN -t {limits.seconds:g} OUT.mp4`."
        )
    if claims.frames > path.stat().st_size:
        raise BadVideo(f"'{said}' claims {claims.frames:,} frames in {path.stat().st_size:,} bytes. Copy it again.")
    if claims.width_px * claims.height_px > limits.pixels:
        raise BadVideo(
            f"'{said}' has pictures of {claims.width_px:,}x{claims.height_px:,} px; at most {limits.pixels:,} pixels are taken. "
            "Scale it down, for example with `ffmpeg -i IN -vf scale=1280:-2 OUT.mp4`."
        )


def _check_table(said: str, suffix: str, path: Path, size: int, limits: Limits) -> None:
    if size > limits.table_bytes:
        raise BadTable(
            f"'{said}' has {size / 1e6:,.1f} MB; at most {limits.table_bytes / 1e6:g} MB are read. Cut the recording."
        )
    lines, longest = contents.lines_of(path)
    if suffix == ".csv" and (lines > limits.rows + 1 or longest > 10_000):
        raise BadTable(
            f"'{said}' has {lines:,} lines, the longest of {longest:,} bytes; at most {limits.rows:,} rows of 10,000 bytes are "
            "read. Cut the recording."
        )


def arranged(files: Sequence[File], src: Path) -> tuple[str, Path]:
    """Move the files under clean names into `src`, as the importer wants them.

    Returns:
        The form they have ('folder' or 'lerobot') and the folder.
    Raises:
        BadDataset: if they are no recording, or several.
    """
    src.mkdir()
    roots = [file.name.parents[1] for file in files if file.name.parts[-2:] == ("meta", "info.json")]
    if len(roots) > 1:
        raise BadDataset(
            f"{len(roots)} LeRobot datasets were sent at once; one is taken. Send them one after the other."
        )
    if roots:
        inside = [(file.name.relative_to(roots[0]), file.path) for file in files if file.name.is_relative_to(roots[0])]
        return "lerobot", _laid_out([(PurePosixPath(*map(clean, name.parts)), path) for name, path in inside], src)
    places = {file.name.parent for file in files if file.kind == "video"}
    if len(places) != 1 or any(file.kind == "parquet" for file in files):
        raise _no_form(len(places))
    flat = [(_flat_name(file, alone=len(files) == 1), file.path) for file in files if file.name.parent in places]
    return "folder", _laid_out([(PurePosixPath(name), path) for name, path in flat if name], src)


def _no_form(places: int) -> BadDataset:
    if not places:
        return BadDataset(f"there is no video in what was sent. {WANTED}")
    if places > 1:
        return BadDataset(
            f"the videos lie in {places} folders, but recordings lie in one, and a LeRobot dataset has a meta/info.json. Send one "
            "folder at a time."
        )
    return BadDataset(
        "there are Parquet tables but no meta/info.json: parts of a LeRobot dataset, without its folders. Send the whole folder, or a zip of it."
    )


def _laid_out(files: Sequence[tuple[PurePosixPath, Path]], src: Path) -> Path:
    taken: set[str] = set()
    for name, path in files:
        if str(name).lower() in taken:
            raise BadDataset(f"two files are called '{printable(str(name))}' once their names are cleaned. Rename one.")
        taken.add(str(name).lower())
        target = src / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, target)
    return src


def _flat_name(file: File, *, alone: bool) -> str:
    """A clean name of the folder form: CLIP.CAMERA.mp4, CLIP.ego.csv, CLIP.cameras.json, rig.yaml; '' for other tables."""
    name = file.name
    if file.kind == "video":
        clip, dot, camera = name.stem.rpartition(".")
        if not dot or alone:
            clip, camera = name.stem, "front"
        return f"{clean(clip).replace('.', '-')}.{clean(camera)}.mp4"
    if name.name.lower() in RIG_FILES:
        return name.name.lower()
    clip, _, what = name.stem.rpartition(".")
    known = {("ego", ".csv"), ("objects", ".csv"), ("cameras", ".json")}
    return (
        f"{clean(clip).replace('.', '-')}.{what}{name.suffix.lower()}" if (what, name.suffix.lower()) in known else ""
    )


def clean(name: str) -> str:
    """Letters, digits, '-', '_' and '.' of a name; never empty, never hidden, not too long."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60].strip(".-") or "x"
