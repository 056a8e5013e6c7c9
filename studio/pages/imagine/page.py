"""Imagine: choose a moment, say what happens, watch futures grow, take them home."""

from collections.abc import Iterator
from typing import Any

from studio.pages.choosing import Chosen, clip_picker
from studio.pages.imagine import parts as layout
from studio.pages.imagine.events import PAGE, Events, Updates
from studio.pages.wires import QUIET, RUN, Wires, session_of
from studio.web import shown
from studio.web.site import Site
from worldmodel.errors import DetourError

FIRST_CLIP = 2
SHOWN = ("go", "stop", "status", "film_shown", "above", "told", "scores", "save", "saved", "made", "taken")


def build(site: Site, wires: Wires) -> None:
    """Lay the page out and wire it, inside an open tab."""
    import gradio as gr

    with gr.Row(elem_classes="desk"):
        with gr.Column(elem_classes="desk-choose", min_width=320):
            chosen = clip_picker(site, wires, PAGE, first=FIRST_CLIP)
        with gr.Column(elem_classes="desk-stage", min_width=320):
            parts = layout.stage_parts(site.films)
        with gr.Column(elem_classes="desk-set", min_width=320):
            parts |= layout.wish_parts()
    page = Events(site, parts)
    _wire_before(page, chosen, wires)
    _wire_link(page, wires)
    _wire_run(page, chosen, wires)
    _wire_save(page)


def _wire_before(page: Events, chosen: Chosen, wires: Wires) -> None:
    import gradio as gr

    parts = page.parts
    shown_parts = [parts[name] for name in (*SHOWN, "text", "drawn")]
    drawn = [parts[name] for name in ("command_group", "drawn", "above", "status")]

    def preview(picked: str, drive: str, seconds: float, query: str, request: gr.Request) -> Any:
        return page.preview(session_of(request), picked, drive, seconds, query) or gr.skip()

    def drawing(picked: str, drive: str, seconds: float, above: Any, request: gr.Request) -> Updates:
        return page.drawing(session_of(request), picked, drive, seconds, above)

    def command(picked: str, request: gr.Request, *values: Any) -> str:
        return page.command(session_of(request), picked, values)

    asked = [chosen.picked, parts["drive"], parts["seconds"]]
    chosen.picked.change(preview, [*asked, wires.address], shown_parts, trigger_mode="always_last", **QUIET)
    parts["drive"].input(drawing, [*asked, parts["above"]], drawn, **QUIET)
    gr.on(
        [parts["above"].input, parts["seconds"].change], page.drawn, [parts["drive"], parts["seconds"], parts["above"]],
        parts["drawn"], trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    changes = [chosen.picked.change, parts["above"].input]
    changes += [widget.change for widget in page.controls if widget is not parts["above"]]
    gr.on(changes, command, [chosen.picked, *page.controls], parts["command"], trigger_mode="always_last", **QUIET)


def _wire_link(page: Events, wires: Wires) -> None:
    import gradio as gr

    def follow(query: str, request: gr.Request) -> Any:
        return page.follow(session_of(request), query) or gr.skip()

    more = [page.parts[name] for name in ("status", "command_group", "drawn", "auto")]
    wires.address.change(follow, wires.address, [*page.controls, *more], **QUIET)


def _wire_run(page: Events, chosen: Chosen, wires: Wires) -> None:
    import gradio as gr

    parts = page.parts
    outputs = [parts[name] for name in SHOWN]

    def announce(request: gr.Request) -> Updates:
        return page.announce(session_of(request))

    def run(picked: str, request: gr.Request, *values: Any) -> Iterator[Updates]:
        session = session_of(request)
        yield from _with_link(page.run(session, picked, lambda: page.wish(session, picked, values)), wires)

    def run_link(query: str, request: gr.Request) -> Iterator[Updates]:
        session = session_of(request)
        try:
            picked, wish = page.linked(session, query)
        except DetourError as error:
            yield {parts["status"]: shown.problem(str(error))}
            return
        yield from _with_link(page.run(session, picked, lambda: wish), wires)

    def halt(request: gr.Request) -> Updates:
        page.site.visitors.stop(session_of(request))
        return {parts["stop"]: gr.Button(interactive=False)}

    inputs = [chosen.picked, *page.controls]
    parts["go"].click(announce, None, outputs, **QUIET).then(run, inputs, [*outputs, wires.here], **RUN)
    parts["auto"].change(announce, None, outputs, **QUIET).then(run_link, parts["auto"], [*outputs, wires.here], **RUN)
    parts["stop"].click(halt, None, [parts["stop"]], **QUIET)


def _with_link(steps: "Iterator[Updates | str]", wires: Wires) -> Iterator[Updates]:
    for step in steps:
        yield {wires.here: step} if isinstance(step, str) else step


def _wire_save(page: Events) -> None:
    import gradio as gr

    outputs = [page.parts[name] for name in ("save", "saved", "taken", *layout.DOWNLOADS)]

    def save(made: str, request: gr.Request) -> Iterator[Updates]:
        yield from page.save(session_of(request), made)

    page.parts["save"].click(save, page.parts["made"], outputs, **RUN)
