"""All that is random in one loss of `worldmodel.backbones.task`: modes, times, noises, and the copies they make.

Shape suffixes: B batch, K chunks, F frames of the denoised chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.config import WorldModelConfig
from worldmodel.flow import draw_times, mix
from worldmodel.training.draws import HISTORY_NOISE, MOTION_DROP, Batch, draw_modes
from worldmodel.training.presets import Modes


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """All that is random in one loss."""

    mode: Tensor  # [B], see `draw_modes`
    level: Tensor  # [B] noise of the clean video
    history_noise: Tensor
    clean_video: Tensor  # [B, K - 1, C, ...]
    clean_steps: Tensor  # [B, F, 3]
    clean_steps_time: Tensor  # [B, F]
    video_time: Tensor  # [B, K - 1]
    video_noise: Tensor
    noisy_video: Tensor
    steps_time: Tensor  # [B, F]
    steps_noise: Tensor
    noisy_steps: Tensor
    plan_time: Tensor  # [B, K - 1]
    plan_noise: Tensor
    noisy_plans: Tensor

    @staticmethod
    def of(config: WorldModelConfig, modes: Modes, batch: Batch, latents: Tensor, generator: torch.Generator) -> "Draw":
        """Draw on the CPU, then move to the batch's device."""
        per, size, chunks = config.network.frames_per_chunk, len(latents), latents.shape[1] - 1
        steps, known, plans = batch["steps"], batch["known"], batch["plans"]

        def normal(shape: Sequence[int]) -> Tensor:
            return torch.randn(*shape, generator=generator).to(latents.device)

        def uniform() -> Tensor:
            return torch.rand(size, generator=generator).to(latents.device)

        mode = draw_modes(modes, size, generator).to(latents.device)
        level = uniform() * HISTORY_NOISE
        withheld = (mode == 3) & (uniform() < 0.5) | (uniform() < 0.05)
        unknown = (withheld[:, None] | ~known)[:, :-per]
        times = draw_times((size, chunks), config.video_shift, generator).to(latents.device)
        video_time = torch.where((mode == 3)[:, None], 0.0, times)
        moved = draw_times((size, chunks), 1.0, generator).to(latents.device).repeat_interleave(per, dim=1)
        steps_time = torch.where((mode == 1)[:, None], 0.0, moved)
        hidden = (mode == 0) & (uniform() < MOTION_DROP)
        steps_time = torch.where(hidden[:, None] | ~known[:, per:], 1.0, steps_time)
        plan_time = draw_times((size, chunks), 1.0, generator).to(latents.device)
        history_noise, video_noise = normal(latents[:, :-1].shape), normal(latents[:, 1:].shape)
        steps_noise, plan_noise = normal(steps[:, per:].shape), normal(plans.shape)
        return Draw(
            mode=mode,
            level=level,
            history_noise=history_noise,
            clean_video=mix(latents[:, :-1], history_noise, level[:, None, None, None, None, None]),
            clean_steps=torch.where(unknown[..., None], 0.0, steps[:, :-per]),
            clean_steps_time=unknown.float(),
            video_time=video_time,
            video_noise=video_noise,
            noisy_video=mix(latents[:, 1:], video_noise, video_time[..., None, None, None, None]),
            steps_time=steps_time,
            steps_noise=steps_noise,
            noisy_steps=mix(steps[:, per:], steps_noise, steps_time[..., None]),
            plan_time=plan_time,
            plan_noise=plan_noise,
            noisy_plans=mix(plans, plan_noise, plan_time[..., None, None]),
        )
