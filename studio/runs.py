"""Run folders: a run is there whole or not at all, and says how it was made.

OUT/run.json             request, seed, versions, commit, timings, which videos are imagined
OUT/videos/NAME/*.mp4    one per camera, and mosaic.mp4
OUT/trajectory.parquet   every path of the run: name, t_s, x_m, y_m, yaw_rad
OUT/scores.json          names, values and units
OUT/report.html          one file, opens offline
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from studio.overlays import mosaic, upscaled
from worldmodel.errors import OutputExists
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.io.video import write_video

NOTICE = "Research tool; no evidence of road safety. Frames marked as imagined were generated, not recorded."
PACKAGES = ("detour", "torch", "numpy", "diffusers", "transformers", "av", "pillow")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its name when the block ends well, and vanishes when it does not.

    Raises:
        OutputExists: if `out` exists, now or at the end, or its parent cannot be written.
    """
    out = Path(out)
    refuse_existing(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        raise OutputExists(f"cannot write '{out}': {error}. Choose a folder you may write to with --out.") from error
    try:
        yield partial
        refuse_existing(out)
        os.rename(partial, out)
    except OSError as error:
        raise OutputExists(f"cannot write '{out}': {error}. Free some space or choose another --out.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(out: Path) -> None:
    """Say so when an output is there already; nothing is ever overwritten.

    Raises:
        OutputExists: if `out` exists.
    """
    if os.path.lexists(out):
        raise OutputExists(f"'{out}' exists already and is not overwritten. Name another --out, or remove it first.")


def versions() -> dict[str, str]:
    """Versions of Detour and the packages that decide its numbers."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """The commit of a source checkout, '+changes' when files differ from it; 'unknown' in an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "unknown"
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


@dataclass(eq=False, kw_only=True)
class RunWriter:
    """Collects what belongs into one run folder; `finish` writes the tables.

    Attributes:
        folder: Where to write; made by `new_folder`.
        command: What was asked for, in words, such as 'detour demo'.
        request: Everything that was asked for, as plain data.
        seed: Of all noise.
    """

    folder: Path
    command: str
    request: Mapping[str, Any]
    seed: int
    timings_s: dict[str, float] = field(default_factory=dict)
    videos: dict[str, dict[str, Any]] = field(default_factory=dict)
    paths: dict[str, Trajectory] = field(default_factory=dict)

    def add_video(
        self,
        name: str,
        video: UInt8[Array, "time camera 3 height width"],
        rig: Rig,
        frequency_hz: float,
        *,
        imagined: bool,
    ) -> Path:
        """Write one mp4 per camera and a mosaic, marked in their metadata; returns the mosaic's path.

        Args:
            name: Folder below `videos/`; made of letters, digits, '-' and '_'.
            imagined: Whether these frames were generated.
        """
        folder = self.folder / "videos" / name
        folder.mkdir(parents=True)
        comment = f"{'imagined by' if imagined else 'shown by'} Detour. {NOTICE}"
        height, width = (max(2, side + side % 2) for side in video.shape[-2:])
        for c, camera in enumerate(rig.names):
            frames = upscaled(video[:, c], width, height)
            write_video(folder / f"{camera_file_name(camera)}.mp4", frames, frequency_hz, comment=comment)
        whole = mosaic(video, rig, title="imagined" if imagined else "")
        write_video(folder / "mosaic.mp4", whole, frequency_hz, comment=comment)
        self.videos[name] = {"imagined": imagined, "frames": len(video), "frequency_hz": frequency_hz}
        return folder / "mosaic.mp4"

    def add_picture_row(
        self, name: str, frames: UInt8[Array, "time 3 height width"], frequency_hz: float, *, imagined: bool
    ) -> Path:
        """Write one ready-made mosaic; returns its path."""
        folder = self.folder / "videos" / name
        folder.mkdir(parents=True)
        comment = f"{'imagined by' if imagined else 'shown by'} Detour. {NOTICE}"
        write_video(folder / "mosaic.mp4", frames, frequency_hz, comment=comment)
        self.videos[name] = {"imagined": imagined, "frames": len(frames), "frequency_hz": frequency_hz}
        return folder / "mosaic.mp4"

    def finish(self, scores: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Write `run.json`, `scores.json` and `trajectory.parquet`; returns the content of `run.json`."""
        record: dict[str, Any] = {
            "command": self.command,
            "request": dict(self.request),
            "seed": self.seed,
            "versions": versions(),
            "commit": commit(),
            "timings_s": {name: round(seconds, 3) for name, seconds in self.timings_s.items()},
            "imagined": any(entry["imagined"] for entry in self.videos.values()),
            "videos": self.videos,
            "notice": NOTICE,
            **facts,
        }
        write_json(self.folder / "run.json", record)
        write_json(self.folder / "scores.json", list(scores))
        if self.paths:
            write_paths(self.folder / "trajectory.parquet", self.paths)
        return record


def camera_file_name(camera: str) -> str:
    """How a camera's files are called: its name with letters, digits, '-' and '_' only."""
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in camera)
    return f"camera_{kept}" if kept in {"", "mosaic"} else kept


def write_json(path: Path, content: object) -> None:
    """Readable JSON; numbers that are not finite are an error, not 'NaN'."""
    path.write_text(json.dumps(content, indent=2, allow_nan=False, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no plain form")


def write_paths(path: Path, paths: Mapping[str, Trajectory]) -> None:
    """All trajectories as one table: name, t_s, x_m, y_m, yaw_rad."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {
        "name": [name for name, trajectory in paths.items() for _ in trajectory.times_s],
        "t_s": np.concatenate([trajectory.times_s for trajectory in paths.values()]),
    }
    poses = np.concatenate([trajectory.poses for trajectory in paths.values()])
    table |= {column: poses[:, i] for i, column in enumerate(("x_m", "y_m", "yaw_rad"))}
    pq.write_table(pa.table(table), path)


def write_json_file(path: Path, content: object) -> None:
    """`write_json` to a file that is not there yet, whole or not at all.

    Raises:
        OutputExists: if it exists or cannot be written.
    """
    refuse_existing(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write_json(partial, content)
        os.rename(partial, path)
    except OSError as error:
        raise OutputExists(f"cannot write '{path}': {error}. Choose a folder you may write to with --out.") from error
    finally:
        partial.unlink(missing_ok=True)
