"""A batch between the Jobs page's controls, its link, and the job file: the controls write their part of the YAML."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from studio.planners import DEFAULT_PLANNERS
from studio.study_config import VARIANTS
from studio.town_sprites import KINDS as THINGS
from studio.web.links import Link
from studio.yaml_files import yaml_of
from worldmodel.errors import BadRequest, UnknownName

HERE = "the job"  # what errors call the text on the page
KINDS = {"imagine": "Imagine how it goes on", "stitch": "Put something in the way", "demo": "The whole story"}
LONGEST_S = 3600.0
MOST_TEXTS = 100
PART = re.compile(r"(\d{1,6}(?:\s*-\s*\d{1,6})?)\s*(?:@\s*(\d{1,6}(?:\.\d*)?))?")
SWEPT = ("texts", "seeds", "actions", "edits", "seconds")  # lists of the sweep that the controls write


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the page's controls say.

    Attributes:
        kind: Of KINDS; decides what else is asked.
        dataset: As `Site.dataset` reads it; '' for the clips that ship.
        clips: Numbers of clips, as '0, 2-4, 5@2.5' (now at 2.5 s).
        seeds: As '0-3, 7'.
        seconds: Horizon.
        text: What the driver is told, of 'imagine', an instruction a line; '' for what the recording says.
        variant, thing: Where and what is put, of 'stitch' and 'demo'.
    """

    kind: str = "imagine"
    dataset: str = ""
    clips: str = "0"
    seeds: str = "0-2"
    seconds: float = 4.0
    text: str = ""
    variant: str = "near"
    thing: str = "car"

    def __post_init__(self) -> None:
        for what, name, known in (
            ("kind of job", self.kind, KINDS),
            ("place", self.variant, VARIANTS),
            ("object", self.thing, THINGS),
        ):
            if name not in known:
                raise UnknownName(what, name[:40], known)


FIELDS = tuple(item.name for item in fields(Form))


def form_in(asked: Mapping[str, Any]) -> Form:
    """What the controls say, by the names in FIELDS; an empty one is ''.

    Raises:
        BadRequest: as `Form`, or when no number of seconds is set.
    """
    if not isinstance(asked["seconds"], int | float):
        raise BadRequest("no seconds are set. Move 'Seconds to imagine'.")
    texts = {name: value or "" for name, value in asked.items() if name != "seconds"}
    return Form(**texts, seconds=float(asked["seconds"]))


def job_yaml(form: Form, shipped: str, before: str = "") -> str:
    """The job file that the controls stand for.

    Args:
        form: What the controls say.
        shipped: What the dataset is called that pages open with.
        before: A job file, whose other fields are kept; one that cannot be read is replaced.
    Raises:
        BadRequest: if clips or instructions cannot be read.
    """
    content = _kept(before)
    sweep = content.get("sweep")
    others = {name: value for name, value in sweep.items() if name not in SWEPT} if isinstance(sweep, dict) else {}
    told = {**_asked(form), "clips": _clips(form, shipped), "sweep": {**_sweep(form), **others}}
    rest = {name: value for name, value in content.items() if name not in (*told, "planners", "outputs", "metrics")}
    return dumped({"clips": told.pop("clips"), "sweep": told.pop("sweep"), **told, **rest})


def dumped(content: Mapping[str, Any]) -> str:
    """A job as YAML."""
    import yaml

    return str(yaml.safe_dump(dict(content), sort_keys=False, default_flow_style=None, width=88, allow_unicode=True))


def _kept(before: str) -> dict[str, Any]:
    from worldmodel.errors import BadInput

    try:
        content = yaml_of(before, HERE, "a job").content
    except BadInput:
        return {}
    return content if isinstance(content, dict) and "jobs" not in content else {}


def _clips(form: Form, shipped: str) -> list[dict[str, Any]]:
    """Clips without a moment together, each moment for itself."""
    parts = [part.strip() for part in form.clips[:1000].split(",") if part.strip()]
    found = [PART.fullmatch(part) for part in parts]
    if not parts or None in found:
        wrong = next((part for part, match in zip(parts, found, strict=True) if match is None), "")
        raise BadRequest(f"Clips: '{wrong[:40]}' cannot be read. Write e.g. '0, 2-4, 5@2.5' (clip 5, now at 2.5 s).")
    dataset = form.dataset.strip() or shipped
    plain = ", ".join(match[1] for match in found if match and not match[2])
    entries: list[dict[str, Any]] = [{"dataset": dataset, "episodes": plain}] if plain else []
    return entries + [
        {"dataset": dataset, "episodes": match[1], "at_s": float(match[2])} for match in found if match and match[2]
    ]


def _sweep(form: Form) -> dict[str, Any]:
    sweep: dict[str, Any] = {"seeds": form.seeds.strip() or "0", "seconds": [form.seconds]}
    if form.kind == "imagine":
        return {"texts": _texts(form.text), **sweep}
    edit = {"variant": form.variant, "kind": form.thing}
    if form.kind == "stitch":
        return {"edits": [edit], **sweep}
    return {"actions": ["policy", "recorded"], "edits": [None, edit], **sweep}


def _texts(text: str) -> list[str | None]:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_TEXTS:
        raise BadRequest(f"{len(lines)} instructions are given; at most {MOST_TEXTS} are used. Leave some out.")
    return list(dict.fromkeys(lines)) or [None]


def _asked(form: Form) -> dict[str, Any]:
    """Who plans, what is kept and measured."""
    outputs = ["mosaic", "cameras", "trajectory"]  # scores of the whole batch need single cameras
    if form.kind == "imagine":
        return {"outputs": outputs}
    planners = {"planners": list(DEFAULT_PLANNERS), "outputs": outputs}
    return planners if form.kind == "stitch" else {**planners, "metrics": ["psnr", "ssim", "ade"]}


def link_of(form: Form) -> Link:
    """The controls as a link; what is at its default is left out."""
    default = Form()
    told = {name: getattr(form, name) for name in FIELDS if getattr(form, name) != getattr(default, name)}
    values = {name: f"{value:g}" if name == "seconds" else str(value) for name, value in told.items()}
    return Link(page="jobs", values={"kind": form.kind, **values})


def asked_by(link: Link, most_s: float = LONGEST_S) -> dict[str, Any]:
    """What a link says about each control; at most `most_s` seconds are imagined here.

    Raises:
        BadRequest: if it names what does not exist, or seconds out of range.
    """
    unknown = sorted(set(link.values) - set(FIELDS))
    if unknown:
        raise BadRequest(f"the link names '{unknown[0][:40]}', which no job has. Remove it.")
    default = Form()
    asked = {name: link.values.get(name, getattr(default, name))[:500] for name in FIELDS if name != "seconds"}
    seconds = link.number("seconds", default.seconds, 0.5, most_s)
    Form(**asked, seconds=seconds)
    return {**asked, "seconds": seconds}
