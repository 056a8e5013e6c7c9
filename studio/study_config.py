"""What a grounding study is asked for: read from YAML, every field checked."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from studio.placement import DISTANCES_M
from studio.town_sprites import KINDS
from worldmodel.errors import BadRequest, BadTable, UnknownName
from worldmodel.town.scene import CAMERA_YAWS_DEG

MAX_BYTES = 1_000_000
VARIANTS = tuple(DISTANCES_M)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study on scenes of the town.

    Attributes:
        planners: Names as of `detour plan`, or checkpoint folders.
        variants: Of `placement.DISTANCES_M`.
        kind: What is stitched.
        scenes: How many are looked at; those without an eligible moment are counted.
        situations: Names, in turn; empty for all.
        split: 'train', 'val' or 'test': whose seeds.
        seed: Where in the split's seeds to start; of the plans' noise and of the intervals, too.
        samples: Paired plans per answer, of planners that draw.
        moments_s: Where an eligible moment is looked for, the first one counts; seconds from the scene's start.
        history_s: What the planners see.
        cameras, width_px, height_px: The town's rig.
        frequency_hz: Frames per second.
        model: Checkpoint folder of the world model; empty for the one that ships.
    """

    planners: tuple[str, ...]
    variants: tuple[str, ...] = VARIANTS
    kind: str = "car"
    scenes: int = 200
    situations: tuple[str, ...] = ()
    split: str = "test"
    seed: int = 0
    samples: int = 8
    moments_s: tuple[float, ...] = (2.0, 2.5, 3.0, 3.5, 4.0)
    history_s: float = 2.0
    cameras: int = 3
    width_px: int = 128
    height_px: int = 64
    frequency_hz: float = 8.0
    model: str = ""

    def __post_init__(self) -> None:
        if not self.planners or not self.variants or not self.moments_s:
            raise BadRequest("a study needs at least one planner, one variant and one moment. Name them.")
        for variant in self.variants:
            if variant not in VARIANTS:
                raise UnknownName("variant", variant, VARIANTS)
        if self.kind not in KINDS:
            raise UnknownName("kind of sprite", self.kind, KINDS)
        if self.cameras not in CAMERA_YAWS_DEG:
            raise BadRequest(f"the town has rigs with 1, 3 or 6 cameras; {self.cameras} are asked for.")
        for names in (self.planners, self.variants):
            if len(set(names)) < len(names):
                raise BadRequest(f"each planner and variant is named once; got {', '.join(names)}. Remove the doubles.")
        for name, low, high in (
            ("scenes", 1, 100_000),
            ("samples", 1, 256),
            ("width_px", 16, 4096),
            ("height_px", 16, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise BadRequest(f"{name} is {getattr(self, name)}; it must be {low} to {high}. Correct it.")
        if not 0 < self.history_s <= min(self.moments_s) + 1 / self.frequency_hz:
            raise BadRequest(
                f"planners are to see {self.history_s:g} s, but the first moment is {min(self.moments_s):g} s after the scene's "
                "start. Choose later moments or less history."
            )


def read_study(path: Path) -> StudyConfig:
    """A study from a YAML file of `StudyConfig`'s fields.

    Raises:
        BadTable: if the file cannot be read, is no mapping, or a field has another type.
        UnknownName: for a field, variant or kind that does not exist.
        BadRequest: for a value out of range.
    """
    import yaml
    from pydantic import TypeAdapter, ValidationError

    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadTable(f"'{path}' has {path.stat().st_size} bytes; a study has at most {MAX_BYTES}. Shorten it.")
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadTable(f"'{path}' cannot be read as YAML ({error}). Write `field: value` lines.") from error
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
