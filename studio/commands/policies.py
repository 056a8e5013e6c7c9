"""The command that examines a policy of your own."""

from typing import Annotated

import typer

from studio.commands.options import Json
from studio.console import emit


def check_policy(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="python:package.module:Class, path/to/file.py:Class, process:COMMAND, or path/to/policy.yaml.",
        ),
    ],
    clips: Annotated[str, typer.Option(help="A dataset with motion; default: the clips that ship.")] = "",
    as_json: Json = False,
) -> None:
    """Is your policy what it declares? Frame, units, rate, repeatability, memory, speed; exit code 1 for a problem."""
    from studio.check_policy import CLIPS, check_policy, lines_of

    report = check_policy(spec, clips or str(CLIPS))
    emit(report, as_json, "\n".join(lines_of(report)))
    if report["problems"]:
        raise typer.Exit(1)
