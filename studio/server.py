"""The studio as a server: from the command to Ctrl-C."""

import argparse
import os
import signal
import sys
from pathlib import Path

from studio.web.access import Access, add_options, announce, prepare
from worldmodel.errors import BadCheckpoint, BadRequest, DetourError

ASSETS = Path(__file__).resolve().parent.parent / "assets"


def serve(
    access: Access | None = None, *, port: int = 7860, model: Path = ASSETS / "default", clips: Path = ASSETS / "clips"
) -> None:
    """Open the studio and keep it open until Ctrl-C.

    Args:
        access: Who may reach it, and with what password; None for this machine only.
        port: Where it listens.
        model: Checkpoint folder.
        clips: LeRobot dataset that the pages open with.

    Raises:
        BadRequest: if nothing can listen at that host and port.
        BadDataset, BadCheckpoint: if there are no clips or no checkpoint at these places.
    """
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # threads that wait spinning take the browser's half of two cores
    from studio.web.site import Site

    if not 1 <= port <= 65535:
        raise BadRequest(f"port {port} is asked for; it must be 1 to 65535. Choose another --port.")
    access = access or Access()
    announce(access)
    site = Site.open(_short(model), _short(clips), any_folder=access.local, limits=access.limits)
    served = site.visitors.root / "served"  # beside the visitors' folders, whose files nobody may name
    try:
        _ = site.shipped.episodes  # pages begin with these clips: better no studio than one that cannot show them
        if not model.is_dir():
            raise BadCheckpoint(
                f"there is no checkpoint at '{model}'. Name a folder that `detour train` wrote with --model."
            )
        prepare(served)
        from studio.pages.frame import page_of
        from studio.web import look

        page = page_of(site).queue(default_concurrency_limit=None, max_size=64)
        options = access.launch_options(served) | look.launch_options()
        try:
            page.launch(server_port=port, prevent_thread_lock=True, quiet=True, **options)
        except OSError as error:
            raise BadRequest(
                f"nothing can listen at {access.host}:{port}: {error}. Close what is open there, or choose another --port."
            ) from error
        page.share = False  # else the page would be told to load its scripts from Gradio's own store, not from here
        where = " and ".join(filter(None, [f"http://{access.host}:{port}", page.share_url]))
        sys.stderr.write(f"The studio is open at {where} (Ctrl-C closes it).\n")
        site.model.warm_up()
        page.block_thread()
    finally:
        site.close_all()


def _short(path: Path) -> Path:
    """As seen from here, so that the commands that pages show are the ones a reader would type."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app.py", description="Open the studio in the browser; see docs/studio.md.")
    add_options(parser)
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--model", type=Path, default=ASSETS / "default", help="checkpoint folder")
    parser.add_argument("--clips", type=Path, default=ASSETS / "clips", help="LeRobot dataset to begin with")
    return parser


def _leave(*_: object) -> None:
    """End, and remove what visitors left without being disturbed by a second signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


def from_command_line() -> None:
    """What `app.py` does."""
    args = _parser().parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        access = Access.of(args.host, args.share, args.auth, args.max_upload, os.environ)
        serve(access, port=args.port, model=args.model, clips=args.clips)
    except DetourError as error:
        sys.stderr.write(f"app.py: {error}\n")
        raise SystemExit(2) from None
