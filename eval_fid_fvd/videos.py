"""Scores between two sets of clips: generated against real, as arrays, folders of videos or datasets.

Clips are paired: a generated clip stands beside the real one of the same name (or, when asked for, the sides are two sets).
Features of all cameras (and, for FID, of all frames) are pooled into one set per side, and given per camera where asked for; a
clip is what is resampled for intervals. A clip that cannot be read is left out on both sides, listed and counted; it is
never a zero. One clip of each side is in memory, and those decoded ahead.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.collector import Collector
from eval_fid_fvd.conversion import RATE_TOLERANCE, ConvertedClips
from eval_fid_fvd.extraction import ClipFeatures, FrameWindow, extracted
from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.metrics import Metric, metrics_of
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.results import Scores, Unreadable
from eval_fid_fvd.sources import ArrayClips, ClipSource, open_source
from worldmodel.errors import BadRequest

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
    order = (a if b.rig is None else b).cameras  # files come by name, cameras of a dataset as its rig has them
    sides = tuple(ConvertedClips(side, options.steps, options.frequency_hz, order) for side in (a, b))
    collector = Collector(sides, chosen, networks, options)
    count = len(a.names) + (0 if options.paired else len(b.names))
    for done, clip in enumerate(_clips(sides, collector.needed, options), start=1):
        collector.take(clip)
        on_clip(done, count)
    return collector.scores()


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


def _check_networks(metrics: Sequence[Metric], networks: FeatureNetworks, options: ScoreOptions) -> None:
    if not options.paired and (options.window_s is not None or options.drift or options.consistency):
        raise BadRequest(
            "windows, drift and the agreement of cameras set each clip beside its real one, but the sides are scored as two "
            "sets. Leave them out, or give both sides the same names."
        )
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
        elif getattr(networks, metric.of) is None:
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
