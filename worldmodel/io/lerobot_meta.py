"""The small files in `meta/` of a LeRobot v3.0 dataset, ours or others': info, rig, episodes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from worldmodel.clips import Instruction
from worldmodel.errors import BadDataset
from worldmodel.geometry import Rig
from worldmodel.io.lerobot_writer import CAMERA_PREFIX, VERSION
from worldmodel.io.rig_file import Vehicle, nominal_rig, read_rig


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


def checked_info(path: Path) -> dict[str, Any]:
    """`meta/info.json`, with a version, a rate and videos that we can read.

    Raises:
        BadDataset: if it has not.
    """
    info = read_json(path / "meta" / "info.json")
    version = str(info.get("codebase_version", "none"))
    if not version.startswith("v3."):
        raise BadDataset(
            f"'{path}' has format version {version}; we read LeRobot {VERSION}. Convert it with lerobot's own converter."
        )
    features, rate = info.get("features"), info.get("fps")
    if not isinstance(features, Mapping) or not isinstance(rate, int | float) or not 0 < rate < np.inf:
        raise BadDataset(f"'{path}/meta/info.json' needs 'features' and a positive 'fps'; fps is {rate!r}. Repair it.")
    if not video_keys(info):
        raise BadDataset(
            f"'{path}' has no feature of type 'video'. Datasets of single images are not read; convert it."
        )
    return info


def video_keys(info: Mapping[str, Any]) -> list[str]:
    """Names of the video features, in order."""
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


def our_facts(path: Path) -> dict[str, Any]:
    """`meta/clips.json`; empty in datasets of others."""
    return read_json(path / "meta" / "clips.json") if (path / "meta" / "clips.json").exists() else {}


def stored_rig(
    path: Path, features: Mapping[str, Any], keys: Sequence[str], nominal: Rig | None
) -> tuple[Rig, Vehicle | None, list[str]]:
    """The rig in `meta/rig.json`, else the given nominal one, else one for the declared sizes; with notes."""
    if (path / "meta" / "rig.json").exists():
        file = read_rig(path / "meta" / "rig.json")
        missing = {CAMERA_PREFIX + name for name in file.rig.names} - set(keys)
        if missing:
            raise BadDataset(f"'{path}/meta/rig.json' has cameras without a video: {', '.join(sorted(missing))}.")
        return file.rig, file.vehicle, []
    note = "no calibration (meta/rig.json) in the dataset: a nominal rig is assumed"
    if nominal is not None:
        return nominal, None, [note]
    sizes = {picture_size(path, key, features[key]) for key in keys}
    if len(sizes) > 1:
        raise BadDataset(
            f"the cameras of '{path}' have different sizes {sorted(sizes)}; a clip needs one. "
            "Run `detour import --format lerobot`, which scales them."
        )
    return nominal_rig([camera_name(key) for key in keys], *sizes.pop()), None, [note]


def camera_name(key: str) -> str:
    """Camera name of a LeRobot video feature: 'observation.images.front' is 'front'."""
    return key.removeprefix(CAMERA_PREFIX).removeprefix("observation.")


def picture_size(path: Path, key: str, feature: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height that a video feature declares, whichever way its axes are ordered."""
    shape = [int(side) for side in feature.get("shape", ())]
    names = [str(name) for name in feature.get("names") or ()]
    if len(shape) != 3:
        raise BadDataset(f"'{path}': feature '{key}' has shape {shape}; a video needs three axes.")
    if {"height", "width"} <= set(names):
        return shape[names.index("width")], shape[names.index("height")]
    return (shape[2], shape[1]) if shape[0] == 3 else (shape[1], shape[0])


def episode_records(
    path: Path, info: Mapping[str, Any], keys: Sequence[str], ours: Mapping[str, Any], has_motion: bool
) -> tuple[Episode, ...]:
    """One entry per episode, in order, from the tables in `meta/episodes` and our facts."""
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
