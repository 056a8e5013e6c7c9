"""How a stitched object is made to belong to a picture: brightness, colourfulness, blur, noise, and its shadow."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from studio.billboard import Layer
from worldmodel.geometry import Array

SHADOW_STRENGTH = 0.55  # how much of the ground's light the middle of the contact shadow takes
LUMA = np.array([0.299, 0.587, 0.114])
GAINS, CHROMAS = (0.25, 1.4), (0.3, 1.0)  # how far brightness and colourfulness may be changed
OWN_BLUR_PX = 0.6  # what the measure of blur says about an edge that is as sharp as pixels allow
MOST_BLUR_PX, MOST_NOISE = 2.5, 8.0
EDGE_SHARE = 0.02  # of the pixels; the strongest edges, which tell the blur
FAINTEST_EDGE = 24.0  # levels; a picture without stronger edges has no known blur
REACH_PX = 4  # how far from an edge its two sides are looked for


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is done to an object's pixels.

    Attributes:
        gain: Factor of brightness.
        chroma: Share of its colourfulness that is kept.
        blur_px: Standard deviation of the blur added.
        noise: Standard deviation of the noise added, levels of 255.
    """

    gain: float = 1.0
    chroma: float = 1.0
    blur_px: float = 0.0
    noise: float = 0.0


def look_of(picture: UInt8[Array, "3 h w"], layer: Layer) -> Look:
    """How an object must look to belong to a picture: two thirds of the way in brightness, half of it in colourfulness
    (never more colourful than it is), as blurred and as noisy as the picture."""
    values = picture.transpose(1, 2, 0).astype(np.float64)
    share = layer.color / max(float(layer.coverage.sum()), 1e-9)
    own, own_chroma = float(share.sum(axis=(0, 1)) @ LUMA), _chroma(share)
    around, chroma = float(values.mean(axis=(0, 1)) @ LUMA), _chroma(values / values[..., 0].size)
    grey = values @ LUMA
    return Look(
        gain=float(np.clip((max(around, 1.0) / max(own, 1.0)) ** (2 / 3), *GAINS)),
        chroma=float(np.clip((max(chroma, 1.0) / max(own_chroma, 1.0)) ** 0.5, *CHROMAS)),
        blur_px=added_blur(grey),
        noise=noise_level(grey),
    )


def _chroma(weighted: Array) -> float:
    """Summed distance of weighted colours from their own grey."""
    return float(np.abs(weighted - (weighted @ LUMA)[..., None]).sum())


def added_blur(grey: Float[Array, "h w"]) -> float:
    """How much blur an object as sharp as pixels allow needs to look as blurred as a picture, pixels.

    Of a step of height A blurred by a Gaussian of deviation s the steepest slope is A / (s sqrt(2 pi)); the sharper half of
    the strongest edges tells s.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    widths: list[Array] = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis))
        size = 2 * REACH_PX + 1
        height = maximum_filter1d(grey, size, axis=axis) - minimum_filter1d(grey, size, axis=axis)
        height = np.minimum(np.delete(height, -1, axis=axis), np.delete(height, 0, axis=axis))
        strong = (steps >= np.quantile(steps, 1 - EDGE_SHARE)) & (height >= FAINTEST_EDGE)
        widths.append(height[strong] / np.maximum(steps[strong], 1e-9) / math.sqrt(2 * math.pi))
    found = np.concatenate(widths)
    if not len(found):
        return 0.0
    blur = float(np.quantile(found, 0.25))
    return min(MOST_BLUR_PX, math.sqrt(max(0.0, blur**2 - OWN_BLUR_PX**2)))


def noise_level(grey: Float[Array, "h w"]) -> float:
    """Standard deviation of the noise of a picture, levels of 255.

    Source: Immerkaer, "Fast Noise Variance Estimation" (1996), with the median instead of the mean, so that edges do not count.
    """
    from scipy.signal import convolve2d

    if min(grey.shape) < 3:
        return 0.0
    mask = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    rough = np.abs(convolve2d(grey, mask, mode="valid"))
    return min(MOST_NOISE, float(np.median(rough)) / 0.6745 / 6)


def dressed(layer: Layer, look: Look, seed: int) -> Layer:
    """The layer as it must look; what is hidden stays hidden, and its noise is drawn from the seed."""
    color, coverage, unoccluded = layer.color, layer.coverage, layer.unoccluded
    if look.blur_px > 0.2:
        color, coverage, unoccluded = (_blurred(values, look.blur_px) for values in (color, coverage, unoccluded))
    grey = (color @ LUMA)[..., None]
    color = (grey + (color - grey) * look.chroma) * look.gain
    if look.noise > 0:
        grain = np.random.default_rng(seed).normal(0.0, look.noise, coverage.shape)
        color = color + (grain * coverage)[..., None]
    color = np.clip(color, 0.0, 255.0 * coverage[..., None])
    return replace(layer, color=color, coverage=coverage, unoccluded=unoccluded)


def _blurred(values: Array, sigma_px: float) -> Array:
    from scipy.ndimage import gaussian_filter

    touched = np.flatnonzero(values.reshape(len(values), -1).any(axis=1))
    if not len(touched):
        return values
    margin = math.ceil(4 * sigma_px) + 1
    rows = slice(max(0, int(touched[0]) - margin), int(touched[-1]) + margin + 1)
    sigmas = (sigma_px, sigma_px, *([0.0] * (values.ndim - 2)))
    blurred = values.copy()
    blurred[rows] = gaussian_filter(values[rows], sigmas, mode="nearest")
    return blurred


def composite(picture: UInt8[Array, "3 h w"], layer: Layer) -> UInt8[Array, "3 h w"]:
    """Darken the ground, then lay the object over it; pixels without either keep their exact value."""
    ground = picture.astype(np.float64) * (1 - SHADOW_STRENGTH * layer.shadow)
    mixed = ground * (1 - layer.coverage) + layer.color.transpose(2, 0, 1)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
