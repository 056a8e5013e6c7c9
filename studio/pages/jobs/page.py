"""The Jobs tab: batches in the background, one list of all that this visitor started, how far each is, and its results."""

from collections.abc import Callable, Sequence
from typing import Any

from studio.live.study import shown as study_shown
from studio.live.tasks import batch_shown, batches, job_form
from studio.live.tasks import shown as jobs_shown
from studio.live.tasks.batches import BATCH
from studio.live.tasks.job_form import FIELDS, Form
from studio.live.tasks.orders import TaskView
from studio.pages.jobs.asking import asking, job_said, note, said, wire_asking
from studio.pages.jobs.results import wire_results
from studio.pages.wires import QUIET, Wires, session_of
from studio.web import shown
from studio.web.site import Site
from worldmodel.errors import DetourError

BEAT_S = 1.0
INTRO = (
    "Many futures in the background, with <code>detour jobs run</code>: every clip with every seed, instruction and change. What is "
    "done is kept; a stopped batch goes on where it was. Batches end when this tab is closed."
)
Parts = dict[str, Any]


def build(site: Site, wires: Wires) -> None:
    """Arrange the tab and wire it."""
    import gradio as gr
    from gradio.context import Context

    tab = Context.block
    gr.HTML(f"<p>{INTRO}</p>", label="About jobs")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            ask = asking(site)
        with gr.Column(scale=3, min_width=320):
            watch = _watching()
    wire_asking(site, wires, ask)
    _wire_starting(site, wires, ask, watch)
    _wire_watching(site, watch, tab)
    wire_results(site, watch, lambda session, task: _now(site, session, task, watch), [watch[name] for name in NOW])


def _watching() -> Parts:
    """The list, the task that is looked at, and its results."""
    import gradio as gr

    listed = gr.HTML(jobs_shown.list_of(()), label="Tasks", elem_id="jobs-list", min_height=90)
    with gr.Group(visible=False) as detail:
        task = gr.Dropdown([], label="Look at", interactive=True, elem_id="jobs-task")
        with gr.Row():
            stop = gr.Button("Stop", variant="stop", size="sm", min_width=80, elem_id="jobs-stop")
            on = gr.Button("Go on", size="sm", min_width=80, elem_id="jobs-on")
            forget = gr.Button("Remove", size="sm", min_width=80, elem_id="jobs-remove")
    status = gr.HTML(label="Progress", elem_id="jobs-status", visible=False)
    units = gr.HTML(label="Units", elem_id="jobs-units", visible=False)
    with gr.Accordion("Command, and what it says", open=False, visible=False) as said:
        log = gr.HTML(label="Log")
        command = gr.Code(
            label="The same on the command line",
            language=None,
            interactive=False,
            lines=1,
            max_lines=6,
            wrap_lines=True,
        )
    return {
        "list": listed, "detail": detail, "task": task, "stop": stop, "on": on, "forget": forget, "status": status,
        "units": units, "said": said, "log": log, "command": command, **_results(), "timer": gr.Timer(BEAT_S, active=False),
    }  # fmt: skip


def _results() -> Parts:
    """What came out."""
    import gradio as gr

    with gr.Column(visible=False) as results:
        result = gr.Dropdown([], label="Result", interactive=True, allow_custom_value=True, elem_id="jobs-result")
        with gr.Row():
            show = gr.Button("Show it here", size="sm", min_width=80, elem_id="jobs-show")
            pack = gr.Button("Pack all of it (zip)", size="sm", min_width=80, elem_id="jobs-pack")
            get = gr.DownloadButton("Download", size="sm", min_width=80, visible=False, elem_id="jobs-get")
            score = gr.Button("Score it", size="sm", min_width=80, elem_id="jobs-score")
        report = gr.HTML(label="Report", elem_id="jobs-report")
    posters = gr.HTML(label="Newest units", elem_id="jobs-posters")
    return {
        "results": results, "result": result, "show": show, "pack": pack, "get": get, "score": score, "report": report,
        "posters": posters, "seen": gr.State(""),
    }  # fmt: skip


NOW = (
    "list", "detail", "task", "stop", "on", "forget", "status", "units", "said", "log", "command", "results", "result", "score",
    "posters", "seen", "timer",
)  # fmt: skip


def _now(
    site: Site, session: str, task_id: str | None, watch: Parts, result: str | None = None, seen: str = ""
) -> Parts:
    """Everything as it stands; `task_id` is the task that is looked at, the newest one where it is gone; `seen` says which
    posters the page has."""
    import gradio as gr

    views = site.tasks.of(session)
    if not views:
        hidden = {watch[name]: gr.update(visible=False) for name in ("detail", "status", "units", "said", "results")}
        return {**hidden, watch["list"]: jobs_shown.list_of(()), watch["timer"]: gr.Timer(active=False)}
    view = next((one for one in views if one.id == task_id), views[0])
    found = batches.results_of(view)
    return {
        watch["list"]: jobs_shown.list_of(views),
        watch["detail"]: gr.Group(visible=True),
        watch["task"]: gr.Dropdown([(jobs_shown.name_of(one), one.id) for one in views], value=view.id),
        watch["stop"]: _stop_button(view),
        watch["on"]: gr.Button(interactive=view.state in ("stopped", "failed")),
        watch["forget"]: gr.Button(interactive=view.ended),
        watch["status"]: gr.HTML(_status(view), visible=True),
        watch["units"]: gr.HTML(_units(view), visible=True),
        watch["said"]: gr.Accordion(visible=True),
        watch["log"]: study_shown.log_of(view),
        watch["command"]: jobs_shown.commands_of(view),
        watch["results"]: gr.Column(visible=bool(found)),
        watch["result"]: gr.Dropdown(found, value=_kept(result, found)),
        watch["score"]: gr.Button(visible=view.order.kind == BATCH, interactive=view.ended),
        **_posters(view, watch, seen),
        watch["timer"]: gr.Timer(active=any(not one.ended for one in views)),
    }  # fmt: skip


def _status(view: TaskView) -> str:
    if view.order.kind != BATCH:
        return study_shown.status_of(view)
    return batch_shown.status_of(view) + batch_shown.notes_of(view)


def _units(view: TaskView) -> str:
    return batch_shown.units_table(view) if view.order.kind == BATCH else jobs_shown.units_of(view)


def _posters(view: TaskView, watch: Parts, seen: str) -> Parts:
    """Pictures of what is done; nothing while they stay the same."""
    if view.order.kind != BATCH:
        return {watch["posters"]: "", watch["seen"]: ""}
    now = f"{view.id}: {batches.done_in(view)}"
    return {} if now == seen else {watch["posters"]: batch_shown.posters_of(view), watch["seen"]: now}


def _stop_button(view: TaskView) -> Any:
    """Once to finish what runs, twice to end now, as Ctrl-C does."""
    import gradio as gr

    again = view.state == "stopping" and view.order.gentle
    return gr.Button("Stop now" if again else "Stop", interactive=again or view.state in ("waiting", "running"))


def _kept(result: str | None, found: Sequence[tuple[str, str]]) -> str | None:
    """The result that is looked at, else the first."""
    numbers = [number for _, number in found]
    return result if result in numbers else next(iter(numbers), None)


def _wire_starting(site: Site, wires: Wires, ask: Parts, watch: Parts) -> None:
    import gradio as gr

    def start(
        request: gr.Request, keep: str | None, workers: float | None, text: str, written: Form, *values: Any
    ) -> Parts:
        session, many = session_of(request), int(workers or 1)
        changes: Parts = {}
        try:
            job, changes = job_said(site, ask, text, written, values)
            plan = batches.planned(job, site, session, many)
            order = batches.batch_order(job, site, session, workers=many, keep=keep or "", plan=plan)
            task = site.tasks.start(session, order)
            link = job_form.link_of(job_form.form_in(dict(zip(FIELDS, values, strict=True))))
        except DetourError as error:
            return {**changes, ask["note"]: note(error)}
        told = gr.HTML(batch_shown.plan_of(plan), visible=True)
        return {**changes, **_now(site, session, task, watch), ask["note"]: told, wires.here: link.query}

    outputs = [*(watch[name] for name in NOW), ask["yaml"], ask["written"], ask["note"], wires.here]
    ask["go"].click(
        start, [ask["keep"], ask["workers"], *said(ask)], outputs, show_progress="hidden", concurrency_limit=2,
        api_visibility="private",
    )  # fmt: skip


def _wire_watching(site: Site, watch: Parts, tab: Any) -> None:
    import gradio as gr

    outputs = [watch[name] for name in NOW]
    looked = [watch["task"], watch["result"], watch["seen"]]

    def look(task_id: str | None, result: str | None, seen: str, request: gr.Request) -> Parts:
        return _now(site, session_of(request), task_id, watch, result, seen)

    def acting(act: Callable[[str, str], None]) -> Callable[..., Parts]:
        def acted(task_id: str | None, request: gr.Request) -> Parts:
            session = session_of(request)
            try:
                act(session, task_id or "")
            except DetourError as error:
                return {watch["status"]: gr.HTML(shown.problem(str(error)), visible=True)}
            return _now(site, session, task_id, watch)

        return acted

    watch["stop"].click(acting(site.tasks.stop), watch["task"], outputs, **QUIET)
    watch["on"].click(acting(site.tasks.resume), watch["task"], outputs, **QUIET)
    watch["forget"].click(acting(site.tasks.forget), watch["task"], outputs, **QUIET)
    watch["task"].input(look, looked, outputs, **QUIET)
    watch["timer"].tick(look, looked, outputs, **QUIET)
    tab.select(look, looked, outputs, **QUIET)
