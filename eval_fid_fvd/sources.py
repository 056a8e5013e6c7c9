"""Where clips to be scored come from: arrays, a folder of videos, one video, or a dataset; read one at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import BadDataset, BadRequest, BadVideo
from worldmodel.io import lerobot, video

Array = np.ndarray
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
SINGLE = "the video"


class ClipSource(Protocol):
    """Named clips that are read when they are needed."""

    @property
    def label(self) -> str:
        """How messages call this source."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips; equal names on both sides are a pair."""

    @property
    def codec(self) -> str:
        """How frames are stored: 'arrays', 'mp4', 'dataset'."""

    @property
    def frequency_hz(self) -> float | None:
        """Frames per second; None when unknown."""

    def length(self, name: str) -> int:
        """Frames of one clip; BadVideo if it cannot be read."""

    def read(self, name: str, indices: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames of one clip; BadVideo if they cannot be read."""


class ArrayClips:
    """Clips in memory, named by their position.

    Args:
        clips: uint8 [n, time, camera, 3, h, w], or a sequence of [time, camera, 3, h, w].
        frequency_hz: Frames per second, if known.
    """

    label, codec = "the arrays", "arrays"

    def __init__(self, clips: Array | Sequence[Array], frequency_hz: float | None) -> None:
        self._clips, self.frequency_hz = clips, frequency_hz
        self.names = tuple(f"clip {i}" for i in range(len(clips)))
        if not len(clips):
            raise BadRequest("there are no clips to score; at least one is needed. Pass [n, time, camera, 3, h, w].")

    def length(self, name: str) -> int:
        """Frames of one clip."""
        return len(self._clips[self.names.index(name)])

    def read(self, name: str, indices: Array) -> Array:
        """Frames of one clip."""
        return np.asarray(self._clips[self.names.index(name)])[indices]


class VideoFiles:
    """Video files of one camera each, named by their file names.

    Raises:
        BadDataset: if there are none.
    """

    def __init__(self, label: str, files: dict[str, Path]) -> None:
        if not files:
            raise BadDataset(
                f"{label} holds no videos ({', '.join(VIDEO_SUFFIXES)}) and is no dataset; at least one clip is needed. "
                "Check the path."
            )
        self.label, self._files = label, files
        self.names = tuple(sorted(files))
        self.codec = "+".join(sorted({path.suffix.lower()[1:] for path in files.values()}))
        self.frequency_hz = self._first_rate()

    def length(self, name: str) -> int:
        """Frames of one file.

        Raises:
            BadVideo: if it cannot be read.
            BadRequest: if its rate is not that of the others.
        """
        info = video.probe(self._files[name])
        wanted = self.frequency_hz or info.frequency_hz
        if abs(info.frequency_hz - wanted) > 1e-3 * wanted:
            raise BadRequest(
                f"'{name}' of {self.label} runs at {info.frequency_hz:g} Hz, others at {wanted:g} Hz; all must be equal. "
                "Convert it first."
            )
        return info.frames

    def read(self, name: str, indices: Array) -> Array:
        """Frames of one file, as one camera.

        Raises:
            BadVideo: if it cannot be read.
        """
        return video.read_frames(self._files[name], indices)[:, None]

    def _first_rate(self) -> float | None:
        for name in self.names:
            try:
                return video.probe(self._files[name]).frequency_hz
            except BadVideo:
                continue  # listed when it is read
        return None


class DatasetClips:
    """The episodes of a dataset, named by their ids."""

    codec = "dataset"

    def __init__(self, path: Path) -> None:
        self._dataset = lerobot.Dataset.open(path)
        self.label, self.names = f"dataset '{path.name}'", self._dataset.ids
        self.frequency_hz: float | None = self._dataset.frequency_hz
        if not self.names:
            raise BadDataset(f"{self.label} has no episodes; at least one is needed. Write it again.")

    def length(self, name: str) -> int:
        """Frames of one episode."""
        return self._dataset.length(self.names.index(name))

    def read(self, name: str, indices: Array) -> Array:
        """Frames of one episode, all cameras.

        Raises:
            BadVideo: if its videos cannot be read.
        """
        return self._dataset.frames(self.names.index(name), indices)


def open_source(path: Path) -> ClipSource:
    """The clips at a path: a dataset, a folder of videos, or one video file.

    Raises:
        BadDataset: if it is none of these or holds no clips.
    """
    if path.is_file():
        return VideoFiles(f"'{path.name}'", {SINGLE: path})
    if not path.is_dir():
        raise BadDataset(f"'{path}' is not there; it must be a folder of videos, a video or a dataset. Check the path.")
    if (path / "meta" / "info.json").is_file():
        return DatasetClips(path)
    files = {file.name: file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES}
    return VideoFiles(f"folder '{path.name}'", files)
