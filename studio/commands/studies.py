"""The command that runs grounding studies."""

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.options import Json, Out
from studio.console import counter, emit


def study(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Fields of StudyConfig: planners, variants, …")],
    out: Out,
    moments: Annotated[
        Path | None,
        typer.Option(help="moments.json of an earlier study of the same scenes: they are not judged again."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes side by side; the result does not depend on it.")] = 1,
    as_json: Json = False,
) -> None:
    """Does the driver look at the road? Scenes times stitched objects times planners; run it again to go on."""
    from studio.runs import refuse_existing

    refuse_existing(out)
    from studio.study import lines_of, run_study
    from studio.study_config import read_study

    record = run_study(read_study(config), out, moments=moments, workers=workers, progress=counter("scenes"))
    emit(
        {"folder": out, "study": record},
        as_json,
        "\n".join([f"report: {out / 'report.html'}", *lines_of(record["summary"])]),
    )
