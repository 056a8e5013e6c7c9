"""From features of two sides to scores: Fréchet and kernel distances, precision and its kin, with interval and floor."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eval_fid_fvd import resampling
from eval_fid_fvd.cards import MetricCard, Score, metric_name
from eval_fid_fvd.coverage import values_per_sample
from eval_fid_fvd.evidence import FeatureSet
from eval_fid_fvd.extrapolation import GROUPS, SIZES, frechet_distance_at_infinity
from eval_fid_fvd.features import FeatureNetwork
from eval_fid_fvd.frechet import FeatureStats, frechet_distance, frechet_distance_of_stats
from eval_fid_fvd.kernel import polynomial_mmd
from eval_fid_fvd.metrics import ENDLESS_METRICS, FRECHET_METRICS, KERNEL_METRICS, Metric
from eval_fid_fvd.statistics import bootstrap_interval

Array = np.ndarray
TWO_SIDED = 1.959963984540054  # standard errors to either side for 95%
Clips = list[Float[Array, "samples width"]]
KERNEL_ROWS, KERNEL_FLOPS = 10_000, 4e10  # of a kernel or neighbours: some ten seconds and a few hundred megabytes


@dataclass(frozen=True, eq=False, kw_only=True)
class Sides:
    """Features of both sides for one number.

    Attributes:
        network: What made them.
        a, b: The generated and the real side.
        group: The camera, or None for all pooled.
        paired: Whether clip i of both sides belongs together.
    """

    network: FeatureNetwork
    a: FeatureSet
    b: FeatureSet
    group: int | None
    paired: bool

    @property
    def clips(self) -> tuple[Clips, Clips]:
        """Features per clip, of the clips that are kept."""
        return self.a.clips(self.group), self.b.clips(self.group)

    @property
    def streamed(self) -> bool:
        """Whether a side has more features than are kept."""
        return self.a.streamed or self.b.streamed

    @property
    def counts(self) -> tuple[int, int]:
        """How many clips there are on each side."""
        return self.a.seen, self.b.seen


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How intervals are drawn: the generator, and how often."""

    generator: np.random.Generator
    resamples: int


def distance_score(metric: Metric, sides: Sides, card: MetricCard, draws: Draws) -> Score:
    """One score of two sets of features.

    Args:
        card: With everything that is not about this metric and network.
    Raises:
        BadRequest: for fewer than two samples on a side.
    """
    lined = _with_network(card, metric, sides.network)
    if metric.name in FRECHET_METRICS:
        return _frechet_score(sides, lined, draws)
    if metric.name in KERNEL_METRICS:
        return _kernel_score(sides, lined, draws)
    if metric.name in ENDLESS_METRICS:
        return _endless_score(sides, lined)
    return _share_score(metric.name, sides, lined, draws)


def _with_network(card: MetricCard, metric: Metric, network: FeatureNetwork) -> MetricCard:
    return replace(
        card,
        metric=metric_name(metric.name, network.name),
        network=network.name,
        network_hash=network.file_hash,
        layer=network.layer,
        resize=network.resize,
        value_range=network.value_range,
        frames_rule=network.frames_rule if network.takes_clips else "every frame",
        rule=metric.rule,
        covariance=metric.covariance,
    )


def _frechet_score(sides: Sides, card: MetricCard, draws: Draws) -> Score:
    streamed, clips = sides.streamed, sides.clips
    stats = _stats(sides) if streamed else None
    if stats is None:
        rows = np.concatenate(clips[0]), np.concatenate(clips[1])
        value, n_a, n_b = frechet_distance(*rows), *map(len, rows)
    else:
        value, n_a, n_b = frechet_distance_of_stats(*stats), stats[0].count, stats[1].count
    interval, interval_rule = _frechet_interval(sides, clips, stats, value, draws)
    floor = _floor_of_stats(sides) if streamed else _floor(clips[1], frechet_distance)
    return Score(
        value=value,
        interval=interval,
        n_a=n_a,
        n_b=n_b,
        floor=floor,
        card=replace(
            card,
            interval_rule=interval_rule,
            floor_rule=HALVES if floor is not None else "none",
            rule=card.rule + (", streamed statistics" if streamed else ""),
            notes=(*card.notes, *_few(card.metric, min(n_a, n_b), sides.network.width), *_alone(card.metric, interval)),
        ),
    )


HALVES = "even real clips against odd real clips (half the samples)"


def _stats(sides: Sides) -> tuple[FeatureStats, FeatureStats]:
    found = []
    for side in (sides.a, sides.b):
        if side.streamed:
            even, odd = side.halves(sides.group)
            found.append(even + odd)
        else:
            found.append(FeatureStats.of(np.concatenate(side.clips(sides.group))))
    return found[0], found[1]


def _frechet_interval(
    sides: Sides,
    clips: tuple[Clips, Clips],
    stats: tuple[FeatureStats, FeatureStats] | None,
    value: float,
    draws: Draws,
) -> tuple[resampling.Interval | None, str]:
    if min(sides.counts) < 2:
        return None, "none"
    rows = [sum(map(len, side)) for side in clips]
    if stats is None and resampling.is_cheap(rows[0], rows[1], sides.network.width, draws.resamples):
        interval = resampling.frechet_interval(
            *clips, value, draws.generator, resamples=draws.resamples, paired=sides.paired
        )
        return interval, f"95%, bias-centred bootstrap over clips, {draws.resamples} resamples"
    interval = resampling.linear_frechet_interval(
        stats or _stats(sides),
        *clips,
        value,
        draws.generator,
        resamples=draws.resamples,
        paired=sides.paired,
        clips=sides.counts,
    )
    return interval, f"95%, bootstrap over clips of the linearised distance, {draws.resamples} resamples"


def _floor(real: Clips, distance: Callable[[Array, Array], float], at_least: int = 2) -> float | None:
    """The distance between even and odd real clips; None where a half has fewer samples than that needs."""
    halves = [np.concatenate(half) for half in (real[::2], real[1::2]) if half]
    return distance(*halves) if len(halves) == 2 and min(map(len, halves)) >= at_least else None


def _floor_of_stats(sides: Sides) -> float | None:
    if not sides.b.streamed:
        return _floor(sides.b.clips(sides.group), frechet_distance)
    return frechet_distance_of_stats(*sides.b.halves(sides.group))


def _kernel_score(sides: Sides, card: MetricCard, draws: Draws) -> Score:
    a, b = (thinned(side, sides.network.width) for side in sides.clips)
    rows = np.concatenate(a), np.concatenate(b)
    value = polynomial_mmd(*rows)
    together = sides.paired and len(a) == len(b)
    interval = None
    if min(len(a), len(b)) >= 2:
        interval = resampling.kernel_interval(a, b, value, draws.generator, resamples=draws.resamples, paired=together)
    floor = _floor(b, polynomial_mmd)
    return Score(
        value=value,
        interval=interval,
        n_a=len(rows[0]),
        n_b=len(rows[1]),
        floor=floor,
        card=replace(
            card,
            rule=card.rule + _of_all(sides, a, b),
            interval_rule=f"95%, bias-centred bootstrap over clips, {draws.resamples} resamples"
            if interval
            else "none",
            floor_rule=HALVES if floor is not None else "none",
            notes=(*card.notes, *_alone(card.metric, interval)),
        ),
    )


def _endless_score(sides: Sides, card: MetricCard) -> Score:
    """The Fréchet distance continued to infinitely many samples, with the error of leaving groups of samples out."""
    a, b = sides.clips
    rows = np.concatenate(a), np.concatenate(b)
    found = frechet_distance_at_infinity(*rows)
    half = TWO_SIDED * found.error
    return Score(
        value=found.value,
        interval=(found.value - half, found.value + half),
        n_a=len(rows[0]),
        n_b=len(rows[1]),
        floor=_floor(b, lambda x, y: frechet_distance_at_infinity(x, y).value, at_least=SIZES * GROUPS),
        card=replace(
            card,
            rule=card.rule + _of_all(sides, a, b),
            interval_rule=f"95%, normal, error of leaving out {GROUPS} groups of samples (not of clips)",
            floor_rule=HALVES if min(len(b[::2]), len(b[1::2])) > 0 else "none",
            notes=(*card.notes, f"{card.metric}: a parabola instead of the line would change it by {found.bend:+.3g}"),
        ),
    )


def _share_score(name: str, sides: Sides, card: MetricCard, draws: Draws) -> Score:
    """Precision, recall, density or coverage: a mean over samples of one side, whose clips are resampled."""
    a, b = (thinned(side, sides.network.width) for side in sides.clips)
    values = values_per_sample(name, np.concatenate(b), np.concatenate(a))
    own = a if name in ("precision", "density") else b
    per_clip = np.array([part.mean() for part in np.split(values, np.cumsum([len(clip) for clip in own])[:-1])])
    many = len(per_clip) >= 2
    return Score(
        value=float(values.mean()),
        interval=bootstrap_interval(per_clip, draws.generator, resamples=draws.resamples) if many else None,
        n_a=sum(map(len, a)),
        n_b=sum(map(len, b)),
        floor=_floor(b, lambda x, y: float(values_per_sample(name, x, y).mean()), at_least=6),
        card=replace(
            card,
            rule=card.rule + _of_all(sides, a, b),
            interval_rule=f"95%, percentile bootstrap over clips of one side, {draws.resamples} resamples"
            if many
            else "none",
            floor_rule=HALVES if len(b) >= 2 else "none",
            notes=(*card.notes, *(() if many else (f"{name}: one clip, no interval",))),
        ),
    )


def _of_all(sides: Sides, a: Clips, b: Clips) -> str:
    if len(a) == sides.counts[0] and len(b) == sides.counts[1]:
        return ", all samples"
    return f", {len(a)} of {sides.counts[0]} clips"


def thinned(clips: Clips, width: int) -> Clips:
    """Clips spread evenly over all of them, so few that a kernel of their samples stays within KERNEL_ROWS and KERNEL_FLOPS."""
    most = min(KERNEL_ROWS, int((KERNEL_FLOPS / width) ** 0.5))
    each = max(len(clip) for clip in clips)
    count = max(2, most // each)
    if len(clips) <= count:
        return clips
    return [clips[i] for i in np.linspace(0, len(clips) - 1, count).round().astype(int)]


def _few(metric: str, samples: int, width: int) -> tuple[str, ...]:
    if samples > width:
        return ()
    return (
        f"{metric}: {samples} samples for {width} features: the distance is biased upwards, compare only with equal "
        "numbers of samples",
    )


def _alone(metric: str, interval: object) -> tuple[str, ...]:
    return () if interval is not None else (f"{metric}: one clip, no interval",)
