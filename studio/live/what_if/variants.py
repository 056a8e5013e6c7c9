"""All variants and controls of one moment: the same object at every place, one planner, one seed; a small table that grows."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio.counterfactual import pair_of
from studio.live.imagine.imagining import Clock
from studio.live.what_if.answers import changes_of
from studio.live.what_if.asking import place_of_question
from studio.live.what_if.questions import OBJECT, PLACED, VARIANTS, Question
from studio.live.what_if.views import time_left, turn
from studio.planners import make_planner
from studio.sides import Place, Places, answer_of, sides_of
from studio.web.turns import Ticket
from worldmodel.errors import BadEdit
from worldmodel.plans import Response

if TYPE_CHECKING:
    from worldmodel.model import WorldModel

HEAD = ("where", "path length", "end point moves", "sideways", "slower from", "town's driver: path length")


@dataclass(frozen=True, eq=False, kw_only=True)
class VariantRow:
    """One variant.

    Attributes:
        where: One of VARIANTS.
        response: The planner's; None when the variant cannot be.
        town: The town driver's; None where it is not known.
        why: Why it cannot be; '' when it can.
    """

    where: str
    response: Response | None = None
    town: Response | None = None
    why: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as texts under HEAD."""
        title = f"{self.where.replace('_', ' ')}: {VARIANTS[self.where]}"
        if self.response is None:
            return (title, "cannot be", "", "", "", "")
        town = "not known" if self.town is None else changes_of(self.town)[0]
        return (title, *changes_of(self.response), town)


@dataclass(frozen=True, eq=False, kw_only=True)
class VariantsView:
    """The table so far.

    Attributes:
        status: A sentence.
        share: Of the variants that are done, 0 to 1.
        rows: Those that are done.
        finished: Whether nothing follows.
    """

    status: str
    share: float | None = None
    rows: tuple[VariantRow, ...] = ()
    finished: bool = False


def all_variants(
    load: "Callable[[], WorldModel]",
    places: Places,
    question: Question,
    draw: Callable[[], Ticket],
    stopped: Callable[[], bool],
    clock: Clock = time.perf_counter,
) -> Iterator[VariantsView]:
    """Ask the same planner about every variant and control, one after the other.

    Args:
        load, places, draw, stopped, clock: As of `studio.live.what_if.asking.what_if`.
        question: Says the moment, the object, the planner and the seed; its own place comes first when it is PLACED.

    Raises:
        DetourError: if the clip or the model cannot be used.
    """
    yield VariantsView(status="Loading the model (only once) …")
    model = load()
    question = replace(question, change=OBJECT)
    place = place_of_question(places, question, model)
    wanted = [where for where in VARIANTS if where != PLACED or question.where == PLACED]
    rows: list[VariantRow] = []
    started = clock()
    for where in wanted:
        if stopped():
            break
        share = len(rows) / len(wanted)
        left = time_left(share, clock() - started)
        yield VariantsView(status=f"{VARIANTS[where]} …{left}", share=share, rows=tuple(rows))
        asked = _Asked(model, place, replace(question, where=where))
        if not asked.why:
            for view in turn(draw, stopped, asked.plan, None):
                yield VariantsView(status=str(view.status), share=share, rows=tuple(rows))
        if asked.why or asked.response is not None:
            rows.append(asked.row())
    word = "Done." if len(rows) == len(wanted) else f"Stopped after {len(rows)} of {len(wanted)}."
    yield VariantsView(status=word, share=len(rows) / len(wanted), rows=tuple(rows), finished=True)


class _Asked:
    """One variant while it is asked about."""

    def __init__(self, model: "WorldModel", place: Place, question: Question) -> None:
        self.model, self.place, self.question, self.why = model, place, question, ""
        self.response: Response | None = None
        try:
            self.sides = sides_of(place, question.sprite(), question.height_m or None)
        except BadEdit as error:
            self.why = str(error)

    def plan(self) -> None:
        """Both plans."""
        moment, sides, question = self.place.moment, self.sides, self.question
        planner = make_planner(question.planner, self.model, question.samples)
        seen = {"at_s": moment.at_s, "history_s": moment.history_s}
        self.response = pair_of(planner, moment.clip, sides.edited, sides.edit, **seen, seed=question.seed).response

    def row(self) -> VariantRow:
        """What came of it, beside the town's answer."""
        if self.why:
            return VariantRow(where=self.question.where, why=self.why)
        known = answer_of(self.place, self.sides) if self.question.where != "lookalike" else None
        town = None if known is None else known.response
        return VariantRow(where=self.question.where, response=self.response, town=town)
