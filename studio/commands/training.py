"""The command that trains."""

from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.options import Json, Out, Seed, default_model
from studio.console import emit, say
from worldmodel.errors import BadRequest


def train(
    stage: Annotated[str, typer.Argument(help="vision, chunk, horizon, distill, or policy for a planner.")],
    out: Out,
    preset: Annotated[str, typer.Option(help="test, town-mini, town, wan-1.3b or wan-5b.")] = "town-mini",
    data: Annotated[str, typer.Option(help="'town' to render scenes, or a dataset folder.")] = "town",
    start: Annotated[Path | None, typer.Option(help="A checkpoint to begin with: weights only.")] = None,
    scenes: Annotated[int | None, typer.Option(help="Town scenes; default: the preset's.")] = None,
    episodes: Annotated[list[int] | None, typer.Option("--episode", help="Of the dataset; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length in steps; default: the preset's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes; whichever ends first.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak; default: the preset's.")] = None,
    accumulate: Annotated[int, typer.Option(help="Batches per optimizer step.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that render scenes.")] = 1,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    shard: Annotated[bool, typer.Option(help="Share the weights between processes (FSDP).")] = False,
    data_only: Annotated[bool, typer.Option(help="Make the data in OUT/store, train nothing.")] = False,
    planner: Annotated[
        str | None, typer.Option(help="policy: ego-only, direct, ik, ik-current, ik-pooled or refiner.")
    ] = None,
    mix: Annotated[str, typer.Option(help="policy: rich or natural, how much of the driving needs eyes.")] = "rich",
    store: Annotated[
        list[Path] | None, typer.Option(help="policy: a ready store instead of rendering; may be repeated.")
    ] = None,
    joint: Annotated[bool, typer.Option(help="policy: the plan's loss trains the next-state predictor, too.")] = True,
    shuffled: Annotated[bool, typer.Option(help="policy: pictures of other scenes, as a control.")] = False,
    model: Annotated[str, typer.Option(help="policy: the world model whose tokenizer it sees through.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """One training stage; run it again to go on where it stopped."""
    if stage == "policy":
        _refuse_stage_options(data=data, start=start, episodes=episodes, accumulate=accumulate, precision=precision,
                              shard=shard, data_only=data_only)  # fmt: skip
        _train_policy(
            planner=planner,
            mix=mix,
            out=out,
            model=Path(model or default_model()),
            preset=preset,
            stores=tuple(store or ()),
            scenes=scenes,
            steps=steps,
            minutes=minutes,
            learning_rate=learning_rate,
            joint=joint,
            shuffled=shuffled,
            seed=seed,
            workers=workers,
            as_json=as_json,
        )
        return
    from worldmodel.training.presets import find_preset
    from worldmodel.training.processes import first_process, leave_together
    from worldmodel.training.stage_config import StageConfig
    from worldmodel.training.stage_data import prepare_store
    from worldmodel.training.stages import train_stage

    config = StageConfig(
        stage=stage,
        out=out,
        preset=preset,
        data=data,
        start=start,
        scenes=scenes,
        episodes=tuple(episodes) if episodes else None,
        steps=steps,
        minutes=minutes,
        learning_rate=learning_rate,
        accumulate=accumulate,
        workers=workers,
        precision=precision,
        shard=shard,
        seed=seed,
    )
    if data_only:
        made = prepare_store(config, find_preset(preset), say)
        emit({"store": made.folder, "clips": len(made)}, as_json, f"data: {len(made)} clips in {made.folder}")
        return
    first = first_process()
    checkpoint = train_stage(config, say=say if first else lambda _: None, on_progress=_training_line)
    leave_together()
    if first:
        emit({"checkpoint": checkpoint}, as_json, f"checkpoint: {checkpoint}")


def _refuse_stage_options(**given: Any) -> None:
    """Options of the world model's stages that a planner does not have."""
    defaults = {"data": "town", "accumulate": 1, "precision": "float32"}
    if wrong := [
        f"--{name.replace('_', '-')}" for name, value in given.items() if value and value != defaults.get(name)
    ]:
        raise BadRequest(
            f"{', '.join(wrong)} {'was' if len(wrong) == 1 else 'were'} given, but `detour train policy` has no such option. Leave it "
            "out; ready training data is named with --store."
        )


def _train_policy(*, as_json: bool, planner: str | None, **given: Any) -> None:
    from policy.planner_config import KINDS
    from policy.training.run import PolicyConfig, train_policy
    from worldmodel.training.processes import first_process, leave_together

    if planner is None:
        raise BadRequest(f"no planner was named. Choose one with --planner: {', '.join(KINDS)}.")
    first = first_process()
    config = PolicyConfig(planner=planner, **given)
    checkpoint = train_policy(config, say=say if first else lambda _: None, on_progress=_training_line)
    leave_together()
    if first:
        emit({"checkpoint": checkpoint}, as_json, f"checkpoint: {checkpoint}")


def _training_line(progress: Any) -> None:
    say(
        f"  step {progress.step} of {progress.steps}  loss {progress.loss:.4f}  "
        f"{progress.samples_per_s:.1f} samples/s{_utilisation(progress)}  {progress.eta_s:.0f} s left"
    )


def _utilisation(progress: Any) -> str:
    return "" if progress.utilisation is None else f"  {progress.utilisation:.0%} of the device's peak"
