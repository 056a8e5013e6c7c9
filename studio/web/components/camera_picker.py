"""A still picture of all cameras in which a point can be chosen."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8

from studio.overlays import mosaic
from studio.web.components.scripts import script
from studio.web.components.tiles import tiles_of
from studio.web.films import jpeg_of
from worldmodel.geometry import Array, Rig

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).parent
MARKUP = """
<div class="picker" tabindex="0" role="group">
  <canvas class="still" role="img" hidden></canvas>
  <svg class="aim" aria-hidden="true" hidden viewBox="-14 -14 28 28"><circle r="9"></circle><path d="M-14 0h9M5 0h9M0-14v9M0 5v9"></path></svg>
  <span class="place" role="status"></span>
</div>
"""


def still(
    frames: UInt8[Array, "camera 3 h w"],
    rig: Rig,
    *,
    alt: str,
    title: str = "",
    aim: tuple[str, float, float] | None = None,
) -> dict[str, Any]:
    """The value of a camera picker: all cameras at one moment.

    Args:
        frames: One picture per camera of `rig`, of the rig's size.
        alt: What is seen, for those who cannot see it.
        title: A line in the first camera.
        aim: A point that is marked: camera, and pixels to the right and down in that camera.
    """
    rig = rig.scaled(frames.shape[3], frames.shape[2])
    picture = mosaic(frames[None], rig, title=title)[0]
    source = "data:image/jpeg;base64," + base64.b64encode(jpeg_of(picture)).decode()
    place = None if aim is None else {"camera": aim[0], "u": aim[1], "v": aim[2]}
    return {"src": source, "alt": alt, "tiles": tiles_of(rig), "size": [*picture.shape[:0:-1]], "aim": place}


def camera_picker(
    *,
    label: str,
    elem_id: str,
    value: dict[str, Any] | None = None,
    aspect: float = 968 / 160,
    **options: Any,
) -> "gradio.HTML":
    """A still mosaic; its value is `still(...)`, or None for an empty place.

    A click, or dragging and letting go, triggers `select` with {"camera", "u", "v"} as event data: pixels to the right
    and down in that camera, at the size of the frames given. With keys: arrows move the aim, Enter selects.

    Args:
        label: What can be chosen, for those who cannot see it.
        elem_id: Names it for style sheets and tests.
        value: A picture to begin with.
        aspect: Width over height before the first picture, so that nothing jumps.
        options: As `gradio.HTML`.
    """
    import gradio as gr

    return gr.HTML(
        value,
        label=label,
        elem_id=elem_id,
        html_template=MARKUP,
        css_template=(HERE / "camera_picker.css").read_text(encoding="utf-8"),
        js_on_load=script(["tiles.js", "camera_picker.js"], aspect=aspect),
        apply_default_css=False,
        **options,
    )
