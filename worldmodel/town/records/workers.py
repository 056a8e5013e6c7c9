"""Work that is split over processes, with results in order and the same bytes for any number of them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from worldmodel.errors import BadRequest, DetourError

MAX_WORKERS = 256
AHEAD = 2  # jobs per worker under way, so that results do not pile up

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_workers(workers: int) -> None:
    """Refuse a number of processes that makes no sense.

    Raises:
        BadRequest: if it is not 1 to MAX_WORKERS.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise BadRequest(
            f"{workers} workers are wanted; it must be 1 to {MAX_WORKERS}. Choose as many as there are cores."
        )


def in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int = 1) -> Iterator[Result]:
    """The results of jobs, in their order; each job runs on one thread, in this process where there is one worker.

    Args:
        work: A function that can be pickled, as can its argument and result.
    Raises:
        DetourError: if a worker process dies.
        Whatever `work` raises, at the place of its result.
    """
    if workers == 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_prepare)
    try:
        waiting = iter(jobs)
        running: list[Future[Result]] = [pool.submit(work, job) for job in islice(waiting, AHEAD * workers)]
        while running:
            result = running.pop(0).result()
            running += [pool.submit(work, job) for job in islice(waiting, 1)]
            yield result
    except BrokenProcessPool as error:
        raise DetourError(
            "a worker process was killed, perhaps for want of memory. Run the same command again, with fewer workers."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """One thread per worker process, which ends with its parent even when that is killed; Ctrl-C is the parent's business."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
