"""Imagined continuations: the Rollout, the state that carries it on, and what is watched while it grows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from worldmodel.clips import Clip, Instruction
from worldmodel.errors import Diverged
from worldmodel.geometry import Array, Rig, Trajectory
from worldmodel.memory import AnyMemory


@dataclass(frozen=True, eq=False, kw_only=True)
class Past:
    """All that the next chunk depends on besides its own noise, text and actions.

    Attributes:
        memory: Keys and values of the chunks so far.
        frames: How many frames the memory has seen; the next chunk starts there.
        chunks: How many chunks were imagined so far; names the noise of the next one.
        rays: Camera rays [B, cameras, rows, columns, features].
        rigs: The cameras of each sample at the model's picture size.
        instructions: What each sample's driver was told.
        trajectory: Imagined poses so far, [frames + 1, 3] per sample, starting at the identity.
    """

    memory: AnyMemory
    frames: int
    chunks: int
    rays: Tensor
    rigs: tuple[Rig, ...]
    instructions: tuple[str, ...]
    trajectory: tuple[Array, ...]


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
        telemetry: Per chunk: mean and standard deviation of the latents, sharpness, share of still pixels.
        provenance: Model hash, steps, sampler, memory and versions.
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


def check_finite(what: str, *values: Tensor) -> None:
    """Say so when the model produced something that is not finite.

    Raises:
        Diverged: naming `what`.
    """
    if not all(bool(value.isfinite().all()) for value in values):
        raise Diverged(
            f"{what} has values that are not finite. Use more sampling steps, other actions or another checkpoint; "
            "what came before is sound."
        )


def chunk_telemetry(latents: Tensor, frames: Array) -> dict[str, float]:
    """Numbers that show drift: latents [F, C, ch, h, w] and frames uint8 [F, C, 3, H, W] of one chunk."""
    grey = frames.astype(np.float32).mean(axis=2)
    sharpness = float(np.abs(np.diff(grey, axis=-1)).mean())
    still = float((np.abs(np.diff(grey, axis=0)) < 1).mean()) if len(grey) > 1 else 0.0
    return {
        "latent_mean": float(latents.mean()),
        "latent_std": float(latents.std()),
        "sharpness": sharpness,
        "still_share": still,
    }
