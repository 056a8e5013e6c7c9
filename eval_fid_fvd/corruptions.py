"""Known damage to a video, by kind and severity: what a score of videos must notice, and more of it the more there is.

    worse = corrupted(video, "blur", 1.1, frames=16, generator=np.random.default_rng(0))

Every damage is a pure function of the video, the amount and the generator, and draws the same for every amount, so that
severities of one clip are comparable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from worldmodel.errors import BadVideo, ClipTooShort, UnknownName

Array = np.ndarray
SPEED = "speed"
BLUR_REACH = 3.0  # standard deviations of the blur that are summed


@dataclass(frozen=True, eq=False, kw_only=True)
class Corruption:
    """One kind of damage.

    Attributes:
        unit: What its amount says.
        severities: Four amounts, mildest first.
        apply: (video uint8 [time, 3, h, w], amount, frames wanted, generator) -> uint8 [frames, 3, h, w].
    """

    unit: str
    severities: tuple[float, float, float, float]
    apply: Callable[[Array, float, int, np.random.Generator], Array]


def corrupted(
    video: UInt8[Array, "time 3 h w"], kind: str, amount: float, *, frames: int, generator: np.random.Generator
) -> UInt8[Array, "frames 3 h w"]:
    """The first `frames` frames of a video (for 'speed': as many, spread over more or less of it), damaged.

    Args:
        kind: One of CORRUPTIONS.
        amount: In the unit of the kind; 0 (for 'speed': 1) changes nothing.
    Raises:
        UnknownName: for another kind.
        BadVideo: if it is no uint8 RGB video, or the amount is negative or not finite.
        ClipTooShort: if there are fewer frames than are wanted.
    """
    if kind not in CORRUPTIONS:
        raise UnknownName("kind of damage", kind, CORRUPTIONS)
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[1] != 3:
        raise BadVideo(f"got {video.dtype} {video.shape}; damage needs uint8 RGB [time, 3, h, w]. Convert first.")
    if not (np.isfinite(amount) and amount >= 0):
        raise BadVideo(f"{kind} by {amount} is no damage; the amount must be 0 or more. See CORRUPTIONS for its unit.")
    needed = _frame_at(frames - 1, amount) + 1 if kind == SPEED else frames
    if len(video) < needed:
        raise ClipTooShort(
            f"the video has {len(video)} frames, but {frames} frames of {kind} {amount:g} take {needed}. "
            "Use a longer video or fewer frames."
        )
    return CORRUPTIONS[kind].apply(video, amount, frames, generator)


def blurred(video: Array, sigma_px: float, frames: int, _: np.random.Generator) -> Array:
    """Gaussian blur of every frame."""
    part = video[:frames].astype(np.float32)
    return _levels(gaussian_filter(part, (0, 0, sigma_px, sigma_px), mode="nearest", truncate=BLUR_REACH))


def noisy(video: Array, spread: float, frames: int, generator: np.random.Generator) -> Array:
    """Independent Gaussian noise; `spread` is its standard deviation as a share of the full range."""
    part = video[:frames]
    return _levels(part + 255 * np.float32(spread) * generator.standard_normal(part.shape, dtype=np.float32))


def frozen(video: Array, share: float, frames: int, generator: np.random.Generator) -> Array:
    """From some moment on, for a share of the steps, the picture stands still; then the video goes on where it should be."""
    still = round(min(share, 1.0) * (frames - 1))
    first = int(generator.random() * (frames - still))
    order = np.arange(frames)
    order[first : first + still + 1] = first
    return video[order]


def at_speed(video: Array, rate: float, frames: int, _: np.random.Generator) -> Array:
    """Played `rate` times as fast, with the nearest frames that there are."""
    return video[[_frame_at(i, rate) for i in range(frames)]]


def shuffled(video: Array, share: float, frames: int, generator: np.random.Generator) -> Array:
    """A share of the frames, chosen at random, change places with one another; none of them stays."""
    chosen = generator.permutation(frames)[: round(min(share, 1.0) * frames)]
    order = np.arange(frames)
    order[chosen] = np.roll(chosen, 1)
    return video[order]


def colour_drifted(video: Array, amount: float, frames: int, generator: np.random.Generator) -> Array:
    """The channels' gains move apart, from none at the first frame to 1 +- `amount` at the last (a single frame is a last one)."""
    way = generator.standard_normal(3)
    ramp = np.linspace(0, 1, frames) if frames > 1 else np.ones(1)
    gains = 1 + amount * ramp[:, None] * (way / np.abs(way).max())
    return _levels(video[:frames] * gains[:, :, None, None].astype(np.float32))


CORRUPTIONS = {
    "blur": Corruption(unit="standard deviation, pixels", severities=(0.4, 0.7, 1.1, 1.6), apply=blurred),
    "noise": Corruption(
        unit="standard deviation, share of the range", severities=(0.02, 0.04, 0.08, 0.16), apply=noisy
    ),
    "frozen": Corruption(unit="share of the steps", severities=(0.25, 0.5, 0.75, 1.0), apply=frozen),
    "speed": Corruption(unit="times the true speed", severities=(1.25, 1.5, 1.75, 2.0), apply=at_speed),
    "shuffled": Corruption(unit="share of the frames", severities=(0.25, 0.5, 0.75, 1.0), apply=shuffled),
    "colour": Corruption(unit="change of a channel's gain", severities=(0.1, 0.2, 0.3, 0.4), apply=colour_drifted),
}
WORST = {"blur": 3.0, "noise": 0.25, "frozen": 1.0, "speed": 2.0, "shuffled": 1.0, "colour": 0.5}  # learnt from


def _frame_at(index: int, rate: float) -> int:
    return int(index * rate + 0.5)


def _levels(values: Array) -> Array:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)
