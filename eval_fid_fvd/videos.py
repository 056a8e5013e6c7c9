"""Scores between two sets of clips: generated against real, as arrays, folders of videos or datasets.

Clips are paired: a generated clip stands beside the real one of the same name (or, when asked for, the sides are two sets).
Features of all cameras (and, for FID, of all frames) are pooled into one set per side, and given per camera where asked for; a
clip is what is resampled for intervals. A clip that cannot be read is left out on both sides, listed and counted; it is
never a zero. One clip of each side is in memory, and those decoded ahead.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.cards import MetricCard, Score
from eval_fid_fvd.conversion import RATE_TOLERANCE, ConvertedClips, conversion_of
from eval_fid_fvd.distances import Draws, Sides, distance_score
from eval_fid_fvd.evidence import Evidence, FeatureSet
from eval_fid_fvd.extraction import ClipFeatures, FrameWindow, extracted
from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
from eval_fid_fvd.metrics import METRICS, Metric, metrics_of, uses
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.pairs import FORMULAS, PairCollector, PairFormula, curve_of, paired_score
from eval_fid_fvd.results import Scores, Unreadable
from eval_fid_fvd.sources import ArrayClips, ClipSource, open_source
from worldmodel.errors import BadRequest, BadVideo

Array = np.ndarray


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
        real: As many clips of the same shape, in the same order (any number when `options.paired` is off).
        metrics: Some of METRICS.
        networks: For scores of pictures its `pictures`, for those of clips its `clips`, for lpips its `pairs` network.
        frequency_hz: Frames per second, for the card.
        options: How frames are counted, converted and resampled.
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
    """Scores between two folders of videos with equal names, two video files, or two datasets.

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
    a: ClipSource,
    b: ClipSource,
    metrics: Sequence[str],
    networks: FeatureNetworks,
    options: ScoreOptions,
    *,
    on_clip: Callable[[int, int], None] = lambda *_: None,
) -> Scores:
    """Scores between any two sources of clips; see `score_videos`.

    Args:
        on_clip: Called with the clips done and their number, both sides counted where they are sets.
    """
    chosen = metrics_of(metrics)
    _check_networks(chosen, networks, options)
    _check_rates(a, b, options)
    if options.paired:
        _check_names(a, b)
    sides = tuple(ConvertedClips(side, options.steps, options.frequency_hz) for side in (a, b))
    taking = _Taking(sides, chosen, networks, options)
    count = len(a.names) + (0 if options.paired else len(b.names))
    for done, clip in enumerate(_clips(sides, taking.needed, options), start=1):
        taking.take(clip)
        on_clip(done, count)
    taking.check_enough()
    card = taking.card()
    draws = Draws(generator=np.random.default_rng(options.seed), resamples=options.resamples)
    scores = [score for metric in chosen for score in taking.scores(metric, card, draws)]
    pairs = taking.evidence.pairs
    return Scores(
        scores=tuple(scores),
        curves={name.upper(): curve_of(pairs[name], options.condition_frames) for name in metrics if name in pairs},
        clips=taking.evidence.clips[0],
        unreadable=tuple(taking.unreadable),
    )


def _clips(
    sides: Sequence[ClipSource], networks: FeatureNetworks, options: ScoreOptions
) -> Iterator[tuple[int | None, ClipFeatures | Unreadable]]:
    """(None, a pair), or where sides are sets (0 or 1, a clip of that side)."""
    skipped, frames = options.condition_frames, options.frames
    if options.clips_with_condition:
        window = FrameWindow(frames=None if frames is None else frames + skipped)
    else:
        window = FrameWindow(start=skipped, frames=frames)
    if options.paired:
        for clip in extracted(sides, networks, window=window):
            yield None, clip
    else:
        for number, side in enumerate(sides):
            for clip in extracted([side], networks, window=window):
                yield number, clip


class _Taking:
    """Takes clips one by one, and then gives the scores."""

    def __init__(
        self,
        sides: Sequence[ConvertedClips],
        metrics: Sequence[Metric],
        networks: FeatureNetworks,
        options: ScoreOptions,
    ) -> None:
        self._sides, self._networks, self._options = sides, networks, options
        self.evidence, self.unreadable = Evidence(), list[Unreadable]()
        names = [metric.name for metric in metrics]
        self.needed = FeatureNetworks(
            pictures=networks.pictures if uses(names, "pictures") else None,
            clips=networks.clips if uses(names, "clips") else None,
        )
        formulas = {name: _formula(name, networks) for name in names if METRICS[name].of == "pairs"}
        self._pairs = PairCollector(formulas, self.evidence)
        self._shape: tuple[int, ...] | None = None
        self._seen: dict[str, bytes] = {}
        self._skipped = options.condition_frames if options.clips_with_condition else 0

    def take(self, numbered: tuple[int | None, ClipFeatures | Unreadable]) -> None:
        """Keep what is needed of one clip (of both sides, or of the side that is named)."""
        only, clip = numbered
        if isinstance(clip, Unreadable):
            self.unreadable.append(clip)
            return
        chosen = (0, 1) if only is None else (only,)
        for side, video in zip(chosen, clip.videos, strict=True):
            self._check_shape(clip.name, side, video)
        a, b = self.evidence.clips
        self.evidence.clips = a + (0 in chosen), b + (1 in chosen)
        if 1 in chosen:
            self._seen[clip.name] = hashlib.sha256(clip.videos[-1].tobytes()).digest()
        for side, rows in zip(chosen, clip.pictures, strict=False):
            self._set_of("pictures")[side].add(self._grouped(rows, self._skipped), clip.name)
        for side, rows in zip(chosen, clip.clips, strict=False):
            self._set_of("clips")[side].add(self._grouped(rows), clip.name)
        if only is None:
            self._pairs.add(*(video[self._skipped :] for video in clip.videos))

    def check_enough(self) -> None:
        """Raise BadVideo if a side has no clip."""
        if not all(self.evidence.clips):
            raise BadVideo(
                f"none of {len(self.unreadable)} clip{' pairs' if self._options.paired else 's of a side'} can be read; at "
                f"least one is needed. First: {self.unreadable[0].message}"
            )

    def card(self) -> MetricCard:
        """All lines that do not depend on the metric."""
        assert self._shape is not None
        frames, cameras, _, height, width = self._shape
        a, b = self._sides
        return MetricCard(
            metric="none",
            frames=frames - self._skipped,
            frequency_hz=b.frequency_hz,
            condition_frames=self._options.condition_frames,
            cameras=f"{cameras}, pooled" if cameras > 1 else "1",
            size=f"{width}x{height}",
            conversion=conversion_of(a, b),
            codec=a.codec if a.codec == b.codec else f"{a.codec} against {b.codec}",
            pairing="by name" if self._options.paired else "none, two sets",
            reference=f"{len(self._seen)} clips, pixels {self._hash_of_reference()}",
            preset=self._options.preset,
            rule="none",
            device=self._options.device,
            interval_rule="none",
            floor_rule="none",
        )

    def scores(self, metric: Metric, card: MetricCard, draws: Draws) -> Iterator[Score]:
        """The score of all cameras, and of each where asked for."""
        yield self._score(metric, None, card, draws)
        assert self._shape is not None
        if self._options.per_camera and self._shape[1] > 1:
            for number, name in enumerate(self._sides[1].cameras):
                one = replace(card, cameras=f"1 of {self._shape[1]}", part=f"camera {name}")
                yield self._score(metric, number, one, draws)

    def _score(self, metric: Metric, camera: int | None, card: MetricCard, draws: Draws) -> Score:
        if metric.of == "pairs":
            part = slice(None) if camera is None else slice(camera, camera + 1)
            values, apart = (
                [frames[:, part] for frames in kept.get(metric.name, [])]
                for kept in (self.evidence.pairs, self.evidence.apart)
            )
            network = self._networks.pairs if metric.name == "lpips" else None
            return paired_score(metric, values, apart, card, draws, network)
        features = _network_of(metric, self._networks)
        assert features is not None  # _check_networks
        a, b = self.evidence.features[metric.of]
        if metric.of == "clips" and self._skipped:
            card = replace(card, frames=card.frames + self._skipped, condition_rule="scored with the others")
        sides = Sides(network=features, a=a, b=b, group=camera, paired=self._options.paired)
        return distance_score(metric, sides, card, draws)

    def _set_of(self, kind: str) -> tuple[FeatureSet, FeatureSet]:
        seed = self._options.seed
        return self.evidence.features.setdefault(kind, (FeatureSet(seed), FeatureSet(seed)))

    def _grouped(self, rows: Array, skipped: int = 0) -> Array:
        """[time x camera, width] or [camera, width] to [camera, samples, width]; one group unless cameras are given apart."""
        assert self._shape is not None
        by_camera = rows.reshape(-1, self._shape[1], rows.shape[-1])[skipped:].swapaxes(0, 1)
        return by_camera if self._options.per_camera else by_camera.reshape(1, -1, rows.shape[-1])

    def _check_shape(self, name: str, side: int, video: Array) -> None:
        if video.dtype != np.uint8 or video.ndim != 5 or video.shape[2] != 3:
            raise BadRequest(
                f"clip '{name}': {video.dtype} {video.shape}; need uint8 [time, camera, 3, h, w]. Convert."
            )
        expected = self._shape or video.shape
        if video.shape != expected:
            raise BadRequest(
                f"the {('generated', 'real')[side]} clip '{name}' is [time, camera, 3, h, w] = {list(video.shape)}, but "
                f"others are {list(expected)}; all must be equal. Resize both sides with --size, or set --frames for "
                "unlike lengths."
            )
        self._shape = expected

    def _hash_of_reference(self) -> str:
        whole = hashlib.sha256()
        for name in sorted(self._seen):
            whole.update(self._seen[name])
        return whole.hexdigest()[:12]


def _network_of(metric: Metric, networks: FeatureNetworks) -> FeatureNetwork | None:
    return networks.pictures if metric.of == "pictures" else networks.clips


def _formula(name: str, networks: FeatureNetworks) -> PairFormula:
    return networks.pairs.compute if name == "lpips" and networks.pairs is not None else FORMULAS[name]


def _check_networks(metrics: Sequence[Metric], networks: FeatureNetworks, options: ScoreOptions) -> None:
    for metric in metrics:
        if metric.of == "pairs":
            if not options.paired:
                raise BadRequest(
                    f"{metric.name} compares frames of the same moment, but the sides are scored as two sets. Leave it "
                    "out, or give both sides the same names."
                )
            if metric.name == "lpips" and networks.pairs is None:
                raise BadRequest(
                    "lpips needs a backbone with ImageNet weights, but none was given. Pass its file with --weights FILE, or "
                    "use psnr and ssim, which need none."
                )
        elif _network_of(metric, networks) is None:
            raise BadRequest(
                f"{metric.name} needs a feature network of {metric.of}, but none was given. Pass "
                f"FeatureNetworks({metric.of}=...), for example from town_r2p1d, which needs no download."
            )


def _check_names(a: ClipSource, b: ClipSource) -> None:
    only_a, only_b = sorted(set(a.names) - set(b.names)), sorted(set(b.names) - set(a.names))
    if only_a or only_b:
        raise BadRequest(
            f"{a.label} has {len(a.names)} clips and {b.label} {len(b.names)}; every clip needs its partner of the same "
            f"name. Without one: {', '.join([*only_a, *only_b][:5])}. Remove or add clips, or score both as sets with "
            "--unpaired."
        )


def _check_rates(a: ClipSource, b: ClipSource, options: ScoreOptions) -> None:
    if options.frequency_hz is not None or not (a.frequency_hz and b.frequency_hz):
        return
    if abs(a.frequency_hz - b.frequency_hz) > RATE_TOLERANCE * b.frequency_hz:
        raise BadRequest(
            f"{a.label} runs at {a.frequency_hz:g} Hz and {b.label} at {b.frequency_hz:g} Hz; both must be equal. "
            "Thin both to one rate with --frequency."
        )
