"""What the Jobs page says about tasks, as HTML; every text from elsewhere is escaped."""

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from studio.commands.options import default_model
from studio.html_report import Table
from studio.live.study.shown import clock, framed, html_of
from studio.live.study.studies import MOST_BYTES, ROOT
from studio.live.tasks.batches import BATCH, JOB_FILE, done_in
from studio.live.tasks.orders import TaskView, Unit, UnitView
from studio.web import shown


def name_of(view: TaskView) -> str:
    """A task for a list."""
    return f"{view.id} · {view.order.title}"


def list_of(views: Sequence[TaskView]) -> str:
    """All tasks of a visitor, the newest first."""
    if not views:
        return '<p class="empty-note">Nothing runs. What you start here, and on the page Study, is listed here.</p>'
    rows = [(name_of(view), _state(view), _done(view), clock(view.seconds)) for view in views]
    return shown.table(("task", "state", "done", "time"), rows, "Your tasks, the newest first")


def _done(view: TaskView) -> str:
    """How many of how many; of a batch, its units."""
    if view.order.kind == BATCH:
        return f"{done_in(view)} of {len(view.order.parts)}"
    return f"{view.done} of {len(view.units)}"


def _state(view: TaskView) -> str:
    if view.state == "waiting":
        return f"waiting, {view.ahead} before it"
    if view.state == "running":
        left = "" if view.left_s is None else f", about {clock(view.left_s)} left"
        return f"running, {view.share:.0%}{left}"
    return view.state


def units_of(view: TaskView) -> str:
    """Each run with its state; of a failed one, why."""
    rows = [(one.unit.label, _unit_state(one, view), clock(one.seconds) if one.seconds else "") for one in view.units]
    return html_of(Table(head=("run", "state", "time"), rows=rows, caption="Runs of this task"))


def commands_of(view: TaskView) -> str:
    """The same on the command line, with outputs in the present folder."""
    return "\n".join(_command(one.unit) for one in view.units)


def _command(unit: Unit) -> str:
    words = []
    for word in unit.words:
        if unit.out is not None and word == f"--out={unit.out}":
            word = f"--out={unit.out.name}"
        if Path(word).name == JOB_FILE:
            word = JOB_FILE
        if word not in ("--", "--json", f"--model={Path(default_model()).resolve()}") and not word.startswith(
            "--scratch="
        ):
            words.append(word)
    return shlex.join(("detour", *words)).replace(f"{ROOT}/", "")


def _unit_state(one: UnitView, view: TaskView) -> str:
    if one.state == "failed":
        return f"failed: {one.reason}"
    if one.state == "waiting" and view.ended:
        return "not done"
    return one.state


def result_of(one: UnitView) -> str:
    """A finished run: its report in a frame without scripts, or what the command printed."""
    out = one.unit.out
    if out is not None and out.is_dir():
        report = out / "report.html"
        if report.is_file() and report.stat().st_size <= MOST_BYTES:
            return framed(report.read_text(encoding="utf-8"), f"Report of {one.unit.label}")
        return shown.problem("this run has no report that can be shown here. Download it instead.")
    return f'<pre class="log printed" tabindex="0" aria-label="What the command printed">{escape(one.printed)}</pre>'
