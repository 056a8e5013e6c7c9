"""Our native dataset format: LeRobot v3.0 on disk, clips in memory.

A dataset is a folder that lerobot 0.4's own reader opens too:

    meta/info.json, stats.json, tasks.parquet, episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet                        one row per frame
    videos/observation.images.CAMERA/chunk-000/file-000.mp4
    meta/rig.json, clips.json, boxes.parquet               what lerobot has no place for

`action` in row i is the step from frame i to i + 1 (forward m, left m, yaw rad); the last row of an episode repeats the
one before and has `action_valid` false. `observation.state` is speed, yaw rate and the pose in the frame of the
episode's first image. A dataset has these columns for all of its clips or for none. Datasets that others wrote have no
`meta/rig.json`: a nominal rig is assumed, and without columns named like ours there is no motion.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt8

from worldmodel.clips import Box, Clip, Instruction
from worldmodel.errors import BadDataset, BadRequest, BadTable, ClipTooShort, UnknownName
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.io.lerobot_writer import ACTION_NAMES, BOX_COLUMNS, CAMERA_PREFIX, VERSION, write_files
from worldmodel.io.rig_file import Vehicle, nominal_rig, read_rig
from worldmodel.io.video import probe, read_frames

__all__ = ["Dataset", "Episode", "find_clip", "write_dataset"]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Where one clip lies in the files of a dataset, and what is known about it.

    Attributes:
        id: The clip's name; 'episode_000012' where its dataset has no names.
        length: Number of frames.
        data_file: The table with its rows.
        videos: Per camera, the file and the number of the episode's first frame in it.
        own_files: Whether no other episode shares these files (as we write them).
        motion_origin: As in `Clip`.
        instructions: With exact times; None where only each frame's task is known.
        has_boxes: Whether somebody labelled it.
        source: In words.
    """

    id: str
    length: int
    data_file: Path
    videos: tuple[tuple[Path, int], ...]
    own_files: bool
    motion_origin: str
    instructions: tuple[Instruction, ...] | None
    has_boxes: bool
    source: str


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
        rows = _rows(self, episode, record)
        return Clip(
            id=record.id,
            video=self.frames(episode, np.arange(first, last)),
            rig=self.rig,
            motion=self._motion(record, rows, first, last) if self.has_motion else None,
            motion_origin=record.motion_origin,
            frequency_hz=self.frequency_hz,
            instructions=_shifted(
                _instructions(self, record, rows), first / self.frequency_hz, last / self.frequency_hz
            ),
            boxes=_boxes(self.path, episode, first, last) if record.has_boxes else None,
            source=record.source,
        )

    def motion(self, episode: int) -> Motion | None:
        """The ego motion of a whole episode without reading its videos; None when there is none."""
        record = self.record(episode)
        return self._motion(record, _rows(self, episode, record), 0, record.length) if self.has_motion else None

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
    rows = _rows(dataset, episode, record)
    return ClipFacts(
        motion=dataset.motion(episode),
        instructions=_instructions(dataset, record, rows),
        boxes=_boxes(dataset.path, episode, 0, record.length) if record.has_boxes else None,
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
    info = _checked_info(path)
    keys = _video_keys(info)
    if (path / "meta" / "rig.json").exists():
        dataset = Dataset.open(path)
        return dataset, [(dataset.rig.width_px, dataset.rig.height_px)] * len(dataset.rig)
    sizes = [_size(path, key, info["features"][key]) for key in keys]
    return _open(path, nominal_rig([camera_name(key) for key in keys], *sizes[0], fov_deg)), sizes


def _open(path: Path, nominal: Rig | None = None) -> Dataset:
    info, ours = _checked_info(path), _ours(path)
    keys, rate = _video_keys(info), float(info["fps"])
    rig, vehicle, notes = _rig(path, info["features"], keys, nominal)
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
        records=_records(path, info, keys, ours, has_motion),
    )


def _checked_info(path: Path) -> dict[str, Any]:
    info = read_json(path / "meta" / "info.json")
    version = str(info.get("codebase_version", "none"))
    if not version.startswith("v3."):
        raise BadDataset(
            f"'{path}' has format version {version}; we read LeRobot {VERSION}. Convert it with lerobot's own converter."
        )
    features, rate = info.get("features"), info.get("fps")
    if not isinstance(features, Mapping) or not isinstance(rate, int | float) or not rate > 0:
        raise BadDataset(f"'{path}/meta/info.json' needs 'features' and a positive 'fps'; fps is {rate!r}. Repair it.")
    if not _video_keys(info):
        raise BadDataset(
            f"'{path}' has no feature of type 'video'. Datasets of single images are not read; convert it."
        )
    return info


def _video_keys(info: Mapping[str, Any]) -> list[str]:
    return [key for key, feature in info["features"].items() if feature.get("dtype") == "video"]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of `meta/`.

    Raises:
        BadDataset: if it is missing, not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadDataset(
            f"'{path}' is missing: '{path.parent.parent}' is not a dataset. Give a folder that `detour import` or `detour town` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise BadDataset(f"'{path}' cannot be read: {error}. Write or copy the dataset again.") from error
    if not isinstance(content, dict):
        raise BadDataset(f"'{path}' holds a {type(content).__name__}, not an object. Write the dataset again.")
    return content


def _ours(path: Path) -> dict[str, Any]:
    return read_json(path / "meta" / "clips.json") if (path / "meta" / "clips.json").exists() else {}


def _rig(
    path: Path, features: Mapping[str, Any], keys: Sequence[str], nominal: Rig | None
) -> tuple[Rig, Vehicle | None, list[str]]:
    if (path / "meta" / "rig.json").exists():
        file = read_rig(path / "meta" / "rig.json")
        missing = {CAMERA_PREFIX + name for name in file.rig.names} - set(keys)
        if missing:
            raise BadDataset(f"'{path}/meta/rig.json' has cameras without a video: {', '.join(sorted(missing))}.")
        return file.rig, file.vehicle, []
    note = "no calibration (meta/rig.json) in the dataset: a nominal rig is assumed"
    if nominal is not None:
        return nominal, None, [note]
    sizes = {_size(path, key, features[key]) for key in keys}
    if len(sizes) > 1:
        raise BadDataset(
            f"the cameras of '{path}' have different sizes {sorted(sizes)}; a clip needs one. "
            "Run `detour import --format lerobot`, which scales them."
        )
    return nominal_rig([camera_name(key) for key in keys], *sizes.pop()), None, [note]


def camera_name(key: str) -> str:
    """Camera name of a LeRobot video feature: 'observation.images.front' is 'front'."""
    return key.removeprefix(CAMERA_PREFIX).removeprefix("observation.")


def _size(path: Path, key: str, feature: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that a video feature declares, whichever way its axes are ordered."""
    shape = [int(side) for side in feature.get("shape", ())]
    names = [str(name) for name in feature.get("names") or ()]
    if len(shape) != 3:
        raise BadDataset(f"'{path}': feature '{key}' has shape {shape}; a video needs three axes.")
    if {"height", "width"} <= set(names):
        return shape[names.index("width")], shape[names.index("height")]
    return (shape[2], shape[1]) if shape[0] == 3 else (shape[1], shape[0])


def _records(
    path: Path, info: Mapping[str, Any], keys: Sequence[str], ours: Mapping[str, Any], has_motion: bool
) -> tuple[Episode, ...]:
    rows = _episode_rows(path)
    known = {int(entry["episode_index"]): entry for entry in ours.get("episodes", ())}
    try:
        records = [_record(path, info, keys, row, known.get(row["episode_index"], {}), has_motion) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise BadDataset(
            f"the tables in '{path}/meta' do not go together: {type(error).__name__} {error}. Write it again."
        ) from error
    return tuple(records)


def _episode_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((path / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise BadDataset(f"'{path}/meta/episodes' has no tables. Write or copy the dataset again.")
    try:
        rows: list[dict[str, Any]] = []
        for file in files:
            wanted = [column for column in pq.read_schema(file).names if not column.startswith("stats/")]
            rows += pq.read_table(file, columns=wanted).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BadDataset(f"'{path}/meta/episodes' cannot be read: {error}. Copy the dataset again.") from error
    return sorted(rows, key=lambda row: row["episode_index"])


def _record(
    path: Path, info: Mapping[str, Any], keys: Sequence[str], row: dict[str, Any], ours: Mapping[str, Any], moves: bool
) -> Episode:
    def video(key: str) -> tuple[Path, int]:
        chunk, file, start = (row[f"videos/{key}/{field}"] for field in ("chunk_index", "file_index", "from_timestamp"))
        relative = info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file)
        return _inside(path, relative), round(start * info["fps"])

    data = info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    texts = ours.get("instructions")
    return Episode(
        id=str(ours.get("id", f"episode_{row['episode_index']:06d}")),
        length=int(row["length"]),
        data_file=_inside(path, data),
        videos=tuple(video(key) for key in keys),
        own_files=bool(ours),
        motion_origin=str(ours.get("motion_origin", "poses" if moves else "none")),
        instructions=None if texts is None else tuple(_instruction(text) for text in texts),
        has_boxes=bool(ours.get("boxes", False)),
        source=str(ours.get("source", f"LeRobot dataset '{path.name}'")),
    )


def _instruction(entry: Mapping[str, Any]) -> Instruction:
    end = entry["end_s"]
    return Instruction(text=entry["text"], start_s=entry["start_s"], end_s=np.inf if end is None else end)


def _inside(root: Path, relative: str) -> Path:
    if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
        raise BadDataset(f"'{root}/meta/info.json' points to '{relative}', outside the dataset. Do not trust it.")
    return root / relative


def _rows(dataset: Dataset, episode: int, record: Episode) -> Mapping[str, Array]:
    """Columns of one episode's rows: task_index, and action and action_valid where there is motion."""
    try:
        modified = record.data_file.stat().st_mtime_ns
    except OSError as error:
        raise BadDataset(f"'{record.data_file}' cannot be read: {error.strerror}. Copy the dataset again.") from error
    columns = ("task_index", "action", "action_valid") if dataset.has_motion else ("task_index",)
    rows = _read_rows(record.data_file, modified, episode, columns)
    if len(rows["task_index"]) != record.length:
        raise BadDataset(
            f"'{record.data_file}' has {len(rows['task_index'])} rows of clip '{record.id}', but {record.length} are announced. Run `detour check`."
        )
    return rows


@lru_cache(maxsize=4096)
def _read_rows(file: Path, _mtime_ns: int, episode: int, columns: tuple[str, ...]) -> Mapping[str, Array]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=list(columns), filters=[("episode_index", "=", episode)])
    except (pa.ArrowException, OSError) as error:
        raise BadDataset(f"'{file}' cannot be read: {error}. Copy the dataset again.") from error
    return {name: np.array(table[name].to_pylist()) for name in columns}


def _instructions(dataset: Dataset, record: Episode, rows: Mapping[str, Array]) -> tuple[Instruction, ...]:
    """The stored instructions, else one per stretch of frames with the same task."""
    if record.instructions is not None:
        return record.instructions
    texts, tasks = _tasks(dataset.path), rows["task_index"]
    starts = [0, *(np.flatnonzero(np.diff(tasks)) + 1).tolist()]
    ends = [*starts[1:], len(tasks)]
    return tuple(
        Instruction(text=texts[tasks[a]], start_s=a / dataset.frequency_hz, end_s=b / dataset.frequency_hz)
        for a, b in zip(starts, ends, strict=True)
        if texts.get(tasks[a], "").strip()
    )


def _tasks(path: Path) -> dict[int, str]:
    """Task texts by number; pandas keeps the texts in its index column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path / "meta" / "tasks.parquet")
        text = next(name for name in table.column_names if name != "task_index")
    except (pa.ArrowException, OSError, StopIteration) as error:
        raise BadDataset(f"'{path}/meta/tasks.parquet' cannot be read: {error}. Copy the dataset again.") from error
    return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))


def _shifted(instructions: Sequence[Instruction], start_s: float, end_s: float) -> tuple[Instruction, ...]:
    return tuple(
        Instruction(text=i.text, start_s=max(0.0, i.start_s - start_s), end_s=i.end_s - start_s)
        for i in instructions
        if i.end_s > start_s and i.start_s < end_s
    )


def _boxes(path: Path, episode: int, first: int, last: int) -> tuple[tuple[Box, ...], ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [("episode_index", "=", episode), ("frame_index", ">=", first), ("frame_index", "<", last)]
    try:
        rows = pq.read_table(path / "meta" / "boxes.parquet", columns=list(BOX_COLUMNS), filters=wanted).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise BadDataset(f"'{path}/meta/boxes.parquet' cannot be read: {error}. Copy the dataset again.") from error
    frames: list[list[Box]] = [[] for _ in range(last - first)]
    for row in rows:
        frames[row["frame_index"] - first].append(_box(row))
    return tuple(tuple(boxes) for boxes in frames)


def _box(row: Mapping[str, Any]) -> Box:
    known = row["vx_mps"] is not None and row["vy_mps"] is not None
    return Box(
        track=row["track"],
        kind=row["kind"],
        center=np.array([row["x_m"], row["y_m"], row["z_m"]]),
        size=np.array([row["length_m"], row["width_m"], row["height_m"]]),
        yaw_rad=row["yaw_rad"],
        velocity_mps=np.array([row["vx_mps"], row["vy_mps"]]) if known else None,
    )
