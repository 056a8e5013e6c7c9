"""The controls of the Study tab: the form, the same as YAML, and policies of the visitor's own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from studio.live.study import form as study_form
from studio.live.study import shown as study_shown
from studio.live.study import studies
from studio.live.study.form import Form
from studio.live.study.studies import PRESETS
from studio.pages.wires import QUIET, Wires, session_of, values_for
from studio.planners import PLANNERS, shipped_names
from studio.study_config import VARIANTS, study_of, study_yaml
from studio.town_sprites import KINDS
from studio.web import shown
from studio.web.site import Site
from studio.yaml_files import MAX_BYTES
from worldmodel.errors import BadRequest, BadTable, DetourError

BEAT_S = 1.0
OWN = "Own settings"  # what is begun with when controls, YAML or a link were changed
LOCAL = (
    "A checkpoint folder, or a policy of your own as <code>detour check-policy</code> takes it: <code>file.py:Class</code>, "
    "<code>python:module:Class</code>, <code>process:COMMAND</code> or <code>policy.yaml</code>. Naming it runs it, with your rights "
    "and without a sandbox."
)
SHARED = (
    "Policies of your own run code, so this studio, which others can reach, takes none. Open it on your own machine."
)
Parts = dict[str, Any]
FORM = ("planners", "dataset", "scenes", "samples", "kind", "seed", "variants", "distances", "sizes", "sweep_every")


def asking(site: Site) -> Parts:
    """Everything that is asked of a study."""
    import gradio as gr

    first = next(iter(PRESETS.values()))()
    form = study_form.form_of(first)
    preset = gr.Dropdown([*PRESETS, OWN], value=next(iter(PRESETS)), label="Begin with", interactive=True)
    planners = gr.Dropdown(
        [*shipped_names(), *PLANNERS], value=list(form.planners), multiselect=True, label="Planners", interactive=True,
        allow_custom_value=True, elem_id="study-planners",
    )  # fmt: skip
    with gr.Row():
        scenes = gr.Number(form.scenes, label="Scenes to look at", precision=0, min_width=140)
        samples = gr.Number(form.samples, label="Paired samples", precision=0, min_width=140)
    with gr.Accordion("More", open=False):
        more = _more(site, form)
    with gr.Accordion("The study as YAML", open=False):
        text = gr.Code(
            study_yaml(first), language="yaml", label="Fields of the study; edit freely", elem_id="study-yaml"
        )
        with gr.Row():
            load = gr.UploadButton("Load YAML", file_types=[".yaml", ".yml"], size="sm")
            save = gr.DownloadButton("Save YAML", size="sm")
    with gr.Accordion("A policy of your own", open=False):
        own = _own(site)
    note = gr.HTML(label="About the study", elem_id="study-note", visible=False)
    asked = {"preset": preset, "planners": planners, "scenes": scenes, "samples": samples, "text": text}
    return {**asked, **more, **own, "load": load, "save": save, "note": note}


def _more(site: Site, form: Form) -> Parts:
    """What is rarely needed."""
    import gradio as gr

    kinds = [("Scenes of the town", ""), ("The clips that ship", str(site.clips))]
    dataset = gr.Dropdown(
        kinds, value="", label="Where", info="'mine/NAME' is an upload of yours." + " Or type a folder." * site.any_folder,
        allow_custom_value=True, interactive=True,
    )  # fmt: skip
    kind = gr.Dropdown(list(KINDS), value=form.kind, label="What is put there", interactive=True)
    variants = gr.CheckboxGroup(
        [(name.replace("_", " "), name) for name in VARIANTS], value=list(form.variants), label="Where it is put"
    )
    distances = gr.Textbox(form.distances, label="Further distances, m", info="3 to 40, with commas between them")
    sizes = gr.Textbox(form.sizes, label="Further sizes", info="1 is its own; 0.1 to 3")
    every = gr.Number(form.sweep_every, label="Further distances in one of so many scenes", precision=0)
    seed = gr.Number(form.seed, label="Seed", precision=0)
    cores = os.cpu_count() or 1
    workers = gr.Slider(
        1, max(2, cores), value=1, step=1, label="Processes side by side", info="The result does not depend on it.",
        buttons=[], visible=cores > 1 and site.any_folder,
    )  # fmt: skip
    keep = gr.Textbox(
        label="Folder that stays", placeholder="/home/me/my-study", visible=site.any_folder,
        info="Empty: the study is removed when this tab is closed. The same folder again: an unfinished study goes on.",
    )  # fmt: skip
    names = ("dataset", "kind", "variants", "distances", "sizes", "sweep_every", "seed", "workers", "keep")
    return dict(zip(names, (dataset, kind, variants, distances, sizes, every, seed, workers, keep), strict=True))


def _own(site: Site) -> Parts:
    import gradio as gr

    gr.HTML(f"<p>{LOCAL if site.any_folder else SHARED}</p>", label="About policies of your own")
    spec = gr.Textbox(label="Policy", placeholder="path/to/policy.py:MyPolicy", visible=site.any_folder)
    with gr.Row(visible=site.any_folder):
        check = gr.Button("Check it", size="sm", elem_id="check-policy")
        add = gr.Button("Add to the planners", size="sm")
    verdict = gr.HTML(label="What the check found", elem_id="policy-verdict")
    return {"spec": spec, "check": check, "add": add, "verdict": verdict}


def form_in(values: tuple[Any, ...]) -> Form:
    """What the controls in FORM say.

    Raises:
        BadRequest: if a number is missing.
    """
    asked = dict(zip(FORM, values, strict=True))
    for name, title in (("scenes", "Scenes"), ("samples", "Paired samples"), ("seed", "Seed"), ("sweep_every", "Further distances")):  # fmt: skip
        if not isinstance(asked[name], int | float):
            raise BadRequest(f"{title}: nothing is set. Type a number.")
        asked[name] = int(asked[name])
    lists = {name: tuple(asked[name] or ()) for name in ("planners", "variants")}
    return Form(**{**asked, **lists, "dataset": (asked["dataset"] or "").strip()})


def wire_asking(site: Site, wires: Wires, ask: Parts) -> None:
    """The controls, the YAML and the link say the same, whichever is changed."""
    import gradio as gr

    widgets = [ask[name] for name in FORM]
    outputs = [ask["preset"], *widgets, ask["text"], ask["note"]]

    def filled(text: str) -> Parts:
        form = study_form.form_of(study_form.read(text))
        values = {name: getattr(form, name) for name in FORM}
        values |= {"planners": list(form.planners), "variants": list(form.variants)}
        return {
            ask["preset"]: OWN,
            **{ask[name]: value for name, value in values.items()},
            ask["text"]: text,
            ask["note"]: _no_note(),
        }

    def by_text(text: str) -> Parts:
        try:
            return {**filled(text), ask["text"]: gr.skip()}
        except DetourError as error:
            return {ask["note"]: _note(error)}

    def by_preset(name: str) -> Parts:
        if name not in PRESETS:
            return {ask["note"]: _no_note()}
        return {**filled(study_yaml(PRESETS[name]())), ask["preset"]: name}

    def by_file(file: str | None) -> Parts:
        try:
            return filled(_yaml_in(file))
        except DetourError as error:
            return {ask["note"]: _note(error)}

    def by_link(query: str) -> Any:
        try:
            link = values_for("study", query)
            return gr.skip() if link is None else filled(study_yaml(study_form.study_of_link(link)))
        except DetourError as error:
            return {ask["note"]: _note(error)}

    def saved(text: str, request: gr.Request) -> str:
        folder = site.visitors.folder(session_of(request)) / "exports"
        folder.mkdir(exist_ok=True)
        (folder / "study.yaml").write_text(text[: studies.MOST_BYTES], encoding="utf-8")
        return str(folder / "study.yaml")

    for widget in widgets:
        widget.input(
            _by_form(ask),
            [ask["text"], *widgets],
            [ask["text"], ask["preset"], ask["note"]],
            trigger_mode="always_last",
            **QUIET,
        )
    ask["text"].input(by_text, ask["text"], outputs, trigger_mode="always_last", **QUIET)
    ask["preset"].input(by_preset, ask["preset"], outputs, **QUIET)
    ask["load"].upload(by_file, ask["load"], outputs, **QUIET)
    ask["text"].change(saved, ask["text"], ask["save"], trigger_mode="always_last", **QUIET)
    wires.address.change(by_link, wires.address, outputs, **QUIET)


def _by_form(ask: Parts) -> Callable[..., Parts]:
    """The YAML follows the controls."""

    def followed(text: str, *values: Any) -> Parts:
        try:
            told = study_yaml(study_form.with_form(text, form_in(values)))
            return {ask["text"]: told, ask["preset"]: OWN, ask["note"]: _no_note()}
        except DetourError as error:
            return {ask["note"]: _note(error)}

    return followed


def _note(error: DetourError) -> Any:
    import gradio as gr

    return gr.HTML(shown.problem(str(error)), visible=True)


def _no_note() -> Any:
    import gradio as gr

    return gr.HTML(visible=False)


def _yaml_in(file: str | None) -> str:
    """The text of an uploaded YAML, checked."""
    if not file or Path(file).stat().st_size > MAX_BYTES:
        raise BadTable(f"no file of at most {MAX_BYTES} bytes was loaded. Choose a small .yaml file.")
    text = Path(file).read_text(encoding="utf-8", errors="replace")
    return study_yaml(study_of(text, Path(file).name))


def wire_policy(site: Site, ask: Parts) -> None:
    """Check a policy of the visitor's own, and put it beside the others."""
    import gradio as gr

    def check(spec: str | None, request: gr.Request) -> Iterator[str]:
        session = session_of(request)
        try:
            task = site.tasks.start(session, studies.check_order(spec, site))
            while not (view := site.tasks.wait(session, task, BEAT_S)).ended:
                yield study_shown.status_of(view)
            yield study_shown.checked(view)
        except DetourError as error:
            yield shown.problem(str(error))

    def add(spec: str | None, planners: list[str]) -> list[str]:
        name = (spec or "").strip()
        return planners if name in ("", *planners) else [*planners, name]

    ask["check"].click(
        check, ask["spec"], ask["verdict"], show_progress="hidden", concurrency_limit=None, api_visibility="private"
    )
    widgets = [ask[name] for name in FORM]
    ask["add"].click(add, [ask["spec"], ask["planners"]], ask["planners"], **QUIET).then(
        _by_form(ask), [ask["text"], *widgets], [ask["text"], ask["preset"], ask["note"]], **QUIET
    )
