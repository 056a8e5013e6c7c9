"""A study between the page's controls, its YAML and its link: three ways to say the same."""

from dataclasses import dataclass, fields, replace
from typing import Any

from policy.foreign.sources import is_foreign
from studio.study_config import StudyConfig, study_of, study_yaml
from studio.web.links import Link
from worldmodel.errors import BadRequest, BadTable

HERE = "the study"  # what errors call the text on the page
MOST_NUMBERS = 32


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the page's controls say; the other fields of a study are only in its YAML.

    Attributes:
        planners, dataset, scenes, samples, kind, seed, variants, sweep_every: As `StudyConfig`.
        distances, sizes: Numbers with commas between them.
    """

    planners: tuple[str, ...]
    dataset: str
    scenes: int
    samples: int
    kind: str
    seed: int
    variants: tuple[str, ...]
    distances: str
    sizes: str
    sweep_every: int


def form_of(config: StudyConfig) -> Form:
    """How the controls stand for a study."""
    return Form(
        planners=config.planners,
        dataset=config.dataset,
        scenes=config.scenes,
        samples=config.samples,
        kind=config.kind,
        seed=config.seed,
        variants=config.variants,
        distances=_told(config.distances_m),
        sizes=_told(config.sizes),
        sweep_every=config.sweep_every,
    )


def with_form(text: str, form: Form) -> StudyConfig:
    """The study in `text`, with what the controls say; comparisons and examples of planners that are gone go, too.

    Raises:
        BadTable, UnknownName, BadRequest: if the text or the controls make no study.
    """
    if not form.planners:
        raise BadRequest("no planner is chosen. Choose at least one under 'Planners'.")
    before = read(text)
    kept = set(form.planners)
    asked = {item.name: getattr(form, item.name) for item in fields(Form) if item.name not in ("distances", "sizes")}
    return replace(
        before,
        **asked,
        distances_m=_numbers("Distances", form.distances),
        sizes=_numbers("Sizes", form.sizes),
        comparisons=tuple(pair for pair in before.comparisons if set(pair) <= kept),
        shown=tuple(name for name in before.shown if name in kept),
    )


def read(text: str) -> StudyConfig:
    """The study that the page's YAML says.

    Raises:
        BadTable, UnknownName, BadRequest: as `study_of`.
    """
    return study_of(text, HERE)


def link_of(config: StudyConfig) -> Link:
    """The study as a link: each field that is not at its default. Policies of the visitor's own are left out, as links name no code."""
    import yaml

    told = yaml.safe_load(study_yaml(config))
    named = {name for name in config.planners if not is_foreign(name)}
    told["planners"] = [name for name in config.planners if name in named]
    for lists in ("comparisons", "shown"):
        if lists in told:
            told[lists] = [one for one in told[lists] if {*([one] if isinstance(one, str) else one)} <= named]
    if not named:
        return Link(page="study")
    return Link(page="study", values={name: _line(value) for name, value in told.items()})


def study_of_link(link: Link) -> StudyConfig:
    """The study that a link says. Links come from anywhere, so they name no code.

    Raises:
        BadTable, UnknownName, BadRequest: if it makes no study, or names a policy of the visitor's own.
    """
    config = study_of("".join(f"{_plain(name)}: {value}\n" for name, value in link.values.items()), "the link")
    own = [name for name in config.planners if is_foreign(name)]
    if own:
        raise BadRequest(
            f"the link names '{own[0][:80]}', which would run code of whoever wrote the link. Add a policy of your own on the page itself."
        )
    return config


def _plain(name: str) -> str:
    if not name.isidentifier():
        raise BadTable(f"the link names '{name[:40]}', which is no field of a study. Remove it.")
    return name


def _line(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, default_flow_style=True, width=100_000)).removesuffix("...\n").strip()


def _told(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _numbers(what: str, text: str | None) -> tuple[float, ...]:
    parts = [part for part in (text or "").replace(";", ",").split(",") if part.strip()]
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError as error:
        raise BadRequest(
            f"{what}: '{(text or '')[:60]}' are no numbers. Write e.g. '8, 16, 25', or leave it empty."
        ) from error
    if len(numbers) > MOST_NUMBERS:
        raise BadRequest(f"{what}: {len(numbers)} numbers are given; at most {MOST_NUMBERS} are used. Leave some out.")
    return numbers
