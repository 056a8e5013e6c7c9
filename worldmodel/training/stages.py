"""The three stages as one call each: vision (tokenizer, then single chunks), chunk, horizon.

A run is a folder: `store/` (training data as arrays), `tokenizer/`, `model/` (checkpoints, ready for
`WorldModel.from_pretrained`), and one folder per training loop with its state and log.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint, BadRequest, ClipTooShort, UnknownName
from worldmodel.model import WorldModel
from worldmodel.network import WorldActionTransformer
from worldmodel.sequence import ray_features
from worldmodel.text_encoders import make_text_encoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.training.loop import LoopConfig, Progress, TrainingResult, train
from worldmodel.training.presets import Preset, find_preset
from worldmodel.training.store import Store, dataset_store, town_store
from worldmodel.training.tasks import Encoded, TokenizerTask, WorldActionTask, measure_latents, motion_statistics

STAGES = ("vision", "chunk", "horizon")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What `detour train` asks for.

    Attributes:
        stage: 'vision', 'chunk' or 'horizon'.
        preset: 'test', 'town-mini' or 'town'.
        data: 'town' (scenes are simulated and rendered into the run's folder) or a dataset folder.
        out: The run's folder.
        start: A checkpoint to begin with (weights only, fresh optimizer), instead of the run's own.
        scenes: Town scenes; None takes the preset's number.
        episodes: Episodes of the dataset to train on; None takes all.
        steps, minutes: Length; None takes the preset's steps. With both, whichever ends first.
        learning_rate: Peak; None takes the preset's.
        seed: Of scenes, weights, data order and noise.
        workers: Processes that render scenes.
        precision: 'float32' or 'bfloat16'.
    """

    stage: str
    out: Path
    preset: str = "town-mini"
    data: str = "town"
    start: Path | None = None
    scenes: int | None = None
    episodes: tuple[int, ...] | None = None
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float | None = None
    seed: int = 0
    workers: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise UnknownName("stage", self.stage, STAGES)
        find_preset(self.preset)
        if self.minutes is not None and self.minutes <= 0:
            raise BadRequest(f"{self.minutes} minutes of training were asked for; the number must be positive.")


def train_stage(
    config: StageConfig, say: Say = lambda _: None, on_progress: Callable[[Progress], None] | None = None
) -> Path:
    """Run one stage, resuming what the folder holds; returns the checkpoint folder.

    Raises:
        BadRequest: also for a stage that comes before the one that the folder's checkpoint went through last, and for a
            continuation on other data.
        BadDataset, BadCheckpoint, Diverged, and SystemExit 130 or 143 when a signal stopped it (saved).
    """
    preset = find_preset(config.preset)
    _refuse_earlier(config)
    stores = [prepare_store(config, preset, say)]
    if config.stage == "vision":
        _train_tokenizer(config, preset, stores, say, on_progress)
    tokenizer = _tokenizer_of(config)
    return _train_network(config, preset, stores, tokenizer, say, on_progress)


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


def prepare_store(config: StageConfig, preset: Preset, say: Say) -> Store:
    """The run's training data: opened if it is there, else rendered or cut from the dataset.

    Raises:
        BadRequest: if what is there was made from other data than what is asked for.
    """
    folder = config.out / "store"
    if (folder / "store.json").exists():
        store = Store.open(folder)
        _refuse_other_data(config, store)
        return store
    config.out.mkdir(parents=True, exist_ok=True)

    def progress(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            say(f"data: {done} of {total} clips")

    model = preset.model
    frames = round(preset.video_s * model.frequency_hz)
    if config.data == "town":
        from worldmodel.town.mixes import mixed_scenes
        from worldmodel.town.scene import town_rig

        rig = town_rig(model.cameras, model.width_px, model.height_px)
        scenes = mixed_scenes(
            preset.mix,
            config.scenes or preset.scenes,
            config.seed,
            situations=preset.situations,
            seconds=preset.scene_s,
            frequency_hz=model.frequency_hz,
            workers=config.workers,
        )
        return town_store(
            folder,
            scenes,
            rig,
            video_s=preset.video_s,
            scene_s=preset.scene_s,
            frequency_hz=model.frequency_hz,
            wander=preset.wander,
            workers=config.workers,
            progress=progress,
        )
    from worldmodel.io.lerobot import Dataset

    dataset = Dataset.open(config.data)
    episodes = config.episodes if config.episodes is not None else tuple(range(dataset.episodes))
    frames = min([frames, *(dataset.length(episode) for episode in episodes)])
    if frames < preset.chunks * model.network.frames_per_chunk:
        raise ClipTooShort(
            f"the shortest episode of '{config.data}' has {frames} frames; preset '{preset.name}' trains on at least "
            f"{preset.chunks * model.network.frames_per_chunk}. Leave it out with --episode, or import longer clips."
        )
    return dataset_store(
        folder,
        dataset,
        model.width_px,
        model.height_px,
        frames=frames,
        stride=max(1, frames // 2),
        episodes=episodes,
        progress=progress,
    )


def _refuse_other_data(config: StageConfig, store: Store) -> None:
    made = store.made_from
    asked = "town" if config.data == "town" else Path(config.data).name
    there = "town" if "town" in made else made.get("dataset", asked)
    if asked != there:
        raise BadRequest(_other_data(config, f"data '{there}'", f"'{asked}'"))
    if "town" in made and config.scenes not in (None, len(made["town"])):
        raise BadRequest(_other_data(config, f"{len(made['town'])} scenes", str(config.scenes)))
    if "episodes" in made and config.episodes is not None and list(config.episodes) != made["episodes"]:
        raise BadRequest(_other_data(config, f"episodes {made['episodes']}", str(list(config.episodes))))


def _other_data(config: StageConfig, there: str, asked: str) -> str:
    return (
        f"'{config.out}' was begun with {there}, but {asked} is asked for. A run keeps its data: ask for the same, or name "
        "another --out (with --start to begin with this run's weights)."
    )


def _same(preset: Preset, stores: Sequence[Store], **more: Any) -> dict[str, Any]:
    """What a continued loop must not change beside its own settings."""
    data = []
    for store in stores:
        digest = hashlib.sha256(json.dumps(store.made_from, sort_keys=True).encode()).hexdigest()[:12]
        data.append(f"{store.made_from.get('dataset', 'town')}, {len(store)} clips, {digest}")
    return {"preset": preset.name, "data": data, **more}


def _loop(config: StageConfig, preset: Preset, steps: int, rate: float, **changes: Any) -> LoopConfig:
    return LoopConfig(
        steps=config.steps or steps,
        minutes=config.minutes,
        learning_rate=config.learning_rate or rate,
        seed=config.seed,
        precision="bfloat16" if config.precision == "bfloat16" else "float32",
        ema_decay=0.998 if preset.name != "town" else 0.9995,
        **changes,
    )


def _train_tokenizer(
    config: StageConfig,
    preset: Preset,
    stores: Sequence[Store],
    say: Say,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    folder = config.out / "tokenizer"
    if folder.exists():
        return
    say("tokenizer: training")
    task = TokenizerTask(stores, preset, config.seed)
    start = None if config.start is None else _part(config.start, "tokenizer", config.out / "start")
    loop = _loop(config, preset, preset.tokenizer_steps, preset.tokenizer_rate)
    result = _finished(
        train(
            task,
            loop,
            config.out / "tokenizer-run",
            start_weights=start,
            same=_same(preset, stores, batch_frames=preset.batch_frames),
            on_progress=on_progress,
        )
    )
    tokenizer = Tokenizer(preset.model.tokenizer)
    tokenizer.load_state_dict(result.weights)
    tokenizer.mean[:], tokenizer.std[:] = measure_latents(tokenizer, stores, 480, config.seed)
    tokenizer.save_pretrained(folder, f"# Tokenizer of preset {preset.name}\n\n{_how(result)}\n")


def _tokenizer_of(config: StageConfig) -> Tokenizer:
    if (config.out / "tokenizer").exists():
        return Tokenizer.from_pretrained(config.out / "tokenizer")
    source = config.start or config.out / "model"
    if not source.exists():
        raise BadCheckpoint(
            f"stage '{config.stage}' needs a tokenizer, and neither '{config.out}/tokenizer' nor a start checkpoint is there. "
            "Run `detour train vision` first, or name one with --start."
        )
    return WorldModel.from_pretrained(source).tokenizer


def _part(checkpoint: Path, part: str, folder: Path) -> Path:
    """One part's weights of a world model as a file that a loop can begin with."""
    from safetensors.torch import save_file

    model = WorldModel.from_pretrained(checkpoint)
    module = model.tokenizer if part == "tokenizer" else model.network
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)
    return path


def _train_network(
    config: StageConfig,
    preset: Preset,
    stores: Sequence[Store],
    tokenizer: Tokenizer,
    say: Say,
    on_progress: Callable[[Progress], None] | None,
) -> Path:
    if config.stage == "vision" and config.start is not None:
        return _with_new_tokenizer(config, tokenizer)
    source = config.start or ((config.out / "model") if (config.out / "model").exists() else None)
    before = None if source is None else WorldModel.from_pretrained(source).config
    model_config = _model_config(preset, stores, before, config.stage)
    say("latents: encoding")
    encoder = make_text_encoder(model_config.text_encoder)
    data = [
        Encoded.of(store, store.latents(tokenizer), ray_features(store.rig, model_config.network.grid), encoder)
        for store in stores
    ]
    chunks = {"vision": 1, "chunk": preset.chunks, "horizon": preset.horizon_chunks}[config.stage]
    task = WorldActionTask(
        config.stage,
        model_config,
        data,
        preset,
        chunks=chunks,
        first_noisy=min(1, chunks - 1),
        own_history=preset.own_history if config.stage == "horizon" else 0.0,
        tokenizer=tokenizer,
        seed=config.seed + STAGES.index(config.stage),
    )
    steps = {"vision": preset.single_steps, "chunk": preset.chunk_steps, "horizon": preset.horizon_steps}[config.stage]
    start = None if source is None else _part(source, "network", config.out / f"{config.stage}-run")
    loop = _loop(config, preset, steps, preset.network_rate)
    if config.stage == "vision":
        loop = replace(loop, steps=steps, minutes=None)
    say(f"{config.stage}: training")
    run = config.out / f"{config.stage}-run"
    same = _same(preset, stores, batch_clips=preset.batch_clips, tokenizer=tokenizer.hash)
    result = _finished(train(task, loop, run, start_weights=start, same=same, on_progress=on_progress))
    network = WorldActionTransformer(model_config.network)
    network.load_state_dict(result.weights)
    earlier = model_config.stages
    if config.start is None and earlier and earlier[-1].startswith(f"{config.stage}:"):
        earlier = earlier[:-1]  # the same run, asked for again or extended
    stages = (*earlier, f"{config.stage}: {_how(result)}")
    model = WorldModel(replace(model_config, stages=stages), tokenizer, network)
    card = f"# Detour world model, preset {preset.name}\n\n" + "\n".join(f"- {stage}" for stage in stages) + "\n"
    model.save_pretrained(config.out / "model", card, overwrite=True)
    return config.out / "model"


def _with_new_tokenizer(config: StageConfig, tokenizer: Tokenizer) -> Path:
    """A start checkpoint whose tokenizer was trained on; its network waits for stage 'chunk' to get used to it."""
    assert config.start is not None
    begun = WorldModel.from_pretrained(config.start)
    stages = (
        *begun.config.stages,
        f"tokenizer trained on, {config.minutes or config.steps or 'preset'} minutes or steps",
    )
    model = WorldModel(replace(begun.config, stages=stages), tokenizer, begun.network)
    model.save_pretrained(config.out / "model", "# Tokenizer trained on; run stage chunk next\n", overwrite=True)
    return config.out / "model"


def _model_config(
    preset: Preset, stores: Sequence[Store], before: WorldModelConfig | None, stage: str
) -> WorldModelConfig:
    """The new checkpoint's config: statistics from the data at the first stage, from the start checkpoint later."""
    chunks = {"vision": 1, "chunk": preset.chunks, "horizon": preset.horizon_chunks}[stage]
    oldest = max(chunks * preset.model.network.frames_per_chunk, 0 if before is None else before.network.oldest_frames)
    base = before if before is not None else replace(preset.model, **motion_statistics(stores))
    if before is None:
        oldest = chunks * preset.model.network.frames_per_chunk
    return replace(
        base,
        network=replace(base.network, oldest_frames=oldest),
        history_chunks=max(1, oldest // base.network.frames_per_chunk - 1),
        frequency_hz=stores[0].frequency_hz,
        cameras=len(stores[0].rig),
    )


def _finished(result: TrainingResult) -> TrainingResult:
    if result.status == "stopped":
        raise SystemExit(result.exit_code)
    return result


def _how(result: TrainingResult) -> str:
    """Steps, minutes, device and loss, for the card."""
    facts = result.facts
    device = facts.get("segments", [{}])[-1].get("device", "unknown device")
    loss = "unknown" if result.loss is None else f"{result.loss:.4f}"
    return f"{result.step} steps, {result.seconds / 60:.1f} minutes on {device}, last loss {loss}"


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if line]
