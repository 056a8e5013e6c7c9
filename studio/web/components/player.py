"""A player for films that may still grow: several tracks in step, one scrubber."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.web.components.scripts import script
from studio.web.films import Films

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).parent
SCRIPTS = ("tiles.js", "frames.js", "player.js", "controls.js")  # one program, read in this order
MARKUP = """
<div class="player" role="group">
  <div class="stage" tabindex="0" role="group"></div>
  <div class="line">
    <span class="clock" aria-hidden="true"></span>
    <span class="rail">
      <input class="scrubber" type="range" min="0" max="1" value="0" step="1" aria-label="Time" disabled>
      <span class="now" aria-hidden="true" hidden>now</span>
      <span class="notes" role="list" aria-label="What holds when"></span>
    </span>
    <span class="last" aria-hidden="true"></span>
  </div>
  <div class="bar">
    <button type="button" class="back" aria-label="One frame back" title="One frame back" disabled></button>
    <button type="button" class="play" aria-label="Play" disabled></button>
    <button type="button" class="forth" aria-label="One frame on" title="One frame on" disabled></button>
    <label class="repeat"><input type="checkbox"> Loop</label>
    <label><span class="word">Speed</span> <select class="speed" aria-label="Speed">
      <option value="0.25">¼×</option><option value="0.5">½×</option><option value="1" selected>1×</option>
      <option value="2">2×</option></select></label>
    <span class="chips" role="group" aria-label="Shown"></span>
    <span class="said" role="status"></span>
    <button type="button" class="large" aria-label="Full screen" title="Full screen"></button>
  </div>
</div>
"""


def player(
    films: Films,
    *,
    label: str,
    elem_id: str,
    value: dict[str, Any] | None = None,
    aspect: float = 968 / 160,
    hint: str = "",
    hungry: int = 0,
    **options: Any,
) -> "gradio.HTML":
    """A player; its value is `Film.value()`, or None for an empty stage.

    It fetches the frames it lacks by itself, so an event need only hand over `film.value()` now and then; lost or merged
    updates do no harm. While a film grows it follows the newest frame, slowing down rather than stopping when frames come
    late. Views from above that follow it move their cars along. A click plays and pauses; keys while it has the focus: space, arrows, Home, End.

    With `hungry=N` it is the driver of a live drive: whenever fewer than N frames are left to play it triggers `input`
    once, and again when the film grew (or after 5 s without an answer). The handler of `player.input` adds the next frames
    to the film and returns `film.value()`. Paused, hidden or closed it asks for nothing, so the work stops by itself. The
    arrow keys are then left to the pad.

    Args:
        films: Where it fetches from.
        label: What it shows, for those who cannot see it.
        elem_id: Names it for style sheets, tests and pads.
        value: A film to begin with.
        aspect: Width over height of the stage before the first film, so that nothing jumps.
        hint: What the empty stage says.
        hungry: Frames left at which more are asked for; 0 never asks.
        options: As `gradio.HTML`.
    """
    import gradio as gr

    def pull(request: dict[str, Any]) -> dict[str, Any]:
        return films.pull(request)

    return gr.HTML(
        value,
        label=label,
        elem_id=elem_id,
        html_template=MARKUP,
        css_template=(HERE / "player.css").read_text(encoding="utf-8"),
        js_on_load=script(SCRIPTS, aspect=aspect, hint=hint, hungry=hungry, name=elem_id),
        server_functions=[pull],
        apply_default_css=False,
        **options,
    )
