"""Windows of one length along a clip, and what is kept of each: features and means per clip, never pixels.

A window is short and every window has the same number of clips and frames, so that its distances can be compared with
each other: prefixes would grow, and a Fréchet distance depends on the number of samples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.images import psnr_of_frames, ssim_of_frames
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.telemetry import picture_telemetry

Array = np.ndarray
PairFormula = Callable[[Array, Array], Array]
PAIR_FORMULAS: Mapping[str, PairFormula] = {"ssim": ssim_of_frames, "psnr": psnr_of_frames}
MOTION = "motion"


def window_frames(end_s: float, length_s: float, frequency_hz: float) -> slice:
    """The window's frames among all frames after now (the first of them has number 0).

    Raises:
        BadRequest: for fewer than two frames, or a window that begins before now.
    """
    last, count = round(end_s * frequency_hz), round(length_s * frequency_hz)
    if count < 2 or count > last:
        raise BadRequest(
            f"a window of {length_s:g} s that ends at {end_s:g} s has {count} frames at {frequency_hz:g} Hz, of which "
            f"{last} lie after now; it needs at least 2, all after now. Choose a longer window or a later end."
        )
    return slice(last - count, last)


def even_windows(frames: int, length_s: float, frequency_hz: float) -> tuple[slice, ...]:
    """All whole windows of one length, one after the other from the first frame on; what is left over at the end goes.

    Raises:
        BadRequest: for windows of fewer than two frames.
        ClipTooShort: if not one fits.
    """
    count = round(length_s * frequency_hz)
    if count < 2:
        raise BadRequest(
            f"a window of {length_s:g} s has {count} frames at {frequency_hz:g} Hz; it needs at least 2. Choose a longer one."
        )
    if frames < count:
        raise ClipTooShort(
            f"{frames} frames hold no window of {length_s:g} s ({count} frames at {frequency_hz:g} Hz); at least one must fit. "
            "Choose shorter windows."
        )
    return tuple(slice(start, start + count) for start in range(0, frames - count + 1, count))


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowEvidence:
    """What is kept of one side in one window, one entry per clip.

    Attributes:
        per_clip: Means per clip, [clips]: 'motion' (absolute change from frame to frame, levels of 255), those of
            `picture_telemetry`, and where the side was compared with other frames the paired scores.
        pictures: Features of every frame and camera, [clips, frames x cameras, width]; None without such a network.
        clips: Features of every camera's window, [clips, cameras, width]; None without such a network.
    """

    per_clip: Mapping[str, Float[Array, " clips"]]
    pictures: Float[Array, "clips samples width"] | None = None
    clips: Float[Array, "clips cameras width"] | None = None

    def __len__(self) -> int:
        return len(self.per_clip[MOTION])


def window_evidence(
    video: UInt8[Array, "clips time camera 3 h w"],
    networks: FeatureNetworks,
    *,
    real: UInt8[Array, "clips time camera 3 h w"] | None = None,
    formulas: Mapping[str, PairFormula] = PAIR_FORMULAS,
) -> WindowEvidence:
    """Features and means of one side's window.

    Args:
        networks: Of pictures, of clips, both or none.
        real: The frames that are stood for, for the paired scores.
        formulas: Paired scores by name: two uint8 arrays [n, 3, h, w] -> [n].
    Raises:
        BadRequest: for unequal shapes, or a single frame.
    """
    if video.ndim != 6 or video.shape[1] < 2 or (real is not None and real.shape != video.shape):
        raise BadRequest(
            f"windows are {video.shape} and {'none' if real is None else real.shape}; both must be [clips, time, camera, 3, h, w] "
            "of one shape with at least two frames. Cut or resize one."
        )
    means = [_means(clip) for clip in video]
    per_clip = {name: np.array([one[name] for one in means], np.float64) for name in means[0]}
    if real is not None:
        per_clip |= {name: _paired(formula, video, real) for name, formula in formulas.items()}
    pictures, clips = networks.pictures, networks.clips
    return WindowEvidence(
        per_clip=per_clip,
        pictures=None if pictures is None else np.stack([pictures.features(_pictures(clip)) for clip in video]),
        clips=None if clips is None else np.stack([clips.features(clip.swapaxes(0, 1)) for clip in video]),
    )


def _means(clip: UInt8[Array, "time camera 3 h w"]) -> dict[str, float]:
    changes = np.abs(np.diff(clip.astype(np.int16), axis=0))
    return {MOTION: float(changes.mean(dtype=np.float64)), **picture_telemetry(clip)}


def _paired(compute: PairFormula, video: Array, real: Array) -> Float[Array, " clips"]:
    return np.array([compute(_pictures(a), _pictures(b)).mean() for a, b in zip(video, real, strict=True)])


def _pictures(clip: UInt8[Array, "time camera 3 h w"]) -> UInt8[Array, "n 3 h w"]:
    return clip.reshape(-1, *clip.shape[2:])


def joined(parts: Sequence[WindowEvidence]) -> WindowEvidence:
    """Clips of several pieces of evidence, in order.

    Raises:
        BadRequest: if the pieces do not hold the same things.
    """
    kinds = {(frozenset(part.per_clip), part.pictures is None, part.clips is None) for part in parts}
    if len(kinds) != 1:
        raise BadRequest(
            f"{len(parts)} pieces of evidence hold {len(kinds)} sets of measures; all must hold the same one."
        )
    names = list(parts[0].per_clip)

    def both(rows: Sequence[Array | None]) -> Array | None:
        found = [row for row in rows if row is not None]
        return np.concatenate(found) if found else None

    return WindowEvidence(
        per_clip={name: np.concatenate([part.per_clip[name] for part in parts]) for name in names},
        pictures=both([part.pictures for part in parts]),
        clips=both([part.clips for part in parts]),
    )


class WindowCollector:
    """Takes pairs of clips one at a time and keeps the evidence of every window.

    The real side's paired scores are those of another real clip in the place of each (the one before it; the first is set
    against the last): what paired scores come down to once a future has nothing to do with the truth.

    Args:
        windows: Frames of each, such as of `even_windows`.
        networks, formulas: As of `window_evidence`.
    """

    def __init__(
        self,
        windows: Sequence[slice],
        networks: FeatureNetworks,
        formulas: Mapping[str, PairFormula] = PAIR_FORMULAS,
    ) -> None:
        self._windows, self._networks, self._formulas = tuple(windows), networks, formulas
        self._made: list[list[WindowEvidence]] = [[] for _ in windows]
        self._real: list[list[WindowEvidence]] = [[] for _ in windows]
        self._apart: list[dict[str, float]] = []
        self._first: Array | None = None
        self._before: Array | None = None

    def add(self, made: UInt8[Array, "time camera 3 h w"], real: UInt8[Array, "time camera 3 h w"]) -> None:
        """Take one more pair of clips.

        Raises:
            BadRequest: as `window_evidence`.
        """
        for i, window in enumerate(self._windows):
            here, truth = made[None, window], real[None, window]
            self._made[i].append(window_evidence(here, self._networks, real=truth, formulas=self._formulas))
            self._real[i].append(window_evidence(truth, self._networks))
        if self._before is None:
            self._first = real
        else:
            self._apart += self._others(self._before, real)
        self._before = real

    def evidence(self) -> tuple[tuple[WindowEvidence, ...], tuple[WindowEvidence, ...]]:
        """The generated side and the real side, one entry per window.

        Raises:
            BadRequest: if no pair was taken.
        """
        if self._before is None or self._first is None:
            raise BadRequest("no pair of clips was taken; windows need at least one. Give clips that can be read.")
        closed = [*self._others(self._before, self._first), *self._apart] if len(self._made[0]) > 1 else []
        real = []
        for i, parts in enumerate(self._real):
            whole, apart = joined(parts), closed[i :: len(self._windows)]
            others = {name: np.array([one[name] for one in apart]) for name in self._formulas if apart}
            real.append(
                WindowEvidence(per_clip={**whole.per_clip, **others}, pictures=whole.pictures, clips=whole.clips)
            )
        return tuple(joined(parts) for parts in self._made), tuple(real)

    def _others(self, before: Array, real: Array) -> list[dict[str, float]]:
        return [
            {name: float(_paired(f, before[None, window], real[None, window])[0]) for name, f in self._formulas.items()}
            for window in self._windows
        ]
