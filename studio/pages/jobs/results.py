"""The results of the Jobs tab: shown, scored, packed for download."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.live.study.studies import MOST_BYTES
from studio.live.tasks import batch_shown, batches
from studio.live.tasks import shown as jobs_shown
from studio.live.tasks.batches import BATCH
from studio.live.tasks.orders import TaskView
from studio.pages.wires import QUIET, session_of
from studio.web import shown
from studio.web.site import Site
from worldmodel.errors import BadRequest, DetourError

MOST_PACKED = 10 * MOST_BYTES
Parts = dict[str, Any]


def wire_results(site: Site, watch: Parts, now: Callable[[str, str], Parts], outputs: list[Any]) -> None:
    """What is chosen is shown, scored or packed.

    Args:
        site: Whose tasks.
        watch: The parts of the page.
        now: Everything as it stands, for a session and a task.
        outputs: What `now` changes.
    """
    import gradio as gr

    chosen = [watch["task"], watch["result"]]

    def show(task_id: str | None, name: str | None, request: gr.Request) -> str:
        try:
            return _shown(*_chosen(site, session_of(request), task_id, name))
        except DetourError as error:
            return shown.problem(str(error))

    def score(task_id: str | None, request: gr.Request) -> Parts:
        session = session_of(request)
        try:
            task = site.tasks.start(session, batches.score_order(site.tasks.view(session, task_id or "")))
        except DetourError as error:
            return {watch["report"]: shown.problem(str(error))}
        return {**now(session, task), watch["report"]: ""}

    def pack(task_id: str | None, request: gr.Request) -> Parts:
        session = session_of(request)
        try:
            packed = _packed(site.tasks.view(session, task_id or ""), site.visitors.folder(session))
        except DetourError as error:
            return {watch["report"]: shown.problem(str(error))}
        return {watch["get"]: gr.DownloadButton(value=str(packed), visible=True), watch["report"]: ""}

    def other() -> tuple[str, Any]:
        return "", gr.DownloadButton(value=None, visible=False)

    watch["result"].input(lambda: "", None, watch["report"], **QUIET)
    watch["task"].input(other, None, [watch["report"], watch["get"]], **QUIET)
    watch["show"].click(show, chosen, watch["report"], **QUIET)
    watch["score"].click(score, watch["task"], [*outputs, watch["report"]], **QUIET)
    watch["pack"].click(
        pack, watch["task"], [watch["get"], watch["report"]], show_progress="hidden", concurrency_limit=1,
        api_visibility="private",
    )  # fmt: skip


def _chosen(site: Site, session: str, task_id: str | None, name: str | None) -> tuple[TaskView, str]:
    """A result of one of the visitor's tasks.

    Raises:
        BadRequest: if there is none.
    """
    view = site.tasks.view(session, task_id or "")
    if name is None or name not in [one for _, one in batches.results_of(view)]:
        raise BadRequest("no result is chosen. Choose one under 'Result'.")
    return view, name


def _shown(view: TaskView, name: str) -> str:
    if view.order.kind != BATCH:
        return jobs_shown.result_of(view.units[int(name)])
    return batch_shown.index_of(view) if name == "index" else batch_shown.unit_of(view, name)


def _packed(view: TaskView, folder: Path) -> Path:
    """What a task wrote as one file for download, as it is now.

    Raises:
        BadRequest: if there is nothing, or too much.
    """
    out = view.units[0].unit.out
    if out is None or not out.exists() or not view.ended:
        raise BadRequest("this task is still at work, or has written nothing. Wait for its end, or stop it.")
    if out.is_file():
        return out
    if sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) > MOST_PACKED:
        raise BadRequest(
            f"the results are larger than {MOST_PACKED} bytes. Run the job on your own machine, or name a folder that stays."
        )
    place = folder / "exports" / f"{view.id}-{uuid.uuid4().hex[:8]}"
    place.mkdir(parents=True)
    made = Path(shutil.make_archive(str(place / f".{out.name}"), "zip", out.parent, out.name))
    return made.replace(place / f"{out.name}.zip")
