"""Full-reference picture scores: PSNR and SSIM of two pictures of the same moment."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from worldmodel.errors import BadRequest

Array = np.ndarray
WINDOW_PX, SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03
PSNR_CAP_DB = 100.0  # what an identical frame counts as when dB are averaged over frames


def psnr(a: Float[Array, "h w 3"], b: Float[Array, "h w 3"]) -> float:
    """Peak signal-to-noise ratio in dB, for a peak of 1: -10 log10 of the mean squared error over all values.

    Args:
        a: RGB float, shape [h, w, 3], range [0, 1].
        b: The same size and range.
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
        a: RGB float, shape [h, w, 3], range [0, 1], h and w at least 11.
        b: The same size and range.
    Raises:
        BadRequest: for another shape or range, or pictures smaller than the window.
    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    x, y = _checked_pair(a, b)
    if min(x.shape[:2]) < WINDOW_PX:
        raise BadRequest(
            f"pictures are {x.shape[1]}x{x.shape[0]} pixels; SSIM needs at least {WINDOW_PX}x{WINDOW_PX}. Use PSNR."
        )
    x, y = (np.ascontiguousarray(side.transpose(2, 0, 1)) for side in (x, y))  # twice as fast to filter
    mean_x, mean_y = _local_means(x), _local_means(y)
    var_x, var_y = _local_means(x * x) - mean_x * mean_x, _local_means(y * y) - mean_y * mean_y
    cov = _local_means(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return float((luminance * (2 * cov + c2) / (var_x + var_y + c2)).mean())


def psnr_of_frames(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
    """PSNR of each frame in dB; identical frames count as PSNR_CAP_DB so that means stay finite."""
    return np.array([min(psnr(x, y), PSNR_CAP_DB) for x, y in zip(unit_pictures(a), unit_pictures(b), strict=True)])


def ssim_of_frames(a: UInt8[Array, "n 3 h w"], b: UInt8[Array, "n 3 h w"]) -> Float[Array, " n"]:
    """SSIM of each frame."""
    return np.array([ssim(x, y) for x, y in zip(unit_pictures(a), unit_pictures(b), strict=True)])


def unit_pictures(frames: UInt8[Array, "n 3 h w"]) -> Float[Array, "n h w 3"]:
    """Frames as float64 pictures in [0, 1], channels last."""
    return np.asarray(frames).transpose(0, 2, 3, 1).astype(np.float64) / 255


def _window() -> Float[Array, " 11"]:
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    weights = np.exp(-0.5 * (offsets / SIGMA_PX) ** 2)
    return np.asarray(weights / weights.sum())


def _local_means(x: Float[Array, "3 h w"]) -> Float[Array, "3 h-10 w-10"]:
    """Gaussian means of every window that lies inside the picture."""
    edge = WINDOW_PX // 2
    rows = ndimage.correlate1d(x, _window(), axis=1)[:, edge:-edge]
    return np.asarray(ndimage.correlate1d(rows, _window(), axis=2)[..., edge:-edge])


def _checked_pair(a: Array, b: Array) -> tuple[Array, Array]:
    x, y = _checked(a, "a"), _checked(b, "b")
    if x.shape != y.shape:
        raise BadRequest(f"pictures have shapes {x.shape} and {y.shape}; both must be equal. Resize one first.")
    return x, y


def _checked(picture: Array, side: str) -> Array:
    x = np.asarray(picture)
    if x.ndim != 3 or x.shape[2] != 3 or x.dtype.kind != "f" or not x.size:
        raise BadRequest(
            f"picture {side}: got {x.dtype} {x.shape}; it must be float [h, w, 3] in [0, 1]. Divide uint8 by 255."
        )
    if not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1):
        raise BadRequest(
            f"picture {side}: values from {x.min():g} to {x.max():g}; they must be finite and in [0, 1]. "
            "Divide uint8 by 255, or map [-1, 1] to [0, 1]."
        )
    return x.astype(np.float64)
