"""The data of a run: a store in its folder, made once and then kept."""

from pathlib import Path

from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.training.presets import Preset
from worldmodel.training.stage_config import Say, StageConfig
from worldmodel.training.store import Progress, Store, dataset_store
from worldmodel.training.town_store import town_store


def prepare_store(config: StageConfig, preset: Preset, say: Say) -> Store:
    """Open or make a run's training data: opened if it is there, else rendered or cut from the dataset.

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

    make = _rendered if config.data == "town" else _cut
    return make(config, preset, folder, progress)


def _rendered(config: StageConfig, preset: Preset, folder: Path, progress: Progress) -> Store:
    from worldmodel.town.mixes import mixed_scenes
    from worldmodel.town.scene import town_rig

    model = preset.model
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
        town_rig(model.cameras, model.width_px, model.height_px),
        video_s=preset.video_s,
        scene_s=preset.scene_s,
        frequency_hz=model.frequency_hz,
        wander=preset.wander,
        workers=config.workers,
        progress=progress,
    )


def _cut(config: StageConfig, preset: Preset, folder: Path, progress: Progress) -> Store:
    from worldmodel.io.lerobot import Dataset

    dataset, model = Dataset.open(config.data), preset.model
    episodes = config.episodes if config.episodes is not None else tuple(range(dataset.episodes))
    needed = preset.chunks * model.network.frames_per_chunk
    frames = min([round(preset.video_s * model.frequency_hz), *(dataset.length(episode) for episode in episodes)])
    if frames < needed:
        raise ClipTooShort(
            f"the shortest episode of '{config.data}' has {frames} frames; preset '{preset.name}' trains on at least "
            f"{needed}. Leave it out with --episode, or import longer clips."
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
