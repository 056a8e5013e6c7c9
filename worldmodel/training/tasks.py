"""What the network learns: denoise chunks with clean history, drive and plan; a batch and a loss.

A batch is a pure function of (seed, step, rank), so data order needs no state and resuming is exact.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.config import WorldModelConfig
from worldmodel.flow import mix, velocity_target
from worldmodel.geometry import Array
from worldmodel.network import WorldActionTransformer
from worldmodel.sequence import FramesPart, GuidancePart, Output, PlanPart, TokenSequence
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.draws import Batch, Draw, batch_random
from worldmodel.training.encoded import Encoded, Views
from worldmodel.training.presets import Preset
from worldmodel.training.store import plan_labels

OWN_STEPS = 2  # sampling steps of self-made history


class WorldActionTask:
    """Denoise chunks with clean history: the training layout of DESIGN 6 for any number of chunks.

    Args:
        chunks: Chunks per clip.
        first_noisy: First chunk that is denoised; 0 trains single chunks without history, 1 gives all a history.
        own_history: Share of batches whose clean history is the model's own rollout.
        tokenizer: Makes the warped views; None trains without them.
    """

    def __init__(
        self,
        name: str,
        config: WorldModelConfig,
        data: Sequence[Encoded],
        preset: Preset,
        *,
        tokenizer: Tokenizer | None = None,
        chunks: int,
        first_noisy: int,
        own_history: float,
        seed: int,
    ) -> None:
        self.name, self.config, self.data, self.preset = name, config, data, preset
        self.chunks, self.first_noisy, self.own_history, self.seed = chunks, first_noisy, own_history, seed
        self.per_chunk = config.network.frames_per_chunk
        self._mean = np.array(config.step_mean), np.array(config.plan_mean)
        self._std = np.array(config.step_std), np.array(config.plan_std)
        self.views = None if tokenizer is None or not first_noisy else Views(tokenizer, [one.store.rig for one in data])

    def module(self) -> nn.Module:
        """A new network."""
        return WorldActionTransformer(self.config.network)

    # -- data -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """Random windows of one store."""
        random = batch_random(self.seed, step, rank)
        weights = np.array([len(encoded.store) for encoded in self.data], float)
        source = int(random.choice(len(self.data), p=weights / weights.sum()))
        encoded = self.data[source]
        frames = self.chunks * self.per_chunk
        rows = [self._row(encoded, frames, random) for _ in range(self.preset.batch_clips)]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0] if name != "text"}
        text = torch.from_numpy(np.stack([row["text"] for row in rows]))
        batch["rays"] = encoded.rays[None].expand(len(rows), -1, -1, -1, -1)
        batch["text"], batch["text_valid"] = encoded.texts[text], encoded.texts_valid[text]
        batch["source"] = torch.full((len(rows),), source)
        batch["period_s"] = torch.full((len(rows),), 1 / encoded.store.frequency_hz)
        return batch

    def _row(self, encoded: Encoded, frames: int, random: np.random.Generator) -> dict[str, Array]:
        store, clip = encoded.store, random.integers(len(encoded.store))
        start = random.integers(encoded.latents.shape[1] - frames + 1)
        steps, known = np.zeros((frames, 3)), np.zeros(frames, dtype=bool)
        steps[1:] = (store.deltas[clip, start : start + frames - 1] - self._mean[0]) / self._std[0]
        known[1:] = store.known[clip, start : start + frames - 1]
        starts = [start + k * self.per_chunk - 1 for k in range(self.first_noisy, self.chunks)]
        labels = [plan_labels(store.deltas[clip], store.known[clip], s, store.frequency_hz) for s in starts]
        plans = np.stack([(poses - self._mean[1]) / self._std[1] for poses, _ in labels])
        return {
            "latents": np.asarray(encoded.latents[clip, start : start + frames], np.float32),
            "steps": (steps * known[:, None]).astype(np.float32),
            "known": known,
            "plans": plans.astype(np.float32),
            "plans_known": np.stack([valid & store.expert[clip] for _, valid in labels]),
            "text": encoded.texts_of(int(clip), [first + 1 for first in starts], self.per_chunk, self.preset, random),
        }

    # -- layout ---------------------------------------------------------------------------------------------------

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Video velocity loss + steps + plan, on the noisy copies."""
        draw = Draw.of(self, batch, generator)
        draw = replace(draw, view=self._view(batch, draw, batch["latents"]))
        if self.own_history and float(torch.rand((), generator=generator)) < self.own_history:
            draw = self._with_own_history(module, batch, draw)
        output: Output = module(self._sequence(batch, draw))
        return self._losses(batch, draw, output)

    def _with_own_history(self, module: nn.Module, batch: Batch, draw: Draw) -> Draw:
        """Replace the clean video of denoised chunks by the model's own rollout along the known steps, chunk after chunk.

        Source: training on self-generated history, Huang et al., Self Forcing (arXiv 2506.08009); here without gradient
        through the rollout and with OWN_STEPS sampling steps. Who learns to explain real video keeps the real past.
        """
        clean, per, past = batch["latents"].clone(), self.per_chunk, (self.chunks - 1) * self.per_chunk
        level = draw.level[:, None, None, None, None, None]
        own = (draw.present & draw.learn_video)[:, None, None, None, None, None]
        for chunk in range(self.first_noisy, self.chunks - 1):
            here = slice(chunk * per, (chunk + 1) * per)
            history = mix(clean, draw.history_noise, level)[:, : here.start]
            with torch.no_grad():
                made = self._imagined_chunk(module, batch, draw, chunk, history, clean)
            clean[:, here] = torch.where(own, made, clean[:, here])
        history = mix(clean, draw.history_noise, level)[:, :past]
        return replace(draw, clean_video=history, view=self._view(batch, draw, clean))

    def _imagined_chunk(
        self, module: nn.Module, batch: Batch, draw: Draw, chunk: int, history: Tensor, clean: Tensor
    ) -> Tensor:
        """One chunk's video in OWN_STEPS Euler steps, [B, F, C, ch, h, w]; its steps are given where they are known."""
        per, first = self.per_chunk, self.first_noisy
        here, noisy = slice(chunk * per, (chunk + 1) * per), slice((chunk - first) * per, (chunk - first + 1) * per)
        frames = torch.arange(here.stop, device=history.device)
        past = FramesPart(
            frames=frames[: here.start],
            clean=True,
            steps=draw.clean_steps[:, : here.start],
            steps_time=draw.clean_steps_time[:, : here.start],
            video=history,
            video_time=draw.level[:, None].expand(-1, here.start),
            video_present=draw.history_known,
        )
        unknown = (~batch["known"][:, here]).float()
        steps = torch.where(unknown[..., None] > 0, draw.steps_noise[:, noisy], batch["steps"][:, here])
        seen = draw.history_known & (unknown == 0).all(dim=1)
        view = self._views_of(batch, draw, clean, range(chunk, chunk + 1), seen)
        state, guidance = draw.video_noise[:, noisy], self._guidance(batch, range(chunk, chunk + 1))
        for step in range(OWN_STEPS, 0, -1):
            part = FramesPart(
                frames=frames[here],
                clean=False,
                steps=steps,
                steps_time=unknown,
                video=state,
                video_time=torch.full_like(unknown, step / OWN_STEPS),
                view=view,
                view_known=seen,
            )
            sequence = TokenSequence(
                frames=(past, part), rays=batch["rays"], period_s=batch["period_s"], guidance=guidance
            )
            state = state - module(sequence).video / OWN_STEPS
        return state

    def _guidance(self, batch: Batch, chunks: range) -> GuidancePart:
        """The texts of some of the denoised chunks."""
        which = slice(chunks.start - self.first_noisy, chunks.stop - self.first_noisy)
        return GuidancePart(
            chunks=torch.tensor(chunks, device=batch["latents"].device),
            features=batch["text"][:, which],
            valid=batch["text_valid"][:, which],
        )

    def _view(self, batch: Batch, draw: Draw, latents: Tensor) -> Tensor | None:
        """What the last of the `latents` before each denoised chunk shows of the chunk's frames, where it may be told."""
        return self._views_of(batch, draw, latents, range(self.first_noisy, self.chunks), draw.view_known)

    def _views_of(self, batch: Batch, draw: Draw, latents: Tensor, chunks: range, told: Tensor) -> Tensor | None:
        """The views of some chunks for the samples that are `told` [B], [B, chunks * F, C, ch, h, w]; zeros and noise for others."""
        if self.views is None or not bool(told.any()):
            return None
        per = self.per_chunk
        here, noisy = slice(chunks.start * per, chunks.stop * per), (chunks.start - self.first_noisy) * per
        last = latents[told, here.start - 1 : here.stop - 1 : per]
        mean, std = (torch.as_tensor(x[0], dtype=torch.float32, device=last.device) for x in (self._mean, self._std))
        deltas = (batch["steps"][told, here] * std + mean).unflatten(1, (-1, per))
        seen = self.views(last.flatten(0, 1), deltas.flatten(0, 1), int(batch["source"][0]))
        view = torch.zeros_like(latents[:, here])
        view[told] = seen.unflatten(0, last.shape[:2]).flatten(1, 2)
        noise = draw.view_noise[:, noisy : noisy + here.stop - here.start]
        return mix(view, noise, draw.level[:, None, None, None, None, None])

    def _sequence(self, batch: Batch, draw: Draw) -> TokenSequence:
        device, per, first = batch["latents"].device, self.per_chunk, self.first_noisy
        history = torch.arange((self.chunks - 1) * per, device=device)
        noisy = torch.arange(first * per, self.chunks * per, device=device)
        chunks = torch.arange(first, self.chunks, device=device)
        parts = []
        if len(history):
            parts.append(
                FramesPart(
                    frames=history,
                    clean=True,
                    steps=draw.clean_steps,
                    steps_time=draw.clean_steps_time,
                    video=draw.clean_video,
                    video_time=draw.level[:, None].expand(-1, len(history)),
                    video_present=draw.history_known,
                )
            )
        parts.append(
            FramesPart(
                frames=noisy,
                clean=False,
                steps=draw.noisy_steps,
                steps_time=draw.steps_time,
                video=draw.noisy_video,
                video_time=draw.video_time,
                video_present=draw.present,
                view=draw.view,
                view_known=draw.view_known,
            )
        )
        guidance = self._guidance(batch, range(self.first_noisy, self.chunks))
        plan = PlanPart(chunks=chunks, values=draw.noisy_plans, time=draw.plan_time, staleness=draw.staleness)
        return TokenSequence(
            frames=tuple(parts), rays=batch["rays"], period_s=batch["period_s"], plan=plan, guidance=guidance
        )

    def _losses(self, batch: Batch, draw: Draw, output: Output) -> tuple[Tensor, dict[str, float]]:
        first = self.first_noisy * self.per_chunk
        latents, steps = batch["latents"][:, first:], batch["steps"][:, first:]
        assert output.video is not None
        assert output.steps is not None
        assert output.plan is not None
        video = (output.video - velocity_target(latents, draw.video_noise)).square().mean(dim=(2, 3, 4, 5))
        moved = (output.steps - velocity_target(steps, draw.steps_noise)).square().mean(dim=-1)
        plan = (output.plan - velocity_target(batch["plans"], draw.plan_noise)).square().mean(dim=-1)
        parts = {
            "video": masked_mean(video, draw.learn_video[:, None].expand_as(video)),
            "steps": masked_mean(moved, draw.learn_steps[:, None] & batch["known"][:, first:]),
            "plan": masked_mean(plan, batch["plans_known"]),
        }
        total = parts["video"] + self.preset.steps_weight * parts["steps"] + self.preset.plan_weight * parts["plan"]
        return total, {name: float(value.detach()) for name, value in parts.items()}


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask says so, any one shape; 0 where it never does."""
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)
