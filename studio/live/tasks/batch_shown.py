"""What the Jobs page says about batches, as HTML: the plan, each unit, posters; every text from elsewhere is escaped."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from studio.html_report import Table
from studio.live.study import shown as study_shown
from studio.live.study.shown import clock, framed, html_of
from studio.live.study.studies import MOST_BYTES
from studio.live.tasks.batches import Planned, folder_of, units_of
from studio.live.tasks.followed import Followed, follower_of
from studio.live.tasks.orders import TaskView
from studio.web import shown

MOST_ROWS = 200
MOST_POSTERS = 24
POSTER_BYTES = 400_000
KEY = re.compile(r"[0-9a-f]{8,64}")
ORDER = ("running", "again", "failed", "waiting", "done")  # in which units are listed


def plan_of(plan: Planned) -> str:
    """What a job expands to and will take."""
    count = len(plan.batch.units)
    first, *more = (line.strip() for line in plan.estimate.lines())
    rows = [tuple(line.split(": ", 1)) if ": " in line else ("", line) for line in (first, *more)]
    told = "".join(shown.status(f"Note: {text}") for text in plan.estimate.warnings)
    table = Table(head=("what", "about"), rows=[row for row in rows if row[0] != "warning"])
    return shown.status(f"{count} unit{'s' * (count != 1)} in all.") + html_of(table) + told


def status_of(view: TaskView) -> str:
    """A line and a bar about a batch; of one that has ended with failures, how many."""
    failed = sum(unit.state == "failed" for _, unit in units_of(view))
    if view.state != "failed" or not failed:
        return study_shown.status_of(view)
    count = len(view.order.parts)
    return shown.problem(
        f"{failed} of {count} unit{'s' * (count != 1)} failed; the reasons stand below, and what is done is kept. 'Go on' tries "
        "those again whose cause may have passed."
    )


def units_table(view: TaskView) -> str:
    """Each unit of a batch with its state; of a failed one, why. What goes on, and what went wrong, comes first."""
    units = units_of(view)
    counts = Counter(unit.state for _, unit in units)
    ordered = sorted(units, key=lambda one: ORDER.index(one[1].state))
    rows = [(label, _state(unit, view), clock(unit.seconds) if unit.seconds else "") for label, unit in ordered]
    said = ", ".join(
        f"{counts[state]} {state}" for state in ("done", "running", "failed", "again", "waiting") if counts[state]
    )
    more = f"; the first {MOST_ROWS} of {len(rows)}" if len(rows) > MOST_ROWS else ""
    return html_of(Table(head=("unit", "state", "time"), rows=rows[:MOST_ROWS], caption=f"Units: {said}{more}"))


def _state(unit: Followed, view: TaskView) -> str:
    if unit.state == "failed":
        return f"failed: {unit.reason}"
    if unit.state == "again":
        return f"tried again soon: {unit.reason}"
    if view.ended and unit.state in ("running", "waiting"):
        return "not done"
    return f"running, {unit.share:.0%}" if unit.state == "running" and unit.share else unit.state


def posters_of(view: TaskView) -> str:
    """Posters of the newest finished units, side by side."""
    out = folder_of(view)
    done = [(label, unit) for label, unit in units_of(view) if unit.state == "done"]
    if out is None or not done:
        return ""
    figures = "".join(_figures(out, done[-MOST_POSTERS:]))
    more = f"<p>The last {MOST_POSTERS} of {len(done)}.</p>" if len(done) > MOST_POSTERS else ""
    return f'{more}<div class="examples">{figures}</div>'


def _figures(out: Path, done: Sequence[tuple[str, Followed]]) -> Iterator[str]:
    for label, unit in done:
        picture = _picture(out / "units" / unit.key[:2] / unit.key / "poster.jpg") if KEY.fullmatch(unit.key) else ""
        if picture:
            alt = f"Seen, then imagined: {label}"
            yield (
                f'<figure class="example"><img loading="lazy" alt="{escape(alt)}" src="{picture}">'
                f"<figcaption>{escape(label)}</figcaption></figure>"
            )


def _picture(path: Path) -> str:
    """A small JPEG as the address of a picture; '' for none."""
    try:
        if path.stat().st_size > POSTER_BYTES:
            return ""
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""


def index_of(view: TaskView) -> str:
    """The batch's own page in a frame without scripts; downloaded with its units it lists and filters them."""
    out = folder_of(view)
    path = None if out is None else out / "index.html"
    if path is None or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return shown.problem("this batch has no page that can be shown here. Download it instead.")
    return framed(path.read_text(encoding="utf-8"), "The batch's page")


def unit_of(view: TaskView, key: str) -> str:
    """A finished unit: poster, and its numbers."""
    out = folder_of(view)
    label = view.order.parts.get(key, "")
    if out is None or not KEY.fullmatch(key):
        return shown.problem("this unit is not there any more. Choose another one.")
    figures = "".join(_figures(out, [(label, Followed(key=key, number=0, state="done"))]))
    return f'<div class="examples">{figures}</div>{_scores(out / "units" / key[:2] / key / "unit.json")}'


def _scores(path: Path) -> str:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = [(str(name), f"{value:.3f}") for name, value in record["scores"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
    return html_of(Table(head=("score", "value"), rows=rows, caption="Against what followed")) if rows else ""


def notes_of(view: TaskView) -> str:
    """What the driver warned of last."""
    out = view.units[0].unit.out
    notes = [] if out is None else follower_of(out).notes[-3:]
    return "".join(shown.status(f"Note: {text}") for text in notes)
