"""Which moments of which recordings a job file names."""

from typing import Annotated

from pydantic import AfterValidator, Field, Tag, model_validator

from studio.jobs.plan.job_values import BY_FORM, Strict, place, wrong

MAX_NAMES = 10_000
MAX_EVERY_S = 3600.0


class Every(Strict):
    """Moments at regular times, as far as the recording has something to see before and something after them."""

    every: Annotated[float, Field(gt=0, le=MAX_EVERY_S)]
    start_s: Annotated[float, Field(ge=0)] = 0.0
    end_s: Annotated[float, Field(ge=0)] | None = None


def _regularly(text: str) -> str:
    words = text.split()
    try:
        fine = len(words) == 2 and words[0] == "every" and 0 < float(words[1]) <= MAX_EVERY_S
    except ValueError:
        fine = False
    if not fine:
        raise wrong(f"'{text:.80}' is no time. Write seconds, a list of them, or 'every 2.0'")
    return text


class Filter(Strict):
    """Which moments count; all that is said must hold.

    Attributes:
        text: Part of what the driver is told at that moment, whatever its case.
        speed_mps: Lowest and highest speed at that moment.
        situations: Of clips of the town: names, wildcards are fine.
        motion: Whether there is ego motion.
        boxes: Whether somebody labelled it.
        duration_s: Shortest and longest recording.
    """

    text: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    speed_mps: tuple[float, float] | None = None
    situations: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)] | None = None
    motion: bool | None = None
    boxes: bool | None = None
    duration_s: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _ranges_go_up(self) -> "Filter":
        for name in ("speed_mps", "duration_s"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] <= limits[1]:
                raise wrong(
                    f"{name} goes from {limits[0]:g} to {limits[1]:g}; the first must not be larger. Turn it around"
                )
        return self


_Seconds = Annotated[float, Field(ge=0, le=86_400)]
_Number = Annotated[int, Field(ge=0, le=10**9)]
_At = Annotated[
    Annotated[str, AfterValidator(_regularly), Tag("text")]
    | Annotated[_Seconds, Tag("number")]
    | Annotated[tuple[_Seconds, ...], Field(min_length=1, max_length=MAX_NAMES), Tag("list")]
    | Annotated[Every, Tag("mapping")],
    BY_FORM,
]
_Name = Annotated[Annotated[str, Tag("text")] | Annotated[_Number, Tag("number")], BY_FORM]
_Episodes = Annotated[
    Annotated[str, Field(min_length=1, max_length=MAX_NAMES), Tag("text")]
    | Annotated[_Number, Tag("number")]
    | Annotated[tuple[_Name, ...], Field(min_length=1, max_length=MAX_NAMES), Tag("list")],
    BY_FORM,
]


class Clips(Strict):
    """Which moments of which recordings.

    Attributes:
        dataset: Folder or address; `*`, `?` and `[...]` are wildcards.
        episodes: '0-9, 12', or a list of numbers and names of clips (wildcards are fine); null for all.
        at_s: Seconds into the recording: a number, a list, 'every 2.0', or {every, start_s, end_s}; null for the moment that
            `detour imagine` would choose for the sweep's longest horizon.
        filter: Which of them count.
        limit: So many at most of all that `dataset` names.
        seed: Which ones then; null for the first.
    """

    dataset: Annotated[str, Field(max_length=4000), AfterValidator(place)]
    episodes: _Episodes | None = None
    at_s: _At | None = None
    filter: Filter = Filter()
    limit: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None

    @property
    def moments(self) -> tuple[float, ...] | Every | None:
        """`at_s` in one of three forms."""
        if isinstance(self.at_s, str):
            return Every(every=float(self.at_s.split()[1]))
        return (self.at_s,) if isinstance(self.at_s, float | int) else self.at_s

    @property
    def wanted(self) -> tuple[int | str, ...] | None:
        """`episodes` as a list of numbers, ranges and names; None for all."""
        if self.episodes is None or isinstance(self.episodes, tuple):
            return self.episodes
        return (self.episodes,) if isinstance(self.episodes, int) else tuple(map(str.strip, self.episodes.split(",")))
