"""What a visitor asks to imagine, as plain values: checked, as a link, as a command."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.live.imagine.drawn_paths import Waypoints, checked_waypoints, path_through
from studio.web.links import Link
from studio.web.shelf import Choice
from worldmodel.clips import check_instruction
from worldmodel.errors import BadRequest
from worldmodel.geometry import Trajectory, integrate_rates
from worldmodel.sampling import MAX_SCALE, Sampling

if TYPE_CHECKING:
    from worldmodel.guidance import Guide

MAX_SECONDS, MAX_STEPS, MAX_SEED = 60.0, 50, 2**53 - 8
MAX_FRAME_SECONDS = 120.0  # seconds times futures
FUTURES = (1, 2, 4)
MOST_CHANGES = 8
POLICY, SPEED, PATH = "policy", "speed", "path"
DRIVES = (POLICY, SPEED, PATH)
SAMPLING_NAMES = {
    "steps": "steps",
    "text-weight": "guidance_text",
    "motion-weight": "guidance_motion",
    "past-weight": "guidance_history",
    "memory": "memory",
}


@dataclass(frozen=True, kw_only=True)
class ImagineWish:
    """One future or several of one moment, as the widgets say it.

    Attributes:
        choice: Where it starts.
        text: What the driver is told; '' for the clip's own instruction.
        changes: Further texts and from when on they hold, (seconds from now, text), by increasing time.
        drive: Who drives: the policy, a constant speed and turn, or a drawn path.
        speed_mps, turn_degps: The constant command; turning to the left is positive.
        waypoints: The drawn path; where the car is after each share of the time.
        seconds: Horizon, at most MAX_SECONDS.
        seed: Of the first future; the others follow.
        futures: How many, one of FUTURES.
        sampling: Steps (at most MAX_STEPS), guidance scales and memory.
    """

    choice: Choice
    text: str = ""
    changes: tuple[tuple[float, str], ...] = ()
    drive: str = POLICY
    speed_mps: float = 8.0
    turn_degps: float = 0.0
    waypoints: Waypoints = ()
    seconds: float = 4.0
    seed: int = 0
    futures: int = 1
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        check_instruction(self.text.strip() or "-")
        _check_changes(self.changes)
        check_number("Seconds", self.seconds, 0.1, MAX_SECONDS)
        check_number("Seed", self.seed, 0, MAX_SEED)
        check_number("Sampling steps", self.sampling.steps, 1, MAX_STEPS)
        check_number("Speed", self.speed_mps, 0, 40)
        check_number("Turn", self.turn_degps, -60, 60)
        _check_one_of("Futures", self.futures, FUTURES)
        _check_one_of("Who drives", self.drive, DRIVES)
        if self.futures * self.seconds > MAX_FRAME_SECONDS:
            raise BadRequest(
                f"{self.futures} futures of {self.seconds:g} s are {self.futures * self.seconds:g} s in all; at most "
                f"{MAX_FRAME_SECONDS:g} s are imagined at once. Ask for fewer seconds or fewer futures."
            )
        if self.drive == PATH:
            object.__setattr__(self, "waypoints", checked_waypoints(self.waypoints))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each future."""
        return tuple(range(self.seed, self.seed + self.futures))

    def text_at(self, time_s: float, told: str) -> str:
        """What the driver is told at a time; `told` is the clip's own instruction."""
        begun = [text for start, text in self.changes if start <= time_s + 1e-9]
        return begun[-1] if begun else self.text.strip() or told

    def guide(self, told: str) -> "Guide":
        """What steers each chunk."""
        from worldmodel.guidance import FixedGuide, ScheduleGuide

        first = self.text.strip() or told
        return ScheduleGuide(texts=((0.0, first), *self.changes)) if self.changes else FixedGuide(text=first)

    def schedule(self, told: str) -> str:
        """The texts over time as `--schedule` reads them; '' when nothing changes."""
        return schedule_text([(0.0, self.text.strip() or told), *self.changes]) if self.changes else ""

    def actions(self, frequency_hz: float, chunk: int, speed_mps: float | None = None) -> Trajectory | None:
        """The commanded path in the ego frame of now, for whole chunks where it is constant; None when the policy drives.

        Args:
            frequency_hz, chunk: The model's rate, and frames per chunk.
            speed_mps: Of the car now, where it is known.
        """
        if self.drive == PATH:
            return path_through(self.waypoints, self.seconds, frequency_hz=frequency_hz, speed_mps=speed_mps)
        if self.drive == POLICY:
            return None
        frames = -(-max(1, round(self.seconds * frequency_hz)) // chunk) * chunk
        times = np.arange(frames + 1) / frequency_hz
        return integrate_rates(np.full(frames, self.speed_mps), np.full(frames, np.radians(self.turn_degps)), times)

    def command(self, model: Path, told: str = "") -> str:
        """The `detour` commands that imagine the same, one line per future; `told` is the clip's own instruction."""
        words = ["detour", "imagine", self.choice.quoted()]
        words += ["--text", shlex.quote(self.text.strip())] if self.text.strip() else []
        words += ["--schedule", shlex.quote(self.schedule(told))] if self.changes else []
        words += ["--actions", "actions.csv"] if self.drive != POLICY else []
        words += ["--seconds", f"{self.seconds:g}", *self.sampling.words(), "--model", shlex.quote(str(model))]
        outs = {seed: "my-run" if self.futures == 1 else f"my-run-{seed}" for seed in self.seeds}
        return "\n".join(" ".join([*words, "--seed", str(seed), "--out", out]) for seed, out in outs.items())

    def values(self) -> dict[str, str]:
        """What a link says of it, besides the clip; what is as by default is left out."""
        values = {
            "text": self.text.strip(),
            "then": schedule_text(self.changes),
            "drive": self.drive,
            "speed": f"{self.speed_mps:g}" if self.drive == SPEED else "",
            "turn": f"{self.turn_degps:g}" if self.drive == SPEED else "",
            "path": ";".join(f"{x:g},{y:g}" for x, y in self.waypoints) if self.drive == PATH else "",
            "seconds": f"{self.seconds:g}",
            "seed": str(self.seed),
            "futures": str(self.futures),
            **_sampling_texts(self.sampling),
        }
        return {name: value for name, value in values.items() if value and value != _PLAIN.get(name)}


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Say why a number from a widget or a link cannot be used.

    Raises:
        BadRequest: if it is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(
            f"'{name}' is {str(value)[:40] if value is not None else 'empty'}; give a number from {low:g} to {high:g}."
        )


def _check_one_of(name: str, value: object, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise BadRequest(f"'{name}' is {str(value)[:40]}; it must be one of {', '.join(map(str, known))}. Choose one.")


def _check_changes(changes: tuple[tuple[float, str], ...]) -> None:
    if len(changes) > MOST_CHANGES:
        raise BadRequest(f"the text changes {len(changes)} times; at most {MOST_CHANGES} are read. Leave some out.")
    for start, text in changes:
        check_number("From second", start, 0.01, MAX_SECONDS)
        check_instruction(text)
    for (before, _), (after, text) in pairwise(changes):
        if after <= before:
            raise BadRequest(
                f"the text '{text[:60]}' begins at {after:g} s, but the one before at {before:g} s; times must increase. "
                "Sort the rows by time."
            )


def schedule_text(rows: Sequence[tuple[float, str]]) -> str:
    """Texts over time as `parse_schedule` and the command line read them; as JSON where a text has what separates them."""
    if any(";" in text for _, text in rows):
        return json.dumps([[start, text] for start, text in rows])
    return ";".join(f"{start:g}:{text}" for start, text in rows)


def _sampling_texts(sampling: Sampling) -> dict[str, str]:
    values = {name: getattr(sampling, of) for name, of in SAMPLING_NAMES.items()}
    return {name: value if isinstance(value, str) else f"{value:g}" for name, value in values.items()}


_PLAIN = {
    "drive": POLICY, "seconds": "4", "seed": "0", "futures": "1",
    **_sampling_texts(Sampling()),
}  # fmt: skip


def wish_of_link(link: Link, choice: Choice) -> ImagineWish:
    """What a link asks for; the inverse of `ImagineWish.values`.

    Raises:
        BadRequest: naming the value that cannot be read.
    """
    from worldmodel.guidance import parse_schedule

    scales: dict[str, Any] = {
        of: link.number(name, 1.0, 0, MAX_SCALE) for name, of in SAMPLING_NAMES.items() if "weight" in name
    }
    then = link.values.get("then", "")
    return ImagineWish(
        choice=choice,
        text=link.values.get("text", ""),
        changes=parse_schedule(then).texts if then else (),
        drive=link.values.get("drive", POLICY),
        speed_mps=link.number("speed", 8.0, 0, 40),
        turn_degps=link.number("turn", 0.0, -60, 60),
        waypoints=_points(link),
        seconds=link.number("seconds", 4.0, 0.1, MAX_SECONDS),
        seed=_whole(link, "seed", 0, 0, MAX_SEED),
        futures=_whole(link, "futures", 1, 1, FUTURES[-1]),
        sampling=Sampling(
            steps=_whole(link, "steps", Sampling().steps, 1, MAX_STEPS),
            memory=link.values.get("memory", Sampling().memory),
            **scales,
        ),
    )


def _whole(link: Link, name: str, default: int, low: int, high: int) -> int:
    return round(link.number(name, default, low, high))


def _points(link: Link) -> Waypoints:
    """The drawn path 'x,y;x,y'; () for none."""
    text = link.values.get("path", "")
    return checked_waypoints([part.split(",") for part in text.split(";")]) if text else ()
