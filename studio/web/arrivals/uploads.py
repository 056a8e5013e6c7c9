"""What a visitor drops on a page, checked and made a dataset: a LeRobot folder, videos with tables, one video, or a zip.

The way of every file: its bytes say what it is (`contents`), zips are unpacked within bounds (`archives`), what is left
goes under clean names (`sorting`) into a hidden folder beside the visitor's datasets, is imported in a process of its own
(`confined`), and appears as a dataset when all went well. What is refused is removed at once.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.web.arrivals.archives import printable
from studio.web.arrivals.confined import Work, imported
from studio.web.arrivals.limits import Limits
from studio.web.arrivals.sorting import WANTED, Received, arranged, clean, gathered
from worldmodel.errors import BadDataset, BadInput
from worldmodel.io.lerobot import Dataset

__all__ = ["Arrival", "Limits", "Received", "arriving", "take", "used_bytes"]

STAGING = ".incoming-"


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
        sound = gathered(received, staging, limits)
        name = _free_name(into, _name_of(sent))
        form, src = arranged(sound, staging / name)
        work = Work(
            src=str(src), out=str(staging / "made" / name), form=form, frequency_hz=frequency_hz, width_px=width_px,
            height_px=height_px, most_clips=limits.clips, most_frames=limits.frames, most_seconds=limits.seconds,
            most_pixels=limits.pixels, most_memory=limits.memory_bytes, most_bytes=limits.kept_bytes,
            most_work_s=limits.work_s,
        )  # fmt: skip
        try:
            yield from _steps(work, lambda: stopped() or not staging.is_dir())  # the folder goes with the visitor
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


def _name_of(sent: Sequence[Received]) -> str:
    """A name for the dataset: the folder that was sent, else the first file without its endings."""
    parts = PurePosixPath(sent[0].name).parts
    first = parts[0] if len(parts) > 1 else sent[0].name.split(".")[0]
    return clean(first)[:40]


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
    _check_names(Dataset.open(made))
    os.rename(made, place)
    dataset = Dataset.open(place)
    return Arrival(
        text=f"{place.name}: {dataset.episodes} clip{'s' * (dataset.episodes != 1)}", share=1.0, dataset=dataset
    )


def _check_names(dataset: Dataset) -> None:
    """Clips of a LeRobot dataset have the names that its tables give them; outputs are named after them."""
    for name in (*dataset.ids, *dataset.rig.names):
        if not name.isprintable() or set(name) & set("/\\:") or name.startswith(".") or not 0 < len(name) <= 100:
            raise BadDataset(
                f"a clip or camera is called '{printable(name)}'; a name needs 1 to 100 printable characters without '/', '\\', ':' "
                "and a leading '.'. Rename it in the dataset's tables."
            )


def _without_places(message: str, src: Path, staging: Path) -> str:
    """A sentence without the server's own folders."""
    for place in (src, staging):
        message = message.replace(f"{place}{os.sep}", "").replace(str(place), src.name)
    return message
