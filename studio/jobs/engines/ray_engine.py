"""Workers as Ray's actors, on this machine or on a cluster (extra `ray`).

Works, progress and outcomes cross between driver and actors; pictures and weights never do: an actor stores finished units in the batch's
folder itself. So that folder, the model and the recordings must have the same addresses on all nodes, and all nodes the same installation.
"""

import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from studio.jobs.engines.crew import Crew
from studio.jobs.engines.engine import WorkerPlan
from studio.jobs.engines.hands import Does, Gone, MakeWorker, OnChunk, open_worker
from studio.jobs.engines.local import LAST_WORDS, bounded_environment
from studio.jobs.engines.scratch import own_scratch
from studio.jobs.units import Outcome, Work
from worldmodel.errors import BadRequest, DetourError

OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes; what crosses is too small to enter it
ARRIVAL_S = 900.0  # for a cluster to find room, and for the model to load
ENDING_S = 10.0


class RayEngine(Crew):
    """Actors with a model each. See `studio.jobs.engines.engine.Engine`.

    Args:
        plan: For all workers.
        workers: How many.
        address: Of a cluster that runs; '' starts Ray on this machine, and stops it when the engine is closed.
        gpus_per_worker: May be a fraction; 0 stands for 1 where the batch is meant for GPUs.
        make, pause_s: As of `LocalEngine`.
    Raises:
        DetourError: if Ray is not installed, no cluster answers, or it has fewer GPUs than the workers need.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        workers: int,
        *,
        address: str = "",
        gpus_per_worker: float = 0.0,
        make: MakeWorker = open_worker,
        pause_s: float = 1.0,
    ) -> None:
        self._plan, self._make = plan, make
        self._gpus = gpus_per_worker or float(plan.setup.device == "cuda")
        self._ray, self._ours = _connected(address, workers * plan.setup.threads)
        try:
            self._check_gpus(workers)
        except BadRequest:
            self._disconnect()
            raise
        self._machines = sorted({node["NodeManagerHostname"] for node in self._ray.nodes() if node["Alive"]})
        super().__init__(self._start_actor, "ray", workers, pause_s)

    def close(self, *, now: bool = False) -> None:
        """End all actors: those at work when theirs is done, or at once; and Ray, if it was started for them."""
        super().close(now=now)
        self._disconnect()

    def facts(self) -> dict[str, Any]:
        """Name, workers, threads, machines, GPUs of a worker, Ray's version."""
        return {
            "name": "ray",
            "workers": self.workers,
            "threads": self._plan.setup.threads,
            "machines": list(self._machines),
            "gpus_per_worker": self._gpus,
            "ray": self._ray.__version__,
        }

    def _start_actor(self, _number: int, name: str) -> "Actor":
        try:
            return Actor(self._ray, self._plan, name, self._make, self._gpus)
        except (self._ray.exceptions.RayError, ValueError, ConnectionError) as error:
            raise Gone(f"its actor cannot be started: {_short(error)}") from error

    def _check_gpus(self, workers: int) -> None:
        there = float(self._ray.cluster_resources().get("GPU", 0.0))
        if self._gpus * workers > there:
            raise BadRequest(
                f"{workers} workers with {self._gpus:g} GPUs each are wanted, and Ray sees {there:g} GPUs. "
                "Use fewer workers, a smaller --gpus-per-worker, or --device cpu."
            )

    def _disconnect(self) -> None:
        if self._ours:
            self._ours = False
            self._ray.shutdown()


class Actor:
    """One actor as the driver sees it."""

    def __init__(self, ray: Any, plan: WorkerPlan, name: str, make: MakeWorker, gpus: float) -> None:
        self._ray = ray
        remote = ray.remote(RayWorker).options(
            num_cpus=plan.setup.threads,
            num_gpus=gpus,
            max_restarts=0,  # the crew starts another one, so that the loss is seen
            max_task_retries=0,
            runtime_env={"env_vars": bounded_environment(plan.setup.threads)},
        )
        self._actor = remote.remote(make, plan, name)

    def arrive(self) -> None:
        """Wait until its model is loaded."""
        problem = self._get(self._actor.arrive.remote(), ARRIVAL_S)
        if problem:
            raise Gone(problem)

    def check(self) -> None:
        """Whether it answers."""
        self._get(self._actor.check.remote(), ENDING_S)

    def do(self, work: Work, skip: frozenset[str], on_chunk: OnChunk) -> tuple[Outcome, ...]:
        """Have a work done; progress and outcomes come as a stream of small values."""
        for reference in self._actor.do.options(num_returns="streaming").remote(work, skip):
            told = self._get(reference)
            if isinstance(told, Told):
                on_chunk(told.chunk, told.chunks)
            else:
                return tuple(told)
        raise Gone("its answer ended too soon")

    def end(self) -> None:
        """Have it clean up."""
        with suppress(Gone):
            self._get(self._actor.end.remote(), ENDING_S)

    def kill(self) -> None:
        """End its process at once."""
        self._ray.kill(self._actor, no_restart=True)

    def release(self) -> None:
        """Nothing is left of a killed actor."""
        self.kill()

    def _get(self, reference: Any, timeout_s: float | None = None) -> Any:
        try:
            return self._ray.get(reference, timeout=timeout_s)
        except self._ray.exceptions.GetTimeoutError as error:
            raise Gone(f"no answer within {timeout_s:g} s; perhaps the cluster has no room for it") from error
        except self._ray.exceptions.RayError as error:
            raise Gone(_short(error)) from error


class Told(tuple[int, int]):
    """Progress, from actor to driver: the chunk just made, and how many there will be."""

    @property
    def chunk(self) -> int:
        """From 0."""
        return self[0]

    @property
    def chunks(self) -> int:
        """In all."""
        return self[1]


class RayWorker:
    """The actor: one worker in a thread of its own, so that progress can be told while it works."""

    def __init__(self, make: MakeWorker, plan: WorkerPlan, name: str) -> None:
        self._make, self._plan, self._name = make, plan, name
        self._thread = ThreadPoolExecutor(1)
        self._scratch = own_scratch(plan.scratch)
        self._worker: Does | None = None

    def arrive(self) -> str:
        """Load the model; '' or what is wrong."""
        from dataclasses import replace

        plan = replace(self._plan, scratch=str(self._scratch.__enter__()))
        try:
            self._worker = self._thread.submit(self._make, plan, self._name).result()
        except DetourError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Answer."""

    def do(self, work: Work, skip: frozenset[str]) -> Iterator[Told | tuple[Outcome, ...]]:
        """Progress, then the outcomes."""
        assert self._worker is not None
        told: SimpleQueue[Told | None] = SimpleQueue()
        done = self._thread.submit(self._worker.do, work, skip, lambda chunk, chunks: told.put(Told((chunk, chunks))))
        done.add_done_callback(lambda _done: told.put(None))
        while (item := told.get()) is not None:
            yield item
        yield done.result()

    def end(self) -> None:
        """Close the worker, and remove what is not finished."""
        if self._worker is not None:
            self._thread.submit(self._worker.close).result()
        self._scratch.__exit__(None, None, None)


def _connected(address: str, cores: int) -> tuple[Any, bool]:
    """Ray, and whether the connection is ours to end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # a late call must not start Ray again
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not address and "ray" not in sys.modules:
        _protect()
    try:
        import ray
    except ImportError as error:
        raise BadRequest(
            "Ray is not installed; --engine ray needs the extra 'ray'. Run `pip install 'detour[ray]'`, or use --engine local."
        ) from error
    if ray.is_initialized():
        return ray, False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    here: dict[str, Any] = {"num_cpus": cores, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    with _own_signals():
        try:
            ray.init(address=address or "local", **quiet, **({} if address else here))
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            what = f"no Ray cluster answers at '{address}'" if address else "Ray does not start on this machine"
            raise DetourError(
                f"{what}: {_short(error)}. A cluster that runs the same Ray ({ray.__version__}) is needed. Check --address and "
                "`ray status`, set RAY_AUTH_MODE=token if the cluster asks for its token, or use --engine local."
            ) from error
    return ray, True


def _protect() -> None:
    """A token of its own for the Ray that will start here, before it is imported; else Ray would leave one in the home folder."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if os.environ["RAY_AUTH_MODE"] == "token" and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what it means stays the driver's decision."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _short(error: Exception) -> str:
    from click import unstyle

    return " ".join(unstyle(str(error)).split())[:LAST_WORDS]
