"""What a job file may vary: texts, seeds, actions, edits, horizons, and how futures are sampled."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from math import prod
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from studio.jobs.plan.job_values import BY_FORM, Numbers, Strict, checked, place, wrong
from studio.placement import DISTANCES_M, MAX_PLACE_M, MAX_SPEED_MPS
from studio.town_sprites import KINDS
from worldmodel.clips import check_instruction
from worldmodel.errors import UnknownName
from worldmodel.sampling import Sampling

MAX_VALUES = 10_000
MAX_SECONDS = 3600.0
MAX_SEED = 2**53  # whole numbers that JSON keeps everywhere
MOVES = ("policy", "recorded")
MEMORIES = ("full", "window", "selective")


def _schedule(value: Any) -> None:
    import json

    from worldmodel.guidance import parse_schedule

    parse_schedule(value if isinstance(value, str) else json.dumps(value))


def _known(what: str, names: Any, value: str) -> None:
    if value not in names:
        raise UnknownName(what, value, names)


def _sampled(name: str, value: Any) -> None:
    Sampling(**{name: value})


def _one_of(what: str, names: Iterable[str]) -> AfterValidator:
    return AfterValidator(checked(partial(_known, what, tuple(names))))


def _listed(names: Iterable[str]) -> Any:
    """The schema lists the names."""
    return Field(json_schema_extra={"enum": list(names)})


def _key_or(*names: str) -> Callable[[Any], str]:
    """Which of several forms a value has, so that messages speak of that one alone."""

    def kind(value: Any) -> str:
        keys = type(value).model_fields if isinstance(value, Strict) else value
        if not isinstance(keys, dict):
            return "text"
        return next((name for name in names if name in keys), names[0])

    return kind


def _sampling_of(name: str) -> AfterValidator:
    return AfterValidator(checked(partial(_sampled, name)))


class Schedule(Strict):
    """Texts that change on the way: '0:follow the road;2:turn left', or [[0, "follow the road"], [2, "turn left"]]."""

    schedule: Annotated[
        Annotated[str, Tag("text")] | Annotated[tuple[tuple[float, str], ...], Tag("list")],
        BY_FORM,
        AfterValidator(checked(_schedule)),
    ]


class Constant(Strict):
    """A steady drive; the speed of now where none is given."""

    speed_mps: Annotated[float, Field(ge=0, le=60)] | None = None
    yaw_rate_dps: Annotated[float, Field(ge=-90, le=90)] = 0.0


class ConstantActions(Strict):
    """The ego keeps its speed and turns steadily."""

    constant: Constant
    name: Annotated[str, Field(max_length=80)] = ""


class FileActions(Strict):
    """The ego drives a path: a CSV with columns t, x, y, yaw in the ego frame of now."""

    file: Annotated[str, AfterValidator(place)]
    name: Annotated[str, Field(max_length=80)] = ""


class EditWish(Strict):
    """What is put into the clip, as `detour stitch` does it."""

    variant: Annotated[str, _one_of("variant", DISTANCES_M), _listed(DISTANCES_M)] = "near"
    kind: Annotated[str, _one_of("kind of sprite", KINDS), _listed(KINDS)] = "car"
    height_m: Annotated[float, Field(gt=0, le=20)] | None = None
    x_m: Annotated[float, Field(ge=-MAX_PLACE_M, le=MAX_PLACE_M)] | None = None
    y_m: Annotated[float, Field(ge=-MAX_PLACE_M, le=MAX_PLACE_M)] | None = None
    yaw_deg: Annotated[float, Field(ge=-360, le=360)] = 0.0
    speed_mps: Annotated[float, Field(ge=-MAX_SPEED_MPS, le=MAX_SPEED_MPS)] = 0.0


class MemoryWish(Strict):
    """A memory and its sizes, as `detour imagine` takes them."""

    name: Annotated[str, _one_of("memory", MEMORIES), _listed(MEMORIES)] = "window"
    sink: int = 1
    recent: int | None = None
    video_budget: int = 4
    action_budget: int = 16
    balance: float = 0.5

    def sizes(self) -> dict[str, Any]:
        """The fields of `Sampling` that it stands for."""
        return {"memory" if name == "name" else name: value for name, value in self.model_dump().items()}

    @model_validator(mode="after")
    def _sizes_make_sense(self) -> "MemoryWish":
        checked(MemoryWish._sampled)(self)
        return self

    def _sampled(self) -> Sampling:
        return Sampling(**self.sizes())


class Scales(Strict):
    """Scales of guidance; 1 is plain and costs nothing."""

    history: Annotated[float, _sampling_of("guidance_history")] = 1.0
    motion: Annotated[float, _sampling_of("guidance_motion")] = 1.0
    text: Annotated[float, _sampling_of("guidance_text")] = 1.0

    def sizes(self) -> dict[str, Any]:
        """The fields of `Sampling` that it stands for."""
        return {f"guidance_{name}": value for name, value in self.model_dump().items()}


def _named_memory(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _check_seeds(value: Any) -> Any:
    """The largest of all seeds must still be a whole number everywhere; the count is bounded at expansion."""
    found = Numbers(value).ranges
    if not found or min(part.start for part in found) < 0 or max(part.stop for part in found) > MAX_SEED:
        raise wrong(f"seeds must be there, and from 0 to {MAX_SEED - 1}. Write them as 0-7 or [1, 2, 3]")
    return value


Text = Annotated[
    Annotated[str, AfterValidator(checked(check_instruction)), Tag("text")] | Annotated[Schedule, Tag("schedule")],
    Discriminator(_key_or("schedule")),
]
Action = Annotated[
    Annotated[str, _one_of("kind of actions", MOVES), _listed(MOVES), Tag("text")]
    | Annotated[ConstantActions, Tag("constant")]
    | Annotated[FileActions, Tag("file")],
    Discriminator(_key_or("constant", "file")),
]
Memory = Annotated[
    MemoryWish,
    BeforeValidator(_named_memory, json_schema_input_type=str | MemoryWish),
]
_Seed = Annotated[Annotated[int, Tag("number")] | Annotated[str, Tag("text")], BY_FORM]
Seeds = Annotated[
    Annotated[int, Tag("number")]
    | Annotated[str, Tag("text")]
    | Annotated[tuple[_Seed, ...], Field(min_length=1, max_length=MAX_VALUES), Tag("list")],
    BY_FORM,
    AfterValidator(_check_seeds),
]
Some = Field(min_length=1, max_length=MAX_VALUES)


class Sweep(Strict):
    """Lists of values; every combination is one unit of every moment.

    Attributes:
        texts: What the driver is told; null for the recording's own instruction.
        seeds: 0-7, or [1, 2, 3], or a mixture: ["0-7", 12].
        actions: policy (imagined), recorded (as driven), {constant: ...} or {file: PATH.csv}.
        edits: What is put into the clip; null for nothing.
        seconds: Horizons; 0 where only planners are asked.
        steps, samplers: Sampling steps per chunk; euler or heun.
        memories: Names, or names with sizes.
        guidance: Scales.
        history_noise: On imagined chunks as they are remembered; null: as trained.
    """

    texts: Annotated[tuple[Text | None, ...], Some] = (None,)
    seeds: Seeds = 0
    actions: Annotated[tuple[Action, ...], Some] = ("policy",)
    edits: Annotated[tuple[EditWish | None, ...], Some] = (None,)
    seconds: Annotated[tuple[Annotated[float, Field(ge=0, le=MAX_SECONDS)], ...], Some] = (4.0,)
    steps: Annotated[tuple[Annotated[int, _sampling_of("steps")], ...], Some] = (8,)
    samplers: Annotated[tuple[Annotated[str, _sampling_of("sampler")], ...], Some] = ("euler",)
    memories: Annotated[tuple[Memory, ...], Some] = (MemoryWish(),)
    guidance: Annotated[tuple[Scales, ...], Some] = (Scales(),)
    history_noise: Annotated[tuple[Annotated[float, _sampling_of("history_noise")] | None, ...], Some] = (None,)

    def counts(self) -> dict[str, int]:
        """How many values each list has."""
        return {name: len(Numbers(self.seeds)) if name == "seeds" else len(getattr(self, name)) for name in _LISTS}

    @property
    def count(self) -> int:
        """Combinations; counted, not written out."""
        return prod(self.counts().values())

    def samplings(self) -> Iterator[Sampling]:
        """Every way to sample, in order."""
        for steps, sampler, memory, scales, noise in product(
            self.steps, self.samplers, self.memories, self.guidance, self.history_noise
        ):
            sizes = {**memory.sizes(), **scales.sizes()}
            yield Sampling(steps=steps, sampler=sampler, history_noise=noise, **sizes)


_LISTS = tuple(Sweep.model_fields)
