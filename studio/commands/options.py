"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

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
    return with_fields("sampling", Sampling)(command)


def with_fields(name: str, kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command one option for every field of a dataclass, in the place of its parameter of this name."""
    types = get_type_hints(kind, include_extras=True)
    options = {item.name: _option_of(item, types[item.name]) for item in fields(kind)}

    def changed(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            asked = {option: given.pop(option) for option in options}
            command(**given, **{name: kind(**asked)})

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            parameters += options.values() if parameter.name == name else own
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return changed


def _option_of(item: Field[Any], kind: Any) -> inspect.Parameter:
    """Of a field whose type says how it is asked for, or whose metadata has a `help`."""
    option = Annotated[kind, typer.Option(help=item.metadata["help"])] if "help" in item.metadata else kind
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=option)


def default_model() -> str:
    """The checkpoint that ships."""
    return str(Path(__file__).resolve().parent.parent.parent / "assets" / "default")
