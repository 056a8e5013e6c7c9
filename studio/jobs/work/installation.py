"""Whether a worker would make what was planned: the same model, the same sources, the same libraries."""

from typing import TYPE_CHECKING

from worldmodel.errors import BadCheckpoint, BadRequest

if TYPE_CHECKING:
    from studio.jobs.units import Setup

_AGAIN = "Install the same version everywhere, or plan the batch again with what is here: run its job file."


def check_installation(setup: "Setup") -> None:
    """Refuse to work under keys that promise something else; what a setup leaves empty is not checked.

    Raises:
        BadCheckpoint: if the model has other files than those that were planned with.
        BadRequest: if the sources or a library differ here, as they may on another machine or after an update.
    """
    from studio.jobs.plan.identity import library_versions, model_files, sources_digest

    if setup.model_digest and model_files(setup.model).digest != setup.model_digest:
        raise BadCheckpoint(
            f"the model '{setup.model}' has other files here than when the batch was planned. "
            "Bring it back as it was, or run the job file again: with another model, all units are new."
        )
    if setup.sources_digest and sources_digest() != setup.sources_digest:
        raise BadRequest(f"Detour's sources differ here from those that the batch was planned with. {_AGAIN}")
    here = library_versions()
    for name, planned in setup.libraries.items():
        if here.get(name) != planned:
            raise BadRequest(
                f"{name} is {here.get(name, 'not installed')} here, and the batch was planned with {planned}; "
                f"results may differ. {_AGAIN}"
            )


def check_planner(name: str, setup: "Setup") -> None:
    """The same for a learned planner, or the file of a user's own.

    Raises:
        BadCheckpoint: if it has other files than those that were planned with.
    """
    from studio.jobs.plan.identity import planner_digest

    planned = setup.planner_digests.get(name, "")
    if planned and planner_digest(name) != planned:
        raise BadCheckpoint(
            f"planner '{name}' has other files here than when the batch was planned. Bring it back as it was, or run the "
            "job file again: with another planner, its units are new."
        )
