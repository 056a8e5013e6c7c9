"""Make pictures and calibration fit: undistort, scale, letterbox."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Camera
from worldmodel.io.rig_file import Distortion
from worldmodel.io.video import probe, read_frames

BLOCK_BYTES = 150_000_000  # of a recording that lie in memory at its full size; larger blocks seek less


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """The common size of all pictures of a dataset.

    Attributes:
        width_px, height_px: Both even (H.264).
        letterbox: Keep each camera's proportions and fill up with black, instead of stretching.
    """

    width_px: int
    height_px: int
    letterbox: bool = False

    def __post_init__(self) -> None:
        for side in (self.width_px, self.height_px):
            if side < 2 or side % 2 or side > 4096:
                raise BadRequest(
                    f"pictures of {self.width_px}x{self.height_px} px are asked for; both sides must be even, 2 to 4096."
                )

    def inner(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Size of the part that a picture of another size fills."""
        if not self.letterbox:
            return self.width_px, self.height_px
        scale = min(self.width_px / width_px, self.height_px / height_px)
        return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def fit_camera(camera: Camera, size: PictureSize) -> Camera:
    """The camera for pictures that went through `fit_pictures`."""
    width, height = size.inner(camera.width_px, camera.height_px)
    scaled = camera.scaled(width, height)
    left, top = (size.width_px - width) // 2, (size.height_px - height) // 2
    intrinsics = scaled.intrinsics.copy()
    intrinsics[:2, 2] += (left, top)
    return replace(scaled, intrinsics=intrinsics, width_px=size.width_px, height_px=size.height_px)


def fit_pictures(
    frames: UInt8[Array, "n 3 height width"], size: PictureSize
) -> UInt8[Array, "n 3 new_height new_width"]:
    """Scale pictures (with antialiasing) into a size; black bars where `letterbox` keeps the proportions."""
    from PIL import Image

    height, width = frames.shape[2:]
    new_width, new_height = size.inner(width, height)
    if (width, height) == (size.width_px, size.height_px):
        return frames
    out = np.zeros((len(frames), 3, size.height_px, size.width_px), np.uint8)
    left, top = (size.width_px - new_width) // 2, (size.height_px - new_height) // 2
    for i, frame in enumerate(frames):
        picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
        resized = np.asarray(picture.resize((new_width, new_height), Image.Resampling.BICUBIC))
        out[i, :, top : top + new_height, left : left + new_width] = resized.transpose(2, 0, 1)
    return out


def read_fitted(
    file: Path,
    numbers: Array,
    size: PictureSize,
    straighten: Callable[[UInt8[Array, "n 3 h w"]], UInt8[Array, "n 3 h w"]] = lambda frames: frames,
) -> UInt8[Array, "n 3 new_height new_width"]:
    """Read frames of a video, straighten them and scale them into a size, a few at a time: only small ones pile up.

    Raises:
        BadVideo, BadRequest: as `read_frames`.
    """
    info = probe(file)
    most = max(1, BLOCK_BYTES // (info.width_px * info.height_px * 3))
    blocks = [numbers[start : start + most] for start in range(0, len(numbers), most)] or [numbers]
    return np.concatenate([fit_pictures(straighten(read_frames(file, block)), size) for block in blocks])


def undistort(
    frames: UInt8[Array, "n 3 height width"], camera: Camera, distortion: Distortion
) -> UInt8[Array, "n 3 height width"]:
    """Straighten pictures: what an ideal pinhole with the same intrinsics would show; black where nothing was seen."""
    from scipy.ndimage import map_coordinates

    source = distorted_pixels(camera, distortion)
    coordinates = source[..., ::-1].transpose(2, 0, 1)
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        for channel in range(3):
            out[i, channel] = np.round(map_coordinates(frame[channel].astype(np.float32), coordinates, order=1))
    return out


def distorted_pixels(camera: Camera, distortion: Distortion) -> Float[Array, "h w 2"]:
    """Where each pixel of the straight picture lies in the recorded one.

    Source: the formulas of OpenCV's `projectPoints` (k1, k2, p1, p2, k3) and `fisheye` (k1 ... k4).
    """
    u, v = np.meshgrid(np.arange(camera.width_px), np.arange(camera.height_px))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
    rays = pixels @ np.linalg.inv(camera.intrinsics).T
    bent = (_bend_opencv if distortion.model == "opencv" else _bend_fisheye)(rays[..., :2], distortion.coefficients)
    homogeneous = np.concatenate([bent, np.ones_like(bent[..., :1])], axis=-1)
    return np.asarray((homogeneous @ camera.intrinsics.T)[..., :2])


def _bend_opencv(points: Array, coefficients: Array) -> Array:
    k1, k2, p1, p2, k3 = coefficients
    x, y = points[..., 0], points[..., 1]
    r2 = x**2 + y**2
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
            y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
        ],
        axis=-1,
    )


def _bend_fisheye(points: Array, coefficients: Array) -> Array:
    radius = np.linalg.norm(points, axis=-1, keepdims=True)
    angle = np.arctan(radius)
    square = angle**2
    k1, k2, k3, k4 = coefficients
    bent = angle * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    return np.asarray(points * np.where(radius > 1e-9, bent / np.maximum(radius, 1e-9), 1.0))
