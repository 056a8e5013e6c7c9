"""The page: choose a moment, imagine how the drive goes on, put something in the way, compare."""

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.pages import layout
from studio.pages.imagining import ImagineRequest, ImagineView, imagine
from studio.pages.layout import COMMAND, Parts
from studio.pages.whatif import WhatIfRequest, WhatIfView, what_if
from studio.web import look, shelf, shown
from studio.web.shared_model import SharedModel
from studio.web.shelf import Choice
from studio.web.visitors import Visitors
from worldmodel.errors import DetourError
from worldmodel.io.lerobot import Dataset
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    import gradio

CACHE_S = (600, 3600)  # look for old files every 10 minutes, remove those older than an hour
INTRO = (
    "Choose a moment of a drive, say what the driver is told, and watch how it might go on; then put something in the "
    "way and see how the plan moves."
)
NOTICE = "Research tool; no evidence of road safety. Imagined frames are generated, not recorded."


class Handlers:
    """What the page's buttons do; plain functions of plain values, so that tests call them without a browser.

    Attributes:
        model: Shared by all visitors.
        visitors: Folders and stop signals.
        clips: The folder of clips that the page opens with.
        any_folder: Whether visitors may name other folders of this machine.
    """

    def __init__(self, model: SharedModel, clips: Path, *, any_folder: bool = True) -> None:
        self.model, self.visitors = model, Visitors()
        self.clips, self.any_folder = Path(clips), any_folder

    def dataset(self, folder: str | None) -> Dataset:
        """The dataset a visitor named, or the one that ships when he named none.

        Raises:
            BadDataset: if there is none at that place, or other folders are not open to visitors.
        """
        from worldmodel.errors import BadDataset

        path = Path(folder.strip()).expanduser() if folder and folder.strip() else self.clips
        if not self.any_folder and path.resolve() != self.clips.resolve():
            raise BadDataset(
                f"'{path}' is not open here: this studio can be reached from other machines. Use the clips that are shown."
            )
        return Dataset.open(path)

    def choice(self, folder: str | None, episode: int | None, at_s: float | None) -> Choice:
        """The chosen moment; refuses folders that are not open."""
        dataset = self.dataset(folder)
        return Choice(dataset=str(dataset.path), episode=episode, at_s=at_s)  # type: ignore[arg-type]

    def imagine(self, session: str, request: Callable[[], ImagineRequest]) -> Iterator[ImagineView]:
        """`studio.pages.imagining.imagine` for a visitor; errors become sentences on the page."""
        signal = self.visitors.signal(session)
        try:
            yield from imagine(self.model.get, request(), self.visitors.folder(session), signal.is_set)
        except DetourError as error:
            yield ImagineView(status=shown.problem(str(error)), finished=True)

    def what_if(self, session: str, request: Callable[[], WhatIfRequest]) -> Iterator[WhatIfView]:
        """`studio.pages.whatif.what_if` for a visitor; errors become sentences on the page."""
        try:
            yield from what_if(self.model.get, request(), self.visitors.folder(session))
        except DetourError as error:
            yield WhatIfView(status=shown.problem(str(error)))


def build_page(model_folder: Path | str, clips_folder: Path | str, *, any_folder: bool = True) -> "gradio.Blocks":
    """The page, ready to launch; nothing heavy is read before it is asked for.

    Args:
        model_folder: Checkpoint.
        clips_folder: LeRobot dataset to begin with.
        any_folder: Whether visitors may open other dataset folders of this machine; False for pages open to others.
    """
    return page_of(Handlers(SharedModel(Path(model_folder)), Path(clips_folder), any_folder=any_folder))


def page_of(handlers: Handlers) -> "gradio.Blocks":
    """`build_page` for handlers made elsewhere."""
    import gradio as gr

    with gr.Blocks(title="Detour studio", analytics_enabled=False, delete_cache=CACHE_S) as page:
        gr.Markdown(f"# Detour\n{INTRO}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                chosen = layout.choosing(str(handlers.clips), handlers.any_folder)
                settings = layout.settings()
            with gr.Column(scale=3, min_width=320):
                stage = layout.stage()
        edit = layout.obstacle()
        gr.Markdown(f"<small>{NOTICE}</small>")
        _wire_choosing(page, handlers, chosen, settings, stage)
        _wire_imagine(handlers, chosen, settings, stage)
        _wire_what_if(handlers, chosen, settings, edit)
        _wire_commands(handlers, chosen, settings, stage, edit)
        page.unload(_closing(handlers))
    return page


def _quiet(handlers: Handlers) -> Parts:
    """Options of small events that answer at once."""
    del handlers
    return {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


def _wire_choosing(page: Any, handlers: Handlers, chosen: Parts, settings: Parts, stage: Parts) -> None:
    import gradio as gr

    def open_dataset(folder: str) -> Parts:
        try:
            dataset = handlers.dataset(folder)
            cards = shelf.clip_cards(dataset)
        except DetourError as error:
            return {chosen["note"]: shown.problem(str(error))}
        low, high, start = shelf.moment_range(dataset, 0)
        about = f"{dataset.name}: {dataset.episodes} clips, {len(dataset.rig)} cameras, {dataset.frequency_hz:g} frames per second."
        return {
            chosen["gallery"]: gr.Gallery([(card.thumbnail, card.caption) for card in cards], selected_index=0),
            chosen["clip"]: gr.Dropdown(shelf.clip_names(dataset), value=0),
            chosen["moment"]: gr.Slider(low, high, value=start, step=1 / dataset.frequency_hz),
            chosen["note"]: f'<p class="empty-note">{escape(about)}</p>',
        }

    def take_clip(folder: str, episode: int | None) -> Parts:
        try:
            dataset = handlers.dataset(folder)
            low, high, start = shelf.moment_range(dataset, int(episode or 0))
        except DetourError as error:
            return {chosen["note"]: shown.problem(str(error))}
        return {chosen["moment"]: gr.Slider(low, high, value=start, step=1 / dataset.frequency_hz)}

    def preview(folder: str, episode: int | None, at_s: float | None) -> Parts:
        try:
            dataset = handlers.dataset(folder)
            choice = handlers.choice(folder, episode, at_s)
            frame, told = shelf.moment_picture(dataset, choice), shelf.instruction_of(dataset, choice)
            paths = shelf.moment_paths(dataset, choice)
        except DetourError as error:
            return {chosen["note"]: shown.problem(str(error))}
        alt = f"All cameras {at_s:g} s after the start of clip {episode}."
        return {
            stage["live"]: gr.HTML(shown.picture(frame, alt), visible=True),
            stage["film"]: gr.Video(visible=False),
            stage["birds_eye"]: paths,
            stage["scores"]: "",
            settings["text"]: gr.Textbox(placeholder=told or "nothing was said here"),
        }

    opened = [chosen["gallery"], chosen["clip"], chosen["moment"], chosen["note"]]
    where = [chosen["folder"], chosen["clip"], chosen["moment"]]
    seen = [*(stage[name] for name in ("live", "film", "birds_eye", "scores")), settings["text"], chosen["note"]]
    quiet = _quiet(handlers)

    def picked(event: gr.SelectData) -> int:
        return int(event.index)

    page.load(open_dataset, chosen["folder"], opened, **quiet).then(preview, where, seen, **quiet)
    chosen["folder"].submit(open_dataset, chosen["folder"], opened, **quiet).then(preview, where, seen, **quiet)
    chosen["gallery"].select(picked, None, chosen["clip"], **quiet)
    taken = [chosen["moment"], chosen["note"]]
    chosen["clip"].change(take_clip, [chosen["folder"], chosen["clip"]], taken, **quiet).then(
        preview, where, seen, **quiet
    )
    chosen["moment"].input(preview, where, seen, trigger_mode="always_last", **quiet)


def _request_of(handlers: Handlers, values: tuple[Any, ...]) -> ImagineRequest:
    """The request that the widgets (folder, clip, moment, then the settings in order) stand for."""
    folder, episode, at_s, text, drive, speed, turn, seconds, seed, steps, guidance, memory = values
    return ImagineRequest(
        choice=handlers.choice(folder, episode, at_s),
        text=text or "",
        commanded=drive == COMMAND,
        speed_mps=speed,
        turn_degps=turn,
        seconds=seconds,
        seed=seed,
        sampling=Sampling(steps=steps, guidance_text=guidance, memory=memory),
    )


def _wire_imagine(handlers: Handlers, chosen: Parts, settings: Parts, stage: Parts) -> None:
    import gradio as gr

    widgets = [chosen["folder"], chosen["clip"], chosen["moment"], *settings.values()]
    shown_parts = [stage[name] for name in ("go", "stop", "status", "live", "film", "birds_eye", "scores", "actions")]

    def announce(request: gr.Request) -> Parts:
        handlers.visitors.begin(_session(request))
        waiting = shown.status("Waiting for the model; others may be before you …")
        return {
            stage["go"]: gr.Button(interactive=False),
            stage["stop"]: gr.Button(interactive=True),
            stage["status"]: waiting,
            stage["scores"]: "",
        }

    def run(request: gr.Request, *values: Any) -> Iterator[Parts]:
        for view in handlers.imagine(_session(request), lambda: _request_of(handlers, values)):
            yield _imagine_changes(view, stage)

    def halt(request: gr.Request) -> Parts:
        handlers.visitors.stop(_session(request))
        return {stage["stop"]: gr.Button(interactive=False)}

    quiet = _quiet(handlers)
    stage["go"].click(announce, None, shown_parts, **quiet).then(
        run,
        widgets,
        shown_parts,
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    stage["stop"].click(halt, None, [stage["stop"]], **quiet)


def _imagine_changes(view: ImagineView, stage: Parts) -> Parts:
    import gradio as gr

    changes: Parts = {}
    for name in ("status", "birds_eye", "scores"):
        if getattr(view, name) is not None:
            changes[stage[name]] = getattr(view, name)
    if view.live is not None:
        changes[stage["live"]] = gr.HTML(view.live, visible=True)
        changes[stage["film"]] = gr.Video(visible=False)
    if view.film is not None:
        changes[stage["film"]] = gr.Video(str(view.film), visible=True)
        changes[stage["live"]] = gr.HTML(visible=False)
        changes[stage["actions"]] = gr.File(
            str(view.actions) if view.actions else None, visible=view.actions is not None
        )
    if view.finished:
        changes |= {stage["go"]: gr.Button(interactive=True), stage["stop"]: gr.Button(interactive=False)}
    return changes


def _wire_what_if(handlers: Handlers, chosen: Parts, settings: Parts, edit: Parts) -> None:
    import gradio as gr

    widgets = [chosen["folder"], chosen["clip"], chosen["moment"], edit["variant"], edit["kind"], settings["seed"]]
    parts = [edit[name] for name in ("status", "stills", "birds_eye", "response", "film")]

    def run(request: gr.Request, *values: Any) -> Iterator[Parts]:
        for view in handlers.what_if(_session(request), lambda: _edit_of(handlers, values)):
            changes = {
                edit[n]: getattr(view, n) for n in ("status", "stills", "birds_eye", "response") if getattr(view, n)
            }
            if view.film is not None:
                changes[edit["film"]] = gr.Video(str(view.film), visible=True)
            yield changes

    waiting = shown.status("Waiting for the model; others may be before you …")
    edit["go"].click(lambda: waiting, None, edit["status"], **_quiet(handlers)).then(
        run,
        widgets,
        parts,
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )


def _edit_of(handlers: Handlers, values: tuple[Any, ...]) -> WhatIfRequest:
    """The request that the widgets (folder, clip, moment, variant, kind, seed) stand for."""
    folder, episode, at_s, variant, kind, seed = values
    return WhatIfRequest(choice=handlers.choice(folder, episode, at_s), variant=variant, kind=kind, seed=seed)


def _wire_commands(handlers: Handlers, chosen: Parts, settings: Parts, stage: Parts, edit: Parts) -> None:
    import gradio as gr

    where = [chosen["folder"], chosen["clip"], chosen["moment"]]
    imagine_widgets = [*where, *settings.values()]
    edit_widgets = [*where, edit["variant"], edit["kind"], settings["seed"]]

    def both(*values: Any) -> tuple[str, str]:
        first, second = values[: len(imagine_widgets)], values[len(imagine_widgets) :]
        return (
            _command(lambda: _request_of(handlers, first).command(handlers.model.folder)),
            _command(lambda: _edit_of(handlers, second).command(handlers.model.folder)),
        )

    widgets = [*imagine_widgets, *edit_widgets]
    triggers = [widget.change for widget in dict.fromkeys(widgets)]
    gr.on(triggers, both, widgets, [stage["command"], edit["command"]], trigger_mode="always_last", **_quiet(handlers))


def _command(make: Callable[[], str]) -> str:
    try:
        return make()
    except DetourError as error:
        return f"# {error}"


def _session(request: Any) -> str:
    return str(getattr(request, "session_hash", None) or "unknown")


def _closing(handlers: Handlers) -> Callable[..., None]:
    import gradio as gr

    def close(request: gr.Request) -> None:
        handlers.visitors.close(_session(request))

    return close


def launch_options() -> dict[str, Any]:
    """Theme and style for `Blocks.launch`."""
    return {"theme": look.theme(), "css": look.CSS}
