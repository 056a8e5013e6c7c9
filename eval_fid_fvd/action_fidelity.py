"""Action fidelity: does the video drive the path that was commanded? ADE between the command and what a reader sees.

The number is the distance between the commanded path and the path read back from pixels by `Readers`, which share nothing with
any world model. It holds the reader's own error, so that error, on real video of known motion, stands beside it as its level: a
video cannot be seen to obey better than that. Beside it too stand the paths commanded to other clips: what a video that does not
listen comes to.

Paths start together; ADE is the mean distance over all frames (GEM's 'ADE' of generated video is an estimator's number as well,
which is why the estimator belongs in the name).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.cards import Score
from eval_fid_fvd.obedience.read_back import path_distances, path_reading
from eval_fid_fvd.per_clip import per_clip_score
from eval_fid_fvd.readers import Readers
from eval_fid_fvd.statistics import RESAMPLES
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion

Array = np.ndarray
METRIC = "ACTION ADE"
RULE = "mean distance in metres between the commanded path and the one read back, over all frames, paths start together"


@dataclass(frozen=True, eq=False, kw_only=True)
class ActionFidelity:
    """How well commands were followed, as far as a reader sees.

    Attributes:
        ade: In metres; its floor is the reader's own error on real video.
        final: The same at the last frame.
        others_m: Mean ADE against the paths of other clips: what ignoring the command comes to. None for a single clip.
        correlation: Pearson of 'speed' and 'yaw_rate' over all steps; NaN left out.
    """

    ade: Score
    final: Score
    others_m: float | None
    correlation: dict[str, float]


def action_fidelity(
    read: Sequence[Motion],
    commanded: Sequence[Motion],
    card: Mapping[str, Any],
    *,
    reader: str,
    read_of_real: Sequence[Motion] = (),
    driven: Sequence[Motion] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ActionFidelity:
    """Scores from motions that were read back.

    Args:
        read: Of the generated videos.
        commanded: What each was told; as many steps.
        card: Lines that only the caller knows: frames, frequency_hz, condition_frames, cameras, size, codec, device.
        reader: What read the motion, with its hash; part of the name.
        read_of_real: What the same reader read from real videos; may be of other clips, but of as many steps.
        driven: How those were really driven.
        resamples, seed: Of the intervals, over clips.
    Raises:
        BadRequest: without clips, or for unequal numbers of motions or steps.
    """
    if not read or {len(motion) for motion in (*read, *commanded, *read_of_real, *driven)} != {len(read[0])}:
        raise BadRequest(
            f"{len(read)} motions of {sorted({len(m) for m in (*read, *commanded, *read_of_real, *driven)})} steps; there must be "
            "at least one and all must have equally many, or errors grow with length. Cut them to the same seconds."
        )
    if len(read) != len(commanded) or len(read_of_real) != len(driven):
        raise BadRequest(
            f"{len(read)} motions were read for {len(commanded)} commands, {len(read_of_real)} for {len(driven)} real drives; "
            "each needs its partner. Pair them."
        )
    ade, final = path_distances(_steps(read), _steps(commanded))
    level = path_distances(_steps(read_of_real), _steps(driven)) if driven else (None, None)

    def score(values: Array, real: Array | None, metric: str) -> Score:
        lines = {**card, "metric": metric, "network": reader, "value_range": "levels of 255", "rule": RULE}
        rule = "the reader's own error on real video of known motion"
        return per_clip_score(values, lines, level=real, level_rule=rule, resamples=resamples, seed=seed)

    reading = path_reading(read, commanded, seed) if len(read) > 1 else None
    correlation = {} if reading is None else reading.correlation
    return ActionFidelity(
        ade=score(ade, level[0], METRIC),
        final=score(final, level[1], METRIC.replace("ADE", "FDE")),
        others_m=None if reading is None else float(reading.shuffled_m.mean()),
        correlation={name: value for name, value in correlation.items() if np.isfinite(value)},
    )


def action_fidelity_of_videos(
    readers: Readers,
    videos: Sequence[UInt8[Array, "time camera 3 h w"]],
    commanded: Sequence[Motion],
    card: Mapping[str, Any],
    *,
    real: Sequence[UInt8[Array, "time camera 3 h w"]] = (),
    driven: Sequence[Motion] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ActionFidelity:
    """Action fidelity of videos of the town's three cameras.

    Args:
        readers: Such as of `assets/readers`.
        videos: Each with one frame more than its command has steps: the newest observed frame, then the imagined ones.
        commanded: What each was told.
        real, driven: Real videos and how they were driven: the reader's own error.
    Raises:
        BadVideo, ClipTooShort: as `Readers.read_motion`.
        BadRequest: as `action_fidelity`.
    """
    read = [readers.read_motion(video, float(card["frequency_hz"])) for video in videos]
    read_of_real = [readers.read_motion(video, float(card["frequency_hz"])) for video in real]
    return action_fidelity(
        read,
        commanded,
        {**card, "network_hash": readers.hash, "resize": f"to {readers.config.width_px}x{readers.config.height_px}"},
        reader=f"readers-{readers.hash[:8]}",
        read_of_real=read_of_real,
        driven=driven,
        resamples=resamples,
        seed=seed,
    )


def _steps(motions: Sequence[Motion]) -> Float[Array, "n steps 3"]:
    return np.stack([motion.deltas for motion in motions])
