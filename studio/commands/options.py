"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from worldmodel.sampling import Sampling

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Seed = Annotated[int, typer.Option(help="Of all noise; the same seed gives the same result.")]
ClipName = Annotated[str, typer.Argument(metavar="CLIP", help="DATASET[:EPISODE[@SECONDS]].")]
Model = Annotated[str, typer.Option(help="Checkpoint folder; default: the one that ships.")]
Out = Annotated[Path, typer.Option("--out", help="A folder that does not exist yet.")]
NewFolder = Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]
Samples = Annotated[int, typer.Option(help="Plans the joint planner draws per answer.")]


def with_sampling(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one option for every field of `Sampling`, in the place of its parameter `sampling`."""
    options = {
        item.name: _option_of(item.name, item.type, item.default, item.metadata["help"]) for item in fields(Sampling)
    }

    @functools.wraps(command)
    def called(**given: Any) -> None:
        asked = {name: given.pop(name) for name in options}
        command(**given, sampling=Sampling(**asked))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        parameters += options.values() if parameter.name == "sampling" else own
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called


def _option_of(name: str, kind: Any, default: Any, text: str) -> inspect.Parameter:
    option = Annotated[kind, typer.Option(help=text)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)


def default_model() -> str:
    """The checkpoint that ships."""
    return str(Path(__file__).resolve().parent.parent.parent / "assets" / "default")
