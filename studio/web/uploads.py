"""What a visitor drops on a page, checked and made a dataset: a LeRobot folder, videos with tables, one video, or a zip.

The way of every file: its bytes say what it is (`contents`), zips are unpacked within bounds (`archives`), what is left
goes under clean names into a hidden folder beside the visitor's datasets, is imported in a process of its own
(`confined`), and appears as a dataset when all went well. What is refused is removed at once.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.web import contents
from studio.web.archives import check_name, printable, unpack
from studio.web.confined import Work, imported
from worldmodel.errors import BadDataset, BadInput, BadTable, BadVideo
from worldmodel.io.lerobot import Dataset

IGNORED = re.compile(r"^(\..*|__MACOSX|Thumbs\.db|desktop\.ini|README.*|LICENSE.*|.*\.md|.*\.txt)$", re.IGNORECASE)
TABLES = (".csv", ".json", ".yaml", ".yml")
RIG_FILES = ("rig.yaml", "rig.yml", "rig.json")
STAGING = ".incoming-"
WANTED = (
    "Send a video (mp4, mov, mkv or webm), videos called CLIP.CAMERA.mp4 with their CLIP.ego.csv and rig.yaml, a LeRobot v3 "
    "folder, or a zip of one of these."
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a visitor may send at once, and keep.

    Attributes:
        upload_bytes: Of all files together, as sent.
        unpacked_bytes, ratio: Of a zip: size of its files together, and unpacked over packed size of one.
        files: How many.
        table_bytes, rows: Of a CSV, JSON or YAML file, and lines of a CSV.
        parquet_bytes: Of a Parquet table.
        pixels, frames, seconds: Of a video.
        clips: How many recordings.
        kept_bytes: Of all datasets that a visitor keeps.
        memory_bytes, work_s: Of the process that imports.
    """

    upload_bytes: int = 200_000_000
    unpacked_bytes: int = 400_000_000
    ratio: float = 100.0
    files: int = 400
    table_bytes: int = 8_000_000
    rows: int = 20_000
    parquet_bytes: int = 50_000_000
    pixels: int = 3840 * 2160
    frames: int = 20_000
    seconds: float = 300.0
    clips: int = 40
    kept_bytes: int = 300_000_000
    memory_bytes: int = 4_000_000_000
    work_s: float = 240.0


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
class Arrival:
    """How far an upload is.

    Attributes:
        text: What happens now, in a few words.
        share: Done, 0 to 1; None while that is unknown.
        dataset: The dataset, in the last one only.
    """

    text: str
    share: float | None = None
    dataset: Dataset | None = None


def take(
    files: Sequence[Received | Path | str],
    into: Path,
    limits: Limits | None = None,
    *,
    frequency_hz: float = 8.0,
    width_px: int = 128,
    height_px: int = 64,
    stopped: Callable[[], bool] = lambda: False,
) -> Dataset:
    """Make a dataset of what a visitor sent; `arriving` without its steps."""
    found = None
    for step in arriving(
        files, into, limits, frequency_hz=frequency_hz, width_px=width_px, height_px=height_px, stopped=stopped
    ):
        found = step.dataset
    assert found is not None
    return found


def arriving(
    files: Sequence[Received | Path | str],
    into: Path,
    limits: Limits | None = None,
    *,
    frequency_hz: float = 8.0,
    width_px: int = 128,
    height_px: int = 64,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Arrival]:
    """Make a dataset `into/NAME` of what a visitor sent, step by step; NAME comes from the files' own names.

    The files themselves are moved, so that nothing of them stays where they were, whether they are taken or refused.

    Args:
        files: As the browser sent them; plain paths stand for files without a folder.
        into: The visitor's folder of datasets; made when it is missing.
        limits: What is too much; the defaults when None.
        frequency_hz, width_px, height_px: What every clip becomes: what the model was trained on.
        stopped: Asked several times a second; True ends the work.
    Raises:
        BadInput: with what was found, in which file, and what to do. Nothing is left behind then.
    """
    limits = limits or Limits()
    sent = [file if isinstance(file, Received) else Received(name=Path(file).name, path=Path(file)) for file in files]
    into.mkdir(parents=True, exist_ok=True)
    with _staging(into, sent) as staging:
        yield Arrival(text="Checking what was sent ...")
        received = _moved(sent, staging / "sent", limits)
        _check_room(into, limits)
        gathered = _gathered(received, staging, limits)
        name = _free_name(into, _name_of(sent))
        form, src = _arranged(gathered, staging / name)
        work = Work(
            src=str(src), out=str(staging / "made" / name), form=form, frequency_hz=frequency_hz, width_px=width_px,
            height_px=height_px, most_clips=limits.clips, most_frames=limits.frames, most_seconds=limits.seconds,
            most_pixels=limits.pixels, most_memory=limits.memory_bytes, most_bytes=limits.kept_bytes,
            most_work_s=limits.work_s,
        )  # fmt: skip
        try:
            yield from _steps(work, stopped)
        except BadInput as error:
            raise type(error)(_without_places(str(error), src, staging)) from None
        yield _kept(staging / "made" / name, into / name, limits)


def _steps(work: Work, stopped: Callable[[], bool]) -> Iterator[Arrival]:
    began = time.monotonic()
    for done, of in imported(work, stopped):
        left = (time.monotonic() - began) / done * (of - done) if done else 0.0
        rest = f", about {left:.0f} s left" if left >= 1 else ""
        text = f"Reading recording {min(done + 1, of)} of {of}{rest} ..." if of else "Opening what was sent ..."
        yield Arrival(text=text, share=done / of if of else None)


@contextmanager
def _staging(into: Path, sent: Sequence[Received]) -> Iterator[Path]:
    """A hidden folder of this upload alone, gone afterwards like everything that was sent."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=into))
        (staging / "made").mkdir()
        yield staging
    except OSError as error:
        raise BadDataset(
            f"the upload could not be stored ({error.strerror}): the disk is full, or the page was closed. Try it again later."
        ) from error
    finally:
        with suppress(UnboundLocalError):
            shutil.rmtree(staging, ignore_errors=True)
        for file in sent:
            with suppress(OSError):
                file.path.unlink(missing_ok=True)
                file.path.parent.rmdir()  # the folder that each file of a browser gets for itself


def _moved(sent: Sequence[Received], to: Path, limits: Limits) -> list[Received]:
    """The files at `to/0`, `to/1`, ..."""
    to.mkdir()
    if not sent:
        raise BadDataset(f"nothing was sent. {WANTED}")
    if len(sent) > limits.files:
        raise BadDataset(f"{len(sent)} files were sent; at most {limits.files} are taken. Send fewer at a time.")
    received = [_moved_one(file, to / str(number)) for number, file in enumerate(sent)]
    size = sum(file.path.stat().st_size for file in received)
    if size > limits.upload_bytes:
        raise BadDataset(
            f"{size / 1e6:,.0f} MB were sent; at most {limits.upload_bytes / 1e6:,.0f} MB are taken. Cut the videos or scale them "
            "down; the studio's own option --max-upload sets the limit."
        )
    return received


def _moved_one(file: Received, to: Path) -> Received:
    if file.path.is_symlink() or not file.path.is_file():
        raise BadDataset(f"'{printable(file.name)}' is no plain file; only plain files are taken. Send it again.")
    shutil.move(file.path, to)
    return Received(name=file.name, path=to)


def _check_room(into: Path, limits: Limits) -> None:
    used = used_bytes(into, but=STAGING)
    if used > limits.kept_bytes:
        raise BadDataset(
            f"your uploads fill {used / 1e6:,.0f} MB already; at most {limits.kept_bytes / 1e6:,.0f} MB are kept for a visitor. "
            "Reload the page, which removes them."
        )


def used_bytes(folder: Path, *, but: str = "\0") -> int:
    """Size of all files below a folder, in bytes, without those in subfolders whose name begins with `but`."""
    total = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(but)]
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def _gathered(received: Sequence[Received], staging: Path, limits: Limits) -> list[tuple[PurePosixPath, Path, str]]:
    """Every file that matters: its path as sent, where it is, and its kind; zips are unpacked, all contents checked."""
    files: list[Received] = []
    for number, file in enumerate(received):
        if contents.kind_of(file.path) != "zip":
            files.append(file)
            continue
        (staging / f"zip{number}").mkdir()
        unpacked = unpack(
            file.path, staging / f"zip{number}",
            most_files=limits.files, most_bytes=limits.unpacked_bytes, most_ratio=limits.ratio,
        )  # fmt: skip
        files += [Received(name=name, path=path) for name, path in unpacked]
    if len(files) > limits.files:
        raise BadDataset(f"{len(files)} files were sent; at most {limits.files} are taken. Send fewer at a time.")
    wanted = [(check_name(file.name), file.path) for file in files]
    wanted = [(name, path) for name, path in wanted if not any(IGNORED.match(part) for part in name.parts)]
    if not wanted:
        raise BadDataset(f"there is no recording in what was sent. {WANTED}")
    return [(name, path, _checked_kind(name, path, limits)) for name, path in wanted]


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


def _arranged(files: Sequence[tuple[PurePosixPath, Path, str]], src: Path) -> tuple[str, Path]:
    """The files under clean names in `src`, as the importer wants them, and the form they have."""
    src.mkdir()
    names = {name for name, _, _ in files}
    roots = [name.parents[1] for name in names if name.parts[-2:] == ("meta", "info.json")]
    if len(roots) > 1:
        raise BadDataset(
            f"{len(roots)} LeRobot datasets were sent at once; one is taken. Send them one after the other."
        )
    if roots:
        inside = [
            (name.relative_to(roots[0]), path, kind) for name, path, kind in files if name.is_relative_to(roots[0])
        ]
        return "lerobot", _laid_out([(PurePosixPath(*map(_clean, name.parts)), path) for name, path, _ in inside], src)
    videos = [name for name, _, kind in files if kind == "video"]
    if not videos:
        raise BadDataset(f"there is no video in what was sent. {WANTED}")
    places = {name.parent for name, _, kind in files if kind == "video"}
    if len(places) > 1:
        raise BadDataset(
            f"the videos lie in {len(places)} folders, but recordings lie in one. Send one folder at a time."
        )
    flat = [
        (_flat_name(name, kind, alone=len(files) == 1), path) for name, path, kind in files if name.parent in places
    ]
    return "folder", _laid_out([(PurePosixPath(name), path) for name, path in flat if name], src)


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


def _flat_name(name: PurePosixPath, kind: str, *, alone: bool) -> str:
    """A clean name of the folder form: CLIP.CAMERA.mp4, CLIP.ego.csv, CLIP.cameras.json, rig.yaml; '' for other tables."""
    if kind == "video":
        clip, dot, camera = name.stem.rpartition(".")
        if not dot or alone:
            clip, camera = name.stem, "front"
        return f"{_clean(clip).replace('.', '-')}.{_clean(camera)}.mp4"
    if name.name.lower() in RIG_FILES:
        return name.name.lower()
    clip, _, what = name.stem.rpartition(".")
    known = {("ego", ".csv"), ("objects", ".csv"), ("cameras", ".json")}
    return (
        f"{_clean(clip).replace('.', '-')}.{what}{name.suffix.lower()}" if (what, name.suffix.lower()) in known else ""
    )


def _clean(name: str) -> str:
    """Letters, digits, '-', '_' and '.' of a name; never empty, never hidden, not too long."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60].strip(".-") or "x"


def _name_of(sent: Sequence[Received]) -> str:
    """A name for the dataset: the folder that was sent, else the first file without its endings."""
    parts = PurePosixPath(sent[0].name).parts
    first = parts[0] if len(parts) > 1 else sent[0].name.split(".")[0]
    return _clean(first)[:40]


def _free_name(into: Path, name: str) -> str:
    number = 1
    while (into / (tried := name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return tried


def _kept(made: Path, place: Path, limits: Limits) -> Arrival:
    """Let the finished dataset appear, if it fits."""
    total = used_bytes(place.parent, but=STAGING) + used_bytes(made)
    if total > limits.kept_bytes:
        raise BadDataset(
            f"with this one your uploads would fill {total / 1e6:,.0f} MB; at most {limits.kept_bytes / 1e6:,.0f} MB are kept for a "
            "visitor. Send fewer or shorter clips."
        )
    os.rename(made, place)
    dataset = Dataset.open(place)
    return Arrival(
        text=f"{place.name}: {dataset.episodes} clip{'s' * (dataset.episodes != 1)}", share=1.0, dataset=dataset
    )


def _without_places(message: str, src: Path, staging: Path) -> str:
    """A sentence without the server's own folders."""
    for place in (src, staging):
        message = message.replace(f"{place}{os.sep}", "").replace(str(place), src.name)
    return message
