"""Where each camera is in a mosaic, so that a click finds it and a narrow screen can lay it out anew."""

from typing import Any

from studio.overlays import GAP_PX, display_rig, grid_of
from worldmodel.geometry import Rig


def tiles_of(rig: Rig, tile_width_px: int = 320) -> list[dict[str, Any]]:
    """One tile per camera of `studio.overlays.mosaic` with the same arguments, row by row.

    Gives for each its name, x, y, width and height in pixels of the mosaic, and the camera's own width and height.
    """
    shown = display_rig(rig, tile_width_px)
    return [
        {
            "camera": rig.names[camera],
            "x": column * (shown.width_px + GAP_PX),
            "y": row * (shown.height_px + GAP_PX),
            "width": shown.width_px,
            "height": shown.height_px,
            "camera_width": rig.width_px,
            "camera_height": rig.height_px,
        }
        for row, cameras in enumerate(grid_of(rig))
        for column, camera in enumerate(cameras)
    ]
