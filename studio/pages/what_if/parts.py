"""The What if page, laid out: a clip, one change, the cameras and the map to point at, and what came of it."""

from typing import TYPE_CHECKING

from studio.live.what_if.looking import GRADCAM, METHODS
from studio.live.what_if.questions import (
    CHANGES,
    FIRST_PLANNER,
    MAX_SECONDS,
    OBJECT,
    PATH,
    REMOVE,
    TEXT,
    VARIANTS,
    WEATHER,
    offered_planners,
)
from studio.town_sprites import KINDS, sprite_of
from studio.web import shown
from studio.web.components.birds_eye import birds_eye
from studio.web.components.camera_picker import camera_picker
from studio.web.components.player import player
from studio.web.films import Films

if TYPE_CHECKING:
    import gradio

Parts = dict[str, "gradio.components.Component"]

WEATHERS = ("clear", "overcast", "fog", "rain", "wet", "snow")
TITLES = {
    OBJECT: "Something stands there",
    REMOVE: "Somebody is gone",
    WEATHER: "Another light",
    TEXT: "Other words",
    PATH: "Another path",
}
EXAMPLES = ("turn left at the crossing", "turn right at the crossing", "stop", "keep going straight")
STAGE = "Press What if?: before, after and their difference play here."
READY = "The planner sees the same seconds twice, once with the change."
# the widgets that say what is asked, in the order of their values
CONTROLS = (
    "change", "kind", "where", "x_m", "y_m", "yaw_deg", "speed_mps", "height_m", "track", "weather", "hour", "text", "path", "planner",
    "samples", "seed", "seconds",
)  # fmt: skip


def change_parts() -> Parts:
    """What is changed, and who is asked."""
    import gradio as gr

    parts: Parts = {}
    parts["change"] = gr.Radio(
        [(TITLES[change], change) for change in CHANGES], value=OBJECT, label="What if …", elem_id="what-if-change"
    )
    groups = {OBJECT: _object, REMOVE: _remove, WEATHER: _weather, TEXT: _text, PATH: _path}
    columns = {}
    for change, layout in groups.items():
        with gr.Column(visible=change == OBJECT, elem_id=f"what-if-{change}") as columns[change]:
            parts |= layout()
    parts["change"].change(
        lambda chosen: [gr.Column(visible=chosen == change) for change in columns],
        parts["change"], [*columns.values()], show_progress="hidden", queue=False, api_visibility="private",
    )  # fmt: skip
    parts |= _asked()
    return parts


def _object() -> Parts:
    import gradio as gr

    kind = gr.Dropdown(list(KINDS), value="car", label="What", elem_id="what-if-kind")
    where = gr.Dropdown(
        [(f"{name.replace('_', ' ')}: {text}", name) for name, text in VARIANTS.items()], value="near", label="Where",
        info="Or click on the road in a camera or on the map; drag it there.", elem_id="what-if-where",
    )  # fmt: skip
    with gr.Accordion("Size, heading, speed, exact place", open=False):
        with gr.Row():
            height = gr.Number(
                0, label="Height, m", info=f"0: its usual one ({sprite_of('car').height_m:g} m for a car).",
                minimum=0, maximum=6, step=0.1, min_width=140, elem_id="what-if-height",
            )  # fmt: skip
            speed = gr.Number(0, label="Speed, m/s", info="0 stands.", minimum=0, maximum=40, step=0.5, min_width=140)
        yaw = gr.Slider(-180, 180, value=0, step=5, label="Heading, degrees (0 shows its back, left is +)", buttons=[])
        with gr.Row():
            x = gr.Number(12, label="Ahead, m", step=0.5, min_width=120, elem_id="what-if-x")
            y = gr.Number(0, label="To the left, m", step=0.5, min_width=120, elem_id="what-if-y")
    return {"kind": kind, "where": where, "x_m": x, "y_m": y, "yaw_deg": yaw, "speed_mps": speed, "height_m": height}


def _remove() -> Parts:
    import gradio as gr

    track = gr.Dropdown(
        [], label="Who", allow_custom_value=True, elem_id="what-if-track",
        info="Or click on them on the map. Clips of the town only: the seconds are rendered again without them.",
    )  # fmt: skip
    return {"track": track}


def _weather() -> Parts:
    import gradio as gr

    with gr.Row():
        weather = gr.Dropdown(list(WEATHERS), value="fog", label="Weather", min_width=130, elem_id="what-if-weather")
        hour = gr.Slider(0, 24, value=22, step=0.5, label="Hour of the day", buttons=[], min_width=180)
    return {"weather": weather, "hour": hour}


def _text() -> Parts:
    import gradio as gr

    text = gr.Textbox(label="The driver is told", max_length=500, placeholder=EXAMPLES[0], elem_id="what-if-text")
    gr.Examples([[text] for text in EXAMPLES], inputs=[text], label="Examples")
    return {"text": text}


def _path() -> Parts:
    import gradio as gr

    gr.HTML(
        '<p class="empty-note">Drag the points on the map: where the car is after 1, 2, 3 and 4 s. Both futures are imagined, '
        "along the recorded path and along yours.</p>",
        label="How to draw",
    )
    return {"path": gr.Textbox(label="Path", visible="hidden", elem_id="what-if-path")}


def _asked() -> Parts:
    import gradio as gr

    with gr.Row():
        planner = gr.Dropdown(
            list(offered_planners()), value=FIRST_PLANNER, label="Who plans", min_width=150, elem_id="what-if-planner"
        )
        seconds = gr.Slider(0, MAX_SECONDS, value=2, step=0.5, label="Imagine on, s", buttons=[], min_width=150)
    with gr.Accordion("More", open=False), gr.Row():
        seed = gr.Number(0, label="Seed", info="Shared by both sides.", precision=0, minimum=0, min_width=120)
        samples = gr.Number(8, label="Plans per answer", precision=0, minimum=1, maximum=32, min_width=120)
    return {"planner": planner, "seconds": seconds, "seed": seed, "samples": samples}


def run_parts() -> Parts:
    """Start and stop, and what happens."""
    import gradio as gr

    with gr.Row():
        go = gr.Button("What if?", variant="primary", elem_id="what-if-go")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="what-if-stop")
    status = gr.HTML(shown.status(READY), label="Progress", elem_id="what-if-status", min_height=44)
    return {"go": go, "stop": stop, "status": status}


def stage_parts() -> Parts:
    """Cameras to point at, the map, and the numbers."""
    import gradio as gr

    cameras = camera_picker(label="Cameras now, with the change. Click on the road", elem_id="what-if-cameras")
    note = gr.HTML(label="About the change", elem_id="what-if-note", padding=False)
    above = birds_eye(label="From above", elem_id="what-if-map", selectable=True, height_px=360, follows="what-if-film")
    response = gr.HTML(label="How the plan moved", elem_id="what-if-response", min_height=24)
    return {"cameras": cameras, "note": note, "map": above, "response": response}


def film_parts(films: Films) -> Parts:
    """Before, after and the difference with one scrubber; the command."""
    import gradio as gr

    film = player(films, label="Before and after", elem_id="what-if-film", aspect=968 / 500, hint=STAGE)
    told = gr.HTML(label="Notes", elem_id="what-if-told")
    command = gr.Code(
        label="The same on the command line",
        language=None,
        interactive=False,
        lines=1,
        wrap_lines=True,
        elem_id="what-if-command",
    )
    actions = gr.File(label="actions.csv of this command", visible=False, interactive=False, elem_id="what-if-actions")
    return {"film": film, "told": told, "command": command, "actions": actions}


def variant_parts() -> Parts:
    """All variants and controls at once."""
    import gradio as gr

    with gr.Accordion("All variants and controls", open=False, elem_id="what-if-variants"):
        gr.HTML(
            '<p class="empty-note">The same object at every place, and controls that a planner which looks at the road ignores: '
            "in the sky, a bush beside the road, nothing at all (exactly 0).</p>",
            label="What it is",
        )
        with gr.Row():
            go = gr.Button("Ask about all", elem_id="what-if-all")
            stop = gr.Button("Stop", variant="stop", interactive=False)
        status = gr.HTML(label="Progress", min_height=24)
        table = gr.HTML(label="Variants and controls", elem_id="what-if-table")
    return {"all_go": go, "all_stop": stop, "all_status": status, "all_table": table}


def looking_parts() -> Parts:
    """Where the planner looks."""
    import gradio as gr

    with gr.Accordion("Where the planner looks", open=False, elem_id="what-if-looking"):
        method = gr.Radio([(text, name) for name, text in METHODS.items()], value=GRADCAM, label="Method")
        with gr.Row():
            go = gr.Button("Look", elem_id="what-if-look")
            stop = gr.Button("Stop", variant="stop", interactive=False)
        status = gr.HTML(label="Progress", min_height=24, elem_id="what-if-look-status")
        pictures = gr.HTML(label="Heat over the newest pictures", elem_id="what-if-heat")
    return {"method": method, "look_go": go, "look_stop": stop, "look_status": status, "look_pictures": pictures}
