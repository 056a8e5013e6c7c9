"""Scores: two sides, metrics and a network; numbers with intervals and cards, curves, and what cannot be compared."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.live.background import Step
from studio.live.polite import Stopped
from studio.live.score_pairs import Pairing
from studio.live.score_sides import EXAMPLES, choices
from studio.live.score_wishes import FEATURES, ScoreWish
from studio.live.scoring import Scored, command, scoring
from studio.pages import score_figures, score_shown
from studio.pages.frame import Wires, session_of, values_for
from studio.scoring import compare_with
from studio.web import shown
from studio.web.components.player import player
from studio.web.films import Film, Track
from studio.web.site import Site
from studio.web.turns import Turns
from worldmodel.errors import BadTable, DetourError

if TYPE_CHECKING:
    import gradio

    from eval_fid_fvd.results import Scores

INTRO = (
    "How far is what was generated from what is real? Every number comes with an interval, the level that real clips reach "
    "among themselves, and a card that says how it was made."
)
METRICS = {
    "PSNR · pairs of frames": "psnr",
    "SSIM · pairs of frames": "ssim",
    "FID / FD · pictures": "fid",
    "FVD · clips": "fvd",
    "KID / KD · pictures": "kid",
    "KVD · clips": "kvd",
    "FID at endless samples": "fid_inf",
    "FVD at endless samples": "fvd_inf",
    "Precision": "precision",
    "Recall": "recall",
    "Density": "density",
    "Coverage": "coverage",
    "LPIPS · needs weights": "lpips",
}
OWN_TRUTH = ("What really followed (runs and examples know it)", "")
PRESETS = ("vista", "epona", "magicdrive-v2", "opendwm")  # of eval_fid_fvd.presets, which is heavy to import
KEPT = "scores"  # folder of earlier results in the visitor's folder
MOST_BYTES = 5_000_000  # of a scores.json that is put beside
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
        frames = gr.Number(None, label="Frames per clip", info="Empty: all.", precision=0, minimum=1, min_width=130)
        skipped = gr.Number(
            None, label="Frames the model was given", info="Left out.", precision=0, minimum=0, min_width=130
        )
    with gr.Row():
        size = gr.Textbox(label="Size, WIDTHxHEIGHT", info="Empty: their own.", max_length=20, min_width=130)
        rate = gr.Number(None, label="Rate, Hz", info="Empty: their own.", minimum=0, min_width=130)
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
    code = gr.Code(label="The same on the command line", language=None, interactive=False, lines=1, wrap_lines=True)
    return {
        "status": status, "film": film, "table": table, "figure": figure, "cards": cards,
        "file": file, "earlier": earlier, "other": other, "beside": beside, "code": code,
    }  # fmt: skip


def _wire(site: Site, wires: Wires, asked: Parts, told: Parts) -> None:
    import gradio as gr

    fields = [name for name in asked if name not in ("go", "stop")]
    widgets = [asked[name] for name in fields]
    shown_parts = [*told.values(), asked["go"], asked["stop"], wires.here]
    quiet: Parts = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
    queue = Turns()

    def wish_of(values: tuple[Any, ...]) -> ScoreWish:
        return wish_from(dict(zip(fields, values, strict=True)))

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
            wish = wish_of(values)
            yield {wires.here: wish.link().query}
            for view in scoring(site, session, wish, queue):
                if isinstance(view, Step):
                    halting = site.visitors.signal(session).is_set()
                    words = f"Stopping · {view.what}" if halting else view.words()
                    yield {told["status"]: shown.status(words, view.share or 0.0)}
                else:
                    yield {**_changes(site, session, wish, view, told), **idle}
        except Stopped:
            yield {told["status"]: shown.status("Stopped; nothing was scored."), **idle}
        except DetourError as error:
            yield {told["status"]: score_shown.refusal(str(error)), **idle}

    def halt(request: gr.Request) -> Parts:
        site.visitors.stop(session_of(request))
        return {asked["stop"]: gr.Button(interactive=False)}

    def say_command(request: gr.Request, *values: Any) -> str:
        try:
            return command(site, session_of(request), wish_of(values))
        except DetourError as error:
            return f"# {error}"

    def look_again(request: gr.Request) -> tuple[Any, Any]:
        found = choices(site, session_of(request))
        return gr.Dropdown(found), gr.Dropdown([OWN_TRUTH, *(one for one in found if one[1] not in EXAMPLES)])

    def arrive(query: str) -> Any:
        link = values_for("scores", query)
        if link is None:
            return gr.skip()
        try:
            wish = ScoreWish.of(link)
        except DetourError as error:
            return {told["status"]: shown.problem(str(error))}
        return {widget: _shown_value(wish, name) for name, widget in zip(fields, widgets, strict=True)}

    def put_beside(request: gr.Request, name: str | None, file: str | None) -> str:
        return beside(site.visitors.folder(session_of(request)) / KEPT, name, file)

    outputs = list(dict.fromkeys(shown_parts))
    asked["go"].click(announce, None, [asked["go"], asked["stop"], told["status"]], **quiet).then(
        run, widgets, outputs, show_progress="hidden", concurrency_limit=None, api_visibility="private"
    )
    asked["stop"].click(halt, None, [asked["stop"]], **quiet)
    triggers = [widget.change for widget in widgets]
    gr.on(triggers, say_command, widgets, told["code"], trigger_mode="always_last", **quiet)
    for side in ("a", "b"):
        asked[side].focus(look_again, None, [asked["a"], asked["b"]], **quiet)
    wires.address.change(arrive, wires.address, [*widgets, told["status"]], **quiet).then(
        say_command, widgets, told["code"], **quiet
    )
    gr.on(
        [told["earlier"].input, told["other"].upload],
        put_beside,
        [told["earlier"], told["other"]],
        told["beside"],
        **quiet,
    )


def wish_from(values: Parts) -> ScoreWish:
    """What the widgets say; empty texts and lists are what is usual.

    Raises:
        BadRequest: for a number out of range.
    """
    texts = ("a", "b", "features", "weights", "preset", "size", "video")
    plain: Parts = {name: (value or "") if name in texts else value for name, value in values.items()}
    plain |= {"metrics": tuple(values["metrics"] or ()), "seed": values["seed"] or 0}
    return ScoreWish(**plain)


def _shown_value(wish: ScoreWish, name: str) -> Any:
    value = getattr(wish, name)
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

    return gr.HTML(visible=False) if pair is None else gr.HTML(_film(site, session, pair).value(), visible=True)


def _film(site: Site, session: str, pair: Pairing) -> Film:
    """Both sides of one clip as a film."""
    tracks = [
        Track(name="a", label="Generated side", alt=f"Generated side, clip {pair.clip}, all cameras.", imagined=pair.of_a_run),
        Track(name="b", label="Real side", alt=f"Real side, clip {pair.clip}, all cameras."),
    ]  # fmt: skip
    film = site.films.begin(session, rate_hz=pair.frequency_hz, start_s=1 / pair.frequency_hz, tracks=tracks)
    film.add("a", np.ascontiguousarray(pair.a))
    film.add("b", np.ascontiguousarray(pair.b))
    film.end()
    return film


def keep(scores: "Scores", wish: ScoreWish, folder: Path) -> Path:
    """Write scores.json into a folder of its own, so that later results can be put beside it."""
    number = 1 + sum(1 for _ in folder.glob("*")) if folder.is_dir() else 1
    sides = " against ".join(Path(side).name for side in (wish.a, wish.b) if side)
    name = "".join(letter if letter.isalnum() or letter in " -_." else "-" for letter in f"{number} {sides}")
    path = folder / name[:80].strip() / "scores.json"
    path.parent.mkdir(parents=True)
    scores.write(path)
    return path


def earlier_results(folder: Path) -> list[str]:
    """Names of what `keep` wrote, the newest first."""
    found = sorted(folder.glob("*/scores.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in found]


def beside(folder: Path, name: str | None, file: str | None) -> str:
    """The newest result beside an earlier one or a file, or why the two cannot be compared.

    Args:
        folder: Where results are kept.
        name: One of `earlier_results`.
        file: Path of an uploaded scores.json, which counts first.
    """
    from eval_fid_fvd.results import Scores

    known = earlier_results(folder)
    if not known:
        return shown.problem("There is no result to compare yet. Press Score first.")
    if not file and name not in known:
        return ""
    other = Path(file) if file else folder / str(name) / "scores.json"
    try:
        if other.stat().st_size > MOST_BYTES:
            raise BadTable(f"the file has more than {MOST_BYTES:,} bytes; scores are much smaller. Give a scores.json.")
        rows = compare_with(Scores.read(folder / known[0] / "scores.json"), other)
    except DetourError as error:
        return score_shown.refusal(str(error))
    return score_shown.comparison(rows, "the file" if file else f"'{name}'")
