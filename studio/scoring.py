"""`detour score`: scores between two sets of videos, with the feature networks that are at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.runs import refuse_existing
from worldmodel.errors import UnknownName

if TYPE_CHECKING:
    from eval_fid_fvd.features import FeatureNetworks
    from eval_fid_fvd.results import Scores


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What `detour score` is asked for.

    Attributes:
        a, b: The generated and the real side.
        metrics: Names such as 'fid' and 'psnr'.
        frames, condition_frames: As `ScoreOptions`.
        inception, i3d: Weight files of the published networks; without them the tokenizer's features are used, and named.
        model: Checkpoint folder that the tokenizer comes from.
        seed: Of the resampling.
    """

    a: Path
    b: Path
    metrics: tuple[str, ...]
    frames: int | None = None
    condition_frames: int = 0
    inception: Path | None = None
    i3d: Path | None = None
    model: str = ""
    seed: int = 0


def run_score(request: ScoreRequest, out: Path | None = None) -> "Scores":
    """Score, and write the scores to `out` when it is named.

    Raises:
        UnknownName: for a metric that does not exist.
        BadInput: if a side or a weight file cannot be used, or `out` exists.
    """
    from eval_fid_fvd.videos import METRICS, ScoreOptions, score_folders

    for metric in request.metrics:
        if metric not in METRICS:
            raise UnknownName("metric", metric, METRICS)
    if out is not None:
        refuse_existing(out)
    options = ScoreOptions(condition_frames=request.condition_frames, frames=request.frames, seed=request.seed)
    scores = score_folders(request.a, request.b, request.metrics, _networks(request), options=options)
    if out is not None:
        scores.write(out)
    return scores


def _networks(request: ScoreRequest) -> "FeatureNetworks | None":
    """The published networks where weights are given, the tokenizer's features otherwise; None when none is needed."""
    from eval_fid_fvd.features import FeatureNetworks
    from eval_fid_fvd.networks.i3d import i3d_k400
    from eval_fid_fvd.networks.inception import inception_2015
    from eval_fid_fvd.networks.tokenizer import tokenizer_features
    from eval_fid_fvd.videos import OF_CLIPS, OF_PICTURES

    of_pictures = any(metric in OF_PICTURES for metric in request.metrics)
    of_clips = any(metric in OF_CLIPS for metric in request.metrics)
    if not (of_pictures or of_clips):
        return None
    pictures = inception_2015(request.inception) if of_pictures and request.inception is not None else None
    clips = i3d_k400(request.i3d) if of_clips and request.i3d is not None else None
    if (of_pictures and pictures is None) or (of_clips and clips is None):
        from worldmodel.model import WorldModel

        ours = tokenizer_features(WorldModel.from_pretrained(request.model).tokenizer)
        pictures, clips = pictures or ours.pictures, clips or ours.clips
    return FeatureNetworks(pictures=pictures, clips=clips)
