"""Imagined continuations: the Rollout, the state that carries it on, and what is watched while it grows."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.chunks import next_chunk
from worldmodel.clips import Clip, Instruction
from worldmodel.commands import commanded
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.hints import ask_guides
from worldmodel.loaded import LoadedModel
from worldmodel.memory import memory_stats, memory_warnings
from worldmodel.past import Past
from worldmodel.requests import RolloutRequest
from worldmodel.sampling import Sampling
from worldmodel.telemetry import batch_telemetry, drift_warnings


@dataclass(frozen=True, eq=False, kw_only=True)
class Rollout:
    """An imagined continuation, decoded.

    Attributes:
        video: RGB uint8 [time, camera, 3, height, width]; the first frame follows the newest observed one.
        trajectory: The ego's poses at time 0 (now) and at every imagined frame, in the ego frame of now.
        rig: The cameras, at the size of the video.
        frequency_hz: Frames per second.
        texts: The guidance of each chunk.
        chunk_s: Seconds that a chunk lasts.
        seed: Of the noise.
        actions_given: Whether the steps were commanded (else they were imagined too).
        timing: Seconds per part.
        telemetry: Per chunk the measures of `worldmodel.telemetry`.
        warnings: What to know before trusting it, such as the chunk that left the training range.
        provenance: Model hash, preset, how it was sampled, and that it is imagined.
        memory_stats: Chunks and cells kept, megabytes.
        past: From here the rollout can go on.
    """

    video: UInt8[Array, "time camera 3 height width"]
    trajectory: Trajectory
    rig: Rig
    frequency_hz: float
    texts: tuple[str, ...]
    seed: int
    actions_given: bool
    chunk_s: float = 0.5
    timing: dict[str, float] = field(default_factory=dict)
    telemetry: tuple[dict[str, float], ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    memory_stats: dict[str, float] = field(default_factory=dict)
    past: Past | None = None

    def as_clip(self, clip_id: str) -> Clip:
        """The rollout as a clip (marked as imagined), for stitching, scoring or training."""
        poses = Trajectory(poses=self.trajectory.poses[1:], times_s=self.trajectory.times_s[1:])
        return Clip(
            id=clip_id,
            video=self.video,
            rig=self.rig,
            motion=poses.motion() if len(poses) > 1 else None,
            motion_origin="imagined",
            frequency_hz=self.frequency_hz,
            instructions=tuple(self._instructions()),
            source=f"imagined by Detour, model {self.provenance.get('model', 'unknown')}, seed {self.seed}",
        )

    def _instructions(self) -> Iterator[Instruction]:
        """One for each stretch of chunks with the same text; the last one holds on."""
        starts = [i for i in range(len(self.texts)) if i == 0 or self.texts[i] != self.texts[i - 1]]
        ends = [i * self.chunk_s for i in starts[1:]] + [math.inf]
        for start, end_s in zip(starts, ends, strict=True):
            if self.texts[start]:
                yield Instruction(text=self.texts[start], start_s=start * self.chunk_s, end_s=end_s)


@dataclass(frozen=True, eq=False, kw_only=True)
class ChunkMade:
    """One more chunk of all samples, and where they stand after it.

    Attributes:
        number: Counted from the first imagined chunk of all.
        latents: Normalised [B, L, C, channels, h, w]; L is a chunk's frames over the tokenizer's temporal stride.
        video: The same decoded, RGB uint8 [B, F, C, 3, height, width].
        texts: What steered it, per sample.
        telemetry: `worldmodel.telemetry.chunk_telemetry`, per sample.
        past: From here the next chunk follows.
    """

    number: int
    latents: Tensor
    video: UInt8[Array, "batch time camera 3 height width"]
    texts: tuple[str, ...]
    telemetry: tuple[dict[str, float], ...]
    past: Past


def roll_out(model: LoadedModel, past: Past, request: RolloutRequest) -> list[Rollout]:
    """Imagine chunk after chunk; one rollout per sample of the past.

    Raises:
        Diverged: naming the chunk.
        BadMotion: if the actions do not cover the horizon.
    """
    first, chunks = past.chunks, chunks_of(model, request.frames)
    commands, said = commands_of(model, past, request)
    videos: list[Array] = []
    telemetry: list[tuple[dict[str, float], ...]] = []
    started = time.perf_counter()
    for made in chunk_by_chunk(model, past, request, commands):
        past = made.past
        videos.append(made.video)
        telemetry.append(made.telemetry)
        if request.on_chunk is not None:
            request.on_chunk(made.number - first, chunks, made.video)
    whole = _Made(
        videos=np.concatenate(videos, axis=1)[:, : request.frames],
        telemetry=tuple(zip(*telemetry, strict=True)),
        timing={"generate_s": time.perf_counter() - started, "chunks": float(chunks)},
        first_chunk=first,
        said=said,
    )
    return [_one_rollout(model, past, request, whole, sample) for sample in range(len(past.rays))]


def chunks_of(model: LoadedModel, frames: int) -> int:
    """How many chunks hold so many frames."""
    return -(-frames // model.per_chunk)


@torch.no_grad()
def chunk_by_chunk(
    model: LoadedModel, past: Past, request: RolloutRequest, commands: Tensor | None
) -> Iterator[ChunkMade]:
    """The chunks of a rollout as they come; nothing of those before is held.

    Args:
        commands: Steps that are commanded, as `commands_of` gives them; None: they are imagined too.

    Raises:
        Diverged: naming the chunk.
    """
    per = model.per_chunk
    for index in range(chunks_of(model, request.frames)):
        texts = ask_guides(model, past, request.guides, request.seeds)
        given = None if commands is None else commands[:, index * per : (index + 1) * per]
        latents, past = next_chunk(model, past, request, texts, given)
        video, codec = model.tokenizer.decode_on(latents, past.codec)
        past = replace(past.shown(video, texts), codec=codec)
        telemetry = batch_telemetry(latents, video, past.trajectory, model.config.frequency_hz)
        yield ChunkMade(
            number=past.chunks - 1, latents=latents, video=video, texts=texts, telemetry=telemetry, past=past
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Made:
    """What the loop over chunks made, for all samples."""

    videos: Array  # [B, time, C, 3, h, w]
    telemetry: tuple[tuple[dict[str, float], ...], ...]  # per sample, per chunk
    timing: dict[str, float]
    first_chunk: int
    said: tuple[tuple[str, ...], ...]  # of the actions, per sample


def commands_of(
    model: LoadedModel, past: Past, request: RolloutRequest
) -> tuple[Tensor | None, tuple[tuple[str, ...], ...]]:
    """Normalised steps [B, chunks * F, 3] that are commanded, or None; and what to know of them, per sample.

    Raises:
        BadMotion: if the actions do not cover the horizon.
    """
    if request.actions is None:
        return None, ((),) * len(past.newest)
    per, first = model.per_chunk, past.chunks * model.per_chunk
    found = [
        commanded(
            path,
            first + chunks_of(model, request.frames) * per,
            model.config.frequency_hz,
            first=first,
            spare=per - 1,
            speed_mps=None if first else seen.speed_mps,
        )
        for path, seen in zip(request.actions, past.newest, strict=True)
    ]
    return model.normalised_steps(np.stack([steps for steps, _ in found])), tuple(said for _, said in found)


def warnings_of(
    model: LoadedModel,
    past: Past,
    sample: int,
    *,
    said: Sequence[str],
    telemetry: Sequence[Mapping[str, float]],
    first_chunk: int,
) -> tuple[str, ...]:
    """What to know of one sample's rollout before trusting it.

    Args:
        past: At its end.
        said: Of its actions, as `commands_of` gives it.
        telemetry: Of its chunks.
        first_chunk: Number of the first of them.
    """
    return (
        *(past.warnings[sample] if past.warnings else ()),
        *said,
        *memory_warnings(past.memory),
        *drift_warnings(
            telemetry,
            model.config.training_range,
            first_chunk=first_chunk,
            chunk_s=model.per_chunk / model.config.frequency_hz,
        ),
    )


def provenance_of(model: LoadedModel, past: Past, sampling: Sampling) -> dict[str, Any]:
    """Model hash, preset, how it was sampled, and that it is imagined."""
    return {
        "model": model.hash,
        "preset": model.config.preset,
        **sampling.to_json(),
        "memory": type(past.memory).__name__.lower(),
        "imagined": True,
    }


def _one_rollout(model: LoadedModel, past: Past, request: RolloutRequest, made: _Made, sample: int) -> Rollout:
    hertz, start = model.config.frequency_hz, made.first_chunk * model.per_chunk
    count = request.frames + 1
    return Rollout(
        video=made.videos[sample],
        trajectory=Trajectory(
            poses=past.trajectory[sample][start : start + count], times_s=(start + np.arange(count)) / hertz
        ),
        rig=past.rigs[sample],
        frequency_hz=hertz,
        texts=past.texts[sample][made.first_chunk :],
        seed=request.seeds[sample],
        actions_given=request.actions is not None,
        chunk_s=model.per_chunk / hertz,
        timing=made.timing,
        telemetry=made.telemetry[sample],
        warnings=warnings_of(
            model,
            past,
            sample,
            said=made.said[sample],
            telemetry=made.telemetry[sample],
            first_chunk=made.first_chunk,
        ),
        provenance=provenance_of(model, past, request.sampling),
        memory_stats=memory_stats(past.memory),
        past=past,
    )
