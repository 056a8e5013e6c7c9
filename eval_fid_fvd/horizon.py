"""How quality holds over a long future: windows of one length, each against the same window of the same clips.

A window is short and every window has the same number of clips and frames, so that its distances can be compared with
each other: prefixes would grow, and a Fréchet distance depends on the number of samples (`docs/results.md` names N). Beside
the model stand the last frame repeated, the tokenizer's reconstruction of the real frames (what no model of its latents can
beat), and other real clips of the same kind.

All intervals come from the same resampled clips, so a ratio of two windows is resampled clip by clip, not side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.cards import MetricCard, Score, metric_name
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.images import ssim_of_frames
from eval_fid_fvd.perceptual import Lpips
from eval_fid_fvd.statistics import RESAMPLES, centred_bootstrap_interval
from eval_fid_fvd.videos import RULES, WIDEST_INTERVAL
from worldmodel.errors import BadRequest

Array = np.ndarray
ENDS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
DISTANCES = {"fid": "pictures", "fvd": "clips"}
PAIRED = ("ssim", "lpips")
MOTION = "motion"


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What is kept of one side in one window, one entry per clip; never pixels.

    Attributes:
        pictures: Features of every frame and camera, [clips, frames x cameras, width].
        clips: Features of every camera's window, [clips, cameras, width].
        per_clip: Means per clip, [clips]: 'motion' (absolute change from frame to frame, grey levels of 255), and where the
            side was compared with the real frames 'ssim' and 'lpips'.
    """

    pictures: Float[Array, "clips samples width"]
    clips: Float[Array, "clips cameras width"]
    per_clip: Mapping[str, Float[Array, " clips"]]

    def __len__(self) -> int:
        return len(self.pictures)


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


def window_evidence(
    video: UInt8[Array, "clips time camera 3 h w"],
    networks: FeatureNetworks,
    *,
    real: UInt8[Array, "clips time camera 3 h w"] | None = None,
    lpips: Lpips | None = None,
) -> Evidence:
    """Features and means of one side's window.

    Args:
        networks: Both kinds.
        real: The frames that are stood for, for SSIM and LPIPS.
        lpips: As of `eval_fid_fvd.perceptual.lpips_alex`.
    Raises:
        BadRequest: for a missing network or unequal shapes.
    """
    if networks.pictures is None or networks.clips is None:
        raise BadRequest("the horizon needs a network of pictures and one of clips; one is missing. Give both.")
    if real is not None and real.shape != video.shape:
        raise BadRequest(f"windows are {video.shape} and {real.shape}; both must be equal. Cut or resize one.")
    pictures = [networks.pictures.features(clip.reshape(-1, *clip.shape[2:])) for clip in video]
    cameras = [networks.clips.features(clip.swapaxes(0, 1)) for clip in video]
    changes = [np.abs(np.diff(clip.astype(np.int16), axis=0)).mean() for clip in video]
    means = {MOTION: np.array(changes, np.float64)}
    if real is not None:
        means["ssim"] = _paired(ssim_of_frames, video, real)
    if real is not None and lpips is not None:
        means["lpips"] = _paired(lpips, video, real)
    return Evidence(pictures=np.stack(pictures), clips=np.stack(cameras), per_clip=means)


def _paired(compute: Callable[[Array, Array], Array], video: Array, real: Array) -> Float[Array, " clips"]:
    flat = [(a.reshape(-1, *a.shape[2:]), b.reshape(-1, *b.shape[2:])) for a, b in zip(video, real, strict=True)]
    return np.array([compute(a, b).mean() for a, b in flat])


@dataclass(frozen=True, kw_only=True)
class Check:
    """One threshold: a ratio with its interval, and where it has to lie."""

    name: str
    value: float
    interval: tuple[float, float] | None
    at_least: float
    at_most: float

    @property
    def met(self) -> bool:
        """Whether the value lies there (the interval may reach beyond)."""
        return self.at_least <= self.value <= self.at_most


@dataclass(frozen=True, eq=False, kw_only=True)
class Horizon:
    """All sides in all windows.

    Attributes:
        ends_s: Where the windows end, seconds after now, increasing.
        length_s: How long each is.
        real: The real frames, per window.
        sides: What stands for them, per window; also other real clips.
        networks: What the features were made with.
        card: Lines for the cards that only the caller knows: frequency_hz, condition_frames, cameras, size, codec, device.
        resamples, seed: Of the intervals.
    """

    ends_s: tuple[float, ...]
    length_s: float
    real: tuple[Evidence, ...]
    sides: Mapping[str, tuple[Evidence, ...]]
    networks: FeatureNetworks
    card: Mapping[str, Any]
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {len(window) for side in (self.real, *self.sides.values()) for window in side}
        windows = {len(self.ends_s), len(self.real), *(len(side) for side in self.sides.values())}
        if len(counts) != 1 or len(windows) != 1:
            raise BadRequest(
                f"sides have {sorted(counts)} clips in {sorted(windows)} windows; all must have equally many, or their "
                "distances cannot be compared. Use the same clips and windows everywhere."
            )

    def score(self, metric: str, side: str, window: int, floor: str | None = None) -> Score:
        """FID, FVD, SSIM, LPIPS or motion of one side in one window.

        Args:
            metric: 'fid', 'fvd', 'ssim', 'lpips' or 'motion'.
            floor: The side whose number stands beside it as the level of real against real; None for none.
        """
        network = getattr(self.networks, DISTANCES[metric]) if metric in DISTANCES else None
        statistic = self._statistic(metric, side, window)
        value = statistic(self._all)
        interval = self._interval(statistic, value) if self._resampled(metric) else None
        count = (
            len(self.real[0]) if network is None else int(np.prod(self._features(metric, self.real[window]).shape[:2]))
        )
        level = None if floor is None else self._statistic(metric, floor, window)(self._all)
        return Score(
            value=value,
            interval=interval,
            n_a=count,
            n_b=count,
            floor=level,
            card=self._card(metric, network, floor, resampled=interval is not None),
        )

    def ratio(
        self, metric: str, over: tuple[str, int], under: tuple[str, int]
    ) -> tuple[float, tuple[float, float] | None]:
        """One (side, window) over another, with the interval of the resampled ratios."""
        a, b = self._statistic(metric, *over), self._statistic(metric, *under)

        def log_ratio(rows: Array) -> float:
            return float(np.log(max(a(rows), 1e-12) / max(b(rows), 1e-12)))

        value = log_ratio(self._all)
        if not self._resampled(metric):
            return float(np.exp(value)), None
        low, high = self._interval(log_ratio, value)
        return float(np.exp(value)), (float(np.exp(low)), float(np.exp(high)))

    @property
    def _all(self) -> Array:
        return np.arange(len(self.real[0]))

    def _resampled(self, metric: str) -> bool:
        if metric not in DISTANCES:
            return True
        return bool(getattr(self.networks, DISTANCES[metric]).width <= WIDEST_INTERVAL)

    def _interval(self, statistic: Callable[[Array], float], value: float) -> tuple[float, float]:
        draws = np.random.default_rng(self.seed)  # the same clips for every number
        return centred_bootstrap_interval(statistic, len(self.real[0]), value, draws, resamples=self.resamples)

    def _statistic(self, metric: str, side: str, window: int) -> Callable[[Array], float]:
        fake = self.real[window] if side == REAL else self.sides[side][window]
        if metric not in DISTANCES:
            values = fake.per_clip[metric]
            return lambda rows: float(values[rows].mean())
        a, b = self._features(metric, fake), self._features(metric, self.real[window])
        return lambda rows: frechet_distance(np.concatenate(a[rows]), np.concatenate(b[rows]))

    @staticmethod
    def _features(metric: str, evidence: Evidence) -> Array:
        features: Array = getattr(evidence, DISTANCES[metric])
        return features

    def _card(self, metric: str, network: FeatureNetwork | None, floor: str | None, *, resampled: bool) -> MetricCard:
        lines: dict[str, Any] = {
            **self.card,
            "frames": round(self.length_s * float(self.card["frequency_hz"])),
            "rule": RULES.get(metric, "mean over frames, then over clips"),
            "interval_rule": f"95%, bias-centred bootstrap over clips, {self.resamples} resamples"
            if resampled
            else "none",
            "floor_rule": "none" if floor is None else f"{floor}, as many clips",
        }
        if network is None:
            return MetricCard(metric=metric.upper(), **lines)
        return MetricCard(
            metric=metric_name(metric, network.name),
            network=network.name,
            network_hash=network.file_hash,
            layer=network.layer,
            resize=network.resize,
            value_range=network.value_range,
            **lines,
        )


REAL = "real"


def horizon_checks(horizon: Horizon, side: str, *, floor: str, repeat: str) -> list[Check]:
    """The thresholds on a model's long futures, each as a ratio.

    Args:
        side: The model's.
        floor: The tokenizer's reconstruction.
        repeat: The last frame repeated.
    """
    last = len(horizon.ends_s) - 1
    wanted = [
        ("fid", "first window over the tokenizer's floor", (side, 0), (floor, 0), 0.0, 2.0),
        ("fid", "last window over first", (side, last), (side, 0), 0.0, 1.5),
        ("fvd", "last window over first", (side, last), (side, 0), 0.0, 1.5),
        ("fvd", "last window over the last frame repeated", (side, last), (repeat, last), 0.0, 1.0),
        (MOTION, "last window over real", (side, last), (REAL, last), 0.5, 2.0),
    ]
    checks = []
    for metric, words, over, under, at_least, at_most in wanted:
        value, interval = horizon.ratio(metric, over, under)
        name = f"{horizon.score(metric, *over).name}: {words}"
        checks.append(Check(name=name, value=value, interval=interval, at_least=at_least, at_most=at_most))
    return checks


def horizon_rows(horizon: Horizon, metrics: Sequence[str]) -> list[tuple[str, str, list[Score]]]:
    """(metric, side, one score per window) for every side that has the metric; motion also for the real frames."""
    rows = []
    for metric in metrics:
        sides = [*horizon.sides, REAL] if metric == MOTION else list(horizon.sides)
        for side in sides:
            evidence = horizon.real if side == REAL else horizon.sides[side]
            if metric in DISTANCES or metric in evidence[0].per_clip:
                scores = [horizon.score(metric, side, window) for window in range(len(horizon.ends_s))]
                rows.append((metric, side, scores))
    return rows
