"""What is learned: the tokenizer's task and the world-action task, each a batch and a loss.

A batch is a pure function of (seed, step, rank), so data order needs no state and resuming is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.config import WorldModelConfig
from worldmodel.flow import draw_times, mix, velocity_target
from worldmodel.geometry import Array, Rig
from worldmodel.network import WorldActionTransformer
from worldmodel.sequence import FramesPart, GuidancePart, Output, PlanPart, TokenSequence
from worldmodel.text_encoders import TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.presets import Modes, Preset
from worldmodel.training.store import Store, plan_labels
from worldmodel.warping import Warp, poses_after, warped_latents

Batch = dict[str, Tensor]
HISTORY_NOISE = 0.1  # clean copies carry noise of a level drawn from 0 to this
GRADIENT_SCALES = 3
VIEW_DROP = 0.1  # share of the samples with known steps that go without the warped view
HISTORY_DROP = 0.05  # share of the samples that go without their past, for guidance
MOTION_DROP = 0.5  # share of the jointly denoised samples whose steps are wholly unknown, for guidance
OWN_STEPS = 2  # sampling steps of self-made history
STALE_SHARE, MAX_STALENESS = 0.25, 2  # plans that are asked of a memory which is older by up to so many chunks


def batch_random(seed: int, step: int, rank: int) -> np.random.Generator:
    """The generator that draws a batch's samples."""
    return np.random.default_rng([seed, step, rank])


def reconstruction_loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 plus half the L1 between gradients at three scales, per pixel weights [n, 1, h, w]."""
    total = (weight * (predicted - target).abs()).mean()
    for scale in range(GRADIENT_SCALES):
        if scale:
            predicted, target, weight = (functional.avg_pool2d(x, 2) for x in (predicted, target, weight))
        for axis in (-1, -2):
            difference = (predicted.diff(dim=axis) - target.diff(dim=axis)).abs()
            share = weight.narrow(axis, 1, weight.shape[axis] - 1)
            total = total + 0.5 / GRADIENT_SCALES * (share * difference).mean()
    return total


class TokenizerTask:
    """Reconstruct frames; road users weigh more, latents are kept small and robust to noise.

    Source: the recipe in `docs/decisions.md`; latent noise as in Song et al., "StableVAE" practice of noisy bottlenecks.
    """

    name = "tokenizer"
    object_weight = 3.0
    latent_noise = 0.1
    latent_penalty = 1e-3

    def __init__(self, stores: Sequence[Store], preset: Preset, seed: int) -> None:
        self.stores, self.preset, self.seed = stores, preset, seed
        self._latent = (preset.model.tokenizer.channels, *preset.model.grid)

    def module(self) -> nn.Module:
        """A new tokenizer."""
        return Tokenizer(self.preset.model.tokenizer)

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """Single pictures from random clips, frames and cameras."""
        random = batch_random(self.seed, step, rank)
        store = self.stores[int(random.integers(len(self.stores)))]
        clips, frames, cameras = store.video.shape[:3]
        rows = [
            (random.integers(clips), random.integers(frames), random.integers(cameras))
            for _ in range(self.preset.batch_frames)
        ]
        pictures = np.stack([store.video[row] for row in rows])
        objects = np.stack([store.objects[row] for row in rows])
        return {"pictures": torch.from_numpy(pictures), "objects": torch.from_numpy(objects)}

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Weighted reconstruction loss plus the latent penalty."""
        pictures = batch["pictures"].float() / 127.5 - 1
        noise = self.latent_noise * torch.randn(len(pictures), *self._latent, generator=generator)
        decoded, latents = module(pictures, noise.to(pictures.device))
        weight = 1 + self.object_weight * batch["objects"][:, None].float()
        error = reconstruction_loss(decoded, pictures, weight)
        with torch.no_grad():
            mse = (decoded.clamp(-1, 1) - pictures).square().mean()
        total = error + self.latent_penalty * latents.square().mean()
        return total, {"reconstruction": float(error.detach()), "psnr_db": float(10 * torch.log10(4 / mse))}


@torch.no_grad()
def measure_latents(tokenizer: Tokenizer, stores: Sequence[Store], pictures: int, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per latent channel over random pictures of all stores."""
    random, found = np.random.default_rng(seed), []
    for _ in range(max(1, pictures // 24)):
        store = stores[int(random.integers(len(stores)))]
        clips, frames, cameras = store.video.shape[:3]
        rows = [(random.integers(clips), random.integers(frames), random.integers(cameras)) for _ in range(24)]
        batch = torch.from_numpy(np.stack([store.video[row] for row in rows])).float() / 127.5 - 1
        found.append(tokenizer.to_latents(batch.to(tokenizer.device)))
    values = torch.cat(found).transpose(0, 1).flatten(1)
    return values.mean(dim=1), values.std(dim=1).clamp(min=1e-3)


def motion_statistics(stores: Sequence[Store]) -> dict[str, Any]:
    """Means and standard deviations of steps and plan poses, for `WorldModelConfig`."""
    steps = np.concatenate([store.deltas[store.known] for store in stores])
    if not len(steps):
        return {}
    plans = []
    for store in stores:
        frames = store.video.shape[1]
        for clip in range(0, len(store), max(1, len(store) // 400)):
            for start in range(3, frames, 4):
                poses, valid = plan_labels(store.deltas[clip], store.known[clip], start, store.frequency_hz)
                if valid.all() and store.expert[clip]:
                    plans.append(poses)
    stats = {"step_mean": tuple(steps.mean(0).tolist()), "step_std": tuple(np.maximum(steps.std(0), 1e-3).tolist())}
    if plans:
        values = np.stack(plans)
        stats["plan_mean"] = tuple(map(tuple, values.mean(0).tolist()))
        stats["plan_std"] = tuple(map(tuple, np.maximum(values.std(0), 1e-2).tolist()))
    return stats


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """A store as latents, with its rays and the features of all its texts; `rows` says where a text's features are."""

    store: Store
    latents: Array
    rays: Tensor
    texts: Tensor
    texts_valid: Tensor
    rows: dict[str, int]

    @staticmethod
    def of(store: Store, latents: Array, rays: Tensor, encoder: TextEncoder) -> "Encoded":
        """Encode the store's texts, and the empty one for samples that drop theirs."""
        said = {text for words in store.words or () for text in words.texts()}
        unique = sorted({*store.texts, *said, ""})
        features, valid = encoder.encode(unique)
        rows = {text: row for row, text in enumerate(unique)}
        return Encoded(store=store, latents=latents, rays=rays, texts=features, texts_valid=valid, rows=rows)

    def texts_of(
        self, clip: int, starts: Sequence[int], per_chunk: int, preset: Preset, random: np.random.Generator
    ) -> Array:
        """Rows of the texts for the chunks of a clip that begin at the frames `starts`, int64 [chunks].

        Some samples hear nothing, some the hints or what is seen, the others what the driver is told.
        """
        if random.random() < preset.text_drop:
            return np.full(len(starts), self.rows[""])
        if self.store.words is None:
            return np.full(len(starts), self.rows[self.store.texts[clip]])
        words, draw = self.store.words[clip], random.random()
        sort = "hint" if draw < preset.hint_share else "instruction"
        sort = "description" if draw > 1 - preset.description_share else sort
        sort = sort if words.has(sort) else "instruction"
        shift = (per_chunk - 1) / 2 if sort == "hint" else -1  # hints are about the chunk, the others are known before
        times = [(first + shift) / self.store.frequency_hz for first in starts]
        return np.array([self.rows[words.at(sort, max(0.0, time_s))] for time_s in times])


class Views:
    """Warped views of latents: decoded, warped along known steps (`worldmodel.warping`), and encoded again."""

    def __init__(self, tokenizer: Tokenizer, rigs: Sequence[Rig]) -> None:
        self.tokenizer, self._rigs = tokenizer, rigs
        self._warps: dict[int, Warp] = {}

    @torch.no_grad()
    def __call__(self, last: Tensor, deltas: Tensor, source: int = 0) -> Tensor:
        """Latents [n, F, C, ch, h, w] of the views after each of the steps [n, F, 3] (metres, radians) from `last` [n, C, ch, h, w]."""
        if self.tokenizer.device != last.device:
            self.tokenizer.to(last.device)
        if source not in self._warps:
            self._warps[source] = Warp(self._rigs[source], device=last.device)
        poses = torch.from_numpy(poses_after(deltas.double().cpu().numpy())).to(last.device)
        return warped_latents(self.tokenizer, self._warps[source], last, poses)


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
        draw = _Draw.of(self, batch, generator)
        draw = replace(draw, view=self._view(batch, draw, batch["latents"]))
        if self.own_history and float(torch.rand((), generator=generator)) < self.own_history:
            draw = self._with_own_history(module, batch, draw)
        output: Output = module(self._sequence(batch, draw))
        return self._losses(batch, draw, output)

    def _with_own_history(self, module: nn.Module, batch: Batch, draw: "_Draw") -> "_Draw":
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
        self, module: nn.Module, batch: Batch, draw: "_Draw", chunk: int, history: Tensor, clean: Tensor
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
        view = self._view(batch, draw, clean)
        view = None if view is None else view[:, noisy]
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
                view_known=draw.view_known,
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

    def _view(self, batch: Batch, draw: "_Draw", latents: Tensor) -> Tensor | None:
        """What the last of the `latents` before each denoised chunk shows of the chunk's frames, where it may be told."""
        if self.views is None or not bool(draw.view_known.any()):
            return None
        first, per, told = self.first_noisy * self.per_chunk, self.per_chunk, draw.view_known
        last = latents[told, first - 1 : -1 : per]
        mean, std = (torch.as_tensor(x[0], dtype=torch.float32, device=last.device) for x in (self._mean, self._std))
        deltas = (batch["steps"][told, first:] * std + mean).unflatten(1, (-1, per))
        view = torch.zeros_like(latents[:, first:])
        view[told] = (
            self.views(last.flatten(0, 1), deltas.flatten(0, 1), int(batch["source"][0]))
            .unflatten(0, last.shape[:2])
            .flatten(1, 2)
        )
        level = draw.level[:, None, None, None, None, None]
        return mix(view, draw.view_noise, level)

    def _sequence(self, batch: Batch, draw: "_Draw") -> TokenSequence:
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

    def _losses(self, batch: Batch, draw: "_Draw", output: Output) -> tuple[Tensor, dict[str, float]]:
        first = self.first_noisy * self.per_chunk
        latents, steps = batch["latents"][:, first:], batch["steps"][:, first:]
        assert output.video is not None
        assert output.steps is not None
        assert output.plan is not None
        video = (output.video - velocity_target(latents, draw.video_noise)).square().mean(dim=(2, 3, 4, 5))
        moved = (output.steps - velocity_target(steps, draw.steps_noise)).square().mean(dim=-1)
        plan = (output.plan - velocity_target(batch["plans"], draw.plan_noise)).square().mean(dim=-1)
        parts = {
            "video": _masked_mean(video, draw.learn_video[:, None].expand_as(video)),
            "steps": _masked_mean(moved, draw.learn_steps[:, None] & batch["known"][:, first:]),
            "plan": _masked_mean(plan, batch["plans_known"]),
        }
        total = parts["video"] + self.preset.steps_weight * parts["steps"] + self.preset.plan_weight * parts["plan"]
        return total, {name: float(value.detach()) for name, value in parts.items()}


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def draw_modes(modes: Modes, count: int, generator: torch.Generator) -> Tensor:
    """Mode numbers [count]: 0 joint, 1 steps given, 2 video absent, 3 video given."""
    shares = torch.tensor([modes.joint, modes.steps_given, modes.video_absent, modes.video_given])
    return torch.multinomial(shares, count, replacement=True, generator=generator)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Draw:
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
    def of(task: WorldActionTask, batch: Batch, generator: torch.Generator) -> "_Draw":
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
        return _Draw(
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
