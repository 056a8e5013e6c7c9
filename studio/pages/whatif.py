"""What if: put an object into the past that the planner sees, and compare its plans before and after."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.counterfactual import EditedClip, Pair, apply_edit, pair_of
from studio.demo import wish_of
from studio.moments import Moment, find_moment
from studio.overlays import COLORS, birds_eye_svg, mosaic
from studio.pages.imagining import FUTURE_LAYERS_S, known_paths, path_layer
from studio.town_answer import TownAnswer, town_answer, town_layers
from studio.web import shown
from studio.web.shelf import Choice
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadRequest
from worldmodel.io.video import write_video
from worldmodel.plans import Response

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

VARIANTS = {
    "near": "on the road, 12 m ahead",
    "far": "on the road, 30 m ahead",
    "very_far": "on the road, 60 m ahead",
    "sky_near": "in the sky, as large as near (control)",
    "sky_far": "in the sky, as large as far (control)",
    "sky": "in the sky, as large as very far (control)",
    "lookalike": "replaced by a bush of equal size beside the road (control)",
    "empty": "nothing pasted (control)",
}
NOTICE = "Edited by Detour: the object was never there. Research tool; no evidence of road safety."


@dataclass(frozen=True, kw_only=True)
class WhatIfRequest:
    """One edit, as the widgets say it.

    Attributes:
        choice: The moment; the object stands ahead of the ego there.
        variant: One of VARIANTS.
        kind: 'car', 'truck', 'pedestrian', ...
        seed: Shared by both plans.
        samples: Plans whose mean is the answer.
    """

    choice: Choice
    variant: str = "near"
    kind: str = "car"
    seed: int = 0
    samples: int = 8

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int | float) or not 0 <= self.seed <= 2**53:
            raise BadRequest(
                f"'Seed' is {self.seed if self.seed is not None else 'empty'}; give a whole number from 0."
            )

    def command(self, model: Path) -> str:
        """The `detour` command that asks the same."""
        words = ["detour", "stitch", self.choice.quoted(), "--variant", self.variant, "--kind", shlex.quote(self.kind)]
        words += ["--planner", "joint", "--samples", str(self.samples), "--seed", str(int(self.seed))]
        return " ".join([*words, "--model", shlex.quote(str(model)), "--out", "my-edit"])


@dataclass(frozen=True, kw_only=True)
class WhatIfView:
    """What changes on the page; None leaves a part as it is.

    Attributes:
        status, stills, birds_eye, response: HTML.
        film: The past before and after the edit, above each other, as mp4.
    """

    status: str | None = None
    stills: str | None = None
    birds_eye: str | None = None
    response: str | None = None
    film: Path | None = None


def what_if(load: "Callable[[], WorldModel]", request: WhatIfRequest, folder: Path) -> Iterator[WhatIfView]:
    """Stitch, plan twice with the same seed, and show how the plan moved.

    Raises:
        DetourError: if the request, the clip or the model cannot be used; e.g. when no camera sees the object.
    """
    yield WhatIfView(status=shown.status("Loading the model (once) …"))
    model = load()
    yield WhatIfView(status=shown.status("Stitching …", 0.2))
    moment = find_moment(request.choice.text, wish_of(model, FUTURE_LAYERS_S))
    edit = StitchSprite(variant=request.variant, kind=request.kind, at_s=moment.at_s)
    edited = apply_edit(moment.clip, edit)
    yield WhatIfView(
        status=shown.status("Planning before and after …", 0.6),
        stills=_stills(moment, edited),
        film=_film(moment, edited, folder),
    )
    from policy.planner import JointPlanner

    pair = pair_of(
        JointPlanner(model, request.samples),
        moment.clip,
        edited,
        edit,
        at_s=moment.at_s,
        history_s=moment.history_s,
        seed=int(request.seed),
    )
    town = town_answer(moment, edit)
    said = sentence(request, pair) if town is None else f"{sentence(request, pair)} {town.sentence}"
    yield WhatIfView(
        status=shown.status(said, 1.0), birds_eye=_birds_eye(moment, pair, town), response=_response(pair, town)
    )


def sentence(request: WhatIfRequest, pair: Pair) -> str:
    """The outcome in words."""
    change = pair.response.path_length_change_m
    moved = "the same way" if abs(change) < 0.005 else f"{abs(change):.2f} m {'less' if change < 0 else 'more'}"
    thing = (
        "With nothing pasted" if request.variant == "empty" else f"With the {request.kind} {VARIANTS[request.variant]}"
    )
    return f"{thing}, the plan drives {moved} in 4 s."


def _stills(moment: Moment, edited: EditedClip) -> str:
    pictures = []
    for clip, title, alt in (
        (moment.clip, "before", "The newest frame of all cameras as recorded."),
        (edited.clip, "after", "The same frame with the stitched object."),
    ):
        pictures.append(shown.picture(mosaic(clip.video[moment.now : moment.now + 1], clip.rig, title=title)[0], alt))
    notes = edited.stitched.provenance.get("notes") if edited.stitched is not None else None
    lines = [shown.status(f"Note: {note}.") for note in notes] if isinstance(notes, list) else []
    return "".join([*pictures, *lines])


def _film(moment: Moment, edited: EditedClip, folder: Path) -> Path:
    seen = slice(0, moment.now + 1)
    rows = [
        mosaic(clip.video[seen], clip.rig, title=title)
        for clip, title in ((moment.clip, "before"), (edited.clip, "after"))
    ]
    film = shown.stacked(rows)
    path = shown.new_path(folder, "what-if", ".mp4")
    write_video(path, shown.even(film), moment.clip.frequency_hz, comment=NOTICE)
    return path


def _birds_eye(moment: Moment, pair: Pair, town: TownAnswer | None) -> str:
    layers = [
        *known_paths(moment),
        path_layer("plan before", pair.factual.trajectory, COLORS["before"]),
        path_layer("plan after", pair.edited.trajectory, COLORS["after"]),
        *town_layers(town),
    ]
    place = pair.stitched.provenance["place_m"] if pair.stitched is not None else None
    pasted = isinstance(place, list) and isinstance(pair.edit, StitchSprite) and pair.edit.variant != "empty"
    obstacle = (float(place[0]), float(place[1])) if pasted and isinstance(place, list) else None
    boxes = moment.clip.boxes[moment.now] if moment.clip.boxes is not None else ()
    return birds_eye_svg(layers, boxes=boxes, obstacle_m=obstacle, title="Plans before and after the edit, from above")


def _response(pair: Pair, town: TownAnswer | None) -> str:
    response = pair.response
    lengths = (f"{plan.path_length_m:.2f} m" for plan in (pair.factual, pair.edited))
    head: tuple[str, ...] = ("response", "before", "after", "change")
    blanks = ("", "")
    columns = [
        ("path length over 4 s", *lengths),
        ("end point", *blanks),
        ("sideways", *blanks),
        ("braking begins", *blanks),
    ]
    changes = [_changes(response)]
    caption = f"Planner '{pair.planner}', seed {pair.seed} shared."
    if town is not None and town.response is not None:
        head = (*head, "of the town's driver")
        changes.append(_changes(town.response))
        caption += " The town's driver meets a real obstacle in the same scene."
    rows = [(*column, *cells) for column, cells in zip(columns, zip(*changes, strict=True), strict=True)]
    return shown.table(head, rows, caption)


def _changes(response: Response) -> tuple[str, ...]:
    onset = response.braking_onset_s
    return (
        f"{response.path_length_change_m:+.2f} m",
        f"{response.endpoint_shift_m:.2f} m away",
        f"{response.lateral_shift_m:+.2f} m (left is +)",
        "never" if onset is None else f"{onset:g} s",
    )
