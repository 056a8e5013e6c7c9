"""Finished units as they lie in a batch's folder, read again for exports, contact sheets and scores."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.jobs.exports.selection import Selection
from studio.jobs.folder.manifest import place_of
from studio.jobs.folder.unit_folder import RECORD, facts_of, in_threads, read_record
from studio.jobs.units import FileFact, Unit, UnitRequest
from worldmodel.errors import BadDataset

if TYPE_CHECKING:
    from studio.jobs.folder.storage import Storage
    from worldmodel.geometry import Rig, Trajectory

READ_AT_ONCE = 64  # records
Spoken = tuple[float, float, str]  # start and end in seconds from the first imagined frame, and the text


@dataclass(frozen=True, eq=False, kw_only=True)
class Finished:
    """A finished unit.

    Attributes:
        unit: Its number, key and request.
        record: Content of its unit.json.
        store: The whole batch's folder.
    """

    unit: Unit
    record: Mapping[str, Any]
    store: "Storage"

    @property
    def key(self) -> str:
        """Names it."""
        return self.unit.key

    @property
    def request(self) -> UnitRequest:
        """What was asked."""
        return self.unit.request

    @property
    def title(self) -> str:
        """For messages."""
        return f"unit {self.unit.number} ({self.key[:12]}, recording '{self.clip_name}')"

    @property
    def clip_name(self) -> str:
        """Of the recording that it goes on from."""
        return self.request.clip.id

    @property
    def scores(self) -> Mapping[str, float]:
        """Its own numbers."""
        return dict(self.record.get("scores") or {})

    @property
    def model(self) -> str:
        """Hash of the weights that imagined it."""
        return str((self.record.get("provenance") or {}).get("model", "unknown"))

    @property
    def frequency_hz(self) -> float:
        """Frames per second of its videos."""
        return float(self._needed("frequency_hz"))

    @cached_property
    def files(self) -> tuple[FileFact, ...]:
        """Its files but unit.json."""
        return facts_of(self.record)

    @cached_property
    def rig(self) -> "Rig":
        """The cameras as the model saw them."""
        from worldmodel.io.rig_file import parse_rig

        return parse_rig(self._needed("rig"), f"{self.title}, {RECORD}").rig

    @cached_property
    def spoken(self) -> tuple[Spoken, ...]:
        """What steered it over time; stretches without a text are left out, the last one holds on."""
        rows = [(float(start), float(end), str(text)) for start, end, text in self._needed("texts")]
        first = rows[0][0] if rows else 0.0
        last = [(start, math.inf, text) for start, _, text in rows[-1:]]
        return tuple((start - first, end - first, text) for start, end, text in (*rows[:-1], *last) if text)

    def fetch(self, name: str, to: Path) -> Path:
        """Copy one of its files, and check it.

        Raises:
            BadDataset: if it is missing, or not what was written.
        """
        facts = {fact.name: fact for fact in self.files}
        if name not in facts:
            raise BadDataset(
                f"{self.title} has no '{name}', only {', '.join(facts) or 'nothing'}. Name it among the job's outputs and "
                "run the batch again."
            )
        fault = self._copy(name, to, facts[name])
        if fault and self.store.local is None:  # it may have been changed on its way
            fault = self._copy(name, to, facts[name])
        if fault:
            raise BadDataset(
                f"'{name}' of {self.title} is {fault}. Run the batch again; it checks what is there and does that unit again."
            )
        return to

    @cached_property
    def _cameras(self) -> dict[str, str]:
        """Files by camera, as a unit with the output 'cameras' has them."""
        from studio.jobs.work.outputs import camera_files

        return dict(zip(self.rig.names, camera_files(self.rig), strict=True))

    @property
    def has_camera_videos(self) -> bool:
        """Whether there is a video of each camera."""
        return {fact.name for fact in self.files}.issuperset(self._cameras.values())

    def camera_videos(self, folder: Path) -> dict[str, Path]:
        """Its videos by camera, in the order of the rig, copied into a local folder.

        Raises:
            BadDataset: if it has none, or one is damaged.
        """
        if not self.has_camera_videos:
            raise BadDataset(
                f"{self.title} has no videos of single cameras. Add 'cameras' to the job's outputs and run it again."
            )
        return {
            camera: self.fetch(name, folder / f"camera-{number}.mp4")
            for number, (camera, name) in enumerate(self._cameras.items())
        }

    def path(self, name: str, folder: Path) -> "Trajectory | None":
        """One of its paths, as trajectory.parquet has it; None if there is no such path."""
        if not any(fact.name == "trajectory.parquet" for fact in self.files):
            return None
        import numpy as np
        import pyarrow.parquet as pq

        from worldmodel.geometry import Trajectory

        table = pq.read_table(self.fetch("trajectory.parquet", folder / "trajectory.parquet"))
        rows = table.filter(np.array([one == name for one in table["name"].to_pylist()]))
        if not len(rows):
            return None
        poses = np.stack([rows[column].to_numpy() for column in ("x_m", "y_m", "yaw_rad")], axis=-1)
        return Trajectory(poses=poses, times_s=rows["t_s"].to_numpy())

    def _needed(self, name: str) -> Any:
        try:
            return self.record[name]
        except KeyError as error:
            raise BadDataset(
                f"{self.title} does not say '{name}' in its {RECORD}; it imagined nothing, or another version wrote it. "
                "Leave it out, or have it done again."
            ) from error

    def _copy(self, name: str, to: Path, fact: FileFact) -> str:
        """Copy a file; says what is wrong with it, '' for nothing."""
        try:
            self.store.get(f"{place_of(self.key)}/{name}", to)
        except FileNotFoundError:
            return "missing"
        with to.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == fact.sha256
        return "" if same else "not what was written"


@dataclass(eq=False)
class FinishedUnits:
    """Finished units one after the other, in the order of the batch; what is not given is counted.

    Attributes:
        store: The batch's folder.
        units: Which are looked for.
        selection: Which of those that are finished are given.
        given, missing, filtered: Counted as one goes on; missing are not finished, filtered not selected.
    """

    store: "Storage"
    units: Iterable[Unit]
    selection: Selection = field(default_factory=Selection)
    given: int = 0
    missing: int = 0
    filtered: int = 0

    def __iter__(self) -> Iterator[Finished]:
        todo = iter(self.units)
        while some := list(islice(todo, READ_AT_ONCE)):
            for unit, record in zip(some, in_threads(self.store, self._record, some), strict=True):
                if record is None:
                    self.missing += 1
                elif not self.selection.takes(unit, record.get("scores") or {}):
                    self.filtered += 1
                else:
                    self.given += 1
                    yield Finished(unit=unit, record=record, store=self.store)

    def _record(self, unit: Unit) -> dict[str, Any] | None:
        try:
            return read_record(self.store, unit.key)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BadDataset(
                f"the record of unit {unit.number} ({unit.key[:12]}) is damaged: {error}. Run the batch again; it checks "
                "what is there, and does that unit again."
            ) from error
