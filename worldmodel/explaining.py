"""Which motion explains these frames? The inverse question: pixels are given, steps are denoised."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from worldmodel.chunks import check_finite, frame_numbers, seeded_noise
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.geometry import Motion
from worldmodel.loaded import LoadedModel
from worldmodel.observing import at_rate, fitted
from worldmodel.past import Past
from worldmodel.plans import Observation
from worldmodel.remembering import remember
from worldmodel.sampler import State, find_sampler, sampling_times
from worldmodel.sampling import Sampling
from worldmodel.sequence import FramesPart, TokenSequence


@torch.no_grad()
def explain(model: LoadedModel, observations: Sequence[Observation], *, seed: int, steps: int) -> list[Motion]:
    """The steps into all frames after the first chunk, one motion per observation; see `WorldModel.explain`.

    Raises:
        BadRequest: if the observations differ in length, or their rate does not fit.
        ClipTooShort: for fewer than two chunks.
        Diverged.
    """
    per, seen = model.per_chunk, [at_rate(observation, model.config.frequency_hz) for observation in observations]
    counts = sorted({len(observation.video) for observation in seen})
    if len(counts) != 1:
        raise BadRequest(f"observations of one batch need equal length; got {counts} frames. Explain them one by one.")
    if counts[0] < 2 * per:
        raise ClipTooShort(f"explaining needs at least {2 * per} frames; got {counts[0]}. Use a longer clip.")
    memory = Sampling().empty_memory(model.config.history_chunks)
    past = remember(model, [_frames_of(observation, 0, per) for observation in seen], memory, with_steps=False)
    found = []
    for start in range(per, counts[0] // per * per, per):
        part = [_frames_of(observation, start, start + per) for observation in seen]
        deltas, past = _explained(model, past, part, seed, steps)
        found.append(model.deltas(deltas))
    return [Motion(deltas=row, period_s=1 / model.config.frequency_hz) for row in np.concatenate(found, axis=1)]


def _frames_of(observation: Observation, first: int, last: int) -> Observation:
    return replace(observation, video=observation.video[first:last], motion=None)


def _explained(
    model: LoadedModel, past: Past, observations: Sequence[Observation], seed: int, steps: int
) -> tuple[Tensor, Past]:
    """Normalised steps [B, F, 3] of the next chunk, and the past that has seen its pictures (not its steps)."""
    seen = [fitted(observation, model.config) for observation in observations]
    latents, codec = model.tokenizer.encode_on(np.stack([observation.video for observation in seen]), past.codec)
    batch, recall, now = len(seen), model.recall(past), float(past.frames)
    zeros = torch.zeros(batch, model.per_chunk, device=model.device)

    def part(values: Tensor, t: float, step: float, *, clean: bool) -> TokenSequence:
        one = FramesPart(
            frames=frame_numbers(model, past),
            clean=clean,
            steps=values,
            steps_time=zeros + t,
            video=latents,
            video_time=zeros,
            steps_jump=zeros + step if model.config.few_steps else None,
        )
        return TokenSequence(frames=(one,), rays=past.rays, period_s=model.period(batch))

    def velocity(state: State, t: float, step: float) -> State:
        return (model.network(part(state[0], t, step, clean=False), recall, now=now).steps,)

    noise = seeded_noise(model, (model.per_chunk, 3), [seed] * batch, "explain", past.frames // model.per_chunk)
    (result,) = find_sampler("euler")(velocity, (noise,), sampling_times(steps))
    check_finite("the explanation", result)
    withheld = part(torch.zeros_like(result), 1.0, 0.0, clean=True)
    entry = model.network(withheld, recall, now=now, remember=True).entry
    memory, frames = past.memory.append(entry), past.frames + model.per_chunk
    return result, replace(past, memory=memory, frames=frames, newest=tuple(seen), codec=codec)
