"""Which units of a batch are compared with what followed: in which groups, and over how many frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studio.jobs.results.score_sides import Compared
from studio.jobs.unit_words import value_words
from worldmodel.errors import BadDataset, BadRequest


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A unit that is in no score, and why."""

    number: int
    key: str
    why: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Units that share a value, and how many frames of each are compared."""

    by: str
    value: str
    pairs: Sequence[Compared]
    frames: int


def frames_compared(pairs: Sequence[Compared], seconds: float | None) -> int:
    """How many frames of each future are compared: of the seconds asked for, or of the shortest future.

    Raises:
        BadDataset: if there is no unit.
        BadRequest: if futures are not that long.
    """
    if not pairs:
        raise BadDataset(
            "no unit can be compared: none is finished, imagines, has single cameras and no edit. `detour jobs status` says "
            "how the batch stands; add 'cameras' to the job's outputs."
        )
    shortest = min(pair.frames for pair in pairs)
    if seconds is None:
        return shortest
    wanted = round(seconds * pairs[0].unit.frequency_hz)
    if not 1 <= wanted <= shortest:
        most = shortest / pairs[0].unit.frequency_hz
        raise BadRequest(
            f"{seconds:g} s are to be compared; units have {most:g} s. Ask for more than 0 and at most that."
        )
    return wanted


def long_enough(pairs: Sequence[Compared], frames: int) -> tuple[list[Compared], list[LeftOut]]:
    """Units whose recording goes on so long, and the others.

    Raises:
        BadDataset: if there is none.
    """
    kept = [pair for pair in pairs if pair.followed.frames >= frames]
    left = [
        LeftOut(
            number=pair.unit.unit.number,
            key=pair.unit.key,
            why=f"its recording has {pair.followed.frames} frames after the moment, {frames} are compared",
        )
        for pair in pairs
        if pair.followed.frames < frames
    ]
    if not kept:
        most = max(pair.followed.frames for pair in pairs)
        raise BadDataset(
            f"no recording has {frames} frames after the moment that a unit goes on from, at most {most}. Compare less "
            f"with --seconds {most / pairs[0].unit.frequency_hz:g}, or choose earlier moments."
        )
    return kept, left


def groups_of(pairs: Sequence[Compared], sweeps: Sequence[str], frames: int, seconds: float | None) -> Iterator[Group]:
    """Groups by value, in the order of the units; what all have in common makes none."""
    for by in sweeps:
        values: dict[str, list[Compared]] = {}
        for pair in pairs:
            values.setdefault(value_words(pair.unit.request, by), []).append(pair)
        for value, some in values.items() if len(values) > 1 else ():
            own = by == "seconds" and seconds is None
            length = min(pair.frames for pair in some) if own else frames
            kept = [pair for pair in some if pair.followed.frames >= length]
            yield Group(by=by, value=value, pairs=kept, frames=length)


def all_of(groups: Sequence[Group]) -> list[Compared]:
    """Units of any of the groups, each once."""
    return list({pair.unit.key: pair for group in groups for pair in group.pairs}.values())
