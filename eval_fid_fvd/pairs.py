"""Scores of pairs of frames that stand for the same moment: PSNR, SSIM and LPIPS, with curves along the horizon."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8

from eval_fid_fvd.cards import MetricCard, Score
from eval_fid_fvd.distances import Draws
from eval_fid_fvd.evidence import Evidence
from eval_fid_fvd.features import PairNetwork
from eval_fid_fvd.images import psnr_of_frames, ssim_of_frames
from eval_fid_fvd.metrics import Metric
from eval_fid_fvd.results import Curve
from eval_fid_fvd.statistics import INTERVAL_LEVEL, bootstrap_indices, bootstrap_interval

Array = np.ndarray
FLOOR_CLIPS = 50  # pairs of real clips behind the real-against-real level
ENDS = ((1 - INTERVAL_LEVEL) / 2, (1 + INTERVAL_LEVEL) / 2)  # quantiles of an interval
PairFormula = Callable[[Array, Array], Array]
FORMULAS: dict[str, PairFormula] = {"psnr": psnr_of_frames, "ssim": ssim_of_frames}


class PairCollector:
    """Takes pairs of clips and keeps their scores per frame and camera, and those of each real clip against the one before.

    Args:
        formulas: By metric: two uint8 arrays [n, 3, h, w] -> [n].
    """

    def __init__(self, formulas: dict[str, PairFormula], evidence: Evidence) -> None:
        self._formulas, self._evidence = formulas, evidence
        self._before: Array | None = None

    def add(self, fake: UInt8[Array, "time camera 3 h w"], real: UInt8[Array, "time camera 3 h w"]) -> None:
        """Score one more pair."""
        for name, formula in self._formulas.items():
            self._evidence.pairs.setdefault(name, []).append(_per_frame(formula, fake, real))
            apart = self._evidence.apart.setdefault(name, [])
            if self._before is not None and len(apart) < FLOOR_CLIPS:
                apart.append(_per_frame(formula, self._before, real))
        self._before = real if self._formulas else None


def _per_frame(formula: PairFormula, a: Array, b: Array) -> Float[Array, "time camera"]:
    flat = [side.reshape(-1, *side.shape[2:]) for side in (a, b)]
    return formula(*flat).reshape(a.shape[:2])


def paired_score(
    metric: Metric,
    values: Sequence[Float[Array, "time camera"]],
    apart: Sequence[Float[Array, "time camera"]],
    card: MetricCard,
    draws: Draws,
    network: PairNetwork | None,
) -> Score:
    """Mean over frames, cameras and clips.

    Args:
        values: One entry per clip.
        apart: The same formula between different real clips.
        network: What the formula is made of, if it is learned.
    """
    if network is not None:
        card = replace(
            card,
            network=network.name,
            network_hash=network.file_hash,
            layer=network.layer,
            resize=network.resize,
        )
    per_clip = np.array([frames.mean() for frames in values])
    many = len(per_clip) >= 2
    count = sum(frames.size for frames in values)
    return Score(
        value=float(per_clip.mean()),
        interval=bootstrap_interval(per_clip, draws.generator, resamples=draws.resamples) if many else None,
        n_a=count,
        n_b=count,
        floor=float(np.mean([frames.mean() for frames in apart])) if apart else None,
        card=replace(
            card,
            metric=metric.name.upper(),
            value_range="[0, 1]" if network is None else network.value_range,
            rule=metric.rule,
            interval_rule=f"95%, percentile bootstrap over clips, {draws.resamples} resamples" if many else "none",
            floor_rule=f"each real clip against the one before it, at most {FLOOR_CLIPS}" if apart else "none",
            notes=(*card.notes, *(() if many else (f"{metric.name}: one clip, no interval",))),
        ),
    )


def curve_of(
    values: Sequence[Float[Array, "time camera"]],
    apart: Sequence[Float[Array, "time camera"]],
    first_frame: int,
    draws: Draws,
) -> Curve:
    """Mean over clips and cameras at each frame, with its interval and the level of different real clips.

    Args:
        values, apart: As for `paired_score`.
        first_frame: Number of the first frame scored.
    """
    per_clip = np.array([frames.mean(axis=1) for frames in values])
    intervals: tuple[tuple[float, float], ...] = ()
    if len(per_clip) >= 2:
        rows = bootstrap_indices(len(per_clip), draws.resamples, draws.generator)
        low, high = np.quantile(per_clip[rows].mean(axis=1), ENDS, axis=0)
        intervals = tuple(zip(low.tolist(), high.tolist(), strict=True))
    return Curve(
        frames=tuple(range(first_frame, first_frame + per_clip.shape[1])),
        values=tuple(per_clip.mean(axis=0).tolist()),
        intervals=intervals,
        levels=tuple(np.mean([frames.mean(axis=1) for frames in apart], axis=0).tolist()) if apart else (),
    )
