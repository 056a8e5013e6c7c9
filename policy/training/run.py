"""`detour train policy`: one planner on one mix, from scenes to a checkpoint.

A run folder can serve many planners, so that all of them learn from the same data: `store/` and, for the mix 'rich',
`surprises/` (rendered once), and for each planner `PLANNER-run/` (state and log) and `PLANNER/` (the checkpoint); variants
have names of their own (`PlannerConfig.label`).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policy.learned import LearnedPlanner, make_network
from policy.planner_config import KINDS, PlannerConfig
from policy.training.cards import planner_card
from policy.training.examples import Example, ExampleReader, find_examples, with_statistics
from policy.training.labels import critical_share
from policy.training.presets import SURPRISE_SCENE_S, SURPRISE_VIDEO_S, PolicyPreset, find_preset
from policy.training.scores import held_out_scores
from policy.training.task import PlannerTask
from worldmodel.errors import BadDataset, BadRequest, UnknownName
from worldmodel.model import WorldModel
from worldmodel.text_encoders import make_text_encoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.town.mixes import MIXES, mixed_scenes, scene_list
from worldmodel.town.scene import town_rig
from worldmodel.training.loop import train
from worldmodel.training.processes import first_process, in_turn, wait_for_all
from worldmodel.training.progress import Progress
from worldmodel.training.settings import LoopConfig
from worldmodel.training.stage_config import Say
from worldmodel.training.store import Store
from worldmodel.training.task import TrainingResult
from worldmodel.training.town_store import town_store


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What `detour train policy` is asked for.

    Attributes:
        planner: One of KINDS.
        mix: 'natural' or 'rich' (`worldmodel.town.mixes`): how much of the driving needs eyes.
        out: The run's folder.
        model: Checkpoint folder of the world model whose tokenizer the planner sees through.
        preset: One of `policy.training.presets.PRESETS`.
        stores: Ready training stores instead of one that is rendered into the run's folder; their driving must keep the mix.
        scenes: Town scenes to render; None takes the preset's number.
        steps, minutes: Length; None takes the preset's steps. With both, whichever ends first.
        learning_rate: Peak; None takes the preset's.
        joint: Whether the plan's loss reaches the next-state predictor too (planners 'ik...').
        shuffled: Whether pictures come from other scenes than the rest: a control that cannot learn to look.
        seed: Of scenes, weights, data order and noise.
        workers: Processes that simulate and render scenes.
    """

    planner: str
    mix: str
    out: Path
    model: Path
    preset: str = "town-mini"
    stores: tuple[Path, ...] = ()
    scenes: int | None = None
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float | None = None
    joint: bool = True
    shuffled: bool = False
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.planner not in KINDS:
            raise UnknownName("planner", self.planner, KINDS)
        if self.mix not in MIXES:
            raise UnknownName("mix", self.mix, MIXES)
        find_preset(self.preset)
        if self.shuffled and self.planner == "ego-only":
            raise BadRequest("shuffled pictures were asked for, but 'ego-only' sees none. Choose another planner.")
        if not self.joint and not self.planner.startswith("ik"):
            raise BadRequest(
                f"'{self.planner}' has no next-state predictor to be trained apart. Leave `joint` as it is."
            )
        if self.stores and self.scenes is not None:
            raise BadRequest(
                f"{self.scenes} scenes and ready stores were both asked for. Name the stores, or let scenes be rendered."
            )


def train_policy(
    config: PolicyConfig, say: Say = lambda _: None, on_progress: Callable[[Progress], None] | None = None
) -> Path:
    """Train one planner, resuming what the folder holds; returns the checkpoint folder.

    Raises:
        BadRequest: a continuation with other settings or data.
        BadDataset: if the stores do not keep the mix, or do not fit the planner.
        BadCheckpoint, Diverged, and SystemExit 130 or 143 when a signal stopped it (saved).
    """
    preset = find_preset(config.preset)
    tokenizer = WorldModel.from_pretrained(config.model).tokenizer
    stores = in_turn(lambda: _stores(config, preset, say))
    planner = _planner_config(config, preset, stores[0], tokenizer)
    say("examples: reading what was driven")
    examples, held_out = find_examples(stores, planner)
    share = critical_share([example.label for example in examples])
    _check_mix(config.mix, share)
    planner = with_statistics(planner, examples, stores)
    latents = in_turn(lambda: [store.latents(tokenizer) for store in stores]) if planner.needs_pixels else None
    reader = ExampleReader(stores, latents, planner, make_text_encoder(planner.text_encoder))
    task = PlannerTask(planner, reader, examples, batch_size=preset.batch_size, seed=config.seed)
    say(f"{planner.label}: training on {len(examples)} examples, {share:.0%} of them vision-critical")
    result = train(
        task,
        _loop(config, preset),
        config.out / f"{planner.label}-run",
        same={"preset": preset.name, "mix": config.mix, "data": _data_lines(stores)},
        on_progress=on_progress,
    )
    if result.status == "stopped":
        raise SystemExit(result.exit_code)
    if first_process():
        _save(config, planner, tokenizer, result, (examples, held_out), reader)
    wait_for_all()
    return config.out / planner.label


def _stores(config: PolicyConfig, preset: PolicyPreset, say: Say) -> list[Store]:
    """The stores that were named, or those of the run: the mix, and for 'rich' surprises besides."""
    if config.stores:
        return [Store.open(folder) for folder in config.stores]
    seconds = {"video_s": preset.video_s, "scene_s": preset.scene_s}
    stores = [_rendered(config, preset, "store", lambda: _mixed(config, preset, say), say, seconds)]
    if config.mix == "rich" and preset.surprises:
        seconds = {"video_s": SURPRISE_VIDEO_S, "scene_s": SURPRISE_SCENE_S, "surprises": 1.0}
        stores.append(_rendered(config, preset, "surprises", lambda: _surprising(config, preset), say, seconds))
    return stores


def _mixed(config: PolicyConfig, preset: PolicyPreset, say: Say) -> list[tuple[str, int]]:
    say(f"data: choosing scenes of the mix '{config.mix}'")
    return mixed_scenes(
        config.mix,
        config.scenes or preset.scenes,
        config.seed,
        situations=preset.situations,
        seconds=preset.scene_s,
        frequency_hz=preset.frequency_hz,
        workers=config.workers,
    )


def _surprising(config: PolicyConfig, preset: PolicyPreset) -> list[tuple[str, int]]:
    """As many surprises for each scene as in the preset."""
    wanted = preset.surprises if config.scenes is None else -(-config.scenes * preset.surprises // preset.scenes)
    return scene_list(wanted, config.seed + 1, situations=preset.surprise_situations)


def _rendered(
    config: PolicyConfig,
    preset: PolicyPreset,
    name: str,
    scenes: Callable[[], list[tuple[str, int]]],
    say: Say,
    seconds: dict[str, float],
) -> Store:
    """A store of the run, made unless it is there."""
    folder = config.out / name
    if (folder / "store.json").exists():
        return Store.open(folder)

    def progress(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            say(f"data: {done} of {total} scenes in {name}/")

    rig = town_rig(preset.cameras, preset.width_px, preset.height_px)
    rate, workers = preset.frequency_hz, config.workers
    return town_store(folder, scenes(), rig, frequency_hz=rate, workers=workers, progress=progress, **seconds)


def _planner_config(config: PolicyConfig, preset: PolicyPreset, store: Store, tokenizer: Tokenizer) -> PlannerConfig:
    _, cameras, _, height, width = store.video.shape[1:]
    channels, rows, columns = tokenizer.latent_shape(height, width)
    return replace(
        preset.planner(config.planner),
        cameras=cameras,
        channels=channels,
        rows=rows,
        columns=columns,
        frequency_hz=store.frequency_hz,
        tokenizer=tokenizer.hash if config.planner != "ego-only" else "",
        joint=config.joint,
        shuffled=config.shuffled,
        mix=config.mix,
    )


def _check_mix(mix: str, share: float) -> None:
    limits = MIXES[mix]
    if not limits.lowest <= share <= limits.highest:
        raise BadDataset(
            f"{share:.0%} of the driving in the training stores is vision-critical; the mix '{mix}' is {limits.lowest:.0%} to "
            f"{limits.highest:.0%}. Name other stores, or the mix that they are."
        )


def _loop(config: PolicyConfig, preset: PolicyPreset) -> LoopConfig:
    return LoopConfig(
        steps=config.steps or preset.steps,
        minutes=config.minutes,
        learning_rate=config.learning_rate or preset.learning_rate,
        warmup_steps=preset.warmup_steps,
        ema_decay=preset.ema_decay,
        seed=config.seed,
    )


def _save(
    config: PolicyConfig,
    planner: PlannerConfig,
    tokenizer: Tokenizer,
    result: TrainingResult,
    examples: tuple[Sequence[Example], Sequence[Example]],
    reader: ExampleReader,
) -> None:
    network = make_network(planner)
    network.load_state_dict(result.weights)
    learned = LearnedPlanner(planner, network, tokenizer, text_encoder=make_text_encoder(planner.text_encoder))
    trained_on, held_out = examples
    card = planner_card(
        planner,
        result,
        share=critical_share([example.label for example in trained_on]),
        examples=len(trained_on),
        drives=len({(example.store, example.clip) for example in trained_on}),
        parameters=sum(p.numel() for p in network.parameters()),
        scores=held_out_scores(learned, reader, held_out),
    )
    learned.save_pretrained(config.out / planner.label, card, overwrite=True)


def _data_lines(stores: Sequence[Store]) -> list[Any]:
    digests = [
        hashlib.sha256(json.dumps(store.made_from, sort_keys=True).encode()).hexdigest()[:12] for store in stores
    ]
    return [f"{len(store)} clips, {digest}" for store, digest in zip(stores, digests, strict=True)]
