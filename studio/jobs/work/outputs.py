"""What a finished unit leaves: tables, scores, a picture, and the record that says how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.jobs.units import Setup, Unit
from studio.jobs.work.unit_plans import EDITED, UnitPlans
from studio.runs import NOTICE, camera_file_name, commit, versions, write_json, write_paths
from worldmodel.errors import BadRig
from worldmodel.geometry import Rig, Trajectory
from worldmodel.io.rig_file import rig_content

POSTER, RECORD, SCORES, TRAJECTORY = "poster.jpg", "unit.json", "scores.json", "trajectory.parquet"


@dataclass(eq=False, kw_only=True)
class Result:
    """All that is known of a unit once it is done, besides its videos and latents, which are written while it is made.

    Attributes:
        unit: Which one.
        trajectory: The imagined poses from now on; None where nothing was imagined.
        driven: The path that was recorded.
        plans: What planners answered.
        texts: What steered it: start and end in seconds from now, and the text.
        rig: Of the videos.
        frequency_hz, frames: Of the videos.
        video: What is said of each video file, by name.
        provenance: Model, sampling and memory.
        telemetry: What was watched per chunk.
        edit: What was put into the clip.
        scores: By name.
        compared: How many pictures were compared with recorded ones.
        warnings: What to know before trusting it.
    """

    unit: Unit
    rig: Rig
    frequency_hz: float
    frames: int = 0
    trajectory: Trajectory | None = None
    driven: Trajectory | None = None
    plans: UnitPlans = field(default_factory=UnitPlans)
    texts: Sequence[tuple[float, float, str]] = ()
    video: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    telemetry: Sequence[Mapping[str, float]] = ()
    edit: Mapping[str, Any] | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    compared: int = 0
    warnings: Sequence[str] = ()

    def paths(self) -> dict[str, Trajectory]:
        """All paths by name: 'imagined', 'driven', 'plan:NAME' and 'plan:NAME:edited'."""
        found = {"imagined": self.trajectory, "driven": self.driven}
        found |= {f"plan:{name}": plan.trajectory for name, plan in self.plans.factual.items()}
        found |= {f"plan:{name}:{EDITED}": plan.trajectory for name, plan in self.plans.edited.items()}
        return {name: path for name, path in found.items() if path is not None}

    def write_tables(self, folder: Path) -> None:
        """`trajectory.parquet` and `scores.json`, where they are wanted."""
        outputs, paths = self.unit.request.outputs, self.paths()
        if "trajectory" in outputs and paths:
            write_paths(folder / TRAJECTORY, paths)
        if "scores" in outputs:
            content = {"scores": dict(self.scores), "pictures": self.compared, "responses": self.plans.responses()}
            write_json(folder / SCORES, content)

    def record(self, setup: Setup, timings_s: Mapping[str, float]) -> dict[str, Any]:
        """The content of `unit.json` but for its list of files."""
        return {
            "key": self.unit.key,
            "number": self.unit.number,
            "request": self.unit.request.to_json(),
            "setup": setup.mattering(),
            "imagined": self.frames > 0,
            "notice": NOTICE,
            "provenance": dict(self.provenance),
            "warnings": list(self.warnings),
            "scores": dict(self.scores),
            "texts": [list(row) for row in self.texts],
            "telemetry": _columns(self.telemetry),
            "edit": None if self.edit is None else dict(self.edit),
            "rig": rig_content(self.rig),
            "frequency_hz": self.frequency_hz,
            "frames": self.frames,
            "video": {name: dict(facts) for name, facts in self.video.items()},
            "timings_s": {name: round(seconds, 4) for name, seconds in timings_s.items()},
            "peak_bytes": peak_bytes(),
            "made": made(),
        }


def _columns(telemetry: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """By measure, one number per chunk, to six digits: of an hour it is much."""
    names = telemetry[0] if telemetry else ()
    return {name: [float(f"{chunk[name]:.6g}") for chunk in telemetry] for name in names}


def camera_files(rig: Rig) -> tuple[str, ...]:
    """Names of the cameras' videos in a unit's folder.

    Raises:
        BadRig: if two cameras would share a file.
    """
    files = tuple(f"cameras/{camera_file_name(name)}.mp4" for name in rig.names)
    if len({file.casefold() for file in files}) < len(files):
        raise BadRig(
            f"the cameras are named {', '.join(rig.names)}; as files, where only letters, digits, '-' and '_' count, some "
            "are alike. Give them other names, or leave 'cameras' out of the outputs."
        )
    return files


@lru_cache(maxsize=1)
def made() -> dict[str, Any]:
    """With which versions and from which commit this process works."""
    return {"versions": versions(), "commit": commit()}


def peak_bytes() -> int:
    """The largest resident memory of this process so far; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0
