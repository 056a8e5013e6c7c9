"""The widgets of the page, part by part; each part is a mapping from name to widget. Nothing happens here."""

from typing import Any

from studio.pages.imagining import MAX_SECONDS, MAX_STEPS
from studio.pages.whatif import VARIANTS
from studio.town_sprites import KINDS
from studio.web import shown

EXAMPLES = (
    "follow the road",
    "turn left at the crossing",
    "turn right at the crossing",
    "slow down and stop",
    "change to the left lane",
)
POLICY, COMMAND = "Let the policy drive", "Command speed and turn"

Parts = dict[str, Any]


def choosing(folder_hint: str, any_folder: bool) -> Parts:
    """Where the drive is chosen: gallery, clip, moment, another dataset; `folder_hint` is shown where a folder is typed."""
    import gradio as gr

    gr.Markdown("## 1 · Choose a moment")
    gallery = gr.Gallery(
        label="Clips", columns=3, height=340, allow_preview=False, interactive=False, buttons=[], object_fit="cover"
    )
    clip = gr.Dropdown(label="Clip", choices=[], interactive=True)
    moment = gr.Slider(0, 1, step=0.125, value=0, label="Moment: now, in seconds from the clip's start", buttons=[])
    with gr.Accordion("Another dataset", open=False, visible=any_folder):
        folder = gr.Textbox(
            label="Folder of a LeRobot dataset on this machine",
            info="`detour import` and `detour town` write such folders. Press Enter to open it.",
            placeholder=folder_hint,
        )
    note = gr.HTML(label="About the dataset")
    return {"gallery": gallery, "clip": clip, "moment": moment, "folder": folder, "note": note}


def settings() -> Parts:
    """What the driver is told, who drives, how long, and the rest."""
    import gradio as gr

    gr.Markdown("## 2 · Say what happens")
    text = gr.Textbox(label="Instruction", info="Empty: what the driver was told in the recording.", max_length=500)
    gr.Examples([[example] for example in EXAMPLES], inputs=[text], label="Examples")
    drive = gr.Radio([POLICY, COMMAND], value=POLICY, label="Who drives")
    with gr.Group(visible=False) as commands:
        speed = gr.Slider(0, 25, value=8, step=0.5, label="Speed, m/s", buttons=[])
        turn = gr.Slider(-30, 30, value=0, step=1, label="Turn, degrees per second (left is +)", buttons=[])
    seconds = gr.Slider(0.5, MAX_SECONDS, value=4, step=0.5, label="Seconds to imagine", buttons=[])
    with gr.Accordion("More", open=False):
        seed = gr.Number(0, label="Seed", info="The same seed gives the same future.", precision=0, minimum=0)
        steps = gr.Slider(
            1, MAX_STEPS, value=8, step=1, label="Sampling steps", info="More is slower and finer.", buttons=[]
        )
        guidance = gr.Slider(
            0, 6, value=1, step=0.5, label="Weight of the instruction", info="1 is plain and fastest.", buttons=[]
        )
        memory = gr.Radio(
            [
                ("Window: constant cost", "window"),
                ("Selective: constant cost, keeps what matters", "selective"),
                ("Full: keeps everything", "full"),
            ],
            value="window",
            label="Memory",
        )
    drive.change(
        lambda who: gr.Group(visible=who == COMMAND), drive, commands, show_progress="hidden", api_visibility="private"
    )
    names = ("text", "drive", "speed", "turn", "seconds", "seed", "steps", "guidance_text", "memory")
    return dict(zip(names, (text, drive, speed, turn, seconds, seed, steps, guidance, memory), strict=True))


def stage() -> Parts:
    """Buttons, progress and everything that an imagined future is shown in."""
    import gradio as gr

    with gr.Row():
        go = gr.Button("Imagine", variant="primary", elem_id="imagine")
        stop = gr.Button("Stop", variant="stop", interactive=False, elem_id="stop")
    status = gr.HTML(shown.status("Ready."), label="Progress", elem_id="imagine-status")
    live = gr.HTML(label="Cameras", elem_id="live", min_height=120)
    film = gr.Video(
        label="Film: recorded, then imagined; below what happened",
        show_label=False,
        visible=False, autoplay=True, interactive=False, include_audio=False, buttons=["download"], elem_id="film",
    )  # fmt: skip
    birds_eye = gr.HTML(label="Bird's-eye view", elem_id="birds-eye")
    scores = gr.HTML(label="Scores", elem_id="scores")
    command = gr.Code(label="The same on the command line", language=None, interactive=False, lines=1, wrap_lines=True)
    actions = gr.File(label="actions.csv of this command", visible=False, interactive=False)
    names = ("go", "stop", "status", "live", "film", "birds_eye", "scores", "command", "actions")
    return dict(zip(names, (go, stop, status, live, film, birds_eye, scores, command, actions), strict=True))


def obstacle() -> Parts:
    """What is put in the way and where, and what came of it."""
    import gradio as gr

    gr.Markdown("## 3 · What if something stood there?")
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            variants = [(f"{name}: {meaning}", name) for name, meaning in VARIANTS.items()]
            variant = gr.Dropdown(variants, value="near", label="Where")
            kind = gr.Dropdown(list(KINDS), value="car", label="What")
            go = gr.Button("What if?", variant="primary", elem_id="what-if")
            status = gr.HTML(
                shown.status("The planner sees the same past twice, once with the object in it."),
                label="Progress",
                elem_id="what-if-status",
            )
            response = gr.HTML(label="Response", elem_id="response")
            birds_eye = gr.HTML(label="Plans from above", elem_id="plans")
        with gr.Column(scale=3, min_width=320):
            stills = gr.HTML(label="Now, before and after", elem_id="stills")
            film = gr.Video(
                label="Film: what the planner saw, before and after",
                show_label=False,
                visible=False, autoplay=True, loop=True, interactive=False, include_audio=False,
                buttons=["download"], elem_id="what-if-film",
            )  # fmt: skip
            command = gr.Code(
                label="The same on the command line", language=None, interactive=False, lines=1, wrap_lines=True
            )
    names = ("variant", "kind", "go", "status", "response", "birds_eye", "stills", "film", "command")
    return dict(zip(names, (variant, kind, go, status, response, birds_eye, stills, film, command), strict=True))
