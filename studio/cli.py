"""The `detour` command: thin, one function per command, each calling what Python users call too.

Results go to files and standard output, everything else to standard error. Exit codes: 0 done, 2 the input cannot be
used (one line says why), 1 another failure, 130 interrupted.

Nothing heavy is imported here, so that `detour --help` answers at once.
"""

import contextlib
import signal
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.bench import bench
from studio.console import Commands, counter, emit, parts, say, terminated
from worldmodel.errors import BadRequest

NOTICE = "A research tool; no evidence of road safety. Imagined frames are marked as such."


main = typer.Typer(
    cls=Commands,
    name="detour",
    help=f"Imagine how a drive goes on, change one thing, see what the driver would do instead. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

main.add_typer(bench)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Seed = Annotated[int, typer.Option(help="Of all noise; the same seed gives the same result.")]
ClipName = Annotated[str, typer.Argument(metavar="CLIP", help="DATASET[:EPISODE[@SECONDS]].")]
Model = Annotated[str, typer.Option(help="Checkpoint folder; default: the one that ships.")]
Steps = Annotated[int, typer.Option(help="Sampling steps per chunk; more is slower and finer.")]
Out = Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")]
Samples = Annotated[int, typer.Option(help="Plans the joint planner draws per answer.")]


def _default_model() -> str:
    return str(Path(__file__).resolve().parent.parent / "assets" / "default")


@main.callback()
def _prepare(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)
    ] = False,
) -> None:
    """Check nothing, promise nothing: only let a polite kill clean up as Ctrl-C does."""
    if show_version:
        typer.echo(version("detour"))
        raise typer.Exit
    with contextlib.suppress(ValueError):  # not the main thread: the host decides about signals
        signal.signal(signal.SIGTERM, terminated)


@main.command()
def demo(
    out: Out = Path("detour-demo"),
    clip: Annotated[str | None, typer.Option(help="DATASET[:EPISODE[@SECONDS]]; default: the one that ships.")] = None,
    seconds: Annotated[float, typer.Option(help="Horizon of the imagined futures.")] = 4.0,
    seed: Seed = 0,
    steps: Steps = 8,
    kind: Annotated[
        str, typer.Option(help="What is put in the way: car, van, truck, pedestrian, cyclist, cone, box.")
    ] = "car",
    model: Model = "",
    as_json: Json = False,
) -> None:
    """The whole story on one clip: imagine, stitch, plan, score; writes report.html."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    say("detour demo: imagine, stitch, plan, score")
    from studio.demo import run_demo

    result = run_demo(
        out,
        clip=clip,
        seconds=seconds,
        seed=seed,
        steps=steps,
        model=model or None,
        kind=kind,
        progress=parts(),
    )
    scores = [f"  {row['metric']} {row['value']:.2f} {row['unit']}  {row['of']}" for row in result.scores]
    notes = [f"  note: {text}" for text in result.skipped]
    content = {
        "folder": result.folder,
        "report": result.report,
        "scores": result.scores,
        "skipped": result.skipped,
        "timings_s": result.timings_s,
    }
    emit(content, as_json, "\n".join([f"report: {result.report}", *scores, *notes]))


@main.command()
def town(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    scenes: Annotated[int, typer.Option(help="How many scenes.")] = 20,
    seed: Seed = 0,
    seconds: Annotated[float, typer.Option(help="Length of each scene.")] = 8.0,
    frequency: Annotated[float, typer.Option(help="Frames per second.")] = 8.0,
    rig: Annotated[str, typer.Option(help="front, three, six or nuscenes.")] = "three",
    width: Annotated[int, typer.Option(help="Of the pictures, px.")] = 128,
    height: Annotated[int, typer.Option(help="Of the pictures, px.")] = 64,
    situation: Annotated[
        list[str] | None, typer.Option(help="Only these; may be repeated. Default: all in turn.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="natural (at most 15 % vision-critical moments) or rich (at least 50 %).")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test: their seeds never meet.")] = "train",
    tracks: Annotated[bool, typer.Option("--tracks", help="Scene states alone, without pictures.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that work side by side.")] = 1,
    as_json: Json = False,
) -> None:
    """Write a dataset of the embedded town; run it again to go on where it was stopped."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from worldmodel.town.dataset import write_town
    from worldmodel.town.records.request import TownRequest
    from worldmodel.town.rigs import rig_named
    from worldmodel.town.tracks import write_tracks

    cameras = rig_named(rig, *_picture_size(width, height))
    request = TownRequest(
        scenes=scenes,
        seed=seed,
        seconds=seconds,
        frequency_hz=frequency,
        situations=tuple(situation) if situation else None,
        mix=mix,
        split=split,
    )
    count = counter("scenes")
    with _kept(out):
        if tracks:
            made = len(write_tracks(out, request, workers=workers, progress=count))
            emit({"tracks": out, "scenes": made}, as_json, f"tracks: {out} ({made} scenes)")
            return
        dataset = write_town(out, request, rig=cameras, rig_name=rig, workers=workers, progress=count)
    emit({"dataset": out, "episodes": dataset.episodes}, as_json, f"dataset: {out} ({dataset.episodes} episodes)")


@contextlib.contextmanager
def _kept(out: Path) -> Iterator[None]:
    """Say where the finished scenes are when the work is stopped."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if (partial := out.with_name(f"{out.name}.partial")).exists():
            say(f"the finished scenes are kept in '{partial}'; run the same command again to go on.")
        raise


def _picture_size(width: int, height: int) -> tuple[int, int]:
    if not (16 <= width <= 4096 and 16 <= height <= 2304) or width % 2 or height % 2:
        raise BadRequest(f"pictures of {width}x{height} px are asked for; need even sides, 16x16 to 4096x2304.")
    return width, height


@main.command("import")
def import_(
    src: Annotated[Path, typer.Argument(help="The recordings.")],
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    form: Annotated[str, typer.Option("--format", help="folder or lerobot.")] = "folder",
    frequency: Annotated[float | None, typer.Option(help="Frames per second; default: the recordings' own.")] = None,
    width: Annotated[int | None, typer.Option(help="Of the pictures, px; default: as recorded.")] = None,
    height: Annotated[int | None, typer.Option(help="Of the pictures, px; default: as recorded.")] = None,
    letterbox: Annotated[bool, typer.Option(help="Keep proportions with black bars.")] = False,
    clips: Annotated[list[str] | None, typer.Option("--clip", help="Only this one; may be repeated.")] = None,
    fov: Annotated[float | None, typer.Option(help="Degrees, of cameras without calibration; default 70.")] = None,
    wheelbase: Annotated[float | None, typer.Option(help="Metres, where motion comes from steering.")] = None,
    steering_lock: Annotated[float | None, typer.Option(help="Radians at full lock, likewise.")] = None,
    as_json: Json = False,
) -> None:
    """Turn recordings into a dataset, checked."""
    from studio.importing import run_import
    from studio.runs import refuse_existing

    refuse_existing(out)
    count = counter("clips")
    dataset = run_import(
        src,
        out,
        form=form,
        frequency_hz=frequency,
        width_px=width,
        height_px=height,
        letterbox=letterbox,
        clips=clips or None,
        fov_deg=fov,
        vehicle={k: v for k, v in (("wheelbase_m", wheelbase), ("steering_lock_rad", steering_lock)) if v is not None},
        on_clip=lambda done, total, _: count(done, total),
    )
    notes = [f"  note: {note}" for note in dataset.notes]
    content = {
        "dataset": out,
        "episodes": dataset.episodes,
        "cameras": dataset.rig.names,
        "frequency_hz": dataset.frequency_hz,
        "motion": sorted({record.motion_origin for record in dataset.records}),
        "notes": dataset.notes,
    }
    emit(content, as_json, "\n".join([f"dataset: {out} ({dataset.episodes} episodes)", *notes]))


@main.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    as_json: Json = False,
) -> None:
    """List every problem of a dataset with its file and row; exit code 1 when there is one."""
    from worldmodel.io.check import check_dataset

    problems = check_dataset(dataset)
    rows = [{"path": str(p.path), "row": p.row, "message": p.message} for p in problems]
    lines = [str(problem) for problem in problems]
    emit({"dataset": dataset, "problems": rows}, as_json, "\n".join(lines) or "no problems found")
    if problems:
        raise typer.Exit(1)


@main.command()
def imagine(
    clip: ClipName,
    out: Out,
    text: Annotated[str | None, typer.Option(help="What the driver is told; default: the clip's instruction.")] = None,
    actions: Annotated[Path | None, typer.Option(help="CSV with t,x,y,yaw: the path to drive, from now.")] = None,
    seconds: Annotated[float, typer.Option(help="Horizon.")] = 4.0,
    memory: Annotated[str, typer.Option(help="full or window.")] = "window",
    steps: Steps = 8,
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Imagine how a clip goes on."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.imagine import ImagineRequest, run_imagine

    request = ImagineRequest(
        clip=clip,
        text=text,
        actions=actions,
        seconds=seconds,
        memory=memory,
        steps=steps,
        seed=seed,
        model=model or _default_model(),
    )
    record = run_imagine(request, out, on_chunk=counter("chunks"))
    emit({"folder": out, "report": out / "report.html", "run": record}, as_json, f"report: {out / 'report.html'}")


@main.command()
def stitch(
    clip: ClipName,
    out: Out,
    variant: Annotated[str, typer.Option(help="near, far, sky_near, sky_far or empty.")] = "near",
    kind: Annotated[str, typer.Option(help="car, van, truck, pedestrian, cyclist, cone or box.")] = "car",
    picture: Annotated[Path | None, typer.Option(help="A PNG with transparency instead; needs --height-m.")] = None,
    height_m: Annotated[float | None, typer.Option(help="Real height of the object in --picture.")] = None,
    planner: Annotated[list[str] | None, typer.Option(help="joint, constant-velocity, constant-turn-rate.")] = None,
    samples: Samples = 8,
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Put an object into a clip and plan with and without it."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.planning import PLANNERS, StitchRequest, run_stitch

    request = StitchRequest(
        clip=clip,
        variant=variant,
        kind=kind,
        picture=picture,
        height_m=height_m,
        planners=tuple(planner or PLANNERS),
        samples=samples,
        seed=seed,
        model=model or _default_model(),
    )
    record = run_stitch(request, out)
    lines = [
        f"  {name}: path {row['path_length_change_m']:+.2f} m, endpoint {row['endpoint_shift_m']:.2f} m, "
        f"sideways {row['lateral_shift_m']:+.2f} m"
        for name, row in record["responses"].items()
    ]
    if record["town"] is not None:
        lines.append(f"  {record['town']['sentence']}")
    notes = [f"  note: {text}" for text in (*record["skipped"], *record["stitch"]["notes"])]
    emit({"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *lines, *notes]))


@main.command()
def score(
    a: Annotated[Path, typer.Argument(help="The generated side: folder of videos, a video, or a dataset.")],
    b: Annotated[Path, typer.Argument(help="The real side, with the same names.")],
    metrics: Annotated[str, typer.Option(help="Comma separated: fid, kid, fvd, kvd, psnr, ssim.")] = "psnr,ssim",
    frames: Annotated[int | None, typer.Option(help="Frames per clip; default: all.")] = None,
    condition_frames: Annotated[int, typer.Option(help="Frames at each clip's start to leave out.")] = 0,
    inception: Annotated[Path | None, typer.Option(help="Inception 2015 weights for published FID.")] = None,
    i3d: Annotated[Path | None, typer.Option(help="I3D Kinetics-400 weights for published FVD.")] = None,
    model: Model = "",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the scores to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Scores between two sets of videos; feature networks are named in every number."""
    from studio.scoring import ScoreRequest, run_score

    request = ScoreRequest(
        a=a,
        b=b,
        metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()),
        frames=frames,
        condition_frames=condition_frames,
        inception=inception,
        i3d=i3d,
        model=model or _default_model(),
        seed=seed,
    )
    scores = run_score(request, out)
    emit(scores.to_json(), as_json, scores.table())


@main.command()
def plan(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="DATASET for all episodes, or DATASET:EPISODE[@SECONDS].")
    ],
    planner: Annotated[list[str] | None, typer.Option(help="joint, constant-velocity, constant-turn-rate.")] = None,
    samples: Samples = 8,
    seed: Seed = 0,
    model: Model = "",
    out: Annotated[Path | None, typer.Option("--out", help="Also write the result to this JSON file.")] = None,
    as_json: Json = False,
) -> None:
    """Plan on one clip or all of a dataset, and compare with what was driven."""
    from studio.planning import PLANNERS, PlanRequest, run_plan
    from studio.runs import refuse_existing, write_json_file

    if out is not None:
        refuse_existing(out)
    request = PlanRequest(
        clip=clip, planners=tuple(planner or PLANNERS), samples=samples, seed=seed, model=model or _default_model()
    )
    result = run_plan(request, on_clip=counter("clips"))
    if out is not None:
        write_json_file(out, result)
    lines = [_plan_line(name, row) for name, row in result["scores"].items()]
    emit(result, as_json, "\n".join([*lines, *(f"  left out: {text}" for text in result["skipped"])]))


def _plan_line(name: str, row: dict[str, Any]) -> str:
    if not row["scored"]:
        return f"{name}: {row['plans']} plans, none scored (no motion follows)"
    return f"{name}: ADE {row['ade_m']:.2f} m, FDE {row['fde_m']:.2f} m over {row['scored']} of {row['plans']} plans"


@main.command()
def drive(
    out: Out,
    planner: Annotated[
        str, typer.Option(help="joint, constant-velocity, constant-turn-rate, stand-still or expert.")
    ] = "joint",
    situation: Annotated[
        list[str] | None, typer.Option(help="Only these; may be repeated. Default: all in turn.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first scene (the others follow) and of the planner.")] = 0,
    scenes: Annotated[int, typer.Option(help="How many.")] = 1,
    seconds: Annotated[float, typer.Option(help="Given to each scene, after 2 s of the town's expert.")] = 20.0,
    samples: Samples = 8,
    videos: Annotated[int, typer.Option(help="How many of the scenes are filmed.")] = 1,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Let a planner drive in the town, closed loop; driving score and NAVSIM's sub-scores."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.drive import DriveRequest, run_drive

    request = DriveRequest(
        planner=planner,
        situations=tuple(situation or ()),
        seed=seed,
        scenes=scenes,
        seconds=seconds,
        samples=samples,
        videos=videos,
        model=model or _default_model(),
    )
    record = run_drive(request, out, on_scene=counter("scenes"))
    lines = [
        f"  {row['scene']}: driving score {row['driving_score']:.1f} (route {row['route_completion']:.0%}, penalty "
        f"{row['penalty']:.2f}, ended by {row['end']})"
        for row in record["drives"]
    ]
    emit({"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *lines]))


@main.command()
def train(
    stage: Annotated[str, typer.Argument(help="vision, chunk or horizon.")],
    out: Out,
    preset: Annotated[str, typer.Option(help="test, town-mini or town.")] = "town-mini",
    data: Annotated[str, typer.Option(help="'town' to render scenes, or a dataset folder.")] = "town",
    start: Annotated[Path | None, typer.Option(help="A checkpoint to begin with: weights only.")] = None,
    scenes: Annotated[int | None, typer.Option(help="Town scenes; default: the preset's.")] = None,
    episodes: Annotated[list[int] | None, typer.Option("--episode", help="Of the dataset; may be repeated.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length in steps; default: the preset's.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Length in minutes; whichever ends first.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak; default: the preset's.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that render scenes.")] = 1,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """One training stage; run it again to go on where it stopped."""
    from worldmodel.training.stages import StageConfig, train_stage

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
        workers=workers,
        precision=precision,
        seed=seed,
    )
    checkpoint = train_stage(config, say=say, on_progress=_training_line)
    emit({"checkpoint": checkpoint}, as_json, f"checkpoint: {checkpoint}")


def _training_line(progress: Any) -> None:
    say(
        f"  step {progress.step} of {progress.steps}  loss {progress.loss:.4f}  "
        f"{progress.samples_per_s:.1f} samples/s  {progress.eta_s:.0f} s left"
    )


@main.command()
def studio(
    port: Annotated[int, typer.Option(help="Where it listens.")] = 7860,
    host: Annotated[str, typer.Option(help="127.0.0.1 is this machine only.")] = "127.0.0.1",
) -> None:
    """Open the studio in the browser."""
    if not 1 <= port <= 65535:
        raise BadRequest(f"port {port} is asked for; it must be 1 to 65535.")
    import app

    app.main(host=host, port=port)


if __name__ == "__main__":
    main()
