"""A pad to steer with: arrows on the screen, arrow keys or WASD, touch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.web.components.scripts import script

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).parent
AT_REST = {"throttle": 0, "steer": 0}
MARKUP = """
<div class="pad" role="group" tabindex="0">
  <button type="button" tabindex="-1" class="up" data-key="up" aria-label="Faster"></button>
  <button type="button" tabindex="-1" class="left" data-key="left" aria-label="Left"></button>
  <button type="button" tabindex="-1" class="down" data-key="down" aria-label="Slower"></button>
  <button type="button" tabindex="-1" class="right" data-key="right" aria-label="Right"></button>
  <span class="hint" aria-hidden="true">Arrow keys or W A S D</span>
</div>
"""


def pad(*, label: str, elem_id: str, keys_within: str = "", **options: Any) -> "gradio.HTML":
    """A pad; its value is {"throttle": -1 | 0 | 1, "steer": -1 | 0 | 1} as long as something is held down.

    Throttle 1 is faster, -1 slower; steer 1 is to the left, -1 to the right (the ego frame's sign). Every change triggers
    `input`; an event of another component (a hungry player's `input`) may simply take the pad as an input.

    Args:
        label: What is steered, for those who cannot see it.
        elem_id: Names it for style sheets and tests.
        keys_within: `elem_id` of a part of the page; keys are taken while the focus is in there or nowhere, and the pad is
            on the screen. Without it they are taken while the pad has the focus. Never from a field, a slider or a list.
        options: As `gradio.HTML`.
    """
    import gradio as gr

    return gr.HTML(
        dict(AT_REST),
        label=label,
        elem_id=elem_id,
        html_template=MARKUP,
        css_template=(HERE / "pad.css").read_text(encoding="utf-8"),
        js_on_load=script(["pad.js"], keys_within=keys_within),
        apply_default_css=False,
        **options,
    )
