"""What came of a run: everything that was made, seen from above and in numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from studio.demo import frame_scores, plan_errors
from studio.live.imagine.recorded import Recorded
from studio.live.imagine.wishes import PATH, ImagineWish
from studio.overlays import COLORS, PathLayer
from studio.web.components.birds_eye import CarPath, scene
from worldmodel.geometry import Array, Trajectory, compose
from worldmodel.plans import PLAN_TIMES_S, Plan

if TYPE_CHECKING:
    from worldmodel.rollout import Rollout

FUTURE_COLORS = ("#2f6fde", "#9a5bd0", "#0f8b8d", "#8a6d00")  # of up to four futures; none is the plan's or the truth's
SAMPLE_COLOR = "#e8a88f"  # a pale kind of the plan's own
ROUTE_COLOR = "#c2a83e"
FUTURE_S = 8.0  # how much of the recorded path is drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Made:
    """Everything that a run made.

    Attributes:
        wish: What was asked for.
        told: The clip's own instruction.
        rollouts: One per future, from now to the last chunk; () when there is none.
        actions: The path that was commanded; None when the policy drove.
        seconds: Of work.
    """

    wish: ImagineWish
    told: str
    rollouts: "tuple[Rollout, ...]"
    actions: Trajectory | None
    seconds: float

    @property
    def frames(self) -> int:
        """Imagined frames of each future."""
        return len(self.rollouts[0].video) if self.rollouts else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting it, each sentence once."""
        return tuple(dict.fromkeys(text for rollout in self.rollouts for text in rollout.warnings))


def joined(chunks: "Sequence[Rollout]") -> "Rollout":
    """The chunks of one future as one rollout."""
    last = chunks[-1]
    seconds = sum(chunk.timing.get("generate_s", 0.0) for chunk in chunks)
    return replace(
        last,
        video=np.concatenate([chunk.video for chunk in chunks]),
        trajectory=joined_path([chunk.trajectory for chunk in chunks]),
        texts=tuple(text for chunk in chunks for text in chunk.texts),
        telemetry=tuple(row for chunk in chunks for row in chunk.telemetry),
        warnings=tuple(dict.fromkeys(text for chunk in chunks for text in chunk.warnings)),
        timing={"generate_s": seconds, "chunks": float(len(chunks))},
    )


def joined_path(pieces: Sequence[Trajectory]) -> Trajectory:
    """Pieces that each begin where the one before ends, as one path."""
    first, *others = pieces
    return Trajectory(
        poses=np.concatenate([first.poses, *(other.poses[1:] for other in others)]),
        times_s=np.concatenate([first.times_s, *(other.times_s[1:] for other in others)]),
    )


def plan_ahead(pose: Array, plan: Array, start_s: float) -> Trajectory:
    """A plan [8, 3] drawn at a pose and time, as a path in the frame of that pose's frame, beginning there."""
    poses = np.concatenate([pose[None], compose(pose, plan)])
    return Trajectory(poses=poses, times_s=np.concatenate([[start_s], start_s + PLAN_TIMES_S]))


def from_above(
    recorded: Recorded,
    plan: Plan | None,
    futures: Sequence[Trajectory],
    wish: ImagineWish,
    actions: Trajectory | None,
    route: Float[Array, "n 2"] | None = None,
) -> dict[str, Any]:
    """What the bird's-eye view shows: history, what was driven, the plan and its samples, the route, each future, boxes.

    Args:
        recorded, plan, futures, wish, actions: What is known by now.
        route: Where the driver was sent, in the ego frame of now; None where it is not known.
    """
    boxes = recorded.moment.clip.boxes
    return scene(
        [*_routed(route), *known_layers(recorded), *_planned(plan), *_imagined(futures, wish, actions)],
        boxes=() if boxes is None else boxes[recorded.moment.now],
        cars=[*known_cars(recorded, wish.seconds), *_cars(futures, wish)],
        waypoints=np.array(wish.waypoints) if wish.drive == PATH else None,
        title="Paths from above: history, recorded, planned and imagined",
    )


def known_layers(recorded: Recorded) -> Iterator[PathLayer]:
    """What was driven before and after now, where it is known."""
    history, driven = recorded.history(), recorded.driven()
    if history is not None:
        yield _layer("history", history.poses, COLORS["history"], dashed=True)
    if driven is not None:
        soon = driven.times_s <= FUTURE_S
        yield _layer("recorded", driven.poses[soon], COLORS["truth"], dashed=True)


def known_cars(recorded: Recorded, until_s: float) -> Iterator[CarPath]:
    """The car as it drove before and after now, up to some seconds from now, where that is known."""
    history, driven = recorded.history(), recorded.driven()
    if history is not None:
        yield CarPath(label="history", path=history, color=COLORS["history"])
    if driven is not None:
        soon = driven.times_s <= until_s + 1e-6
        path = Trajectory(poses=driven.poses[soon], times_s=driven.times_s[soon])
        yield CarPath(label="recorded", path=path, color=COLORS["truth"])


def _cars(futures: Sequence[Trajectory], wish: ImagineWish) -> Iterator[CarPath]:
    for path, seed, color in zip(futures, wish.seeds, FUTURE_COLORS, strict=False):
        yield CarPath(label="imagined" if wish.futures == 1 else f"seed {seed}", path=path, color=color)


def _routed(route: Array | None) -> Iterator[PathLayer]:
    if route is not None:
        yield _layer("route", route, ROUTE_COLOR)


def _planned(plan: Plan | None) -> Iterator[PathLayer]:
    if plan is None:
        return
    if plan.samples is not None:
        there_and_back = [np.concatenate([sample, sample[::-1], np.zeros((1, 3))]) for sample in plan.samples]
        label = f"{len(plan.samples)} plan samples"
        yield _layer(label, np.concatenate([np.zeros((1, 3)), *there_and_back]), SAMPLE_COLOR)
    yield _layer("plan (4 s)", np.concatenate([np.zeros((1, 3)), plan.trajectory.poses]), COLORS["after"])


def _imagined(futures: Sequence[Trajectory], wish: ImagineWish, actions: Trajectory | None) -> Iterator[PathLayer]:
    if actions is not None:
        yield _layer("commanded", actions.poses, COLORS["town"], dashed=True)
    for path, seed, color in zip(futures, wish.seeds, FUTURE_COLORS, strict=False):
        yield _layer("imagined" if wish.futures == 1 else f"seed {seed}", path.poses, color)


def _layer(label: str, poses: Array, color: str, *, dashed: bool = False) -> PathLayer:
    return PathLayer(label=label, points_m=poses[:, :2], color=color, dashed=dashed)


ScoreRows = tuple[tuple[tuple[str, str, str], ...], str]


def score_rows(recorded: Recorded, truth: UInt8[Array, "n camera 3 h w"], made: Made, plan: Plan | None) -> ScoreRows:
    """What was imagined against what happened: rows (what, score, value), and a sentence on how much is compared.

    Args:
        truth: The frames that follow, at the size of the imagined ones; may be fewer.
    """
    rows = [*_picture_rows(recorded, truth, made), *_path_rows(recorded, made, plan)]
    if not rows:
        return (), "Nothing follows in the recording at this moment, so nothing is compared."
    hertz = made.rollouts[0].frequency_hz
    return tuple(rows), f"Against what happened: {len(truth) / hertz:g} s of {made.frames / hertz:g} s are recorded."


def _picture_rows(recorded: Recorded, truth: Array, made: Made) -> Iterator[tuple[str, str, str]]:
    if not len(truth):
        return
    videos = {_name(made, rollout): rollout.video for rollout in made.rollouts}
    videos["repeating the last frame"] = np.broadcast_to(recorded.seen()[-1], truth.shape)
    for of, video in videos.items():
        for row in frame_scores(of, video, truth):
            yield of, row["metric"], f"{row['value']:.3f} {row['unit']}".strip()


def _path_rows(recorded: Recorded, made: Made, plan: Plan | None) -> Iterator[tuple[str, str, str]]:
    driven = recorded.driven()
    if driven is None:
        return
    for rollout in made.rollouts:
        path = rollout.trajectory
        until = min(float(path.times_s[-1]), float(driven.times_s[-1]))
        ours, theirs = (one.resampled(np.array([until])).poses[0, :2] for one in (path, driven))
        yield _name(made, rollout), f"distance after {until:g} s", f"{np.hypot(*(ours - theirs)):.2f} m"
    errors = None if plan is None else plan_errors(plan, driven)
    for name, value in (errors or {}).items():
        yield "plan (4 s)", name.removesuffix("_m").upper(), f"{value:.2f} m"


def _name(made: Made, rollout: "Rollout") -> str:
    return "imagined" if len(made.rollouts) == 1 else f"imagined, seed {rollout.seed}"
