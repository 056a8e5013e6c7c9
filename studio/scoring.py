"""`detour score`: scores between two sets of videos, with the feature networks that are at hand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.runs import refuse_existing
from worldmodel.errors import BadRequest

if TYPE_CHECKING:
    from eval_fid_fvd.comparison import Comparison
    from eval_fid_fvd.features import FeatureNetwork, FeatureNetworks
    from eval_fid_fvd.options import ScoreOptions
    from eval_fid_fvd.results import Scores
    from studio.score_sides import Sides
    from worldmodel.geometry import Array
    from worldmodel.model import WorldModel

TOWN, TOKENIZER = "town", "tokenizer"
DEFAULT_METRICS = ("psnr", "ssim", "fid", "fvd")


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What `detour score` is asked for.

    Attributes:
        a: The generated side: folder of videos, video, dataset, run folder or folder of runs.
        b: The real side; None where `a` is a run that holds what followed.
        metrics: Names such as 'fid' and 'psnr'; empty for the preset's, or PSNR, SSIM, FD and FVD.
        preset: Whose way of counting, or ''.
        frames, condition_frames, frequency_hz: As `ScoreOptions`; None for the preset's, or all, none and their own.
        size: (width, height) to bring pictures to; None for the preset's, or their own.
        paired: Whether clips of equal names belong together.
        per_camera: Whether every number is also given per camera.
        window_s, drift, consistency: As `ScoreOptions`.
        video: Which video of a run; '' for the one driven as logged, or the only one.
        weights: Files or folders of published networks, told apart by their hash.
        features: What stands in where no weights are given: 'town', 'tokenizer', or a folder of a town-r2p1d.
        model: Checkpoint folder that the tokenizer comes from.
        device: Where networks run.
        seed: Of the resampling.
    """

    a: str
    b: str | None = None
    metrics: tuple[str, ...] = ()
    preset: str = ""
    frames: int | None = None
    condition_frames: int | None = None
    frequency_hz: float | None = None
    size: tuple[int, int] | None = None
    paired: bool = True
    per_camera: bool = False
    window_s: float | None = None
    drift: bool = False
    consistency: bool = False
    video: str = ""
    weights: tuple[Path, ...] = ()
    features: str = TOWN
    model: str = ""
    device: str = "cpu"
    seed: int = 0


def parsed_size(text: str) -> tuple[int, int] | None:
    """(width, height) of 'WIDTHxHEIGHT'; None of ''.

    Raises:
        BadRequest: for anything else.
    """
    if not text:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise BadRequest(f"a size of '{text}' is asked for; it must be WIDTHxHEIGHT, such as 256x128.")
    return int(width), int(height)


def run_score(
    request: ScoreRequest,
    out: Path | None = None,
    *,
    model: "WorldModel | None" = None,
    on_clip: Callable[[int, int], None] = lambda *_: None,
    on_look: Callable[[], None] | None = None,
) -> "Scores":
    """Score, and write the scores to `out` when it is named.

    Args:
        model: Whose tokenizer is used where the request wants it; None reads the request's.
        on_clip: Called with the clips done and their number.
        on_look: Called before each time a feature network looks at a clip; what it raises ends the work.
    Raises:
        UnknownName: for a metric or preset that does not exist.
        BadInput: if a side or a weight file cannot be used, or `out` exists.
    """
    from eval_fid_fvd.metrics import metrics_of
    from eval_fid_fvd.presets import options_of, preset_of
    from eval_fid_fvd.videos import score_sources
    from studio.score_sides import sides_of

    if out is not None:
        refuse_existing(out)
    preset = preset_of(request.preset) if request.preset else None
    metrics = request.metrics or (preset.metrics if preset else DEFAULT_METRICS)
    metrics_of(metrics)
    options = options_of(
        preset,
        frames=request.frames,
        condition_frames=request.condition_frames,
        frequency_hz=request.frequency_hz,
        size=request.size,
    )
    options = replace(
        options,
        paired=request.paired and options.paired,
        per_camera=request.per_camera,
        window_s=request.window_s,
        drift=request.drift,
        consistency=request.consistency,
        device=request.device,
        seed=request.seed,
    )
    sides = sides_of(request.a, request.b, request.video)
    if sides.of_a_run:
        options = _fitted(options, sides)
    networks = networks_for(metrics, request, model)
    if on_look is not None:
        networks = announced(networks, on_look)
    scores = score_sources(sides.a, sides.b, metrics, networks, options, on_clip=on_clip)
    if out is not None:
        scores.write(out)
    return scores


def compare_with(scores: "Scores", other: Path) -> "tuple[Comparison, ...]":
    """These scores beside those of a file.

    Raises:
        BadTable: if the file holds no scores.
        BadRequest: if the two were made differently; every line that differs is named.
    """
    from eval_fid_fvd.comparison import compare
    from eval_fid_fvd.results import Scores

    return compare(scores, Scores.read(other))


def announced(networks: "FeatureNetworks", on_look: Callable[[], None]) -> "FeatureNetworks":
    """The same networks of pictures and clips; each calls `on_look` before it looks."""

    def telling(network: "FeatureNetwork | None") -> "FeatureNetwork | None":
        if network is None:
            return None
        compute = network.compute

        def told(frames: "Array") -> "Array":
            on_look()
            return compute(frames)

        return replace(network, compute=told)

    return replace(networks, pictures=telling(networks.pictures), clips=telling(networks.clips))


def networks_for(
    metrics: tuple[str, ...], request: ScoreRequest, model: "WorldModel | None" = None
) -> "FeatureNetworks":
    """Published networks where weights are given; otherwise the town's own (or the tokenizer's), where a metric needs them."""
    from eval_fid_fvd.features import FeatureNetworks
    from eval_fid_fvd.metrics import uses
    from eval_fid_fvd.networks.catalogue import choose_networks

    given = choose_networks(request.weights, device=request.device)
    lacks = [kind for kind in ("pictures", "clips") if uses(metrics, kind) and getattr(given, kind) is None]
    if not lacks:
        return given
    spare = _spare(request, model)
    return FeatureNetworks(
        pictures=given.pictures or spare.pictures, clips=given.clips or spare.clips, pairs=given.pairs
    )


def _spare(request: ScoreRequest, model: "WorldModel | None") -> "FeatureNetworks":
    if request.features == TOKENIZER:
        from eval_fid_fvd.networks.tokenizer import tokenizer_features
        from worldmodel.model import WorldModel

        return tokenizer_features((model or WorldModel.from_pretrained(request.model)).tokenizer)
    from eval_fid_fvd.networks.town import town_r2p1d

    folder = None if request.features == TOWN else Path(request.features)
    if folder is not None and not folder.is_dir():
        raise BadRequest(
            f"features '{request.features}' are asked for; they must be '{TOWN}', '{TOKENIZER}' or a folder of a "
            "town-r2p1d. Choose one of these."
        )
    return town_r2p1d(folder, device=request.device)


def _fitted(options: "ScoreOptions", sides: "Sides") -> "ScoreOptions":
    """Options that bring what really followed to the size, rate and length of what a run imagined."""
    import numpy as np

    from eval_fid_fvd.conversion import ConvertedClips
    from eval_fid_fvd.picture_steps import Resize

    if not options.steps:
        first = sides.a.read(sides.a.names[0], np.zeros(1, np.int64))
        options = replace(options, steps=(Resize(width_px=first.shape[-1], height_px=first.shape[-2]),))
    rates = [side.frequency_hz for side in (sides.a, sides.b)]
    if options.frequency_hz is None and rates[0] and rates[1] and rates[0] != rates[1]:
        options = replace(options, frequency_hz=min(rate for rate in rates if rate))
    if options.frames is None:
        converted = [ConvertedClips(side, (), options.frequency_hz) for side in (sides.a, sides.b)]
        shortest = min(side.length(name) for side in converted for name in side.names)
        options = replace(options, frames=max(1, shortest - options.condition_frames))
    return options
