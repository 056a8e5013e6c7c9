"""`detour bench`: how fast this machine is.

Numbers are medians of repeats; the tables say on what machine and with how many threads.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from studio.bench_model import ModelBench, bench_model, model_table
from studio.bench_scores import ScoresBench, bench_scores, scores_table
from studio.bench_town import FREQUENCY_HZ, SECONDS, run_town_bench, town_table
from studio.commands.options import default_model
from studio.console import Commands, emit, parts
from studio.machine import machine_now
from worldmodel.errors import BadRequest

bench = typer.Typer(cls=Commands, name="bench", help="Benchmark tables of this machine.", no_args_is_help=True)


@bench.callback()
def _bench() -> None:
    """Benchmark tables of this machine."""


@bench.command("town")
def town(
    frames: Annotated[int, typer.Option(help="Multi-view frames per measurement.")] = 12,
    repeats: Annotated[int, typer.Option(help="Measurements, of which the median counts.")] = 5,
    threads: Annotated[int, typer.Option(help="Of the renderer.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
) -> None:
    """How fast scenes are simulated and rendered (3 cameras, 224x128), and how close quick antialiasing comes."""
    most = int(SECONDS * FREQUENCY_HZ)
    if not 1 <= frames <= most or not 1 <= repeats <= 100 or not 1 <= threads <= 256:
        raise BadRequest(
            f"{frames} frames, {repeats} repeats and {threads} threads are asked for; it must be 1 to {most} frames, "
            "1 to 100 repeats and 1 to 256 threads. Choose numbers in between."
        )
    rows = run_town_bench(frames=frames, repeats=repeats, threads=threads, progress=parts())
    machine = machine_now(threads)
    content = {"machine": machine, "frames": frames, "repeats": repeats, "rows": [asdict(row) for row in rows]}
    emit(content, as_json, town_table(rows, machine))


@bench.command("model")
def model(
    checkpoint: Annotated[str, typer.Option("--model", help="Checkpoint folder.")] = default_model(),
    repeats: Annotated[int, typer.Option(help="Measurements, of which the median counts.")] = 3,
    threads: Annotated[int, typer.Option(help="Of the processor.")] = 2,
    resident_chunks: Annotated[int, typer.Option(help="Chunks of the rollout whose memory is watched.")] = 500,
    batch: Annotated[int, typer.Option(help="Rollouts at once; 1 leaves that row out.")] = 4,
    clock: Annotated[str, typer.Option(help="wall, or processor: of this process alone, for a busy machine.")] = "wall",
    attention: Annotated[str, typer.Option(help="torch, xformers or flex.")] = "torch",
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile the network's layers first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
) -> None:
    """How long the world model takes: per memory, with and without its cache, by steps, and beside a peer of its size."""
    request = ModelBench(
        model=checkpoint,
        repeats=repeats,
        threads=threads,
        resident_chunks=resident_chunks,
        batch=batch,
        clock=clock,
        attention=attention,
        compiled=compiled,
    )
    found = bench_model(request, parts())
    machine = machine_now(threads)
    rows = {device: [asdict(row) for row in measured] for device, measured in found.items()}
    content = {"machine": machine, "request": asdict(request), "rows": rows}
    emit(content, as_json, model_table(found, request, machine))


@bench.command("planners")
def planners(
    planner: Annotated[list[str] | None, typer.Option(help="A name or folder; may be repeated; default: all.")] = None,
    checkpoint: Annotated[str, typer.Option("--model", help="Checkpoint folder.")] = default_model(),
    repeats: Annotated[int, typer.Option(help="Measurements, of which median and 95th percentile count.")] = 20,
    threads: Annotated[
        list[int] | None, typer.Option(help="Of the processor; may be repeated; default: 1 and 2.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Plans per answer, by those that draw.")] = 8,
    clock: Annotated[str, typer.Option(help="wall, or processor: of this process alone, with one thread.")] = "wall",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
) -> None:
    """How long planners take from the newest pictures to a plan, stage by stage."""
    from studio.bench_planners import PlannersBench, bench_planners, planners_table

    request = PlannersBench(
        model=checkpoint,
        planners=tuple(planner or ()),
        repeats=repeats,
        threads=tuple(threads or (1, 2)),
        samples=samples,
        clock=clock,
    )
    rows = bench_planners(request, parts())
    machine = machine_now(max(request.threads))
    content = {"machine": machine, "request": asdict(request), "rows": [asdict(row) for row in rows]}
    emit(content, as_json, planners_table(rows, request, machine))


@bench.command("scores")
def scores(
    width: Annotated[int, typer.Option(help="Features per sample.")] = 2048,
    few: Annotated[int, typer.Option(help="Samples of the small Fréchet distance.")] = 50,
    many: Annotated[int, typer.Option(help="Samples of the large one, and of KID.")] = 5000,
    subsets: Annotated[int, typer.Option(help="Of KID; torch-fidelity's own number is 100.")] = 20,
    clips: Annotated[int, typer.Option(help="Videos whose features are extracted; 0 leaves that out.")] = 8,
    frames: Annotated[int, typer.Option(help="In each of those videos.")] = 16,
    repeats: Annotated[int, typer.Option(help="Measurements, of which the median counts.")] = 1,
    threads: Annotated[int, typer.Option(help="Of the processor.")] = 2,
    clock: Annotated[str, typer.Option(help="wall, or processor: of this process alone, for a busy machine.")] = "wall",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
) -> None:
    """How fast scores are computed, and how far they are from other libraries: same inputs, one run."""
    request = ScoresBench(
        width=width,
        few=few,
        many=many,
        subsets=subsets,
        clips=clips,
        frames=frames,
        repeats=repeats,
        threads=threads,
        clock=clock,
    )
    rows = bench_scores(request, parts())
    machine = machine_now(threads)
    measured = [asdict(row) | {"faster": row.faster} for row in rows]
    emit(
        {"machine": machine, "request": asdict(request), "rows": measured},
        as_json,
        scores_table(rows, request, machine),
    )


@bench.command("jobs")
def jobs(
    checkpoint: Annotated[str, typer.Option("--model", help="Checkpoint folder.")] = default_model(),
    units: Annotated[int, typer.Option(help="Units for each worker.")] = 12,
    seconds: Annotated[float, typer.Option(help="Horizon of each unit.")] = 2.0,
    engine: Annotated[list[str] | None, typer.Option(help="local or ray; may be repeated; default: local.")] = None,
    workers: Annotated[list[int] | None, typer.Option(help="May be repeated; default: 1 and 2.")] = None,
    threads: Annotated[int, typer.Option(help="Of the processor, of each worker.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")] = False,
) -> None:
    """How much of a batch's time is not the model's, and what more workers bring."""
    from studio.bench_jobs import JobsBench, bench_jobs, jobs_table, ratios

    request = JobsBench(
        model=checkpoint,
        units=units,
        seconds=seconds,
        engines=tuple(engine or ("local",)),
        workers=tuple(workers or (1, 2)),
        threads=threads,
        device=device,
    )
    rows = bench_jobs(request, parts())
    machine = machine_now(threads)
    content = {"machine": machine, "request": asdict(request), "rows": [asdict(row) for row in rows]}
    emit(content | {"ratios": ratios(rows)}, as_json, jobs_table(rows, request, machine))
