"""Plans drawn from a ready memory: video and steps are absent, only the narrow expert runs (the fast path)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from worldmodel.chunks import check_finite
from worldmodel.errors import BadRequest
from worldmodel.flow import stream_noise
from worldmodel.geometry import Array, Trajectory, mean_pose
from worldmodel.loaded import LoadedModel
from worldmodel.past import Past
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.sampler import State, find_sampler, sampling_times
from worldmodel.sequence import PlanPart, Recall, TokenSequence

MAX_SAMPLES = 256


@torch.no_grad()
def draw_plans(
    model: LoadedModel,
    past: Past,
    *,
    texts: Sequence[str],
    seeds: Sequence[int],
    samples: int = 1,
    steps: int = 8,
    stale_s: float = 0.0,
) -> Array:
    """Plans of every sample of a past, float64 [B, samples, 8, 3]: poses at 0.5 ... 4 s in the ego frame of now.

    Args:
        texts: What each driver is told.
        seeds: One per sample of the past; plan i of a seed is the same however many are drawn.
        samples: Plans per sample of the past, 1 to MAX_SAMPLES.
        stale_s: How long before now the memory's newest frame was taken: whole chunks, 0 when it is of now. The network is told.
    Raises:
        BadRequest, Diverged.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise BadRequest(f"{samples} samples were asked for; 1 to {MAX_SAMPLES} make sense.")
    stale = _stale_chunks(model, stale_s)
    past = replace(past, frames=past.frames + stale * model.per_chunk)  # now; ages count from here
    if len(past.rays) == 1:  # one past serves all its plans in one pass
        recall = model.recall(replace(past, memory=past.memory.repeated(samples)))
        noise = torch.stack([_noise(model, past, seeds[0], i) for i in range(samples)])
        found = _denoised(model, past, recall, list(texts) * samples, noise, steps, stale)[None]
    else:
        recall, drawn = model.recall(past), []
        for i in range(samples):
            noise = torch.stack([_noise(model, past, seed, i) for seed in seeds])
            drawn.append(_denoised(model, past, recall, texts, noise, steps, stale))
        found = torch.stack(drawn, dim=1)
    check_finite("the plan", found)
    mean, std = (found.new_tensor(value) for value in (model.config.plan_mean, model.config.plan_std))
    poses: Array = (found * std + mean).cpu().numpy().astype(np.float64)
    return poses


def plan_of(values: Array, timing: dict[str, float] | None = None) -> Plan:
    """Drawn plans [samples, 8, 3] as one: their mean (of headings: as directions), and all of them where there are several."""
    mean = Trajectory(poses=mean_pose(values), times_s=PLAN_TIMES_S)
    return Plan(trajectory=mean, samples=values if len(values) > 1 else None, timing=timing or {})


def _noise(model: LoadedModel, past: Past, seed: int, sample: int) -> Tensor:
    shape = (1, model.config.network.plan_poses, 3)
    return stream_noise(shape, seed, f"plan-{sample}", past.frames // model.per_chunk)


def _stale_chunks(model: LoadedModel, stale_s: float) -> int:
    chunk_s = model.per_chunk / model.config.frequency_hz
    chunks = round(stale_s / chunk_s) if np.isfinite(stale_s) else -1
    if chunks < 0 or abs(chunks * chunk_s - stale_s) > 1e-6:
        raise BadRequest(
            f"a memory {stale_s:g} s old was named; it must be 0 or whole chunks of {chunk_s:g} s. Round it up to the next one."
        )
    return chunks


def _denoised(
    model: LoadedModel, past: Past, recall: Recall | None, texts: Sequence[str], noise: Tensor, steps: int, stale: int
) -> Tensor:
    """Normalised plans [N, poses, 3] of N texts and noises [N, 1, poses, 3]."""
    chunk, count = past.frames // model.per_chunk, len(noise)
    guidance, period = model.guidance(texts, chunk), model.period(count)
    chunks = torch.tensor([chunk], device=model.device)
    staleness = torch.full((count, 1), stale, device=model.device) if stale else None
    past_and_text = model.network.with_guidance(recall, guidance, period, float(past.frames))

    def velocity(state: State, t: float, step: float) -> State:
        time = torch.full((count, 1), t, device=model.device)
        jump = torch.full_like(time, step) if model.config.few_steps else None
        part = PlanPart(chunks=chunks, values=state[0], time=time, staleness=staleness, jump=jump)
        sequence = TokenSequence(frames=(), period_s=period, plan=part)
        return (model.network(sequence, past_and_text, now=float(past.frames)).plan,)

    (result,) = find_sampler("euler")(velocity, (noise.to(model.device),), sampling_times(steps))
    return result[:, 0]
