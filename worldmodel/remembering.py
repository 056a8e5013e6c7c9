"""Reading: observations become a memory, from which everything else is imagined, planned or explained."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from worldmodel.chunks import check_finite
from worldmodel.errors import BadRequest
from worldmodel.loaded import LoadedModel
from worldmodel.memory import AnyMemory, ChunkEntry
from worldmodel.observing import fitted, observation_warnings
from worldmodel.past import Past, newest_chunk
from worldmodel.plans import Observation
from worldmodel.sequence import FramesPart, TokenSequence


@torch.no_grad()
def remember(model: LoadedModel, observations: Sequence[Observation], memory: AnyMemory, *, with_steps: bool) -> Past:
    """Read observations into an empty memory; see `WorldModel.remember`.

    Raises:
        BadRequest: if they differ in cameras or length, or their rate does not fit.
        ClipTooShort: if one has less than a chunk.
        Diverged: if the tokenizer or the network answers with values that are not finite.
    """
    seen = [fitted(observation, model.config) for observation in observations]
    _check_alike(seen)
    batch, frames = len(seen), len(seen[0].video)
    latents, codec = model.tokenizer.encode_on(np.stack([observation.video for observation in seen]))
    check_finite("the observation's latents", latents)
    steps, unknown = _past_steps(model, seen, with_steps=with_steps)
    part = FramesPart(
        frames=torch.arange(frames, device=model.device),
        clean=True,
        steps=steps,
        steps_time=unknown,
        video=latents,
        video_time=torch.zeros(batch, frames, device=model.device),
    )
    rays = torch.stack([model.rays(observation.rig) for observation in seen])
    sequence = TokenSequence(frames=(part,), rays=rays, period_s=model.period(batch))
    entry = model.network(sequence, remember=True).entry
    check_finite("the memory of the observation", entry.keys, entry.values)
    for chunk in range(frames // model.per_chunk):
        memory = memory.append(_only_chunk(entry, chunk))
    return Past(
        memory=memory,
        frames=frames,
        chunks=0,
        rays=rays,
        newest=tuple(newest_chunk(observation, model.per_chunk) for observation in seen),
        texts=((),) * batch,
        trajectory=(np.zeros((1, 3)),) * batch,
        codec=codec,
        warnings=tuple(observation_warnings(observation, model.config) for observation in observations),
    )


def _check_alike(observations: Sequence[Observation]) -> None:
    counts = sorted({len(observation.video) for observation in observations})
    if len(counts) > 1:
        raise BadRequest(
            f"observations of one batch need equal history; got {counts} frames. Cut them alike, or ask for them one by one."
        )
    cameras = sorted({len(observation.rig) for observation in observations})
    if len(cameras) > 1:
        raise BadRequest(
            f"observations of one batch need equally many cameras; got {cameras}. Ask for them one by one."
        )


def _past_steps(model: LoadedModel, seen: Sequence[Observation], *, with_steps: bool) -> tuple[Tensor, Tensor]:
    """Normalised steps [B, F, 3] into every frame, and noise times [B, F] that say 1 where a step is unknown."""
    batch, frames = len(seen), len(seen[0].video)
    steps = torch.zeros(batch, frames, 3, device=model.device)
    unknown = torch.ones(batch, frames, device=model.device)
    for i, observation in enumerate(seen):
        if with_steps and observation.motion is not None:
            steps[i, 1:], unknown[i, 1:] = model.normalised_steps(observation.motion.deltas), 0
    return steps, unknown


def _only_chunk(entry: ChunkEntry, chunk: int) -> ChunkEntry:
    keep = entry.cells.chunk == chunk
    return replace(
        entry,
        keys=entry.keys[:, :, :, keep],
        values=entry.values[:, :, :, keep],
        queries=entry.queries[:, :, :, keep],
        cells=entry.cells[keep],
    )
