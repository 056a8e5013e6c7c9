"""Batches that visitors ask for: what a job file expands to and will take, and the command that does it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.live.study.studies import LONGEST_S, new_place
from studio.live.tasks.followed import Followed, follower_of
from studio.live.tasks.job_form import HERE, dumped
from studio.live.tasks.job_guard import guarded, shipped_name
from studio.live.tasks.orders import Order, TaskView, Unit
from studio.web.site import DATASETS, MINE
from studio.yaml_files import yaml_of
from worldmodel.errors import BadRequest, BadTable

if TYPE_CHECKING:
    from studio.jobs.plan.estimates import Estimate
    from studio.jobs.plan.job_file import Job
    from studio.jobs.units import Batch
    from studio.web.site import Site

BATCH = "jobs"  # kind of an order
JOB_FILE = "job.yaml"
MOST_CHOICES = 500  # results that are offered one by one


@dataclass(frozen=True, eq=False, kw_only=True)
class Planned:
    """A job that could be started.

    Attributes:
        text: The job file as it will run, with the paths that names stand for.
        batch: Expanded.
        estimate: Time, memory and bytes.
    """

    text: str
    batch: "Batch"
    estimate: "Estimate"


def planned(text: str, site: "Site", session: str, workers: int = 1) -> Planned:
    """What the job on the page expands to; nothing is run.

    Raises:
        BadTable: if it is no job file, or clips cannot be used; all that is wrong is named.
        BadDataset, UnknownName, BadRequest: as `guarded`.
    """
    from studio.jobs.plan.estimates import estimate
    from studio.jobs.plan.expansion import expand

    content = yaml_of(text, HERE, "a job file").content
    if not isinstance(content, dict):
        raise BadTable(f"{HERE} holds no `field: value` lines. Use the controls above, or write e.g. `clips:`.")
    ready = guarded(content, site, session)
    job = _checked(text, ready, site)
    try:
        batch = expand(job)
    except BadRequest as error:
        raise BadRequest(_with_names(str(error), site, session)) from error
    return Planned(text=dumped(ready), batch=batch, estimate=estimate(batch, workers))


def _with_names(message: str, site: "Site", session: str) -> str:
    """What is said about clips, with the names that the page has for their folders."""
    uploads = (site.visitors.folder(session) / DATASETS).resolve()
    return message.replace(str(site.clips.resolve()), shipped_name(site)).replace(f"{uploads}/", MINE)


def _checked(text: str, ready: dict[str, object], site: "Site") -> "Job":
    """The job, whose problems are told with the lines of the page; where others can reach the studio nothing that it names is
    looked for before `guarded` has put paths in place of names."""
    from studio.jobs.plan.job_file import job_from, job_of

    if site.any_folder:
        job_of(text, HERE)
    return job_from(ready, HERE)


def batch_order(
    text: str, site: "Site", session: str, *, workers: int = 1, keep: str = "", plan: Planned | None = None
) -> Order:
    """What does the job on the page in the background, in the visitor's folder or, where that is open, in one that stays.

    Args:
        text: The job file.
        site: Whose clips and model are used.
        session: The visitor's.
        workers: Processes side by side.
        keep: A folder; a batch that was begun there goes on. '' for none.
        plan: What `planned` said of the same text; None to ask it.
    Raises:
        As `planned`; BadRequest if `keep` is not open to the visitor.
    """
    from studio.jobs.unit_words import unit_words

    ready = plan or planned(text, site, session, workers)
    place = new_place(site.visitors.folder(session) / "runs")
    out = _kept(keep, site) if keep.strip() else place / "batch"
    place.mkdir(parents=True)
    (place / JOB_FILE).write_text(ready.text, encoding="utf-8")
    words = (
        "jobs", "run", "--json", f"--out={out}", f"--workers={workers if site.any_folder else 1}",
        "--", str(place / JOB_FILE),
    )  # fmt: skip
    count = len(ready.batch.units)
    order = Order(
        kind=BATCH,
        title=f"Batch of {count} unit{'s' * (count != 1)}",
        units=(Unit(label="batch", words=words, out=out),),
        keeps=bool(keep.strip()),
        gentle=True,
        parts={unit.key: unit_words(unit.request) for unit in ready.batch.units},
    )
    return order if site.any_folder else replace(order, limit_s=LONGEST_S)


def _kept(keep: str, site: "Site") -> Path:
    if not site.any_folder:
        raise BadRequest(
            "a folder on the studio's machine is named, and this studio can be reached from other machines. Leave it empty and "
            "download the results."
        )
    return Path(os.path.expanduser(keep.strip())).absolute()


def score_order(view: TaskView) -> Order:
    """Scores of a finished batch against what really followed, as `detour jobs score`.

    Raises:
        BadRequest: if it has no folder.
    """
    out = folder_of(view)
    if out is None:
        raise BadRequest("this task wrote no batch. Choose a finished one.")
    unit = Unit(label="scores", words=("jobs", "score", "--", str(out)), out=out / "scores.json")
    return Order(kind="score", title=f"Scores of task {view.id}", units=(unit,), keeps=True, limit_s=LONGEST_S)


def folder_of(view: TaskView) -> Path | None:
    """Where a batch lies that has begun; None for other tasks."""
    out = view.units[0].unit.out if view.order.kind == BATCH else None
    return out if out is not None and (out / "batch.json").is_file() else None


def units_of(view: TaskView) -> list[tuple[str, Followed]]:
    """(label, how it stands) of every unit of a batch, in order."""
    out = view.units[0].unit.out
    if out is None:
        return []
    follower = follower_of(out)
    heard, found = follower.now(), []
    for number, (key, label) in enumerate(view.order.parts.items()):
        unit = heard.get(key) or Followed(key=key, number=number)
        if unit.state == "waiting" and follower.kept and _is_there(out, key):
            unit = replace(unit, state="done")
        found.append((label, unit))
    return found


def done_in(view: TaskView) -> int:
    """How many units of a batch are done."""
    return sum(unit.state == "done" for _, unit in units_of(view))


def _is_there(out: Path, key: str) -> bool:
    """Whether a unit is finished, as by a driver that was not heard here."""
    return (out / "units" / key[:2] / key / "unit.json").is_file()


def results_of(view: TaskView) -> list[tuple[str, str]]:
    """(label, name) of what can be opened: of a batch that has ended its index and finished units, else what commands wrote."""
    if view.order.kind == BATCH:
        if not view.ended:
            return []
        done = [(label, unit.key) for label, unit in units_of(view) if unit.state == "done"]
        index = [("All units (index)", "index")] if _has_index(view) else []
        return [*index, *done[:MOST_CHOICES]]
    return [
        (unit.unit.label, str(number))
        for number, unit in enumerate(view.units)
        if unit.state == "done" and unit.unit.out is not None and unit.unit.out.exists()
    ]


def _has_index(view: TaskView) -> bool:
    out = folder_of(view)
    return out is not None and (out / "index.html").is_file()
