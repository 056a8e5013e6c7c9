"""`detour` in the background of the studio: it lets those go first who watch, and ends when the studio does.

python -m studio.live.tasks.worker WORDS, with a standard input that stays open for as long as the result is wanted.
"""

import os
import signal
import threading
import time

GRACE_S = 5.0  # for what finishes its work when it is asked to end, before it is asked again
NICE = 10  # below the pages that somebody looks at


def main() -> None:
    """Run the command that the words name, as `detour` does."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    threading.Thread(target=_end_with_the_studio, daemon=True).start()
    from studio.cli import main as detour

    detour(prog_name="detour")


def _end_with_the_studio() -> None:
    """Standard input ends when the studio closes it, and when the studio is killed; then this process ends politely."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
