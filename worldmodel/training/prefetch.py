"""Batches made ahead: while a step computes, a thread makes the next batch. Which batch a step gets does not change."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

Batch = dict[str, Tensor]


class Prefetcher:
    """Makes batches by number, those that follow ahead of time.

    Args:
        make: A pure function of the number; it runs in another thread.
        ahead: How many are made ahead; 0 makes each when it is asked for.
    """

    def __init__(self, make: Callable[[int], Batch], ahead: int) -> None:
        self._make, self._ahead = make, ahead
        self._pending: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches") if ahead else None

    def get(self, index: int) -> Batch:
        """The batch of a number; what its making raised is raised here."""
        if self._thread is None:
            return self._make(index)
        for number in range(index, index + 1 + self._ahead):
            if number not in self._pending:
                self._pending[number] = self._thread.submit(self._make, number)
        return self._pending.pop(index).result()

    def close(self) -> None:
        """Drop what nobody asked for, and wait for the batch in the making."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
