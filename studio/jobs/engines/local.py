"""Workers as processes of this machine."""

import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from studio.jobs.engines.crew import Crew
from studio.jobs.engines.engine import WorkerPlan
from studio.jobs.engines.hands import Gone, MakeWorker, OnChunk, open_worker
from studio.jobs.engines.local_worker import FAILED, OUTCOMES
from studio.jobs.engines.scratch import sweep
from studio.jobs.units import Outcome, Work

THREADS_OF = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")  # each read once, when its library is loaded
LAST_WORDS = 600  # letters
PATIENCE_S = 10.0  # for a process that was told to end, or must end because its pipe has closed


def bounded_environment(threads: int) -> dict[str, str]:
    """Variables that hold every numerical library to so many threads."""
    return {f"{name}_NUM_THREADS": str(threads) for name in THREADS_OF} | {"TOKENIZERS_PARALLELISM": "false"}


class LocalEngine(Crew):
    """Processes with a model each; on GPUs they take the devices in turn. See `studio.jobs.engines.engine.Engine`.

    Args:
        plan: For all workers.
        workers: How many.
        make: What does the works; anything but the real worker is for tests.
        pause_s: Before a worker that was lost twice for nothing is replaced; then twice as long each time.
    """

    def __init__(self, plan: WorkerPlan, workers: int, *, make: MakeWorker = open_worker, pause_s: float = 1.0) -> None:
        self._plan, self._make = plan, make
        self._devices = _devices() if plan.setup.device == "cuda" else ()
        super().__init__(self._start_process, "local", workers, pause_s)

    def close(self, *, now: bool = False) -> None:
        """End all workers: those at work when theirs is done, or at once; what killed ones left is removed."""
        super().close(now=now)
        sweep(self._plan.scratch)

    def facts(self) -> dict[str, Any]:
        """Name, workers, threads, machine, devices."""
        return {
            "name": "local",
            "workers": self.workers,
            "threads": self._plan.setup.threads,
            "machines": [platform.node()],
            "cores": os.cpu_count(),
            "devices": list(self._devices),
        }

    def _start_process(self, number: int, name: str) -> "Process":
        environment = bounded_environment(self._plan.setup.threads)
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[number % len(self._devices)]
        return Process(self._plan, name, self._make, environment)


class Process:
    """One worker's process, a pipe to it, and what it says on standard output and error.

    Raises:
        Gone: if it cannot be started.
    """

    def __init__(self, plan: WorkerPlan, name: str, make: MakeWorker, environment: dict[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self._pipe, theirs = Pipe()
        root = str(Path(__file__).parents[3])
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "studio.jobs.engines.local_worker", str(theirs.fileno())],
                stdin=subprocess.PIPE,  # held open, never written to: the worker's lifeline
                stdout=self._said,
                stderr=self._said,
                pass_fds=(theirs.fileno(),),
                env=os.environ | environment | {"PYTHONPATH": paths},
                process_group=0,  # Ctrl-C in a terminal does not reach it
            )
        except OSError as error:
            self._pipe.close()
            raise Gone(f"its process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._send(sys.path)
        self._send((make, plan, name))

    def arrive(self) -> None:
        """Wait until its model is loaded."""
        kind, *values = self._receive()
        if kind == FAILED:
            raise Gone(str(values[0]))

    def check(self) -> None:
        """Whether it lives."""
        if self._process.poll() is not None:
            raise Gone(self._why())

    def do(self, work: Work, skip: frozenset[str], on_chunk: OnChunk) -> tuple[Outcome, ...]:
        """Have a work done."""
        self._send((work, skip))
        while True:
            kind, *values = self._receive()
            if kind == OUTCOMES:
                return tuple(values[0])
            on_chunk(*values)

    def end(self) -> None:
        """Tell it that there is no more work."""
        with suppress(OSError):
            self._pipe.send(None)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def release(self) -> None:
        """Close what is left of it."""
        self.kill()
        self._process.wait()
        self._pipe.close()
        self._said.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError as error:
            raise Gone(self._why()) from error

    def _receive(self) -> tuple[Any, ...]:
        try:
            return tuple(self._pipe.recv())
        except (EOFError, OSError) as error:
            raise Gone(self._why()) from error

    def _why(self) -> str:
        """How it ended, and its last words."""
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            code = -signal.SIGKILL
        ended = f"ended with status {code}" if code >= 0 else f"killed by signal {-code}"
        if code == -signal.SIGKILL:
            ended += ", perhaps for want of memory"
        words = self._last_words()
        return f"{ended}: {words}" if words else ended

    def _last_words(self) -> str:
        size = os.fstat(self._said.fileno()).st_size
        text = os.pread(self._said.fileno(), LAST_WORDS, max(0, size - LAST_WORDS)).decode(errors="replace")
        return " | ".join(line.strip() for line in text.splitlines() if line.strip())


def _devices() -> tuple[str, ...]:
    """GPUs of this machine, as the environment names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(filter(None, chosen.split(",")))
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))
