"""The scene from above, with points that can be dragged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from studio.overlays import PathLayer
from studio.web.components.scripts import script
from worldmodel.clips import Box
from worldmodel.geometry import Array, Trajectory

if TYPE_CHECKING:
    import gradio

HERE = Path(__file__).parent
MARKUP = """
<figure class="above">
  <div class="ground"></div>
  <figcaption></figcaption>
</figure>
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class CarPath:
    """A car that moves along a path while a player plays.

    Attributes:
        label: Which one it is.
        path: Where it is when; time 0 is now, in the ego frame of now.
        color: '#rrggbb'.
    """

    label: str
    path: Trajectory
    color: str


def scene(
    layers: Sequence[PathLayer] = (),
    *,
    boxes: Sequence[Box] = (),
    cars: Sequence[CarPath] = (),
    obstacle: dict[str, Any] | None = None,
    waypoints: Float[Array, "n 2"] | None = None,
    title: str,
) -> dict[str, Any]:
    """The value of a view from above; all places are x forward and y left in metres, in the ego frame of now.

    Args:
        layers: Paths; the legend lists them in this order.
        boxes: Other road users now.
        cars: Cars to be seen where they are at the time that a player shows; see `birds_eye(follows=...)`.
        obstacle: {"x", "y", "yaw" (rad), "length", "width" (m), "kind", "movable" (bool)}.
        waypoints: Points that the visitor may drag; joined with the ego by a line.
        title: Read to those who cannot see it.
    """
    return {
        "layers": [
            {
                "label": layer.label,
                "color": layer.color,
                "dashed": layer.dashed,
                "points": _rounded(layer.points_m),
            }
            for layer in layers
        ],
        "boxes": [{"track": box.track, "kind": box.kind, "corners": _rounded(box.corners()[:4, :2])} for box in boxes],
        "cars": [
            {
                "label": car.label,
                "color": car.color,
                "times": np.round(car.path.times_s, 3).tolist(),
                "poses": np.round(car.path.poses, 2).tolist(),
            }
            for car in cars
        ],
        "obstacle": obstacle,
        "waypoints": None if waypoints is None else _rounded(waypoints),
        "title": title,
    }


def _rounded(points: Array) -> list[list[float]]:
    return np.round(np.asarray(points, np.float64), 2).reshape(-1, 2).tolist()


def birds_eye(
    *,
    label: str,
    elem_id: str,
    value: dict[str, Any] | None = None,
    height_px: int = 380,
    selectable: bool = False,
    follows: str = "",
    **options: Any,
) -> "gradio.HTML":
    """A view from above: forward is up, left is left, a line each 10 m; its value is `scene(...)`.

    Waypoints and a movable obstacle are dragged with mouse, finger or keys (Tab to one, arrows 0.5 m, with Shift 0.1 m);
    afterwards the value holds their new places and `input` is triggered. With `selectable`, a click on the ground or on a
    box (or Enter at the cross that the arrow keys move) triggers `select` with {"x", "y", "track"} as event data; track is
    None on free ground.

    Args:
        label: What it shows, for those who cannot see it; the value's title replaces it.
        elem_id: Names it for style sheets and tests.
        value: A scene to begin with.
        height_px: Of the drawing; kept when the scene changes.
        selectable: Whether clicks mean something.
        follows: `elem_id` of the player whose time the scene's cars follow.
        options: As `gradio.HTML`.
    """
    import gradio as gr

    return gr.HTML(
        value,
        label=label,
        elem_id=elem_id,
        html_template=MARKUP,
        css_template=(HERE / "birds_eye.css").read_text(encoding="utf-8"),
        js_on_load=script(["birds_eye.js"], height_px=height_px, selectable=selectable, follows=follows),
        apply_default_css=False,
        **options,
    )
