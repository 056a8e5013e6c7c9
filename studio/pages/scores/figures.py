"""Curves over the horizon as a plotly figure: a row for each score, with intervals, the level of real clips and units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.pages.scores.shown import UNITS
from studio.web import shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from eval_fid_fvd.horizon import Trend
    from eval_fid_fvd.results import Curve, Scores

FRAMES, WINDOWS, LEVEL = "#0072B2", "#D55E00", "#7f8793"  # blue, vermilion and grey of Okabe and Ito's palette
BAND = "rgba(0, 114, 178, 0.2)"
ROW_PX, TOP_PX, EDGES_PX = 170, 82, 130
GRID, INK = "rgba(127, 135, 147, 0.3)", "#7f8793"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One score over time.

    Attributes:
        name: As printed.
        unit: '' for none.
        curve, times_s: Frame by frame; None where the score has no single frames.
        trend: In windows; None where none were asked for.
    """

    name: str
    unit: str
    curve: "Curve | None"
    times_s: tuple[float, ...]
    trend: "Trend | None"


def rows_of(scores: "Scores") -> list[Row]:
    """The scores that have a course over time, in their order; nothing for others."""
    trends = {trend.name: trend for trend in scores.trends}
    rates = {score.name: score.card.frequency_hz for score in scores.scores}
    rows = []
    for name in dict.fromkeys([*(score.name for score in scores.scores), *trends]):
        curve, trend = scores.curves.get(name), trends.get(name)
        if (curve is not None and len(curve.values) > 1) or trend is not None:
            first = 0 if curve is None else curve.frames[0]
            times = () if curve is None else tuple((n - first + 0.5) / (rates.get(name) or 1.0) for n in curve.frames)
            unit = UNITS.get(name.partition("[")[0], "")
            rows.append(Row(name=name, unit=unit, curve=curve, times_s=times, trend=trend))
    return rows


def curves(rows: Sequence[Row]) -> "Figure":
    """All rows below each other over the same seconds."""
    from plotly.subplots import make_subplots

    titles = [f"{row.name}{', ' + row.unit if row.unit else ''}" for row in rows]
    figure = make_subplots(
        rows=len(rows), cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.16 / len(rows)
    )
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        for trace in _traces(row, seen):
            figure.add_trace(trace, row=number, col=1)
    figure.update_layout(
        height=EDGES_PX + ROW_PX * len(rows),
        margin={"l": 48, "r": 12, "t": TOP_PX, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12},
        legend={"orientation": "h", "y": 1, "yanchor": "top", "x": 0, "yref": "container"},
        hovermode="x",
    )  # fmt: skip
    figure.update_annotations(font_size=12, xanchor="left", x=0)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, rangemode="tozero")
    figure.update_yaxes(gridcolor=GRID, zeroline=False, nticks=5)
    figure.update_xaxes(title_text="seconds from the first scored frame", row=len(rows), col=1)
    return figure


def numbers(rows: Sequence[Row]) -> str:
    """The same as tables, for those who cannot see the figure."""
    parts = [
        shown.table(("window", "value", "95 % interval", "level of real clips"), _windows(row.trend), row.name)
        for row in rows
        if row.trend is not None
    ]
    return f'<details class="cards"><summary>The same as numbers</summary>{"".join(parts)}</details>' if parts else ""


def _windows(trend: "Trend") -> list[tuple[str, str, str, str]]:
    return [
        (
            score.card.part,
            f"{score.value:.4g}",
            "none" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}",
            "none" if score.floor is None else f"{score.floor:.4g}",
        )
        for score in trend.scores
    ]


def _traces(row: Row, seen: set[str]) -> list[Any]:
    """Band, curve, windows and level of one row; the legend names each kind once."""
    traces = []
    if row.curve is not None:
        if row.curve.intervals:
            traces.append(_band(row, seen))
        traces.append(_line("frame by frame", row.times_s, row.curve.values, seen, color=FRAMES))
        if row.curve.levels:
            traces.append(_line("level of real clips", row.times_s, row.curve.levels, seen, color=LEVEL, dash="dash"))
    if row.trend is not None:
        traces.append(_points(row.trend, seen))
        levels = [score.floor for score in row.trend.scores]
        if row.curve is None and None not in levels:
            traces.append(_line("level of real clips", row.trend.middles_s, levels, seen, color=LEVEL, dash="dash"))
    return traces


def _named(name: str, seen: set[str]) -> dict[str, Any]:
    first = name not in seen
    seen.add(name)
    return {"name": name, "legendgroup": name, "showlegend": first}


def _line(
    name: str,
    times_s: Sequence[float],
    values: Sequence[float | None],
    seen: set[str],
    *,
    color: str,
    dash: str = "solid",
) -> Any:
    from plotly.graph_objects import Scatter

    look = {"color": color, "dash": dash, "width": 2 if dash == "solid" else 1.5}
    return Scatter(
        x=list(times_s), y=list(values), mode="lines", line=look, hovertemplate="%{y:.4g}", **_named(name, seen)
    )


def _band(row: Row, seen: set[str]) -> Any:
    """The interval as one closed shape."""
    from plotly.graph_objects import Scatter

    assert row.curve is not None
    low, high = (list(end) for end in zip(*row.curve.intervals, strict=True))
    times = list(row.times_s)
    return Scatter(
        x=times + times[::-1], y=high + low[::-1], mode="lines", fill="toself", fillcolor=BAND, line={"width": 0},
        hoverinfo="skip", **_named("95 % interval", seen),
    )  # fmt: skip


def _points(trend: "Trend", seen: set[str]) -> Any:
    """Windows as points with error bars."""
    from plotly.graph_objects import Scatter

    spans = [score.interval or (score.value, score.value) for score in trend.scores]
    values = [score.value for score in trend.scores]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [high - value for (_, high), value in zip(spans, values, strict=True)],
        "arrayminus": [value - low for (low, _), value in zip(spans, values, strict=True)],
    }
    return Scatter(
        x=list(trend.middles_s), y=values, error_y=bars, mode="markers",
        marker={"color": WINDOWS, "size": 8, "symbol": "diamond"}, hovertemplate="%{y:.4g}",
        **_named("windows, 95 % interval", seen),
    )  # fmt: skip
