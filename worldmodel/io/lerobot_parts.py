"""One clip on its way into a dataset: its videos encoded, everything else as tables, so that it can wait on disk.

A part's folder holds CAMERA.mp4, part.json and, where there are any, motion.parquet, boxes.parquet, language.parquet
and decisions.parquet. Parts are made side by side, in any order; `lerobot_writer` puts them together.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.clips import Clip
from worldmodel.errors import BadDataset, OutputExists
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.io.lerobot_language import Language, decision_table, text_table
from worldmodel.io.lerobot_statistics import image_statistics
from worldmodel.io.video import probe, write_video

BOX_COLUMNS = (
    "episode_index", "frame_index", "track", "kind", "x_m", "y_m", "z_m", "length_m", "width_m", "height_m", "yaw_rad",
    "vx_mps", "vy_mps", "visibility",
)  # fmt: skip
TABLES = ("boxes", "language", "decisions")
MOTION_COLUMNS = {"observation.state": 5, "action": 3, "action_valid": 0}  # and how many numbers they have per row


@dataclass(frozen=True, eq=False, kw_only=True)
class Facts:
    """What a clip says of itself, besides rows and pictures.

    Attributes:
        entry: Its entry in `meta/clips.json`, without the episode's number.
        texts: What the driver is told, one per frame.
        pictures: Statistics of each camera's pictures.
    """

    id: str
    frequency_hz: float
    has_motion: bool
    entry: dict[str, Any]
    texts: tuple[str, ...]
    pictures: dict[str, dict[str, Any]]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """A clip as it goes into a dataset.

    Attributes:
        rig: Its cameras.
        motion: Its motion columns; empty where it has no motion.
        tables: Of TABLES, those that it has; their episode is 0.
        videos: File of every camera.
    """

    facts: Facts
    rig: Rig
    motion: Mapping[str, Array]
    tables: Mapping[str, Any]
    videos: Mapping[str, Path]


def make_part(clip: Clip, folder: Path, *, crf: int, language: Language | None = None) -> Part:
    """Encode a clip's videos into an existing folder, and gather the rest.

    Raises:
        BadVideo: if the pictures cannot be encoded.
        OutputExists: if the folder cannot be written, as on a full disk.
    """
    videos = {}
    for camera, name in enumerate(clip.rig.names):
        videos[name] = folder / f"{name}.mp4"
        write_video(videos[name], clip.video[:, camera], clip.frequency_hz, crf)
        _check_whole(videos[name], len(clip))
    tables: dict[str, Any] = {} if clip.boxes is None else {"boxes": _box_table(clip)}
    if language is not None:
        tables |= {"language": text_table(language, 0), "decisions": decision_table(language, 0)}
    facts = Facts(
        id=clip.id,
        frequency_hz=clip.frequency_hz,
        has_motion=clip.motion is not None,
        entry=_clip_entry(clip, language),
        texts=tuple(clip.instruction_at(frame / clip.frequency_hz) for frame in range(len(clip))),
        pictures={name: image_statistics(clip.video[:, camera]) for camera, name in enumerate(clip.rig.names)},
    )
    return Part(
        facts=facts,
        rig=clip.rig,
        motion={} if clip.motion is None else motion_columns(clip.motion),
        tables=tables,
        videos=videos,
    )


def save_part(part: Part, folder: Path) -> None:
    """Write everything but the videos, which are there already."""
    import pyarrow.parquet as pq

    for name, table in part.tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    if part.motion:
        pq.write_table(data_table(part.motion), folder / "motion.parquet")
    (folder / "part.json").write_text(json.dumps(asdict(part.facts), allow_nan=False), encoding="utf-8")


def load_part(folder: Path, rig: Rig) -> Part:
    """The part that `save_part` wrote.

    Raises:
        BadDataset: if it is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = json.loads((folder / "part.json").read_text(encoding="utf-8"))
        facts["texts"] = tuple(facts["texts"])
        return Part(
            facts=Facts(**facts),
            rig=rig,
            motion=_motion(pq.read_table(folder / "motion.parquet")) if facts["has_motion"] else {},
            tables={
                name: pq.read_table(folder / f"{name}.parquet")
                for name in TABLES
                if (folder / f"{name}.parquet").exists()
            },
            videos={name: folder / f"{name}.mp4" for name in rig.names},
        )
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise BadDataset(f"'{folder}' is not whole ({error}). Remove it; it is made again.") from error


def _check_whole(video: Path, frames: int) -> None:
    """A full disk can cut a video off without a word."""
    if probe(video).frames != frames:
        raise OutputExists(f"'{video}' could not be written whole. Free some space on its disk.")


def _motion(table: Any) -> dict[str, Array]:
    columns = {}
    for name, numbers in MOTION_COLUMNS.items():
        column = table[name].combine_chunks()
        flat = column.flatten() if numbers else column
        values = flat.to_numpy(zero_copy_only=False)
        columns[name] = values.reshape(-1, numbers) if numbers else values
    return columns


def motion_columns(motion: Motion) -> dict[str, Array]:
    """`observation.state`, `action` and `action_valid` of the frames of a motion, one more than it has steps."""
    steps, frames = motion.deltas, len(motion) + 1
    last = np.array([len(steps) - 1]) if len(steps) else np.array([], np.int64)
    repeat = np.concatenate([np.arange(len(steps)), last])
    action = steps[repeat] if len(steps) else np.zeros((1, 3))
    speed = motion.speeds_mps[repeat] if len(steps) else np.zeros(1)
    turn = motion.yaw_rates_radps[repeat] if len(steps) else np.zeros(1)
    state = np.concatenate([speed[:, None], turn[:, None], motion.trajectory().poses], axis=1)
    return {
        "observation.state": state.astype(np.float32),
        "action": action.astype(np.float32),
        "action_valid": np.arange(frames) < frames - 1,
    }


def data_table(columns: Mapping[str, Array]) -> Any:
    """Columns as an Arrow table; a column of rows of numbers becomes lists of fixed size."""
    import pyarrow as pa

    def column(values: Array) -> Any:
        if values.ndim == 1:
            return pa.array(values)
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])

    return pa.table({key: column(values) for key, values in columns.items()})


def of_episode(table: Any, episode: int) -> Any:
    """A part's table with the number that its episode has in the dataset."""
    import pyarrow as pa

    return table.set_column(0, "episode_index", pa.array(np.full(len(table), episode)))


def _box_table(clip: Clip) -> Any:
    import pyarrow as pa

    rows = []
    for frame, boxes in enumerate(clip.boxes or ()):
        for box in boxes:
            speed = (None, None) if box.velocity_mps is None else tuple(float(v) for v in box.velocity_mps)
            numbers = (*box.center.tolist(), *box.size.tolist(), box.yaw_rad, *speed, box.visibility)
            rows.append(dict(zip(BOX_COLUMNS, (0, frame, box.track, box.kind, *numbers), strict=True)))
    types = [pa.int64()] * 2 + [pa.string()] * 2 + [pa.float32()] * 10
    return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(BOX_COLUMNS, types, strict=True))))


def _clip_entry(clip: Clip, language: Language | None) -> dict[str, Any]:
    return {
        "id": clip.id,
        "source": clip.source,
        "motion_origin": clip.motion_origin,
        "boxes": clip.boxes is not None,
        "language": language is not None,
        "instructions": [
            {"text": i.text, "start_s": i.start_s, "end_s": i.end_s if np.isfinite(i.end_s) else None}
            for i in clip.instructions
        ],
    }
