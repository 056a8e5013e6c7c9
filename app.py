"""Open the studio: `uv run app.py`."""

import argparse
import os
import sys
from pathlib import Path

ASSETS = Path(__file__).resolve().parent / "assets"
HERE = "127.0.0.1"


def main(
    *,
    host: str = HERE,
    port: int = 7860,
    share: bool = False,
    model: Path = ASSETS / "default",
    clips: Path = ASSETS / "clips",
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        host: Where it listens; anything but this machine says what that exposes.
        port: Where it listens.
        share: Also open a public address through Gradio's relay.
        model: Checkpoint folder.
        clips: LeRobot dataset that the page opens with.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from studio.pages.explore import Handlers, launch_options, page_of
    from studio.web.shared_model import SharedModel

    local = host in {HERE, "localhost", "::1"} and not share
    if not local:
        sys.stderr.write(
            "The studio can be reached from other machines, without a password: whoever finds it may use this machine's "
            "processor and see the clips. Folders other than the clips are closed.\n"
        )
    handlers = Handlers(SharedModel(model), clips, any_folder=local)
    page = page_of(handlers).queue(default_concurrency_limit=4, max_size=32)
    try:
        page.launch(
            server_name=host, server_port=port, share=share, prevent_thread_lock=True, quiet=True, ssr_mode=False,
            footer_links=[], **launch_options(),
        )  # fmt: skip
        sys.stderr.write(f"The studio is open at http://{host}:{port} (Ctrl-C closes it).\n")
        handlers.model.warm_up()
        page.block_thread()
    finally:
        handlers.visitors.close_all()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app.py", description=__doc__)
    parser.add_argument("--host", default=HERE, help="127.0.0.1 is this machine only")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--share", action="store_true", help="also open a public address through Gradio's relay")
    parser.add_argument("--model", type=Path, default=ASSETS / "default", help="checkpoint folder")
    parser.add_argument("--clips", type=Path, default=ASSETS / "clips", help="LeRobot dataset to begin with")
    return parser


if __name__ == "__main__":
    main(**vars(_parser().parse_args()))
