"""The Study tab: ask for a grounding study, watch it, look at what came out."""

from collections.abc import Callable
from typing import Any

from studio.live.study import form as study_form
from studio.live.study import shown as study_shown
from studio.live.study import studies
from studio.pages.study.asking import FORM, asking, form_in, wire_asking, wire_policy
from studio.pages.study.looking import choices, looking, wire_looking
from studio.pages.wires import QUIET, Wires, session_of
from studio.web import shown
from studio.web.site import Site
from worldmodel.errors import DetourError

BEAT_S = 1.0
INTRO = (
    "Does a driver look at the road? A study puts an object into many scenes, keeps everything else, and measures how far each "
    "planner's path changes."
)
Parts = dict[str, Any]


def build(site: Site, wires: Wires) -> None:
    """Arrange the tab and wire it."""
    import gradio as gr
    from gradio.context import Context

    tab = Context.block
    gr.HTML(f"<p>{INTRO}</p>", label="About studies")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            ask = asking(site)
            watch = _watching()
        with gr.Column(scale=3, min_width=320):
            look = looking(site)
    wire_asking(site, wires, ask)
    wire_policy(site, ask)
    _wire_running(site, wires, ask, watch, look)
    wire_looking(site, wires, look, tab)


def _watching() -> Parts:
    """Buttons and progress."""
    import gradio as gr

    with gr.Row():
        go = gr.Button("Start the study", variant="primary", elem_id="study-start")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="study-stop")
        on = gr.Button("Go on", visible=False, elem_id="study-on")
    status = gr.HTML(shown.status("Ready."), label="Progress", elem_id="study-status", min_height=44)
    with gr.Accordion("What the command says", open=False):
        log = gr.HTML(label="Log")
    command = gr.Code(
        studies.command(), label="The same on the command line", language=None,
        interactive=False, lines=1, wrap_lines=True,
    )  # fmt: skip
    return {
        "go": go, "stop": stop, "on": on, "status": status, "log": log, "command": command,
        "timer": gr.Timer(BEAT_S, active=False), "seen": gr.State(()),
    }  # fmt: skip


def _wire_running(site: Site, wires: Wires, ask: Parts, watch: Parts, look: Parts) -> None:
    import gradio as gr

    parts = [watch[name] for name in ("go", "stop", "on", "status", "log", "timer", "seen")]
    outputs = [*parts, look["look"], wires.here]

    def now(session: str, seen: tuple[str, ...]) -> Parts:
        """Everything as it stands."""
        views = [view for view in site.tasks.of(session) if view.order.kind == "study"]
        if not views:
            return {watch["timer"]: gr.Timer(active=False)}
        view = views[0]
        changes = {
            watch["go"]: gr.Button(interactive=view.ended),
            watch["stop"]: gr.Button(interactive=view.state in ("waiting", "running")),
            watch["on"]: gr.Button(visible=view.state in ("stopped", "failed")),
            watch["status"]: study_shown.status_of(view),
            watch["log"]: study_shown.log_of(view),
            watch["timer"]: gr.Timer(active=not view.ended),
        }
        if view.state == "done" and view.id not in seen:
            changes[watch["seen"]] = (*seen, view.id)
            changes[look["look"]] = gr.Dropdown(choices(views), value=f"task:{view.id}")
        return changes

    def start(
        request: gr.Request, text: str, keep: str | None, workers: float | None, seen: tuple[str, ...], *values: Any
    ) -> Parts:
        session = session_of(request)
        try:
            config = study_form.with_form(text, form_in(values))
            order = studies.study_order(config, site, session, keep=keep or "", workers=int(workers or 1))
            site.tasks.start(session, order)
        except DetourError as error:
            return {watch["status"]: shown.problem(str(error))}
        return {**now(session, seen), wires.here: study_form.link_of(config).query}

    def on_newest(act: Callable[[str, str], None]) -> Callable[..., Parts]:
        def acted(seen: tuple[str, ...], request: gr.Request) -> Parts:
            session = session_of(request)
            try:
                for view in [view for view in site.tasks.of(session) if view.order.kind == "study"][:1]:
                    act(session, view.id)
            except DetourError as error:
                return {watch["status"]: shown.problem(str(error))}
            return now(session, seen)

        return acted

    def tick(seen: tuple[str, ...], request: gr.Request) -> Parts:
        return now(session_of(request), seen)

    asked = [*(ask[name] for name in ("text", "keep", "workers")), watch["seen"], *(ask[name] for name in FORM)]
    watch["go"].click(start, asked, outputs, **QUIET)
    watch["stop"].click(on_newest(site.tasks.stop), watch["seen"], outputs, **QUIET)
    watch["on"].click(on_newest(site.tasks.resume), watch["seen"], outputs, **QUIET)
    watch["timer"].tick(tick, watch["seen"], outputs, **QUIET)
    gr.on(
        [ask["keep"].change, ask["workers"].change],
        lambda keep, workers: studies.command(keep or "", int(workers or 1)),
        [ask["keep"], ask["workers"]],
        watch["command"],
        **QUIET,
    )
