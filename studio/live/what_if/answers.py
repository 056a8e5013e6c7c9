"""What came of a question: how the plan moved, beside the town's own answer, in words and as a small table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.live.what_if.questions import OBJECT, PATH, PLACED, REMOVE, TEXT, VARIANTS, WEATHER, Question
from studio.moments import Moment
from studio.overlays import COLORS, PathLayer
from studio.placement import ROAD_TWINS, middle_of
from studio.sides import Sides
from studio.town_answer import DRIVER, TownAnswer
from studio.town_sprites import sized_sprite, sprite_of
from studio.web.components.birds_eye import CarPath, scene
from worldmodel.edits import StitchSprite
from worldmodel.geometry import Trajectory
from worldmodel.plans import Plan, Response

SAME_M = 0.005  # changes below count as none


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """How the plan moved.

    Attributes:
        question: What was asked.
        response: Without and with the change: the planner's; of a drawn path, how it differs from the recorded one. None when 4 s of the
            recorded one are not known.
        town: The town's own answer; None for clips that it did not make.
    """

    question: Question
    response: Response | None
    town: TownAnswer | None = None

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        return " ".join(part for part in (self._planner_said(), self.town.sentence if self.town else "") if part)

    def _planner_said(self) -> str:
        if self.response is None:
            return "The recording does not go on for 4 s, so the drawn path is compared with nothing."
        change, onset = self.response.path_length_change_m, self.response.braking_onset_s
        who = "the drawn path" if self.question.change == PATH else f"the plan of '{self.question.planner}'"
        if self.response.endpoint_shift_m < SAME_M:
            return f"With {thing_of(self.question)}, {who} stays the same."
        moved = (
            "is as long" if abs(change) < SAME_M else f"is {abs(change):.2f} m {'shorter' if change < 0 else 'longer'}"
        )
        brakes = "" if onset is None else f" and slower from {onset:g} s on"
        return f"With {thing_of(self.question)}, {who} over 4 s {moved}{brakes}; it ends {self.response.endpoint_shift_m:.2f} m away."

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], str] | None:
        """Head, rows and caption; None where nothing can be compared."""
        if self.response is None:
            return None
        of_town = self.town.response if self.town is not None else None
        first, second = ("recorded", "drawn") if self.question.change == PATH else ("before", "after")
        head = ("in 4 s", first, second, "change", *(("of the town's driver",) if of_town else ()))
        plans = (self.response.factual, self.response.edited)
        before = (*(f"{plan.path_length_m:.2f} m" for plan in plans[:1]), "", "", "")
        after = (*(f"{plan.path_length_m:.2f} m" for plan in plans[1:]), "", "", "")
        columns = [
            ("path length", "end point moves", "sideways", "slower from"),
            before,
            after,
            changes_of(self.response),
        ]
        if of_town is not None:
            columns.append(changes_of(of_town))
        caption = (
            ""
            if self.question.change == PATH
            else f"Planner '{self.question.planner}'; both plans share seed {self.question.seed}."
        )
        return head, tuple(zip(*columns, strict=True)), caption


def changes_of(response: Response) -> tuple[str, str, str, str]:
    """Change of path length, shift of the end point, sideways, and when it is slower, with units."""
    onset = response.braking_onset_s
    return (
        f"{response.path_length_change_m:+.2f} m",
        f"{response.endpoint_shift_m:.2f} m",
        sideways(response.lateral_shift_m),
        "never" if onset is None else f"{onset:g} s",
    )


def sideways(shift_m: float) -> str:
    """A move to a side in words; to the left is positive."""
    side = "" if abs(shift_m) < SAME_M else " left" if shift_m > 0 else " right"
    return f"{abs(shift_m):.2f} m{side}"


def thing_of(question: Question) -> str:
    """What differs, in words."""
    if question.change == OBJECT:
        if question.where == "empty":
            return "nothing pasted"
        place = (
            f"{question.x_m:.1f} m ahead" + _beside(question.y_m)
            if question.where == PLACED
            else VARIANTS[question.where]
        )
        return place if question.where == "lookalike" else f"a {question.kind} {place}"
    said = {
        REMOVE: f"{question.track} gone",
        WEATHER: f"{question.weather} at {question.hour:g} h",
        TEXT: f"the words '{question.text.strip()}'",
        PATH: "another path",
    }
    return said[question.change]


def _beside(y_m: float) -> str:
    return "" if abs(y_m) < 0.05 else f", {abs(y_m):.1f} m to the {'left' if y_m > 0 else 'right'}"


def from_above(
    moment: Moment, question: Question, sides: Sides | None = None, answer: Answer | None = None
) -> dict[str, Any]:
    """What the bird's-eye view shows: history, what was driven, both plans, the town's driver, boxes, the object or the path.

    Args:
        sides: Of the question, once it is asked; None before.
        answer: Once it is there.
    """
    past, driven = moment.past(), moment.driven()
    layers = [
        PathLayer(label=label, points_m=path.poses[:, :2], color=COLORS[color], dashed=True)
        for label, path, color in (("history", past, "history"), ("recorded", driven, "truth"))
        if path is not None
    ]
    plans: list[tuple[str, Plan, str]] = []
    if answer is not None and answer.response is not None and question.change != PATH:
        plans.append(("plan before", answer.response.factual, "before"))
        plans.append(("plan after", answer.response.edited, "after"))
        if answer.town is not None and answer.town.response is not None:
            plans.append((f"{DRIVER}, after", answer.town.response.edited, "town"))
    layers += [_plan_layer(*plan) for plan in plans]
    cars = [_car(*plan) for plan in plans]
    if sides is not None and sides.actions is not None:
        layers.append(PathLayer(label="drawn", points_m=sides.actions[1].poses[:, :2], color=COLORS["after"]))
        cars += [
            CarPath(label=label, path=path, color=COLORS[color])
            for label, path, color in zip(("recorded", "drawn"), sides.actions, ("truth", "after"), strict=True)
        ]
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    gone = question.track if question.change == REMOVE and answer is not None else ""
    drawing = scene(
        layers,
        boxes=[box for box in boxes if box.track != gone],
        cars=cars,
        obstacle=obstacle_of(question, sides),
        title="From above: the way, the plans before and after, and what is around",
    )
    points = question.waypoints if question.change == PATH else ()
    return {**drawing, "waypoints": [list(point) for point in points] or None}


def _plan_layer(label: str, plan: Plan, color: str) -> PathLayer:
    return PathLayer(label=label, points_m=plan.trajectory.poses[:, :2], color=COLORS[color])


def _car(label: str, plan: Plan, color: str) -> CarPath:
    """The car that drives a plan, from where it is now."""
    path = plan.trajectory
    poses, times = np.concatenate([np.zeros((1, 3)), path.poses]), np.concatenate([[0.0], path.times_s])
    return CarPath(label=label, path=Trajectory(poses=poses, times_s=times), color=COLORS[color])


def obstacle_of(question: Question, sides: Sides | None = None) -> dict[str, Any] | None:
    """The object's footprint in the view from above; None when nothing stands on the ground."""
    if question.change != OBJECT or question.where in ("empty", *ROAD_TWINS):
        return None
    edit = sides.edit if sides is not None and isinstance(sides.edit, StitchSprite) else question.sprite()
    sprite = sized_sprite(question.kind, question.height_m or None) or sprite_of(question.kind)
    x, y, yaw = (float(value) for value in middle_of(edit, sprite))
    length, width = sprite.footprint_m
    return {
        "x": round(x, 2), "y": round(y, 2), "yaw": round(yaw, 3), "length": length, "width": width,
        "kind": question.kind, "movable": True,
    }  # fmt: skip
