"""Scores as a visitor reads them: a table, the card behind each number, warnings, and a comparison with earlier ones."""

from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from studio.live.scores.files import earlier_results
from studio.web import shown
from worldmodel.errors import BadTable, DetourError

if TYPE_CHECKING:
    from eval_fid_fvd.cards import MetricCard, Score
    from eval_fid_fvd.comparison import Comparison
    from eval_fid_fvd.results import Scores

MOST_BYTES = 5_000_000  # of a scores.json that is put beside
UNITS = {"PSNR": "dB"}
HIGHER = ("PSNR", "SSIM", "PRECISION", "RECALL", "DENSITY", "COVERAGE")
LOWER = ("FID", "FD", "FVD", "KID", "KD", "KVD", "FID_INF", "FD_INF", "FVD_INF", "LPIPS")
CSS = """
.numbers small { display: block; font-weight: 400; color: var(--body-text-color-subdued); }
.numbers tbody th { overflow-wrap: anywhere; }
.cards { margin-top: 10px; }
.cards > summary { cursor: pointer; padding: 6px 0; font-weight: 600; }
.cards summary:focus-visible { outline: 2px solid var(--primary-500); outline-offset: 2px; border-radius: 3px; }
.cards details { border-top: 1px solid var(--border-color-primary); }
.cards details summary { cursor: pointer; padding: 6px 0; overflow-wrap: anywhere; }
.cards details .numbers { margin: 0 0 10px; }
.cards details td { overflow-wrap: anywhere; }
.cards p { margin: 2px 0 8px; }
ul.points { margin: 4px 0; padding-left: 20px; overflow-wrap: anywhere; }
"""


def table(scores: "Scores") -> str:
    """Every number with its interval, its level, and how to read it; then what was left out and what to beware of."""
    left_out = f", {len(scores.unreadable)} left out" if scores.unreadable else ""
    caption = f"{scores.clips} clip{'' if scores.clips == 1 else 's'}{left_out}; intervals are 95 %"
    head = "".join(f'<th scope="col">{name}</th>' for name in ("score", "value", "real clips"))
    body = "".join(_row(score) for score in scores.scores)
    return (
        f'<table class="numbers"><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        + _points(_warnings(scores))
    )


def cards(scores: "Scores") -> str:
    """How every number was made, behind a click."""
    parts = "".join(_card(score) for score in scores.scores)
    intro = "Two numbers with one name can be compared only when their cards are alike; --compare and the box below check that."
    return f'<details class="cards"><summary>How each number was made: the metric cards</summary><p class="empty-note">{intro}</p>{parts}</details>'


def comparison(rows: "tuple[Comparison, ...]", other: str) -> str:
    """These scores beside earlier ones that were made alike."""
    words = {True: "intervals apart", False: "intervals overlap", None: "no interval"}
    cells = [
        (row.name, _value(row.ours), _value(row.theirs), f"{row.difference:+.4g}", words[row.apart]) for row in rows
    ]
    return shown.table(
        ("score", "here", "there", "difference", "sure?"), cells, f"Beside {other}; the cards are alike."
    )


def beside(folder: Path, name: str | None, file: str | None) -> str:
    """The newest result beside an earlier one or a file, or why the two cannot be compared.

    Args:
        folder: Where results are kept.
        name: One of `earlier_results`.
        file: Path of an uploaded scores.json, which counts first.
    """
    from eval_fid_fvd.results import Scores
    from studio.scoring import compare_with

    known = earlier_results(folder)
    if not known:
        return shown.problem("There is no result to compare yet. Press Score first.")
    if not file and name not in known:
        return ""
    other = Path(file) if file else folder / str(name) / "scores.json"
    try:
        if other.stat().st_size > MOST_BYTES:
            raise BadTable(f"the file has more than {MOST_BYTES:,} bytes; scores are much smaller. Give a scores.json.")
        rows = compare_with(Scores.read(folder / known[0] / "scores.json"), other)
    except DetourError as error:
        return refusal(str(error))
    return comparison(rows, "the file" if file else f"'{name}'")


def refusal(text: str) -> str:
    """A sentence about what went wrong; further lines become a list."""
    first, *lines = text.splitlines() or [text]
    points = [line.strip() for line in lines if line.startswith(" ")]
    rest = " ".join(line.strip() for line in lines if not line.startswith(" "))
    last = f"<p>{escape(rest)}</p>" if rest else ""
    return f'<div class="status problem" role="alert">{escape(first)}{_points(points)}{last}</div>'


def summary(scores: "Scores", seconds: float) -> str:
    """The outcome in one line."""
    numbers = ", ".join(f"{score.card.metric} {_value(score)}" for score in scores.scores if not score.card.part)
    return f"Done in {seconds:.1f} s: {numbers}."


def value_text(value: float, metric: str) -> str:
    """A number with its unit."""
    return f"{value:.4g} {UNITS.get(metric, '')}".rstrip()


def _value(score: "Score") -> str:
    return value_text(score.value, score.card.metric)


def _row(score: "Score") -> str:
    """Name and reading, value and interval, level: three columns also fit a narrow screen."""
    interval = "no interval" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"
    level = "–" if score.floor is None else value_text(score.floor, score.card.metric)
    return (
        f'<tr><th scope="row">{_two(score.name, _reading(score))}</th><td>{_two(_value(score), interval)}</td>'
        f"<td>{escape(level)}</td></tr>"
    )


def _two(main: str, beside: str) -> str:
    small = f"<small>{escape(beside)}</small>" if beside else ""
    return f"<span>{escape(main)}</span>{small}"


def _reading(score: "Score") -> str:
    """Which way is better, and where the number lies against the level of real clips."""
    metric, floor = score.card.metric, score.floor
    if metric in HIGHER:
        beats = metric in ("PSNR", "SSIM") and floor is not None
        return "higher is nearer" + (_paired_words(score.value, floor or 0.0) if beats else "")
    if metric not in LOWER:
        return ""
    if floor is None or floor <= 0:
        return "lower is nearer"
    if metric == "LPIPS":
        return "lower is nearer" + _paired_words(-score.value, -floor)
    return f"lower is nearer; {score.value / floor:.2g} × the level"


def _paired_words(value: float, level: float) -> str:
    return "; nearer than another real clip" if value > level else "; no nearer than another real clip"


def _warnings(scores: "Scores") -> list[str]:
    notes = sorted({note for score in scores.scores for note in score.card.notes})
    return [*notes, *(f"left out: {clip.clip}: {clip.message}" for clip in scores.unreadable)]


def _points(texts: list[str]) -> str:
    return f'<ul class="points">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""


def _card(score: "Score") -> str:
    lines = [("samples", f"{score.n_a} generated, {score.n_b} real"), *_lines(score.card)]
    inner = shown.table(("line", "says"), lines, f"Card of {score.name}")
    return f"<details><summary>{escape(score.name)} = {escape(_value(score))}</summary>{inner}</details>"


def _lines(card: "MetricCard") -> list[tuple[str, str]]:
    """The card's lines that apply."""
    plain = {name: value for name, value in asdict(card).items() if name != "notes"}
    return [
        (
            name.replace("_", " "),
            "unknown" if value is None else f"{value:g}" if isinstance(value, float) else str(value),
        )
        for name, value in plain.items()
        if value not in ("", "none")
    ]
