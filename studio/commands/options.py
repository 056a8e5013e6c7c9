"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Seed = Annotated[int, typer.Option(help="Of all noise; the same seed gives the same result.")]
ClipName = Annotated[str, typer.Argument(metavar="CLIP", help="DATASET[:EPISODE[@SECONDS]].")]
Model = Annotated[str, typer.Option(help="Checkpoint folder; default: the one that ships.")]
Steps = Annotated[int, typer.Option(help="Sampling steps per chunk; more is slower and finer.")]
Out = Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")]
NewFolder = Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]
Samples = Annotated[int, typer.Option(help="Plans the joint planner draws per answer.")]


def default_model() -> str:
    """The checkpoint that ships."""
    return str(Path(__file__).resolve().parent.parent.parent / "assets" / "default")
