"""What a driver sees in a frame, and words that single one thing out."""

from dataclasses import dataclass, field
from math import pi

from worldmodel.town.words.neighbours import Neighbour
from worldmodel.town.words.nouns import noun
from worldmodel.town.words.surroundings import Surroundings

SIDES = ("ahead", "left", "right", "behind")
CONE_RAD = 0.7  # 'ahead of us' is this far to either side
DOUBT_RAD = 0.15  # directions this close to a border are a matter of taste


@dataclass(frozen=True, eq=False)
class View:
    """A frame as the driver sees it."""

    around: Surroundings
    frame: int
    all: tuple[Neighbour, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "all", self.around.around(self.frame))

    @property
    def clear(self) -> list[Neighbour]:
        """Those that can be seen beyond doubt."""
        return [one for one in self.all if one.clear]

    @property
    def possible(self) -> list[Neighbour]:
        """Those that can perhaps be seen."""
        return [one for one in self.all if not one.hidden]

    def reference(self, one: Neighbour) -> str | None:
        """Words that mean this one and nobody else; None where there are none."""
        same = [other for other in self.possible if other.kind == one.kind]
        if len(same) == 1:
            return f"the {noun(one.kind)}"
        side = side_of(one)
        if side is not None and sum(_perhaps_at(other, side) for other in same) == 1:
            where = {"ahead": "ahead of us", "behind": "behind us"}.get(side, f"on the {side}")
            return f"the {noun(one.kind)} {where}"
        return None


def side_of(one: Neighbour) -> str | None:
    """'ahead', 'left', 'right' or 'behind' by the direction in which it lies; None where that is a matter of taste."""
    for side in SIDES:
        if abs(_off(one, side)) < pi / 4 - DOUBT_RAD:
            return side
    return None


def _off(one: Neighbour, side: str) -> float:
    middle = {"ahead": 0.0, "left": pi / 2, "right": -pi / 2, "behind": pi}[side]
    return float((one.bearing_rad - middle + pi) % (2 * pi) - pi)


def _perhaps_at(one: Neighbour, side: str) -> bool:
    return abs(_off(one, side)) < pi / 4 + DOUBT_RAD


def ahead(one: Neighbour) -> bool:
    """Whether it is ahead beyond doubt."""
    return abs(one.bearing_rad) < CONE_RAD - DOUBT_RAD


def perhaps_ahead(one: Neighbour) -> bool:
    """Whether somebody might say that it is ahead."""
    return abs(one.bearing_rad) < CONE_RAD + DOUBT_RAD or one.gap_m < 2.0
