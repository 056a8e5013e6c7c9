"""What planners answer at the moment of a unit: without its edit and with it."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from policy.foreign.sources import is_foreign
from policy.planner import Planner
from studio.counterfactual import response_row
from studio.jobs.units import EditChoice, UnitRequest
from studio.jobs.work.clip_reader import EditedMoment
from studio.moments import Moment
from worldmodel.errors import ClipTooShort, Diverged, MissingMotion
from worldmodel.plans import Plan, Response

EDITED = "edited"
MAX_PLANS = 1000  # some hundred bytes each


@dataclass(frozen=True, eq=False, kw_only=True)
class UnitPlans:
    """Answers by the name of the planner.

    Attributes:
        factual: Of the recording as it is.
        edited: With the edit; empty without one.
        warnings: Who could not answer, and why.
    """

    factual: Mapping[str, Plan] = field(default_factory=dict)
    edited: Mapping[str, Plan] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def responses(self) -> dict[str, dict[str, float | None]]:
        """How each planner's plan moved with the edit, as `studio.counterfactual.response_row`."""
        return {
            name: response_row(Response(factual=self.factual[name], edited=plan)) for name, plan in self.edited.items()
        }

    def response_scores(self) -> dict[str, float]:
        """The same as numbers: 'endpoint_shift_m:NAME' and so on; what does not happen is absent."""
        moved = self.responses().items()
        return {f"{what}:{name}": value for name, row in moved for what, value in row.items() if value is not None}


class KeptPlans:
    """The last answers of planners that answer alike when asked alike: a sweep over edits needs each factual plan once."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Hashable, Plan] = OrderedDict()

    def of(self, name: str, planner: Planner, request: UnitRequest, moment: Moment, edit: EditChoice | None) -> Plan:
        """What a planner answers at a moment with an edit, or without.

        Raises:
            DetourError: as `Planner.plan`; nothing is kept then.
        """
        key = (name, request.samples, request.clip, moment.now, edit, request.text, request.seed)
        if key not in self._plans:
            seen = moment.observation()
            told = seen if request.text is None else replace(seen, instruction=request.text)
            plan = planner.plan(told, request.seed)
            if is_foreign(name):
                return plan
            while len(self._plans) >= MAX_PLANS:
                self._plans.popitem(last=False)
            self._plans[key] = plan
        self._plans.move_to_end(key)
        return self._plans[key]


def ask_planners(
    request: UnitRequest,
    planners: Mapping[str, Planner],
    moment: Moment,
    edited: EditedMoment | None,
    kept: KeptPlans,
) -> UnitPlans:
    """Plan once per planner, or twice with the same seed where there is an edit.

    A planner that cannot answer at this moment is a warning: asking it again changes nothing. If nothing else is asked for,
    it is an error.

    Args:
        request: Text and seed.
        planners: Who is asked, by name.
        moment: As it was recorded.
        edited: With the edit.
        kept: Answers so far.
    Raises:
        PolicyError: if a user's own policy fails; it may go well the next time.
    """
    factual: dict[str, Plan] = {}
    changed: dict[str, Plan] = {}
    warnings: list[str] = []
    for name, planner in planners.items():
        try:
            factual_moment = moment if edited is None else edited.factual
            plan = kept.of(name, planner, request, factual_moment, None)
            with_edit = None if edited is None else kept.of(name, planner, request, edited.moment, request.edit)
        except (MissingMotion, ClipTooShort, Diverged) as error:
            if not request.seconds and len(planners) == 1:
                raise
            warnings.append(f"planner '{name}' did not answer: {error}")
            continue
        factual[name] = plan
        if with_edit is not None:
            changed[name] = with_edit
    return UnitPlans(factual=factual, edited=changed, warnings=tuple(warnings))
