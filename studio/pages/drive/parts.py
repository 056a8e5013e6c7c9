"""The Drive page, laid out: where the drive begins, the cockpit, and what is kept of it."""

from typing import TYPE_CHECKING

from studio.pages.drive.shown import CSS, gauges_of
from studio.town_sprites import KINDS
from studio.web import shown
from studio.web.components.birds_eye import birds_eye, scene
from studio.web.components.pad import pad
from studio.web.components.player import player
from studio.web.films import Films

if TYPE_CHECKING:
    import gradio

Parts = dict[str, "gradio.components.Component"]

WORLDS = {"The dream": "dream", "The town itself": "town", "Both, with the same controls": "both"}
EXAMPLES = ("turn left at the crossing", "turn right at the crossing", "slow down and stop", "speed up a little")
READY = "Press Drive, then steer with the arrow keys or W A S D; on a touch screen with the pad."
QUALITIES = {"Quick: 4 steps": 4, "Fine: 8 steps": 8, "Finest: 16 steps": 16}
HUNGRY = 5  # pictures left to play at which the next half second is asked for


def settings() -> Parts:
    """What is driven through."""
    import gradio as gr

    world = gr.Radio(
        list(WORLDS.items()), value="dream", label="Drive in", elem_id="drive-world",
        info="The town is what the clips that ship were recorded in; recordings have none.",
    )  # fmt: skip
    with gr.Accordion("More", open=False):
        steps = gr.Radio(list(QUALITIES.items()), value=8, label="Quality of the dream", info="More is slower.")
        seed = gr.Number(0, label="Seed", info="The same seed and keys give the same dream.", precision=0, minimum=0)
    return {"world": world, "steps": steps, "seed": seed}


def cockpit(films: Films) -> Parts:
    """What is seen, the gauges, and everything that steers."""
    import gradio as gr

    status = gr.HTML(shown.status(READY), label="State of the drive", elem_id="drive-status", min_height=28)
    film = player(films, label="The drive", elem_id="drive-player", hungry=HUNGRY)
    with gr.Row():
        go = gr.Button("Drive", variant="primary", interactive=False, elem_id="drive-go")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="drive-stop")
    gauges = gr.HTML(gauges_of({}), label="Gauges", elem_id="drive-gauges", css_template=CSS)
    with gr.Row():
        with gr.Column(scale=1, min_width=190):
            keys = pad(label="Steer the car", elem_id="drive-pad", keys_within="page-drive")
            autopilot = gr.Checkbox(
                True, label="Autopilot", info="The model drives; keys you hold overrule it.", elem_id="drive-autopilot"
            )
        with gr.Column(scale=2, min_width=300):
            steering = _said()
    above = birds_eye(
        label="The drive from above", elem_id="drive-above", height_px=280, value=scene(title="The drive from above")
    )
    return {
        "status": status, "film": film, "go": go, "stop": stop, "gauges": gauges, "pad": keys, "autopilot": autopilot,
        **steering, "above": above,
    }  # fmt: skip


def _said() -> Parts:
    """What the driver is told, and what is put in the way."""
    import gradio as gr

    text = gr.Textbox(
        label="Tell the driver", max_length=500, placeholder="what the clip says", elem_id="drive-text",
        info="Press Enter. Holds from the next half second on, for autopilot and dream.",
    )  # fmt: skip
    said: Parts = {}
    for first in range(0, len(EXAMPLES), 2):
        with gr.Row(equal_height=True):
            for number in range(first, min(first + 2, len(EXAMPLES))):
                said[f"say-{number}"] = gr.Button(
                    EXAMPLES[number], size="sm", min_width=130, elem_id=f"drive-say-{number}"
                )
    with gr.Row(equal_height=True):
        kind = gr.Dropdown(list(KINDS), value="car", label="Obstacle", min_width=110, elem_id="drive-kind")
        put = gr.Button("Put it ahead", interactive=False, min_width=130, elem_id="drive-put")
    note = gr.HTML(label="About text and obstacle", elem_id="drive-note", min_height=24)
    return {"text": text, **said, "kind": kind, "put": put, "note": note}


def keeping() -> Parts:
    """What becomes of the recording."""
    import gradio as gr

    keep = gr.Button("Keep this drive", interactive=False, elem_id="drive-keep")
    kept_status = gr.HTML(label="Keeping the drive", elem_id="drive-kept")
    with gr.Row(visible=False) as kept_row:
        imagine = gr.Button("Imagine from it", size="sm", min_width=120, elem_id="drive-imagine")
        what_if = gr.Button("Ask what if", size="sm", min_width=120, elem_id="drive-what-if")
        mp4 = gr.DownloadButton("Film (mp4)", size="sm", min_width=120, elem_id="drive-mp4")
        path = gr.DownloadButton("Path (CSV)", size="sm", min_width=120, elem_id="drive-csv")
    command = gr.Code(
        label="The same on the command line", language=None, interactive=False, lines=1, wrap_lines=True, visible=False
    )
    name = gr.Textbox(label="Name of the kept drive", visible="hidden")
    return {
        "keep": keep, "kept_status": kept_status, "kept_row": kept_row, "imagine": imagine, "what_if": what_if, "mp4": mp4,
        "path": path, "command": command, "name": name,
    }  # fmt: skip
