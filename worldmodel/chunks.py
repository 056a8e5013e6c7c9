"""One chunk of a rollout: drawn from noise under guidance, then written into the memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldmodel.errors import Diverged
from worldmodel.flow import mix, stream_noise
from worldmodel.geometry import Array, compose
from worldmodel.guidance_scales import (
    Pass,
    mixed,
    passes_of,
    recall_side_by_side,
    scales_input,
    side_by_side,
    told,
)
from worldmodel.sampler import State, Velocity, find_sampler, sampling_times
from worldmodel.sampling import Sampling
from worldmodel.sequence import FramesPart, GuidancePart, Recall, TokenSequence

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.rollout import Past, RolloutRequest


def seeded_noise(model: "WorldModel", shape: Sequence[int], seeds: Sequence[int], stream: str, chunk: int) -> Tensor:
    """The noise of one stream and chunk, one row per seed, on the model's device."""
    return torch.stack([stream_noise(shape, seed, stream, chunk) for seed in seeds]).to(model.device)


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


def next_chunk(
    model: "WorldModel", past: "Past", request: "RolloutRequest", texts: Sequence[str], given: Tensor | None
) -> tuple[Tensor, "Past"]:
    """Denoise one chunk; its latents [B, F, C, ch, h, w] and the past that includes it.

    Args:
        texts: What each sample is told.
        given: Normalised steps that are commanded [B, F, 3]; None: they are imagined too.

    Raises:
        Diverged: naming the chunk.
    """
    network, cameras = model.config.network, past.rays.shape[1]
    shape = (model.per_chunk, cameras, network.latent_channels, network.latent_height, network.latent_width)
    video = seeded_noise(model, shape, request.seeds, "video", past.chunks)
    steps = seeded_noise(model, (model.per_chunk, 3), request.seeds, "steps", past.chunks)
    recall = model.recall(past)
    velocity = guided_velocity(model, past, recall, texts, request.sampling, _Steps(given=given, noise=steps))
    times = sampling_times(request.sampling.steps, model.config.video_shift)
    noise = (video, steps) if given is None else (video,)
    result = find_sampler(request.sampling.sampler)(velocity, noise, times)
    check_finite(f"chunk {past.chunks} of the rollout", *result)
    moved = given if given is not None else result[1]
    return result[0], extended(model, past, request, result[0], moved, recall)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Steps:
    """The steps of a chunk: commanded [B, F, 3] or None, and the noise that stands for unknown ones."""

    given: Tensor | None
    noise: Tensor

    def of(self, state: State, times: Tensor, passes: Sequence[Pass]) -> tuple[Tensor, Tensor]:
        """Steps and their noise times for all passes: where the motion is withheld, noise at time 1."""
        batch = len(self.noise)
        if self.given is None:
            return side_by_side(state[1], passes), times
        motion = told(passes, "motion", batch, self.noise.device)
        known, unknown = side_by_side(self.given, passes), side_by_side(self.noise, passes)
        steps = torch.where(motion[:, None, None], known, unknown)
        return steps, (~motion).to(times.dtype)[:, None].expand_as(times)


def guided_velocity(
    model: "WorldModel", past: "Past", recall: Recall | None, texts: Sequence[str], sampling: Sampling, steps: _Steps
) -> Velocity:
    """The network as a function of (video, steps) or, where the steps are commanded, (video,), under guidance.

    The passes that the scales ask for stand side by side in the batch. A network that was distilled with guidance takes the
    scales as inputs instead and answers in one pass.
    """
    config, batch = model.config, len(past.rays)
    conditions = {"history": recall is not None, "motion": steps.given is not None, "text": any(texts)}
    given = [name for name, here in conditions.items() if here]
    passes = passes_of(Sampling() if config.guided else sampling, given)
    scales = scales_input(sampling, given, batch).to(model.device) if config.guided else None
    frames, period = frame_numbers(model, past), side_by_side(model.period(batch), passes)
    guidance, rays = _texts_for(model, past, texts, passes), side_by_side(past.rays, passes)
    memory = recall_side_by_side(recall, passes)

    def velocity(state: State, t: float, step: float) -> State:
        times = torch.full((len(passes) * batch, model.per_chunk), t, device=model.device)
        jump = torch.full_like(times, step) if config.few_steps else None
        moved, moved_time = steps.of(state, times, passes)
        part = FramesPart(
            frames=frames,
            clean=False,
            steps=moved,
            steps_time=moved_time,
            video=side_by_side(state[0], passes),
            video_time=times,
            video_jump=jump,
            steps_jump=jump if steps.given is None else None,
        )
        sequence = TokenSequence(frames=(part,), rays=rays, period_s=period, guidance=guidance, scales=scales)
        output = model.network(sequence, memory, now=float(past.frames))
        answers = (output.video,) if steps.given is not None else (output.video, output.steps)
        return tuple(mixed(answer, passes) for answer in answers)

    return velocity


def _texts_for(model: "WorldModel", past: "Past", texts: Sequence[str], passes: Sequence[Pass]) -> GuidancePart:
    """The text of every pass; the empty one where it is withheld."""
    said = [text if "text" in one.told else "" for one in passes for text in texts]
    return model.guidance(said, past.frames // model.per_chunk)


def frame_numbers(model: "WorldModel", past: "Past") -> Tensor:
    """Frame numbers of the next chunk [F]."""
    return torch.arange(past.frames, past.frames + model.per_chunk, device=model.device)


def extended(
    model: "WorldModel", past: "Past", request: "RolloutRequest", latents: Tensor, steps: Tensor, recall: Recall | None
) -> "Past":
    """Write the finished chunk into the memory: one clean pass that sees no guidance.

    Raises:
        Diverged: naming the chunk.
    """
    asked = request.sampling.history_noise
    level = model.config.history_noise if asked is None else asked
    noise = seeded_noise(model, latents.shape[1:], request.seeds, "history", past.chunks)
    shape = latents.shape[:2]
    part = FramesPart(
        frames=frame_numbers(model, past),
        clean=True,
        steps=steps,
        steps_time=torch.zeros(shape, device=model.device),
        video=mix(latents, noise, torch.tensor(level, device=model.device)),
        video_time=torch.full(shape, level, device=model.device),
    )
    sequence = TokenSequence(frames=(part,), rays=past.rays, period_s=model.period(len(past.rays)))
    entry = model.network(sequence, recall, now=float(past.frames), remember=True).entry
    check_finite(f"chunk {past.chunks} of the rollout, as memory,", entry.keys, entry.values)
    driven = zip(past.trajectory, model.deltas(steps), strict=True)
    return replace(
        past,
        memory=past.memory.append(entry),
        frames=past.frames + model.per_chunk,
        chunks=past.chunks + 1,
        trajectory=tuple(_driven_on(poses, deltas) for poses, deltas in driven),
    )


def _driven_on(poses: Array, deltas: Array) -> Array:
    grown = list(poses)
    for delta in deltas:
        grown.append(compose(grown[-1], delta))
    return np.stack(grown)
