"""What is random in a training step: which samples, in which mode, at which noise times, and what is withheld from them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from worldmodel.config import WorldModelConfig
from worldmodel.flow import draw_times, mix
from worldmodel.training.presets import Modes, Preset

Batch = dict[str, Tensor]
HISTORY_NOISE = 0.1  # clean copies carry noise of a level drawn from 0 to this
VIEW_DROP = 0.1  # share of the samples with known steps that go without the warped view
HISTORY_DROP = 0.05  # share of the samples that go without their past, for guidance
MOTION_DROP = 0.5  # share of the jointly denoised samples whose steps are wholly unknown, for guidance
STALE_SHARE, MAX_STALENESS = 0.25, 2  # plans that are asked of a memory which is older by up to so many chunks


class DrawsFor(Protocol):
    """What a draw must know of its task (see `worldmodel.training.tasks.WorldActionTask`)."""

    config: WorldModelConfig
    preset: Preset
    chunks: int
    first_noisy: int
    per_chunk: int


def batch_random(seed: int, step: int, rank: int) -> np.random.Generator:
    """The generator that draws a batch's samples."""
    return np.random.default_rng([seed, step, rank])


def draw_modes(modes: Modes, count: int, generator: torch.Generator) -> Tensor:
    """Mode numbers [count]: 0 joint, 1 steps given, 2 video absent, 3 video given."""
    shares = torch.tensor([modes.joint, modes.steps_given, modes.video_absent, modes.video_given])
    return torch.multinomial(shares, count, replacement=True, generator=generator)


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """All that is random in one loss: modes, times, noises, and the noisy and clean copies they make."""

    present: Tensor  # [B] video takes part
    learn_video: Tensor  # [B]
    learn_steps: Tensor  # [B]
    level: Tensor  # [B] noise level of the clean video
    history_noise: Tensor
    clean_video: Tensor
    clean_steps: Tensor
    clean_steps_time: Tensor
    video_time: Tensor  # [B, F]
    video_noise: Tensor
    noisy_video: Tensor
    steps_time: Tensor
    steps_noise: Tensor
    noisy_steps: Tensor
    plan_time: Tensor  # [B, K]
    plan_noise: Tensor
    noisy_plans: Tensor
    staleness: Tensor  # [B, K] chunks
    history_known: Tensor  # [B]
    view_known: Tensor  # [B]
    view_noise: Tensor
    view: Tensor | None = None

    @staticmethod
    def of(task: "DrawsFor", batch: Batch, generator: torch.Generator) -> "Draw":
        """Draw on the CPU, then move to the batch's device."""
        latents, steps, known, plans = batch["latents"], batch["steps"], batch["known"], batch["plans"]
        size, per = len(latents), task.per_chunk
        first, past = task.first_noisy * per, (task.chunks - 1) * per
        noisy_chunks = task.chunks - task.first_noisy
        random = _Randoms(generator, latents.device)
        mode = random.moved(draw_modes(task.preset.modes, size, generator))
        withheld = (mode == 3) & (random.uniform(size) < 0.5) | (random.uniform(size) < 0.05)
        level = random.uniform(size) * HISTORY_NOISE
        history_noise = random.normal(latents.shape)
        clean_unknown = withheld[:, None] | ~known[:, :past]
        shift = task.config.video_shift
        video_time = random.moved(draw_times((size, noisy_chunks), shift, generator)).repeat_interleave(per, dim=1)
        video_time = torch.where((mode == 3)[:, None], 0.0, video_time)
        steps_time = random.moved(draw_times((size, noisy_chunks), 1.0, generator)).repeat_interleave(per, dim=1)
        steps_time = torch.where((mode == 1)[:, None], 0.0, steps_time)
        steps_time = torch.where(known[:, first:], steps_time, 1.0)
        plan_time = random.moved(draw_times((size, noisy_chunks), 1.0, generator))
        video_noise, steps_noise = random.normal(latents[:, first:].shape), random.normal(steps[:, first:].shape)
        plan_noise = random.normal(plans.shape)
        stale = random.moved(torch.randint(1, MAX_STALENESS + 1, (size, noisy_chunks), generator=generator))
        stale = torch.where(random.uniform(size)[:, None] < STALE_SHARE, stale, 0)
        all_known = known[:, first:].all(dim=1)
        history_known = random.uniform(size) >= HISTORY_DROP
        clean_unknown = clean_unknown | ~history_known[:, None]
        bare = (mode == 0) & (random.uniform(size) < MOTION_DROP)
        steps_time = torch.where(bare[:, None], 1.0, steps_time)
        return Draw(
            present=mode != 2,
            learn_video=(mode == 0) | (mode == 1),
            learn_steps=mode != 1,
            level=level,
            history_noise=history_noise,
            clean_video=mix(latents, history_noise, level[:, None, None, None, None, None])[:, :past],
            clean_steps=torch.where(clean_unknown[..., None], 0.0, steps[:, :past]),
            clean_steps_time=clean_unknown.float(),
            video_time=video_time,
            video_noise=video_noise,
            noisy_video=mix(latents[:, first:], video_noise, video_time[..., None, None, None, None]),
            steps_time=steps_time,
            steps_noise=steps_noise,
            noisy_steps=mix(steps[:, first:], steps_noise, steps_time[..., None]),
            plan_time=plan_time,
            plan_noise=plan_noise,
            noisy_plans=mix(plans, plan_noise, plan_time[..., None, None]),
            staleness=torch.minimum(
                stale, torch.arange(noisy_chunks, device=stale.device) + task.first_noisy - 1
            ).clamp(min=0),
            view_noise=random.normal(video_noise.shape),
            history_known=history_known,
            view_known=(mode == 1) & all_known & history_known & (random.uniform(size) >= VIEW_DROP),
        )


class _Randoms:
    """Draws on a CPU generator and moves the result."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def moved(self, values: Tensor) -> Tensor:
        return values.to(self.device)

    def normal(self, shape: torch.Size) -> Tensor:
        return self.moved(torch.randn(shape, generator=self.generator))

    def uniform(self, count: int) -> Tensor:
        return self.moved(torch.rand(count, generator=self.generator))
