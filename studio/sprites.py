"""What gets stitched: an object as it is seen from somewhere, with real sizes; or a user's picture of one."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from worldmodel.errors import BadEdit, BadVideo
from worldmodel.geometry import Array

MIN_SIDE_PX, MAX_SIDE_PX = 4, 4096
MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_HEIGHT_M = 20.0
TRACE = 16  # alpha up to this counts as nothing


@dataclass(frozen=True, eq=False, kw_only=True)
class SpriteView:
    """One picture of an object, seen from one side.

    Attributes:
        rgba: Straight (not premultiplied) colours and coverage, uint8, shape [height, width, 4].
        width_m, height_m: What the picture's sides measure on an upright sheet that faces the viewer at the object's near
            side.
        middle_m: The picture's middle on the sheet, to the right of the object's near side.
        bottom_m: The picture's lower edge on the sheet, above the ground.
    """

    rgba: UInt8[Array, "height width 4"]
    width_m: float
    height_m: float
    middle_m: float = 0.0
    bottom_m: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Eye:
    """From where an object is looked at, and how finely.

    Attributes:
        azimuth_rad: 0 in front of the object, counter-clockwise.
        distance_m: Along the ground, to its near side.
        height_m: Above the ground that it stands on.
        pixels_per_m: Of the picture that it is put into, at its near side.
    """

    azimuth_rad: float
    distance_m: float
    height_m: float
    pixels_per_m: float = 20.0


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

    def view(self, eye: Eye) -> SpriteView:
        """The picture for this eye."""
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

    def view(self, eye: Eye) -> SpriteView:
        """The one picture."""
        del eye
        height, width = self.rgba.shape[:2]
        return SpriteView(rgba=self.rgba, width_m=self.height_m * width / height, height_m=self.height_m)


@dataclass(frozen=True, kw_only=True)
class ScaledSprite:
    """An object in another size, the same from every side otherwise.

    Attributes:
        own: The object.
        factor: Of all its lengths.
    """

    own: Sprite
    factor: float

    @property
    def name(self) -> str:
        """What it is, and how large."""
        return f"{self.own.name}, {self.factor:g} times its size"

    @property
    def footprint_m(self) -> tuple[float, float]:
        """Length and width."""
        return (self.own.footprint_m[0] * self.factor, self.own.footprint_m[1] * self.factor)

    @property
    def height_m(self) -> float:
        """Height."""
        return self.own.height_m * self.factor

    def reach_m(self, angle_rad: float) -> float:
        """Along the line of sight."""
        return self.own.reach_m(angle_rad) * self.factor

    def view(self, eye: Eye) -> SpriteView:
        """As the object itself would look to an eye that shrank as the object grew."""
        near = replace(
            eye,
            distance_m=eye.distance_m / self.factor,
            height_m=eye.height_m / self.factor,
            pixels_per_m=eye.pixels_per_m * self.factor,
        )
        seen = self.own.view(near)
        return SpriteView(
            rgba=seen.rgba,
            width_m=seen.width_m * self.factor,
            height_m=seen.height_m * self.factor,
            middle_m=seen.middle_m * self.factor,
            bottom_m=seen.bottom_m * self.factor,
        )


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
