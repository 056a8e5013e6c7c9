"""A worker's process on this machine: `python -m studio.jobs.engines.local_worker FD`, started by `local`.

Standard input is its lifeline: when the driver ends, however it ends, that closes, and the process ends at once.
"""

import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from studio.jobs.engines.scratch import own_scratch
from worldmodel.errors import DetourError

UP, FAILED, CHUNK, OUTCOMES = "up", "failed", "chunk", "outcomes"


def main(descriptor: int) -> None:
    """Load the model, then do works until there are no more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, and what a cluster sends to all, are the driver's business
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    threading.Thread(target=_end_with_driver, daemon=True).start()
    with suppress(EOFError, BrokenPipeError), Connection(descriptor) as pipe:
        sys.path[:] = pipe.recv()
        make, plan, name = pipe.recv()
        with own_scratch(plan.scratch) as scratch:
            try:
                worker = make(replace(plan, scratch=str(scratch)), name)
            except DetourError as error:
                pipe.send((FAILED, str(error)))
                return
            pipe.send((UP,))
            while (given := pipe.recv()) is not None:
                work, skip = given
                outcomes = worker.do(work, skip, lambda chunk, chunks: pipe.send((CHUNK, chunk, chunks)))
                pipe.send((OUTCOMES, outcomes))
            worker.close()


def _end_with_driver() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # taking the libraries down one by one would take seconds, and nothing is left to save
