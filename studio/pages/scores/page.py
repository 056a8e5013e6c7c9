"""Scores: two sides, metrics and a network; numbers with intervals and cards, curves, and what cannot be compared."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studio.live.polite import Stopped
from studio.live.scores.files import KEPT, earlier_results, keep
from studio.live.scores.pairs import Pairing, film_of
from studio.live.scores.scoring import Scored, command, scoring
from studio.live.scores.sides import EXAMPLES, choices
from studio.live.scores.wishes import FEATURES, ScoreWish
from studio.live.tasks.background import Step
from studio.pages.scores import figures as score_figures
from studio.pages.scores import shown as score_shown
from studio.pages.scores.offered import METRICS, PRESETS, linked_wish
from studio.pages.wires import QUIET, Wires, session_of, values_for
from studio.web import shown
from studio.web.components.player import player
from studio.web.site import Site
from studio.web.turns import Turns
from worldmodel.errors import DetourError

if TYPE_CHECKING:
    import gradio

INTRO = (
    "How far is what was generated from what is real? Every number comes with an interval, the level that real clips reach "
    "among themselves, and a card that says how it was made."
)
OWN_TRUTH = ("What really followed (runs and examples know it)", "")
TEXTS = ("a", "b", "features", "weights", "preset", "size", "video")
NUMBERS = ("frames", "condition_frames", "frequency_hz", "window_s")  # 0 is none
Parts = dict[str, Any]


def build(site: Site, wires: Wires) -> None:
    """Lay out the page in the open tab and wire it."""
    import gradio as gr

    gr.HTML(f'<p class="lead">{INTRO}</p>', label="About this page")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            asked = _controls(site)
        with gr.Column(scale=3, min_width=320):
            told = _results(site)
    _wire(site, wires, asked, told)


def _controls(site: Site) -> Parts:
    """One widget per field of `ScoreWish`, by its name; then the buttons."""
    import gradio as gr

    usual, typed = ScoreWish(), site.any_folder
    examples = [(label, name) for name, label in EXAMPLES.items()]
    hint = "Choose, or type a path: videos, a dataset, a run or a folder of runs." if typed else "Choose from the list."
    a = gr.Dropdown(examples, value=usual.a, allow_custom_value=typed, label="Generated side", info=hint)
    b = gr.Dropdown([OWN_TRUTH], value=usual.b, allow_custom_value=typed, label="Real side", interactive=True)
    metrics = gr.Dropdown(list(METRICS.items()), value=list(usual.metrics), multiselect=True, label="Metrics")
    features = gr.Dropdown(
        [(label, name) for name, label in FEATURES.items()], value=usual.features, label="Feature network",
        allow_custom_value=typed, info="Published networks (Inception, I3D, …) are read from files: see More." if typed else None,
    )  # fmt: skip
    with gr.Row():
        go = gr.Button("Score", variant="primary", elem_id="score")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="score-stop")
    with gr.Accordion("More: how to count", open=False):
        more = _counting(usual, typed)
    return {"a": a, "b": b, "metrics": metrics, "features": features, **more, "go": go, "stop": stop}


def _counting(usual: ScoreWish, typed: bool) -> Parts:
    """Widgets that are rarely needed."""
    import gradio as gr

    weights = gr.Textbox(label="Published weights, one file per line", lines=2, visible=typed, elem_id="score-weights")
    presets = [("None", ""), *((name, name) for name in PRESETS)]
    preset = gr.Dropdown(presets, value=usual.preset, label="Count as a publication does")
    window = gr.Number(usual.window_s, label="Windows for the curves, seconds", info="0: none.", minimum=0)
    with gr.Row():
        frames = gr.Number(0, label="Frames per clip", info="0: all.", precision=0, minimum=0, min_width=130)
        skipped = gr.Number(
            0, label="Frames the model was given", info="Left out.", precision=0, minimum=0, min_width=130
        )
    with gr.Row():
        size = gr.Textbox(label="Size, WIDTHxHEIGHT", info="Empty: their own.", max_length=20, min_width=130)
        rate = gr.Number(0, label="Rate, Hz", info="0: their own.", minimum=0, min_width=130)
    with gr.Row():
        video = gr.Textbox(label="Video of a run", info="Empty: the imagined one.", max_length=100, min_width=130)
        seed = gr.Number(usual.seed, label="Seed of the intervals", info="Of the resampling.", precision=0, minimum=0, min_width=130)  # fmt: skip
    paired = gr.Checkbox(usual.paired, label="Clips of equal names belong together")
    cameras = gr.Checkbox(usual.per_camera, label="Also each camera alone")
    drift = gr.Checkbox(usual.drift, label="Also the drift from each clip's beginning")
    agree = gr.Checkbox(usual.consistency, label="Also whether cameras agree (datasets)")
    return {
        "weights": weights, "preset": preset, "frames": frames, "condition_frames": skipped, "frequency_hz": rate,
        "size": size, "paired": paired, "per_camera": cameras, "window_s": window, "drift": drift, "consistency": agree,
        "video": video, "seed": seed,
    }  # fmt: skip


def _results(site: Site) -> Parts:
    """Where progress and results appear."""
    import gradio as gr

    ready = shown.status("Ready. The example takes about 20 seconds.")
    status = gr.HTML(ready, label="Progress", elem_id="score-status", css_template=score_shown.CSS, min_height=44)
    film = player(site.films, label="Both sides of the first clip", elem_id="score-film", visible=False, aspect=6)
    table = gr.HTML(label="Scores", elem_id="score-table", css_template=score_shown.CSS)
    figure = gr.Plot(label="Along the clips", show_label=False, visible=False, elem_id="score-curves")
    cards = gr.HTML(label="Curves as numbers, and metric cards", elem_id="score-cards", css_template=score_shown.CSS)
    file = gr.DownloadButton("Download scores.json", visible=False, elem_id="score-file")
    with gr.Accordion("Put beside an earlier result", open=False, elem_id="score-compare"):
        earlier = gr.Dropdown([], label="Of this visit", value=None, interactive=True)
        other = gr.File(label="Or a scores.json that `detour score` wrote", file_types=[".json"], height=110)
        beside = gr.HTML(label="Comparison", elem_id="score-beside", css_template=score_shown.CSS)
    code = gr.Code(
        command(site, "", ScoreWish()),
        label="The same on the command line", language=None, interactive=False, lines=1, wrap_lines=True,
    )  # fmt: skip
    return {
        "status": status, "film": film, "table": table, "figure": figure, "cards": cards,
        "file": file, "earlier": earlier, "other": other, "beside": beside, "code": code,
    }  # fmt: skip


def _wire(site: Site, wires: Wires, asked: Parts, told: Parts) -> None:
    fields = {name: widget for name, widget in asked.items() if name not in ("go", "stop")}
    _wire_run(site, wires, asked, told, fields)
    _wire_command(site, wires, told, fields)
    _wire_sides(site, asked)
    _wire_beside(site, told)


def _wire_run(site: Site, wires: Wires, asked: Parts, told: Parts, fields: Parts) -> None:
    """Score and Stop."""
    import gradio as gr

    queue = Turns()

    def announce(request: gr.Request) -> Parts:
        site.visitors.begin(session_of(request))
        return {
            asked["go"]: gr.Button(interactive=False),
            asked["stop"]: gr.Button(interactive=True),
            told["status"]: shown.status("Starting …", 0.0),
        }

    def run(request: gr.Request, *values: Any) -> Iterator[Parts]:
        session = session_of(request)
        idle = {asked["go"]: gr.Button(interactive=True), asked["stop"]: gr.Button(interactive=False)}
        try:
            wish = wish_from(dict(zip(fields, values, strict=True)))
            yield {wires.here: wish.link().query}
            for view in scoring(site, session, wish, queue):
                yield (
                    _step(site, session, view, told)
                    if isinstance(view, Step)
                    else (_changes(site, session, wish, view, told) | idle)
                )
        except Stopped:
            yield {told["status"]: shown.status("Stopped; nothing was scored."), **idle}
        except DetourError as error:
            yield {told["status"]: score_shown.refusal(str(error)), **idle}

    def halt(request: gr.Request) -> Any:
        site.visitors.stop(session_of(request))
        return gr.Button(interactive=False)

    outputs = [*told.values(), asked["go"], asked["stop"], wires.here]
    asked["go"].click(announce, None, [asked["go"], asked["stop"], told["status"]], **QUIET).then(
        run,
        list(fields.values()),
        outputs,
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )
    asked["stop"].click(halt, None, asked["stop"], **QUIET)


def _step(site: Site, session: str, step: Step, told: Parts) -> Parts:
    """Where the work stands; a stop is told until the work has ended."""
    words = f"Stopping · {step.what}" if site.visitors.signal(session).is_set() else step.words()
    return {told["status"]: shown.status(words, step.share or 0.0)}


def _wire_command(site: Site, wires: Wires, told: Parts, fields: Parts) -> None:
    """The command follows the widgets; the widgets follow a link."""
    import gradio as gr

    widgets = list(fields.values())

    def say(request: gr.Request, *values: Any) -> str:
        try:
            return command(site, session_of(request), wish_from(dict(zip(fields, values, strict=True))))
        except DetourError as error:
            return f"# {error}"

    def arrive(query: str) -> Any:
        link = values_for("scores", query)
        if link is None:
            return gr.skip()
        try:
            wish = linked_wish(link)
        except DetourError as error:
            return {told["status"]: shown.problem(str(error))}
        return {widget: _shown_value(wish, name) for name, widget in fields.items()}

    gr.on([widget.change for widget in widgets], say, widgets, told["code"], trigger_mode="always_last", **QUIET)
    wires.address.change(arrive, wires.address, [*widgets, told["status"]], **QUIET).then(
        say, widgets, told["code"], **QUIET
    )


def _wire_sides(site: Site, asked: Parts) -> None:
    """Whoever opens a list of sides sees what there is by now."""
    import gradio as gr

    def look(request: gr.Request) -> tuple[Any, Any]:
        found = choices(site, session_of(request))
        return gr.Dropdown(found), gr.Dropdown([OWN_TRUTH, *(one for one in found if one[1] not in EXAMPLES)])

    for side in ("a", "b"):
        asked[side].focus(look, None, [asked["a"], asked["b"]], **QUIET)


def _wire_beside(site: Site, told: Parts) -> None:
    """The newest result beside an earlier one."""
    import gradio as gr

    def put(request: gr.Request, name: str | None, file: str | None) -> str:
        return score_shown.beside(site.visitors.folder(session_of(request)) / KEPT, name, file)

    earlier, other = told["earlier"], told["other"]
    gr.on([earlier.input, other.upload], put, [earlier, other], told["beside"], **QUIET)


def wish_from(values: Parts) -> ScoreWish:
    """What the widgets say; empty texts, empty lists and zeros are what is usual.

    Raises:
        BadRequest: for a number out of range.
    """
    plain: Parts = {name: (value or "") if name in TEXTS else value for name, value in values.items()}
    plain |= {name: values[name] or None for name in NUMBERS}
    plain |= {"metrics": tuple(values["metrics"] or ()), "seed": values["seed"] or 0}
    return ScoreWish(**plain)


def _shown_value(wish: ScoreWish, name: str) -> Any:
    value = getattr(wish, name)
    if name in NUMBERS:
        return value or 0
    return list(value) if isinstance(value, tuple) else value


def _changes(site: Site, session: str, wish: ScoreWish, scored: Scored, told: Parts) -> Parts:
    """Everything that a result changes on the page."""
    import gradio as gr

    folder = site.visitors.folder(session) / KEPT
    earlier = earlier_results(folder)
    path = keep(scored.scores, wish, folder)
    rows = score_figures.rows_of(scored.scores)
    return {
        told["status"]: shown.status(score_shown.summary(scored.scores, scored.seconds), 1.0),
        told["film"]: _player(site, session, scored.pair),
        told["table"]: score_shown.table(scored.scores),
        told["figure"]: gr.Plot(score_figures.curves(rows) if rows else None, visible=bool(rows)),
        told["cards"]: score_figures.numbers(rows) + score_shown.cards(scored.scores),
        told["file"]: gr.DownloadButton(value=str(path), visible=True),
        told["earlier"]: gr.Dropdown(earlier, value=None),
        told["beside"]: "",
    }


def _player(site: Site, session: str, pair: Pairing | None) -> "gradio.HTML":
    import gradio as gr

    return gr.HTML(visible=False) if pair is None else gr.HTML(film_of(site.films, session, pair).value(), visible=True)
