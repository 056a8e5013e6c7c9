"""Heat maps over the pictures that they are about, for people."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from eval_fid_fvd.grounding import upsampled
from studio.overlays import display_rig, mosaic, upscaled
from worldmodel.geometry import Array, Rig

STOPS = np.array(
    [(20, 11, 52), (101, 21, 110), (187, 55, 84), (243, 120, 25), (252, 255, 164)], float
)  # dark to bright
CLEAR, OPAQUE = 0.15, 0.8  # how much of the heat's colour lies over cold and hot places
USERS, AHEAD = (255, 255, 255), (64, 224, 208)  # outlines: all road users, and the one in the lane
TILE_PX = 384


def heat_colors(heat: Float[Array, "*b"]) -> UInt8[Array, "*b 3"]:
    """Colours of values from 0 to 1."""
    place = np.clip(heat, 0, 1)[..., None] * (len(STOPS) - 1)
    low = np.minimum(place.astype(int), len(STOPS) - 2)
    mixed = STOPS[low[..., 0]] * (1 - (place - low)) + STOPS[low[..., 0] + 1] * (place - low)
    return np.asarray(mixed.round().astype(np.uint8))


def with_heat(
    pictures: UInt8[Array, "camera 3 h w"], maps: Float[Array, "camera rows columns"]
) -> UInt8[Array, "camera 3 h w"]:
    """Pictures under the positive part of a map, which is brightest where it is largest in any of the cameras."""
    heat = np.maximum(upsampled(maps, *pictures.shape[-2:]), 0.0)
    heat = heat / heat.max() if heat.max() > 0 else heat
    over = (CLEAR + (OPAQUE - CLEAR) * heat)[:, None]
    grey = pictures.mean(axis=1, keepdims=True)
    colors = heat_colors(heat).transpose(0, 3, 1, 2)
    return np.asarray(((1 - over) * grey + over * colors).round().astype(np.uint8))


def with_outline(
    pictures: UInt8[Array, "camera 3 h w"], mask: Bool[Array, "camera h w"], color: tuple[int, int, int]
) -> UInt8[Array, "camera 3 h w"]:
    """The border of a mask drawn into pictures that may be larger than it."""
    height, width = pictures.shape[-2:]
    rows = np.arange(height) * mask.shape[1] // height
    large = mask[:, rows][:, :, np.arange(width) * mask.shape[2] // width]
    inner = large.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            inner &= np.roll(large, step, axis)
    drawn = pictures.transpose(0, 2, 3, 1).copy()
    drawn[large & ~inner] = color
    return np.ascontiguousarray(drawn.transpose(0, 3, 1, 2))


def overlay(
    pictures: UInt8[Array, "camera 3 h w"],
    rig: Rig,
    maps: Float[Array, "camera rows columns"] | None,
    *,
    title: str = "",
    users: Bool[Array, "camera h w"] | None = None,
    ahead: Bool[Array, "camera h w"] | None = None,
) -> UInt8[Array, "3 height width"]:
    """All cameras side by side, enlarged: the pictures in grey under the heat, outlines of what is known to be there.

    Args:
        maps: None shows the pictures as they are.
        users, ahead: Outlined white and turquoise.
    """
    shown = display_rig(rig.scaled(pictures.shape[3], pictures.shape[2]), TILE_PX)
    large = upscaled(pictures, shown.width_px, shown.height_px)
    large = large if maps is None else with_heat(large, maps)
    for mask, color in ((users, USERS), (ahead, AHEAD)):
        large = large if mask is None else with_outline(large, mask, color)
    return mosaic(large[None], shown, title=title, tile_width_px=TILE_PX)[0]


def write_png(path: Path, picture: UInt8[Array, "3 height width"]) -> None:
    """A picture as PNG."""
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(path, format="PNG", optimize=True)


def picture_svg(path: Path, alt: str) -> str:
    """A PNG file as an inline picture that opens offline."""
    import base64
    from html import escape

    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}" class="photo">'
        f'<image href="data:image/png;base64,{data}" width="{width}" height="{height}"/></svg>'
    )
