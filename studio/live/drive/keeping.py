"""What is kept of a drive: a dataset that other pages open, a film, the path driven, the command that repeats it."""

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from studio.live.drive.driving import Driving
from studio.live.drive.reel import Reel
from studio.live.drive.ride import DREAM
from studio.live.imagine.saving import path_csv
from studio.live.imagine.wishes import schedule_text
from studio.overlays import mosaic
from studio.web import shown
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.geometry import Array, Rig
from worldmodel.io.lerobot import write_dataset
from worldmodel.io.video import write_video

NOTICE = {
    True: "Imagined by Detour while somebody drove. Research tool; no evidence of road safety.",
    False: "Rendered by Detour's town while somebody drove. Research tool; no evidence of road safety.",
}
TILE_PX = 256
MOST_KEPT = 20  # drives of one visitor
AT_ONCE = 32  # pictures of a film put together at once


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is on disk; None where it is not written yet.

    Attributes:
        share: Of the work done, 0 to 1.
        dataset: Folder; one clip per world.
        film: mp4 of all worlds, above each other.
        path: CSV with t, x, y, yaw, as `detour imagine --actions` reads it.
    """

    share: float
    dataset: Path | None = None
    film: Path | None = None
    path: Path | None = None


def keep(reels: Mapping[str, Reel], datasets: Path, folder: Path, name: str, model: str) -> Iterator[Kept]:
    """Write a drive, and say how far it is.

    Args:
        reels: What was seen, per world.
        datasets: Where the dataset goes, as `name`.
        folder: Where film and path go.
        model: Who dreamt, for the clip's source.
    Raises:
        ClipTooShort: for less than a second.
        OutputExists: if the disk is full.
    """
    worlds = list(reels)
    clips = [
        reels[world].clip(world, imagined=world == DREAM, source=f"{NOTICE[world == DREAM]} Model {model}.")
        for world in worlds
    ]
    yield Kept(share=0.05)
    datasets.mkdir(parents=True, exist_ok=True)
    dataset = write_dataset(clips, datasets / name, name=f"driven by hand: {', '.join(worlds)}").path
    path = folder / f"{name}.csv"
    _write_path(path, reels[worlds[0]])
    yield Kept(share=0.4, dataset=dataset, path=path)
    film = folder / f"{name}.mp4"
    for share in _write_film(film, reels, DREAM in reels):
        yield Kept(share=0.4 + 0.6 * share, dataset=dataset, path=path)
    yield Kept(share=1.0, dataset=dataset, film=film, path=path)


def command(driving: Driving, clip: str, model: Path) -> str:
    """The `detour` command that does the same: the dream under the path driven, or the model's own drive in the town.

    Args:
        clip: Where it began, DATASET:EPISODE@SECONDS.
        model: Checkpoint folder.
    """
    out = ["--model", shlex.quote(str(model)), "--out", "my-drive"]
    if driving.course is not None and DREAM not in driving.reels:
        words = ["detour", "drive", "--situation", driving.course.situation, "--seed", str(driving.course.seed)]
        return " ".join([*words, "--seconds", f"{driving.course.seconds:g}", *out])
    said, request = driving.reels[DREAM].schedule(), driving.request
    words = ["detour", "imagine", shlex.quote(clip), "--actions", "driven.csv"]
    words += ["--schedule", shlex.quote(schedule_text(said))] if said else []
    words += ["--seconds", f"{driving.driven_s:g}", "--seed", str(request.seed), *request.sampling.words()]
    return " ".join([*words, *out])


def free_name(datasets: Path) -> str:
    """The first of drive-1, drive-2, ... that no dataset in a folder has.

    Raises:
        BadRequest: if there are MOST_KEPT.
    """
    for number in range(1, MOST_KEPT + 1):
        if not (datasets / f"drive-{number}").exists():
            return f"drive-{number}"
    raise BadRequest(f"{MOST_KEPT} drives are kept already, and no more may be. Open the page anew to begin with none.")


def _write_path(path: Path, reel: Reel) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    temporary.write_text(path_csv(reel.path_driven()), encoding="utf-8")
    os.replace(temporary, path)


def _write_film(path: Path, reels: Mapping[str, Reel], imagined: bool) -> Iterator[float]:
    """All worlds above each other; the pictures wait on disk, so that a long drive does not fill the memory."""
    frames = min(len(reel) for reel in reels.values())
    if not frames:
        raise ClipTooShort("the drive has no pictures yet; a film needs one. Drive on for a moment, then keep it.")
    first = next(iter(reels.values()))
    height, width = _size_of(first.rig)
    waiting = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        film = np.memmap(waiting, np.uint8, mode="w+", shape=(frames, 3, height * len(reels), width))
        for begin in range(0, frames, AT_ONCE):
            film[begin : begin + AT_ONCE] = _stacked(reels, slice(begin, min(frames, begin + AT_ONCE)))
            yield 0.7 * min(1.0, (begin + AT_ONCE) / frames)
        write_video(path, film, first.rate_hz, comment=NOTICE[imagined])
    finally:
        waiting.unlink(missing_ok=True)


def _size_of(rig: Rig) -> tuple[int, int]:
    """Height and width of a mosaic, even as H.264 wants them."""
    dark = np.zeros((1, len(rig), 3, rig.height_px, rig.width_px), np.uint8)
    height, width = shown.even(mosaic(dark, rig, tile_width_px=TILE_PX)).shape[2:]
    return height, width


def _stacked(reels: Mapping[str, Reel], which: slice) -> UInt8[Array, "n 3 height width"]:
    rows = []
    for world, reel in reels.items():
        title = "imagined" if world == DREAM else "town"
        rows.append(shown.even(mosaic(np.asarray(reel.video()[which]), reel.rig, title=title, tile_width_px=TILE_PX)))
    return np.concatenate(rows, axis=2)
