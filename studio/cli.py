"""The `detour` command: thin, one function per command, each calling what Python users call too.

Results go to files and standard output, everything else to standard error. Exit codes: 0 done, 2 the input cannot be
used (one line says why), 1 another failure, 130 interrupted.

Nothing heavy is imported here, so that `detour --help` answers at once.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from studio.bench import bench
from studio.commands import datasets, futures, policies, saliency, scores, studies, training
from studio.commands.jobs import jobs
from studio.console import Commands, terminated

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


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("detour"))
        raise typer.Exit


@main.callback()
def _prepare(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Check nothing, promise nothing: only let a polite kill clean up as Ctrl-C does."""
    del show_version
    with contextlib.suppress(ValueError):  # not the main thread: the host decides about signals
        signal.signal(signal.SIGTERM, terminated)


COMMANDS: dict[str, Callable[..., None]] = {
    "demo": futures.demo,
    "town": datasets.town,
    "gallery": datasets.gallery,
    "import": datasets.import_,
    "check": datasets.check,
    "check-policy": policies.check_policy,
    "imagine": futures.imagine,
    "stitch": futures.stitch,
    "change": futures.change,
    "study": studies.study,
    "saliency": saliency.saliency,
    "plan": futures.plan,
    "drive": futures.drive,
    "score": scores.score,
    "train": training.train,
}
for name, command in COMMANDS.items():
    main.command(name)(command)
main.add_typer(jobs)
main.add_typer(bench)


@main.command()
def studio(
    port: Annotated[int, typer.Option(help="Where it listens.")] = 7860,
    host: Annotated[str, typer.Option(help="127.0.0.1 is this machine only.")] = "127.0.0.1",
    share: Annotated[bool, typer.Option("--share", help="Also open a public address through Gradio's relay.")] = False,
    auth: Annotated[str | None, typer.Option(help="USER:PASSWORD, or @FILE with such lines; or DETOUR_AUTH.")] = None,
    max_upload: Annotated[int, typer.Option(help="Of all files sent at once, MB.")] = 200,
) -> None:
    """Open the studio in the browser; see docs/studio.md and docs/security.md."""
    from studio.server import serve
    from studio.web.access import Access

    serve(Access.of(host, share, auth, max_upload, os.environ), port=port)


if __name__ == "__main__":
    main()
