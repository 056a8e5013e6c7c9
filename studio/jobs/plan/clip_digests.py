"""What decides what is read from a recording, as one hash: its rows, its boxes, its videos' bytes, cameras and rate."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.jobs.units import digest_of, file_digest
from worldmodel.errors import BadDataset
from worldmodel.io.lerobot import Dataset
from worldmodel.io.lerobot_rows import episode_rows, instructions_of
from worldmodel.io.rig_file import rig_content
from worldmodel.io.video import probe


@dataclass(eq=False)
class ClipDigests:
    """Digests of one dataset's recordings; files that they share are read once.

    Where the dataset lies does not count, nor the episode's number.
    """

    dataset: Dataset
    _files: dict[Path, str] = field(default_factory=dict)
    _clips: dict[int, str] = field(default_factory=dict)
    _boxes: Mapping[int, str] | None = None

    def of(self, episode: int) -> str:
        """The digest of one recording.

        Raises:
            BadDataset, BadVideo: if a file of it is missing or broken, or a video too short or of another size.
        """
        if episode not in self._clips:
            self._clips[episode] = digest_of(self._facts(episode))
        return self._clips[episode]

    def _facts(self, episode: int) -> list[Any]:
        dataset, record = self.dataset, self.dataset.record(episode)
        rows = episode_rows(record, episode, dataset.has_motion)
        said = instructions_of(dataset.path, record, rows, dataset.frequency_hz)
        moved = {name: _array_digest(rows[name]) for name in sorted(rows) if name != "task_index"}
        return [
            rig_content(dataset.rig),
            dataset.frequency_hz,
            [record.id, record.length, record.motion_origin, record.source if record.own_files else ""],
            moved,
            [[text.text, repr(text.start_s), repr(text.end_s)] for text in said],
            self._box_digest(episode) if record.has_boxes else "",
            [[self._video(episode, camera), offset] for camera, (_, offset) in enumerate(record.videos)],
        ]

    def _video(self, episode: int, camera: int) -> str:
        """Of a video's bytes, once its length and size are known to be right."""
        dataset, record = self.dataset, self.dataset.record(episode)
        path, offset = record.videos[camera]
        info = probe(path)
        rig = dataset.rig
        if info.frames < offset + record.length or (info.width_px, info.height_px) != (rig.width_px, rig.height_px):
            raise BadDataset(
                f"'{path}' has {info.frames} frames of {info.width_px}x{info.height_px}; clip '{record.id}' needs "
                f"{offset + record.length} of {rig.width_px}x{rig.height_px}. Run `detour check`, then import again."
            )
        if path not in self._files:
            self._files[path] = _video_digest(path)
        return self._files[path]

    def _box_digest(self, episode: int) -> str:
        if self._boxes is None:
            self._boxes = _boxes_by_episode(self.dataset.path)
        return self._boxes.get(episode, "none")


def _boxes_by_episode(path: Path) -> dict[int, str]:
    """Of the rows of each episode, in the order of the table; the table is read once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = path / "meta" / "boxes.parquet"
    found: dict[int, Any] = {}
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    episode = row.pop("episode_index")
                    found.setdefault(episode, hashlib.sha256()).update(repr(sorted(row.items())).encode())
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadDataset(f"'{file}' cannot be read: {error}. Copy the dataset again.") from error
    return {episode: digest.hexdigest() for episode, digest in found.items()}


def _array_digest(values: np.ndarray) -> str:
    return hashlib.sha256(
        f"{values.dtype.str}{values.shape}".encode() + np.ascontiguousarray(values).tobytes()
    ).hexdigest()


def _video_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise BadDataset(f"'{path}' cannot be read ({error.strerror}). Copy the dataset again.") from error
