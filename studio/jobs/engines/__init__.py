"""Who does the work: processes of this machine, or Ray's actors on many."""

from studio.jobs.engines.engine import Engine, EngineChoice, WorkerPlan


def make_engine(choice: EngineChoice, plan: WorkerPlan) -> Engine:
    """An engine whose workers come up at once, each of them loading the model; `close` it in the end.

    Raises:
        DetourError: if Ray is not installed, its cluster cannot be reached, or has too few GPUs.
    """
    if choice.name == "ray":
        from studio.jobs.engines.ray_engine import RayEngine

        return RayEngine(plan, choice.workers, address=choice.address, gpus_per_worker=choice.gpus_per_worker)
    from studio.jobs.engines.local import LocalEngine

    return LocalEngine(plan, choice.workers)
