"""The widgets of the page Imagine, part by part; nothing happens here."""

from typing import Any

from studio.live.imagine.wishes import FUTURES, MAX_SECONDS, MAX_STEPS, PATH, POLICY, SPEED
from studio.web import shown
from studio.web.components.birds_eye import birds_eye
from studio.web.components.player import player
from studio.web.films import Films
from worldmodel.clips import MAX_INSTRUCTION_CHARACTERS

Parts = dict[str, Any]

EXAMPLES = (
    "follow the road",
    "turn left at the crossing",
    "turn right at the crossing",
    "slow down and stop",
    "change to the left lane",
)
CHANGES = 3
DOWNLOADS = {"film": "Film (mp4)", "gif": "GIF", "path": "Path (CSV)", "archive": "Run folder (zip)"}
READY = "Press Imagine: the drive goes on from the moment marked 'now'."


def wish_parts() -> Parts:
    """What the driver is told, who drives, how long, how many, and the rest."""
    import gradio as gr

    text = gr.Textbox(
        label="Instruction", info="Empty: what the driver was told in the recording.",
        max_length=MAX_INSTRUCTION_CHARACTERS, elem_id="imagine-text",
    )  # fmt: skip
    gr.Examples([[example] for example in EXAMPLES], inputs=[text], label="Examples")
    with gr.Accordion("Say something else on the way", open=False):
        rows = [_change(number) for number in range(CHANGES)]
    drive = gr.Radio(
        [("Let the policy drive", POLICY), ("Set speed and turn", SPEED), ("Draw a path", PATH)],
        value=POLICY, label="Who drives", elem_id="imagine-drive",
    )  # fmt: skip
    with gr.Group(visible=False) as command:
        speed = gr.Slider(0, 25, value=8, step=0.5, label="Speed, m/s", buttons=[])
        turn = gr.Slider(-30, 30, value=0, step=1, label="Turn, degrees per second (left is +)", buttons=[])
    drawn = gr.HTML(visible=False, label="About the drawn path", elem_id="imagine-drawn")
    with gr.Row():
        seconds = gr.Slider(0.5, MAX_SECONDS, value=4, step=0.5, label="Seconds", buttons=[], min_width=160)
        futures = gr.Radio(list(FUTURES), value=1, label="Futures at once", min_width=140, elem_id="imagine-futures")
    more = more_parts()
    return {
        "text": text, **{f"{name}{i}": part for i, row in enumerate(rows) for name, part in row.items()},
        "drive": drive, "speed": speed, "turn": turn, "seconds": seconds, "futures": futures, **more,
        "command_group": command, "drawn": drawn,
    }  # fmt: skip


def _change(number: int) -> Parts:
    import gradio as gr

    with gr.Row():
        start = gr.Number(
            label=f"From s ({number + 1})",
            value=number + 1,
            minimum=0,
            maximum=MAX_SECONDS,
            step=0.5,
            min_width=90,
            scale=1,
        )
        text = gr.Textbox(
            label=f"Instruction ({number + 1})", max_length=MAX_INSTRUCTION_CHARACTERS, min_width=150, scale=3
        )
    return {"from": start, "then": text}


def more_parts() -> Parts:
    """What is rarely needed."""
    import gradio as gr

    weights = {}
    with gr.Accordion("More", open=False):
        seed = gr.Number(0, label="Seed", info="The same seed gives the same future.", precision=0, minimum=0)
        steps = gr.Slider(
            1, MAX_STEPS, value=8, step=1, label="Sampling steps", info="More is slower and finer.", buttons=[]
        )
        for name, of in {"text_weight": "instruction", "motion_weight": "motion", "past_weight": "past"}.items():
            info = "1 is plain and fastest, 2 is strong." if name == "text_weight" else None
            weights[name] = gr.Slider(0, 6, value=1, step=0.5, label=f"Weight of the {of}", info=info, buttons=[])
        memory = gr.Radio(
            [("Window: constant cost", "window"), ("Selective: keeps what matters", "selective"), ("Full: keeps all", "full")],
            value="window", label="Memory",
        )  # fmt: skip
    return {"seed": seed, "steps": steps, **weights, "memory": memory}


def stage_parts(films: Films) -> Parts:
    """Buttons, progress and everything that futures are shown in."""
    import gradio as gr

    with gr.Row():
        go = gr.Button("Imagine", variant="primary", elem_id="imagine-go")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="imagine-stop")
    status = gr.HTML(shown.status(READY), label="Progress", elem_id="imagine-status", min_height=44)
    film = player(films, label="Cameras: recorded and imagined", elem_id="imagine-film")
    taken = taking_parts()
    above = birds_eye(label="Paths from above", elem_id="imagine-above", follows="imagine-film")
    told = gr.HTML(label="Before you trust it", visible=False, elem_id="imagine-told")
    scores = gr.HTML(label="Against what happened", visible=False, elem_id="imagine-scores")
    with gr.Accordion("The same on the command line", open=False):
        command = gr.Code(
            label="Command", language=None, interactive=False, lines=1, wrap_lines=True, elem_id="imagine-command"
        )
    auto = gr.Textbox(label="Start by itself", visible="hidden", elem_id="imagine-auto")
    return {
        "go": go, "stop": stop, "status": status, "film_shown": film, "above": above, "told": told, "scores": scores,
        "command": command, "auto": auto, **taken,
    }  # fmt: skip


def taking_parts() -> Parts:
    """What can be taken home afterwards."""
    import gradio as gr

    save = gr.Button("Save this run", interactive=False, size="sm", elem_id="imagine-save")
    saved = gr.HTML(label="Saving", visible=False, elem_id="imagine-saved")
    with gr.Row(visible=False) as row:
        downloads = {
            name: gr.DownloadButton(label, size="sm", min_width=120, elem_id=f"imagine-{name}-file")
            for name, label in DOWNLOADS.items()
        }
    return {"save": save, "saved": saved, "made": gr.State(""), "taken": row, **downloads}
