"""`detour bench`: how fast this machine is.

Numbers are medians of repeats; the tables say on what machine and with how many threads.
"""

from dataclasses import asdict
from typing import Annotated

import typer

from studio.bench_model import ModelBench, bench_model, model_table
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
