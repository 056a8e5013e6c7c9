"""What a unit costs in seconds and bytes by reference numbers, and how real units correct them.

The reference was measured with the checkpoint that ships (three cameras of 128x64 at 8 Hz) on one thread of a two-core machine:
`detour bench model --clock processor --threads 1` for the network, `detour bench jobs` for the rest. Other sizes are scaled by the
work of the network and by the pixels. What was measured in a batch, or just now, replaces the numbers part by part.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from studio.jobs.units import Setup, UnitRequest

PARTS = ("load", "read", "model", "plan", "score", "write", "store")
LOAD_S = 12.0  # importing torch and reading the checkpoint, by every worker
CHUNK_S, STEP_S = 0.11, 0.025  # of a chunk: reading, writing memory, decoding; and each pass of the network
FULL_S = 0.011  # that each remembered chunk adds to a chunk with a memory that forgets nothing
GROUPED = 0.78  # of the time of as many single rollouts, when four or more go through the network together
READ_S, EDIT_S, STORE_S = 0.06, 0.35, 0.02  # of a unit
PLAN_S = {"joint": 0.2, "imagining": 3.0}  # of an answer; of others OTHER_PLAN_S
OTHER_PLAN_S = 0.25
FRAME_S = {"mosaic": 0.0012, "cameras": 0.002, "latents": 0.0001, "trajectory": 0.0, "scores": 0.0}
METRIC_S = 0.0035  # of a frame
FRAME_BYTES = {"mosaic": 3400, "cameras": 3800, "latents": 6144, "trajectory": 40, "scores": 0}
FILE_BYTES = {"mosaic": 2000, "cameras": 5800, "latents": 200, "trajectory": 2700, "scores": 350}
UNIT_BYTES = 23_000  # unit.json and the poster
WORKER_BYTES = 1_200_000_000  # resident, of a worker with the model that ships
FEW = 5  # units, below which their spread says little
SHIPPED_WORK = 6 * 192**2 * 96  # layers x width^2 x tokens of a chunk
SHIPPED_KEPT = 6 * 192 * 96  # layers x width x tokens of a chunk
REMEMBERED_BYTES = 900_000  # keys and values of a chunk of the model that ships
SHIPPED_PIXELS = 128 * 64 * 3


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What decides how long a model takes; the defaults are of the one that ships.

    Attributes:
        frequency_hz, frames_per_chunk: Of its rollouts.
        work: Of a chunk in the network, against the one that ships.
        kept: What memory holds of a chunk, against the one that ships.
        pixels: Of a multi-view frame, against the one that ships.
        known: Whether it was read from the checkpoint.
    """

    frequency_hz: float = 8.0
    frames_per_chunk: int = 4
    work: float = 1.0
    kept: float = 1.0
    pixels: float = 1.0
    known: bool = True


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one unit.

    Attributes:
        seconds: By part, of PARTS without 'load'; of one worker.
        bytes: By output, and 'unit.json' with the poster.
    """

    seconds: Mapping[str, float]
    bytes: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """All parts together."""
        return sum(self.seconds.values())

    @property
    def total_bytes(self) -> float:
        """All files together."""
        return sum(self.bytes.values())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A unit that was really done: what was asked, seconds by part (of it alone), size, and the worker's peak memory."""

    request: UnitRequest
    seconds: Mapping[str, float]
    bytes: int
    peak_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Correction:
    """How real units differ from the reference.

    Attributes:
        parts: Factor by part; parts that were not seen stay as they are.
        bytes: Factor of sizes.
        spread: Shares of the expectation that one in ten units stays below, and one in ten exceeds.
        units: How many were seen.
    """

    parts: Mapping[str, float] = field(default_factory=dict)
    bytes: float = 1.0
    spread: tuple[float, float] = (0.5, 2.0)
    units: int = 0

    def of(self, cost: Cost) -> Cost:
        """A cost as it is likely here."""
        return Cost(
            seconds={part: value * self.parts.get(part, 1.0) for part, value in cost.seconds.items()},
            bytes={name: value * self.bytes for name, value in cost.bytes.items()},
        )


def shape_of(model: str) -> ModelShape:
    """The sizes in a checkpoint's `config.json`; those of the model that ships where it cannot be read."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        network = config["network"]
        frames, cameras = int(network["frames_per_chunk"]), int(config["cameras"])
        cells = int(network["latent_height"]) * int(network["latent_width"])
        stride = int(config["tokenizer"]["stride"])
        layers, width = int(network["layers"]), int(network["width"])
        tokens = frames * cameras * cells / int(network["patch"]) ** 2
        return ModelShape(
            frequency_hz=float(config["frequency_hz"]),
            frames_per_chunk=frames,
            work=layers * width**2 * tokens / SHIPPED_WORK,
            kept=layers * width * tokens / SHIPPED_KEPT,
            pixels=cells * stride**2 * cameras / SHIPPED_PIXELS,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return ModelShape(known=False)


def cost_of(request: UnitRequest, setup: Setup, shape: ModelShape, filled: float = 1.0) -> Cost:
    """What a unit costs by the reference.

    Args:
        request: What is asked.
        setup: Batch shape and threads.
        shape: Of the model.
        filled: Rollouts that are computed for each unit of its work: more than 1 in a group that is filled up.
    """
    frames = math.ceil(request.seconds * shape.frequency_hz)
    seconds = {
        "read": READ_S + (EDIT_S if request.edit else 0.0),
        "model": _model_s(request, shape, frames) * _sharing(setup) * filled,
        "plan": sum(PLAN_S.get(name, OTHER_PLAN_S) for name in request.planners) * (2 if request.edit else 1),
        "score": frames * METRIC_S * shape.pixels * len(request.metrics),
        "write": frames * shape.pixels * sum(FRAME_S[name] for name in request.outputs),
        "store": STORE_S,
    }
    outputs = {name: FILE_BYTES[name] + frames * FRAME_BYTES[name] * _scale(name, shape) for name in request.outputs}
    return Cost(seconds=seconds, bytes={**outputs, "unit.json and poster": UNIT_BYTES})


def correction_of(samples: Iterable[Sample], setup: Setup, shape: ModelShape) -> Correction:
    """What real units say about the reference; the reference itself without any."""
    pairs = [(sample, cost_of(sample.request, setup, shape)) for sample in samples]
    if not pairs:
        return Correction()
    parts = {}
    for part in PARTS[1:]:
        expected = sum(cost.seconds[part] for _, cost in pairs)
        if expected > 0:
            parts[part] = sum(sample.seconds.get(part, 0.0) for sample, _ in pairs) / expected
    size = sum(sample.bytes for sample, _ in pairs) / sum(cost.total_bytes for _, cost in pairs)
    first = Correction(parts=parts, bytes=size)
    shares = [_took(sample) / expected for sample, cost in pairs if (expected := first.of(cost).total_s) > 0]
    return Correction(parts=parts, bytes=size, spread=_spread(shares), units=len(pairs))


def _took(sample: Sample) -> float:
    return sum(value for part, value in sample.seconds.items() if part != "load")


def _spread(shares: Sequence[float]) -> tuple[float, float]:
    """The first and last decile, at least a tenth from 1: the next hour is not like the last one. Few units say little."""
    if len(shares) < FEW:
        return (0.7, 1.5)
    ordered = sorted(shares)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return min(0.9, low), max(1.1, high)


def remembered_bytes(request: UnitRequest, setup: Setup, shape: ModelShape) -> float:
    """Of a memory that forgets nothing, at the end of the horizon; 0 for bounded ones, which hold less than the model."""
    if request.sampling.memory != "full":
        return 0.0
    chunks = math.ceil(request.seconds * shape.frequency_hz / shape.frames_per_chunk)
    return chunks * REMEMBERED_BYTES * shape.kept * setup.batch * _passes(request)


def _model_s(request: UnitRequest, shape: ModelShape, frames: int) -> float:
    """Of all chunks, one rollout alone."""
    sampling, chunks = request.sampling, math.ceil(frames / shape.frames_per_chunk)
    steps = sampling.steps * (2 if sampling.sampler == "heun" else 1)
    chunk = CHUNK_S * (shape.work + shape.pixels) / 2 + STEP_S * steps * _passes(request) * shape.work
    remembered = chunks * (chunks - 1) / 2 if sampling.memory == "full" else 0
    return chunks * chunk + remembered * FULL_S * shape.work


def _passes(request: UnitRequest) -> int:
    """Of the network in each step: as in `worldmodel.guidance_scales.passes_of`, equal neighbouring scales cost nothing."""
    ask = request.sampling
    motion = () if request.actions.kind == "policy" else (ask.guidance_motion,)
    scales = (1.0, ask.guidance_history, *motion, ask.guidance_text, 0.0)
    return sum(before != after for before, after in pairwise(scales))


def _sharing(setup: Setup) -> float:
    return 1.0 if setup.batch == 1 else GROUPED if setup.batch >= 4 else (1 + GROUPED) / 2


def _scale(output: str, shape: ModelShape) -> float:
    return 1.0 if output in ("trajectory", "scores") else shape.pixels
