"""Imagine on the page: a request from widgets, and what is shown while its chunks appear."""

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from studio.demo import frame_scores, plan_errors, wish_of
from studio.moments import Moment, find_moment
from studio.overlays import COLORS, PathLayer, birds_eye_svg, mosaic
from studio.web import shown
from studio.web.shelf import Choice
from worldmodel.clips import check_instruction
from worldmodel.errors import BadRequest, Diverged
from worldmodel.geometry import Array, Trajectory, integrate_rates
from worldmodel.io.video import write_video
from worldmodel.pictures import resize_video
from worldmodel.plans import Plan
from worldmodel.sampling import Sampling

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.rollout import Rollout

MAX_SECONDS = 60.0
MAX_STEPS = 50
FUTURE_LAYERS_S = 4.0  # how much of the truth is drawn beside a plan
NOTICE = "Imagined by Detour. Research tool; no evidence of road safety."


@dataclass(frozen=True, kw_only=True)
class ImagineRequest:
    """One future, as the widgets say it.

    Attributes:
        choice: Where it starts.
        text: What the driver is told; '' for the clip's own instruction.
        commanded: Whether speed and turn are given; else the policy drives.
        speed_mps, turn_degps: Constant command; turning to the left is positive.
        seconds: Horizon, at most MAX_SECONDS.
        seed: Of all noise.
        sampling: Steps (at most MAX_STEPS), sampler, guidance scales and memory.
    """

    choice: Choice
    text: str = ""
    commanded: bool = False
    speed_mps: float = 8.0
    turn_degps: float = 0.0
    seconds: float = 4.0
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        check_instruction(self.text or "-")
        _check_number("Seconds", self.seconds, 0.1, MAX_SECONDS)
        _check_number("Seed", self.seed, 0, 2**53)
        _check_number("Sampling steps", self.sampling.steps, 1, MAX_STEPS)
        _check_number("Speed", self.speed_mps, 0, 40)
        _check_number("Turn", self.turn_degps, -60, 60)

    def actions(self, frequency_hz: float, chunk: int) -> Trajectory | None:
        """The commanded path in the ego frame of now, for whole chunks; None when the policy drives."""
        if not self.commanded:
            return None
        frames = -(-max(1, round(self.seconds * frequency_hz)) // chunk) * chunk
        times = np.arange(frames + 1) / frequency_hz
        speeds, rates = np.full(frames, self.speed_mps), np.full(frames, np.radians(self.turn_degps))
        return integrate_rates(speeds, rates, times)

    def command(self, model: Path) -> str:
        """The `detour` command that imagines the same."""
        words = ["detour", "imagine", self.choice.quoted()]
        words += ["--text", shlex.quote(self.text)] if self.text.strip() else []
        words += ["--actions", "actions.csv"] if self.commanded else []
        words += ["--seconds", f"{self.seconds:g}", "--seed", str(self.seed), *self.sampling.words()]
        return " ".join([*words, "--model", shlex.quote(str(model)), "--out", "my-run"])


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(
            f"'{name}' is {value if value is not None else 'empty'}; give a number from {low:g} to {high:g}."
        )


@dataclass(frozen=True, kw_only=True)
class ImagineView:
    """What changes on the page; None leaves a part as it is.

    Attributes:
        status, live, birds_eye, scores: HTML.
        film: The finished mp4.
        actions: The commanded path as CSV, for the command line.
        finished: Whether nothing follows.
    """

    status: str | None = None
    live: str | None = None
    birds_eye: str | None = None
    scores: str | None = None
    film: Path | None = None
    actions: Path | None = None
    finished: bool = False


def chunks_of(
    model: "WorldModel", moment: Moment, request: ImagineRequest, stopped: Callable[[], bool] = lambda: False
) -> "Iterator[Rollout]":
    """The future chunk by chunk, until `stopped()`: joined, the rollouts are what `WorldModel.imagine` gives at once."""
    from worldmodel.guidance import FixedGuide

    observation, rate = moment.observation(), model.config.frequency_hz
    chunk = model.config.network.frames_per_chunk
    actions = request.actions(rate, chunk)
    guide = FixedGuide(text=request.text if request.text.strip() else observation.instruction)
    past = model.remember([observation], request.sampling.empty_memory(model.config.history_chunks))
    left = max(1, round(request.seconds * rate))
    while left > 0 and not stopped():
        frames = min(left, chunk)
        [rollout] = model.go_on(
            past,
            seconds=frames / rate,
            seeds=[request.seed],
            actions=None if actions is None else [actions],
            guides=[guide],
            sampling=request.sampling,
        )
        assert rollout.past is not None
        past, left = rollout.past, left - frames
        yield rollout


def imagine(
    load: "Callable[[], WorldModel]",
    request: ImagineRequest,
    folder: Path,
    stopped: Callable[[], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[ImagineView]:
    """Show a future as it is imagined.

    Args:
        load: Gives the model; may take seconds.
        request: What is asked for.
        folder: The visitor's own; gets the mp4.
        stopped: Asked before every chunk; what is done by then is kept.
        clock: Seconds, for the estimate of what is left.

    Raises:
        DetourError: if the request, the clip or the model cannot be used.
    """
    yield ImagineView(status=shown.status("Loading the model (once) …"))
    model = load()
    yield ImagineView(status=shown.status("Reading the clip …"))
    story = _Story.begin(model, request)
    yield ImagineView(status=shown.status(f"Imagining chunk 1 of {story.chunks} …", 0.0), live=story.start_picture())
    started = clock()
    note = ""
    try:
        for rollout in chunks_of(model, story.moment, request, stopped):
            story.rollouts.append(rollout)
            yield story.progress(clock() - started)
    except Diverged as error:
        note = str(error)
    yield story.ending(folder, clock() - started, note)


@dataclass(eq=False, kw_only=True)
class _Story:
    """One run while it grows."""

    model: "WorldModel"
    request: ImagineRequest
    moment: Moment
    truth: UInt8[Array, "time camera 3 h w"]
    plan: Plan
    rollouts: "list[Rollout]"

    @staticmethod
    def begin(model: "WorldModel", request: ImagineRequest) -> "_Story":
        moment = find_moment(request.choice.text, wish_of(model, request.seconds))
        frames = round(request.seconds * moment.clip.frequency_hz)
        truth = moment.clip.video[moment.now + 1 :][:frames]
        if len(truth):
            truth = resize_video(truth, model.config.width_px, model.config.height_px)
        from policy.planner import JointPlanner

        plan = JointPlanner(model).plan(moment.observation(), request.seed)
        return _Story(model=model, request=request, moment=moment, truth=truth, plan=plan, rollouts=[])

    @property
    def chunks(self) -> int:
        frames = max(1, round(self.request.seconds * self.model.config.frequency_hz))
        return -(-frames // self.model.config.network.frames_per_chunk)

    @property
    def rate(self) -> float:
        return self.model.config.frequency_hz

    def video(self) -> UInt8[Array, "time camera 3 h w"]:
        return np.concatenate([rollout.video for rollout in self.rollouts])

    def trajectory(self) -> Trajectory:
        first, *others = [rollout.trajectory for rollout in self.rollouts]
        return Trajectory(
            poses=np.concatenate([first.poses, *(other.poses[1:] for other in others)]),
            times_s=np.concatenate([first.times_s, *(other.times_s[1:] for other in others)]),
        )

    def _rows(
        self, video: UInt8[Array, "time camera 3 h w"], truth: UInt8[Array, "time camera 3 h w"], title: str
    ) -> UInt8[Array, "time 3 height width"]:
        """The imagined mosaic, and below it what was recorded at the same time, where anything was."""
        rig = self.moment.clip.rig.scaled(video.shape[4], video.shape[3])
        rows = [mosaic(video, rig, title=title)]
        if len(self.truth):
            below = (
                mosaic(truth, rig, title="recorded") if len(truth) else np.full((1, *rows[0].shape[1:]), 24, np.uint8)
            )
            rows.append(below)
        return shown.stacked(rows)[: len(video)]

    def _seen(self) -> UInt8[Array, "time camera 3 h w"]:
        video = self.moment.clip.video[: self.moment.now + 1]
        return resize_video(video, self.model.config.width_px, self.model.config.height_px)

    def start_picture(self) -> str:
        now = self._seen()[-1:]
        return shown.picture(self._rows(now, now, "recorded, now")[0], "The newest recorded frame of all cameras.")

    def progress(self, elapsed_s: float) -> ImagineView:
        done = len(self.rollouts)
        left = elapsed_s / done * (self.chunks - done)
        newest = self.rollouts[-1]
        first = sum(len(rollout.video) for rollout in self.rollouts[:-1])
        frames = self._rows(newest.video, self.truth[first : first + len(newest.video)], "imagined")
        alt = f"Imagined frames of {len(newest.rig)} cameras up to {newest.trajectory.times_s[-1]:.1f} s from now."
        text = f"Chunk {done} of {self.chunks} · {elapsed_s:.1f} s spent" + (
            f" · about {left:.0f} s left" if left else ""
        )
        return ImagineView(
            status=shown.status(text, done / self.chunks),
            live=shown.animation(frames, self.rate, alt),
            birds_eye=self.birds_eye(),
        )

    def birds_eye(self) -> str:
        layers = [*known_paths(self.moment)]
        layers.append(path_layer("plan (4 s)", self.plan.trajectory, COLORS["after"]))
        if self.rollouts:
            layers.append(path_layer("imagined", self.trajectory(), COLORS["before"]))
        boxes = self.moment.clip.boxes[self.moment.now] if self.moment.clip.boxes is not None else ()
        return birds_eye_svg(layers, boxes=boxes, title="Paths from above: history, truth, plan and imagined")

    def ending(self, folder: Path, elapsed_s: float, note: str = "") -> ImagineView:
        if not self.rollouts:
            text = shown.problem(note) if note else shown.status("Stopped before the first chunk.")
            return ImagineView(status=text, finished=True)
        video, seen = self.video(), self._seen()
        past = self._rows(seen, seen, "recorded")
        film = np.concatenate([past, self._rows(video, self.truth, "imagined")])
        path = shown.new_path(folder, "imagined", ".mp4")
        write_video(path, shown.even(film), self.rate, comment=NOTICE)
        word = (
            "Done"
            if len(self.rollouts) == self.chunks
            else f"Stopped after chunk {len(self.rollouts)} of {self.chunks}"
        )
        text = f"{word}: {len(video) / self.rate:g} s imagined in {elapsed_s:.1f} s ({len(video) / elapsed_s:.1f} frames per second)."
        return ImagineView(
            status=shown.status(text, len(self.rollouts) / self.chunks) + "".join(map(shown.problem, self._told(note))),
            birds_eye=self.birds_eye(),
            scores=self.scores(),
            film=path,
            actions=self._write_actions(folder),
            finished=True,
        )

    def _told(self, note: str) -> list[str]:
        """Each thing to know before trusting the future, once."""
        said = [*self.moment.notes, *(text for rollout in self.rollouts for text in rollout.warnings), note]
        return [text for text in dict.fromkeys(said) if text]

    def _write_actions(self, folder: Path) -> Path | None:
        actions = self.request.actions(self.rate, self.model.config.network.frames_per_chunk)
        if actions is None:
            return None
        rows = [
            f"{t:.6f},{x:.6f},{y:.6f},{yaw:.6f}" for t, (x, y, yaw) in zip(actions.times_s, actions.poses, strict=True)
        ]
        path = folder / "actions.csv"
        path.write_text("\n".join(["t,x,y,yaw", *rows]) + "\n", encoding="utf-8")
        return path

    def scores(self) -> str:
        """The imagined future against what happened, as a table; a sentence where nothing can be compared."""
        rows: list[tuple[str, str, str]] = []
        video, truth = self.video(), self.truth[: sum(len(rollout.video) for rollout in self.rollouts)]
        if len(truth):
            still = np.broadcast_to(self._seen()[-1], truth.shape)
            compared = [
                *frame_scores("imagined frames", video, truth),
                *frame_scores("repeating the last frame", still, truth),
            ]
            rows += [(row["of"], row["metric"], f"{row['value']:.3f} {row['unit']}".strip()) for row in compared]
        driven = self.moment.driven()
        errors = None if driven is None else plan_errors(self.plan, driven)
        for name, value in (errors or {}).items():
            rows.append(("plan (4 s)", name.removesuffix("_m").upper(), f"{value:.2f} m"))
        if not rows:
            return shown.status("Nothing follows in the recording at this moment, so nothing can be scored.")
        covered = len(truth) / self.rate
        return shown.table(
            ("what", "score", "value"),
            rows,
            f"Against what happened: {covered:g} s of {len(video) / self.rate:g} s are recorded.",
        )


def path_layer(label: str, trajectory: Trajectory, color: str, *, dashed: bool = False) -> PathLayer:
    """A trajectory as a line of the bird's-eye view."""
    return PathLayer(label=label, points_m=trajectory.poses[:, :2], color=color, dashed=dashed)


def known_paths(moment: Moment) -> Iterator[PathLayer]:
    """History and truth in the bird's-eye view, where they are known."""
    past, driven = moment.past(), moment.driven()
    if past is not None:
        yield path_layer("history", past, COLORS["history"], dashed=True)
    if driven is not None:
        yield path_layer("driven (recorded)", driven, COLORS["truth"], dashed=True)
