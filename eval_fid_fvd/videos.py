"""Scores between two sets of clips: generated against real, as arrays, folders of mp4s or datasets.

Clips are paired: a generated clip stands beside the real one of the same name. Features of all cameras (and, for
FID, of all frames) are pooled into one set per side; a clip is what is resampled for intervals. A clip that cannot be
read is left out on both sides, listed and counted; it is never a zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.cards import MetricCard, Score, metric_name
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.frechet import frechet_distance
from eval_fid_fvd.images import PSNR_CAP_DB, psnr_of_frames, ssim_of_frames
from eval_fid_fvd.kernel import polynomial_mmd
from eval_fid_fvd.results import Curve, Scores, Unreadable
from eval_fid_fvd.sources import ArrayClips, ClipSource, open_source
from eval_fid_fvd.statistics import bootstrap_interval, centred_bootstrap_interval
from worldmodel.errors import BadDataset, BadRequest, BadVideo, ClipTooShort, UnknownName

Array = np.ndarray
OF_PICTURES, OF_CLIPS, PAIRED = ("fid", "kid"), ("fvd", "kvd"), ("psnr", "ssim")
METRICS = OF_PICTURES + OF_CLIPS + PAIRED
FLOOR_CLIPS = 50  # pairs of real clips behind the real-against-real level of PSNR and SSIM
WIDEST_INTERVAL = 512  # features; resampling wider Fréchet distances takes minutes
RULES = {
    "fid": "squared Frechet distance, covariance N - 1, float64",
    "kid": "unbiased MMD^2, (x.y/d + 1)^3, all samples",
    "psnr": f"mean over frames of dB, identical frames count {PSNR_CAP_DB:g}",
    "ssim": "Gaussian 11, sigma 1.5, population covariance, valid region, RGB mean",
}
RULES |= {"fvd": RULES["fid"], "kvd": RULES["kid"]}


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How clips are counted and how sure the numbers shall be.

    Attributes:
        condition_frames: Frames at the start of each clip that the model was given; left out on both sides.
        frames: Frames per clip to score after those; None for all (then all clips must be equally long).
        resamples: Bootstrap resamples for each interval.
        seed: Seed of the resampling.
        device: Where the feature networks run; written on the card.
    """

    condition_frames: int = 0
    frames: int | None = None
    resamples: int = 200
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.condition_frames < 0 or (self.frames is not None and self.frames < 1) or self.resamples < 1:
            raise BadRequest(
                f"ScoreOptions has condition_frames {self.condition_frames}, frames {self.frames}, resamples "
                f"{self.resamples}; they must be >= 0, >= 1 and >= 1. Change them."
            )


@dataclass(eq=False)
class _Evidence:
    """What is kept of the clips read so far: features and paired scores, one entry per clip; never pixels."""

    fake: dict[str, list[Array]] = field(default_factory=dict)
    real: dict[str, list[Array]] = field(default_factory=dict)
    paired: dict[str, list[Array]] = field(default_factory=dict)
    apart: dict[str, list[Array]] = field(default_factory=dict)  # the real clip against the real clip before it
    shape: tuple[int, ...] | None = None
    previous: Array | None = None


def score_videos(
    fake: UInt8[Array, "n time camera 3 h w"] | Sequence[Array],
    real: UInt8[Array, "n time camera 3 h w"] | Sequence[Array],
    metrics: Sequence[str],
    networks: FeatureNetworks | None = None,
    *,
    frequency_hz: float | None = None,
    options: ScoreOptions | None = None,
) -> Scores:
    """Scores of generated clips against the real clips they stand for.

    Args:
        fake: Clips, uint8 RGB [n, time, camera, 3, h, w], or a sequence of [time, camera, 3, h, w].
        real: As many clips of the same shape, in the same order.
        metrics: Some of METRICS.
        networks: For fid and kid its `pictures`, for fvd and kvd its `clips` network.
        frequency_hz: Frames per second, for the card.
        options: Condition frames, number of frames, resampling.
    Raises:
        UnknownName: for a metric that does not exist.
        BadRequest: for unequal numbers or sizes of clips, or a missing network.
        ClipTooShort: if clips have fewer frames than asked for, or than the network needs.
    """
    sources = ArrayClips(fake, frequency_hz), ArrayClips(real, frequency_hz)
    return score_sources(*sources, metrics, networks or FeatureNetworks(), options or ScoreOptions())


def score_folders(
    a: Path,
    b: Path,
    metrics: Sequence[str],
    networks: FeatureNetworks | None = None,
    *,
    options: ScoreOptions | None = None,
) -> Scores:
    """Scores between two folders of mp4s with equal names, two video files, or two datasets; one clip in memory.

    Args:
        a: The generated side.
        b: The real side.
    Raises:
        BadDataset: for a folder that is missing or holds no clips.
        BadVideo: if not one pair can be read.
        Further as `score_videos`; also for unequal names or frame rates.
    """
    return score_sources(
        open_source(Path(a)), open_source(Path(b)), metrics, networks or FeatureNetworks(), options or ScoreOptions()
    )


def score_sources(
    a: ClipSource, b: ClipSource, metrics: Sequence[str], networks: FeatureNetworks, options: ScoreOptions
) -> Scores:
    """Scores between any two sources of clips; see `score_videos`."""
    _check_metrics(metrics, networks)
    _check_pairs(a, b)
    evidence, unreadable = _Evidence(), []
    for name in a.names:
        try:
            pair = _read(a, name, options), _read(b, name, options)
        except (BadVideo, BadDataset) as error:
            unreadable.append(Unreadable(clip=name, message=str(error)))
            continue
        _check_shapes(name, *pair, evidence)
        _collect(evidence, *pair, metrics, networks)
    if evidence.shape is None:
        raise BadVideo(
            f"none of {len(a.names)} clip pairs can be read; at least one is needed. First: {unreadable[0].message}"
        )
    base = _base_card(evidence, a, b, options)
    generator = np.random.default_rng(options.seed)
    scores = tuple(_score(metric, evidence, networks, base, options, generator) for metric in metrics)
    curves = {metric.upper(): _curve(evidence.paired[metric], options) for metric in metrics if metric in PAIRED}
    clips = len(a.names) - len(unreadable)
    return Scores(scores=scores, curves=curves, clips=clips, unreadable=tuple(unreadable))


def _check_metrics(metrics: Sequence[str], networks: FeatureNetworks) -> None:
    if not metrics or len(set(metrics)) != len(metrics):
        raise BadRequest(f"metrics are {list(metrics)}; name at least one, each once. Known: {', '.join(METRICS)}.")
    for metric in metrics:
        if metric not in METRICS:
            raise UnknownName("metric", metric, METRICS)
        kind, network = _network_of(metric, networks)
        if kind and network is None:
            raise BadRequest(
                f"{metric} needs a feature network of {kind}, but none was given. Pass FeatureNetworks({kind}=...), "
                "for example from tokenizer_features, which needs no download."
            )


def _network_of(metric: str, networks: FeatureNetworks) -> tuple[str, FeatureNetwork | None]:
    if metric in OF_PICTURES:
        return "pictures", networks.pictures
    return ("clips", networks.clips) if metric in OF_CLIPS else ("", None)


def _check_pairs(a: ClipSource, b: ClipSource) -> None:
    only_a, only_b = sorted(set(a.names) - set(b.names)), sorted(set(b.names) - set(a.names))
    if only_a or only_b:
        raise BadRequest(
            f"{a.label} has {len(a.names)} clips and {b.label} {len(b.names)}; every clip needs its partner of the same "
            f"name. Without one: {', '.join([*only_a, *only_b][:5])}. Remove or add clips."
        )
    if a.frequency_hz and b.frequency_hz and abs(a.frequency_hz - b.frequency_hz) > 1e-3 * b.frequency_hz:
        raise BadRequest(
            f"{a.label} runs at {a.frequency_hz:g} Hz and {b.label} at {b.frequency_hz:g} Hz; both must be equal. "
            "Convert one with `detour import --frequency`."
        )


def _read(source: ClipSource, name: str, options: ScoreOptions) -> Array:
    """The frames to score; a clip with fewer than asked for is an error, not a shorter clip."""
    start, length = options.condition_frames, source.length(name)
    stop = length if options.frames is None else start + options.frames
    if stop > length or start >= length:
        wanted = f"{options.frames or 1} after {start} condition frame(s)"
        raise ClipTooShort(
            f"clip '{name}' of {source.label} has {length} frames; {wanted} are wanted. Ask for fewer with --frames."
        )
    return source.read(name, np.arange(start, stop))


def _check_shapes(name: str, fake: Array, real: Array, evidence: _Evidence) -> None:
    expected = evidence.shape or real.shape
    for side, video in (("generated", fake), ("real", real)):
        if video.dtype != np.uint8 or video.ndim != 5 or video.shape[2] != 3:
            raise BadRequest(
                f"clip '{name}': {video.dtype} {video.shape}; need uint8 [time, camera, 3, h, w]. Convert."
            )
        if video.shape != expected:
            raise BadRequest(
                f"the {side} clip '{name}' is [time, camera, 3, h, w] = {list(video.shape)}, but others are "
                f"{list(expected)}; all must be equal. Resize with `detour import`, or set --frames for unlike lengths."
            )
    evidence.shape = expected


def _collect(evidence: _Evidence, fake: Array, real: Array, metrics: Sequence[str], networks: FeatureNetworks) -> None:
    for kind in ("pictures", "clips"):
        network = getattr(networks, kind)
        if any(_network_of(metric, networks)[0] == kind for metric in metrics):
            rows = _rows_of_pictures if kind == "pictures" else _rows_of_clips
            evidence.fake.setdefault(kind, []).append(network.features(rows(fake)))
            evidence.real.setdefault(kind, []).append(network.features(rows(real)))
    for metric in metrics:
        if metric in PAIRED:
            evidence.paired.setdefault(metric, []).append(_per_frame(metric, fake, real))
            if evidence.previous is not None and len(evidence.paired[metric]) <= FLOOR_CLIPS + 1:
                evidence.apart.setdefault(metric, []).append(_per_frame(metric, evidence.previous, real))
    evidence.previous = real


def _rows_of_pictures(video: Array) -> Array:
    return video.reshape(-1, *video.shape[2:])


def _rows_of_clips(video: Array) -> Array:
    return video.swapaxes(0, 1)


def _per_frame(metric: str, a: Array, b: Array) -> Array:
    """[time]: the mean over cameras at each frame."""
    compute: Callable[[Array, Array], Array] = {"psnr": psnr_of_frames, "ssim": ssim_of_frames}[metric]
    return compute(_rows_of_pictures(a), _rows_of_pictures(b)).reshape(a.shape[:2]).mean(axis=1)


def _score(
    metric: str,
    evidence: _Evidence,
    networks: FeatureNetworks,
    base: dict[str, Any],
    options: ScoreOptions,
    generator: np.random.Generator,
) -> Score:
    if metric in PAIRED:
        return _paired_score(metric, evidence, base, options, generator)
    kind, network = _network_of(metric, networks)
    assert network is not None  # _check_metrics
    return _distance_score(metric, evidence.fake[kind], evidence.real[kind], network, base, options, generator)


def _paired_score(
    metric: str, evidence: _Evidence, base: dict[str, Any], options: ScoreOptions, generator: np.random.Generator
) -> Score:
    assert evidence.shape is not None
    per_clip = np.array([frames.mean() for frames in evidence.paired[metric]])
    many = len(per_clip) >= 2
    interval = bootstrap_interval(per_clip, generator, resamples=options.resamples) if many else None
    apart = evidence.apart.get(metric)
    card = MetricCard(
        **base,
        metric=metric.upper(),
        value_range="[0, 1]",
        rule=RULES[metric],
        interval_rule=_interval_rule("percentile", options) if many else "none",
        floor_rule=f"each real clip against the one before it, at most {FLOOR_CLIPS}" if apart else "none",
        notes=() if many else ("one clip: no interval",),
    )
    count = len(per_clip) * evidence.shape[0] * evidence.shape[1]
    floor = float(np.mean([frames.mean() for frames in apart])) if apart else None
    return Score(value=float(per_clip.mean()), interval=interval, n_a=count, n_b=count, floor=floor, card=card)


def _distance_score(
    metric: str,
    fake: list[Array],
    real: list[Array],
    network: FeatureNetwork,
    base: dict[str, Any],
    options: ScoreOptions,
    generator: np.random.Generator,
) -> Score:
    distance = frechet_distance if metric in ("fid", "fvd") else polynomial_mmd
    a, b = np.concatenate(fake), np.concatenate(real)
    value = distance(a, b)
    resampled = metric in ("fid", "fvd") and len(fake) >= 2 and network.width <= WIDEST_INTERVAL

    def of_clips(rows: Array) -> float:
        return distance(np.concatenate([fake[i] for i in rows]), np.concatenate([real[i] for i in rows]))

    interval = (
        centred_bootstrap_interval(of_clips, len(fake), value, generator, resamples=options.resamples)
        if resampled
        else None
    )
    halves = np.concatenate(real[::2]), np.concatenate(real[1::2] or real)
    floor = distance(*halves) if len(real) >= 2 and min(map(len, halves)) >= 2 else None
    card = MetricCard(
        **base,
        metric=metric_name(metric, network.name),
        network=network.name,
        network_hash=network.file_hash,
        layer=network.layer,
        resize=network.resize,
        value_range=network.value_range,
        rule=RULES[metric],
        interval_rule=_interval_rule("bias-centred", options) if resampled else "none",
        floor_rule="even real clips against odd real clips (half the samples)" if floor is not None else "none",
        notes=_notes(metric, a, b, resampled),
    )
    return Score(value=value, interval=interval, n_a=len(a), n_b=len(b), floor=floor, card=card)


def _notes(metric: str, a: Array, b: Array, resampled: bool) -> tuple[str, ...]:
    few = min(len(a), len(b)) <= a.shape[1]
    notes = [
        f"{metric}: {min(len(a), len(b))} samples for {a.shape[1]} features: the distance is biased upwards, compare "
        "only with equal numbers of samples"
    ] * few
    return (*notes, *([] if resampled else [f"{metric}: no interval"]))


def _interval_rule(kind: str, options: ScoreOptions) -> str:
    return f"95%, {kind} bootstrap over clips, {options.resamples} resamples"


def _curve(per_clip: list[Array], options: ScoreOptions) -> Curve:
    values = np.mean(per_clip, axis=0)
    start = options.condition_frames
    return Curve(frames=tuple(range(start, start + len(values))), values=tuple(float(value) for value in values))


def _base_card(evidence: _Evidence, a: ClipSource, b: ClipSource, options: ScoreOptions) -> dict[str, Any]:
    assert evidence.shape is not None
    frames, cameras, _, height, width = evidence.shape
    return {
        "frames": frames,
        "frequency_hz": b.frequency_hz,
        "condition_frames": options.condition_frames,
        "cameras": f"{cameras}, pooled" if cameras > 1 else "1",
        "size": f"{width}x{height}",
        "codec": a.codec if a.codec == b.codec else f"{a.codec} against {b.codec}",
        "device": options.device,
    }
