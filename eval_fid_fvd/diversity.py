"""How different is what comes next? The variance of visual states: total, given what is told, and between what is told.

A predictor of the next state that does not look can at best say its mean given what is told (ego status, command), so its mean
squared error is at least the variance that is left then: the *floor*. The floor is known only through a proxy: given a command
out of three it is an upper bound of the one given all that is told, so an error below it is a hint that the predictor looks, and
no proof. (`next_states` adds what a linear reader of ego status and command reaches, and a copy of the present picture.)

Source: "Grounding Driving VLA via Inverse Kinematics", appendix E.4; merged sums: Chan, Golub and LeVeque (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest

Array = np.ndarray
COMMANDS = ("left", "forward", "right")
SIDE_M = 2.0  # this far to a side after the horizon is a turn


@dataclass(frozen=True, eq=False, kw_only=True)
class Spread:
    """Count, mean and sum of squared deviations of arrays of one shape, float64; `+` merges two disjoint sets.

    Attributes:
        mean, squares: Per element, of the arrays' own shape.
    """

    count: int
    mean: Float[Array, "..."]
    squares: Float[Array, "..."]

    @staticmethod
    def of(values: Float[Array, "n ..."]) -> "Spread":
        """Of the rows of an array; of none is the neutral element."""
        rows = np.asarray(values, np.float64)
        if not np.isfinite(rows).all():
            raise BadRequest("a visual state is not finite; all must be. Leave its moment out, and count it.")
        if not len(rows):
            return Spread(count=0, mean=np.zeros(rows.shape[1:]), squares=np.zeros(rows.shape[1:]))
        mean = rows.mean(axis=0)
        return Spread(count=len(rows), mean=mean, squares=((rows - mean) ** 2).sum(axis=0))

    def __add__(self, other: "Spread") -> "Spread":
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        return Spread(
            count=count,
            mean=self.mean + apart * (other.count / count),
            squares=self.squares + other.squares + apart**2 * (self.count * other.count / count),
        )


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Variance of visual states per element; `total` = `given` + `between`, up to rounding.

    Attributes:
        total: Variance of all states together.
        given: Mean variance within the groups: the proxy of the floor.
        between: Variance of the groups' means.
        given_unbiased: `given` with each group's variance taken over one less than its moments, which small groups need to be
            comparable with an error on new moments; groups of one moment count as the mean of the others. NaN without such.
        elements: Of a state: times this, the numbers are those of whole states.
        counts: Moments per group.
    """

    total: float
    given: float
    between: float
    given_unbiased: float
    elements: int
    counts: dict[str, int]

    @property
    def moments(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def explained(self) -> float:
        """Share of the variance that the groups explain."""
        return self.between / self.total if self.total else float("nan")


def diversity(groups: Mapping[str, Spread]) -> Diversity:
    """The law of total variance over groups of states; a group may have been streamed.

    Raises:
        BadRequest: without any state.
    """
    filled = {name: spread for name, spread in groups.items() if spread.count}
    if not filled:
        raise BadRequest(
            "no group has a visual state; at least one is needed. Give moments whose later pictures are known."
        )
    whole = reduce(add, filled.values())
    means = [(spread.count, ((spread.mean - whole.mean) ** 2).mean()) for spread in filled.values()]
    several = [
        (spread.count, float(spread.squares.mean()) / (spread.count - 1))
        for spread in filled.values()
        if spread.count > 1
    ]
    known = sum(count for count, _ in several)
    return Diversity(
        total=float(whole.squares.mean()) / whole.count,
        given=float(sum(spread.squares.mean() for spread in filled.values())) / whole.count,
        between=float(sum(count * apart for count, apart in means)) / whole.count,
        given_unbiased=sum(count * variance for count, variance in several) / known if known else float("nan"),
        elements=int(whole.mean.size),
        counts={name: spread.count for name, spread in filled.items()},
    )


def spreads(values: Float[Array, "n ..."], groups: Sequence[Any] | Array) -> dict[str, Spread]:
    """States of moments by group.

    Args:
        groups: What is told at each moment, as any labels.
    Raises:
        BadRequest: for another number of labels, or values that are not finite.
    """
    rows, labels = np.asarray(values), np.asarray(groups)
    if len(rows) != len(labels):
        raise BadRequest(
            f"{len(rows)} visual states and {len(labels)} groups; each state needs one. Label all moments."
        )
    return {str(name): Spread.of(rows[labels == name]) for name in np.unique(labels)}


def merged(parts: Sequence[Mapping[str, Spread]]) -> dict[str, Spread]:
    """Spreads by group of several parts (clips, stores) together."""
    names = sorted({name for part in parts for name in part})
    return {name: reduce(add, (part[name] for part in parts if name in part)) for name in names}


def commands(points: Float[Array, "n 2"]) -> Array:
    """The command that leads to where one is after the horizon (x forward, y left, metres): 'left', 'forward' or 'right'.

    Source: nuScenes' `gt_ego_fut_cmd` as in the paper's data: 2 m to a side after 3 s.
    """
    left = np.asarray(points, np.float64)[:, 1]
    return np.where(left >= SIDE_M, COMMANDS[0], np.where(left <= -SIDE_M, COMMANDS[2], COMMANDS[1]))


def told_groups(command: Sequence[str] | Array, *status: Float[Array, " n"], bins: int = 3) -> Array:
    """Finer groups of what is told: the command together with bins of equal size of each status (speed, yaw rate, ...).

    >>> told_groups(["left", "left"], np.array([1.0, 9.0]), bins=2).tolist()
    ['left 0', 'left 1']
    """
    labels = [str(word) for word in command]
    for values in status:
        edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
        labels = [f"{label} {bin_}" for label, bin_ in zip(labels, np.searchsorted(edges, values), strict=True)]
    return np.array(labels)
