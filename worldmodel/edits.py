"""Edits: one change to a clip, as plain data that travels as JSON."""

import json
import math
from dataclasses import Field, asdict, dataclass, fields
from typing import Any

from worldmodel.errors import BadEdit, UnknownName


@dataclass(frozen=True, kw_only=True)
class StitchSprite:
    """Paste a picture of an object into the frames, at a place in the world or moving along it.

    Attributes:
        variant: 'near', 'far', 'very_far', their twins in the sky 'sky_near', 'sky_far' and 'sky', 'lookalike' or 'empty'.
        kind: Which sprite, e.g. 'car'.
        at_s: The moment whose ego frame the placement refers to, seconds from the clip's start.
        x_m, y_m: Where the middle of the side that faces the ego touches the ground at that moment, metres ahead and to
            the left; None for the variant's own place.
        z_m: Height of its feet above the ground, metres; 0 stands.
        yaw_rad: Its heading against the ego's; 0 shows the ego its back.
        speed_mps: How fast it moves along its heading; 0 stands.
    """

    variant: str = "near"
    kind: str = "car"
    at_s: float = 0.0
    x_m: float | None = None
    y_m: float | None = None
    z_m: float = 0.0
    yaw_rad: float = 0.0
    speed_mps: float = 0.0


@dataclass(frozen=True, kw_only=True)
class InsertActor:
    """Put a new road user into a town scene at `at_s`, placed in the ego frame of that moment."""

    kind: str
    x_m: float
    y_m: float
    yaw_rad: float = 0.0
    speed_mps: float = 0.0
    at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MoveActor:
    """Move an existing road user of a town scene by (x_m, y_m) along the ego axes of `at_s`."""

    track: str
    x_m: float
    y_m: float
    at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RemoveActor:
    """Take a road user out of a town scene from `at_s` on."""

    track: str
    at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChangeInstruction:
    """Say something else from `at_s` on."""

    text: str
    at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChangeMotion:
    """Drive another way from `at_s` on: steps (forward m, left m, yaw rad), one per frame."""

    deltas: tuple[tuple[float, float, float], ...]
    at_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChangeWeather:
    """Another weather ('clear', 'overcast', 'fog', ...) and hour (0 to 24)."""

    weather: str
    hour: float = 12.0


Edit = StitchSprite | InsertActor | MoveActor | RemoveActor | ChangeInstruction | ChangeMotion | ChangeWeather
KINDS: dict[str, type[Edit]] = {
    kind.__name__: kind
    for kind in (StitchSprite, InsertActor, MoveActor, RemoveActor, ChangeInstruction, ChangeMotion, ChangeWeather)
}


def edit_to_json(edit: Edit) -> str:
    """One line of JSON; `edit_from_json` gives back an equal edit."""
    return json.dumps({"edit": type(edit).__name__, **asdict(edit)})


def edit_from_json(text: str) -> Edit:
    """Read what `edit_to_json` wrote.

    Raises:
        BadEdit: if it is not an object, or a field is missing or of another type, or a number is not finite.
        UnknownName: if there is no such edit or field; the closest is offered.
    """
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadEdit(f"an edit must be JSON; {error}.") from error
    if not isinstance(data, dict) or not isinstance(data.get("edit"), str):
        raise BadEdit(f"an edit is a JSON object with a field 'edit'; got {text[:80]!r}.")
    name = data.pop("edit")
    if name not in KINDS:
        raise UnknownName("edit", name, KINDS)
    known = {field.name for field in fields(KINDS[name])}
    for key in data:
        if key not in known:
            raise UnknownName(f"field of {name}", key, known)
    values = {
        field.name: _checked(name, field, data[field.name]) for field in fields(KINDS[name]) if field.name in data
    }
    try:
        return KINDS[name](**values)
    except TypeError as error:
        raise BadEdit(f"{name}: {error}.") from error


def _checked(edit: str, field: Field[Any], value: Any) -> Any:
    """The value of a field that came from outside, or say what it should be."""
    if field.type is str:
        good, need = isinstance(value, str), "a text"
    elif field.type is float:
        good, need = _is_number(value), "a finite number"
    elif field.type == float | None:
        good, need = value is None or _is_number(value), "a finite number or null"
    else:
        good, need = isinstance(value, list) and all(map(_is_step, value)), "rows of three finite numbers"
        value = tuple(tuple(map(float, row)) for row in value) if good else value
    if not good:
        raise BadEdit(f"{edit}.{field.name} is {value!r}; it must be {need}. Correct it.")
    return value


def _is_step(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 3 and all(map(_is_number, row))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
