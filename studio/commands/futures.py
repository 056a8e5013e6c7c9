"""Commands that ask the world model: what comes next, what if, and what to do."""

from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.options import ClipName, Json, Model, Out, Samples, Seed, default_model, with_sampling
from studio.console import counter, emit, parts, say
from worldmodel.sampling import Sampling


@with_sampling
def demo(
    sampling: Sampling,
    out: Out = Path("detour-demo"),
    clip: Annotated[str | None, typer.Option(help="DATASET[:EPISODE[@SECONDS]]; default: the one that ships.")] = None,
    seconds: Annotated[float, typer.Option(help="Horizon of the imagined futures.")] = 4.0,
    seed: Seed = 0,
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
        sampling=sampling,
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


@with_sampling
def imagine(
    clip: ClipName,
    out: Out,
    sampling: Sampling,
    text: Annotated[str | None, typer.Option(help="What the driver is told; default: the clip's instruction.")] = None,
    guide: Annotated[
        str,
        typer.Option(
            help="What steers each chunk: fixed (what the driver is told), schedule, decision, town, vlm:MODEL."
        ),
    ] = "",
    schedule: Annotated[
        str,
        typer.Option(help="Texts with their start in seconds: '0:follow the road;2:turn left', JSON, or a .json file."),
    ] = "",
    actions: Annotated[Path | None, typer.Option(help="CSV with t,x,y,yaw: the path to drive, from now.")] = None,
    seconds: Annotated[float, typer.Option(help="Horizon.")] = 4.0,
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Imagine how a clip goes on."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.guides import GuideChoice
    from studio.imagine import ImagineRequest, run_imagine

    request = ImagineRequest(
        clip=clip,
        text=text,
        guide=GuideChoice(name=guide, schedule=schedule),
        actions=actions,
        seconds=seconds,
        sampling=sampling,
        seed=seed,
        model=model or default_model(),
    )
    record = run_imagine(request, out, on_chunk=counter("chunks"))
    lines = [f"report: {out / 'report.html'}", *(f"  warning: {text}" for text in record["warnings"])]
    emit({"folder": out, "report": out / "report.html", "run": record}, as_json, "\n".join(lines))


def stitch(
    clip: ClipName,
    out: Out,
    variant: Annotated[
        str, typer.Option(help="near, far, very_far; sky_near, sky_far, sky (controls); lookalike or empty.")
    ] = "near",
    kind: Annotated[str, typer.Option(help="car, van, truck, pedestrian, cyclist, cone or box.")] = "car",
    picture: Annotated[Path | None, typer.Option(help="A PNG with transparency instead; needs --height-m.")] = None,
    height_m: Annotated[
        float | None, typer.Option(help="Real height of what --picture shows, or another one for the kind.")
    ] = None,
    x_m: Annotated[float | None, typer.Option(help="Metres ahead of now's ego; default: the variant's.")] = None,
    y_m: Annotated[float | None, typer.Option(help="Metres to the left; negative: to the right.")] = None,
    click: Annotated[str | None, typer.Option(help="Instead: CAMERA:COLUMN,ROW, where it touches the road.")] = None,
    yaw_deg: Annotated[float, typer.Option(help="Its heading against the ego's, to the left; 0 shows its back.")] = 0.0,
    speed_mps: Annotated[float, typer.Option(help="How fast it moves along its heading.")] = 0.0,
    planner: Annotated[
        list[str] | None,
        typer.Option(
            help="joint, imagining, constant-velocity, constant-turn-rate, stand-still, a folder, or your own policy."
        ),
    ] = None,
    samples: Samples = 8,
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Put an object into a clip and plan with and without it."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.planners import DEFAULT_PLANNERS
    from studio.stitching import StitchRequest, run_stitch

    request = StitchRequest(
        clip=clip,
        variant=variant,
        kind=kind,
        picture=picture,
        height_m=height_m,
        x_m=x_m,
        y_m=y_m,
        click=click,
        yaw_deg=yaw_deg,
        speed_mps=speed_mps,
        planners=tuple(planner or DEFAULT_PLANNERS),
        samples=samples,
        seed=seed,
        model=model or default_model(),
    )
    record = run_stitch(request, out)
    notes = [f"  note: {text}" for text in record["stitch"]["notes"]]
    emit(
        {"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *_moved(record), *notes])
    )


def change(
    clip: ClipName,
    out: Out,
    remove: Annotated[str | None, typer.Option(help="Track of a road user who is gone, e.g. car-1.")] = None,
    weather: Annotated[str | None, typer.Option(help="clear, overcast, fog, rain, wet or snow.")] = None,
    hour: Annotated[float, typer.Option(help="Of the day, 0 to 24, with --weather.")] = 12.0,
    text: Annotated[str | None, typer.Option(help="What the driver is told instead.")] = None,
    planner: Annotated[list[str] | None, typer.Option(help="As of `detour stitch`.")] = None,
    samples: Samples = 8,
    seed: Seed = 0,
    model: Model = "",
    as_json: Json = False,
) -> None:
    """Remove somebody, change the light (clips of the town) or the words, and plan before and after."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.changing import ChangeRequest, run_change
    from studio.planners import DEFAULT_PLANNERS

    request = ChangeRequest(
        clip=clip,
        remove=remove,
        weather=weather,
        hour=hour,
        text=text,
        planners=tuple(planner or DEFAULT_PLANNERS),
        samples=samples,
        seed=seed,
        model=model or default_model(),
    )
    record = run_change(request, out)
    emit({"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *_moved(record)]))


def _moved(record: dict[str, Any]) -> list[str]:
    """How the plans moved, what the town says, and what to know, as lines."""
    lines = [
        f"  {name}: path {row['path_length_change_m']:+.2f} m, endpoint {row['endpoint_shift_m']:.2f} m, "
        f"sideways {row['lateral_shift_m']:+.2f} m"
        for name, row in record["responses"].items()
    ]
    lines += [f"  {record['town']['sentence']}"] if record["town"] is not None else []
    return lines + [f"  note: {text}" for text in record["skipped"]]


def plan(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="DATASET for all episodes, or DATASET:EPISODE[@SECONDS].")
    ],
    planner: Annotated[
        list[str] | None,
        typer.Option(
            help="joint, imagining, constant-velocity, constant-turn-rate, stand-still, a folder, or your own policy."
        ),
    ] = None,
    samples: Samples = 8,
    seed: Seed = 0,
    model: Model = "",
    out: Annotated[Path | None, typer.Option("--out", help="Also write the result to this JSON file.")] = None,
    as_json: Json = False,
) -> None:
    """Plan on one clip or all of a dataset: distance to what was driven, collisions, decisions."""
    from studio.plan_scores import plan_lines
    from studio.planners import DEFAULT_PLANNERS
    from studio.planning import PlanRequest, run_plan
    from studio.runs import refuse_existing, write_json_file

    if out is not None:
        refuse_existing(out)
    request = PlanRequest(
        clip=clip,
        planners=tuple(planner or DEFAULT_PLANNERS),
        samples=samples,
        seed=seed,
        model=model or default_model(),
    )
    result = run_plan(request, on_clip=counter("clips"))
    if out is not None:
        write_json_file(out, result)
    lines = [line for name, row in result["scores"].items() for line in plan_lines(name, row)]
    emit(result, as_json, "\n".join([*lines, *(f"  left out: {text}" for text in result["skipped"])]))


def drive(
    out: Out,
    planner: Annotated[
        str,
        typer.Option(
            help="joint, imagining, constant-velocity, constant-turn-rate, stand-still, expert, a folder, or your own policy."
        ),
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
        model=model or default_model(),
    )
    record = run_drive(request, out, on_scene=counter("scenes"))
    lines = [
        f"  {row['scene']}: driving score {row['driving_score']:.1f} (route {row['route_completion']:.0%}, penalty "
        f"{row['penalty']:.2f}, ended by {row['end']})"
        for row in record["drives"]
    ]
    emit({"folder": out, "run": record}, as_json, "\n".join([f"report: {out / 'report.html'}", *lines]))
