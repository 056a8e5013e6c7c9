"""What a foreign policy says of itself: what its numbers mean, what it wants to see, how long it may think.

frame: x-right-y-forward      # or x-forward-y-left, x-forward-y-right
units: m                      # or cm, ft
rate_hz: 2                    # points at 0.5, 1.0, ... 3.0 s; or times_s: [0.5, 1, ...]
steps: 6
heading: derived              # or, with a third number per point: x-to-y, forward-to-left, forward-to-right
relative_to: ego-now          # or previous-point
ahead_of_rear_axle_m: 0       # which point of the car the points are of
beyond: straight-on           # only for policies that say less than 4 s
randomness: none              # or seeded, unseeded
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from policy.foreign.convention import ANGLES_RAD, BEYOND, FRAMES, HEADINGS, RELATIVE_TO, UNITS_M, Convention
from worldmodel.errors import BadPolicy

RANDOMNESS = ("none", "seeded", "unseeded")
PICTURES_AS = ("base64", "path", "raw")
ENCODINGS = ("png", "jpeg")
CHOICES: dict[str, Sequence[str]] = {
    "frame": tuple(FRAMES),
    "units": tuple(UNITS_M),
    "heading": HEADINGS,
    "angles": tuple(ANGLES_RAD),
    "relative_to": RELATIVE_TO,
    "beyond": BEYOND,
    "randomness": RANDOMNESS,
    "pictures_as": PICTURES_AS,
    "encoding": ENCODINGS,
}
NEEDED = ("frame", "units", "heading", "relative_to", "ahead_of_rear_axle_m")
TIMES = ("rate_hz", "steps", "times_s")
MEANING = (*NEEDED, *TIMES, "angles", "beyond")
LONGEST_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a foreign policy wants to see, and how it is run.

    Attributes:
        name: Printed beside every number; empty for the name of its class or command.
        randomness: 'none', 'seeded' (the same seed gives the same answer) or 'unseeded'.
        cameras: Names, in the order wanted; None for all, empty for none.
        width_px, height_px: Size of the pictures; None for their own.
        pictures: How many moments are shown, the newest last; None for all that are known.
        pictures_hz: Their rate; None for the recording's.
        ego_history_s: How far back a process is told its own way, at the recording's rate; None for as far as its pictures go.
        pictures_as: 'base64', 'path' (files, overwritten by the next request) or 'raw' (base64 of the bytes [time, camera, h, w, 3]).
        encoding: 'png' or 'jpeg'; of 'base64' and 'path'.
        timeout_s: Longest answer.
        start_timeout_s: Longest start, weights included.
    Raises:
        BadPolicy: for values out of range.
    """

    name: str = ""
    randomness: str = ""
    cameras: tuple[str, ...] | None = None
    width_px: int | None = None
    height_px: int | None = None
    pictures: int | None = None
    pictures_hz: float | None = None
    ego_history_s: float | None = None
    pictures_as: str = "base64"
    encoding: str = "png"
    timeout_s: float = 10.0
    start_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("randomness", "pictures_as", "encoding"):
            _known(name, getattr(self, name))
        for name, least, most in (
            ("width_px", 8, 4096),
            ("height_px", 8, 4096),
            ("pictures", 1, 1000),
            ("pictures_hz", 0.1, 1000),
            ("ego_history_s", 0.01, 60),
            ("timeout_s", 0.01, LONGEST_S),
            ("start_timeout_s", 0.01, LONGEST_S),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise BadPolicy(f"{name} is declared as {value:g}; it must be {least:g} to {most:g}. Correct it.")
        if (self.width_px is None) != (self.height_px is None):
            raise BadPolicy("of width_px and height_px one is declared; pictures have both. Declare both, or none.")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """Everything a foreign policy declares.

    Attributes:
        needs: What it sees, and how it is run.
        convention: What its numbers mean; None for a class that returns our own `Plan`.
    """

    needs: Needs
    convention: Convention | None


def declaration_of(content: Mapping[str, Any], where: str, *, plans: bool = False) -> Declaration:
    """A declaration from plain data; what is missing is refused with its choices, never guessed.

    Args:
        content: Fields of `Needs` and `Convention`; `rate_hz` and `steps` may stand for `times_s`.
        where: Goes into messages.
        plans: Whether it may declare no convention at all, because it returns our own `Plan`.
    Raises:
        BadPolicy: for a missing or unknown field, or a value that makes no sense.
    """
    if not isinstance(content, Mapping):
        raise BadPolicy(
            f"{where} declares {_shown(content)}; it must be `field: value` pairs. See docs/your-policy.md."
        )
    known = {*(field.name for field in fields(Needs)), *MEANING}
    for name in content:
        if name not in known:
            raise BadPolicy(f"{where} declares '{name}', which is no field. Use {', '.join(sorted(known))}.")
    if "randomness" not in content:
        raise _missing(where, "randomness")
    if plans and not any(name in content for name in MEANING):
        return Declaration(needs=_needs(content, where), convention=None)
    return Declaration(needs=_needs(content, where), convention=_convention(content, where))


def merged(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Two declarations of one policy as one.

    Raises:
        BadPolicy: if they say different things.
    """
    for name in one:
        if name in other and one[name] != other[name]:
            raise BadPolicy(
                f"{where} says {name} is {_shown(one[name])}, and the policy itself says {_shown(other[name])}; they must agree. "
                "Remove one of the two."
            )
    return {**other, **one}


def _needs(content: Mapping[str, Any], where: str) -> Needs:
    return Needs(**{f.name: _typed(content[f.name], f, where) for f in fields(Needs) if f.name in content})


def _convention(content: Mapping[str, Any], where: str) -> Convention:
    for name in NEEDED:
        if name not in content:
            raise _missing(where, name)
    values = {f.name: content[f.name] for f in fields(Convention) if f.name in content}
    values["times_s"] = _times(content, where)
    for name in ("frame", "units", "heading", "angles", "relative_to", "beyond"):
        if name in values:
            _known(name, values[name])
    if values["heading"] != "derived" and "angles" not in values:
        raise _missing(where, "angles")
    return Convention(**{f.name: _typed(values[f.name], f, where) for f in fields(Convention) if f.name in values})


def _times(content: Mapping[str, Any], where: str) -> list[float]:
    given = [name for name in TIMES if name in content]
    if given == ["times_s"]:
        return list(content["times_s"]) if isinstance(content["times_s"], Sequence) else [content["times_s"]]
    if given != ["rate_hz", "steps"]:
        said = ", ".join(given) or "nothing"
        raise BadPolicy(
            f"{where} declares {said} of the points' times; it needs `rate_hz` and `steps` (points at 1/rate, 2/rate, ...), or "
            "`times_s`. It is not guessed: declare one of the two."
        )
    rate, steps = content["rate_hz"], content["steps"]
    if not (_is_number(rate) and 0 < rate <= 1000 and isinstance(steps, int) and 1 <= steps <= 1000):
        raise BadPolicy(
            f"{where} declares rate_hz {_shown(rate)} and steps {_shown(steps)}; they must be a rate above 0 and a whole number "
            "of points from 1 to 1000. Correct them."
        )
    return [(number + 1) / rate for number in range(steps)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _typed(value: Any, field: Any, where: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if value is None and field.default is MISSING:
        raise _missing(where, field.name)
    try:
        return TypeAdapter(field.type, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError as error:
        raise BadPolicy(
            f"{where} declares {field.name} as {_shown(value)}: {error.errors()[0]['msg']}. Correct it."
        ) from error


def _known(name: str, value: Any) -> None:
    if value not in CHOICES[name]:
        raise BadPolicy(f"{name} is declared as {_shown(value)}; choose one of {', '.join(CHOICES[name])}.")


def _missing(where: str, name: str) -> BadPolicy:
    choices = ", ".join(CHOICES[name]) if name in CHOICES else "a number of metres, 0 for the rear axle itself"
    return BadPolicy(f"{where} does not declare '{name}', and it is not guessed. Add `{name}:` with one of: {choices}.")


def _shown(value: Any) -> str:
    try:
        return json.dumps(value)[:80]
    except (TypeError, ValueError):
        return repr(value)[:80]
