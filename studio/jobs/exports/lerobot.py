"""A batch's units as one LeRobot v3 dataset: their camera videos as they are, motion and instructions, marked as imagined.

Videos are copied, never encoded again, so that decoded frames are those of the batch. Its episodes hold the imagined frames
only; their motion is the one that was imagined, or commanded, between these.
"""

import math
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.jobs.exports.finished import Finished
from studio.runs import NOTICE
from worldmodel.errors import BadDataset
from worldmodel.geometry import Motion, Rig, Trajectory
from worldmodel.io.check import check_dataset
from worldmodel.io.lerobot_parts import Facts, Part, motion_columns
from worldmodel.io.lerobot_statistics import IMAGE_STATISTICS_FRAMES, image_statistics
from worldmodel.io.lerobot_writer import join_parts, same_rig
from worldmodel.io.video import VideoInfo, probe, read_frames

RATE_TOLERANCE = 1e-9


def write_lerobot(units: Iterable[Finished], folder: Path, *, name: str) -> None:
    """Write units into an existing, empty folder as one dataset, and check it.

    Raises:
        BadDataset: if a unit has no camera videos, one is damaged, or two have unlike rigs or rates (both are named).
        OSError: if the folder cannot be written.
    """
    notes = (NOTICE, "Every frame and every motion of this dataset was imagined by a model; nothing here was recorded.")
    if join_parts(_parts(units, folder / ".unit"), folder, name=name, notes=notes) and (
        problems := check_dataset(folder)
    ):
        raise BadDataset(
            f"the dataset would have {len(problems)} problems, first {problems[0]}. Have these units done again: remove "
            "their folders and run the batch."
        )


def _parts(units: Iterable[Finished], scratch: Path) -> Iterator[Part]:
    """One unit at a time, in a folder that is gone before the next one."""
    first: tuple[Finished, Part] | None = None
    for unit in units:
        scratch.mkdir()
        try:
            part = unit_part(unit, scratch)
            first = first or (unit, part)
            _check_alike(*first, unit, part)
            yield part
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def unit_part(unit: Finished, folder: Path) -> Part:
    """A unit as it goes into a dataset; its videos are copied into `folder`.

    Raises:
        BadDataset: if it has no camera videos, or its rate is no whole number; if it is damaged.
    """
    rig, videos = unit.rig, unit.camera_videos(folder)
    infos = {name: probe(file) for name, file in videos.items()}
    rig, frames = _as_shown(unit, rig, infos)
    if abs(unit.frequency_hz - round(unit.frequency_hz)) > RATE_TOLERANCE:
        raise BadDataset(
            f"{unit.title} has {unit.frequency_hz:g} Hz, but LeRobot needs a whole number. Use --format webdataset."
        )
    motion = _motion(unit.path("imagined", folder), frames, 1 / unit.frequency_hz)
    facts = Facts(
        id=f"{unit.clip_name}-{unit.key}",
        frequency_hz=unit.frequency_hz,
        has_motion=motion is not None,
        entry=_entry(unit, moves=motion is not None),
        texts=_texts(unit, frames),
        pictures={name: _statistics(file, infos[name]) for name, file in videos.items()},
    )
    columns = {} if motion is None else motion_columns(motion)
    return Part(facts=facts, rig=rig, motion=columns, tables={}, videos=videos)


def _as_shown(unit: Finished, rig: Rig, infos: Mapping[str, VideoInfo]) -> tuple[Rig, int]:
    """The rig at the size of the videos (H.264 wants even sides), and how many frames all cameras have."""
    sizes = {(info.width_px, info.height_px) for info in infos.values()}
    frames = {info.frames for info in infos.values()}
    if len(sizes) != 1 or len(frames) != 1:
        raise BadDataset(
            f"{unit.title} has cameras of sizes {sorted(sizes)} with {sorted(frames)} frames; they must be alike. Have it "
            "done again: remove its folder and run the batch."
        )
    size = sizes.pop()
    return (rig if size == (rig.width_px, rig.height_px) else rig.scaled(*size)), frames.pop()


def _motion(path: Trajectory | None, frames: int, period_s: float) -> Motion | None:
    """The steps between imagined frames; the path begins with now, which is no frame of them."""
    if path is None:
        return None
    if frames == 1:
        return Motion(deltas=np.zeros((0, 3)), period_s=period_s)
    return Trajectory(poses=path.poses[1 : frames + 1], times_s=path.times_s[1 : frames + 1]).motion()


def _statistics(video: Path, info: VideoInfo) -> dict[str, Any]:
    picked = np.unique(np.linspace(0, info.frames - 1, IMAGE_STATISTICS_FRAMES).round().astype(int))
    return image_statistics(read_frames(video, picked))


def _entry(unit: Finished, *, moves: bool) -> dict[str, Any]:
    """Its entry in `meta/clips.json`; `imagined`, `unit` and `request` are more than recordings have."""
    return {
        "id": f"{unit.clip_name}-{unit.key}",
        "source": f"imagined by Detour, model {unit.model}, from recording '{unit.clip_name}', seed {unit.request.seed}",
        "motion_origin": "imagined" if moves else "none",
        "boxes": False,
        "language": False,
        "instructions": [
            {"text": text, "start_s": start, "end_s": None if math.isinf(end) else end}
            for start, end, text in unit.spoken
        ],
        "imagined": True,
        "unit": unit.key,
        "request": unit.request.mattering(),
    }


def _texts(unit: Finished, frames: int) -> tuple[str, ...]:
    """What is said at every frame; '' for nothing."""
    starts = [start for start, _, _ in unit.spoken]
    found = []
    for frame in range(frames):
        time_s = frame / unit.frequency_hz + 1e-9
        place = bisect_right(starts, time_s) - 1
        found.append(unit.spoken[place][2] if place >= 0 and time_s < unit.spoken[place][1] else "")
    return tuple(found)


def _check_alike(first: Finished, kept: Part, unit: Finished, part: Part) -> None:
    if not same_rig(kept.rig, part.rig):
        raise BadDataset(
            f"{first.title} and {unit.title} have unlike rigs ({_rig_words(kept.rig)}; {_rig_words(part.rig)}), but a "
            "dataset has one. Export them apart with --episodes or --text, or use --format webdataset."
        )
    if kept.facts.frequency_hz != part.facts.frequency_hz:
        raise BadDataset(
            f"{first.title} has {kept.facts.frequency_hz:g} Hz and {unit.title} {part.facts.frequency_hz:g} Hz, but a "
            "dataset has one rate. Export them apart with --episodes or --text, or use --format webdataset."
        )
    if kept.facts.has_motion != part.facts.has_motion:
        one, other = (first, unit) if kept.facts.has_motion else (unit, first)
        raise BadDataset(
            f"{one.title} has a path and {other.title} has none, but a dataset has motion for all or for none. Export "
            "them apart, or use --format webdataset."
        )


def _rig_words(rig: Rig) -> str:
    return f"{', '.join(rig.names)}, {rig.width_px}x{rig.height_px}"
