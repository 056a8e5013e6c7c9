"""What a comparison gives: scores with their cards, curves along the horizon, and the clips that were left out."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval_fid_fvd.cards import Score
from eval_fid_fvd.horizon import Trend
from worldmodel.errors import BadTable, OutputExists, UnknownName


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A clip that was left out, and why."""

    clip: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A paired score along the horizon, frame by frame.

    Attributes:
        frames: Counted from the clip's start.
        values: Mean over clips and cameras at each frame.
        intervals: 95% of resampled clips (the same ones at every frame); empty for a single clip.
        levels: The same between different real clips; empty where there is only one.
    """

    frames: tuple[int, ...]
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...] = ()
    levels: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Everything one comparison gave.

    Attributes:
        scores: One per metric, in the order asked for.
        curves: PSNR and SSIM frame by frame, where asked for.
        clips: Number of clip pairs that were scored.
        unreadable: Clips left out on both sides.
        trends: Metrics over windows of the horizon, where asked for.
    """

    scores: tuple[Score, ...]
    curves: dict[str, Curve]
    clips: int
    unreadable: tuple[Unreadable, ...] = ()
    trends: tuple[Trend, ...] = ()

    def __getitem__(self, name: str) -> Score:
        """The score of this printed name, such as 'PSNR' or 'FVD[i3d-k400]'."""
        by_name = {score.name: score for score in self.scores}
        if name not in by_name:
            raise UnknownName("score", name, by_name)
        return by_name[name]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {
            "clips": self.clips,
            "unreadable": [asdict(clip) for clip in self.unreadable],
            "scores": [score.to_json() for score in self.scores],
            "curves": {name: asdict(curve) for name, curve in self.curves.items()},
            "trends": [trend.to_json() for trend in self.trends],
        }

    @classmethod
    def read(cls, path: Path) -> "Scores":
        """Scores from a file that `write` wrote.

        Raises:
            BadTable: if it is missing or holds something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            curves = {name: _curve(one) for name, one in data["curves"].items()}
            return cls(
                scores=tuple(Score.from_json(score) for score in data["scores"]),
                curves=curves,
                clips=data["clips"],
                unreadable=tuple(Unreadable(**clip) for clip in data["unreadable"]),
                trends=tuple(Trend.from_json(trend) for trend in data["trends"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadTable(
                f"'{path}' cannot be read as scores ({type(error).__name__}: {error}); it must be a file that `detour "
                "score` wrote. Check the path, or score again."
            ) from error

    def table(self) -> str:
        """Lines to print: name, value, interval, samples, real-against-real level; then what was left out."""
        rows = [("score", "value", "interval 95%", "n", "real-real"), *(_row(score) for score in self.scores)]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        notes = sorted({note for score in self.scores for note in score.card.notes})
        left_out = [f"left out: {clip.clip}: {clip.message}" for clip in self.unreadable]
        count = f"{self.clips} clips scored, {len(self.unreadable)} left out"
        trends = [_trend_line(trend) for trend in self.trends]
        return "\n".join([*lines, *trends, count, *(f"note: {note}" for note in notes), *left_out])

    def write(self, path: Path) -> None:
        """Write `to_json` to a new file, whole or not at all.

        Raises:
            OutputExists: if the file is there already or cannot be written.
        """
        if path.exists():
            raise OutputExists(f"'{path}' exists already; scores are not overwritten. Move it or choose another name.")
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        try:
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError as error:
            raise OutputExists(f"'{path}' cannot be written: {error.strerror}. Choose another place.") from error


def _curve(data: dict[str, Any]) -> Curve:
    return Curve(
        frames=tuple(data["frames"]),
        values=tuple(data["values"]),
        intervals=tuple((low, high) for low, high in data.get("intervals", ())),
        levels=tuple(data.get("levels", ())),
    )


def _row(score: Score) -> tuple[str, str, str, str, str]:
    interval = f"{score.interval[0]:.4g} .. {score.interval[1]:.4g}" if score.interval else "-"
    floor = "-" if score.floor is None else f"{score.floor:.4g}"
    return score.name, f"{score.value:.4g}", interval, f"{score.n_a} / {score.n_b}", floor


def _trend_line(trend: Trend) -> str:
    """Every window's value, the slope, and the last over the first."""
    values = " ".join(f"{score.value:.4g}" for score in trend.scores)
    ends = f"{trend.scores[0].card.part} to {trend.scores[-1].card.part}"
    slope = f"slope {trend.slope_per_s:+.3g} per s" + _between(trend.slope_interval)
    ratio = "" if trend.last_over_first is None else f", last/first {trend.last_over_first:.3g}"
    return f"{trend.name} {ends}: {values}; {slope}{ratio}{_between(trend.ratio_interval)}"


def _between(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.3g} .. {interval[1]:.3g})"
