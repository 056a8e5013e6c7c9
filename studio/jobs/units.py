"""What a batch consists of: units, each one future of one moment; what all of them share; and how the work is split.

Nothing heavy is imported here: commands, pages and engines pass these values around.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from worldmodel.errors import BadRequest
from worldmodel.sampling import Sampling

OUTPUTS = ("mosaic", "cameras", "latents", "trajectory", "scores")  # 'poster.jpg' and 'unit.json' are always there
METRICS = ("psnr", "ssim", "ade")  # of one unit, against what followed in its recording
KEY_LETTERS = 32


@dataclass(frozen=True, kw_only=True)
class ClipRef:
    """A moment of a recording.

    Attributes:
        dataset: Folder or address, as the job file names it.
        episode: Number of the recording in it.
        id: Name of the recording in it.
        at_s: Now, in seconds from the recording's start.
        digest: Of everything that decides what is read from it; part of a unit's key, `dataset` is not.
    """

    dataset: str
    episode: int
    id: str
    at_s: float
    digest: str


@dataclass(frozen=True, kw_only=True)
class ActionChoice:
    """How the ego moves.

    Attributes:
        kind: 'policy' (imagined with the pictures), 'recorded' (as it was driven), 'constant' or 'poses'.
        name: What people call it.
        speed_mps, yaw_rate_dps: Of 'constant'; None for the speed of now.
        poses: Of 'poses': t, x, y, yaw in the ego frame of now.
    """

    kind: str = "policy"
    name: str = ""
    speed_mps: float | None = None
    yaw_rate_dps: float = 0.0
    poses: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EditChoice:
    """What is put into the clip before anything is asked: the fields of `studio.stitching.StitchRequest`.

    Attributes:
        variant: As of `detour stitch`: near, far, ..., lookalike, empty.
        kind: What is stitched.
        height_m, x_m, y_m, yaw_deg, speed_mps: Its size, place, heading and motion; None for the variant's own.
    """

    variant: str = "near"
    kind: str = "car"
    height_m: float | None = None
    x_m: float | None = None
    y_m: float | None = None
    yaw_deg: float = 0.0
    speed_mps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UnitRequest:
    """One future of one moment, and what is kept of it.

    Attributes:
        clip: Which moment.
        text: What the driver is told; None for the recording's own instruction.
        schedule: Texts with their start in seconds, as `worldmodel.guidance.parse_schedule` reads them; '' for none.
        actions: How the ego moves.
        edit: What is put into the clip; None for nothing.
        seconds: Horizon; 0 where only planners are asked.
        seed: Of all noise.
        sampling: Steps, sampler, guidance scales, memory.
        planners: Who plans at that moment, by name; with an edit, with it and without.
        samples: Plans per answer of planners that draw.
        outputs: Of OUTPUTS.
        metrics: Of METRICS.
    """

    clip: ClipRef
    text: str | None = None
    schedule: str = ""
    actions: ActionChoice = field(default_factory=ActionChoice)
    edit: EditChoice | None = None
    seconds: float = 4.0
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    planners: tuple[str, ...] = ()
    samples: int = 8
    outputs: tuple[str, ...] = ("mosaic", "trajectory")
    metrics: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data; `UnitRequest.of` reads it back."""
        return asdict(self)

    @staticmethod
    def of(data: Mapping[str, Any]) -> "UnitRequest":
        """The request that `to_json` wrote."""
        known = dict(data)
        actions = dict(known["actions"])
        actions["poses"] = tuple(tuple(float(value) for value in pose) for pose in actions["poses"])
        return UnitRequest(
            **known
            | {
                "clip": ClipRef(**known["clip"]),
                "actions": ActionChoice(**actions),
                "edit": None if known["edit"] is None else EditChoice(**known["edit"]),
                "sampling": Sampling(**known["sampling"]),
                "planners": tuple(known["planners"]),
                "outputs": tuple(known["outputs"]),
                "metrics": tuple(known["metrics"]),
            }
        )

    def mattering(self) -> dict[str, Any]:
        """What decides the result: everything but where the clip lies and what things are called."""
        data = self.to_json()
        data["clip"] = {name: data["clip"][name] for name in ("id", "at_s", "digest")}
        data["actions"].pop("name")
        return data


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all units of a batch share; everything but `model` decides the results and is part of every key.

    Attributes:
        model: Checkpoint folder, as workers open it.
        model_digest: Of its files.
        planner_digests: Of each learned planner's files, by name.
        sources_digest: Of our source files that the work imports.
        libraries: Versions of the packages that decide pictures and numbers.
        batch: Rollouts that go through the network together; always so many, the last group is filled up.
        threads: Of the processor, of each worker.
        device: Kind of device, 'cpu' or 'cuda'.
    """

    model: str
    model_digest: str
    planner_digests: Mapping[str, str] = field(default_factory=dict)
    sources_digest: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    batch: int = 1
    threads: int = 1
    device: str = "cpu"

    def mattering(self) -> dict[str, Any]:
        """What decides results."""
        data = asdict(self)
        data.pop("model")
        return data


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One unit of a batch.

    Attributes:
        number: Its place in the expansion.
        key: Names it and its output; hash of all that matters.
        request: What is asked.
    """

    number: int
    key: str
    request: UnitRequest


@dataclass(frozen=True, kw_only=True)
class Work:
    """Units that one worker does together: `Setup.batch` of them, fewer in the last group of a kind.

    Attributes:
        number: Its place in the batch; shards split by it.
        units: With the same clip, edit, horizon, sampling and kind of actions.
    """

    number: int
    units: tuple[Unit, ...]


@dataclass(frozen=True, kw_only=True)
class FileFact:
    """One file of a unit's output: its name in the unit's folder, bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str

    @staticmethod
    def of(file: Path, name: str) -> "FileFact":
        """The facts of a file that is to have this name."""
        return FileFact(name=name, bytes=file.stat().st_size, sha256=file_digest(file))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a unit ended; small, so that engines can hand it on.

    Attributes:
        key, number: Of the unit.
        state: 'done' or 'failed'.
        kind: Of a failure: the error's class name, 'WorkerLost' or 'TimedOut'.
        message: Of a failure, in three parts.
        again: Whether another try may help (a lost worker, a storage that did not answer); False for bad input.
        timings_s: Seconds by part: 'load', 'read', 'model', 'plan', 'score', 'write', 'store'; 'load' only of a worker's first.
        peak_bytes: Largest resident memory of the worker so far.
        files: Of the output.
        scores: Numbers by name, such as 'psnr' or 'ade:joint'; absent what could not be measured.
        warnings: What to know before trusting it.
        worker: Who did it.
        chunks: How many were computed in this go (a resumed long unit computes fewer).
    """

    key: str
    number: int
    state: str
    kind: str = ""
    message: str = ""
    again: bool = False
    timings_s: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    files: tuple[FileFact, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    worker: str = ""
    chunks: int = 0

    @property
    def bytes(self) -> int:
        """Size of the output."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of a batch for one of several drivers that know nothing of each other: works whose number is index - 1 modulo of.

    Raises:
        BadRequest: if it is not 1 to `of`.
    """

    index: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.index <= self.of <= 100_000):
            raise BadRequest(f"shard {self.index}/{self.of} does not exist; the first of four is 1/4. Use --shard 1/4.")

    @staticmethod
    def parse(text: str) -> "Shard":
        """The shard that 'I/N' names."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None:
            raise BadRequest(f"the shard is '{text}'; it must be I/N, such as 1/4 for the first of four.")
        return Shard(index=int(found[1]), of=int(found[2]))

    @property
    def name(self) -> str:
        """For files: 'all' or 'shard-1-of-4'."""
        return "all" if self.of == 1 else f"shard-{self.index}-of-{self.of}"

    def owns(self, work: Work) -> bool:
        """Whether this driver does it."""
        return work.number % self.of == self.index - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """All units of a job, expanded.

    Attributes:
        setup: What they share.
        works: In order; every unit is in one of them.
        job: The job file's content as plain data, with every default written out.
    """

    setup: Setup
    works: tuple[Work, ...]
    job: Mapping[str, Any]

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in order of their numbers."""
        return tuple(sorted((unit for work in self.works for unit in work.units), key=lambda unit: unit.number))

    @cached_property
    def digest(self) -> str:
        """Names the batch: setup, and the keys of all units."""
        return digest_of([self.setup.mattering(), [unit.key for unit in self.units]])


def digest_of(value: object) -> str:
    """A short hash of plain data, the same on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LETTERS]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_batch(setup: Setup, requests: Sequence[UnitRequest], job: Mapping[str, Any]) -> Batch:
    """Requests numbered, named and split into works; equal requests become one unit."""
    wanted: dict[str, UnitRequest] = {}
    for request in requests:
        wanted.setdefault(digest_of(request.mattering()), request)
    shared, names = setup.mattering(), list(wanted)
    numbers = {name: number for number, name in enumerate(names)}
    works = []
    for number, group in enumerate(_groups(wanted, setup.batch)):
        units = []
        for place, name in enumerate(group):
            parts: list[Any] = [shared, name] if setup.batch == 1 else [shared, name, place, group]
            units.append(Unit(number=numbers[name], key=digest_of(parts), request=wanted[name]))
        works.append(Work(number=number, units=tuple(units)))
    return Batch(setup=setup, works=tuple(works), job=job)


def _groups(wanted: Mapping[str, UnitRequest], batch: int) -> Iterator[list[str]]:
    """Names of requests that go through the network together, `batch` at most, in order."""
    alike: dict[str, list[str]] = {}
    for name, request in wanted.items():
        alike.setdefault(name if batch == 1 else _likeness(request), []).append(name)
    for names in alike.values():
        for start in range(0, len(names), batch):
            yield names[start : start + batch]


def _likeness(request: UnitRequest) -> str:
    data = request.mattering()
    kind = "policy" if request.actions.kind == "policy" else "given"
    same = {
        name: data[name]
        for name in ("clip", "edit", "seconds", "sampling", "outputs", "metrics", "planners", "samples")
    }
    return digest_of([same, kind])
