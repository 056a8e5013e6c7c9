"""Rows of a LeRobot v3.0 dataset: per-frame columns, task texts and boxes of one episode."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.clips import Box, Instruction
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array
from worldmodel.io.lerobot_meta import Episode
from worldmodel.io.lerobot_parts import BOX_COLUMNS


def episode_rows(record: Episode, episode: int, has_motion: bool) -> Mapping[str, Array]:
    """Columns of one episode's rows: task_index, and action and action_valid where there is motion."""
    try:
        modified = record.data_file.stat().st_mtime_ns
    except OSError as error:
        raise BadDataset(f"'{record.data_file}' cannot be read: {error.strerror}. Copy the dataset again.") from error
    columns = ("task_index", "action", "action_valid") if has_motion else ("task_index",)
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


def instructions_of(
    path: Path, record: Episode, rows: Mapping[str, Array], frequency_hz: float
) -> tuple[Instruction, ...]:
    """The stored instructions, else one per stretch of frames with the same task."""
    if record.instructions is not None:
        return record.instructions
    texts, tasks = _tasks(path), rows["task_index"]
    starts = [0, *(np.flatnonzero(np.diff(tasks)) + 1).tolist()]
    ends = [*starts[1:], len(tasks)]
    return tuple(
        Instruction(text=texts[tasks[a]], start_s=a / frequency_hz, end_s=b / frequency_hz)
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


def shifted(instructions: Sequence[Instruction], start_s: float, end_s: float) -> tuple[Instruction, ...]:
    """The instructions that hold between two times, counted from the first of them."""
    return tuple(
        Instruction(text=i.text, start_s=max(0.0, i.start_s - start_s), end_s=i.end_s - start_s)
        for i in instructions
        if i.end_s > start_s and i.start_s < end_s
    )


def read_boxes(path: Path, episode: int, first: int, last: int) -> tuple[tuple[Box, ...], ...]:
    """The boxes of frames `first` to `last` (excluded) of an episode, one tuple per frame."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [("episode_index", "=", episode), ("frame_index", ">=", first), ("frame_index", "<", last)]
    try:
        file = path / "meta" / "boxes.parquet"
        known = [name for name in BOX_COLUMNS if name != "visibility" or name in pq.read_schema(file).names]
        rows = pq.read_table(file, columns=known, filters=wanted).to_pylist()
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
        visibility=row.get("visibility"),
    )
