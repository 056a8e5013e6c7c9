"""How pictures are resized and cropped before they are scored: plain steps, each of which says on the card what it does."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn import functional

from worldmodel.errors import BadRequest
from worldmodel.pictures import resize_video

Array = np.ndarray
Filter = Literal["antialiased bilinear", "bilinear without antialias", "PIL bicubic", "PIL Lanczos"]
PIL_FILTERS = {"PIL bicubic": Image.Resampling.BICUBIC, "PIL Lanczos": Image.Resampling.LANCZOS}
SMALLEST_PX, LARGEST_PX = 16, 4096


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Bring pictures to another size, rounded to uint8.

    Attributes:
        width_px, height_px: The new size; None follows the picture's shape (rounded up).
        short_px: Instead of both: the shorter side.
        by: How values between pixels are found.
    """

    width_px: int | None = None
    height_px: int | None = None
    short_px: int | None = None
    by: Filter = "antialiased bilinear"

    def __post_init__(self) -> None:
        given = [side for side in (self.width_px, self.height_px, self.short_px) if side is not None]
        if not given or not all(SMALLEST_PX <= side <= LARGEST_PX for side in given):
            raise BadRequest(
                f"pictures of {self.width_px}x{self.height_px} px are asked for; sides must be {SMALLEST_PX} to "
                f"{LARGEST_PX} px, and one must be given. Choose another --size."
            )

    def __call__(self, video: UInt8[Array, "... 3 h w"]) -> UInt8[Array, "... 3 height width"]:
        """Resized pictures."""
        width, height = self._size(video.shape[-1], video.shape[-2])
        if video.shape[-2:] == (height, width):
            return video
        if self.by == "antialiased bilinear":
            return resize_video(video, width, height)
        flat = video.reshape(-1, *video.shape[-3:])
        small = _by_torch(flat, width, height) if self.by not in PIL_FILTERS else _by_pil(flat, width, height, self.by)
        return small.reshape(*video.shape[:-2], height, width)

    def __str__(self) -> str:
        if self.short_px is not None:
            return f"shorter side to {self.short_px} px, {self.by}"
        if self.width_px is None or self.height_px is None:
            name, side = ("width", self.width_px) if self.height_px is None else ("height", self.height_px)
            return f"{name} to {side} px, {self.by}"
        return f"to {self.width_px}x{self.height_px}, {self.by}"

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.short_px is not None:
            scale = self.short_px / min(width, height)
        elif self.width_px is not None:
            scale = self.width_px / width
        else:
            scale = (self.height_px or height) / height
        new_width, new_height = (math.ceil(round(side * scale, 6)) for side in (width, height))
        return self.width_px or new_width, self.height_px or new_height


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Cut pictures to at most a size; smaller ones stay.

    Attributes:
        width_px, height_px: The largest that is left.
        keep: Which part of the height stays; of the width it is always the middle.
    """

    width_px: int
    height_px: int
    keep: Literal["middle", "bottom"] = "middle"

    def __call__(self, video: UInt8[Array, "... 3 h w"]) -> UInt8[Array, "... 3 height width"]:
        """Cut pictures."""
        height, width = video.shape[-2:]
        if width <= self.width_px and height <= self.height_px:
            return video
        left, top = max(0, width - self.width_px) // 2, max(0, height - self.height_px)
        top = top if self.keep == "bottom" else top // 2
        return video[..., top : top + self.height_px, left : left + self.width_px]

    def __str__(self) -> str:
        return f"crop to {self.width_px}x{self.height_px}, {self.keep}"


@dataclass(frozen=True, kw_only=True)
class CropToShape:
    """Cut the middle of pictures to the shape width : height."""

    width: int
    height: int

    def __call__(self, video: UInt8[Array, "... 3 h w"]) -> UInt8[Array, "... 3 height width"]:
        """Cut pictures."""
        height, width = video.shape[-2:]
        kept = min(width, int(self.width / self.height * height)), min(height, int(self.height / self.width * width))
        return Crop(width_px=kept[0], height_px=kept[1])(video)

    def __str__(self) -> str:
        return f"crop the middle to {self.width}:{self.height}"


PictureStep = Resize | Crop | CropToShape


def _by_torch(frames: Array, width: int, height: int) -> Array:
    flat = torch.from_numpy(np.ascontiguousarray(frames)).float()
    small = functional.interpolate(flat, (height, width), mode="bilinear", antialias=False, align_corners=False)
    return np.asarray(small.round().clamp(0, 255).to(torch.uint8).numpy())


def _by_pil(frames: Array, width: int, height: int, by: str) -> Array:
    resized = [
        np.asarray(Image.fromarray(frame.transpose(1, 2, 0)).resize((width, height), PIL_FILTERS[by]))
        for frame in frames
    ]
    return np.stack(resized).transpose(0, 3, 1, 2)
