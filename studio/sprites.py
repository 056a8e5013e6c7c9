"""What gets stitched: pictures of objects with real sizes, rendered by the town or given by the user."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import BadEdit, BadVideo, UnknownName
from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.scene import Body, Prop

MIN_SIDE_PX, MAX_SIDE_PX = 4, 4096
MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_HEIGHT_M = 20.0
TRACE = 16  # alpha up to this counts as nothing
RENDER_HEIGHT_PX = 160
ANGLE_STEP_RAD = math.radians(3.0)  # views closer than this share one rendered picture
LOOKALIKE_STYLE = 1  # of the bush that harmless lookalikes are

# kind: length, width, height in metres; colour. Sizes of common models.
KINDS: dict[str, tuple[float, float, float, tuple[float, float, float]]] = {
    "car": (4.5, 1.8, 1.5, (0.62, 0.12, 0.10)),
    "van": (5.2, 2.0, 2.1, (0.85, 0.85, 0.82)),
    "truck": (8.0, 2.5, 3.2, (0.20, 0.32, 0.55)),
    "pedestrian": (0.5, 0.6, 1.75, (0.20, 0.25, 0.50)),
    "cyclist": (1.8, 0.6, 1.75, (0.15, 0.45, 0.30)),
    "cone": (0.4, 0.4, 0.75, (0.95, 0.40, 0.08)),
    "box": (1.2, 1.0, 1.0, (0.55, 0.40, 0.25)),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class SpriteView:
    """One picture of an object, seen from one side.

    Attributes:
        rgba: Straight (not premultiplied) colours and coverage, uint8, shape [height, width, 4]; its lower edge
            touches the ground.
        width_m, height_m: What the picture's sides measure on a plane that faces the viewer at the object's distance.
    """

    rgba: UInt8[Array, "height width 4"]
    width_m: float
    height_m: float


class Sprite(Protocol):
    """An object that can be looked at from a direction."""

    @property
    def name(self) -> str:
        """What it is, for reports."""
        ...

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Length and width on the ground, metres."""
        ...

    @property
    def height_m(self) -> float:
        """Real height, metres."""
        ...

    def reach_m(self, angle_rad: float) -> float:
        """How far it reaches along a line of sight at this angle to its heading, front to back, metres."""
        ...

    def view(self, azimuth_rad: float, elevation_rad: float) -> SpriteView:
        """The picture for a viewer at this azimuth (0 in front of the object, counter-clockwise) and elevation."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureSprite:
    """One picture of an object, the same from all sides.

    Attributes:
        name: What it is.
        rgba: uint8, shape [height, width, 4], cut to what is visible.
        height_m: Real height of the object, metres.
    """

    name: str
    rgba: UInt8[Array, "height width 4"]
    height_m: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.height_m) and 0 < self.height_m <= MAX_HEIGHT_M):
            raise BadEdit(
                f"sprite '{self.name}' is said to be {self.height_m} m high; give its real height, up to {MAX_HEIGHT_M:g} m."
            )
        if self.rgba.dtype != np.uint8 or self.rgba.ndim != 3 or self.rgba.shape[2] != 4:
            raise BadVideo(
                f"sprite '{self.name}' is {self.rgba.dtype} {self.rgba.shape}; it must be uint8 [h, w, 4] (RGB and alpha)."
            )

    @property
    def footprint_m(self) -> tuple[float, float]:
        """As wide as the picture, and as deep up to 2 m."""
        width = self.height_m * self.rgba.shape[1] / self.rgba.shape[0]
        return (min(width, 2.0), width)

    def reach_m(self, angle_rad: float) -> float:
        """The same from all sides, as the picture is."""
        del angle_rad
        return self.footprint_m[0]

    def view(self, azimuth_rad: float, elevation_rad: float) -> SpriteView:
        """The one picture."""
        del azimuth_rad, elevation_rad
        height, width = self.rgba.shape[:2]
        return SpriteView(rgba=self.rgba, width_m=self.height_m * width / height, height_m=self.height_m)


def read_sprite(path: Path, height_m: float) -> PictureSprite:
    """A user's picture with an alpha channel, cut to its visible part.

    Args:
        path: PNG or WebP with transparency, 4 to 4096 px a side, up to 20 MB.
        height_m: Real height of the visible part.

    Raises:
        BadVideo: if it is not a picture, too large or small, has no alpha channel, or is transparent or opaque throughout.
        BadEdit: if the height is impossible.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise BadVideo(f"there is no sprite picture at '{path}'. Give a PNG with transparency.")
    size = path.stat().st_size
    if not 0 < size <= MAX_FILE_BYTES:
        raise BadVideo(f"sprite '{path.name}' has {size} bytes; it may have 1 to {MAX_FILE_BYTES}. Use a smaller PNG.")
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as picture:
            width, height = picture.size
            if min(width, height) < MIN_SIDE_PX or max(width, height) > MAX_SIDE_PX:
                raise BadVideo(
                    f"sprite '{path.name}' has {width}x{height} px; each side must have {MIN_SIDE_PX} to {MAX_SIDE_PX}. Resize it."
                )
            if "A" not in picture.getbands() and "transparency" not in picture.info:
                raise BadVideo(
                    f"sprite '{path.name}' has no alpha channel. Cut the object out and save it as RGBA PNG."
                )
            rgba = np.asarray(picture.convert("RGBA"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise BadVideo(
            f"sprite '{path.name}' is not a readable PNG or WebP ({error}). Save it again as PNG."
        ) from error
    solid = rgba[..., 3] > TRACE
    if not solid.any() or solid.all():
        state = "opaque" if solid.all() else "transparent"
        raise BadVideo(
            f"sprite '{path.name}' is {state} throughout; its alpha channel must outline the object. Cut it out first."
        )
    return PictureSprite(name=path.stem, rgba=_cut(rgba), height_m=height_m)


def _cut(rgba: Array) -> Array:
    """The bounding box of the pixels that are more than a trace."""
    solid = rgba[..., 3] > TRACE
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()


@dataclass(frozen=True, kw_only=True)
class BodySprite:
    """An object of the town, rendered from the side it is seen from."""

    body: Body

    @property
    def name(self) -> str:
        """The body's kind."""
        return self.body.kind

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Length and width of the body."""
        return (self.body.length_m, self.body.width_m)

    @property
    def height_m(self) -> float:
        """Height of the body."""
        return self.body.height_m

    def reach_m(self, angle_rad: float) -> float:
        """Between the two parallels across the line of sight that touch its footprint."""
        return self.body.length_m * abs(math.cos(angle_rad)) + self.body.width_m * abs(math.sin(angle_rad))

    def view(self, azimuth_rad: float, elevation_rad: float) -> SpriteView:
        """The body seen from there, to the nearest 3 degrees."""
        steps = [round(angle / ANGLE_STEP_RAD) for angle in (azimuth_rad, elevation_rad)]
        return _rendered(self.body, steps[0] * ANGLE_STEP_RAD, steps[1] * ANGLE_STEP_RAD)


@lru_cache(maxsize=256)
def _rendered(body: Body, azimuth_rad: float, elevation_rad: float) -> SpriteView:
    rgba = _cut(_pictured(body, azimuth_rad, elevation_rad, RENDER_HEIGHT_PX))
    scale = _width_m(body, azimuth_rad) / rgba.shape[1]
    return SpriteView(rgba=rgba, width_m=scale * rgba.shape[1], height_m=scale * rgba.shape[0])


@lru_cache(maxsize=256)
def _width_m(body: Body, azimuth_rad: float) -> float:
    """How wide the body looks from there: seen level, its picture is exactly as high as the body."""
    level = _cut(_pictured(body, azimuth_rad, 0.0, RENDER_HEIGHT_PX))
    return body.height_m * level.shape[1] / level.shape[0]


def _pictured(body: Body, azimuth_rad: float, elevation_rad: float, height_px: int) -> Array:
    from worldmodel.town.looks.portrait import render_body_rgba

    from_behind = float(wrap_angle(azimuth_rad - math.pi))  # the renderer counts from behind
    return np.asarray(render_body_rgba(body, from_behind, min(max(elevation_rad, -0.2), 1.4), height_px))


def sprite_of(kind: str) -> BodySprite:
    """The town's own object of a kind.

    Raises:
        UnknownName: if there is none; the closest kind is offered.
    """
    if kind not in KINDS:
        raise UnknownName("kind of sprite", kind, KINDS)
    length, width, height, color = KINDS[kind]
    return BodySprite(
        body=Body(track=f"stitched-{kind}", kind=kind, length_m=length, width_m=width, height_m=height, color_rgb=color)
    )


@dataclass(frozen=True, kw_only=True)
class Lookalike:
    """Something harmless, as large in the picture as another object from wherever it is seen: a bush."""

    other: Sprite

    @property
    def name(self) -> str:
        """What it is, and as large as what."""
        return f"bush as large as a {self.other.name}"

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Of the other."""
        return self.other.footprint_m

    @property
    def height_m(self) -> float:
        """Of the other."""
        return self.other.height_m

    def reach_m(self, angle_rad: float) -> float:
        """Of the other."""
        return self.other.reach_m(angle_rad)

    def view(self, azimuth_rad: float, elevation_rad: float) -> SpriteView:
        """The bush, stretched to the other's picture."""
        size = self.other.view(azimuth_rad, elevation_rad)
        return SpriteView(rgba=_bush(), width_m=size.width_m, height_m=size.height_m)


@lru_cache(maxsize=1)
def _bush() -> Array:
    from worldmodel.town.looks.portrait import render_prop_rgba

    bush = Prop(kind="bush", x_m=0.0, y_m=0.0, height_m=1.2, radius_m=0.7, style=LOOKALIKE_STYLE)
    return _cut(np.asarray(render_prop_rgba(bush, 0.1, RENDER_HEIGHT_PX)))


def lookalike_of(sprite: Sprite) -> Lookalike:
    """A harmless thing of equal size."""
    return Lookalike(other=sprite)
