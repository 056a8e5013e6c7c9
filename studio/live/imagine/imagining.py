"""Futures while they are imagined: chunk by chunk, in turn with the other visitors, until they are done or stopped."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from studio.demo import wish_of
from studio.live.imagine.futures import Futures
from studio.live.imagine.pictures import Painter
from studio.live.imagine.recorded import Recorded
from studio.live.imagine.results import Made, ScoreRows, from_above, joined, joined_path, score_rows
from studio.live.imagine.wishes import ImagineWish
from studio.web.components.tiles import tiles_of
from studio.web.films import Track
from studio.web.turns import Ticket
from worldmodel.errors import Diverged
from worldmodel.geometry import Array, Trajectory
from worldmodel.plans import Plan

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.rollout import Rollout

Clock = Callable[[], float]
Work = Callable[[], Callable[[], "ImagineView"]]  # with the model; what it returns shows the result without the model


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a player needs to know before the first frame.

    Attributes:
        tracks: One for each future, then what was recorded where something follows.
        rate_hz: Frames per second.
        start_s: Time of the first frame, seconds from now; the past is shown, too.
        frames: How many each track will have.
        spoken: What the driver is told from when on, seconds from now.
        tiles: Where the cameras are in each frame.
    """

    tracks: tuple[Track, ...]
    rate_hz: float
    start_s: float
    frames: int
    spoken: tuple[tuple[float, str], ...]
    tiles: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ImagineView:
    """What is new to a visitor; what is None or empty stays as it is.

    Attributes:
        status: A sentence.
        share: Of the work done, 0 to 1.
        opening: A new film begins.
        frames: Pictures to append, by the name of their track.
        complete: Tracks that have no further frames.
        birds_eye: As the component `birds_eye` takes it.
        told: What to know before trusting what is shown.
        scores: Rows (what, score, value), and how much could be compared.
        made: Everything that was made, to be kept; with the last view.
        finished: Whether nothing follows.
    """

    status: str | None = None
    share: float | None = None
    opening: Opening | None = None
    frames: Mapping[str, UInt8[Array, "n 3 h w"]] = field(default_factory=dict)
    complete: tuple[str, ...] = ()
    birds_eye: dict[str, Any] | None = None
    told: tuple[str, ...] | None = None
    scores: ScoreRows | None = None
    made: Made | None = None
    finished: bool = False


def imagine(
    load: "Callable[[], WorldModel]",
    wish: ImagineWish,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
    clock: Clock = time.perf_counter,
) -> Iterator[ImagineView]:
    """Show futures as they are imagined.

    Args:
        load: Gives the model; may take seconds.
        wish: What is asked for.
        draw: A place in the queue for the model; drawn anew for each chunk.
        stopped: Asked before every chunk; what is done by then is kept.
        clock: Seconds, for the estimate of what is left.

    Raises:
        DetourError: if the wish, the clip or the model cannot be used.
    """
    yield ImagineView(status="Loading the model (only once) …")
    model = load()
    yield ImagineView(status="Reading the clip …")
    run = _Run.begin(model, wish)
    yield run.opening()
    try:
        for kind, work in run.steps(clock):
            yield from _turn(draw, stopped, run, kind, work)
            if stopped():
                break
    except Diverged as error:
        run.notes.append(str(error))
    yield run.ending()


def _turn(
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
    run: "_Run",
    kind: str,
    work: Work,
) -> Iterator[ImagineView]:
    """Wait for the model, do one piece of work with it, and show it once the model is free for others."""
    ticket = draw()
    try:
        for ahead in ticket.waiting(stopped):
            yield run.waiting(kind, ahead)
        if stopped():
            return
        show = work()
    finally:
        ticket.leave()
    yield show()


@dataclass(eq=False, kw_only=True)
class _Run:
    """One run while it grows."""

    futures: Futures
    recorded: Recorded
    painter: Painter
    notes: list[str] = field(default_factory=list)
    truth: list[Array] = field(default_factory=list)
    plan: Plan | None = None
    route: Array | None = None
    spent_s: float = 0.0

    @staticmethod
    def begin(model: "WorldModel", wish: ImagineWish) -> "_Run":
        size = model.config.width_px, model.config.height_px
        recorded = Recorded.around(wish.choice.text, wish_of(model, wish.seconds), size)
        painter = Painter.of(recorded.moment.clip.rig.scaled(*size))
        return _Run(futures=Futures(model, recorded.moment.observation(), wish), recorded=recorded, painter=painter)

    def steps(self, clock: Clock) -> Iterator[tuple[str, Work]]:
        """The pieces of work that need the model, each with what it is; the plan comes after the first chunk."""
        for number in range(self.futures.chunks):
            yield f"Chunk {number + 1} of {self.futures.chunks}", lambda: self._chunk(clock)
            if number == 0:
                yield "Planning", self._plan

    def _chunk(self, clock: Clock) -> Callable[[], ImagineView]:
        started = clock()
        rollouts, ahead = self.futures.step()
        self.spent_s += clock() - started
        return lambda: self._grown(rollouts, ahead)

    def _plan(self) -> Callable[[], ImagineView]:
        self.plan = self.futures.plan()
        return self._with_route

    def _with_route(self) -> ImagineView:
        self.route = self.recorded.route()
        return ImagineView(birds_eye=self.from_above())

    def opening(self) -> ImagineView:
        """The past on every track, before anything is imagined."""
        wish, past = self.futures.wish, self.recorded.past(self.painter)
        opening = Opening(
            tracks=tuple(self._tracks()),
            rate_hz=self.futures.rate,
            start_s=-(len(past) - 1) / self.futures.rate,
            frames=len(past) + self.futures.frames,
            spoken=((0.0, wish.text_at(0.0, self.futures.told)), *wish.changes),
            tiles=tuple(tiles_of(self.painter.rig, self.painter.tile_px)),
        )
        return ImagineView(
            status=f"Imagining chunk 1 of {self.futures.chunks} …",
            share=0.0,
            opening=opening,
            frames={track.name: past for track in opening.tracks},
            birds_eye=self.from_above(),
        )

    def _tracks(self) -> Iterator[Track]:
        cameras = f"{len(self.painter.rig)} cameras"
        for seed in self.futures.wish.seeds:
            alt = f"Imagined future with seed {seed}, {cameras}"
            yield Track(name=f"seed-{seed}", label=f"Imagined · seed {seed}", alt=alt, imagined=True)
        if self.recorded.following:
            yield Track(name="recorded", label="Recorded", alt=f"What was recorded at the same time, {cameras}")

    def waiting(self, kind: str, ahead: int) -> ImagineView:
        """Others have the model."""
        before = "1 request is" if ahead == 1 else f"{ahead} requests are"
        return ImagineView(status=f"{kind}: {before} before yours …", share=self.share)

    @property
    def share(self) -> float:
        """Of the chunks that are done."""
        return len(self.futures.done) / self.futures.chunks

    def _grown(self, rollouts: "list[Rollout]", ahead: list[Trajectory]) -> ImagineView:
        done, chunks = len(self.futures.done), self.futures.chunks
        frames = {
            f"seed-{rollout.seed}": self.painter.frames(rollout.video, "imagined", _after(rollout.trajectory), way)
            for rollout, way in zip(rollouts, ahead, strict=True)
        }
        frames |= self._followed(rollouts[0])
        left = round(self.spent_s / done * (chunks - done) + 0.5) if done < chunks else 0
        status = f"Chunk {done} of {chunks} · {self.spent_s:.1f} s" + (f" · about {left} s left" if left else "")
        over = sum(map(len, self.truth)) >= self.recorded.following
        return ImagineView(
            status=status,
            share=self.share,
            frames=frames,
            complete=("recorded",) if over and self.recorded.following else (),
            birds_eye=self.from_above(),
        )

    def _followed(self, newest: "Rollout") -> dict[str, Array]:
        """What was recorded in the time of the newest chunk."""
        first = sum(map(len, self.truth))
        video = self.recorded.follows(first, first + len(newest.video))
        if not len(video):
            return {}
        self.truth.append(video)
        return {"recorded": self.recorded.pictures(self.painter, video, first)}

    def from_above(self) -> dict[str, Any]:
        """All paths that are known by now."""
        done = zip(*self.futures.done, strict=True)
        paths = [joined_path([rollout.trajectory for rollout in future]) for future in done]
        return from_above(self.recorded, self.plan, paths, self.futures.wish, self.futures.actions, self.route)

    def ending(self) -> ImagineView:
        """Everything is there, or it was stopped."""
        futures = self.futures
        rollouts = tuple(joined(future) for future in zip(*futures.done, strict=True))
        made = Made(
            wish=futures.wish, told=futures.told, rollouts=rollouts, actions=futures.actions, seconds=self.spent_s
        )
        told = tuple(dict.fromkeys([*self.recorded.notes, *made.warnings, *self.notes]))
        if not rollouts:
            return ImagineView(status="Stopped before the first chunk.", told=told, finished=True)
        truth = np.concatenate(self.truth) if self.truth else np.zeros((0, *rollouts[0].video.shape[1:]), np.uint8)
        return ImagineView(
            status=self._sentence(made),
            share=self.share,
            told=told,
            scores=score_rows(self.recorded, truth, made, self.plan),
            made=made,
            finished=True,
        )

    def _sentence(self, made: Made) -> str:
        done, chunks = len(self.futures.done), self.futures.chunks
        word = "Done" if done == chunks else f"Stopped after chunk {done} of {chunks}"
        count = len(made.rollouts)
        each = f" in each of {count} futures" if count > 1 else ""
        pace = made.frames * count / max(self.spent_s, 1e-9)
        seconds = made.frames / self.futures.rate
        return f"{word}: {seconds:g} s imagined{each}, {self.spent_s:.1f} s of work ({pace:.1f} frames per second)."


def _after(path: Trajectory) -> Trajectory:
    """A chunk's path without its start: a pose for each of its frames."""
    return Trajectory(poses=path.poses[1:], times_s=path.times_s[1:])
