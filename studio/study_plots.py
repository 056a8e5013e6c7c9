"""The figures of a grounding study for the studio: plotly, with intervals, values on demand, units on each axis.

Distances in metres are drawn on an axis that grows like the square root (with its sign), so that a reaction of half a metre can
be told beside one of twenty; what is written is always metres.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.overlays import COLORS
from studio.study_figures import bent

if TYPE_CHECKING:
    import plotly.graph_objects as go

SERIES = {  # variant: colour, symbol; full on the road, hollow in the sky
    "near": (COLORS["after"], "circle"),
    "sky_near": (COLORS["after"], "circle-open"),
    "far": (COLORS["before"], "square"),
    "sky_far": (COLORS["before"], "square-open"),
}
PALETTE = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#a67c00",
    "#56b4e9",
    "#7a3fb5",
    "#6b7280",
)  # after Okabe and Ito
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
DASHED = "dash"
TICKS = (-30.0, -20.0, -10.0, -5.0, -2.0, -0.5, 0.0, 0.5, 2.0, 5.0, 10.0, 20.0, 30.0)
MOST_LINES = len(PALETTE)
ROW_PX, HEAD_PX, TALL_PX = 36, 110, 380
AXES = {"distance": "Distance of the object, m", "size": "Size of the object (1 is its own)"}
Rows = Sequence[Mapping[str, Any]]


def reactions_plot(reactions: Rows) -> "go.Figure":
    """Mean reaction with its 95 % interval per planner, to the object on the road and to its twin in the sky."""
    planners = list(dict.fromkeys(row["planner"] for row in reactions))
    figure = _figure(HEAD_PX + ROW_PX * max(len(planners), 2))
    there = [name for name in SERIES if any(row["variant"] == name for row in reactions)]
    for number, name in enumerate(there):
        own = [row for row in reactions if row["variant"] == name]
        color, symbol = SERIES[name]
        shift = 0.17 * (number - (len(there) - 1) / 2)
        means, lows, highs = _ends(row["reaction_m"] for row in own)
        figure.add_scatter(
            x=[bent(mean) for mean in means],
            y=[planners.index(row["planner"]) + shift for row in own],
            error_x=_bars(means, lows, highs, color),
            mode="markers",
            name=name.replace("_", " "),
            marker={"color": color, "symbol": symbol, "size": 9, "line": {"width": 1.8, "color": color}},
            customdata=list(zip((row["planner"] for row in own), means, lows, highs, strict=True)),
            hovertemplate="%{customdata[0]}<br>%{customdata[1]:.2f} m [%{customdata[2]:.2f}, %{customdata[3]:.2f}]",
        )
    top = max([1.0, *(end for row in reactions for end in _ends([row["reaction_m"]])[2])])
    figure.update_xaxes(title_text="Mean reaction over 4 s, m", **_metres(0.0, top))
    names = {"tickvals": list(range(len(planners))), "ticktext": planners}
    figure.update_yaxes(**names, range=[len(planners) - 0.5, -0.5], showgrid=False)
    return figure


def sweep_plot(sweep: Rows, over: str, planners: Sequence[str]) -> "go.Figure":
    """Mean change of the path with its interval against the object's distance or size; dashed: the town's own driver.

    Args:
        sweep: Of a study's summary.
        over: 'distance' or 'size'.
        planners: Those that are shown, at most MOST_LINES.
    """
    rows = [row for row in sweep if row["over"] == over and row["planner"] in planners]
    figure = _figure(TALL_PX)
    extremes = [-1.0, 0.5]
    for number, name in enumerate(planners[:MOST_LINES]):
        own = sorted((row for row in rows if row["planner"] == name), key=lambda row: float(row["at"]))
        if own:
            means, lows, highs = _ends(row["change_m"] for row in own)
            extremes += [*lows, *highs]
            figure.add_scatter(**_line(own, means, lows, highs, number))
    driver = sorted({(row["at"], row["driver_m"]) for row in rows if row["driver_m"] is not None})
    if len(driver) > 1:
        extremes += [metres for _, metres in driver]
        figure.add_scatter(
            x=[at for at, _ in driver],
            y=[bent(metres) for _, metres in driver],
            mode="lines+markers",
            name="the town's driver",
            line={"color": COLORS["town"], "dash": DASHED, "width": 2},
            marker={"symbol": "line-ew-open", "size": 9},
            customdata=[metres for _, metres in driver],
            hovertemplate="the town's driver at %{x:g}<br>%{customdata:+.2f} m",
        )
    figure.update_xaxes(title_text=AXES[over])
    figure.update_yaxes(title_text="Change of the path over 4 s, m", **_metres(min(extremes), max(extremes)))
    return figure


def _line(own: Rows, means: list[float], lows: list[float], highs: list[float], number: int) -> dict[str, Any]:
    color = PALETTE[number]
    name = own[0]["planner"]
    return {
        "x": [row["at"] for row in own],
        "y": [bent(mean) for mean in means],
        "error_y": _bars(means, lows, highs, color),
        "mode": "lines+markers",
        "name": name,
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "symbol": SYMBOLS[number], "size": 8},
        "customdata": list(zip(means, lows, highs, strict=True)),
        "hovertemplate": name + " at %{x:g}<br>%{customdata[0]:+.2f} m [%{customdata[1]:+.2f}, %{customdata[2]:+.2f}]",
    }


def driver_plot(pairs: Sequence[tuple[float, float]], planner: str) -> "go.Figure":
    """The planner's change by the near object against the town driver's, a dot per scene; on the dashed line both are alike.

    Args:
        pairs: (the town driver's, the planner's), metres.
        planner: Its name.
    """
    both = np.array(pairs, float).reshape(-1, 2)
    low, high = min(-1.0, float(both.min(initial=0.0))), max(1.0, float(both.max(initial=0.0)))
    figure = _figure(TALL_PX + 40)
    ends = [bent(low), bent(high)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="alike", line={"color": COLORS["town"], "dash": DASHED}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[bent(driver) for driver in both[:, 0]],
        y=[bent(own) for own in both[:, 1]],
        mode="markers",
        name="a scene",
        marker={"color": COLORS["after"], "size": 8, "opacity": 0.7},
        customdata=both,
        hovertemplate="driver %{customdata[0]:+.1f} m<br>planner %{customdata[1]:+.1f} m",
    )
    figure.update_xaxes(title_text="The town's driver: change of its path, m", **_metres(low, high))
    figure.update_yaxes(title_text=f"{planner}: change, m", **_metres(low, high))
    return figure


def _figure(height_px: int) -> "go.Figure":
    """An empty figure that takes its colours of text and grid from the page's style sheet."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        height=height_px,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, 'Liberation Sans', sans-serif", "size": 13},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0.0, "xanchor": "left"},
        dragmode=False,  # so that a finger scrolls the page
        hovermode="closest",
        hoverlabel={"namelength": 0},
    )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(automargin=True, zeroline=False, fixedrange=True, title_font_size=13)
    return figure


def _metres(low: float, high: float) -> dict[str, Any]:
    """An axis of metres between two values."""
    ticks = [tick for tick in TICKS if low <= tick <= high]
    room = 0.04 * (bent(high) - bent(low))
    labels = [f"{tick:g}" for tick in ticks]
    return {
        "tickvals": [bent(tick) for tick in ticks],
        "ticktext": labels,
        "range": [bent(low) - room, bent(high) + room],
    }


def _ends(values: Iterable[Mapping[str, Any]]) -> tuple[list[float], list[float], list[float]]:
    """Means and both ends of their intervals; where there is none, the mean."""
    found = [
        (one["mean"], *(one["mean"] if one[end] is None else one[end] for end in ("low", "high"))) for one in values
    ]
    means, lows, highs = ([float(one[k]) for one in found] for k in range(3))
    return means, lows, highs


def _bars(means: list[float], lows: list[float], highs: list[float], color: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [bent(high) - bent(mean) for mean, high in zip(means, highs, strict=True)],
        "arrayminus": [bent(mean) - bent(low) for mean, low in zip(means, lows, strict=True)],
        "color": color,
        "thickness": 1.6,
        "width": 3,
    }
