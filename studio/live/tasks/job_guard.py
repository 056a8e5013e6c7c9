"""What a visitor's job file may name: clips, models, planners and paths that are open to them, and no more work than fits."""

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policy.foreign.sources import is_foreign
from studio.live.study.studies import OPEN, ROOT
from studio.web.site import MINE
from worldmodel.errors import BadRequest, UnknownName

if TYPE_CHECKING:
    from studio.web.site import Site

MOST_UNITS = {True: 10_000, False: 24}  # on a machine of one's own and on a shared one
MOST_SECONDS = {True: 3600.0, False: 16.0}
MOST_OF_SHARED = {"samples": 16, "steps": 32, "batch": 4, "planners": 8}
Content = dict[str, Any]


def shipped_name(site: "Site") -> str:
    """What the dataset is called that pages open with: seen from the source where it lies in it."""
    clips = site.clips.resolve()
    return str(clips.relative_to(ROOT)) if clips.is_relative_to(ROOT) else str(clips)


def guarded(content: Mapping[str, Any], site: "Site", session: str) -> Content:
    """A job as it will run for this visitor: names made into paths, and refused where they are not open.

    It is called before anything else looks at the names, so that no answer tells what lies elsewhere on the machine. What is
    no job at all is left to `studio.jobs.plan.job_file.job_of` to say.

    Args:
        content: Of the job file, plain data of any shape.
        site: Whose clips and model may be used.
        session: The visitor's.
    Raises:
        BadDataset: if a dataset is not there, or not open to the visitor.
        UnknownName: for a planner that does not exist.
        BadRequest: if the job names what is not open to visitors from elsewhere, or asks for more than they may.
    """
    ready = dict(content)
    ready["model"] = _model(content.get("model"), site)
    parts = [ready]
    if isinstance(content.get("jobs"), list):
        ready["jobs"] = [dict(part) if isinstance(part, dict) else part for part in content["jobs"]]
        parts += [part for part in ready["jobs"] if isinstance(part, dict)]
    for part in parts:
        _guard_part(part, site, session)
    if not site.any_folder:
        _guard_shared(ready)
    limits = dict(ready["limits"]) if isinstance(ready.get("limits"), dict) else {}
    most, asked = MOST_UNITS[site.any_folder], limits.get("units")
    limits["units"] = min(asked, most) if isinstance(asked, int) and not isinstance(asked, bool) else most
    if isinstance(ready.get("limits", {}), dict):
        ready["limits"] = limits
    return ready


def _model(name: object, site: "Site") -> object:
    if site.any_folder and name:
        return _here(name) if isinstance(name, str) and not name.startswith("wan:") else name
    if name and not (isinstance(name, str) and Path(ROOT / name).resolve() == site.model.folder.resolve()):
        raise BadRequest("the job names a model, and this studio, which others can reach, has one. Leave out `model`.")
    return str(site.model.folder.resolve())


def _guard_part(part: Content, site: "Site", session: str) -> None:
    """Clips, planners and files of one part, in place."""
    if isinstance(part.get("clips"), list):
        part["clips"] = [
            {**one, "dataset": _dataset(one["dataset"], site, session)} if _names(one, "dataset") else one
            for one in part["clips"]
        ]
    for name in part["planners"] if isinstance(part.get("planners"), list) else ():
        if not site.any_folder and name not in OPEN:
            _refuse_planner(str(name))
    sweep = part.get("sweep")
    if isinstance(sweep, dict) and isinstance(sweep.get("actions"), list):
        part["sweep"] = {**sweep, "actions": [_action(one, site) for one in sweep["actions"]]}


def _names(one: object, field: str) -> bool:
    return isinstance(one, dict) and isinstance(one.get(field), str)


def _dataset(name: str, site: "Site", session: str) -> str:
    if name in ("", shipped_name(site)):
        return glob.escape(str(site.clips.resolve()))
    if name.startswith(MINE) or not site.any_folder:
        return glob.escape(str(site.dataset(session, name).path.resolve()))
    return name if "://" in name else _here(name)


def _action(one: object, site: "Site") -> object:
    if not isinstance(one, dict) or "file" not in one:
        return one
    if not site.any_folder:
        raise BadRequest(
            "the job reads a path to drive from a file, and this studio can be reached from other machines. Use `constant`, or "
            "draw the path under Imagine."
        )
    return {**one, "file": _here(one["file"])} if isinstance(one["file"], str) else one


def _here(name: str) -> str:
    """A path as an absolute one, seen from the studio's working folder."""
    return name if "://" in name else os.path.abspath(os.path.expanduser(name))


def _refuse_planner(name: str) -> None:
    if not is_foreign(name):
        raise UnknownName("planner", name[:80], OPEN)
    raise BadRequest(
        f"planner '{name[:80]}' is a policy of your own, which means running your code. This studio can be reached from other "
        "machines and runs none; open it on your own machine."
    )


def _guard_shared(content: Mapping[str, Any]) -> None:
    """Sizes that decide how long a shared machine is busy."""
    for name, value, most in _sizes(content):
        if isinstance(value, int | float) and value > most:
            raise BadRequest(
                f"`{name}` is {value:g}; this studio is shared, and {most:g} is the most here. Choose less, or run the job on "
                "your own machine."
            )
    execution = content.get("execution")
    if isinstance(execution, dict) and (execution.get("threads", 1) != 1 or execution.get("device", "cpu") != "cpu"):
        raise BadRequest(
            "the job chooses threads or a device, and this studio is shared. Leave them out of `execution`."
        )


def _sizes(content: Mapping[str, Any]) -> Iterator[tuple[str, object, float]]:
    """(name, value, most) of all that is bounded where others can reach the studio."""
    parts = [content, *(part for part in _list(content.get("jobs")) if isinstance(part, dict))]
    for part in parts:
        yield "samples", part.get("samples"), MOST_OF_SHARED["samples"]
        yield "planners", len(_list(part.get("planners"))), MOST_OF_SHARED["planners"]
        sweep = part.get("sweep")
        if isinstance(sweep, dict):
            yield from (("seconds", value, MOST_SECONDS[False]) for value in _list(sweep.get("seconds")))
            yield from (("steps", value, MOST_OF_SHARED["steps"]) for value in _list(sweep.get("steps")))
    execution = content.get("execution")
    if isinstance(execution, dict):
        yield "batch", execution.get("batch"), MOST_OF_SHARED["batch"]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
