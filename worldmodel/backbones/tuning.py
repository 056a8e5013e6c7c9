"""Teaching a pretrained Wan to drive: chunk-causal attention, motion in and out, cameras, plans.

The frozen backbone stays as it is on disk; what is trained are the additions of `worldmodel.backbones.wan` and low-rank
updates of the blocks. The layout is that of our own network: clean chunks (with a little noise, its level given) that
become memory, and noisy copies that read the earlier ones. Pictures are coded as they are needed: a causal autoencoder has
no latents that fit every window.

Shape suffixes: B batch, K chunks, F frames, C cameras.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldmodel.backbones.low_rank import add_low_rank
from worldmodel.backbones.model import PREFIX, WanWorldModel, is_frozen_name
from worldmodel.backbones.text import TEXT_TOKENS
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.flow import draw_times, mix, velocity_target
from worldmodel.geometry import Array
from worldmodel.sequence import FramesPart, GuidancePart, Output, PlanPart, TokenSequence, ray_features
from worldmodel.training.cards import model_card, run_line
from worldmodel.training.loop import train
from worldmodel.training.presets import Preset
from worldmodel.training.processes import first_process, wait_for_all
from worldmodel.training.progress import Progress
from worldmodel.training.settings import LoopConfig
from worldmodel.training.stage_config import Say, StageConfig
from worldmodel.training.store import Store, plan_labels
from worldmodel.training.tasks import HISTORY_NOISE, MOTION_DROP, Batch, batch_random, draw_modes, motion_statistics

STAGES = ("chunk", "horizon")


class Additions(nn.Module):
    """What is trained of a network, as a module of its own; the frozen rest rides along and is neither saved nor averaged."""

    def __init__(self, model: WanWorldModel) -> None:
        super().__init__()
        named = model.network.named_parameters()
        self.trained = nn.ParameterDict({_key(name): value for name, value in named if value.requires_grad})
        self._whole = (model.network, model.tokenizer)  # in a tuple, so that torch does not register them

    def forward(self, sequence: TokenSequence) -> Output:
        """See `WanNetwork.forward`."""
        output: Output = self._whole[0](sequence)
        return output

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Additions":
        for module in self._whole:
            module._apply(fn, recurse)
        return self


def _key(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dots in the names of a ParameterDict


class WanTask:
    """Denoise chunks with clean history, as `worldmodel.training.tasks.WorldActionTask` does for our own network.

    Args:
        begin: Makes the model to begin with; called once, by `module`.
        chunks: Chunks per clip; the first is history only.
    Every sample keeps its history; warped views and staleness are not trained, as Wan has no input for the former.
    """

    def __init__(
        self, name: str, begin: Callable[[], WanWorldModel], store: Store, preset: Preset, chunks: int, seed: int
    ) -> None:
        self.name, self.store, self.preset, self.chunks, self.seed = name, store, preset, chunks, seed
        self._begin = begin
        self._model: WanWorldModel | None = None
        self._texts: dict[str, Tensor] = {}

    @property
    def model(self) -> WanWorldModel:
        """The model that is trained."""
        assert self._model is not None
        return self._model

    def module(self) -> nn.Module:
        """The additions of a model on the backbone; texts are encoded now, and the text encoder is not moved."""
        model = self._model = self._begin()
        model.network.checkpointing = True
        self._rays = ray_features(self.store.rig, model.config.network.grid)
        encoder: Any = model.text_encoder
        self._texts = {text: encoder.features(text) for text in {*self.store.texts, ""}}
        return Additions(model)

    # -- data -----------------------------------------------------------------------------------------------------

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """Random windows of the store: pictures, steps, plans and texts."""
        random = batch_random(self.seed, step, rank)
        rows = [self._row(random) for _ in range(self.preset.batch_clips)]
        batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0] if name != "text"}
        texts = [self._texts[str(row["text"])] for row in rows]
        longest = max(map(len, texts))
        batch["text"] = torch.stack([nn.functional.pad(text, (0, 0, 0, longest - len(text))) for text in texts])
        batch["text_valid"] = torch.stack([torch.arange(longest) < len(text) for text in texts])
        batch["rays"] = self._rays[None].expand(len(rows), -1, -1, -1, -1)
        batch["period_s"] = torch.full((len(rows),), 1 / self.store.frequency_hz)
        return batch

    def _row(self, random: np.random.Generator) -> dict[str, Array]:
        store, config, per = self.store, self.model.config, self.model.per_chunk
        frames, clip = self.chunks * per, int(random.integers(len(self.store)))
        start = int(random.integers(store.video.shape[1] - frames + 1))
        steps, known = np.zeros((frames, 3)), np.zeros(frames, dtype=bool)
        steps[1:] = (store.deltas[clip, start : start + frames - 1] - config.step_mean) / np.array(config.step_std)
        known[1:] = store.known[clip, start : start + frames - 1]
        firsts = [start + k * per - 1 for k in range(1, self.chunks)]
        labels = [plan_labels(store.deltas[clip], store.known[clip], s, store.frequency_hz) for s in firsts]
        plans = np.stack([(poses - np.array(config.plan_mean)) / np.array(config.plan_std) for poses, _ in labels])
        return {
            "pictures": np.array(store.video[clip, start : start + frames]),
            "steps": (steps * known[:, None]).astype(np.float32),
            "known": known,
            "plans": plans.astype(np.float32),
            "plans_known": np.stack([valid & store.expert[clip] for _, valid in labels]),
            "text": np.asarray("" if random.random() < self.preset.text_drop else store.texts[clip]),
        }

    # -- loss -----------------------------------------------------------------------------------------------------

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Video velocity loss + steps + plan, on the noisy copies."""
        latents, _ = self.model.tokenizer.encode_tensor(batch["pictures"])
        draw = _Draw.of(self, batch, latents, generator)
        output: Output = module(self._sequence(batch, draw))
        assert output.video is not None
        assert output.steps is not None
        assert output.plan is not None
        per = self.model.per_chunk
        video = (output.video - velocity_target(latents[:, 1:], draw.video_noise)).square().mean(dim=(2, 3, 4, 5))
        steps = (output.steps - velocity_target(batch["steps"][:, per:], draw.steps_noise)).square().mean(dim=-1)
        plan = (output.plan - velocity_target(batch["plans"], draw.plan_noise)).square().mean(dim=-1)
        parts = {
            "video": _masked_mean(video, (draw.mode <= 1)[:, None].expand_as(video)),
            "steps": _masked_mean(steps, (draw.mode != 1)[:, None] & batch["known"][:, per:]),
            "plan": _masked_mean(plan, batch["plans_known"]),
        }
        total = parts["video"] + self.preset.steps_weight * parts["steps"] + self.preset.plan_weight * parts["plan"]
        return total, {name: value.detach() for name, value in parts.items()}

    def _sequence(self, batch: Batch, draw: "_Draw") -> TokenSequence:
        per, device = self.model.per_chunk, batch["steps"].device
        frames, chunks = torch.arange(self.chunks * per, device=device), torch.arange(1, self.chunks, device=device)
        clean = FramesPart(
            frames=frames[:-per],
            clean=True,
            steps=draw.clean_steps,
            steps_time=draw.clean_steps_time,
            video=draw.clean_video,
            video_time=draw.level[:, None].expand(-1, len(frames) - per),
        )
        noisy = FramesPart(
            frames=frames[per:],
            clean=False,
            steps=draw.noisy_steps,
            steps_time=draw.steps_time,
            video=draw.noisy_video,
            video_time=draw.video_time.repeat_interleave(per, dim=1),
            video_present=draw.mode != 2,
        )
        features = nn.functional.pad(batch["text"], (0, 0, 0, TEXT_TOKENS - batch["text"].shape[1]))
        valid = nn.functional.pad(batch["text_valid"], (0, TEXT_TOKENS - batch["text"].shape[1]))
        count = len(chunks)
        return TokenSequence(
            frames=(clean, noisy),
            rays=batch["rays"],
            period_s=batch["period_s"],
            plan=PlanPart(chunks=chunks, values=draw.noisy_plans, time=draw.plan_time),
            guidance=GuidancePart(
                chunks=chunks,
                features=features[:, None].expand(-1, count, -1, -1),
                valid=valid[:, None].expand(-1, count, -1),
            ),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Draw:
    """All that is random in one loss."""

    mode: Tensor  # [B], see `draw_modes`
    level: Tensor  # [B] noise of the clean video
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
    def of(task: WanTask, batch: Batch, latents: Tensor, generator: torch.Generator) -> "_Draw":
        """Draw on the CPU, then move to the batch's device."""
        per, size, chunks = task.model.per_chunk, len(latents), latents.shape[1] - 1
        steps, known, plans = batch["steps"], batch["known"], batch["plans"]

        def normal(shape: Sequence[int]) -> Tensor:
            return torch.randn(*shape, generator=generator).to(latents.device)

        def uniform() -> Tensor:
            return torch.rand(size, generator=generator).to(latents.device)

        mode = draw_modes(task.preset.modes, size, generator).to(latents.device)
        level = uniform() * HISTORY_NOISE
        withheld = (mode == 3) & (uniform() < 0.5) | (uniform() < 0.05)
        unknown = (withheld[:, None] | ~known)[:, :-per]
        times = draw_times((size, chunks), task.model.config.video_shift, generator).to(latents.device)
        video_time = torch.where((mode == 3)[:, None], 0.0, times)
        moved = draw_times((size, chunks), 1.0, generator).to(latents.device).repeat_interleave(per, dim=1)
        steps_time = torch.where((mode == 1)[:, None], 0.0, moved)
        hidden = (mode == 0) & (uniform() < MOTION_DROP)
        steps_time = torch.where(hidden[:, None] | ~known[:, per:], 1.0, steps_time)
        plan_time = draw_times((size, chunks), 1.0, generator).to(latents.device)
        history_noise, video_noise = normal(latents[:, :-1].shape), normal(latents[:, 1:].shape)
        steps_noise, plan_noise = normal(steps[:, per:].shape), normal(plans.shape)
        return _Draw(
            mode=mode,
            level=level,
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


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    weight = mask.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


# -- the stage --------------------------------------------------------------------------------------------------------


def tune(
    config: StageConfig,
    preset: Preset,
    store: Store,
    say: Say = lambda _: None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train stage 'chunk' or 'horizon' on a pretrained backbone, resuming what the folder holds; returns the checkpoint.

    Args:
        config: `start` is 'wan:FOLDER_OR_HUB_ID', a checkpoint of ours on it, or None for the preset's backbone.
    Raises:
        BadRequest, BadCheckpoint, ClipTooShort, Diverged, and SystemExit 130 or 143 when a signal stopped it (saved).
    """
    if config.stage not in STAGES:
        raise BadRequest(
            f"stage '{config.stage}' was asked for with preset '{preset.name}'; its pictures are pretrained, so the stages "
            f"are {' and '.join(STAGES)}. Begin with `detour train chunk`."
        )
    chunks = preset.chunks if config.stage == "chunk" else preset.horizon_chunks
    if store.video.shape[1] < 4 * chunks:
        raise ClipTooShort(
            f"the clips have {store.video.shape[1]} frames, and {chunks} chunks take {4 * chunks}. Use longer clips."
        )
    own = config.out / "model"
    source = str(config.start or (own if own.exists() else f"{PREFIX}{preset.backbone}"))
    task = WanTask(
        f"wan-{config.stage}",
        lambda: _begun(source, preset, store, config.precision),
        store,
        preset,
        chunks,
        config.seed + STAGES.index(config.stage),
    )
    loop = LoopConfig(
        steps=config.steps or (preset.chunk_steps if config.stage == "chunk" else preset.horizon_steps),
        minutes=config.minutes,
        learning_rate=config.learning_rate or preset.network_rate,
        seed=config.seed,
        accumulate=config.accumulate,
        precision="bfloat16" if config.precision == "bfloat16" else "float32",
        ema_decay=preset.ema_decay,
    )
    say(f"{config.stage}: training")
    same = {"preset": preset.name, "batch_clips": preset.batch_clips, "clips": len(store)}
    result = train(task, loop, config.out / f"{config.stage}-run", same=same, on_progress=on_progress)
    if result.status == "stopped":
        raise SystemExit(result.exit_code)
    if first_process():
        model = _finished(task, result.weights, f"{config.stage}: {run_line(result)}")
        model.save_pretrained(own, model_card(model.config, [store], curves=False), overwrite=True)
    wait_for_all()
    return own


def _begun(source: str, preset: Preset, store: Store, precision: str) -> WanWorldModel:
    """The model to begin with: a fresh one with statistics of the data and low-rank updates, or a tuned one."""
    if source.startswith(PREFIX) and "@" not in source:
        source = f"{source}@{preset.model.height_px}x{preset.model.width_px}@{store.frequency_hz:g}"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model = WanWorldModel.loaded(source, dtype)
    if not model.config.stages:
        config = replace(model.config, preset=preset.name, history_noise=preset.model.history_noise)
        model.config = replace(config, **motion_statistics([store]), cameras=len(store.rig))
    if preset.low_rank and not model.config.low_rank:
        add_low_rank(model.network.wan.blocks, preset.low_rank)
        model.config = replace(model.config, trained="low-rank", low_rank=preset.low_rank)
    return model


def _finished(task: WanTask, weights: dict[str, Tensor], stage: str) -> WanWorldModel:
    """The trained model with the averaged weights."""
    model, per = task.model, task.model.per_chunk
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if not is_frozen_name(name):
                parameter.copy_(weights[f"trained.{_key(name)}"])
    before = [line for line in model.config.stages if not line.startswith(stage.partition(":")[0])]
    model.config = replace(
        model.config,
        network=replace(model.config.network, oldest_frames=task.chunks * per),
        history_chunks=task.chunks - 1,
        stages=(*before, stage),
    )
    model.network.config = model.config.network
    return model
