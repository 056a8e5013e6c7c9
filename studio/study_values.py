"""What a study's rows say per scene: the mean of the paired samples, one value per planner, thing and scene."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.statistics import bootstrap_interval
from worldmodel.geometry import Array

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 2  # scenes for an interval
NEEDED = (
    "planner", "variant", "scene", "swept", "distance_m", "size", "oracle_m", "change_m", "lateral_m", "onset_s", "object_px",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Value:
    """One planner's answer to one thing in one scene.

    Attributes:
        change_m: Of the path's length over 4 s; negative is less far.
        lateral_m: Largest sideways move; positive to the left.
        onset_s: When it is clearly slower, the mean of those samples that are; None unless most are.
        object_px: Pixels of the thing in the newest frame, all cameras.
        oracle_m: Change of the town driver's path by the same thing; None where nobody knows.
        swept: Whether the scene has the sweep's things, too.
    """

    change_m: float
    lateral_m: float = 0.0
    onset_s: float | None = None
    object_px: int = 0
    oracle_m: float | None = None
    swept: bool = False

    @property
    def size_m(self) -> float:
        """The reaction."""
        return abs(self.change_m)


Scenes = Mapping[str, Value]
Values = Mapping[tuple[str, str], Scenes]  # by planner and label of the thing


def values_of(rows: "pa.Table") -> dict[tuple[str, str], dict[str, Value]]:
    """Means over the paired samples, in the order of the rows; failed answers are left out."""
    gathered: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows.select(list(NEEDED)).to_pylist():
        if row["change_m"] is not None:
            gathered.setdefault((row["planner"], row["variant"], row["scene"]), []).append(row)
    values: dict[tuple[str, str], dict[str, Value]] = {}
    for (planner, variant, scene), samples in gathered.items():
        values.setdefault((planner, variant), {})[scene] = _value(samples)
    return values


def _value(samples: Sequence[Mapping[str, Any]]) -> Value:
    onsets = [row["onset_s"] for row in samples if row["onset_s"] is not None]
    first = samples[0]
    return Value(
        change_m=float(np.mean([row["change_m"] for row in samples])),
        lateral_m=float(np.mean([row["lateral_m"] or 0.0 for row in samples])),
        onset_s=float(np.mean(onsets)) if 2 * len(onsets) > len(samples) else None,
        object_px=first["object_px"] or 0,
        oracle_m=first["oracle_m"],
        swept=bool(first["swept"]),
    )


def sizes_of(values: Values, planner: str, label: str, scenes: Sequence[str]) -> Float[Array, " n"]:
    """Reactions in the scenes that are named, metres."""
    there = values[planner, label]
    return np.array([there[scene].size_m for scene in scenes])


def shared(values: Values, *keys: tuple[str, str]) -> list[str]:
    """Scenes in which all of these answers exist."""
    first, *others = (values.get(key, {}) for key in keys)
    return [scene for scene in first if all(scene in other for other in others)]


def mean_of(values: Float[Array, " n"], generator: np.random.Generator) -> dict[str, Any]:
    """A mean over scenes with its 95 % bootstrap interval; none from a single scene."""
    low, high = bootstrap_interval(values, generator) if len(values) >= FEWEST else (None, None)
    return {"mean": float(np.mean(values)), "low": low, "high": high}


def rank_correlation(a: Float[Array, " n"], b: Float[Array, " n"]) -> tuple[float, float] | None:
    """Spearman's correlation and its p value; None where one side does not vary, or for fewer than three pairs."""
    if len(a) < 3 or len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return None
    from scipy import stats  # takes seconds to import

    found = stats.spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)
