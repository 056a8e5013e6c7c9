"""Job files: what a batch shall do, as YAML; every field checked, every problem named with its line.

    clips: [{dataset: town/*, at_s: every 2.0, limit: 20}]
    sweep: {texts: [null, turn left], seeds: 0-7, memories: [window, selective]}
    outputs: [mosaic, trajectory]

Paths are seen from the job file's folder. `studio.jobs.plan.expansion.expand` makes units of it.
"""

import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from studio.demo import DEFAULT_MODEL
from studio.jobs.plan.job_clips import Clips
from studio.jobs.plan.job_limits import Execution, Limits, Retry
from studio.jobs.plan.job_sweep import Sweep
from studio.jobs.plan.job_values import Strict, absolute, checked, folder_of, place, wrong
from studio.jobs.units import METRICS, OUTPUTS
from studio.planners import PLANNERS, check_planner, shipped_names
from studio.yaml_files import YamlText, read_yaml, yaml_of
from worldmodel.errors import BadTable

MAX_PROBLEMS = 20


def _model(text: str, info: ValidationInfo) -> str:
    """A checkpoint folder as an absolute path, seen from the job file's folder or the working one; other names as they are."""
    if not text or text.startswith("wan:"):
        return text or DEFAULT_MODEL
    if "://" in text:
        raise wrong(
            f"the model '{text:.80}' is an address; a folder or a hub id is needed. Copy the checkpoint to a disk"
        )
    return next((path for path in (place(text, info), os.path.abspath(text)) if os.path.isdir(path)), text)


def _planner(text: str, info: ValidationInfo) -> str:
    if not text.strip():
        raise wrong("a planner's name is empty; name one such as 'joint', or leave the list empty")
    file, colon, name = text.rpartition(":")
    found = absolute(file if file.endswith(".py") else text, folder_of(info))
    if text not in (*PLANNERS, *shipped_names()) and os.path.exists(found):
        return f"{found}{colon}{name}" if file.endswith(".py") else found
    return checked(check_planner)(text)


Planner = Annotated[str, Field(max_length=1000), AfterValidator(_planner)]
Output = Literal["mosaic", "cameras", "latents", "trajectory", "scores"]
Metric = Literal["psnr", "ssim", "ade"]


class Asked(Strict):
    """What is asked and kept of every unit.

    Attributes:
        planners: Who plans at every moment, by name or checkpoint folder; where there is an edit, with it and without.
        samples: Plans per answer of planners that draw.
        outputs: What is kept; a poster and the facts always are.
        metrics: Of each unit against what followed in its recording; `scores` without metrics means all of them.
    """

    planners: Annotated[tuple[Planner, ...], Field(max_length=64)] = ()
    samples: Annotated[int, Field(ge=1, le=256)] = 8
    outputs: Annotated[tuple[Output, ...], Field(max_length=len(OUTPUTS))] = ("mosaic", "trajectory")
    metrics: Annotated[tuple[Metric, ...], Field(max_length=len(METRICS))] = ()

    @model_validator(mode="after")
    def _nothing_is_named_twice(self) -> Self:
        for name in ("planners", "outputs", "metrics"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise wrong(f"{name} names something twice: {', '.join(values)}. Keep one of each")
        return self

    def kept(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Outputs and metrics in their usual order; metrics need `scores`, and the other way round."""
        outputs = {*self.outputs, "scores"} if self.metrics else {*self.outputs}
        metrics = self.metrics or (METRICS if "scores" in outputs else ())
        return tuple(name for name in OUTPUTS if name in outputs), tuple(name for name in METRICS if name in metrics)


class Part(Asked):
    """One of several sweeps, each over clips of its own."""

    name: Annotated[str, Field(max_length=80)] = ""
    clips: Annotated[tuple[Clips, ...], Field(min_length=1, max_length=1000)]
    sweep: Sweep = Sweep()

    @model_validator(mode="after")
    def _there_is_work(self) -> Self:
        _check_work(self)
        return self


def _check_work(part: Part) -> None:
    if 0 in part.sweep.seconds and not part.planners:
        raise wrong("a horizon of 0 s imagines nothing, and no planner is asked. Name planners, or a longer horizon")


class Job(Asked):
    """A job file: clips and a sweep over them, or several of both under `jobs`.

    Attributes:
        name: For people.
        model: Checkpoint folder, hub id or 'wan:...'; '' for the one that ships.
        clips, sweep: Which moments, and what is varied.
        jobs: Instead: parts with clips and a sweep each, and what is asked and kept of them.
        one_rig: Whether all recordings must have the same cameras and rate, as an export to LeRobot needs.
        retry, limits, execution: How it is done.
    """

    name: Annotated[str, Field(max_length=200)] = ""
    model: Annotated[str, Field(max_length=4000, validate_default=True), AfterValidator(_model)] = ""
    clips: Annotated[tuple[Clips, ...], Field(max_length=1000)] = ()
    sweep: Sweep | None = None
    jobs: Annotated[tuple[Part, ...], Field(max_length=1000)] = ()
    one_rig: bool = False
    retry: Retry = Retry()
    limits: Limits = Limits()
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _one_way_of_naming_parts(self) -> Self:
        own = bool(
            {"clips", "sweep", *Asked.model_fields} & {name for name in self.model_fields_set if getattr(self, name)}
        )
        if self.jobs and own:
            raise wrong(
                "the file has `jobs`, so clips, sweep, planners, samples, outputs and metrics belong into them. Move them there"
            )
        if not self.jobs and not self.clips:
            raise wrong("the file names no clips. Add e.g. `clips: [{dataset: town}]`")
        for part in () if self.jobs else self.parts():
            _check_work(part)
        return self

    def parts(self) -> tuple[Part, ...]:
        """What there is to do, in order."""
        if self.jobs:
            return self.jobs
        asked = {name: getattr(self, name) for name in Asked.model_fields}
        return (Part.model_construct(name="", clips=self.clips, sweep=self.sweep or Sweep(), **asked),)

    def to_json(self) -> dict[str, Any]:
        """Plain data with every default written out, paths absolute; `job_from` reads it back."""
        content = self.model_dump(mode="json")
        return {name: value for name, value in content.items() if name not in (_PARTS if self.jobs else ("jobs",))}

    def with_execution(self, *, model: str | None, **changes: Any) -> "Job":
        """The job with another model or other values of `execution`; None changes nothing.

        Raises:
            BadTable: if a value is out of range.
        """
        content = self.to_json()
        content["execution"] |= {name: value for name, value in changes.items() if value is not None}
        if model is not None:
            content["model"] = model
        return job_from(content, "the options")


_PARTS = ("clips", "sweep", *Asked.model_fields)


def read_job(path: Path) -> Job:
    """A job from a YAML file.

    Raises:
        BadTable: if it cannot be read or a field does not fit; all that is wrong, with its lines.
    """
    return _job(read_yaml(path, "a job file"), str(path), path.resolve().parent)


def job_of(text: str, where: str, folder: Path | None = None) -> Job:
    """A job from the text of a YAML file.

    Args:
        where: What messages call it.
        folder: From which paths are seen; None for the working folder.
    Raises:
        BadTable: as `read_job`.
    """
    return _job(yaml_of(text, where, "a job file"), where, folder or Path.cwd())


def job_from(content: Mapping[str, Any], where: str) -> Job:
    """A job from plain data, as `Job.to_json` gives it.

    Raises:
        BadTable: as `read_job`.
    """
    return _job(YamlText(content=dict(content), lines={}), where, Path.cwd())


def job_yaml(job: Job) -> str:
    """A job as YAML with every default written out; `job_of` reads it back."""
    import yaml

    return str(yaml.safe_dump(job.to_json(), sort_keys=False, default_flow_style=None, width=100, allow_unicode=True))


def job_schema() -> dict[str, Any]:
    """The JSON schema of job files, every field with its description."""
    schema = Job.model_json_schema(mode="validation")
    for part in (schema, *schema["$defs"].values()):
        _describe(part)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Detour job file"}


def _describe(part: dict[str, Any]) -> None:
    """Move what a docstring says of its attributes to the fields."""
    said, _, rest = part.get("description", "").partition("\n\nAttributes:\n")
    part["description"] = " ".join(said.split())
    for entry in re.split(r"\n {4}(?! )", "\n" + rest):
        names, _, text = entry.partition(": ")
        for name in names.split(", "):
            if name in part.get("properties", {}):
                part["properties"][name]["description"] = " ".join(text.split())


def _job(read: YamlText, where: str, folder: Path) -> Job:
    if not isinstance(read.content, dict):
        raise BadTable(
            f"'{where}' must hold `field: value` lines; it holds {type(read.content).__name__}. Add `clips`."
        )
    try:
        return Job.model_validate(_tuples(read.content), context={"folder": str(folder)})
    except ValidationError as error:
        found = error.errors(include_url=False)
    broken = {item["loc"][: len(item["loc"]) - 1 - depth] for item in found for depth in range(len(item["loc"]) - 1)}
    # a list that lost its broken items is not also too short
    told = [item for item in found if item["type"] != "too_short" or item["loc"] not in broken]
    problems = list(dict.fromkeys(map(partial(_said, read), told)))
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    raise BadTable(f"'{where}': {'; '.join(problems[:MAX_PROBLEMS])}{more}. `detour jobs schema` describes the form.")


def _tuples(value: Any) -> Any:
    """Lists as tuples, which is what frozen values hold."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _inside(value: Any, step: int | str) -> bool:
    if isinstance(value, list | tuple):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _said(read: YamlText, error: Any) -> str:
    """One problem with its line; the places that our forms of a value add to pydantic's are left out."""
    place: tuple[str | int, ...] = ()
    value = read.content
    for step in error["loc"]:
        if _inside(value, step):
            place, value = (*place, step), value[step]
    unknown = (error.get("ctx") or {}).get("name") if error["type"] == "unknown_name" else None
    line = read.line(place if unknown is None else (*place, str(unknown)))
    missing = f"{error['loc'][-1]}: " if error["type"] == "missing" else ""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    got = f" (it is {json.dumps(value)[:60]})" if value is None or isinstance(value, str | int | float) else ""
    head = f"line {line}: " if read.lines else ""
    said = error["msg"].replace("valid tuple", "list").replace("Tuple", "The list").removesuffix(".")
    return f"{head}{name + ': ' if name else ''}{missing}{said}{got}"
