"""What the Study tab shows of a finished study: figures, tables, examples, the report, and files to take along."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.live.study import shown as study_shown
from studio.live.study import studies
from studio.live.study.studies import Study
from studio.live.tasks.orders import TaskView
from studio.pages.wires import QUIET, Wires, session_of
from studio.web import shown
from studio.web.links import Link
from studio.web.site import Site
from worldmodel.errors import BadTable, DetourError

if TYPE_CHECKING:
    import gradio

LINES = 4  # planners in the figure over distance to begin with
SHIPPED = ("The study that ships", "shipped")
REACTIONS = "Mean reaction of the path over 4 s, with 95 % intervals over scenes. Full marks: the object on the road; hollow: its twin in the sky."
DISTANCE = "How far the path changes with the object at other distances (or sizes), with 95 % intervals; exploratory."
BENT = "The axis of metres grows like the square root."
Parts = dict[str, Any]
FIGURES = (
    "lead", "reactions", "goals", "lines", "distance", "size", "planner", "numbers", "driver", "examples", "report",
    "get_report", "get_rows", "get_all",
)  # fmt: skip


def looking(site: Site) -> Parts:
    """What came out."""
    import gradio as gr

    look = gr.Dropdown([SHIPPED], value="shipped", label="Look at", interactive=True, elem_id="study-look")
    parts: Parts = {"look": look, "lead": gr.HTML(label="What came out", elem_id="study-lead", min_height=96)}
    with gr.Tabs():
        with gr.Tab("Reactions"):
            parts["reactions"] = gr.Plot(label="Reactions", show_label=False, elem_id="study-reactions")
            gr.HTML(f'<p class="caption">{REACTIONS} {BENT}</p>', label="About the figure")
            parts["goals"] = gr.HTML(label="What is expected", elem_id="study-goals")
        with gr.Tab("Distance"):
            parts["lines"] = gr.Dropdown([], multiselect=True, max_choices=8, label="Planners", interactive=True)
            parts["distance"] = gr.Plot(label="Distance", show_label=False, elem_id="study-distance")
            gr.HTML(f'<p class="caption">{DISTANCE} {BENT}</p>', label="About the figure")
            parts["size"] = gr.Plot(label="Size", show_label=False, visible=False)
        with gr.Tab("Planners"):
            parts["planner"] = gr.Dropdown([], label="Planner", interactive=True)
            parts["numbers"] = gr.HTML(label="Its numbers", elem_id="study-numbers")
            parts["driver"] = gr.Plot(label="Against the town's driver", show_label=False, visible=False)
        with gr.Tab("Examples"):
            parts["examples"] = gr.HTML(label="Examples", elem_id="study-examples")
        with gr.Tab("Report"):
            with gr.Row():
                parts["get_report"] = gr.DownloadButton("Report (HTML)", size="sm", visible=False)
                parts["get_rows"] = gr.DownloadButton("Every answer (Parquet)", size="sm", visible=False)
                parts["get_all"] = gr.DownloadButton("Everything (zip)", size="sm", visible=False)
            parts["open"] = gr.Button("Show the report here", size="sm", elem_id="study-open-report")
            parts["report"] = gr.HTML(label="Report", elem_id="study-report")
    with gr.Accordion("Open another study", open=False, visible=site.any_folder):
        parts["folder"] = gr.Textbox(
            label="Folder of a study on this machine", info="As `detour study` wrote it. Press Enter to open it."
        )
    return parts


def choices(views: Sequence[TaskView]) -> list[tuple[str, str]]:
    """What can be looked at: the visitor's finished studies, the newest first, and the one that ships."""
    done = [view for view in views if view.state == "done"]
    return [(f"Mine: {view.order.title.removeprefix('Study of ')}", f"task:{view.id}") for view in done] + [SHIPPED]


def wire_looking(site: Site, wires: Wires, look: Parts, tab: Any) -> None:
    """Show the study that is chosen."""
    import gradio as gr

    outputs = [look[name] for name in FIGURES]

    def show(key: str, request: gr.Request) -> Parts:
        try:
            study = _study_at(site, session_of(request), key)
            copies = studies.exported(study, site.visitors.folder(session_of(request)))
        except DetourError as error:
            return {look["lead"]: shown.problem(str(error))}
        return _figures(study, copies, look)

    def arrive(query: str, key: str, request: gr.Request) -> Any:
        """A studio that is opened with a link to this tab need not tell that the tab was selected."""
        try:
            here = Link.parse(query).page == "study"
        except DetourError:
            here = False  # the frame says what is wrong with the link
        return show(key, request) if here else gr.skip()

    def lines(key: str, planners: list[str], request: gr.Request) -> Parts:
        try:
            study = _study_at(site, session_of(request), key)
        except DetourError as error:
            return {look["lead"]: shown.problem(str(error))}
        return {look[over]: _sweep(study, over, planners) for over in ("distance", "size")}

    def planner(key: str, name: str, request: gr.Request) -> Parts:
        try:
            study = _study_at(site, session_of(request), key)
        except DetourError as error:
            return {look["numbers"]: shown.problem(str(error))}
        return {look["numbers"]: study_shown.planner_of(study, name), look["driver"]: _driver(study, name)}

    def report(key: str, request: gr.Request) -> str:
        try:
            return study_shown.report_of(_study_at(site, session_of(request), key))
        except DetourError as error:
            return shown.problem(str(error))

    def folder(path: str | None, request: gr.Request) -> Parts:
        try:
            study = _study_at(site, session_of(request), f"folder:{path or ''}")
        except DetourError as error:
            return {look["lead"]: shown.problem(str(error))}
        views = [view for view in site.tasks.of(session_of(request)) if view.order.kind == "study"]
        key = f"folder:{path or ''}"
        return {look["look"]: gr.Dropdown([(str(study.folder), key), *choices(views)], value=key)}

    look["look"].change(show, look["look"], outputs, **QUIET)
    look["lines"].input(lines, [look["look"], look["lines"]], [look["distance"], look["size"], look["lead"]], **QUIET)
    look["planner"].input(planner, [look["look"], look["planner"]], [look["numbers"], look["driver"]], **QUIET)
    look["open"].click(report, look["look"], look["report"], **QUIET)
    look["folder"].submit(folder, look["folder"], [look["look"], look["lead"]], **QUIET)
    tab.select(show, look["look"], outputs, **QUIET)
    wires.address.change(arrive, [wires.address, look["look"]], outputs, **QUIET)


def _study_at(site: Site, session: str, key: str) -> Study:
    """The study that an entry of 'Look at' stands for.

    Raises:
        BadTable, BadRequest: if it is not there, or not open to the visitor.
    """
    kind, _, name = (key or "").partition(":")
    if kind == "shipped" and (found := studies.shipped_study()):
        return found
    if kind == "task":
        view = site.tasks.view(session, name)
        out = view.units[0].unit.out
        if view.state == "done" and out is not None:
            return studies.open_study(out, f"{view.id} {view.order.title}")
    if kind == "folder" and site.any_folder and name.strip():
        return studies.open_study(Path(name.strip()).expanduser(), Path(name.strip()).name)
    raise BadTable(
        "this study is not here: the one that ships lies with the source (docs/studies), not in an installed package. Start one; the "
        "quick one takes about two minutes."
    )


def _figures(study: Study, copies: Mapping[str, Path], look: Parts) -> Parts:
    """Everything that is shown of a study."""
    import gradio as gr

    from studio.study_plots import reactions_plot

    told = [called for asked, called in study.record["planners"].items() if asked in study.record["request"]["shown"]]
    first = list(dict.fromkeys([*told, *study.planners]))
    others = first[len(told) :]
    swept = [*told, *others[:: max(1, len(others) // max(1, LINES - len(told)))]][:LINES]
    return {
        look["lead"]: study_shown.lead_of(study),
        look["reactions"]: reactions_plot(study.summary["reactions"]) if study.planners else None,
        look["goals"]: study_shown.goals_of(study),
        look["lines"]: gr.Dropdown(study.planners, value=swept),
        look["distance"]: _sweep(study, "distance", swept),
        look["size"]: _sweep(study, "size", swept),
        look["planner"]: gr.Dropdown(study.planners, value=first[0] if first else None),
        look["numbers"]: study_shown.planner_of(study, first[0]) if first else "",
        look["driver"]: _driver(study, first[0]) if first else gr.Plot(visible=False),
        look["examples"]: study_shown.examples_of(study),
        look["report"]: "",
        **{
            look[f"get_{name}"]: gr.DownloadButton(
                value=str(copies[name]) if name in copies else None, visible=name in copies
            )
            for name in ("report", "rows", "all")
        },
    }


def _sweep(study: Study, over: str, planners: Sequence[str]) -> "gradio.Plot":
    import gradio as gr

    from studio.study_plots import sweep_plot

    if not any(row["over"] == over for row in study.summary["sweep"]):
        return gr.Plot(visible=False)
    return gr.Plot(sweep_plot(study.summary["sweep"], over, planners or []), visible=True)


def _driver(study: Study, planner: str) -> "gradio.Plot":
    import gradio as gr

    from studio.study_plots import driver_plot

    pairs = study_shown.driver_pairs(study, planner)
    return gr.Plot(driver_plot(pairs, planner), visible=True) if pairs else gr.Plot(visible=False)
