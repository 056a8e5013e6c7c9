"""What is measured of pairs of clips beside the scores asked for by name: windows over the horizon, drift, agreement of cameras.

Each companion takes the same decoded pairs, keeps features or a few numbers per clip, and gives its scores at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from eval_fid_fvd.cards import MetricCard, Score
from eval_fid_fvd.consistency import Overlaps, consistency_scores, disagreement, overlaps_of
from eval_fid_fvd.drift import drift_of, drift_scores
from eval_fid_fvd.features import FeatureNetworks
from eval_fid_fvd.horizon import HALVES, Horizon, Trend
from eval_fid_fvd.options import ScoreOptions
from eval_fid_fvd.pairs import PairFormula
from eval_fid_fvd.picture_steps import Resize
from eval_fid_fvd.windows import WindowCollector, even_windows
from worldmodel.errors import BadRequest
from worldmodel.geometry import Rig

Array = np.ndarray
MADE = "generated"


class Companion(Protocol):
    """Takes pairs of clips, and then gives scores."""

    def add(self, made: UInt8[Array, "time camera 3 h w"], real: UInt8[Array, "time camera 3 h w"]) -> None:
        """Take one more pair."""

    def scores(self, card: MetricCard) -> Sequence[Score]:
        """The scores, with the card's lines that do not depend on them."""


class Drift:
    """How far every clip moves away from its own beginning; real clips beside it."""

    def __init__(self, options: ScoreOptions) -> None:
        self._options = options
        self._sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])

    def add(self, made: Array, real: Array) -> None:
        """Take one more pair."""
        for side, video in zip(self._sides, (made, real), strict=True):
            side.append(drift_of(video))

    def scores(self, card: MetricCard) -> Sequence[Score]:
        """One score per measure."""
        options = self._options
        found = drift_scores(
            self._sides[0], _lines(card), real=self._sides[1], resamples=options.resamples, seed=options.seed
        )
        return tuple(found.values())


class Consistency:
    """Whether cameras that see the same ground agree on its colours; real clips beside it.

    Args:
        rig: The cameras, at any size.

    Raises:
        BadRequest: if there is no rig, or pictures were cropped: then it is not known what a pixel sees.
        BadRig: if no two cameras see the same ground.
    """

    def __init__(self, rig: Rig | None, options: ScoreOptions) -> None:
        if rig is None:
            raise BadRequest(
                "the agreement of cameras needs to know how they are mounted, but neither side is a dataset. Import the "
                "recordings with `detour import`, or leave --consistency out."
            )
        if not all(isinstance(step, Resize) for step in options.steps):
            raise BadRequest(
                "the agreement of cameras is not defined on cropped pictures. Leave --consistency or the preset out."
            )
        self._rig, self._options = rig, options
        self._overlaps: Overlaps | None = None
        self._sides: tuple[list[Array], list[Array]] = ([], [])

    def add(self, made: Array, real: Array) -> None:
        """Take one more pair."""
        overlaps = self._found(made.shape[-1], made.shape[-2])
        for side, video in zip(self._sides, (made, real), strict=True):
            side.append(disagreement(video, overlaps))

    def scores(self, card: MetricCard) -> Sequence[Score]:
        """All pairs of cameras pooled, and each pair where asked for."""
        assert self._overlaps is not None
        found = consistency_scores(
            np.stack(self._sides[0]),
            self._overlaps,
            {name: value for name, value in _lines(card).items() if name not in ("cameras", "size")},
            real=np.stack(self._sides[1]),
            resamples=self._options.resamples,
            seed=self._options.seed,
        )
        each = found if self._options.per_camera else {"pooled": found["pooled"]}
        return tuple(
            score if name == "pooled" else replace(score, card=replace(score.card, part=f"cameras {name}"))
            for name, score in each.items()
        )

    def _found(self, width: int, height: int) -> Overlaps:
        if self._overlaps is None:
            fits = (self._rig.width_px, self._rig.height_px) == (width, height)
            self._overlaps = overlaps_of(self._rig if fits else self._rig.scaled(width, height))
        return self._overlaps


class Windows:
    """Windows of one length along the horizon, each with the same clips and frames.

    Args:
        length_s: Of each window.
        frames: Of each clip.
        frequency_hz: Frames per second; must be known.
    """

    def __init__(
        self,
        length_s: float,
        frames: int,
        frequency_hz: float | None,
        networks: FeatureNetworks,
        formulas: Mapping[str, PairFormula],
        options: ScoreOptions,
    ) -> None:
        if frequency_hz is None:
            raise BadRequest(
                "windows are given in seconds, but the clips' rate is unknown. Say their rate, or use files."
            )
        self._slices = even_windows(frames, length_s, frequency_hz)
        self._length_s, self._frequency_hz = length_s, frequency_hz
        self._networks, self._options = networks, options
        self._collector = WindowCollector(self._slices, networks, formulas)

    def add(self, made: Array, real: Array) -> None:
        """Take one more pair."""
        self._collector.add(made, real)

    def trends(self, metrics: Sequence[str], card: MetricCard) -> tuple[Trend, ...]:
        """Each metric over all windows, with slope, ratio and the level of real clips."""
        made, real = self._collector.evidence()
        horizon = Horizon(
            ends_s=tuple(window.stop / self._frequency_hz for window in self._slices),
            length_s=self._length_s,
            real=real,
            sides={MADE: made},
            networks=self._networks,
            card=_lines(card),
            resamples=self._options.resamples,
            seed=self._options.seed,
        )
        return tuple(horizon.trend(metric, MADE, floor=HALVES) for metric in metrics if metric in horizon.metrics(MADE))


SHARED = (
    *("frames", "frequency_hz", "condition_frames", "condition_rule", "cameras", "size"),
    *("conversion", "codec", "pairing", "reference", "preset", "device"),
)


def _lines(card: MetricCard) -> dict[str, Any]:
    """Lines of a card that do not depend on its metric."""
    return {name: getattr(card, name) for name in SHARED}
