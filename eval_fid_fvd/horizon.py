"""How quality holds over a long future: windows of one length, each against the same window of the same clips.

Beside a model may stand whatever else is shown for the real frames: the last frame repeated, the tokenizer's reconstruction of
the real frames (what no model of its latents can beat), and other real clips of the same kind.

All intervals come from the same resampled clips, so a ratio of two windows, or a slope over all of them, is resampled clip by
clip, not side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.cards import MetricCard, Score, metric_name
from eval_fid_fvd.coverage import density_coverage, precision_recall
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.kernel import polynomial_mmd
from eval_fid_fvd.metrics import FRECHET_METRICS, KERNEL_METRICS, METRICS
from eval_fid_fvd.statistics import RESAMPLES, centred_bootstrap_interval
from eval_fid_fvd.windows import MOTION, WindowEvidence
from worldmodel.errors import BadRequest, UnknownName

Array = np.ndarray
Interval = tuple[float, float]
ENDS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
DISTANCES: Mapping[str, Callable[[Array, Array], float]] = {
    "fid": frechet_distance,
    "fvd": frechet_distance,
    "kid": polynomial_mmd,
    "kvd": polynomial_mmd,
    "precision": lambda fake, real: precision_recall(real, fake)["precision"],
    "recall": lambda fake, real: precision_recall(real, fake)["recall"],
    "density": lambda fake, real: density_coverage(real, fake)["density"],
    "coverage": lambda fake, real: density_coverage(real, fake)["coverage"],
}
WIDEST_INTERVAL = 512  # features, and
MOST_RESAMPLED = 2000  # samples of a kernel: resampling larger distances takes minutes
REAL = "real"
HALVES = "halves"  # as a floor: even real clips against odd ones


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One metric of one side over all windows.

    Attributes:
        metric: 'fid', 'ssim', 'sharpness', ...
        side: Whose.
        name: The printed name, with the network.
        middles_s: Middle of each window, seconds after now.
        scores: One per window.
        slope_per_s: Least-squares slope against the middles.
        slope_interval: Of clips resampled alike in all windows; None where windows have none.
        last_over_first: Last window over the first; None where it is not defined (a window not above zero).
        ratio_interval: Likewise.
    """

    metric: str
    side: str
    name: str
    middles_s: tuple[float, ...]
    scores: tuple[Score, ...]
    slope_per_s: float
    slope_interval: Interval | None
    last_over_first: float | None
    ratio_interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        lines = {name: value for name, value in vars(self).items() if name != "scores"}
        return {**lines, "windows": [score.to_json() for score in self.scores]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Trend":
        """A trend from `to_json`'s data.

        Raises:
            BadTable: for a broken score.
        """
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        scores = tuple(Score.from_json(score) for score in tuples.pop("windows"))
        return cls(scores=scores, **tuples)


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
    real: tuple[WindowEvidence, ...]
    sides: Mapping[str, tuple[WindowEvidence, ...]]
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

    def metrics(self, side: str) -> tuple[str, ...]:
        """What can be said of a side: distances whose network is there, paired scores, measures of the frames alone."""
        evidence = self._side(side)[0]
        distances = () if side == REAL else tuple(m for m in DISTANCES if getattr(evidence, _kind(m)) is not None)
        return (*distances, *evidence.per_clip)

    def score(self, metric: str, side: str, window: int, floor: str | None = None) -> Score:
        """One metric of one side in one window.

        Args:
            metric: One of `metrics(side)`.
            floor: The side whose number stands beside it as the level of real against real, or HALVES: even real clips
                against odd ones for distances, the real side's own mean for others; None for none.
        Raises:
            UnknownName: for a metric or side that is not there.
        """
        network = self._network(metric)
        statistic = self._statistic(metric, side, window)
        value = statistic(self._all)
        interval = self._interval(statistic, value) if self._resampled(metric) else None
        count = len(self.real[0])
        if network is not None:
            count = int(np.prod(self._features(metric, self.real[window]).shape[:2]))
        level, rule = self._level(metric, window, floor)
        return Score(
            value=value,
            interval=interval,
            n_a=count,
            n_b=count,
            floor=level,
            card=replace(
                self._card(metric, network, resampled=interval is not None),
                part=f"{self.ends_s[window] - self.length_s:g}-{self.ends_s[window]:g} s",
                floor_rule=rule,
            ),
        )

    def trend(self, metric: str, side: str, floor: str | None = None) -> Trend:
        """One metric of one side over all windows, with slope and ratio.

        Raises:
            UnknownName: as `score`.
        """
        scores = tuple(self.score(metric, side, window, floor) for window in range(len(self.ends_s)))
        middles = np.array(self.ends_s) - self.length_s / 2
        centred = middles - middles.mean()
        weights = centred / max(float(centred @ centred), 1e-12)  # least squares; one window has no slope
        statistics = [self._statistic(metric, side, window) for window in range(len(self.ends_s))]

        def slope(rows: Array) -> float:
            return float(weights @ [statistic(rows) for statistic in statistics])

        value = slope(self._all)
        several = self._resampled(metric) and len(scores) > 1
        ratio, ratio_interval = None, None
        if min(scores[0].value, scores[-1].value) > 0:
            ratio, ratio_interval = self.ratio(metric, (side, len(scores) - 1), (side, 0))
        return Trend(
            metric=metric,
            side=side,
            name=self.name(metric),
            middles_s=tuple(float(middle) for middle in middles),
            scores=scores,
            slope_per_s=value,
            slope_interval=self._interval(slope, value) if several else None,
            last_over_first=ratio,
            ratio_interval=ratio_interval,
        )

    def ratio(self, metric: str, over: tuple[str, int], under: tuple[str, int]) -> tuple[float, Interval | None]:
        """One (side, window) over another, with the interval of the resampled ratios."""
        a, b = self._statistic(metric, *over), self._statistic(metric, *under)

        def log_ratio(rows: Array) -> float:
            return float(np.log(max(a(rows), 1e-12) / max(b(rows), 1e-12)))

        value = log_ratio(self._all)
        if not self._resampled(metric):
            return float(np.exp(value)), None
        low, high = self._interval(log_ratio, value)
        return float(np.exp(value)), (float(np.exp(low)), float(np.exp(high)))

    def name(self, metric: str) -> str:
        """The printed name of a metric, with its network and without the window."""
        return self._card(metric, self._network(metric), resampled=False).name

    @property
    def _all(self) -> Array:
        return np.arange(len(self.real[0]))

    def _side(self, side: str) -> tuple[WindowEvidence, ...]:
        if side != REAL and side not in self.sides:
            raise UnknownName("side", side, [*self.sides, REAL])
        return self.real if side == REAL else self.sides[side]

    def _network(self, metric: str) -> FeatureNetwork | None:
        network: FeatureNetwork | None = getattr(self.networks, _kind(metric)) if metric in DISTANCES else None
        return network

    def _resampled(self, metric: str) -> bool:
        if len(self.real[0]) < 2:
            return False
        network = self._network(metric)
        if network is None:
            return True
        samples = int(np.prod(self._features(metric, self.real[0]).shape[:2]))
        if metric in FRECHET_METRICS:
            return network.width <= WIDEST_INTERVAL
        return (
            metric in KERNEL_METRICS and samples <= MOST_RESAMPLED
        )  # neighbours are not resampled: copies are at distance 0

    def _interval(self, statistic: Callable[[Array], float], value: float) -> Interval:
        draws = np.random.default_rng(self.seed)  # the same clips for every number
        return centred_bootstrap_interval(statistic, len(self.real[0]), value, draws, resamples=self.resamples)

    def _statistic(self, metric: str, side: str, window: int) -> Callable[[Array], float]:
        fake = self._side(side)[window]
        if metric not in self.metrics(side):
            raise UnknownName(f"metric of '{side}'", metric, self.metrics(side))
        if metric not in DISTANCES:
            values = fake.per_clip[metric]
            return lambda rows: float(values[rows].mean())
        a, b = self._features(metric, fake), self._features(metric, self.real[window])
        return lambda rows: DISTANCES[metric](np.concatenate(a[rows]), np.concatenate(b[rows]))

    def _level(self, metric: str, window: int, floor: str | None) -> tuple[float | None, str]:
        """The level of real clips, and what it is."""
        if floor is None:
            return None, "none"
        if floor != HALVES:
            return self._statistic(metric, floor, window)(self._all), f"{floor}, as many clips"
        if metric in DISTANCES:
            real = self._features(metric, self.real[window])
            halves = [np.concatenate(half) for half in (real[::2], real[1::2]) if len(half)]
            if len(halves) < 2 or min(map(len, halves)) < 2:
                return None, "none"
            return DISTANCES[metric](*halves), "even real clips against odd real clips (half the samples)"
        if metric not in self.real[window].per_clip:
            return None, "none"
        return float(self.real[window].per_clip[metric].mean()), "real clips (paired scores: another clip for each)"

    @staticmethod
    def _features(metric: str, evidence: WindowEvidence) -> Float[Array, "clips samples width"]:
        features: Array = getattr(evidence, _kind(metric))
        return features

    def _card(self, metric: str, network: FeatureNetwork | None, *, resampled: bool) -> MetricCard:
        known = METRICS.get(metric)
        lines: dict[str, Any] = {
            **self.card,
            "frames": round(self.length_s * float(self.card["frequency_hz"])),
            "rule": known.rule if known else "mean over frames, then over clips",
            "covariance": known.covariance if known else "none",
            "interval_rule": f"95%, bias-centred bootstrap over clips, {self.resamples} resamples"
            if resampled
            else "none",
            "floor_rule": "none",
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


def _kind(metric: str) -> str:
    """Which features a distance is of."""
    return METRICS[metric].of


def horizon_rows(horizon: Horizon, metrics: Sequence[str]) -> list[tuple[str, str, list[Score]]]:
    """(metric, side, one score per window) for every side that has the metric; motion also for the real frames."""
    windows = range(len(horizon.ends_s))
    return [
        (metric, side, [horizon.score(metric, side, window) for window in windows])
        for metric in metrics
        for side in ([*horizon.sides, REAL] if metric == MOTION else horizon.sides)
        if metric in horizon.metrics(side)
    ]
