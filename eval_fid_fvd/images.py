"""Full-reference picture scores: PSNR and SSIM of two pictures of the same moment."""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

from worldmodel.errors import BadRequest

Array = np.ndarray
WINDOW_PX, SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03
TILE_PX = 16  # a third of the time of a filter that walks over the picture
PSNR_CAP_DB = 100.0  # what an identical frame counts as when dB are averaged over frames
ROUNDING = 1e-6  # by which float32 arithmetic may leave [0, 1]


def psnr(a: Float[Array, "h w 3"], b: Float[Array, "h w 3"]) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1: -10 log10 of the mean squared error over all values.

    Args:
        a: RGB, shape [h, w, 3], float in [0, 1]; uint8 is taken as levels of 255.
        b: The same size.
    Returns:
        dB; infinite for identical pictures.
    Raises:
        BadRequest: for another shape or range.
    """
    x, y = _checked_pair(a, b)
    error = float(np.mean((x - y) ** 2))
    return float(-10 * np.log10(error)) if error else float("inf")


def ssim(a: Float[Array, "h w 3"], b: Float[Array, "h w 3"]) -> float:
    """Structural similarity of two pictures, at most 1; mean over the valid region and the three channels.

    Gaussian window of 11 pixels with sigma 1.5, K = 0.01 and 0.03, population covariance, only windows that lie
    wholly inside the picture. The same as scikit-image with `gaussian_weights=True, use_sample_covariance=False`.

    Args:
        a: RGB, shape [h, w, 3], h and w at least 11, float in [0, 1]; uint8 is taken as levels of 255.
        b: The same size.
    Raises:
        BadRequest: for another shape or range, or pictures smaller than the window.
    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    x, y = _checked_pair(a, b)
    _check_window(x.shape[1], x.shape[0])
    return _ssim_of_planes(x.transpose(2, 0, 1), y.transpose(2, 0, 1))


def psnr_of_frames(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
    """PSNR of each frame in dB, [n]; identical frames count as PSNR_CAP_DB so that means stay finite.

    Raises:
        BadRequest: unless both are uint8 of one shape [n, 3, h, w].
    """
    x, y = _checked_frames(a, b)
    errors = [np.square(p.astype(np.int32) - q).mean(dtype=np.float64) / 255**2 for p, q in zip(x, y, strict=True)]
    return np.array([min(-10 * np.log10(e), PSNR_CAP_DB) if e else PSNR_CAP_DB for e in errors], np.float64)


def ssim_of_frames(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
    """SSIM of each frame, [n]; one frame is worked on at a time, so memory does not grow with n.

    Raises:
        BadRequest: unless both are uint8 of one shape [n, 3, h, w], at least as large as the window.
    """
    x, y = _checked_frames(a, b)
    _check_window(x.shape[3], x.shape[2])
    return np.array([_ssim_of_planes(p / 255, q / 255) for p, q in zip(x, y, strict=True)], np.float64)


def _ssim_of_planes(x: Float[Array, "3 h w"], y: Float[Array, "3 h w"]) -> float:
    """Mean over the channels, one at a time: what is worked on stays in the processor's cache."""
    return float(np.mean([_ssim_of_plane(p, q) for p, q in zip(x, y, strict=True)]))


def _ssim_of_plane(x: Float[Array, "h w"], y: Float[Array, "h w"]) -> float:
    """Mean SSIM of one float64 channel; of the two variances only the sum is needed."""
    mean_x, mean_y, squares, product = _local_means(np.stack([x, y, x * x + y * y, x * y]))
    energy, both = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    variances, covariance = squares - energy, product - both
    c1, c2 = K1**2, K2**2
    similar = (2 * both + c1) * (2 * covariance + c2) / ((energy + c1) * (variances + c2))
    return float(similar.mean())


def _local_means(x: Float[Array, "... h w"]) -> Float[Array, "... h-10 w-10"]:
    """Gaussian means of every window that lies inside the picture: products with a narrow banded matrix, tile by tile."""
    band, edge = _band(), WINDOW_PX - 1
    height, width = x.shape[-2] - edge, x.shape[-1] - edge
    rows, means = np.empty((*x.shape[:-2], height, x.shape[-1])), np.empty((*x.shape[:-2], height, width))
    for start in range(0, height, TILE_PX):
        size = min(TILE_PX, height - start)
        tile = x[..., start : start + size + edge, :]
        np.matmul(band[:size, : size + edge], tile, out=rows[..., start : start + size, :])
    for start in range(0, width, TILE_PX):
        size = min(TILE_PX, width - start)
        tile = rows[..., start : start + size + edge]
        np.matmul(tile, band[:size, : size + edge].T, out=means[..., start : start + size])
    return means


@cache
def _band() -> Float[Array, "tile tile+10"]:
    """Row i holds the window's weights from column i on."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW_PX) - WINDOW_PX // 2) / SIGMA_PX) ** 2)
    band = np.zeros((TILE_PX, TILE_PX + WINDOW_PX - 1))
    for i in range(TILE_PX):
        band[i, i : i + WINDOW_PX] = weights / weights.sum()
    return band


def _check_window(width_px: int, height_px: int) -> None:
    if min(width_px, height_px) < WINDOW_PX:
        raise BadRequest(
            f"pictures are {width_px}x{height_px} pixels; SSIM needs at least {WINDOW_PX}x{WINDOW_PX}. Use PSNR."
        )


def _checked_pair(a: Array, b: Array) -> tuple[Array, Array]:
    x, y = _checked(a, "a"), _checked(b, "b")
    if x.shape != y.shape:
        raise BadRequest(f"pictures have shapes {x.shape} and {y.shape}; both must be equal. Resize one first.")
    return x, y


def _checked(picture: Array, side: str) -> Array:
    """The picture as float64 in [0, 1]."""
    x = np.asarray(picture)
    if x.ndim != 3 or x.shape[2] != 3 or x.dtype.kind not in "fiu" or not x.size:
        raise BadRequest(
            f"picture {side}: got {x.dtype} {x.shape}; it must be float [h, w, 3] in [0, 1], or uint8. Convert it."
        )
    if x.dtype == np.uint8:
        return np.asarray(x / 255)
    if not (np.isfinite(x).all() and x.min() >= -ROUNDING and x.max() <= 1 + ROUNDING):
        raise BadRequest(
            f"picture {side}: {x.dtype} values from {x.min():g} to {x.max():g}; they must be finite and in [0, 1]. "
            "Divide levels by 255, or map [-1, 1] to [0, 1]."
        )
    return x.astype(np.float64)


def _checked_frames(a: Array, b: Array) -> tuple[Array, Array]:
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype != np.uint8 or y.dtype != np.uint8 or x.ndim != 4 or x.shape != y.shape or x.shape[1] != 3:
        raise BadRequest(
            f"frames are {x.dtype} {x.shape} and {y.dtype} {y.shape}; both must be uint8 [n, 3, h, w] of one size. "
            "Convert or resize one first."
        )
    return x, y
