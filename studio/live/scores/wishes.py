"""What a visitor wants scored: two sides, metrics and how to count; as a request, as a command, as a link."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from studio.live.scores.sides import EXAMPLES, IMAGINED
from studio.scoring import DEFAULT_METRICS, TOKENIZER, TOWN, ScoreRequest, parsed_size
from studio.web.links import Link
from worldmodel.errors import BadRequest

WINDOW_S = 1.0
FEATURES = {TOWN: "The town's own (ships with Detour)", TOKENIZER: "The world model's tokenizer"}
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "frames": (1, 100_000),
    "condition_frames": (0, 100_000),
    "frequency_hz": (0.01, 1000),
    "window_s": (0, 3600),
    "seed": (0, 2**53),
}
_WHOLE = ("frames", "condition_frames", "seed")
_SWITCHES = ("paired", "per_camera", "drift", "consistency")


@dataclass(frozen=True, kw_only=True)
class ScoreWish:
    """One comparison, as the widgets say it.

    Attributes:
        a, b: Sides, as `score_sides.place_of` takes them, or an example; `b` '' for what really followed a run.
        metrics: Names; none for the preset's, or the usual ones.
        features: 'town', 'tokenizer' or a folder of a town-r2p1d.
        weights: Paths of published networks, one per line.
        preset: Whose way of counting, or ''.
        frames, condition_frames, frequency_hz, size, video: As in `ScoreRequest`; None or '' for what is usual.
        paired, per_camera, drift, consistency: As in `ScoreRequest`.
        window_s: Length of the windows along the clips, seconds; 0 or None for none.
        seed: Of the resampling.

    Raises:
        BadRequest: for a number out of range.
    """

    a: str = IMAGINED
    b: str = ""
    metrics: tuple[str, ...] = DEFAULT_METRICS
    features: str = TOWN
    weights: str = ""
    preset: str = ""
    frames: int | None = None
    condition_frames: int | None = None
    frequency_hz: float | None = None
    size: str = ""
    paired: bool = True
    per_camera: bool = False
    window_s: float | None = WINDOW_S
    drift: bool = False
    consistency: bool = False
    video: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and low <= value <= high):
                raise BadRequest(
                    f"'{name.replace('_', ' ')}' is {value}; it must be from {low:g} to {high:g}, or empty."
                )

    @property
    def example(self) -> str | None:
        """Which example is asked for; None for sides of one's own."""
        return self.a if self.a in EXAMPLES else None

    def request(self, a: str, b: str | None, model: Path, *, any_folder: bool) -> ScoreRequest:
        """The same for `detour score`.

        Args:
            a, b: The sides' places; `b` None for a run's own truth.
            model: Checkpoint that the tokenizer comes from.
            any_folder: Whether networks may be read from folders and files of this machine.
        Raises:
            BadRequest: for networks of files where they are not open, or a size that is none.
        """
        files = [line.strip() for line in self.weights.splitlines() if line.strip()]
        if not any_folder and (files or self.features not in FEATURES):
            raise BadRequest(
                "networks from files are asked for, but this studio can be reached from other machines, so its files are "
                "closed. Choose a network from the list."
            )
        return ScoreRequest(
            a=a,
            b=b,
            metrics=self.metrics,
            preset=self.preset,
            frames=None if self.frames is None else int(self.frames),
            condition_frames=None if self.condition_frames is None else int(self.condition_frames),
            frequency_hz=self.frequency_hz,
            size=parsed_size(self.size.strip()),
            paired=self.paired,
            per_camera=self.per_camera,
            window_s=(self.window_s or None) if self.paired else None,
            drift=self.drift,
            consistency=self.consistency,
            video=self.video.strip(),
            weights=tuple(Path(file).expanduser() for file in files),
            features=self.features,
            model=str(model),
            seed=int(self.seed or 0),
        )

    def link(self) -> Link:
        """A link that sets the page like this; what is usual is left out."""
        usual = ScoreWish()
        return Link(page="scores", values={n: _text(v) for n, v in vars(self).items() if v != getattr(usual, n)})

    @staticmethod
    def of(link: Link) -> "ScoreWish":
        """What a link asks for.

        Raises:
            BadRequest: for a value that is not understood.
        """
        known = {field.name for field in fields(ScoreWish)}
        if unknown := sorted(link.values.keys() - known):
            raise BadRequest(
                f"the link names '{unknown[0][:40]}'; scores know {', '.join(sorted(known))}. Repair it, or leave it out."
            )
        return ScoreWish(**{name: _value(link, name) for name in link.values})


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _value(link: Link, name: str) -> Any:
    text = link.values[name]
    if name == "metrics":
        return tuple(part for part in text.split(",") if part)
    if name in _SWITCHES:
        if text not in ("yes", "no"):
            raise BadRequest(f"the link says {name}={text[:40]}; it must be 'yes' or 'no'. Repair it, or leave it out.")
        return text == "yes"
    if name not in _NUMBERS:
        return text
    if not text:
        return None
    number = link.number(name, 0, *_NUMBERS[name])
    return int(number) if name in _WHOLE else number


def command_of(request: ScoreRequest) -> str:
    """The `detour` command that scores the same."""
    return " ".join(["detour", "score", *(shlex.quote(word) for word in _words(request))])


def _words(request: ScoreRequest) -> Iterator[str]:
    usual = ScoreRequest(a="")
    yield request.a
    if request.b is not None:
        yield request.b
    if request.metrics and request.metrics != DEFAULT_METRICS:
        yield from ("--metrics", ",".join(request.metrics))
    if request.size:
        yield from ("--size", f"{request.size[0]}x{request.size[1]}")
    numbers = {
        "frames": request.frames,
        "condition-frames": request.condition_frames,
        "frequency": request.frequency_hz,
        "windows": request.window_s,
    }
    for name, number in numbers.items():
        if number is not None:
            yield from (f"--{name}", f"{number:g}")
    for name in ("preset", "video", "features", "seed"):
        if (value := getattr(request, name)) != getattr(usual, name):
            yield from (f"--{name}", str(value))
    for name in ("per_camera", "drift", "consistency"):
        if getattr(request, name):
            yield f"--{name.replace('_', '-')}"
    if not request.paired:
        yield "--unpaired"
    for path in request.weights:
        yield from ("--weights", str(path))
    if request.features == TOKENIZER:
        yield from ("--model", request.model)
