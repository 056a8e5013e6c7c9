"""What the Study page says about a study and about a task at hand, as HTML; every text from elsewhere is escaped."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from studio.html_report import Table
from studio.live.study.studies import MOST_BYTES, Study, as_picture
from studio.live.tasks.orders import TaskView
from studio.study_summary import REACTION_M
from studio.study_tables import goals_table, p_value, value, words
from studio.study_values import values_of
from studio.web import shown


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def status_of(view: TaskView) -> str:
    """A line and a bar about a task."""
    if view.state == "waiting":
        return shown.status(f"Waiting: {view.ahead} before you. It starts by itself.", 0.0)
    if view.state == "stopping":
        gently = " Runs under way are finished first; 'Stop now' ends them." if view.order.gentle else ""
        return shown.status(f"Stopping …{gently}", view.share)
    if view.state == "running":
        return shown.status(f"{_where(view)} · {clock(view.seconds)} so far{_left(view)}", view.share)
    if view.state == "done":
        return shown.status(f"Done in {clock(view.seconds)}.", 1.0)
    if view.state == "stopped":
        return shown.status(f"Stopped after {clock(view.seconds)}. What is done is kept; 'Go on' starts from there.", view.share)  # fmt: skip
    failed = sum(unit.state == "failed" for unit in view.units)
    of = f"{failed} of {len(view.units)} failed: " if len(view.units) > 1 else "It failed: "
    return shown.problem(of + view.reason)


def _where(view: TaskView) -> str:
    unit = next((one.unit.label for one in view.units if one.state == "running"), "")
    many = f"{unit} ({view.done + 1} of {len(view.units)}): " if unit and len(view.units) > 1 else ""
    if view.count is None:
        return f"{many}starting"
    return f"{many}{view.count.done} of {view.count.total} {view.count.things}"


def _left(view: TaskView) -> str:
    return "" if view.left_s is None else f" · about {clock(view.left_s)} left"


def log_of(view: TaskView) -> str:
    """The last lines of what the command said."""
    text = "\n".join(view.log) or "Nothing was said yet."
    return f'<pre class="log" tabindex="0" aria-label="What the command says">{escape(text)}</pre>'


def lead_of(study: Study) -> str:
    """What a study is and what came out, in a few sentences."""
    request, summary = study.record["request"], study.summary
    frames = summary["frames"]
    things = "stretches" if request["dataset"] else "scenes"
    shipped = "This is the study that ships; yours appears here when it is done. " if study.label == "shipped" else ""
    first = (
        f"{shipped}A {request['kind']} was put into {frames['eligible']} of {frames['scenes']} {things} (those with a free lane at "
        f"the right speed); planners: {len(study.planners)}, paired samples: {request['samples']}."
    )
    return f"<p>{escape(first)}</p><p>{escape(_verdict(summary))}</p>"


def _verdict(summary: Mapping[str, Any]) -> str:
    goals = summary["goals"]
    if not goals:
        return "Too few variants were asked for to say who looks at the road."
    near = [row["planner"] for row in goals if row["met"]["near"]]
    calm = [name for row in goals if (name := row["planner"]) in near and _calm(row)]
    if not near:
        return "No planner reacts to the object in front of it in most scenes."
    told = f"Reacts to the object ahead in most scenes: {', '.join(near)}."
    return told + (
        f" Of these, calm when the same object hangs in the sky: {', '.join(calm)}."
        if calm
        else " None of these stays calm when the same object hangs in the sky."
    )


def _calm(row: Mapping[str, Any]) -> bool:
    return bool(row["met"]["sky_near"] and row["met"]["sky_far"])


def html_of(table: Table) -> str:
    """A table of the report, on the page."""
    return shown.table(table.head, table.rows, table.caption) if table.rows else ""


def goals_of(study: Study) -> str:
    """What is expected of a planner that looks at the road, and whether it does."""
    return html_of(goals_table(study.summary))


def planner_of(study: Study, planner: str) -> str:
    """Everything about one planner: its reaction to each variant, and the contrasts."""
    rows = [row for row in study.summary["reactions"] if row["planner"] == planner]
    contrasts = [row for row in study.summary["contrasts"] if row["planner"] == planner]
    return html_of(_reactions(rows)) + html_of(_contrasts(contrasts))


def _reactions(rows: Sequence[Mapping[str, Any]]) -> Table:
    head = (
        "object", "scenes", "change of the path, m", "reaction, m", f"over {REACTION_M:g} m", "over 2 m", "brakes", "speeds up",
        "evades", "onset",
    )  # fmt: skip
    cells = [
        (words(row["variant"]), str(row["scenes"]), value(row["change_m"], "+.2f"), value(row["reaction_m"]),
         f"{row['over_half_m']['mean']:.0%}", f"{row['over_two_m']['mean']:.0%}", f"{row['brakes']:.0%}",
         f"{row['speeds_up']:.0%}", f"{row['evades']:.0%}", "" if row["onset_s"] is None else f"{row['onset_s']:.1f} s")
        for row in rows
    ]  # fmt: skip
    return Table(head=head, rows=cells, caption="Means over scenes, with 95 % intervals.")


def _contrasts(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = [
        (f"{words(row['larger'])} - {words(row['smaller'])}", value(row["difference_m"], "+.2f"),
         f"{row['share_larger']:.0%}", p_value(row["p"]), p_value(row["p_holm"]) if row["primary"] else "exploratory")
        for row in sorted(rows, key=lambda row: not row["primary"])
    ]  # fmt: skip
    head = ("contrast", "difference of reactions, m", "larger in", "p", "p (Holm)")
    return Table(head=head, rows=cells, caption="Road against sky, and other pairs.")


def driver_pairs(study: Study, planner: str) -> list[tuple[float, float]]:
    """(the town driver's change, the planner's) by the near object, scene by scene; empty where nobody knows."""
    if study.rows is None:
        return []
    import pyarrow.parquet as pq

    answers = values_of(pq.read_table(study.rows)).get((planner, "near"), {})
    return [(one.oracle_m, one.change_m) for one in answers.values() if one.oracle_m is not None]


def examples_of(study: Study) -> str:
    """The examples of the report."""
    if not study.examples:
        return '<p class="empty-note">This study has no examples.</p>'
    figures = "".join(
        f'<figure class="example"><img loading="lazy" alt="{escape(caption)}" src="{as_picture(svg)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in study.examples
    )
    return (
        "<p>Best, median and worst scene, chosen by the distance to what the town's own driver does. Pictures: without the object, "
        f'with it, and with its twin in the sky; plans from above, a line each 10 m.</p><div class="examples">{figures}</div>'
    )


def report_of(study: Study) -> str:
    """The report itself, in a frame of its own in which no script runs."""
    path = study.folder / "report.html"
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        return shown.problem("this study has no report that can be shown here. Download everything instead.")
    return framed(path.read_text(encoding="utf-8"), "The study's report")


def framed(html: str, title: str) -> str:
    """A whole page inside ours: no scripts, no forms, nothing of ours within its reach."""
    return f'<iframe class="report" sandbox="" title="{escape(title)}" srcdoc="{escape(html, quote=True)}"></iframe>'


def checked(view: TaskView) -> str:
    """What `detour check-policy` found, for a task that has ended."""
    try:
        report = json.loads(view.units[0].printed)
    except ValueError:
        return shown.problem(view.reason or "The check was stopped.")
    found = [(f"problem: {one['check']}", f"{one['message']} ({one['place']})") for one in report["problems"]]
    found += [(f"note: {one['check']}", one["message"]) for one in report["notes"]]
    count = len(report["problems"])
    first = f"{report['name']}: asked about {len(report['moments'])} moments, {count or 'no'} problem{'s' * (count != 1)} found."
    took = report["latency_ms"]
    first += f" Answers take {took['median']:.0f} ms." if took else ""
    return (shown.problem if count else shown.status)(first) + html_of(Table(head=("what", "found"), rows=found))
