"""The stages as one call each: vision (tokenizer, then single chunks), chunk, horizon, and distillation to few steps.

A run is a folder: `store/` (training data as arrays), `tokenizer/`, `model/` (checkpoints, ready for
`WorldModel.from_pretrained`), and one folder per training loop with its state and log. With several processes the first one
writes the folder and the others read it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint, BadRequest
from worldmodel.model import WorldModel
from worldmodel.network import WorldActionTransformer
from worldmodel.sequence import ray_features
from worldmodel.telemetry import joined_ranges, measure_training_range
from worldmodel.text_encoders import make_text_encoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.cards import model_card, run_line
from worldmodel.training.curves import run_curves
from worldmodel.training.distillation import FEW_STEPS, DistillationTask
from worldmodel.training.encoded import Encoded, motion_statistics
from worldmodel.training.loop import train
from worldmodel.training.presets import Preset, find_preset
from worldmodel.training.processes import first_process, in_turn, training_device, wait_for_all
from worldmodel.training.progress import Progress
from worldmodel.training.settings import LoopConfig
from worldmodel.training.stage_config import STAGES, Say, StageConfig
from worldmodel.training.stage_data import prepare_store
from worldmodel.training.state import state_folder
from worldmodel.training.store import Store
from worldmodel.training.task import TrainingResult
from worldmodel.training.tasks import WorldActionTask
from worldmodel.training.tokenizer_task import TokenizerTask, measure_latents

OnProgress = Callable[[Progress], None] | None


def train_stage(config: StageConfig, say: Say = lambda _: None, on_progress: OnProgress = None) -> Path:
    """Run one stage, resuming what the folder holds; returns the checkpoint folder.

    Raises:
        BadRequest: also for a stage that comes before the one that the folder's checkpoint went through last, and for a
            continuation on other data.
        BadDataset, BadCheckpoint, Diverged, and SystemExit 130 or 143 when a signal stopped it (saved).
    """
    preset = find_preset(config.preset)
    _refuse_earlier(config)
    stores = [in_turn(lambda: prepare_store(config, preset, say))]
    if preset.backbone:
        from worldmodel.backbones.tuning import tune

        return tune(config, preset, stores[0], say, on_progress)
    stage = _Stage(config, preset, stores, say, on_progress)
    if config.stage == "vision":
        stage.train_tokenizer()
    return stage.train_network()


def _refuse_earlier(config: StageConfig) -> None:
    """An earlier stage would replace what later ones made of its result."""
    if not (config.out / "model").exists():
        return
    stages = WorldModel.from_pretrained(config.out / "model").config.stages
    last = stages[-1].partition(":")[0] if stages else ""
    if last in STAGES and STAGES.index(config.stage) < STAGES.index(last):
        raise BadRequest(
            f"'{config.out}' holds a checkpoint that went through stage '{last}', and stage '{config.stage}' comes before it. "
            f"Running it would replace that checkpoint. Name another --out (with --start '{config.out / 'model'}' to begin "
            "with its weights)."
        )


@dataclass(frozen=True, eq=False)
class _Stage:
    """One stage of one run."""

    config: StageConfig
    preset: Preset
    stores: Sequence[Store]
    say: Say
    on_progress: OnProgress

    @property
    def out(self) -> Path:
        return self.config.out

    @property
    def source(self) -> Path | None:
        """The checkpoint to begin with."""
        own = self.out / "model"
        return self.config.start or (own if own.exists() else None)

    def train_tokenizer(self) -> None:
        """Train the tokenizer and measure its latents, unless it is there."""
        if (self.out / "tokenizer").exists():
            return
        self.say("tokenizer: training")
        preset, seed = self.preset, self.config.seed
        loop = self._loop(preset.tokenizer_steps, preset.tokenizer_rate)
        start = None if self.config.start is None else self._part("tokenizer", "tokenizer-run")
        task = TokenizerTask(self.stores, preset, seed)
        result = self._train(task, "tokenizer-run", loop, start, {"batch_frames": preset.batch_frames})
        if first_process():
            tokenizer = Tokenizer(preset.model.tokenizer)
            tokenizer.load_state_dict(result.weights)
            tokenizer.mean[:], tokenizer.std[:] = measure_latents(tokenizer, self.stores, 480, seed)
            tokenizer.save_pretrained(
                self.out / "tokenizer", f"# Tokenizer of preset {preset.name}\n\n{run_line(result)}\n"
            )
        wait_for_all()

    def train_network(self) -> Path:
        """Train the network and write the checkpoint."""
        stage, source = self.config.stage, self.source
        if stage == "distill" and source is None:
            raise BadCheckpoint(_nothing_to_distill(self.out))
        tokenizer = self._tokenizer()
        if stage == "vision" and self.config.start is not None:
            return self._with_new_tokenizer(tokenizer)
        before = None if source is None else WorldModel.from_pretrained(source).config
        model_config = _model_config(self.preset, self.stores, before, stage)
        task = self._task(model_config, tokenizer)
        goes_on = self.config.start is None and state_folder(self.out / f"{stage}-run") is not None
        start = None if source is None or goes_on else self._part("network", f"{stage}-run")
        loop = self._loop(*self._length())
        if stage == "vision":
            loop = replace(loop, steps=self.preset.single_steps, minutes=None)
        self.say(f"{stage}: training")
        same = {"batch_clips": self.preset.batch_clips, "tokenizer": tokenizer.hash}
        result = self._train(task, f"{stage}-run", loop, start, same)
        if first_process():
            self._save(model_config, tokenizer, result)
        wait_for_all()
        return self.out / "model"

    def _task(self, model_config: WorldModelConfig, tokenizer: Tokenizer) -> WorldActionTask:
        preset, stage = self.preset, self.config.stage
        self.say("latents: encoding")
        encoder, rays = make_text_encoder(model_config.text_encoder), model_config.network.grid
        latents = in_turn(lambda: [store.latents(tokenizer) for store in self.stores])
        data = [
            Encoded.of(store, values, ray_features(store.rig, rays), encoder)
            for store, values in zip(self.stores, latents, strict=True)
        ]
        chunks = _chunks(preset, stage)
        kind = DistillationTask if stage == "distill" else WorldActionTask
        return kind(
            stage,
            model_config,
            data,
            preset,
            chunks=chunks,
            first_noisy=min(1, chunks - 1),
            own_history=preset.own_history if stage == "horizon" else 0.0,
            tokenizer=tokenizer,
            seed=self.config.seed + STAGES.index(stage),
        )

    def _length(self) -> tuple[int, float]:
        preset = self.preset
        steps = (preset.single_steps, preset.chunk_steps, preset.horizon_steps, preset.distill_steps)
        rate = preset.distill_rate if self.config.stage == "distill" else preset.network_rate
        return steps[STAGES.index(self.config.stage)], rate

    def _loop(self, steps: int, rate: float) -> LoopConfig:
        config = self.config
        return LoopConfig(
            steps=config.steps or steps,
            minutes=config.minutes,
            learning_rate=config.learning_rate or rate,
            seed=config.seed,
            accumulate=config.accumulate,
            shard=config.shard,
            precision="bfloat16" if config.precision == "bfloat16" else "float32",
            ema_decay=self.preset.ema_decay,
        )

    def _train(self, task: Any, run: str, loop: LoopConfig, start: Path | None, same: dict[str, Any]) -> TrainingResult:
        same = {"preset": self.preset.name, "data": [_data_line(store) for store in self.stores], **same}
        result = train(task, loop, self.out / run, start_weights=start, same=same, on_progress=self.on_progress)
        if result.status == "stopped":
            raise SystemExit(result.exit_code)
        return result

    def _tokenizer(self) -> Tokenizer:
        if (self.out / "tokenizer").exists():
            return Tokenizer.from_pretrained(self.out / "tokenizer").to(training_device())
        if self.source is None or not self.source.exists():
            raise BadCheckpoint(
                f"stage '{self.config.stage}' needs a tokenizer, and neither '{self.out}/tokenizer' nor a start checkpoint is "
                "there. Run `detour train vision` first, or name one with --start."
            )
        return WorldModel.from_pretrained(self.source).tokenizer.to(training_device())

    def _part(self, part: str, run: str) -> Path:
        """One part's weights of the checkpoint to begin with, as a file that a loop can begin with."""
        path = self.out / run / f"{part}.safetensors"
        if first_process():
            from safetensors.torch import save_file

            assert self.source is not None
            model = WorldModel.from_pretrained(self.source)
            module = model.tokenizer if part == "tokenizer" else model.network
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)
        wait_for_all()
        return path

    def _save(self, model_config: WorldModelConfig, tokenizer: Tokenizer, result: TrainingResult) -> None:
        network = WorldActionTransformer(model_config.network)
        network.load_state_dict(result.weights)
        earlier = model_config.stages
        if self.config.start is None and earlier and earlier[-1].startswith(f"{self.config.stage}:"):
            earlier = earlier[:-1]  # the same run, asked for again or extended
        stages = (*earlier, f"{self.config.stage}: {run_line(result)}")
        model_config = replace(model_config, stages=stages, training_range=self._training_range(tokenizer))
        model = WorldModel(model_config, tokenizer.cpu(), network)
        curves = run_curves(self.out)
        card = model_card(model_config, self.stores, curves=curves is not None)
        extra = {} if curves is None else {"curves.svg": curves.encode()}
        model.save_pretrained(self.out / "model", card, overwrite=True, extra=extra)

    def _training_range(self, tokenizer: Tokenizer) -> dict[str, tuple[float, float]]:
        """What a rollout should not leave (`worldmodel.telemetry`), over all stores."""
        per = self.preset.model.network.frames_per_chunk
        return joined_ranges(
            measure_training_range(
                tokenizer,
                store.latents(tokenizer),
                store.deltas,
                frames_per_chunk=per,
                frequency_hz=store.frequency_hz,
            )
            for store in self.stores
        )

    def _with_new_tokenizer(self, tokenizer: Tokenizer) -> Path:
        """A start checkpoint whose tokenizer was trained on; its network waits for stage 'chunk' to get used to it."""
        assert self.source is not None
        begun = WorldModel.from_pretrained(self.source)
        length = self.config.minutes or self.config.steps or "preset"
        stages = (*begun.config.stages, f"tokenizer trained on, {length} minutes or steps")
        model = WorldModel(replace(begun.config, stages=stages), tokenizer.cpu(), begun.network)
        if first_process():
            card = "# Tokenizer trained on; run stage chunk next\n"
            model.save_pretrained(self.out / "model", card, overwrite=True)
        wait_for_all()
        return self.out / "model"


def _chunks(preset: Preset, stage: str) -> int:
    return {"vision": 1, "horizon": preset.horizon_chunks}.get(stage, preset.chunks)


def _model_config(
    preset: Preset, stores: Sequence[Store], before: WorldModelConfig | None, stage: str
) -> WorldModelConfig:
    """The new checkpoint's config: statistics from the data at the first stage, from the start checkpoint later."""
    oldest = _chunks(preset, stage) * preset.model.network.frames_per_chunk
    if before is not None:
        oldest = max(oldest, before.network.oldest_frames)
    base = before if before is not None else replace(preset.model, **motion_statistics(stores))
    return replace(
        base,
        network=replace(base.network, oldest_frames=oldest),
        history_chunks=max(1, oldest // base.network.frames_per_chunk - 1),
        frequency_hz=stores[0].frequency_hz,
        cameras=len(stores[0].rig),
        few_steps=FEW_STEPS if stage == "distill" else (),
        guided=stage == "distill" and preset.guided_share > 0,
    )


def _data_line(store: Store) -> str:
    digest = hashlib.sha256(json.dumps(store.made_from, sort_keys=True).encode()).hexdigest()[:12]
    return f"{store.made_from.get('dataset', 'town')}, {len(store)} clips, {digest}"


def _nothing_to_distill(out: Path) -> str:
    return (
        f"stage 'distill' makes a trained model quicker, and neither '{out}/model' nor a start checkpoint is there. Run "
        "`detour train chunk` first, or name one with --start."
    )


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if line]
