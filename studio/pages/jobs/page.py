"""The Jobs tab: runs in the background, one list of all that this visitor started, how far each is, and its results."""

import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.live.study import shown as study_shown
from studio.live.study.studies import MOST_BYTES
from studio.live.tasks import batches
from studio.live.tasks import shown as jobs_shown
from studio.live.tasks.batches import FIELDS, KINDS, asked_by, batch_of, link_of
from studio.live.tasks.orders import TaskView, UnitView
from studio.pages.wires import QUIET, Wires, session_of, values_for
from studio.study_config import VARIANTS
from studio.town_sprites import KINDS as THINGS
from studio.web import shown
from studio.web.site import Site
from worldmodel.errors import BadRequest, DetourError

BEAT_S = 1.0
SCORED = ("imagine", "demo")  # whose runs hold what really followed
INTRO = "Runs in the background, one after the other: several seeds or clips at once. They end when this tab is closed."
Parts = dict[str, Any]


def build(site: Site, wires: Wires) -> None:
    """Arrange the tab and wire it."""
    import gradio as gr
    from gradio.context import Context

    tab = Context.block
    gr.HTML(f"<p>{INTRO}</p>", label="About jobs")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            ask = _asking(site)
        with gr.Column(scale=3, min_width=320):
            watch = _watching()
    _wire_asking(site, wires, ask, watch)
    _wire_watching(site, watch, tab)
    _wire_results(site, watch)


def _asking(site: Site) -> Parts:
    """What is to be run."""
    import gradio as gr

    kind = gr.Radio([(title, name) for name, title in KINDS.items()], value="imagine", label="What")
    with gr.Row():
        clips = gr.Textbox("0", label="Clips", info="0, 2-4, 5@2.5", max_length=200, min_width=140)
        seeds = gr.Textbox("0-2", label="Seeds", info="0-3, 7", max_length=200, min_width=140)
    seconds = gr.Slider(
        0.5, batches.MOST_SECONDS[site.any_folder], value=4, step=0.5, label="Seconds to imagine", buttons=[]
    )
    text = gr.Textbox(label="Instruction", info="Empty: what the driver was told in the recording.", max_length=500)
    with gr.Row(visible=False) as edit:
        variant = gr.Dropdown([(name.replace("_", " "), name) for name in VARIANTS], value="near", label="Where")
        thing = gr.Dropdown(list(THINGS), value="car", label="Which object")
    with gr.Accordion("More", open=False):
        dataset = gr.Dropdown(
            [("The clips that ship", "")], value="", label="Dataset", allow_custom_value=True, interactive=True,
            info="'mine/NAME' is an upload of yours." + " Or type a folder." * site.any_folder,
        )  # fmt: skip
    go = gr.Button("Start", variant="primary", elem_id="jobs-start")
    note = gr.HTML(label="About the batch", visible=False, elem_id="jobs-note")

    def suited(name: str) -> tuple[Any, Any, Any]:
        return gr.Slider(visible=name != "stitch"), gr.Textbox(visible=name == "imagine"), gr.Row(visible=name == "stitch")  # fmt: skip

    kind.change(suited, kind, [seconds, text, edit], **QUIET)
    return {
        "kind": kind, "dataset": dataset, "clips": clips, "seeds": seeds, "seconds": seconds, "text": text,
        "variant": variant, "thing": thing, "go": go, "note": note,
    }  # fmt: skip


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
    units = gr.HTML(label="Runs", elem_id="jobs-units", visible=False)
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
    with gr.Column(visible=False) as results:
        result = gr.Dropdown([], label="Result", interactive=True, elem_id="jobs-result")
        with gr.Row():
            show = gr.Button("Show the report here", size="sm", min_width=80, elem_id="jobs-show")
            get = gr.DownloadButton("Download (zip)", size="sm", min_width=80)
            score = gr.Button("Score it", size="sm", min_width=80, elem_id="jobs-score")
        report = gr.HTML(label="Report", elem_id="jobs-report")
    return {
        "list": listed, "detail": detail, "task": task, "stop": stop, "on": on, "forget": forget, "status": status,
        "units": units, "said": said, "log": log, "command": command, "results": results, "result": result, "show": show, "get": get,
        "score": score, "report": report, "timer": gr.Timer(BEAT_S, active=False),
    }  # fmt: skip


NOW = (
    "list", "detail", "task", "stop", "on", "forget", "status", "units", "said", "log", "command", "results", "result", "score",
    "timer",
)  # fmt: skip


def _now(site: Site, session: str, task_id: str | None, watch: Parts, result: str | None = None) -> Parts:
    """Everything as it stands; `task_id` is the task that is looked at, the newest one where it is gone."""
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
        watch["stop"]: gr.Button(interactive=view.state in ("waiting", "running")),
        watch["on"]: gr.Button(interactive=view.state in ("stopped", "failed")),
        watch["forget"]: gr.Button(interactive=view.ended),
        watch["status"]: gr.HTML(study_shown.status_of(view), visible=True),
        watch["units"]: gr.HTML(jobs_shown.units_of(view), visible=True),
        watch["said"]: gr.Accordion(visible=True),
        watch["log"]: study_shown.log_of(view),
        watch["command"]: jobs_shown.commands_of(view),
        watch["results"]: gr.Column(visible=bool(found)),
        watch["result"]: gr.Dropdown(found, value=_kept(result, found)),
        watch["score"]: gr.Button(visible=view.order.kind in SCORED),
        watch["timer"]: gr.Timer(active=any(not one.ended for one in views)),
    }  # fmt: skip


def _kept(result: str | None, found: Sequence[tuple[str, str]]) -> str | None:
    """The result that is looked at, else the first."""
    numbers = [number for _, number in found]
    return result if result in numbers else next(iter(numbers), None)


def _wire_asking(site: Site, wires: Wires, ask: Parts, watch: Parts) -> None:
    import gradio as gr

    fields = [ask[name] for name in FIELDS]
    most_s = batches.MOST_SECONDS[site.any_folder]
    outputs = [*(watch[name] for name in NOW), ask["note"], wires.here]

    def start(request: gr.Request, *values: Any) -> Parts:
        session = session_of(request)
        try:
            batch = batch_of(dict(zip(FIELDS, values, strict=True)))
            task = site.tasks.start(session, batches.batch_order(batch, site, session))
        except DetourError as error:
            return {ask["note"]: gr.HTML(shown.problem(str(error)), visible=True)}
        return {
            **_now(site, session, task, watch),
            ask["note"]: gr.HTML(visible=False),
            wires.here: link_of(batch).query,
        }

    def by_link(query: str) -> Any:
        try:
            link = values_for("jobs", query)
            return gr.skip() if link is None else {ask[name]: value for name, value in asked_by(link, most_s).items()}
        except DetourError as error:
            return {ask["note"]: gr.HTML(shown.problem(str(error)), visible=True)}

    ask["go"].click(start, fields, outputs, **QUIET)
    wires.address.change(by_link, wires.address, [*fields, ask["note"]], **QUIET)


def _wire_watching(site: Site, watch: Parts, tab: Any) -> None:
    import gradio as gr

    outputs = [watch[name] for name in NOW]
    looked = [watch["task"], watch["result"]]

    def look(task_id: str | None, result: str | None, request: gr.Request) -> Parts:
        return _now(site, session_of(request), task_id, watch, result)

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


def _wire_results(site: Site, watch: Parts) -> None:
    import gradio as gr

    chosen = [watch["task"], watch["result"]]

    def ready(task_id: str | None, number: str | None, request: gr.Request) -> Any:
        """The zip of a result is made when it is chosen."""
        session = session_of(request)
        try:
            run = _result(site, session, task_id, number)
            return gr.DownloadButton(value=str(_zipped(run, site.visitors.folder(session))), interactive=True)
        except DetourError:
            return gr.DownloadButton(value=None, interactive=False)

    def show(task_id: str | None, number: str | None, request: gr.Request) -> str:
        try:
            return jobs_shown.result_of(_result(site, session_of(request), task_id, number))
        except DetourError as error:
            return shown.problem(str(error))

    def score(task_id: str | None, number: str | None, request: gr.Request) -> Parts:
        session = session_of(request)
        try:
            run = _result(site, session, task_id, number)
            task = site.tasks.start(session, batches.score_order(run.unit, site, session))
        except DetourError as error:
            return {watch["report"]: shown.problem(str(error))}
        return {**_now(site, session, task, watch), watch["report"]: ""}

    watch["result"].change(ready, chosen, watch["get"], **QUIET)
    watch["result"].input(lambda: "", None, watch["report"], **QUIET)
    watch["task"].input(lambda: "", None, watch["report"], **QUIET)
    watch["show"].click(show, chosen, watch["report"], **QUIET)
    watch["score"].click(score, chosen, [*(watch[name] for name in NOW), watch["report"]], **QUIET)


def _result(site: Site, session: str, task_id: str | None, number: str | None) -> UnitView:
    """A finished unit of one of the visitor's tasks.

    Raises:
        BadRequest: if there is none.
    """
    view: TaskView = site.tasks.view(session, task_id or "")
    if number not in [name for _, name in batches.results_of(view)]:
        raise BadRequest("no finished run is chosen. Choose one under 'Result'.")
    return view.units[int(number)]


def _zipped(run: UnitView, folder: Path) -> Path:
    """A result as one file for download."""
    out = run.unit.out
    assert out is not None
    if out.is_file():
        return out
    if sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) > 10 * MOST_BYTES:
        raise BadRequest(f"this result is larger than {10 * MOST_BYTES} bytes. Run the command on your own machine.")
    place = folder / "exports" / out.parent.name
    if not (place / f"{out.name}.zip").is_file():
        place.mkdir(parents=True, exist_ok=True)
        made = Path(shutil.make_archive(str(place / f".{uuid.uuid4().hex}"), "zip", out.parent, out.name))
        made.replace(place / f"{out.name}.zip")
    return place / f"{out.name}.zip"
