"""The figures of a grounding study, as SVG that is sharp at any size and readable on a phone."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from studio.overlays import COLORS

WIDTH = 420.0  # of a figure, in units of which a letter is 11 high
STYLE = (
    "<style>.t{font:11px system-ui,'Liberation Sans',sans-serif;fill:var(--soft,#5b6470)}"
    ".l{stroke:var(--line,#ccd1d7);stroke-width:1}.z{stroke:var(--soft,#5b6470);stroke-width:1}</style>"
)
MARKS = {  # colour, and whether the dot is filled: full on the road, hollow in the sky
    "near": (COLORS["after"], True),
    "sky_near": (COLORS["after"], False),
    "far": (COLORS["before"], True),
    "sky_far": (COLORS["before"], False),
}
PANELS = 3  # side by side
BENT_TICKS = (0.0, -2.0, -10.0, -30.0, 2.0, 10.0, -0.5, 0.5, -5.0, 5.0, -20.0, 20.0)  # the first that fit are written
LETTER = 11.0  # high


def figure(height: float, parts: Sequence[str], label: str) -> str:
    """A whole SVG."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" style="width:100%;height:auto">{STYLE}{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="t" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str = "l") -> str:
    """A line of a grid."""
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def reactions_figure(reactions: Sequence[Mapping[str, Any]], label: str) -> str:
    """A dot with its interval per planner and variant of MARKS, planners below each other."""
    rows = [row for row in reactions if row["variant"] in MARKS]
    planners = list(dict.fromkeys(row["planner"] for row in rows))
    top = max([1.0, *(_ends(row["reaction_m"])[1] for row in rows)])
    left, step = 135.0, 8.0
    band = step * len(MARKS) + 10
    height = 42 + band * len(planners)

    def at(metres: float) -> float:
        return left + (WIDTH - left - 12) * metres / top

    parts = [part for k, name in enumerate(MARKS) for part in _legend(name, 4 + 102 * k)]
    parts += [line(at(m), 22, at(m), height - 16) for m in ticks(0, top)]
    parts += [text(at(m), height - 4, f"{m:g}", "middle") for m in ticks(0, top)]
    for p, planner in enumerate(planners):
        y0 = 32 + band * p
        parts += [text(left - 8, y0 + step * 1.5 + 4, planner, "end"), line(4, y0 - 7, WIDTH - 12, y0 - 7)]
        own = {row["variant"]: row["reaction_m"] for row in rows if row["planner"] == planner}
        for k, name in enumerate(MARKS):
            if name in own:
                low, high = _ends(own[name])
                y, color = y0 + step * k, MARKS[name][0]
                parts.append(
                    f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="1.6"/>'
                )
                parts.append(_dot(at(own[name]["mean"]), y, name))
    return figure(height, parts, label)


def _legend(name: str, x: float) -> list[str]:
    return [_dot(x + 4, 10, name), text(x + 13, 14, name.replace("_", " "))]


def _dot(x: float, y: float, name: str) -> str:
    color, full = MARKS[name]
    fill = color if full else "var(--card,#fff)"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{fill}" stroke="{color}" stroke-width="1.4"/>'


def _ends(value: Mapping[str, Any]) -> tuple[float, float]:
    low, high = (value["mean"] if value[end] is None else value[end] for end in ("low", "high"))
    return float(low), float(high)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, at most six steps."""
    span = max(high - low, 1e-9)
    size = 10.0 ** np.floor(np.log10(span))
    step = next(size * f for f in (0.2, 0.5, 1, 2, 5, 10) if span / (size * f) <= 6)
    first = np.ceil(low / step - 1e-9)
    return [float(round(k * step, 9)) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def bent(metres: float) -> float:
    """The square root with its sign: axes on which half a metre can be told beside thirty."""
    return float(np.sign(metres) * np.sqrt(abs(metres)))


def bent_ticks(low: float, high: float, pixels: float) -> list[float]:
    """Round numbers for a bent axis of some length, far enough apart to be read."""
    scale = pixels / (bent(high) - bent(low))
    kept: list[float] = []
    for tick in BENT_TICKS:
        if low <= tick <= high and all(abs(bent(tick) - bent(other)) * scale >= LETTER for other in kept):
            kept.append(tick)
    return sorted(kept)


def sweep_figure(rows: Sequence[Mapping[str, Any]], over: str, label: str) -> str:
    """One panel per planner: its mean change with the interval, and the town driver's as a broken line."""
    rows = [row for row in rows if row["over"] == over]
    planners = list(dict.fromkeys(row["planner"] for row in rows))
    lows = [_ends(row["change_m"])[0] for row in rows] + [
        row["driver_m"] for row in rows if row["driver_m"] is not None
    ]
    low, high = min([-1.0, *lows]), max([0.5, *(_ends(row["change_m"])[1] for row in rows)])
    span = (min(row["at"] for row in rows), max(row["at"] for row in rows))
    wide, tall = WIDTH / PANELS, 118.0
    parts = []
    for p, planner in enumerate(planners):
        own = sorted((row for row in rows if row["planner"] == planner), key=lambda row: float(row["at"]))
        frame = (wide * (p % PANELS), tall * (p // PANELS))
        parts += _panel(own, planner, frame, (wide, tall), span, (low, high))
    return figure(tall * -(-len(planners) // PANELS) + 4, parts, label)


def _panel(
    own: Sequence[Mapping[str, Any]],
    planner: str,
    frame: tuple[float, float],
    size: tuple[float, float],
    span: tuple[float, float],
    heights: tuple[float, float],
) -> list[str]:
    left, top, right, bottom = frame[0] + 26, frame[1] + 18, frame[0] + size[0] - 8, frame[1] + size[1] - 16

    def x(at: float) -> float:
        return left + (right - left) * (at - span[0]) / max(span[1] - span[0], 1e-9)

    def y(metres: float) -> float:
        return bottom - (bottom - top) * (bent(metres) - bent(heights[0])) / (bent(heights[1]) - bent(heights[0]))

    parts = [text(left, frame[1] + 13, planner)]
    for m in bent_ticks(*heights, bottom - top):
        parts += [line(left, y(m), right, y(m), "z" if m == 0 else "l"), text(left - 4, y(m) + 4, f"{m:g}", "end")]
    parts += [text(x(at), bottom + 12, f"{at:g}", "middle") for at in (span[0], sum(span) / 2, span[1])]
    ends = [(row["at"], *_ends(row["change_m"])) for row in own]
    around = [(x(at), y(low)) for at, low, _ in ends] + [(x(at), y(high)) for at, _, high in reversed(ends)]
    parts.append(f'<polygon points="{_points(around)}" fill="{COLORS["after"]}" opacity="0.2"/>')
    means = [(x(row["at"]), y(row["change_m"]["mean"])) for row in own]
    parts.append(f'<polyline points="{_points(means)}" fill="none" stroke="{COLORS["after"]}" stroke-width="1.6"/>')
    driver = [(x(row["at"]), y(row["driver_m"])) for row in own if row["driver_m"] is not None]
    if driver:
        parts.append(
            f'<polyline points="{_points(driver)}" fill="none" stroke="{COLORS["town"]}" stroke-width="1.4" '
            'stroke-dasharray="4 3"/>'
        )
    return parts


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def driver_figure(pairs: Sequence[tuple[float, float]], planner: str, label: str) -> str:
    """The planner's change against the town driver's, a dot per scene; on the diagonal both answer alike."""
    both = np.array(pairs)
    low, high = min(-1.0, float(both.min())) * 1.04, max(1.0, float(both.max()) * 1.04)
    left, top, right, bottom = 40.0, 10.0, 330.0, 300.0

    def x(metres: float) -> float:
        return left + (right - left) * (bent(metres) - bent(low)) / (bent(high) - bent(low))

    def y(metres: float) -> float:
        return bottom - (bottom - top) * (bent(metres) - bent(low)) / (bent(high) - bent(low))

    parts = []
    for m in bent_ticks(low, high, 0.7 * (right - left)):
        css = "z" if m == 0 else "l"
        parts += [line(x(m), top, x(m), bottom, css), line(left, y(m), right, y(m), css)]
        parts += [text(x(m), bottom + 14, f"{m:g}", "middle"), text(left - 5, y(m) + 4, f"{m:g}", "end")]
    parts.append(
        f'<path d="M{left} {bottom}L{right} {top}" stroke="{COLORS["town"]}" stroke-dasharray="4 3" fill="none"/>'
    )
    parts += [
        f'<circle cx="{x(driver):.1f}" cy="{y(own):.1f}" r="2.6" fill="{COLORS["after"]}" opacity="0.65"/>'
        for driver, own in both
    ]
    parts += [text(left, bottom + 30, "across: the town's driver, m"), text(left, bottom + 44, f"up: {planner}, m")]
    return figure(bottom + 50, parts, label)
