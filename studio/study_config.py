"""What a grounding study is asked for: read from YAML, every field checked."""

from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from studio.placement import DISTANCES_M
from studio.town_sprites import KINDS
from studio.yaml_files import read_yaml, yaml_of
from worldmodel.errors import BadRequest, BadTable, UnknownName
from worldmodel.town.scene import CAMERA_YAWS_DEG

VARIANTS = tuple(DISTANCES_M)
Pair = tuple[str, str]
PRIMARY: tuple[Pair, ...] = (("near", "sky_near"), ("far", "sky_far"))
FARTHEST_M = 40.0  # of the sweep: so far the lane is known to be free


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study on scenes of the town, or on the recordings of a dataset.

    Attributes:
        planners: Names as of `detour plan`, or checkpoint folders.
        dataset: Folder of a dataset; empty for scenes of the town, the only ones with a true answer.
        variants: Of `placement.DISTANCES_M`.
        primary: Pairs of variants whose reactions are compared, the one that should be larger first. They are fixed here, before
            anything runs, and corrected for together; every other comparison is exploratory.
        comparisons: Pairs of planners whose reactions are compared, scene by scene.
        shown: Planners of whom the report shows examples; empty for the first one.
        kind: What is stitched.
        distances_m: Where it stands in the sweep over distances; the variants' own places are left out.
        sizes: Its sizes in the sweep over sizes, at `near`'s place; 1 is its own.
        sweep_every: Of so many scenes with an eligible moment one is swept.
        scenes: How many are looked at, in a dataset at most; those without an eligible moment are counted.
        situations: Names, in turn; empty for all.
        split: 'train', 'val' or 'test': whose seeds.
        seed: Where in the split's seeds to start; of the plans' noise and of the intervals, too.
        samples: Paired plans per answer, of planners that draw.
        moments_s: Where an eligible moment is looked for, the first one counts; seconds from the scene's start.
        stretch_s: Recordings are cut into stretches of this length, each of which counts as a scene.
        without_boxes: Whether recordings without labelled boxes are used, although nobody knows that the lane is free.
        history_s: What planners see that do not say how much they need.
        cameras, width_px, height_px: The town's rig; a dataset has its own.
        frequency_hz: Frames per second; a dataset has its own.
        model: Checkpoint folder of the world model; empty for the one that ships.
    """

    planners: tuple[str, ...]
    dataset: str = ""
    variants: tuple[str, ...] = VARIANTS
    primary: tuple[Pair, ...] = PRIMARY
    comparisons: tuple[Pair, ...] = ()
    shown: tuple[str, ...] = ()
    kind: str = "car"
    distances_m: tuple[float, ...] = ()
    sizes: tuple[float, ...] = ()
    sweep_every: int = 4
    scenes: int = 200
    situations: tuple[str, ...] = ()
    split: str = "test"
    seed: int = 0
    samples: int = 8
    moments_s: tuple[float, ...] = (2.0, 2.5, 3.0, 3.5, 4.0)
    stretch_s: float = 10.0
    without_boxes: bool = False
    history_s: float = 2.0
    cameras: int = 3
    width_px: int = 128
    height_px: int = 64
    frequency_hz: float = 8.0
    model: str = ""

    def __post_init__(self) -> None:
        if not self.planners or not self.variants or not self.moments_s:
            raise BadRequest("a study needs at least one planner, one variant and one moment. Name them.")
        for what, known, named in (
            ("variant", VARIANTS, (*self.variants, *chain(*self.primary))),
            ("kind of sprite", tuple(KINDS), (self.kind,)),
            ("planner of this study", self.planners, (*chain(*self.comparisons), *self.shown)),
        ):
            for name in named:
                if name not in known:
                    raise UnknownName(what, name, known)
        if self.cameras not in CAMERA_YAWS_DEG:
            raise BadRequest(
                f"the town has rigs with 1, 3 or 6 cameras; {self.cameras} are asked for. Choose one of these."
            )
        for names in (self.planners, self.variants):
            if len(set(names)) < len(names):
                raise BadRequest(f"each planner and variant is named once; got {', '.join(names)}. Remove the doubles.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name, low, high in (
            ("scenes", 1, 100_000),
            ("samples", 1, 256),
            ("sweep_every", 1, 100_000),
            ("stretch_s", 1, 3600),
            ("width_px", 16, 4096),
            ("height_px", 16, 4096),
            ("distances_m", 3, FARTHEST_M),
            ("sizes", 0.1, 3),
        ):
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if not low <= one <= high:
                    raise BadRequest(f"{name} is {one:g}; it must be {low:g} to {high:g}. Correct it.")
        if not 0 < self.history_s <= min(self.moments_s) + 1 / self.frequency_hz:
            raise BadRequest(
                f"planners are to see {self.history_s:g} s, but the first moment is {min(self.moments_s):g} s after the scene's "
                "start. Choose later moments or less history."
            )


def read_study(path: Path) -> StudyConfig:
    """A study from a YAML file of `StudyConfig`'s fields.

    Raises:
        BadTable: if the file cannot be read, is no mapping, or a field has another type.
        UnknownName: for a field, variant, kind or compared planner that does not exist.
        BadRequest: for a value out of range.
    """
    return _study(read_yaml(path, "a study").content, str(path))


def study_of(text: str, path: str) -> StudyConfig:
    """A study from the text of a YAML file; `path` is what errors call it.

    Raises:
        BadTable, UnknownName, BadRequest: as `read_study`.
    """
    return _study(yaml_of(text, path, "a study").content, path)


def _study(content: Any, path: str) -> StudyConfig:
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(content, dict):
        raise BadTable(f"'{path}' must hold `field: value` lines; it holds {type(content).__name__}.")
    known = [field.name for field in fields(StudyConfig)]
    for name in content:
        if name not in known:
            raise UnknownName("field of a study", str(name), known)
    if "planners" not in content:
        raise BadTable(f"'{path}' names no planners. Add e.g. `planners: [joint, constant-velocity]`.")
    values = {}
    for field in fields(StudyConfig):
        if field.name in content:
            kind: Any = field.type
            try:
                values[field.name] = TypeAdapter(kind).validate_python(content[field.name])
            except ValidationError as error:
                raise BadTable(f"'{path}', field '{field.name}': {error.errors()[0]['msg']}. Correct it.") from error
    return StudyConfig(**values)


def study_yaml(config: StudyConfig) -> str:
    """A study as YAML that `study_of` reads back; fields at their default are left out."""
    import yaml

    told = {field.name: getattr(config, field.name) for field in fields(config)}
    defaults = {field.name: field.default for field in fields(config)}
    kept = {name: _listed(value) for name, value in told.items() if value != defaults[name]}
    return str(yaml.safe_dump(kept, sort_keys=False, default_flow_style=None, width=100))


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, tuple) else value
