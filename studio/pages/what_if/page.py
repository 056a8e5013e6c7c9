"""What if: change one thing, see both sides in step, and how the plan moves."""

from collections.abc import Callable, Iterator
from typing import Any

from studio.live.what_if.questions import PLACED
from studio.pages.choosing import Chosen, clip_picker
from studio.pages.what_if import parts as layout
from studio.pages.what_if.events import AUTO, PAGE, Changes, Events
from studio.pages.what_if.parts import CONTROLS
from studio.pages.what_if.runs import Runs
from studio.pages.wires import QUIET, RUN, Wires, session_of
from studio.web import shown
from studio.web.site import Site

FIRST_CLIP = 2
SEEN = ("cameras", "map", "note", "command")  # what changes with every widget
# a picked moment is shown at once if the page is seen, but not while a link sets its widgets: that shows it in the end
COMING = f"""(query) => {{
  const link = new URLSearchParams(query);
  window.detourWhatIf = link.get('tab') === '{PAGE}';
  window.detourWhatIfGo = window.detourWhatIf && link.has('{AUTO}');
  return [query];
}}"""
IF_SEEN = f"""(address, picked, ...rest) => {{
  const link = new URLSearchParams(location.search);
  window.detourWhatIf ??= link.get('tab') === '{PAGE}' && link.has('clip');
  const seen = document.getElementById('page-{PAGE}')?.offsetParent;
  return [address, seen && !window.detourWhatIf ? picked : '', ...rest];
}}"""
ARRIVED = """() => {
  const ask = (tries) => {  // the page may not be laid out yet
    const go = document.querySelector('button#what-if-go');
    if (go) document.querySelector('#what-if-status .problem') || go.click();
    else if (tries) setTimeout(ask, 100, tries - 1);
  };
  if (window.detourWhatIfGo) setTimeout(ask, 100, 100);
  window.detourWhatIf = window.detourWhatIfGo = false;
}"""


def build(site: Site, wires: Wires) -> None:
    """Lay the page out and wire it, inside an open tab."""
    import gradio as gr

    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            chosen = clip_picker(site, wires, PAGE, first=FIRST_CLIP)
            parts = layout.change_parts() | layout.run_parts()
        with gr.Column(scale=3, min_width=320):
            parts |= layout.stage_parts() | layout.film_parts(site.films)
    parts |= layout.variant_parts() | layout.looking_parts()
    page = Events(site, parts)
    _wire_preview(page, chosen, wires)
    _wire_pointing(page, chosen)
    _wire_runs(Runs(page), chosen, wires)


def _wire_preview(page: Events, chosen: Chosen, wires: Wires) -> None:
    import gradio as gr
    from gradio.context import Context

    def arrive(address: str, picked: str, request: gr.Request, *values: Any) -> Any:
        return page.arrive(session_of(request), picked, address, _said(values)) if picked else gr.skip()

    def follow(query: str, request: gr.Request) -> Any:
        return page.follow(session_of(request), query) or gr.skip()

    def show(picked: str, request: gr.Request, *values: Any) -> Changes:
        return page.show(session_of(request), picked, _said(values))

    def show_linked(address: str, picked: str, request: gr.Request, *values: Any) -> Any:
        there = page.linked(address, picked)
        return gr.skip() if there is None else arrive(address, there, request, *values)

    parts, inputs = page.parts, [chosen.picked, *page.controls]
    outputs = [parts[name] for name in SEEN]
    arrived = {"inputs": [wires.address, *inputs], "outputs": [parts["track"], *outputs], **QUIET}
    chosen.picked.change(arrive, js=IF_SEEN, **arrived)
    if isinstance(Context.block, gr.Tab):  # what nobody looks at is not worked on
        Context.block.select(arrive, **arrived)
    wires.address.change(follow, wires.address, [*page.controls, parts["status"]], js=COMING, **QUIET).then(
        show_linked, **arrived
    ).then(None, js=ARRIVED, api_visibility="private")
    by_hand = [parts[name].input for name in CONTROLS if name != "path"]
    gr.on(by_hand, show, inputs, outputs, trigger_mode="always_last", **QUIET)
    gr.on([parts["x_m"].input, parts["y_m"].input], lambda: PLACED, None, parts["where"], **QUIET).then(
        show, inputs, outputs, **QUIET
    )


def _wire_pointing(page: Events, chosen: Chosen) -> None:
    import gradio as gr

    def point(event: gr.EventData, picked: str, request: gr.Request, *values: Any) -> Any:
        return page.point(session_of(request), picked, _said(values), event) or gr.skip()

    def drag(above: Any, picked: str, request: gr.Request, *values: Any) -> Any:
        return page.drag(session_of(request), picked, _said(values), above)

    parts, inputs = page.parts, [chosen.picked, *page.controls]
    outputs = [parts[name] for name in ("where", "x_m", "y_m", "track", "path", *SEEN)]
    for pointed in (parts["cameras"], parts["map"]):
        pointed.select(point, inputs, outputs, **QUIET)
    parts["map"].input(drag, [parts["map"], *inputs], outputs, **QUIET)


def _said(values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(CONTROLS, values, strict=True))


def _wire_runs(runs: Runs, chosen: Chosen, wires: Wires) -> None:
    """The three things that can be started; each stops what the visitor started before."""
    import gradio as gr

    parts, inputs = runs.parts, [chosen.picked, *runs.events.controls]

    def ask(picked: str, request: gr.Request, *values: Any) -> Iterator[Changes]:
        yield from runs.ask(session_of(request), picked, _said(values))

    def ask_all(picked: str, request: gr.Request, *values: Any) -> Iterator[Changes]:
        yield from runs.ask_all(session_of(request), picked, _said(values))

    def look(method: str, picked: str, request: gr.Request, *values: Any) -> Iterator[Changes]:
        yield from runs.look(session_of(request), picked, _said(values), method)

    def link(picked: str, request: gr.Request, *values: Any) -> Any:
        return runs.link(session_of(request), picked, _said(values)) or gr.skip()

    shown_parts = [parts[name] for name in ("status", "film", "cameras", "map", "response", "told", "actions")]
    parts["go"].click(link, inputs, wires.here, **QUIET)
    _wire_run(runs, ("go", "stop", "status"), ask, inputs, shown_parts)
    _wire_run(runs, ("all_go", "all_stop", "all_status"), ask_all, inputs, [parts["all_status"], parts["all_table"]])
    looked = [parts["look_status"], parts["look_pictures"]]
    _wire_run(runs, ("look_go", "look_stop", "look_status"), look, [parts["method"], *inputs], looked)


def _wire_run(
    runs: Runs,
    names: tuple[str, str, str],
    run: Callable[..., Iterator[Changes]],
    inputs: list[Any],
    outputs: list[Any],
) -> None:
    """Start, stop, and buttons that say which of the two makes sense."""
    import gradio as gr

    go, stop, status = (runs.parts[name] for name in names)

    def begin(request: gr.Request) -> Changes:
        runs.site.visitors.begin(session_of(request))
        return {
            go: gr.Button(interactive=False),
            stop: gr.Button(interactive=True),
            status: shown.status("One moment …"),
        }

    def halt(request: gr.Request) -> Changes:
        runs.site.visitors.stop(session_of(request))
        return {stop: gr.Button(interactive=False)}

    def rest() -> Changes:
        return {go: gr.Button(interactive=True), stop: gr.Button(interactive=False)}

    go.click(begin, None, [go, stop, status], **QUIET).then(run, inputs, outputs, **RUN).then(
        rest, None, [go, stop], **QUIET
    )
    stop.click(halt, None, [stop], **QUIET)
