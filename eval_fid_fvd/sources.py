"""Where clips to be scored come from: arrays, folders of videos, or datasets; read one clip at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import BadDataset, BadRequest, BadVideo
from worldmodel.geometry import Rig
from worldmodel.io import lerobot, video

Array = np.ndarray
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
SINGLE = "the video"


class ClipSource(Protocol):
    """Named clips that are read when they are needed; `read` may be called from several threads."""

    @property
    def label(self) -> str:
        """How messages call this source."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips; equal names on both sides are a pair."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the frames' camera axis."""

    @property
    def rig(self) -> Rig | None:
        """How the cameras are mounted; None when unknown."""

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

    label, codec, rig = "the arrays", "arrays", None

    def __init__(self, clips: Array | Sequence[Array], frequency_hz: float | None) -> None:
        self._clips, self.frequency_hz = clips, frequency_hz
        self.names = tuple(f"clip {i}" for i in range(len(clips)))
        if not len(clips):
            raise BadRequest("there are no clips to score; at least one is needed. Pass [n, time, camera, 3, h, w].")
        self.cameras = tuple(f"{i}" for i in range(np.shape(clips[0])[1] if np.ndim(clips[0]) > 1 else 1))

    def length(self, name: str) -> int:
        """Frames of one clip."""
        return len(self._clips[self.names.index(name)])

    def read(self, name: str, indices: Array) -> Array:
        """Frames of one clip."""
        return np.asarray(self._clips[self.names.index(name)])[indices]


class VideoFiles:
    """Clips as video files, one file for each camera.

    Args:
        label: How messages call this source.
        files: Per clip its cameras' files; all clips have the same cameras.

    Raises:
        BadDataset: if there are none, or clips have unlike cameras.
    """

    rig = None

    def __init__(self, label: str, files: Mapping[str, Mapping[str, Path]]) -> None:
        if not files:
            raise BadDataset(
                f"{label} holds no videos ({', '.join(VIDEO_SUFFIXES)}) and is no dataset; at least one clip is needed. "
                "Check the path."
            )
        self.label, self._files = label, files
        self.names = tuple(sorted(files))
        self.cameras = tuple(sorted(files[self.names[0]]))
        for name in self.names:
            if tuple(sorted(files[name])) != self.cameras:
                raise BadDataset(
                    f"clip '{name}' of {label} has cameras {', '.join(sorted(files[name]))}, clip '{self.names[0]}' has "
                    f"{', '.join(self.cameras)}; all clips must have the same. Add or remove files."
                )
        suffixes = {path.suffix.lower()[1:] for cameras in files.values() for path in cameras.values()}
        self.codec = "+".join(sorted(suffixes))
        self.frequency_hz = self._first_rate()

    def length(self, name: str) -> int:
        """Frames of one clip: of its shortest camera.

        Raises:
            BadVideo: if it cannot be read.
            BadRequest: if its rate is not that of the others.
        """
        return min(self._length(name, camera) for camera in self.cameras)

    def read(self, name: str, indices: Array) -> Array:
        """Frames of one clip, all cameras.

        Raises:
            BadVideo: if it cannot be read, or its cameras have unlike sizes.
        """
        frames = [video.read_frames(self._files[name][camera], indices) for camera in self.cameras]
        if len({one.shape for one in frames}) > 1:
            sizes = ", ".join(f"{one.shape[3]}x{one.shape[2]}" for one in frames)
            raise BadVideo(f"cameras of clip '{name}' have sizes {sizes}; they must be equal. Resize them first.")
        return np.stack(frames, axis=1)

    def _length(self, name: str, camera: str) -> int:
        info = video.probe(self._files[name][camera])
        wanted = self.frequency_hz or info.frequency_hz
        if abs(info.frequency_hz - wanted) > 1e-3 * wanted:
            raise BadRequest(
                f"'{name}' of {self.label} runs at {info.frequency_hz:g} Hz, others at {wanted:g} Hz; all must be equal. "
                "Convert it first."
            )
        return info.frames

    def _first_rate(self) -> float | None:
        for name in self.names:
            try:
                return video.probe(self._files[name][self.cameras[0]]).frequency_hz
            except BadVideo:
                continue  # listed when it is read
        return None


class DatasetClips:
    """The episodes of a dataset, named by their ids."""

    codec = "dataset"

    def __init__(self, path: Path) -> None:
        self._dataset = lerobot.Dataset.open(path)
        self.label, self.names = f"dataset '{path.name}'", self._dataset.ids
        self.rig: Rig | None = self._dataset.rig
        self.cameras = self._dataset.rig.names
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
    """The clips at a path: a dataset, a folder of videos (or of folders with one video per camera), or one video file.

    Raises:
        BadDataset: if it is none of these or holds no clips.
    """
    if path.is_file():
        return VideoFiles(f"'{path.name}'", {SINGLE: {"0": path}})
    if not path.is_dir():
        raise BadDataset(f"'{path}' is not there; it must be a folder of videos, a video or a dataset. Check the path.")
    if (path / "meta" / "info.json").is_file():
        return DatasetClips(path)
    label = f"folder '{path.name}'"
    if files := videos_in(path):
        return VideoFiles(label, {file.name: {"0": file} for file in files})
    clips = {folder.name: camera_files(folder) for folder in path.iterdir() if folder.is_dir() and videos_in(folder)}
    return VideoFiles(label, clips)


def videos_in(folder: Path) -> list[Path]:
    """The video files of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.name[0] != ".")


def camera_files(folder: Path) -> dict[str, Path]:
    """The videos of a clip that has one file per camera; a mosaic of all cameras is not one of them."""
    files = {file.stem: file for file in videos_in(folder)}
    return {name: file for name, file in files.items() if name != "mosaic"} or files
