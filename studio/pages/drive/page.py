"""Drive: steer the dream live, or the town, or both at once to compare them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studio.pages.choosing import clip_picker
from studio.pages.drive.events import PAGE, Changes, Events
from studio.pages.drive.parts import EXAMPLES, Parts, cockpit, keeping, settings
from studio.pages.wires import QUIET, RUN, Wires, session_of
from studio.web.site import Site

if TYPE_CHECKING:
    import gradio

INTRO = "Drive through what the model imagines, half a second at a time, and see how long it stays true."


def build(site: Site, wires: Wires) -> None:
    """Lay out the page in the open tab and wire it."""
    import gradio as gr

    gr.HTML(f'<p class="lead">{INTRO}</p>', label="About this page")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            chosen = clip_picker(site, wires, PAGE, first=2)
            parts = settings()
        with gr.Column(scale=3, min_width=320):
            parts |= cockpit(site.films)
            parts |= keeping()
    parts["here"] = wires.here
    events = Events(site, parts)
    _wire_before(events, parts, wires, chosen.picked)
    _wire_drive(events, parts, chosen.picked)
    _wire_kept(events, parts, wires)


def _wire_before(events: Events, parts: Parts, wires: Wires, picked: "gradio.Textbox") -> None:
    import gradio as gr

    def preview(picked: str, query: str, request: gr.Request) -> Any:
        return events.preview(session_of(request), picked, query)

    def arrive(request: gr.Request) -> Any:
        return events.follow(str(request.query_params))

    followed = [parts[name] for name in ("world", "seed", "steps", "text", "status")]
    seen = [parts[name] for name in ("film", "status", "text", "go", "stop", "put", "keep")]
    picked.change(preview, [picked, wires.address], seen, **QUIET)
    gr.on(None, arrive, None, followed, **QUIET)
    wires.address.change(events.follow, wires.address, followed, **QUIET)


def _wire_drive(events: Events, parts: Parts, picked: "gradio.Textbox") -> None:
    import gradio as gr

    def announce(picked: str, request: gr.Request) -> Changes:
        return events.announce(session_of(request), picked)

    def begin(picked: str, world: str, seed: float, steps: int, text: str, request: gr.Request) -> Iterator[Changes]:
        yield from events.begin(session_of(request), picked, world, seed, steps, text)

    def go_on(hands: object, autopilot: bool, request: gr.Request) -> Changes:
        return events.go_on(session_of(request), hands, autopilot)

    def stop(request: gr.Request) -> Changes:
        return events.stop(session_of(request))

    def put(kind: str, request: gr.Request) -> Changes:
        return events.put(session_of(request), kind)

    asked = [picked, *(parts[name] for name in ("world", "seed", "steps", "text"))]
    shown = [
        parts[name] for name in ("status", "film", "gauges", "above", "go", "stop", "put", "keep", "command", "here")
    ]
    parts["go"].click(announce, picked, shown, **QUIET).then(begin, asked, shown, **RUN)
    parts["film"].input(go_on, [parts["pad"], parts["autopilot"]], shown, **RUN)
    parts["stop"].click(stop, None, shown, **QUIET)
    parts["put"].click(put, parts["kind"], parts["note"], **RUN)
    _wire_said(events, parts)


def _wire_said(events: Events, parts: Parts) -> None:
    import gradio as gr

    def say(text: str, request: gr.Request) -> Changes:
        return events.say(session_of(request), text)

    parts["text"].submit(say, parts["text"], parts["note"], **QUIET)
    for number in range(len(EXAMPLES)):

        def say_example(request: gr.Request, number: int = number) -> Changes:
            return events.say_example(session_of(request), number)

        parts[f"say-{number}"].click(say_example, None, [parts["text"], parts["note"]], **QUIET)


def _wire_kept(events: Events, parts: Parts, wires: Wires) -> None:
    import gradio as gr

    def keep(request: gr.Request) -> Iterator[Changes]:
        yield from events.keep(session_of(request))

    outputs = [parts[name] for name in ("kept_status", "kept_row", "mp4", "path", "keep", "name")]
    parts["keep"].click(keep, None, outputs, **RUN)
    for button, page in (("imagine", "imagine"), ("what_if", "what-if")):

        def open_in(name: str, page: str = page) -> str:
            return events.open_in(page, name)

        parts[button].click(open_in, parts["name"], wires.address, **QUIET)
