"""The losses of a run as a picture for its card: plain SVG, one row per stage, one panel per number."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

RUNS = ("tokenizer", "vision", "chunk", "horizon", "distill")
WIDTH, HEIGHT, LEFT, TOP, GAP = 200, 96, 46, 40, 24
INK, LINE, FAINT = "#334155", "#2563eb", "#bfdbfe"
WINDOWS = 10  # the running mean forgets within about a tenth of the lines
Series = list[tuple[float, float]]


def run_curves(out: Path) -> str | None:
    """The curves of all training loops in a run's folder; None where nothing was logged."""
    rows = []
    for run in RUNS:
        log = out / f"{run}-run" / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
        if lines:
            rows.append((run, lines))
    return curves_svg(rows) if rows else None


def curves_svg(rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> str:
    """An SVG picture of log lines (`Progress` as JSON).

    Args:
        rows: Title and log lines of each training loop. The loss and every metric get a panel, over the steps, with a
            logarithmic axis where all values are positive: each line faint, their running mean dark.
    """
    drawn, columns = [], 1
    for row, (title, lines) in enumerate(rows):
        panels = {name: values for name, values in series(lines).items() if values}
        columns = max(columns, len(panels))
        y = row * (HEIGHT + TOP + GAP)
        drawn.append(
            _text(4, y + 14, f"{title}: {lines[-1]['step']} steps, {lines[-1]['seconds'] / 60:.1f} minutes", 13)
        )
        for column, (name, values) in enumerate(panels.items()):
            drawn += _panel(LEFT + column * (WIDTH + LEFT + GAP), y + TOP, name, values)
    width, height = columns * (WIDTH + LEFT + GAP), len(rows) * (HEIGHT + TOP + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    paper = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, paper, *drawn, "</svg>"]) + "\n"


def series(lines: Sequence[Mapping[str, Any]]) -> dict[str, Series]:
    """(step, value) of the loss and of every metric; values that were not finite are left out."""
    found: dict[str, Series] = {"loss": [(line["step"], line["loss"]) for line in lines]}
    for line in lines:
        for name, value in line["metrics"].items():
            if value is not None:
                found.setdefault(name, []).append((line["step"], value))
    return found


def _panel(x: float, y: float, name: str, values: Series) -> Iterator[str]:
    logarithmic = all(value > 0 for _, value in values)
    scaled = [(step, math.log10(value) if logarithmic else value) for step, value in values]
    low, high = min(v for _, v in scaled), max(v for _, v in scaled)
    first, last = scaled[0][0], scaled[-1][0]

    def points(series: Series) -> str:
        across, up = max(last - first, 1), max(high - low, 1e-9)
        return " ".join(f"{x + WIDTH * (s - first) / across:.1f},{y + HEIGHT * (high - v) / up:.1f}" for s, v in series)

    yield f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cbd5e1"/>'
    yield _text(x, y - 6, name, 12)
    for value, at in ((high, y + 9), (low, y + HEIGHT)):
        yield _text(x - 4, at, f"{10**value if logarithmic else value:.3g}", 10, end=True)
    yield _text(x, y + HEIGHT + 13, f"{first:g}", 10) + _text(x + WIDTH, y + HEIGHT + 13, f"{last:g}", 10, end=True)
    yield f'<polyline points="{points(scaled)}" fill="none" stroke="{FAINT}"/>'
    yield f'<polyline points="{points(_smoothed(scaled))}" fill="none" stroke="{LINE}" stroke-width="1.5"/>'


def _smoothed(values: Series) -> Series:
    mean, weight, smooth = 0.0, 0.0, []
    stays = max(0.0, 1 - WINDOWS / len(values))
    for step, value in values:
        mean, weight = stays * mean + (1 - stays) * value, stays * weight + 1 - stays
        smooth.append((step, mean / weight))
    return smooth


def _text(x: float, y: float, text: str, size: int, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (
        f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="{size}" fill="{INK}"{anchor}>{escape(text)}</text>'
    )
