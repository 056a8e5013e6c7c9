"""Does a video drift away from its own beginning? Measures of the frames alone, its first share against its last.

A distance in windows misses a future whose every frame is plausible, such as a frozen one; and it needs real frames of the
same moment. These measures need none. Real clips drift too (the car turns towards the sun), so the same number of real clips
belongs beside it.

Source: start-end contrast |M(first 15 %) - M(last 15 %)| as in papers on long video; measures as in `worldmodel.telemetry`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.cards import Score
from eval_fid_fvd.per_clip import per_clip_score
from eval_fid_fvd.statistics import RESAMPLES
from worldmodel.errors import BadRequest, BadVideo, ClipTooShort
from worldmodel.telemetry import picture_telemetry

Array = np.ndarray
SHARE = 0.15  # of a clip's frames at either end
FEWEST = 4  # frames: two at either end
FROZEN_STEP = 0.5  # a frame whose mean absolute change is less, in levels of 255, repeats the one before it
Telemetry = dict[str, Float[Array, " values"]]
UNITS = {
    "sharpness": "mean |second difference| over mean |first difference| along rows",
    "laplacian_variance": "variance of the 4-neighbour Laplacian of the grey frame, levels^2",
    "brightness": "mean grey, levels of 255",
    "contrast": "standard deviation of grey, levels of 255",
    "colourfulness": "mean spread of red, green and blue, levels of 255",
    "colour_mean": "mean of red, green and blue, levels of 255",
    "colour_spread": "standard deviation of red, green and blue, levels of 255",
    "frozen_share": "share of pixels that change by less than 2 levels from frame to frame",
    "frozen_steps": f"share of frames that change by less than {FROZEN_STEP:g} levels in the mean",
    "motion": "mean absolute change from frame to frame, levels of 255",
}


def frames_telemetry(video: UInt8[Array, "time camera 3 h w"]) -> Telemetry:
    """Measures of consecutive frames: one value each, `colour_mean` and `colour_spread` three (red, green, blue); see UNITS.

    Raises:
        BadVideo: for another form of video, or a single frame.
    """
    _check(video, 2)
    channels = video.transpose(2, 0, 1, 3, 4).reshape(3, -1)
    steps = np.abs(np.diff(video.astype(np.int16), axis=0)).mean(axis=(1, 2, 3, 4), dtype=np.float64)
    return {
        **{name: np.array([value]) for name, value in picture_telemetry(video).items()},
        "laplacian_variance": np.array([_laplacian_variance(video)]),
        "colour_mean": channels.mean(axis=1, dtype=np.float64),
        "colour_spread": channels.std(axis=1, dtype=np.float64),
        "frozen_steps": np.array([(steps < FROZEN_STEP).mean()]),
        "motion": np.array([steps.mean()]),
    }


def ends_telemetry(video: UInt8[Array, "time camera 3 h w"], share: float = SHARE) -> tuple[Telemetry, Telemetry]:
    """Measures of a clip's first and of its last frames, at least two each.

    Args:
        share: Of the frames, at either end; more than 0, at most 0.5.
    Raises:
        ClipTooShort: for fewer than four frames.
        BadRequest: for another share.
    """
    if not 0 < share <= 0.5:
        raise BadRequest(f"a share of {share:g} of the frames at either end; it must be above 0 and at most 0.5.")
    _check(video, 0)
    if len(video) < FEWEST:
        raise ClipTooShort(
            f"a clip of {len(video)} frames has no beginning and end; drift needs at least {FEWEST}. Use a longer clip."
        )
    count = max(2, int(share * len(video)))
    return frames_telemetry(video[:count]), frames_telemetry(video[-count:])


def drift_of(video: UInt8[Array, "time camera 3 h w"], share: float = SHARE) -> dict[str, float]:
    """How far each measure moves from a clip's beginning to its end, |first - last|; colours in the mean of the three.

    Raises:
        ClipTooShort, BadRequest, BadVideo: as `ends_telemetry`.
    """
    first, last = ends_telemetry(video, share)
    return {name: float(np.abs(first[name] - last[name]).mean()) for name in UNITS}


def drift_scores(
    made: Sequence[Mapping[str, float]],
    card: Mapping[str, Any],
    *,
    real: Sequence[Mapping[str, float]] = (),
    share: float = SHARE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Score]:
    """One score per measure, from `drift_of` of every clip.

    Args:
        made: One entry per clip.
        card: Lines that only the caller knows: frames, frequency_hz, condition_frames, cameras, size, codec, device.
        real: The same of real clips, whose mean stands beside it.
        share: As it was given to `drift_of`.
    Raises:
        BadRequest: without clips.
    """
    if not made:
        raise BadRequest("there are no clips to measure; at least one is needed. Give clips that can be read.")
    return {
        name: per_clip_score(
            np.array([clip[name] for clip in made]),
            {
                **card,
                "metric": f"DRIFT OF {name.upper().replace('_', ' ')}",
                "value_range": "levels of 255",
                "rule": f"|first - last {share:.0%} of frames|, mean over clips; {unit}",
            },
            level=np.array([clip[name] for clip in real]) if real else None,
            resamples=resamples,
            seed=seed,
        )
        for name, unit in UNITS.items()
    }


def _laplacian_variance(video: UInt8[Array, "time camera 3 h w"]) -> float:
    """Mean over pictures, inside their borders; 0 for pictures too small to have an inside."""
    grey = video.astype(np.float32).mean(axis=2)
    inner = grey[..., 1:-1, 1:-1]
    if not inner.size:
        return 0.0
    around = grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:]
    return float((around - 4 * inner).var(axis=(-2, -1), dtype=np.float64).mean())


def _check(video: Array, frames: int) -> None:
    if video.dtype != np.uint8 or video.ndim != 5 or video.shape[2] != 3 or len(video) < frames or not video.size:
        raise BadVideo(
            f"the video is {video.dtype} {video.shape}; it must be uint8 RGB [time, camera, 3, h, w] with at least "
            f"{max(frames, 1)} frames. Convert or lengthen it."
        )
