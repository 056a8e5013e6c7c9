"""What `detour score` compares: folders, datasets, a moment of a dataset, or run folders with what really followed."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.sources import SINGLE, ClipSource, VideoFiles, camera_files, open_source
from worldmodel.errors import BadDataset, ClipTooShort, UnknownName
from worldmodel.geometry import Array, Rig
from worldmodel.io.lerobot import Dataset, find_clip

RUN = "run.json"
FOLLOWED = "followed"
FIRST_CHOICE = ("imagined-as-driven", "imagined")


@dataclass(frozen=True, eq=False, kw_only=True)
class Sides:
    """Both sides of a comparison.

    Attributes:
        a: What was generated.
        b: What really happened.
        of_a_run: Whether `a` comes from run folders: then `b` is brought to its size, rate and length.
    """

    a: ClipSource
    b: ClipSource
    of_a_run: bool


def sides_of(a: str, b: str | None, video: str = "") -> Sides:
    """Open both sides.

    Args:
        a: Folder of videos, video, dataset, run folder, or folder of run folders.
        b: The same, or DATASET:EPISODE@SECONDS for what followed that moment; None for a run's own truth.
        video: Which video of a run; '' for the one driven as logged, or the only one imagined.
    Raises:
        BadDataset: if a side is none of these, or a run lacks what is needed.
        UnknownName: for a video the run does not have.
    """
    runs = _runs_in(Path(a))
    if not runs:
        if b is None:
            raise BadDataset(
                f"'{a}' is no run folder, so it does not know its truth. Name the real side: detour score A B."
            )
        return Sides(a=open_source(Path(a)), b=_truth(b), of_a_run=False)
    if b is None:
        real = VideoFiles(f"what followed in '{a}'", {name: _cameras(run, FOLLOWED) for name, run in runs.items()})
        return Sides(a=_imagined(a, runs, video), b=real, of_a_run=True)
    truth = _truth(b)
    if isinstance(truth, DatasetMoment) and len(runs) == 1:
        runs = {SINGLE: next(iter(runs.values()))}
    return Sides(a=_imagined(a, runs, video), b=truth, of_a_run=True)


class DatasetMoment:
    """What followed a moment of a dataset, as a source of one clip.

    Args:
        text: DATASET:EPISODE@SECONDS.
    """

    codec = "dataset"

    def __init__(self, text: str) -> None:
        self._dataset, self._episode, at_s = find_clip(text)
        self._first = _frame_after(self._dataset, at_s)
        self.label, self.names = f"'{text}'", (SINGLE,)
        self.rig: Rig | None = self._dataset.rig
        self.cameras = self._dataset.rig.names
        self.frequency_hz: float | None = self._dataset.frequency_hz
        if self.length(SINGLE) < 1:
            raise ClipTooShort(f"nothing follows {self.label}; at least one frame is needed. Choose an earlier time.")

    def length(self, name: str) -> int:
        """Frames that follow."""
        self._check(name)
        return self._dataset.length(self._episode) - self._first

    def read(self, name: str, indices: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames that follow, by number."""
        self._check(name)
        return self._dataset.frames(self._episode, np.asarray(indices) + self._first)

    def _check(self, name: str) -> None:
        if name != SINGLE:
            raise UnknownName("clip", name, self.names)


def _frame_after(dataset: Dataset, at_s: float | None) -> int:
    return 0 if at_s is None else round(at_s * dataset.frequency_hz) + 1


def _truth(text: str) -> ClipSource:
    return open_source(Path(text)) if Path(text).exists() or ":" not in text else DatasetMoment(text)


def _runs_in(path: Path) -> dict[str, Path]:
    """The run folders at a path: itself, or those in it, by name."""
    if not path.is_dir():
        return {}
    if (path / RUN).is_file():
        return {path.name: path}
    return {folder.name: folder for folder in sorted(path.iterdir()) if (folder / RUN).is_file()}


def _imagined(label: str, runs: dict[str, Path], video: str) -> VideoFiles:
    return VideoFiles(f"'{label}'", {name: _cameras(run, video or _choice(run)) for name, run in runs.items()})


def _choice(run: Path) -> str:
    """The video of a run that is to be compared with what followed."""
    names = _videos(run)
    for name in FIRST_CHOICE:
        if name in names:
            return name
    raise BadDataset(
        f"run '{run}' has videos {', '.join(names) or 'none'}, of which none stands for what followed. Name one with "
        "--video."
    )


def _cameras(run: Path, video: str) -> dict[str, Path]:
    names = _videos(run)
    if video in names:
        return camera_files(run / "videos" / video)
    if video == FOLLOWED:
        raise BadDataset(
            f"run '{run}' does not hold what followed, only {', '.join(names) or 'nothing'}. Name the real side: detour "
            f"score {run} {_clip_of(run)}"
        )
    raise UnknownName("video of the run", video, names)


def _videos(run: Path) -> list[str]:
    folder = run / "videos"
    return sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _clip_of(run: Path) -> str:
    try:
        clip = str(json.loads((run / RUN).read_text(encoding="utf-8"))["request"]["clip"])
        return clip if "@" in clip else f"{clip}@SECONDS"
    except (OSError, ValueError, KeyError, TypeError):
        return "DATASET:EPISODE@SECONDS"
