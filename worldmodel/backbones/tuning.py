"""The stages `detour train chunk|horizon` on a pretrained Wan.

The frozen backbone stays as it is on disk; what is trained are the additions of `worldmodel.backbones.wan` and low-rank
updates of the blocks.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldmodel.backbones.autoencoder import WanTokenizer
from worldmodel.backbones.files import TEMPORAL_STRIDE
from worldmodel.backbones.low_rank import add_low_rank
from worldmodel.backbones.model import PREFIX, WanWorldModel, is_frozen_name
from worldmodel.backbones.task import WanTask, trained_key
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.telemetry import Range, chunk_telemetry, training_range
from worldmodel.training.cards import model_card, run_line
from worldmodel.training.curves import run_curves
from worldmodel.training.encoded import motion_statistics
from worldmodel.training.loop import train
from worldmodel.training.presets import Preset
from worldmodel.training.processes import first_process, wait_for_all
from worldmodel.training.progress import Progress
from worldmodel.training.settings import LoopConfig
from worldmodel.training.stage_config import Say, StageConfig
from worldmodel.training.store import Store

STAGES = ("chunk", "horizon")


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
    if config.shard:
        raise BadRequest(
            "shared weights (--shard) were asked for, but on a backbone only the additions are trained, and every process holds "
            "the frozen weights whole. Leave --shard out."
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
        chunks=chunks,
        own_history=preset.own_history if config.stage == "horizon" else 0.0,
        seed=config.seed + STAGES.index(config.stage),
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
        if not model.config.training_range:
            model.config = replace(model.config, training_range=measure_range(model.tokenizer, store))
        curves = run_curves(config.out)
        extra = {} if curves is None else {"curves.svg": curves.encode()}
        card = model_card(model.config, [store], curves=curves is not None)
        model.save_pretrained(own, card, overwrite=True, extra=extra)
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


def measure_range(tokenizer: WanTokenizer, store: Store, clips: int = 128) -> dict[str, Range]:
    """The training range of every measure of `worldmodel.telemetry`, from clips as the autoencoder shows them.

    The first chunk of a clip is left out: three of its frames are repetitions.
    """
    found, per = [], TEMPORAL_STRIDE
    for clip in np.unique(np.linspace(0, len(store) - 1, clips).round().astype(int)):
        frames = store.video.shape[1] // per * per
        latents, _ = tokenizer.encode_on(np.array(store.video[clip, :frames])[None])
        video, _ = tokenizer.decode_on(latents)
        for chunk in range(1, frames // per):
            here = slice(chunk * per, (chunk + 1) * per)
            steps = store.deltas[clip, here]
            speed_mps = float(np.hypot(steps[:, 0], steps[:, 1]).mean()) * store.frequency_hz
            found.append(chunk_telemetry(latents[0, chunk : chunk + 1].cpu(), video[0, here], speed_mps))
    return training_range(found)


def _finished(task: WanTask, weights: dict[str, Tensor], stage: str) -> WanWorldModel:
    """The trained model with the averaged weights."""
    model, per = task.model, task.model.per_chunk
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if not is_frozen_name(name):
                parameter.copy_(weights[f"trained.{trained_key(name)}"])
    before = [line for line in model.config.stages if not line.startswith(stage.partition(":")[0])]
    model.config = replace(
        model.config,
        network=replace(model.config.network, oldest_frames=task.chunks * per),
        history_chunks=task.chunks - 1,
        stages=(*before, stage),
    )
    model.network.config = model.config.network
    return model
