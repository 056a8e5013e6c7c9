"""How the command talks: errors to exit codes, results to standard output, progress to standard error."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from worldmodel.errors import BadInput, DetourError


class Commands(TyperGroup):
    """Turns our errors into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; 2 for bad input, 1 for other failures of ours, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except BadInput as error:
            _fail(str(error), 2)
        except DetourError as error:
            _fail(str(error), 1)
        except KeyboardInterrupt:
            _fail("interrupted; nothing half-written was left.", 130)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)


def terminated(signum: int, frame: object) -> NoReturn:
    """A polite kill ends like an exit, so that half-written outputs are removed."""
    del signum, frame
    raise SystemExit(143)


def emit(result: dict[str, Any], as_json: bool, text: str) -> None:
    """One object for machines, or a few lines for people, to standard output."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False, default=str) if as_json else text)


def say(text: str) -> None:
    """A line on standard error."""
    typer.echo(text, err=True)


def parts() -> Callable[[str, float | None], None]:
    """A line per part on standard error: when it begins on a terminal, and when it has ended."""

    def progress(part: str, seconds: float | None) -> None:
        if seconds is None:
            if sys.stderr.isatty():
                typer.echo(f"  ... {part}\r", err=True, nl=False)
            return
        typer.echo(f"  {seconds:6.1f} s  {part}", err=True)

    return progress


def counter(what: str, every_s: float = 2.0) -> Callable[[int, int], None]:
    """'12 of 40 scenes, 35 s left' on standard error, at most every few seconds."""
    started, last = time.monotonic(), [0.0]

    def progress(done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - last[0] < every_s:
            return
        last[0] = now
        left = (now - started) / max(done, 1) * (total - done)
        say(f"  {done} of {total} {what}, {left:.0f} s left")

    return progress
