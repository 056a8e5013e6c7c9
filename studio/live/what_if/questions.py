"""What a visitor asks 'what if' about, as plain values: checked, as an edit, as a link, as a command."""

import math
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from studio.live.imagine.drawn_paths import MOST_WAYPOINTS, Waypoints, checked_waypoints, path_through
from studio.live.imagine.wishes import MAX_SEED, check_number
from studio.placement import DISTANCES_M
from studio.planners import PLANNERS, shipped_names
from studio.town_sprites import KINDS
from studio.web.links import Link
from studio.web.shelf import Choice
from worldmodel.clips import check_instruction
from worldmodel.edits import ChangeInstruction, ChangeMotion, ChangeWeather, Edit, RemoveActor, StitchSprite
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.plans import PLAN_TIMES_S

OBJECT, REMOVE, WEATHER, TEXT, PATH = "object", "remove", "weather", "text", "path"
CHANGES = (OBJECT, REMOVE, WEATHER, TEXT, PATH)
FIRST_PLANNER = "rich/ik"  # of those that ship one that brakes for what it sees
PLACED = "placed"  # where a finger or a hand put it, not a variant's place
VARIANTS = {
    PLACED: "where I put it",
    "near": "on the road, 12 m ahead",
    "far": "on the road, 30 m ahead",
    "very_far": "on the road, 60 m ahead",
    "sky_near": "in the sky, as large as at 12 m (control)",
    "sky_far": "in the sky, as large as at 30 m (control)",
    "sky": "in the sky, as large as at 60 m (control)",
    "lookalike": "a bush of equal size beside the road instead (control)",
    "empty": "nothing pasted (control)",
}
PATH_S = float(PLAN_TIMES_S[-1])  # how long a drawn path lasts
MAX_SECONDS, MAX_SAMPLES, MAX_PLACE_M = 8.0, 32, 150.0


def offered_planners() -> tuple[str, ...]:
    """The planners a visitor can choose: all but the one that imagines before it plans, which takes half a minute."""
    return (*(name for name in PLANNERS if name != "imagining"), *shipped_names())


@dataclass(frozen=True, kw_only=True)
class Question:
    """One change of one moment, and who is asked.

    Attributes:
        choice: The moment; places are in its ego frame.
        change: What differs, one of CHANGES.
        kind, where, x_m, y_m, yaw_deg, speed_mps, height_m: Of an object: what it is, where it stands (one of VARIANTS; x ahead and
            y to the left count when it is PLACED), its heading against the car's (0 shows its back), how fast it moves along
            it, and its height where that is not the usual one (0).
        track: Who is removed.
        weather, hour: The other light.
        text: What the driver is told instead.
        waypoints: The other path; where the car is after each share of PATH_S.
        planner: Who plans twice, one of `offered_planners`.
        samples: Plans whose mean is the answer.
        seed: Of both plans and both futures.
        seconds: How much is imagined after now, on both sides; 0 for nothing.
    """

    choice: Choice
    change: str = OBJECT
    kind: str = "car"
    where: str = "near"
    x_m: float = 12.0
    y_m: float = 0.0
    yaw_deg: float = 0.0
    speed_mps: float = 0.0
    height_m: float = 0.0
    track: str = ""
    weather: str = "fog"
    hour: float = 22.0
    text: str = ""
    waypoints: Waypoints = ()
    planner: str = FIRST_PLANNER
    samples: int = 8
    seed: int = 0
    seconds: float = 2.0

    def __post_init__(self) -> None:
        _check_name("change", self.change, CHANGES)
        _check_name("kind", self.kind, tuple(KINDS))
        _check_name("place", self.where, tuple(VARIANTS))
        _check_name("planner", self.planner, offered_planners())
        for name, (title, low, high) in LIMITS.items():
            check_number(title, getattr(self, name), low, high)
        if self.change == TEXT:
            check_instruction(self.text)
        if self.change == REMOVE and not self.track:
            raise BadRequest("nobody is chosen to be removed. Choose a road user in the list or on the map.")
        if self.change == PATH:
            object.__setattr__(self, "waypoints", checked_waypoints(self.waypoints))

    @property
    def imagined_s(self) -> float:
        """Seconds to imagine: another path shows in nothing else, and lasts PATH_S."""
        return self.seconds if self.change != PATH else min(self.seconds or PATH_S, PATH_S)

    def edit(self, frequency_hz: float, speed_mps: float | None = None) -> Edit:
        """The change as an edit, its time still to be set.

        Args:
            frequency_hz: Of the clip.
            speed_mps: Of the car now, if known.
        """
        if self.change == OBJECT:
            return self.sprite()
        if self.change == REMOVE:
            return RemoveActor(track=self.track)
        if self.change == WEATHER:
            return ChangeWeather(weather=self.weather, hour=self.hour)
        if self.change == TEXT:
            return ChangeInstruction(text=self.text.strip())
        path = path_through(self.waypoints, PATH_S, frequency_hz=frequency_hz, speed_mps=speed_mps)
        return ChangeMotion(deltas=tuple((float(x), float(y), float(yaw)) for x, y, yaw in path.motion().deltas))

    def sprite(self, where: str | None = None) -> StitchSprite:
        """The object as an edit, also at another of the VARIANTS."""
        where = where or self.where
        placed = where == PLACED
        return StitchSprite(
            variant="near" if placed else where,
            kind=self.kind,
            x_m=self.x_m if placed else None,
            y_m=self.y_m if placed else None,
            yaw_rad=math.radians(self.yaw_deg),
            speed_mps=self.speed_mps,
        )

    def command(self, model: Path) -> str:
        """The `detour` command that asks the same."""
        verb = {OBJECT: "stitch", PATH: "imagine"}.get(self.change, "change")
        words = ["detour", verb, self.choice.quoted(), *self._change_words()]
        if self.change == PATH:
            words += ["--actions", "actions.csv", "--seconds", f"{self.imagined_s:g}"]
        else:
            words += ["--planner", self.planner, "--samples", str(self.samples)]
        return " ".join([*words, "--seed", str(self.seed), "--model", shlex.quote(str(model)), "--out", "my-edit"])

    def _change_words(self) -> list[str]:
        if self.change == REMOVE:
            return ["--remove", shlex.quote(self.track)]
        if self.change == WEATHER:
            return ["--weather", self.weather, "--hour", f"{self.hour:g}"]
        if self.change == TEXT:
            return ["--text", shlex.quote(self.text.strip())]
        if self.change == PATH:
            return []
        placed = self.where == PLACED
        words = ["--variant", "near" if placed else self.where, "--kind", self.kind]
        words += ["--x-m", f"{self.x_m:g}", "--y-m", f"{self.y_m:g}"] if placed else []
        words += ["--yaw-deg", f"{self.yaw_deg:g}"] if self.yaw_deg else []
        words += ["--speed-mps", f"{self.speed_mps:g}"] if self.speed_mps else []
        return words + (["--height-m", f"{self.height_m:g}"] if self.height_m else [])

    def values(self) -> dict[str, str]:
        """What a link says of it, besides the clip; what is as by default, or does not matter, is left out."""
        plain = Question(choice=self.choice)
        names = [*OF_CHANGE[self.change], "planner", "samples", "seed", "seconds"]
        if self.change == OBJECT and self.where != PLACED:
            names = [name for name in names if name not in ("x_m", "y_m")]
        said = {"change": self.change} if self.change != plain.change else {}
        for name in names:
            value = getattr(self, name)
            if value != getattr(plain, name):
                said[LINK_NAMES.get(name, name)] = _written(value)
        return said


LIMITS: dict[str, tuple[str, float, float]] = {
    "x_m": ("Metres ahead", -MAX_PLACE_M, MAX_PLACE_M),
    "y_m": ("Metres to the left", -MAX_PLACE_M, MAX_PLACE_M),
    "yaw_deg": ("Heading", -180, 180),
    "speed_mps": ("Speed", 0, 40),
    "height_m": ("Height", 0, 6),
    "hour": ("Hour", 0, 24),
    "samples": ("Plans per answer", 1, MAX_SAMPLES),
    "seed": ("Seed", 0, MAX_SEED),
    "seconds": ("Seconds", 0, MAX_SECONDS),
}
OF_CHANGE: dict[str, tuple[str, ...]] = {
    OBJECT: ("kind", "where", "x_m", "y_m", "yaw_deg", "speed_mps", "height_m"),
    REMOVE: ("track",),
    WEATHER: ("weather", "hour"),
    TEXT: ("text",),
    PATH: ("waypoints",),
}
LINK_NAMES = {
    "x_m": "x",
    "y_m": "y",
    "yaw_deg": "heading",
    "speed_mps": "speed",
    "height_m": "height",
    "waypoints": "path",
}


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return ";".join(f"{x:g},{y:g}" for x, y in value)
    return value if isinstance(value, str) else f"{value:.12g}"


def question_of_link(link: Link, choice: Choice) -> Question:
    """What a link asks; the inverse of `Question.values`.

    Raises:
        BadRequest, UnknownName: naming the value that cannot be used.
    """
    plain = Question(choice=choice)
    found: dict[str, object] = {"choice": choice}
    for item in fields(Question):
        name = LINK_NAMES.get(item.name, item.name)
        if item.name == "choice" or name not in link.values:
            continue
        if item.name in LIMITS:
            _, low, high = LIMITS[item.name]
            value = link.number(name, 0.0, low, high)
            found[item.name] = round(value) if isinstance(getattr(plain, item.name), int) else value
        elif item.name == "waypoints":
            found[item.name] = waypoints_of(link.values[name])
        else:
            found[item.name] = link.values[name]
    return Question(**found)  # type: ignore[arg-type]


def waypoints_of(text: str) -> Waypoints:
    """A path from 'x,y;x,y'.

    Raises:
        BadRequest: if it is none.
    """
    parts = text.split(";", MOST_WAYPOINTS)
    return checked_waypoints([[_coordinate(value) for value in part.split(",", 2)] for part in parts])


def _coordinate(text: str) -> float:
    try:
        return float(text[:40])
    except ValueError:
        return math.nan


def _check_name(what: str, value: object, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        raise UnknownName(what, str(value)[:60], known)


assert set(VARIANTS) == {PLACED, *DISTANCES_M}
