"""The controls of the Jobs tab: a form, the job file that it writes, and what that would take."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.live.study import studies
from studio.live.tasks import batch_shown, batches, job_form
from studio.live.tasks.job_form import FIELDS, KINDS, Form
from studio.live.tasks.job_guard import MOST_SECONDS, shipped_name
from studio.pages.wires import QUIET, Wires, session_of, values_for
from studio.study_config import VARIANTS
from studio.town_sprites import KINDS as THINGS
from studio.web import shown
from studio.web.site import Site
from studio.yaml_files import MAX_BYTES
from worldmodel.errors import BadTable, DetourError

SLIDER_S = 60.0  # the YAML may say more
Parts = dict[str, Any]


def asking(site: Site) -> Parts:
    """What is to be done."""
    import gradio as gr

    first = Form()
    kind = gr.Radio([(title, name) for name, title in KINDS.items()], value=first.kind, label="What")
    with gr.Row():
        clips = gr.Textbox(first.clips, label="Clips", info="0, 2-4, 5@2.5", max_length=200, min_width=140)
        seeds = gr.Textbox(first.seeds, label="Seeds", info="0-3, 7", max_length=200, min_width=140)
    seconds = gr.Slider(0.5, _most_s(site), value=first.seconds, step=0.5, label="Seconds to imagine", buttons=[])
    text = gr.Textbox(
        label="Instructions",
        info="One a line. Empty: what the driver was told in the recording.",
        lines=2,
        max_length=4000,
    )
    with gr.Row(visible=False) as edit:
        variant = gr.Dropdown([(name.replace("_", " "), name) for name in VARIANTS], value=first.variant, label="Where")
        thing = gr.Dropdown(list(THINGS), value=first.thing, label="Which object")
    with gr.Accordion("More", open=False):
        more = _more(site)
    with gr.Accordion("The job as YAML", open=False):
        yaml = _yaml(site)
    with gr.Row():
        plan = gr.Button("Plan", min_width=80, elem_id="jobs-plan")
        go = gr.Button("Start", variant="primary", min_width=80, elem_id="jobs-start")
    note = gr.HTML(label="About the batch", visible=False, elem_id="jobs-note")
    kind.change(
        lambda name: (gr.Textbox(visible=name == "imagine"), gr.Row(visible=name != "imagine")),
        kind,
        [text, edit],
        **QUIET,
    )
    return {
        "kind": kind, "clips": clips, "seeds": seeds, "seconds": seconds, "text": text, "variant": variant,
        "thing": thing, "plan": plan, "go": go, "note": note, "written": gr.State(first), **more, **yaml,
    }  # fmt: skip


def _most_s(site: Site) -> float:
    return min(SLIDER_S, MOST_SECONDS[site.any_folder])


def _more(site: Site) -> Parts:
    import gradio as gr

    dataset = gr.Dropdown(
        [("The clips that ship", "")], value="", label="Dataset", allow_custom_value=True, interactive=True,
        info="'mine/NAME' is an upload of yours." + " Or type a folder." * site.any_folder,
    )  # fmt: skip
    cores = os.cpu_count() or 1
    workers = gr.Slider(
        1, max(2, cores), value=1, step=1, label="Workers side by side", buttons=[], visible=cores > 1 and site.any_folder,
        info="Each loads the model. The results do not depend on their number.",
    )  # fmt: skip
    keep = gr.Textbox(
        label="Folder that stays", placeholder="/home/me/my-batch", visible=site.any_folder,
        info="Empty: the batch is removed when this tab is closed. The same folder again: it goes on, and nothing is done twice.",
    )  # fmt: skip
    return {"dataset": dataset, "workers": workers, "keep": keep}


def _yaml(site: Site) -> Parts:
    import gradio as gr

    text = gr.Code(
        job_form.job_yaml(Form(), shipped_name(site)), language="yaml", elem_id="jobs-yaml",
        label="The job file; edit freely",
    )  # fmt: skip
    with gr.Row():
        load = gr.UploadButton("Load YAML", file_types=[".yaml", ".yml"], size="sm")
        save = gr.DownloadButton("Save YAML", size="sm")
    return {"yaml": text, "load": load, "save": save}


def wire_asking(site: Site, wires: Wires, ask: Parts) -> None:
    """The controls write the job file; files, links and people do, too."""
    fields, outputs = [ask[name] for name in FIELDS], [ask["yaml"], ask["written"], ask["note"]]

    def by_link(query: str) -> Any:
        import gradio as gr

        try:
            link = values_for("jobs", query)
            if link is None:
                return gr.skip()
            asked = job_form.asked_by(link, _most_s(site))
            controls = {ask[name]: value for name, value in asked.items()}
            return {**controls, **_written(site, ask, job_form.form_in(asked)), ask["note"]: no_note()}
        except DetourError as error:
            return {ask["note"]: note(error)}

    for name in FIELDS:
        ask[name].input(_by_form(site, ask), said(ask), outputs, trigger_mode="always_last", **QUIET)
    wires.address.change(by_link, wires.address, [*fields, *outputs], **QUIET)
    _wire_files(site, ask)
    ask["plan"].click(
        _planner(site, ask), [*said(ask), ask["workers"]], outputs, show_progress="hidden", concurrency_limit=2,
        api_visibility="private",
    )  # fmt: skip


def said(ask: Parts) -> list[Any]:
    """What `job_said` needs."""
    return [ask["yaml"], ask["written"], *(ask[name] for name in FIELDS)]


def job_said(site: Site, ask: Parts, text: str, written: Form, values: Sequence[Any]) -> tuple[str, Parts]:
    """The job on the page, and what to change there: controls that were moved since they were written last are written now,
    so that nobody starts what the page does not show.

    Raises:
        BadRequest: if the controls cannot be read.
    """
    form = job_form.form_in(dict(zip(FIELDS, values, strict=True)))
    if form == written:
        return text, {}
    changes = _written(site, ask, form, text)
    return changes[ask["yaml"]], changes


def _written(site: Site, ask: Parts, form: Form, before: str = "") -> Parts:
    """The YAML after the controls."""
    return {ask["yaml"]: job_form.job_yaml(form, shipped_name(site), before), ask["written"]: form}


def _by_form(site: Site, ask: Parts) -> Callable[..., Parts]:
    """The YAML follows the controls."""

    def followed(text: str, written: Form, *values: Any) -> Parts:
        try:
            return {**job_said(site, ask, text, written, values)[1], ask["note"]: no_note()}
        except DetourError as error:
            return {ask["note"]: note(error)}

    return followed


def _planner(site: Site, ask: Parts) -> Callable[..., Parts]:
    import gradio as gr

    def plan(request: gr.Request, text: str, written: Form, *values: Any) -> Parts:
        changes: Parts = {}
        try:
            *controls, workers = values
            job, changes = job_said(site, ask, text, written, controls)
            found = batches.planned(job, site, session_of(request), int(workers or 1))
            return {**changes, ask["note"]: gr.HTML(batch_shown.plan_of(found), visible=True)}
        except DetourError as error:
            return {**changes, ask["note"]: note(error)}

    return plan


def _wire_files(site: Site, ask: Parts) -> None:
    """A job file from the visitor's disk, and back to it."""
    import gradio as gr

    def loaded(file: str | None) -> Parts:
        try:
            return {ask["yaml"]: _text_in(file), ask["note"]: no_note()}
        except DetourError as error:
            return {ask["note"]: note(error)}

    def saved(text: str, request: gr.Request) -> str:
        folder = site.visitors.folder(session_of(request)) / "exports"
        folder.mkdir(exist_ok=True)
        (folder / "job.yaml").write_text(text[: studies.MOST_BYTES], encoding="utf-8")
        return str(folder / "job.yaml")

    ask["load"].upload(loaded, ask["load"], [ask["yaml"], ask["note"]], **QUIET)
    ask["yaml"].change(saved, ask["yaml"], ask["save"], trigger_mode="always_last", **QUIET)


def _text_in(file: str | None) -> str:
    """The text of an uploaded YAML."""
    if not file or Path(file).stat().st_size > MAX_BYTES:
        raise BadTable(f"no file of at most {MAX_BYTES} bytes was loaded. Choose a small .yaml file.")
    return Path(file).read_text(encoding="utf-8", errors="replace")


def note(error: DetourError) -> Any:
    """What is wrong with the job."""
    import gradio as gr

    return gr.HTML(shown.problem(str(error)), visible=True)


def no_note() -> Any:
    """Nothing is wrong."""
    import gradio as gr

    return gr.HTML(visible=False)
