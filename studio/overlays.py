"""What is drawn over and beside frames: mosaics of cameras, labels, paths on the ground, bird's-eye plots."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.clips import Box
from worldmodel.errors import BadVideo
from worldmodel.geometry import Array, Camera, Rig

GAP_PX = 4
STRIP = 150  # of 255: how dark the strip below a caption is
NEAR_M = 0.5  # ground points nearer to the camera plane than this are not drawn
COLORS = {
    "history": "#8a8f98",
    "truth": "#2e9e5b",
    "before": "#2f6fde",
    "after": "#d9542b",
    "other": "#9a5bd0",
    "town": "#c2378f",
}


def grid_of(rig: Rig) -> list[list[int]]:
    """Camera indices as they hang around the car: forward looking ones above, left to right, the others below.

    >>> from worldmodel.town.scene import town_rig
    >>> grid_of(town_rig(6))
    [[0, 1, 2], [3, 4, 5]]
    """
    axes = [camera.ego_from_camera[:2, 2] for camera in rig.cameras]
    yaws = [math.atan2(axis[1], axis[0]) for axis in axes]
    if len(yaws) <= 3:
        return [sorted(range(len(yaws)), key=lambda c: -yaws[c])]
    by_turn = sorted(range(len(yaws)), key=lambda c: abs(yaws[c]))
    half = (len(yaws) + 1) // 2
    front = sorted(by_turn[:half], key=lambda c: -yaws[c])
    back = sorted(by_turn[half:], key=lambda c: yaws[c] % (2 * math.pi))
    return [front, back]


def upscaled(video: UInt8[Array, "*lead 3 h w"], width_px: int, height_px: int) -> UInt8[Array, "*lead 3 height width"]:
    """Pictures resized smoothly (bicubic); unchanged when they have that size already."""
    from PIL import Image

    height, width = video.shape[-2:]
    if (width, height) == (width_px, height_px):
        return video
    flat = video.reshape(-1, 3, height, width).transpose(0, 2, 3, 1)
    sized = [
        Image.fromarray(np.ascontiguousarray(p)).resize((width_px, height_px), Image.Resampling.BICUBIC) for p in flat
    ]
    stacked = np.stack([np.asarray(picture) for picture in sized]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked).reshape(*video.shape[:-2], height_px, width_px)


def display_rig(rig: Rig, tile_width_px: int = 320) -> Rig:
    """The rig for showing: pictures at least that wide, with even sides as H.264 wants them."""
    factor = max(1.0, tile_width_px / rig.width_px)
    return rig.scaled(round(rig.width_px * factor / 2) * 2, round(rig.height_px * factor / 2) * 2)


def labelled(picture: UInt8[Array, "3 h w"], text: str, *, bottom: bool = False) -> UInt8[Array, "3 h w"]:
    """A small caption on a dark strip in the top left (or bottom left) corner."""
    if not text:
        return picture
    height = picture.shape[1]
    letters = _letters(text, height)
    above = height - (len(letters) - 1) if bottom else 0
    letters = letters[max(0, -above) :, : picture.shape[2]][: height - max(0, above)]
    marked = picture.copy()
    strip = marked[:, max(0, above) : max(0, above) + len(letters), : letters.shape[1]]
    strip[:] = _mixed(_mixed(strip, 0, STRIP), 255, letters)
    return marked


@lru_cache(maxsize=512)
def _letters(text: str, height_px: int) -> Array:
    """How much each pixel of a caption's strip is covered by letters, 0 to 255; the same for every frame of a video."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=max(10, round(height_px / 13)))
    left, top, right, low = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text, font=font)
    image = Image.new("L", (int(right - left) + 9, int(low - top) + 7))
    ImageDraw.Draw(image).text((4 - left, 3 - top), text, fill=255, font=font)
    return np.asarray(image).astype(np.uint32)


def _mixed(below: Array, above: int, share: Array | int) -> Array:
    """Colours with others over them that cover `share` of 255, rounded as Pillow does."""
    whole = below.astype(np.uint32) * (255 - share) + np.uint32(above) * share + 128
    return (whole + (whole >> 8)) >> 8


def with_path(
    picture: UInt8[Array, "3 h w"], camera: Camera, points_m: Float[Array, "n 2"], color: str
) -> UInt8[Array, "3 h w"]:
    """A path on the flat ground, drawn into one camera's picture.

    Args:
        picture: Of the camera's size.
        camera: Where the picture was taken.
        points_m: x forward and y left in the ego frame of the picture; the path starts at the ego.
        color: '#rrggbb'.
    """
    from PIL import Image, ImageDraw

    fine = _dense(np.concatenate([np.zeros((1, 2)), np.asarray(points_m, np.float64)]))
    pixels, depth, _ = camera.project(np.concatenate([fine, np.zeros((len(fine), 1))], axis=1))
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    draw = ImageDraw.Draw(image, "RGBA")
    rgba = (*(int(color[i : i + 2], 16) for i in (1, 3, 5)), 215)
    bound = 4 * max(image.size)
    for a in range(len(fine) - 1):
        ends = pixels[a : a + 2]
        if (depth[a : a + 2] < NEAR_M).any() or np.abs(ends).max() > bound:
            continue
        thick = float(np.clip(camera.intrinsics[0, 0] * 0.25 / depth[a], 2, image.height / 14))
        draw.line([tuple(ends[0]), tuple(ends[1])], fill=rgba, width=round(thick))
    return np.asarray(image).transpose(2, 0, 1)


def _dense(points: Array) -> Array:
    """The polyline with corners no more than half a metre apart."""
    pieces = [points[:1]]
    for start, end in pairwise(points):
        steps = max(1, math.ceil(float(np.hypot(*(end - start))) / 0.5))
        pieces.append(start + (end - start) * (np.arange(1, steps + 1) / steps)[:, None])
    return np.concatenate(pieces)


def mosaic(
    video: UInt8[Array, "time camera 3 h w"], rig: Rig, *, title: str = "", tile_width_px: int = 320
) -> UInt8[Array, "time 3 height width"]:
    """All cameras of each frame as one labelled picture, left to right as they hang around the car.

    Args:
        video: One picture per camera of `rig`; picture and rig sizes may differ (drawn-on frames are larger).
        title: A line at the bottom of the first camera, e.g. 'imagined'.
        tile_width_px: Smaller pictures are enlarged to this width.
    """
    if video.ndim != 5 or video.shape[1] != len(rig):
        raise BadVideo(f"a mosaic of {len(rig)} cameras needs [time, {len(rig)}, 3, h, w]; got {video.shape}.")
    shown = display_rig(rig.scaled(video.shape[4], video.shape[3]), tile_width_px)
    width, height = shown.width_px, shown.height_px
    grid = grid_of(rig)
    columns = max(len(row) for row in grid)
    canvas_size = (len(grid) * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX)
    canvas = np.full((len(video), 3, *canvas_size), 24, np.uint8)
    for t, frame in enumerate(video):
        tiles = upscaled(frame, width, height)
        for r, row in enumerate(grid):
            for k, c in enumerate(row):
                tile = labelled(tiles[c], rig.names[c])
                if (r, k) == (0, 0):
                    tile = labelled(tile, title, bottom=True)
                y, x = r * (height + GAP_PX), k * (width + GAP_PX)
                canvas[t, :, y : y + height, x : x + width] = tile
    return canvas


@dataclass(frozen=True, eq=False, kw_only=True)
class PathLayer:
    """One path of a bird's-eye plot.

    Attributes:
        label: Shown in the legend.
        points_m: Shape [n, 2], x forward and y left in the ego frame of the plot.
        color: '#rrggbb'.
        dashed: For what was recorded rather than planned.
    """

    label: str
    points_m: Float[Array, "n 2"]
    color: str
    dashed: bool = False


def birds_eye_svg(
    layers: Sequence[PathLayer],
    *,
    boxes: Sequence[Box] = (),
    obstacle_m: tuple[float, float] | None = None,
    title: str = "bird's-eye view",
) -> str:
    """A plot from above as inline SVG: forward is up, left is left, a grid line each 10 m, ego at the origin.

    Args:
        layers: Paths in the ego frame; legends are listed in this order.
        boxes: Other road users at the plot's moment.
        obstacle_m: Where a stitched object stands.
        title: Read to those who cannot see it.
    """
    points = [layer.points_m for layer in layers if len(layer.points_m)] + [np.array([[0.0, 0.0], [20.0, 0.0]])]
    if obstacle_m is not None:
        points.append(np.array([obstacle_m]))
    everything = np.concatenate(points)
    x0, x1 = float(everything[:, 0].min()) - 6, float(everything[:, 0].max()) + 6
    reach = max(15.0, float(np.abs(everything[:, 1]).max()) + 5)
    parts = [*_grid(x0, x1, reach), *(_box(box, x0, x1, reach) for box in boxes), _EGO]
    if obstacle_m is not None:
        parts.append(_obstacle(obstacle_m))
    parts += [_path(layer) for layer in layers if len(layer.points_m)]
    legend = " · ".join(
        f'<span style="color:{escape(layer.color)}">{"┄" if layer.dashed else "━"}</span> {escape(layer.label)}'
        for layer in layers
    )
    return (
        f'<figure class="birdseye"><svg viewBox="{-reach:.2f} {-x1:.2f} {2 * reach:.2f} {x1 - x0:.2f}" role="img" '
        f'aria-label="{escape(title)}" preserveAspectRatio="xMidYMid meet"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg><figcaption>{legend}</figcaption></figure>"
    )


_EGO = '<rect x="-0.9" y="-3.6" width="1.8" height="4.5" rx="0.5" fill="currentColor" opacity="0.75"/>'


def _grid(x0: float, x1: float, reach: float) -> list[str]:
    lines = []
    for x in range(math.ceil(x0 / 10) * 10, math.floor(x1) + 1, 10):
        lines.append(f'<line x1="{-reach:.2f}" x2="{reach:.2f}" y1="{-x}" y2="{-x}" class="grid"/>')
        lines.append(f'<text x="{-reach + 0.4:.2f}" y="{-x - 0.3:.2f}" class="tick">{x} m</text>')
    lines += [
        f'<line y1="{-x1:.2f}" y2="{-x0:.2f}" x1="{y}" x2="{y}" class="grid"/>'
        for y in range(math.ceil(-reach / 10) * 10, math.floor(reach) + 1, 10)
    ]
    return lines


def _box(box: Box, x0: float, x1: float, reach: float) -> str:
    corners = box.corners()[:4, :2]
    if not ((corners[:, 0] > x0) & (corners[:, 0] < x1) & (np.abs(corners[:, 1]) < reach)).any():
        return ""
    points = " ".join(f"{-y:.2f},{-x:.2f}" for x, y in corners)
    return f'<polygon points="{points}" class="box"><title>{escape(box.kind)} {escape(box.track)}</title></polygon>'


def _obstacle(at_m: tuple[float, float]) -> str:
    x, y = at_m
    return f'<path d="M {-y - 1:.2f} {-x - 1:.2f} l 2 2 m 0 -2 l -2 2" class="obstacle"><title>stitched object</title></path>'


def _path(layer: PathLayer) -> str:
    points = " ".join(f"{-y:.2f},{-x:.2f}" for x, y in layer.points_m)
    dash = ' stroke-dasharray="1.2 0.8"' if layer.dashed else ""
    dots = "".join(
        f'<circle cx="{-y:.2f}" cy="{-x:.2f}" r="0.42" fill="{escape(layer.color)}"/>' for x, y in layer.points_m
    )
    line = f'<polyline points="{points}" fill="none" stroke="{escape(layer.color)}" stroke-width="0.45"{dash}/>'
    return line + ("" if layer.dashed else dots)
