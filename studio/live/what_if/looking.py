"""Where a planner looks, before and after a change: heat over the newest pictures."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from policy.learned import LearnedPlanner
from policy.planner import Planner
from policy.saliency import NotApplicable
from policy.saliency_patches import GRID, effects_patch_by_patch
from studio.live.imagine.imagining import Clock
from studio.live.what_if.asking import place_of_question
from studio.live.what_if.questions import Question
from studio.live.what_if.views import time_left, turn
from studio.moments import Moment
from studio.planners import make_planner
from studio.saliency import SaliencyRequest, maps_of
from studio.saliency_overlays import overlay
from studio.sides import Places, Sides, sides_of
from studio.web.turns import Ticket
from worldmodel.geometry import Array

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

GRADCAM, OCCLUSION = "gradcam", "occlusion"
METHODS = {
    GRADCAM: "Grad-CAM: what the plan's loss hangs on, for learned planners",
    OCCLUSION: "Occlusion: how far the plan moves when a patch is grey, for every planner that sees",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class LookingView:
    """The heat so far.

    Attributes:
        status: A sentence.
        share: Of the work done, 0 to 1.
        pictures: By title: all cameras side by side under the heat, uint8 [3, height, width].
        finished: Whether nothing follows.
    """

    status: str
    share: float | None = None
    pictures: "tuple[tuple[str, UInt8[Array, '3 height width']], ...]" = ()
    finished: bool = False


def looking(
    load: "Callable[[], WorldModel]",
    places: Places,
    question: Question,
    method: str,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
    clock: Clock = time.perf_counter,
) -> Iterator[LookingView]:
    """Maps of the question's planner on both sides; the side after the change comes first.

    Args:
        load, places, question, draw, stopped, clock: As of `studio.live.what_if.asking.what_if`.
        method: GRADCAM or OCCLUSION.

    Raises:
        NotApplicable: for a planner without pixels, or one whose gradients are not ours to take.
        DetourError: if the question, the clip or the model cannot be used.
    """
    yield LookingView(status="Loading the model (only once) …")
    model = load()
    place = place_of_question(places, question, model)
    moment = place.moment
    edit = question.edit(moment.clip.frequency_hz, moment.observation().speed_mps)
    sides = sides_of(place, edit, question.height_m or None)
    planner = make_planner(question.planner, model, question.samples)
    if method == GRADCAM and not isinstance(planner, LearnedPlanner) and getattr(planner, "needs_pixels", True):
        raise NotApplicable(
            f"'{question.planner}' has no tokens that are read before they are mixed with something else, so there is no Grad-CAM of "
            "it. Choose 'Occlusion', or a planner such as 'rich/ik'."
        )
    slow = method == OCCLUSION and question.planner == "joint"
    ask = _patch_by_patch if slow else _at_once
    found: tuple[tuple[str, Array], ...] = ()
    started = clock()
    for number, (title, side) in enumerate((("after", sides.after), ("before", sides.before))):
        for status, share, maps in ask(planner, side, question, method, draw, stopped):
            shown = found + tuple(_drawn(f"{title}, {layer}", side, cells) for layer, cells in maps.items())
            done = (number + share) / 2
            yield LookingView(
                status=f"Looking, {title} the change: {status}{time_left(done, clock() - started)}",
                share=done,
                pictures=shown,
            )
        if stopped():
            yield LookingView(status="Stopped.", finished=True)
            return
        found = shown
    same = "" if not _equal(sides) else " The pictures are the same on both sides."
    yield LookingView(
        status=f"{METHODS[method]}. Bright is hot; a hot place is no proof of understanding.{same}",
        pictures=found,
        finished=True,
    )


Step = tuple[str, float, dict[str, Array]]


def _at_once(
    planner: Planner,
    side: Moment,
    question: Question,
    method: str,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
) -> Iterator[Step]:
    found: dict[str, Array] = {}

    def work() -> None:
        request = SaliencyRequest(clip=side.clip.id, planners=(question.planner,), method=method, seed=question.seed)
        found.update(maps_of(planner, side, request)[0])

    for view in turn(draw, stopped, work, "one moment …"):
        yield str(view.status), 0.0, {}
    yield "done", 1.0, found


def _patch_by_patch(
    planner: Planner,
    side: Moment,
    question: Question,
    method: str,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
) -> Iterator[Step]:
    """The slow way, a plan per turn, so that others get theirs and a stop stops."""
    del method
    effects: list[Float[Array, "camera rows columns"]] = []
    steps = effects_patch_by_patch(planner, side.observation(), GRID, seed=question.seed)
    count = len(side.clip.rig) * GRID[0] * GRID[1]
    for done in range(count):
        yield from (
            (str(view.status), done / count, {})
            for view in turn(draw, stopped, lambda: effects.append(next(steps)), None)
        )
        if stopped():
            return
        shown = {"pictures": effects[-1]} if (done + 1) % GRID[1] == 0 else {}
        yield f"patch {done + 1} of {count}", (done + 1) / count, shown
    yield "done", 1.0, {"pictures": effects[-1]}


def _drawn(title: str, side: Moment, cells: Array) -> tuple[str, UInt8[Array, "3 height width"]]:
    return title, overlay(side.clip.video[side.now], side.clip.rig, cells, title=title)


def _equal(sides: Sides) -> bool:
    before, after = sides.seen
    return bool(np.array_equal(before, after))
