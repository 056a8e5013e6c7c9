"""One change, before and after: the same seconds twice, the same planner twice, and how its plan moved."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from studio.counterfactual import Pair, pair_of
from studio.demo import wish_of
from studio.live.imagine.imagining import Clock, Opening
from studio.live.imagine.pictures import Painter
from studio.live.what_if.answers import Answer, from_above, thing_of
from studio.live.what_if.questions import PATH, PATH_S, Question
from studio.live.what_if.views import WhatIfView, time_left, turn
from studio.overlays import COLORS, upscaled, with_path
from studio.planners import make_planner
from studio.saliency_overlays import heat_colors
from studio.sides import Place, Places, Sides, answer_of, sides_of
from studio.town_changes import future_scene, response_to_path
from studio.web.films import Track
from studio.web.turns import Ticket
from worldmodel.edits import ChangeMotion
from worldmodel.errors import DetourError, Diverged
from worldmodel.geometry import Array
from worldmodel.plans import PLAN_TIMES_S

if TYPE_CHECKING:
    from worldmodel.model import WorldModel
    from worldmodel.past import Past
    from worldmodel.town.scene import Scene

BRIGHT = 64.0  # a change of a quarter of the range is drawn brightest
BEFORE, AFTER, DIFFERENCE, TOWN = "before", "after", "difference", "town"


def what_if(
    load: "Callable[[], WorldModel]",
    places: Places,
    question: Question,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
    clock: Clock = time.perf_counter,
) -> Iterator[WhatIfView]:
    """Show both sides of a change, what the planner answers to each, and how both go on.

    Args:
        load: Gives the model; may take seconds.
        places: Moments that were asked about before.
        question: What is changed, and who is asked.
        draw: A place in the queue for the model; drawn anew for the plans and for each chunk.
        stopped: Asked before every piece of work; what is done by then is kept.
        clock: Seconds, for the estimate of what is left.

    Raises:
        DetourError: if the question, the clip or the model cannot be used; e.g. when no camera sees the object.
    """
    yield WhatIfView(status="Loading the model (only once) …")
    model = load()
    yield WhatIfView(status="Changing what is seen …")
    place = place_of_question(places, question, model)
    run = _Run(model, place, question)
    yield run.opening()
    if question.change != PATH:
        yield from turn(draw, stopped, run.plan, "Planning before and after …")
    yield run.answered()
    spent = 0.0
    while run.left and not stopped():
        started = clock()
        yield from turn(draw, stopped, run.imagine, None)
        if stopped():
            break
        spent += clock() - started
        yield run.grown(spent)
    yield run.ending(stopped())


def place_of_question(places: Places, question: Question, model: "WorldModel") -> Place:
    """The moment that a question is about, going on for as long as a plan or what is to be imagined."""
    return places.at(question.choice.text, wish_of(model, max(PATH_S, question.seconds)))


def difference(
    before: UInt8[Array, "n camera 3 h w"], after: UInt8[Array, "n camera 3 h w"]
) -> UInt8[Array, "n camera 3 h w"]:
    """Where pictures differ: dark where they are equal, brightest where a colour moved by a quarter of its range or more."""
    apart = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(axis=2)
    return np.ascontiguousarray(heat_colors(apart / BRIGHT).transpose(0, 1, 4, 2, 3))


class _Run:
    """One question while it is answered."""

    def __init__(self, model: "WorldModel", place: Place, question: Question) -> None:
        self.model, self.place, self.question = model, place, question
        self.moment = place.moment
        seen = self.moment.observation()
        edit = question.edit(self.moment.clip.frequency_hz, seen.speed_mps)
        self.sides: Sides = sides_of(place, edit, question.height_m or None)
        self.painter = Painter.of(self.moment.clip.rig)
        self.rate, self.per_chunk = model.config.frequency_hz, model.config.network.frames_per_chunk
        self.frames, self.done = self._frames(), 0
        self.notes = list(self.sides.notes)
        self.town = self._town()
        self.answer: Answer | None = None
        self._pair: Pair | None = None
        self._past: Past | None = None
        self._newest: tuple[Array, ...] = ()
        self._broken = False

    def _frames(self) -> int:
        """How many frames are imagined: as many as wished, and as the paths to drive last."""
        wished = self.question.imagined_s
        known = [float(path.times_s[-1]) for path in self.sides.actions or ()]
        return max(0, round(min([wished, *known]) * self.rate))

    def _town(self) -> "Scene | None":
        """How the town goes on, if that is to be shown and known."""
        if not self.frames or self.place.scene is None:
            return None
        try:
            return future_scene(self.moment, self.sides.edit, self.frames / self.rate)
        except DetourError as error:
            self.notes.append(f"the town cannot show it: {error}")
            return None

    @property
    def left(self) -> int:
        """Frames that are still to be imagined."""
        return 0 if self._broken else self.frames - self.done

    # -- the pieces of work that need the model -----------------------------------------------------------------------

    def plan(self) -> None:
        """Both plans."""
        question, moment = self.question, self.moment
        planner = make_planner(question.planner, self.model, question.samples)
        asked = {"at_s": moment.at_s, "history_s": moment.history_s}
        sides = self.sides
        self._pair = pair_of(planner, sides.before.clip, sides.edited, sides.edit, **asked, seed=question.seed)

    def imagine(self) -> None:
        """The next chunk of both sides at once, with the same noise."""
        sides = (self.sides.before.observation(), self.sides.after.observation())
        actions = self.sides.actions
        past = self._past or self.model.remember(sides)
        frames = min(self.per_chunk, self.left)
        try:
            rollouts = self.model.go_on(
                past,
                seconds=frames / self.rate,
                seeds=[self.question.seed] * 2,
                actions=None if actions is None else list(actions),
            )
        except Diverged as error:
            self._broken, self._newest = True, ()
            self.notes.append(str(error))
            return
        self._past, self._newest = rollouts[0].past, tuple(rollout.video for rollout in rollouts)
        self.notes += [text for rollout in rollouts for text in rollout.warnings]

    # -- what is shown ------------------------------------------------------------------------------------------------

    def opening(self) -> WhatIfView:
        """What is seen up to now, on both sides."""
        before, after = self.sides.seen
        told = self.sides.after.observation().instruction
        opening = Opening(
            tracks=tuple(self._tracks()),
            rate_hz=self.rate,
            start_s=-(len(before) - 1) / self.rate,
            frames=len(before) + self.frames,
            spoken=((0.0, told),) if told else (),
        )
        frames = self._painted(before, after, "")
        if self.town is not None:
            frames[TOWN] = self.painter.frames(after, "after")
        return WhatIfView(
            opening=opening,
            rig=self.painter.rig,
            frames=frames,
            complete=() if self.frames else tuple(frames),
            now=self._now(),
            birds_eye=from_above(self.moment, self.question, self.sides),
            told=self._told(),
        )

    def _tracks(self) -> Iterator[Track]:
        thing, cameras, go_on = thing_of(self.question), f"{len(self.moment.clip.rig)} cameras", self.frames > 0
        yield Track(name=BEFORE, label="Before", alt=f"Without the change, {cameras}", imagined=go_on)
        yield Track(name=AFTER, label="After", alt=f"With {thing}, {cameras}", imagined=go_on)
        alt = "Where both differ: dark is equal, bright is a change of a quarter of the range or more"
        yield Track(name=DIFFERENCE, label="Difference", alt=alt, imagined=go_on)
        if self.town is not None:
            yield Track(name=TOWN, label="After, in the town itself", alt=f"How the town itself goes on with {thing}")

    def _painted(self, before: Array, after: Array, made: str) -> dict[str, UInt8[Array, "n 3 h w"]]:
        return {
            BEFORE: self.painter.frames(before, f"before{made}"),
            AFTER: self.painter.frames(after, f"after{made}"),
            DIFFERENCE: self.painter.frames(difference(before, after), "difference"),
        }

    def _now(self) -> UInt8[Array, "camera 3 h w"]:
        """The newest pictures after the change, with both plans on the road in front."""
        rig, front = self.painter.rig, self.painter.front
        tiles = upscaled(self.sides.seen[1][-1], rig.width_px, rig.height_px).copy()
        response = self.answer.response if self.answer is not None else None
        for plan, color in ((response.factual, "before"), (response.edited, "after")) if response is not None else ():
            points = plan.trajectory.poses[:, :2]
            tiles[front] = with_path(tiles[front], rig.cameras[front], points, COLORS[color])
        return tiles

    def answered(self) -> WhatIfView:
        """How the plan moved, and what the town says."""
        if isinstance(self.sides.edit, ChangeMotion):
            self.answer = Answer(question=self.question, response=response_to_path(self.moment, self.sides.edit))
        elif self._pair is not None:
            town = answer_of(self.place, self.sides)
            self.answer = Answer(question=self.question, response=self._pair.response, town=town)
        if self.answer is None:
            return WhatIfView()
        return WhatIfView(
            answer=self.answer,
            now=self._now(),
            birds_eye=from_above(self.moment, self.question, self.sides, self.answer),
            status=f"Imagining how both go on, up to {self.frames / self.rate:g} s …" if self.frames else None,
            share=0.0 if self.frames else None,
        )

    def grown(self, spent_s: float) -> WhatIfView:
        """The chunk that was just imagined, and the town's own frames beside it."""
        if not self._newest:
            return WhatIfView()
        before, after = self._newest
        frames = self._painted(before, after, ", imagined")
        if self.town is not None:
            frames[TOWN] = self.painter.frames(self._rendered(len(before)), "the town itself")
        self.done += len(before)
        share = self.done / self.frames
        status = f"{self.done / self.rate:g} of {self.frames / self.rate:g} s imagined on both sides"
        return WhatIfView(status=status + time_left(share, spent_s), share=share, frames=frames)

    def _rendered(self, count: int) -> UInt8[Array, "n camera 3 h w"]:
        """The town's next frames; its last one stays when it ends."""
        from worldmodel.town.render import render

        assert self.town is not None
        first = round(self.moment.start_s * self.rate) + self.moment.now + 1 + self.done
        wanted = np.minimum(np.arange(first, first + count), len(self.town) - 1)
        return render(self.town, self.moment.clip.rig, wanted.tolist()).rgb

    def ending(self, stopped: bool) -> WhatIfView:
        """Everything is there, or it was stopped."""
        word = "Stopped." if stopped else "Done."
        if self.done and stopped:
            word = f"Stopped after {self.done / self.rate:g} of {self.frames / self.rate:g} s."
        tracks = tuple(track.name for track in self._tracks())
        return WhatIfView(
            status=word, share=None if stopped else 1.0, complete=tracks, told=self._told(), finished=True
        )

    def _told(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f"{text[0].upper()}{text[1:]}" for text in self.notes if text))


assert PLAN_TIMES_S[-1] == PATH_S
