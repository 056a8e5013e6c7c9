"""Find everything that is wrong with a dataset folder, each problem with its file and row, without decoding pictures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.errors import BadInput
from worldmodel.geometry import Array
from worldmodel.io.lerobot import Dataset, Episode
from worldmodel.io.lerobot_language import DECISION_COLUMNS, DECISIONS_FILE, LANGUAGE_FILE, TEXT_KINDS
from worldmodel.io.lerobot_meta import read_json
from worldmodel.io.rig_file import read_rig
from worldmodel.io.video import probe

RATE_TOLERANCE = 0.01  # of a video's mean rate against the dataset's
TIME_TOLERANCE_S = 1e-4  # of a row's time against frame_index / rate; lerobot asks the same
MAX_STEP_MPS = 100.0  # an ego step faster than this is a mistake
NUMERIC_COLUMNS = ("action", "observation.state", "timestamp")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: The file.
        row: Row in that file, from 0; None when it is not about one row.
        message: What was found and what is needed.
    """

    path: Path
    row: int | None
    message: str

    def __str__(self) -> str:
        place = str(self.path) if self.row is None else f"{self.path}, row {self.row}"
        return f"{place}: {self.message}"


def check_dataset(path: Path | str) -> list[Problem]:
    """Every problem of a dataset, [] when there is none. Stretches of rows with the same problem count once."""
    path = Path(path)
    problems = [*_meta_problems(path)]
    try:
        dataset = Dataset.open(path)
    except BadInput as error:
        known = any(str(error) == problem.message for problem in problems)
        return problems if known else [*problems, Problem(path=path, row=None, message=str(error))]
    tables: dict[Path, Mapping[str, Array] | None] = {}
    for episode, record in enumerate(dataset.records):
        if record.data_file not in tables:
            tables[record.data_file], broken = _table(record.data_file)
            problems += broken
        problems += _video_problems(dataset, record)
        columns = tables[record.data_file]
        if columns is not None:
            problems += _row_problems(dataset, episode, record, columns)
    return [*problems, *_total_problems(dataset, tables), *_box_problems(dataset), *_language_problems(dataset)]


def _meta_problems(path: Path) -> Iterator[Problem]:
    for name in ("info.json", "stats.json"):
        yield from _raised(path / "meta" / name, lambda file: read_json(file))
    if (path / "meta" / "rig.json").exists():
        yield from _raised(path / "meta" / "rig.json", lambda file: read_rig(file))
    if not (path / "meta" / "tasks.parquet").exists():
        yield Problem(path=path / "meta" / "tasks.parquet", row=None, message="the file is missing. Write it again.")
    yield from _statistics_problems(path)


def _raised(file: Path, read: Callable[[Path], object]) -> Iterator[Problem]:
    try:
        read(file)
    except BadInput as error:
        yield Problem(path=file, row=None, message=str(error))


def _statistics_problems(path: Path) -> Iterator[Problem]:
    try:
        info, statistics = (read_json(path / "meta" / name) for name in ("info.json", "stats.json"))
    except BadInput:
        return  # reported already
    for feature in info.get("features", {}):
        if feature not in statistics:
            yield Problem(
                path=path / "meta" / "stats.json", row=None, message=f"feature '{feature}' has no statistics."
            )


def _table(file: Path, columns: list[str] | None = None) -> tuple[Mapping[str, Array] | None, list[Problem]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=columns)
    except (pa.ArrowException, OSError) as error:
        return None, [Problem(path=file, row=None, message=f"the table cannot be read: {error}")]
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}, []


def _video_problems(dataset: Dataset, record: Episode) -> Iterator[Problem]:
    for (file, first), camera in zip(record.videos, dataset.rig.cameras, strict=True):
        try:
            info = probe(file)
        except BadInput as error:
            yield Problem(path=file, row=None, message=str(error))
            continue
        needed = first + record.length
        if info.frames < needed or (first == 0 and record.own_files and info.frames != needed):
            yield Problem(
                path=file,
                row=None,
                message=f"the video has {info.frames} frames, but clip '{record.id}' has rows for {needed}.",
            )
        if (info.width_px, info.height_px) != (camera.width_px, camera.height_px):
            yield Problem(
                path=file,
                row=None,
                message=f"pictures of {info.width_px}x{info.height_px} px, but the rig says {camera.width_px}x{camera.height_px}.",
            )
        if info.frames > 1 and abs(info.frequency_hz / dataset.frequency_hz - 1) > RATE_TOLERANCE:
            yield Problem(
                path=file,
                row=None,
                message=f"a rate of {info.frequency_hz:g} Hz, but the dataset has {dataset.frequency_hz:g} Hz.",
            )


def _row_problems(dataset: Dataset, episode: int, record: Episode, columns: Mapping[str, Array]) -> Iterator[Problem]:
    file = record.data_file
    rows = np.flatnonzero(columns["episode_index"] == episode)
    if len(rows) != record.length:
        yield Problem(
            path=file,
            row=int(rows[0]) if len(rows) else None,
            message=f"{len(rows)} rows of clip '{record.id}', but {record.length} are announced.",
        )
    if not len(rows):
        return
    own = {name: values[rows] for name, values in columns.items()}
    for name in NUMERIC_COLUMNS:
        if name in own:
            bad = ~np.isfinite(own[name].astype(np.float64)).reshape(len(rows), -1).all(axis=1)
            yield from _runs(file, rows, bad, f"'{name}' of clip '{record.id}' is not finite")
    yield from _time_problems(dataset, record, rows, own)
    if dataset.has_motion:
        yield from _motion_problems(dataset, record, rows, own)


def _time_problems(dataset: Dataset, record: Episode, rows: Array, own: Mapping[str, Array]) -> Iterator[Problem]:
    times = own["timestamp"].astype(np.float64)
    steps = np.diff(times, prepend=times[0] - 1 / dataset.frequency_hz)
    yield from _runs(record.data_file, rows, steps <= 0, f"time of clip '{record.id}' does not increase")
    gap = steps > 1.5 / dataset.frequency_hz
    yield from _runs(record.data_file, rows, gap, f"a gap in the times of clip '{record.id}'")
    off = np.abs(times - np.arange(len(times)) / dataset.frequency_hz) > TIME_TOLERANCE_S + 1e-6 * np.abs(times)
    if not (steps <= 0).any() and not gap.any():
        yield from _runs(record.data_file, rows, off, f"time of clip '{record.id}' is not frame_index / rate")
    wrong = own["frame_index"] != np.arange(len(rows))
    yield from _runs(record.data_file, rows, wrong, f"frame_index of clip '{record.id}' does not count from 0")


def _motion_problems(dataset: Dataset, record: Episode, rows: Array, own: Mapping[str, Array]) -> Iterator[Problem]:
    if "action" not in own or "action_valid" not in own:
        yield Problem(path=record.data_file, row=None, message="the columns 'action' and 'action_valid' are needed.")
        return
    expected = np.arange(len(rows)) < len(rows) - 1
    wrong = own["action_valid"].astype(bool) != expected
    text = f"action_valid of clip '{record.id}' must be true but on the last row"
    yield from _runs(record.data_file, rows, wrong, text)
    action = own["action"].astype(np.float64)
    with np.errstate(invalid="ignore"):
        fast = np.linalg.norm(action[:, :2], axis=1) * dataset.frequency_hz > MAX_STEP_MPS
    yield from _runs(record.data_file, rows, fast, f"a step of clip '{record.id}' is faster than {MAX_STEP_MPS:g} m/s")


def _runs(file: Path, rows: Array, bad: Array | np.bool, text: str) -> Iterator[Problem]:
    """One problem per stretch of neighbouring bad rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(bad, int), [0]])))
    for first, end in edges.reshape(-1, 2):
        count = f" ({end - first} rows from here)" if end - first > 1 else ""
        yield Problem(path=file, row=int(rows[first]), message=f"{text}{count}.")


def _total_problems(dataset: Dataset, tables: Mapping[Path, Mapping[str, Array] | None]) -> Iterator[Problem]:
    info_file = dataset.path / "meta" / "info.json"
    info: dict[str, Any] = read_json(info_file)
    frames = sum(record.length for record in dataset.records)
    for key, found in (("total_episodes", dataset.episodes), ("total_frames", frames)):
        if info.get(key) != found:
            yield Problem(path=info_file, row=None, message=f"'{key}' is {info.get(key)}, but there are {found}.")
    rows = sum(len(columns["episode_index"]) for columns in tables.values() if columns is not None)
    if all(columns is not None for columns in tables.values()) and rows != frames:
        yield Problem(path=dataset.path / "data", row=None, message=f"{rows} rows, but the clips have {frames} frames.")


def _box_problems(dataset: Dataset) -> Iterator[Problem]:
    file = dataset.path / "meta" / "boxes.parquet"
    if not any(record.has_boxes for record in dataset.records):
        return
    columns, broken = _table(file)
    yield from broken
    if columns is None or not len(columns["episode_index"]):
        return
    rows = np.arange(len(columns["episode_index"]))
    numbers = np.stack(
        [
            columns[name].astype(np.float64)
            for name in ("x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "yaw_rad")
        ]
    )
    yield from _runs(file, rows, ~np.isfinite(numbers).all(axis=0), "a box has a value that is not finite")
    with np.errstate(invalid="ignore"):
        yield from _runs(file, rows, (numbers[3:6] <= 0).any(axis=0), "a box has a size that is not positive")
    yield from _runs(file, rows, _lost(dataset, columns), "a box belongs to no frame")


def _lost(dataset: Dataset, columns: Mapping[str, Array]) -> Array:
    """Which rows belong to no frame of the dataset."""
    lengths = np.array([record.length for record in dataset.records])
    episodes, frames = columns["episode_index"], columns["frame_index"]
    lost = (episodes < 0) | (episodes >= len(lengths)) | (frames < 0)
    return np.asarray(lost | (frames >= lengths[np.clip(episodes, 0, len(lengths) - 1)]))


def _language_problems(dataset: Dataset) -> Iterator[Problem]:
    file = dataset.path / LANGUAGE_FILE
    if file.exists():
        columns, broken = _table(file, ["episode_index", "kind", "start_s", "end_s", "text"])
        yield from broken
        if columns is not None and len(columns["episode_index"]):
            yield from _text_problems(dataset, file, columns)
    file = dataset.path / DECISIONS_FILE
    if file.exists():
        columns, broken = _table(file)
        yield from broken
        if columns is not None and len(columns["episode_index"]):
            yield from _decision_problems(dataset, file, columns)


def _text_problems(dataset: Dataset, file: Path, columns: Mapping[str, Array]) -> Iterator[Problem]:
    rows = np.arange(len(columns["episode_index"]))
    yield from _runs(file, rows, ~np.isin(columns["kind"], TEXT_KINDS), "a text is of no known kind")
    empty = np.array([not str(text or "").strip() for text in columns["text"]])
    yield from _runs(file, rows, empty, "a text has no words")
    start = columns["start_s"].astype(np.float64)
    end = np.array([np.inf if value is None else value for value in columns["end_s"]], np.float64)
    end = np.where(np.isnan(end), np.inf, end)
    yield from _runs(file, rows, ~((start >= 0) & (start <= end)), "a text ends before it begins, or before the clip")
    seconds = np.array([record.length for record in dataset.records]) / dataset.frequency_hz
    episodes = columns["episode_index"]
    lost = (episodes < 0) | (episodes >= len(seconds))
    lost |= start >= seconds[np.clip(episodes, 0, len(seconds) - 1)]
    yield from _runs(file, rows, lost, "a text belongs to no moment of a clip")


def _decision_problems(dataset: Dataset, file: Path, columns: Mapping[str, Array]) -> Iterator[Problem]:
    rows = np.arange(len(columns["episode_index"]))
    yield from _runs(file, rows, _lost(dataset, columns), "a decision belongs to no frame")
    for name in DECISION_COLUMNS[2:]:
        known = [None, *(LATERAL if name.startswith("lateral") else LONGITUDINAL)]
        wrong = np.array([value not in known for value in columns[name]])
        yield from _runs(file, rows, wrong, f"'{name}' is no decision")
