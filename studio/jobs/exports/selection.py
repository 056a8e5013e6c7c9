"""Which of a batch's units are meant: by what the driver is told, by recording, by score."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from studio.jobs.units import Unit
from worldmodel.errors import BadRequest

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_LIMIT = re.compile(r"\s*([^<>=\s]+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*")
_NUMBERS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


@dataclass(frozen=True, kw_only=True)
class ScoreLimit:
    """A bound on one of a unit's own scores, such as psnr >= 20."""

    name: str
    comparison: str
    value: float

    @staticmethod
    def parse(text: str) -> "ScoreLimit":
        """The limit that 'NAME>=NUMBER' says; also <=, > and <.

        Raises:
            BadRequest: if it says something else.
        """
        found = _LIMIT.fullmatch(text)
        if found is None:
            raise BadRequest(f"'{text[:80]}' is no limit of a score; it must be like psnr>=20 or ade<1.5. Rewrite it.")
        return ScoreLimit(name=found[1], comparison=found[2], value=float(found[3]))

    def holds(self, scores: Mapping[str, float]) -> bool:
        """Whether a unit with these scores is meant; one without that score is not."""
        return self.name in scores and _COMPARISONS[self.comparison](scores[self.name], self.value)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Some of a batch's units; an empty field leaves all in.

    Attributes:
        text: Part of what the driver is told, in upper or lower case.
        episodes: Names of recordings, their numbers, or ranges of numbers such as '0-3'.
        scores: All must hold.
        imagining: Only units that imagine something; others ask planners alone.
    """

    text: str = ""
    episodes: tuple[str, ...] = ()
    scores: tuple[ScoreLimit, ...] = ()
    imagining: bool = False

    @staticmethod
    def parse(text: str = "", episodes: str = "", scores: Iterable[str] = ()) -> "Selection":
        """A selection from texts: episodes with commas between, scores as 'psnr>=20'.

        Raises:
            BadRequest: if a limit cannot be read.
        """
        return Selection(
            text=text.strip(),
            episodes=tuple(part.strip() for part in episodes.split(",") if part.strip()),
            scores=tuple(ScoreLimit.parse(one) for one in scores),
        )

    def takes(self, unit: Unit, scores: Mapping[str, float]) -> bool:
        """Whether this unit, whose own scores these are, is meant."""
        request = unit.request
        if self.imagining and not request.seconds:
            return False
        told = f"{request.text or ''} {request.schedule}".casefold()
        if self.text.casefold() not in told:
            return False
        if self.episodes and not any(_names(one, request.clip.id, request.clip.episode) for one in self.episodes):
            return False
        return all(limit.holds(scores) for limit in self.scores)

    @property
    def words(self) -> str:
        """For records: 'all', or what is asked of a unit."""
        parts = ["imagined"] if self.imagining else []
        parts += [f"text '{self.text}'"] if self.text else []
        parts += [f"episodes {', '.join(self.episodes)}"] if self.episodes else []
        parts += [f"{limit.name} {limit.comparison} {limit.value:g}" for limit in self.scores]
        return " and ".join(parts) or "all"


ALL = Selection()


def _names(wanted: str, clip_id: str, episode: int) -> bool:
    if wanted == clip_id:
        return True
    found = _NUMBERS.fullmatch(wanted)
    return found is not None and int(found[1]) <= episode <= int(found[2] or found[1])
