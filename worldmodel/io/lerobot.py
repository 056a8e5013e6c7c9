"""Our native dataset format: LeRobot v3.0 on disk, clips in memory.

A dataset is a folder that lerobot 0.4's own reader opens too:

    meta/info.json, stats.json, tasks.parquet, episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet                        one row per frame
    videos/observation.images.CAMERA/chunk-000/file-000.mp4
    meta/rig.json, clips.json, boxes.parquet, language.parquet, decisions.parquet     what lerobot has no place for

`action` in row i is the step from frame i to i + 1 (forward m, left m, yaw rad); the last row of an episode repeats the
one before and has `action_valid` false. `observation.state` is speed, yaw rate and the pose in the frame of the
episode's first image. A dataset has these columns for all of its clips or for none. Datasets that others wrote have no
`meta/rig.json`: a nominal rig is assumed, and without columns named like ours there is no motion.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from worldmodel.clips import Box, Clip, Instruction
from worldmodel.errors import BadDataset, BadRequest, BadTable, ClipTooShort, UnknownName
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.io.lerobot_language import Language, read_language
from worldmodel.io.lerobot_meta import (
    Episode,
    camera_name,
    checked_info,
    episode_records,
    our_facts,
    picture_size,
    stored_rig,
    video_keys,
)
from worldmodel.io.lerobot_rows import episode_rows, instructions_of, read_boxes, shifted
from worldmodel.io.lerobot_writer import ACTION_NAMES, CAMERA_PREFIX, write_files
from worldmodel.io.rig_file import Vehicle, nominal_rig
from worldmodel.io.video import probe, read_frames

__all__ = ["CAMERA_PREFIX", "Dataset", "Episode", "find_clip", "write_dataset"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """A dataset on disk. Opening reads only the small files of `meta/`.

    Attributes:
        path: The folder.
        name: In words.
        rig: The cameras of every clip.
        vehicle: Numbers behind an estimated motion; None where nothing was estimated.
        frequency_hz: Frames per second, a whole number.
        has_motion: Whether the clips have ego motion.
        notes: What was assumed when it was made or opened.
        records: One entry per episode.
    """

    path: Path
    name: str
    rig: Rig
    vehicle: Vehicle | None
    frequency_hz: float
    has_motion: bool
    notes: tuple[str, ...]
    records: tuple[Episode, ...]

    @staticmethod
    def open(path: Path | str) -> "Dataset":
        """Open a dataset folder that we or others wrote.

        Raises:
            BadDataset: if it is not a LeRobot v3 dataset with videos, or a file in `meta/` is missing or broken.
        """
        return _open(Path(path))

    @property
    def episodes(self) -> int:
        """Number of clips."""
        return len(self.records)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the clips, in order."""
        return tuple(record.id for record in self.records)

    def __len__(self) -> int:
        return len(self.records)

    def record(self, episode: int) -> Episode:
        """The entry of one episode.

        Raises:
            BadRequest: if there is no such episode.
        """
        if not 0 <= episode < len(self.records):
            raise BadRequest(
                f"episode {episode} of '{self.path}' is wanted, but it has episodes 0 to {len(self.records) - 1}. "
                "Choose one of these."
            )
        return self.records[episode]

    def length(self, episode: int) -> int:
        """Number of frames of one episode."""
        return self.record(episode).length

    def frames(self, episode: int, indices: Sequence[int] | Array) -> UInt8[Array, "n camera 3 height width"]:
        """Pictures of all cameras at frame numbers of an episode, in the order asked for.

        Raises:
            BadRequest: if a frame does not exist.
            BadDataset: if a video is shorter than the tables say, or has another size.
            BadVideo: if a video cannot be read.
        """
        record, wanted = self.record(episode), np.asarray(indices, np.int64).reshape(-1)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < record.length):
            raise BadRequest(
                f"frames {wanted.min()} to {wanted.max()} of clip '{record.id}' are wanted, but it has frames "
                f"0 to {record.length - 1}."
            )
        return np.stack([self._camera_frames(record, camera, wanted) for camera in range(len(self.rig))], axis=1)

    def clip(self, episode: int, start_s: float = 0.0, seconds: float | None = None) -> Clip:
        """One clip or a part of it: nearest frames from `start_s`, lasting `seconds` (to the end when None).

        Raises:
            ClipTooShort: if the episode does not last that long.
            BadRequest: if the times are negative, or there is no such episode.
        """
        record = self.record(episode)
        first, last = self._range(record, start_s, seconds)
        rows = episode_rows(record, episode, self.has_motion)
        return Clip(
            id=record.id,
            video=self.frames(episode, np.arange(first, last)),
            rig=self.rig,
            motion=self._motion(record, rows, first, last) if self.has_motion else None,
            motion_origin=record.motion_origin,
            frequency_hz=self.frequency_hz,
            instructions=shifted(
                instructions_of(self.path, record, rows, self.frequency_hz),
                first / self.frequency_hz,
                last / self.frequency_hz,
            ),
            boxes=read_boxes(self.path, episode, first, last) if record.has_boxes else None,
            source=record.source,
        )

    def motion(self, episode: int, start_s: float = 0.0, seconds: float | None = None) -> Motion | None:
        """The ego motion of an episode, or of a part as of `clip`, without reading its videos; None when there is none."""
        record = self.record(episode)
        if not self.has_motion:
            return None
        first, last = self._range(record, start_s, seconds)
        return self._motion(record, episode_rows(record, episode, self.has_motion), first, last)

    def language(self, episode: int) -> Language:
        """What is said about a whole episode: hints, notices, description, decisions, questions; nothing where nobody says.

        Raises:
            BadRequest: if there is no such episode.
            BadDataset: if a table cannot be read.
        """
        self.record(episode)
        return read_language(self.path, episode)

    def _camera_frames(self, record: Episode, camera: int, wanted: Array) -> Array:
        file, offset = record.videos[camera]
        info = probe(file)
        if info.frames < offset + record.length or (info.width_px, info.height_px) != (
            self.rig.width_px,
            self.rig.height_px,
        ):
            raise BadDataset(
                f"'{file}' has {info.frames} frames of {info.width_px}x{info.height_px}; clip '{record.id}' needs "
                f"{offset + record.length} of {self.rig.width_px}x{self.rig.height_px}. Run `detour check`, then import again."
            )
        return read_frames(file, wanted + offset)

    def _range(self, record: Episode, start_s: float, seconds: float | None) -> tuple[int, int]:
        if not start_s >= 0 or (seconds is not None and not seconds > 0):
            raise BadRequest(f"start {start_s} s and length {seconds} s are asked for; need start >= 0, length > 0.")
        first = round(start_s * self.frequency_hz)
        last = record.length if seconds is None else first + max(1, round(seconds * self.frequency_hz))
        if not first < last <= record.length:
            raise ClipTooShort(
                f"clip '{record.id}' lasts {record.length / self.frequency_hz:.2f} s, but "
                f"{'the rest' if seconds is None else f'{seconds:g} s'} from {start_s:g} s on is wanted. Choose times inside it."
            )
        return first, last

    def _motion(self, record: Episode, rows: Mapping[str, Array], first: int, last: int) -> Motion:
        valid = rows["action_valid"][first : last - 1]
        if not valid.all():
            raise BadTable(
                f"'{record.data_file}': the motion of clip '{record.id}' is missing at frame "
                f"{first + int(np.flatnonzero(~valid)[0])}. Choose a part without it."
            )
        return Motion(deltas=rows["action"][first : last - 1].astype(np.float64), period_s=1 / self.frequency_hz)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClipFacts:
    """What a whole episode holds besides its pictures; fields as in `Clip`."""

    motion: Motion | None
    instructions: tuple[Instruction, ...]
    boxes: tuple[tuple[Box, ...], ...] | None


def clip_without_video(dataset: Dataset, episode: int) -> ClipFacts:
    """Motion, instructions and boxes of a whole episode, without reading its videos."""
    record = dataset.record(episode)
    rows = episode_rows(record, episode, dataset.has_motion)
    return ClipFacts(
        motion=dataset.motion(episode),
        instructions=instructions_of(dataset.path, record, rows, dataset.frequency_hz),
        boxes=read_boxes(dataset.path, episode, 0, record.length) if record.has_boxes else None,
    )


def write_dataset(
    clips: Iterable[Clip],
    out: Path | str,
    *,
    name: str,
    crf: int = 18,
    vehicle: Vehicle | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Write clips as a dataset, one after the other; the folder appears whole or not at all.

    Args:
        clips: At least one; all with the same rig, the same whole-number rate, and either all with motion or all
            without (write two datasets for a mixture). Read one at a time.
        out: A folder that does not exist yet.
        name: What it is, in words.
        crf: Quality of the H.264 videos.
        vehicle: Numbers that an estimated motion was computed with.
        notes: What was assumed; kept in `meta/clips.json`.
    Raises:
        OutputExists: if `out` exists or cannot be written.
        BadDataset: if there is no clip, the clips do not go together, or an id repeats.
    """
    write_files(clips, Path(out), name=name, crf=crf, vehicle=vehicle, notes=tuple(notes))
    return Dataset.open(out)


def find_clip(text: str) -> tuple[Dataset, int, float | None]:
    """Parse `DATASET[:EPISODE[@SECONDS]]`; EPISODE is a number from 0 or a clip's id.

    Paths and ids may contain ':' and '@': the longest existing folder at the start is the dataset.

    Returns:
        The dataset, the episode (0 when not named) and the seconds (None when not named).
    Raises:
        BadDataset: if no dataset is there.
        UnknownName: if no clip has that id; the closest is offered.
        BadRequest: if the episode or the time lies outside.
    """
    path, rest = _split_dataset(text)
    dataset = Dataset.open(path)
    if not rest:
        return dataset, 0, None
    if rest in dataset.ids:
        return dataset, dataset.ids.index(rest), None
    label, at, time = rest.rpartition("@")
    episode = _episode(dataset, label if at else rest)
    return dataset, episode, _seconds(dataset, episode, time) if at else None


def _split_dataset(text: str) -> tuple[Path, str]:
    ends = [len(text)] + [i for i in range(len(text) - 1, 0, -1) if text[i] == ":"]
    for end in ends:
        if Path(text[:end]).is_dir():
            return Path(text[:end]), text[end + 1 :]
    raise BadDataset(
        f"'{text}' names no dataset folder. Write DATASET, DATASET:EPISODE or DATASET:EPISODE@SECONDS; "
        "DATASET is a folder that `detour import` or `detour town` wrote."
    )


def _episode(dataset: Dataset, label: str) -> int:
    if label in dataset.ids:
        return dataset.ids.index(label)
    if label.isdecimal():
        dataset.record(int(label))
        return int(label)
    raise UnknownName("clip", label, dataset.ids)


def _seconds(dataset: Dataset, episode: int, time: str) -> float:
    duration = dataset.length(episode) / dataset.frequency_hz
    try:
        seconds = float(time)
    except ValueError as error:
        raise BadRequest(f"'@{time}' is not a time. Write seconds such as '@2.5'.") from error
    if not 0 <= seconds < duration:
        raise BadRequest(
            f"'@{time}' is outside clip '{dataset.ids[episode]}', which lasts {duration:.2f} s. Choose a time inside it."
        )
    return seconds


def open_with_any_sizes(path: Path, fov_deg: float) -> tuple[Dataset, list[tuple[int, int]]]:
    """For import: a dataset whose cameras may differ in size, and each camera's (width, height).

    Its rig is the stored one, or a nominal one for the first camera's size; its pictures cannot be read through it
    where sizes differ.
    """
    info = checked_info(path)
    keys = video_keys(info)
    if (path / "meta" / "rig.json").exists():
        dataset = Dataset.open(path)
        return dataset, [(dataset.rig.width_px, dataset.rig.height_px)] * len(dataset.rig)
    sizes = [picture_size(path, key, info["features"][key]) for key in keys]
    return _open(path, nominal_rig([camera_name(key) for key in keys], *sizes[0], fov_deg)), sizes


def _open(path: Path, nominal: Rig | None = None) -> Dataset:
    info, ours = checked_info(path), our_facts(path)
    keys, rate = video_keys(info), float(info["fps"])
    rig, vehicle, notes = stored_rig(path, info["features"], keys, nominal)
    has_motion = list((info["features"].get("action") or {}).get("names") or []) == list(ACTION_NAMES)
    if (path / "meta" / "rig.json").exists():
        keys = [CAMERA_PREFIX + name for name in rig.names]
    return Dataset(
        path=path,
        name=str(ours.get("name", path.name)),
        rig=rig,
        vehicle=vehicle,
        frequency_hz=rate,
        has_motion=has_motion,
        notes=(*ours.get("notes", ()), *notes),
        records=episode_records(path, info, keys, ours, has_motion),
    )
