"""One chunk of a rollout: drawn from noise under guidance, then written into the memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from worldmodel.loaded import LoadedModel
from worldmodel.past import Past
from worldmodel.requests import RolloutRequest
from worldmodel.sampler import State, Velocity, find_sampler, sampling_times
from worldmodel.sampling import Sampling
from worldmodel.sequence import FramesPart, GuidancePart, Recall, TokenSequence


def seeded_noise(model: LoadedModel, shape: Sequence[int], seeds: Sequence[int], stream: str, chunk: int) -> Tensor:
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
    model: LoadedModel, past: Past, request: RolloutRequest, texts: Sequence[str], given: Tensor | None
) -> tuple[Tensor, Past]:
    """Denoise one chunk; its latents [B, F, C, ch, h, w] and the past that includes it.

    Args:
        texts: What each sample is told.
        given: Normalised steps that are commanded [B, F, 3]; None: they are imagined too.

    Raises:
        Diverged: naming the chunk.
    """
    network, cameras = model.config.network, past.rays.shape[1]
    latent_frames = model.per_chunk // model.tokenizer.temporal_stride
    shape = (latent_frames, cameras, network.latent_channels, network.latent_height, network.latent_width)
    recall = model.recall(past)
    noise = seeded_noise(model, (model.per_chunk, 3), request.seeds, "steps", past.chunks)
    if given is None:
        velocity = steps_velocity(model, past, recall, texts, request.sampling)
        steps = _denoised(past, request, velocity, noise, 1.0)
    else:
        steps = given
    velocity = video_velocity(model, past, recall, texts, request.sampling, ChunkSteps(given=steps, noise=noise))
    video = seeded_noise(model, shape, request.seeds, "video", past.chunks)
    latents = _denoised(past, request, velocity, video, model.config.video_shift)
    return latents, extended(model, past, request, latents, steps, recall)


def _denoised(past: Past, request: RolloutRequest, velocity: Velocity, noise: Tensor, shift: float) -> Tensor:
    times = sampling_times(request.sampling.steps, shift)
    (result,) = find_sampler(request.sampling.sampler)(velocity, (noise,), times)
    check_finite(f"chunk {past.chunks} of the rollout", result)
    return result


@dataclass(frozen=True, eq=False, kw_only=True)
class ChunkSteps:
    """The steps of a chunk [B, F, 3], and the noise that stands for them where they are withheld."""

    given: Tensor
    noise: Tensor

    def of(self, passes: Sequence[Pass]) -> tuple[Tensor, Tensor]:
        """Steps and their noise times for all passes: where the motion is withheld, noise at time 1."""
        batch, frames = self.noise.shape[:2]
        motion = told(passes, "motion", batch, self.noise.device)
        known, unknown = side_by_side(self.given, passes), side_by_side(self.noise, passes)
        steps = torch.where(motion[:, None, None], known, unknown)
        return steps, (~motion).to(steps.dtype)[:, None].expand(-1, frames)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Guided:
    """What all passes of a chunk share; the passes that the scales ask for stand side by side in the batch.

    The memory holds the texts too, which are read once for all sampling steps.
    A network that was distilled with guidance takes the scales as inputs instead and answers in one pass.
    """

    passes: tuple[Pass, ...]
    scales: Tensor | None
    frames: Tensor
    period: Tensor
    memory: Recall

    @staticmethod
    def of(
        model: LoadedModel,
        past: Past,
        recall: Recall | None,
        texts: Sequence[str],
        sampling: Sampling,
        *,
        motion: bool,
    ) -> "_Guided":
        config, batch = model.config, len(past.rays)
        conditions = {"history": recall is not None, "motion": motion, "text": any(texts)}
        given = [name for name, here in conditions.items() if here]
        passes = passes_of(Sampling() if config.guided else sampling, given)
        period = side_by_side(model.period(batch), passes)
        memory, guidance = recall_side_by_side(recall, passes), _texts_for(model, past, texts, passes)
        return _Guided(
            passes=passes,
            scales=scales_input(sampling, given, batch).to(model.device) if config.guided else None,
            frames=frame_numbers(model, past),
            period=period,
            memory=model.network.with_guidance(memory, guidance, period, float(past.frames)),
        )


def steps_velocity(
    model: LoadedModel, past: Past, recall: Recall | None, texts: Sequence[str], sampling: Sampling
) -> Velocity:
    """The network as a function of (steps,): how the driver goes on, said by the narrow expert before there is a picture.

    The video then follows the steps as if they had been commanded: p(steps) p(video | steps) is the joint distribution.
    """
    shared = _Guided.of(model, past, recall, texts, sampling, motion=False)
    count = len(shared.passes) * len(past.rays)

    def velocity(state: State, t: float, step: float) -> State:
        times = torch.full((count, model.per_chunk), t, device=model.device)
        jump = torch.full_like(times, step) if model.config.few_steps else None
        steps = side_by_side(state[0], shared.passes)
        part = FramesPart(frames=shared.frames, clean=False, steps=steps, steps_time=times, steps_jump=jump)
        sequence = TokenSequence(frames=(part,), period_s=shared.period, scales=shared.scales)
        output = model.network(sequence, shared.memory, now=float(past.frames))
        return (mixed(output.steps, shared.passes),)

    return velocity


def video_velocity(
    model: LoadedModel,
    past: Past,
    recall: Recall | None,
    texts: Sequence[str],
    sampling: Sampling,
    steps: ChunkSteps,
) -> Velocity:
    """The network as a function of (video,) under guidance; the steps are known, and so is the warped view."""
    shared = _Guided.of(model, past, recall, texts, sampling, motion=True)
    count, rays = len(shared.passes) * len(past.rays), side_by_side(past.rays, shared.passes)
    moved, moved_time = steps.of(shared.passes)
    warped = model.warped_view(past, steps.given)
    view = None if warped is None else side_by_side(warped, shared.passes)
    batch = len(past.rays)
    seen = told(shared.passes, "history", batch, model.device) & told(shared.passes, "motion", batch, model.device)
    view_known = None if bool(seen.all()) else seen

    def velocity(state: State, t: float, step: float) -> State:
        times = torch.full((count, model.per_chunk), t, device=model.device)
        part = FramesPart(
            frames=shared.frames,
            clean=False,
            steps=moved,
            steps_time=moved_time,
            video=side_by_side(state[0], shared.passes),
            video_time=times,
            view=view,
            view_known=view_known,
            video_jump=torch.full_like(times, step) if model.config.few_steps else None,
        )
        sequence = TokenSequence(frames=(part,), rays=rays, period_s=shared.period, scales=shared.scales)
        output = model.network(sequence, shared.memory, now=float(past.frames))
        return (mixed(output.video, shared.passes),)

    return velocity


def _texts_for(model: LoadedModel, past: Past, texts: Sequence[str], passes: Sequence[Pass]) -> GuidancePart:
    """The text of every pass; the empty one where it is withheld."""
    said = [text if "text" in one.told else "" for one in passes for text in texts]
    return model.guidance(said, past.frames // model.per_chunk)


def frame_numbers(model: LoadedModel, past: Past) -> Tensor:
    """Frame numbers of the next chunk [F]."""
    return torch.arange(past.frames, past.frames + model.per_chunk, device=model.device)


def extended(
    model: LoadedModel, past: Past, request: RolloutRequest, latents: Tensor, steps: Tensor, recall: Recall | None
) -> Past:
    """Write the finished chunk into the memory: one clean pass that sees no guidance.

    Raises:
        Diverged: naming the chunk.
    """
    asked = request.sampling.history_noise
    level = model.config.history_noise if asked is None else asked
    noise = seeded_noise(model, latents.shape[1:], request.seeds, "history", past.chunks)
    shape = steps.shape[:2]
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
    grown = [poses[-1]]
    for delta in deltas:
        grown.append(compose(grown[-1], delta))
    return np.concatenate([poses, grown[1:]])
