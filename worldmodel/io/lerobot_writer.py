"""Write the files of a LeRobot v3.0 dataset, as lerobot 0.4.4 reads them. Used through `lerobot.write_dataset`.

Every episode has a video file of its own per camera, so a damaged file harms one clip, and times inside a file stay
small enough for the float32 arithmetic of other readers. Rows of all episodes share one table, one row group each.
"""

import json
import os
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.clips import Clip
from worldmodel.errors import BadDataset, OutputExists
from worldmodel.geometry import Array, Rig
from worldmodel.io.lerobot_parts import Part, data_table, make_part, of_episode
from worldmodel.io.lerobot_statistics import merged_statistics, numeric_statistics
from worldmodel.io.rig_file import Vehicle, rig_content

VERSION = "v3.0"
CAMERA_PREFIX = "observation.images."
ACTION_NAMES = ("forward_m", "left_m", "yaw_rad")
STATE_NAMES = ("speed_mps", "yaw_rate_radps", "x_m", "y_m", "yaw_rad")
CHUNK_FILES = 1000  # files per chunk folder
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
Statistics = dict[str, dict[str, Any]]


def check_free(out: Path) -> None:
    """Fail before any work when `out` cannot be made.

    Raises:
        OutputExists: if it exists or its place cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise OutputExists(f"'{out}' exists already. Choose another place, or remove it first.")
    attempt = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        attempt.mkdir(parents=True)
    except OSError as error:
        raise OutputExists(f"cannot write '{out}': {error}. Choose a folder you may write to.") from error
    attempt.rmdir()


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well and vanishes when it does not.

    Raises:
        OutputExists: if `out` exists or its place cannot be written.
    """
    check_free(out)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.rename(temporary, out)
    except OSError as error:
        raise OutputExists(
            f"cannot write '{out}': {error}. Choose a folder you may write to, with free space."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_files(
    clips: Iterable[Clip], out: Path, *, name: str, crf: int, vehicle: Vehicle | None, notes: tuple[str, ...]
) -> None:
    """Write clips as a dataset folder; see `lerobot.write_dataset`."""
    with new_folder(out) as folder:
        parts = _parts(clips, folder / ".part", crf)
        if not join_parts(parts, folder, name=name, vehicle=vehicle, notes=notes):
            raise BadDataset(f"there is no clip to write to '{out}'. Give at least one.")


def _parts(clips: Iterable[Clip], folder: Path, crf: int) -> Iterator[Part]:
    """One part at a time, in a folder that is gone before the next one."""
    for clip in clips:
        check_clip(clip)
        folder.mkdir()
        yield make_part(clip, folder, crf=crf)
        shutil.rmtree(folder)


def join_parts(
    parts: Iterable[Part],
    folder: Path,
    *,
    name: str,
    vehicle: Vehicle | None = None,
    notes: Sequence[str] = (),
) -> int:
    """Write parts as the files of a dataset into an existing folder; says how many there were.

    The parts' own files stay as they are: videos are linked where the disk can, else copied.

    Raises:
        BadDataset: if parts do not go together, or an id repeats.
        OSError: if the folder cannot be written.
    """
    writer = _Writer(folder=folder)
    try:
        for part in parts:
            writer.add(part)
    finally:
        writer.close()
    if writer.episodes:
        writer.finish(name=name, vehicle=vehicle, notes=notes)
    return len(writer.episodes)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Common:
    """What all clips of a dataset share, and the clip that says so."""

    id: str
    rig: Rig
    frequency_hz: float
    has_motion: bool


@dataclass(kw_only=True)
class _Writer:
    """What is known so far while parts come in one after the other."""

    folder: Path
    common: _Common | None = None
    episodes: list[dict[str, Any]] = field(default_factory=list)
    known: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    statistics: list[Statistics] = field(default_factory=list)
    columns: list[dict[str, Array]] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    _tables: dict[str, Any] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """Take one clip's videos and rows in."""
        facts = part.facts
        if self.common is None:
            self.common = _Common(
                id=facts.id, rig=part.rig, frequency_hz=facts.frequency_hz, has_motion=facts.has_motion
            )
        _check_same(self.common, part, self.ids)
        episode = len(self.episodes)
        columns = self._columns(part, episode)
        statistics = {key: numeric_statistics(values) for key, values in columns.items()}
        for camera, source in part.videos.items():
            key = CAMERA_PREFIX + camera
            file = self.folder / VIDEO_PATH.format(video_key=key, **_place(episode))
            file.parent.mkdir(parents=True, exist_ok=True)
            _link(source, file)
            statistics[key] = facts.pictures[camera]
        self._append("data", DATA_PATH.format(chunk_index=0, file_index=0), data_table(columns))
        for table, rows in part.tables.items():
            self._append(table, f"meta/{table}.parquet", of_episode(rows, episode))
        self.episodes.append(self._episode_row(part, episode, columns, statistics))
        self.known.append({"episode_index": episode, **facts.entry})
        self.ids.add(facts.id)
        self.statistics.append(statistics)
        self.columns.append(columns)
        self.frames += len(facts)

    def close(self) -> None:
        """Finish the tables that are written piece by piece."""
        for table in self._tables.values():
            table.close()

    def finish(self, *, name: str, vehicle: Vehicle | None, notes: Sequence[str]) -> None:
        """Write everything in `meta/`."""
        assert self.common is not None
        meta = self.folder / "meta"
        meta.mkdir(exist_ok=True)
        _write_json(meta / "info.json", self._info(self.common))
        _write_json(meta / "stats.json", self._dataset_statistics())
        _write_json(meta / "rig.json", rig_content(self.common.rig, vehicle))
        _write_json(meta / "clips.json", {"version": 1, "name": name, "notes": list(notes), "episodes": self.known})
        _write_tasks(meta / "tasks.parquet", self.tasks)
        _write_episodes(meta / "episodes" / "chunk-000" / "file-000.parquet", self.episodes)

    def _append(self, key: str, relative: str, table: Any) -> None:
        import pyarrow.parquet as pq

        if key not in self._tables:
            path = self.folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            self._tables[key] = pq.ParquetWriter(path, table.schema)
        self._tables[key].write_table(table)

    def _columns(self, part: Part, episode: int) -> dict[str, Array]:
        frames = np.arange(len(part.facts))
        tasks = np.array([self.tasks.setdefault(text, len(self.tasks)) for text in part.facts.texts])
        return {
            **part.motion,
            "timestamp": (frames / part.facts.frequency_hz).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(len(frames), episode),
            "index": frames + self.frames,
            "task_index": tasks,
        }

    def _episode_row(
        self, part: Part, episode: int, columns: Mapping[str, Array], statistics: Statistics
    ) -> dict[str, Any]:
        texts, length = list(self.tasks), len(part.facts)
        row: dict[str, Any] = {
            "episode_index": episode,
            "tasks": [texts[task] for task in np.unique(columns["task_index"])],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name in part.rig.names:
            key = f"videos/{CAMERA_PREFIX}{name}"
            row |= {f"{key}/{field}": value for field, value in _place(episode).items()}
            row |= {f"{key}/from_timestamp": 0.0, f"{key}/to_timestamp": length / part.facts.frequency_hz}
        for feature, values in statistics.items():
            row |= {f"stats/{feature}/{statistic}": value for statistic, value in values.items()}
        return row

    def _dataset_statistics(self) -> Statistics:
        result = {
            key: numeric_statistics(np.concatenate([columns[key] for columns in self.columns]))
            for key in self.columns[0]
        }
        for key in [key for key in self.statistics[0] if key not in result]:
            result[key] = merged_statistics([statistics[key] for statistics in self.statistics])
        return result

    def _info(self, common: _Common) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": "car",
            "total_episodes": len(self.episodes),
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": round(common.frequency_hz),
            "splits": {"train": f"0:{len(self.episodes)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": _features(common.rig, round(common.frequency_hz), common.has_motion),
        }


def _link(source: Path, file: Path) -> None:
    """The same file under another name; a copy where the disk knows no links."""
    try:
        os.link(source, file)
    except OSError:
        shutil.copyfile(source, file)


def check_clip(clip: Clip) -> None:
    """Refuse a clip that no dataset can hold, before any work.

    Raises:
        BadDataset: if its rate is no whole number, or a camera's name cannot be a folder.
    """
    if abs(clip.frequency_hz - round(clip.frequency_hz)) > 1e-9:
        raise BadDataset(
            f"clip '{clip.id}' has {clip.frequency_hz} Hz, but LeRobot needs a whole number. Resample it, for example "
            f"with `detour import --frequency {max(1, round(clip.frequency_hz))}`."
        )
    bad = [name for name in clip.rig.names if not name or "/" in name or "\\" in name or name.startswith(".")]
    if bad:
        raise BadDataset(f"camera name '{bad[0]}' cannot be a folder name. Rename it, with letters, digits and '_'.")


def _check_same(first: _Common, part: Part, ids: Container[str]) -> None:
    clip = part.facts
    if clip.id in ids:
        raise BadDataset(f"two clips are called '{clip.id}'. Give every clip its own id.")
    if not same_rig(first.rig, part.rig):
        raise BadDataset(
            f"clip '{clip.id}' has another rig than '{first.id}' (names, order, size or calibration), but a dataset has one. "
            "Write two datasets."
        )
    if clip.frequency_hz != first.frequency_hz:
        raise BadDataset(
            f"clip '{clip.id}' has {clip.frequency_hz} Hz, but '{first.id}' {first.frequency_hz} Hz. Resample to one rate."
        )
    if clip.has_motion != first.has_motion:
        has, lacks = (first.id, clip.id) if first.has_motion else (clip.id, first.id)
        raise BadDataset(
            f"clip '{has}' has ego motion and '{lacks}' has none, but a dataset has motion for all or for none. "
            "Write two datasets."
        )


def same_rig(a: Rig, b: Rig) -> bool:
    """Whether two rigs may share a dataset: names, order and size are equal, calibrations but for rounding."""
    if a.names != b.names or (a.width_px, a.height_px) != (b.width_px, b.height_px):
        return False
    pairs = zip(a.cameras, b.cameras, strict=True)
    return all(
        np.allclose(one.intrinsics, two.intrinsics, atol=1e-3)
        and np.allclose(one.ego_from_camera, two.ego_from_camera, atol=1e-4)
        for one, two in pairs
    )


def _place(episode: int) -> dict[str, int]:
    return {"chunk_index": episode // CHUNK_FILES, "file_index": episode % CHUNK_FILES}


def _features(rig: Rig, rate: int, has_motion: bool) -> dict[str, Any]:
    video = {
        "dtype": "video",
        "shape": [rig.height_px, rig.width_px, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": rig.height_px,
            "video.width": rig.width_px,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": rate,
            "video.channels": 3,
            "has_audio": False,
        },
    }
    motion = {
        "observation.state": _feature("float32", STATE_NAMES),
        "action": _feature("float32", ACTION_NAMES),
        "action_valid": _feature("bool"),
    }
    index = {key: _feature("int64") for key in ("frame_index", "episode_index", "index", "task_index")}
    cameras = {CAMERA_PREFIX + name: video for name in rig.names}
    return {**cameras, **(motion if has_motion else {}), "timestamp": _feature("float32"), **index}


def _feature(dtype: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": list(names) if names else None}


def _write_tasks(path: Path, tasks: Mapping[str, int]) -> None:
    """The texts are a pandas index: lerobot looks them up by row name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = "__index_level_0__"
    columns = [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None},
    ]
    names = [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}]
    pandas = {"index_columns": [index], "column_indexes": names, "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), index: pa.array(tasks.keys(), pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def _write_episodes(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
