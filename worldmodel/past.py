"""The state that carries a rollout on: the memory, and everything else that the next chunk depends on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from worldmodel.geometry import Array, Motion, Rig, relative
from worldmodel.memory import AnyMemory
from worldmodel.plans import Observation


@dataclass(frozen=True, eq=False, kw_only=True)
class Past:
    """All that the next chunk depends on besides its own noise, text and actions.

    Attributes:
        memory: Keys and values of the chunks so far.
        frames: How many frames the memory has seen; the next chunk starts there.
        chunks: How many chunks were imagined so far; names the noise of the next one.
        rays: Camera rays [B, cameras, rows, columns, features].
        newest: Per sample the newest chunk at the model's picture size: recorded, or imagined once there is one.
        texts: Per sample the texts of the chunks imagined so far.
        trajectory: Imagined poses so far, [frames + 1, 3] per sample, starting at the identity.
        codec: What the tokenizer remembers of the pictures so far (`Tokenizer.encode_on`); None for one without memory.
        warnings: Per sample what to know of the observation that it began with.
    """

    memory: AnyMemory
    frames: int
    chunks: int
    rays: Tensor
    newest: tuple[Observation, ...]
    texts: tuple[tuple[str, ...], ...]
    trajectory: tuple[Array, ...]
    codec: Any = None
    warnings: tuple[tuple[str, ...], ...] = ()

    @property
    def rigs(self) -> tuple[Rig, ...]:
        """The cameras of each sample at the model's picture size."""
        return tuple(observation.rig for observation in self.newest)

    @property
    def instructions(self) -> tuple[str, ...]:
        """What each sample's driver was told."""
        return tuple(observation.instruction for observation in self.newest)

    def shown(self, video: Array, texts: Sequence[str]) -> "Past":
        """The same past once its last chunk is decoded, uint8 [B, F, C, 3, h, w]; `texts` steered it."""
        frames = video.shape[1]
        seen = zip(self.newest, video, self.trajectory, strict=True)
        newest = tuple(imagined_chunk(before, chunk, poses[-frames:]) for before, chunk, poses in seen)
        said = tuple((*before, text) for before, text in zip(self.texts, texts, strict=True))
        return replace(self, newest=newest, texts=said)


def newest_chunk(observation: Observation, per_chunk: int) -> Observation:
    """The last chunk of an observation."""
    motion = observation.motion
    kept = None if motion is None else motion[len(motion) - per_chunk + 1 :]
    return replace(observation, video=observation.video[-per_chunk:], motion=kept)


def imagined_chunk(before: Observation, video: Array, poses: Array) -> Observation:
    """What is seen after one more chunk: its pictures uint8 [F, C, 3, h, w], imagined at poses [F, 3]."""
    deltas = np.array([relative(a, b) for a, b in pairwise(poses)]).reshape(-1, 3)
    return replace(before, video=video, motion=Motion(deltas=deltas, period_s=1 / before.frequency_hz))
