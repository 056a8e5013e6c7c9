"""Which scenes a dataset holds: situations in turn, or a mix with a wanted share of vision-critical moments.

A mix simulates more scenes than it needs (that is quick; nothing is rendered) and keeps, one after the other, the one
that fits best: its share of vision-critical moments, every decision at 2 s in sight, situations evenly. The choice is
a pure function of its arguments.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from worldmodel.decisions import HORIZONS_S
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array
from worldmodel.town.records.moments import FUTURE_S, Moments, moment_frames, moments_of
from worldmodel.town.records.workers import in_order
from worldmodel.town.traffic import SITUATIONS, simulate

SPLIT_SIZE = 1_000_000  # seeds below it are for training, then a million for validation, then a million for tests
SPLITS = {"train": 0, "val": SPLIT_SIZE, "test": 2 * SPLIT_SIZE}
MAX_SCENES = 100_000
CANDIDATES = 4  # scenes simulated per scene kept
FEWEST = 24  # candidates of even the smallest dataset
BLOCK = 64  # scenes chosen at once
AIM = 0.02  # how far inside its limit a mix aims
DECISION_AIM = 0.03  # share of each decision at 2 s that a mix aims at
BALANCED = HORIZONS_S.index(2.0)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How many moments of a dataset are to be vision-critical: `lowest` to `highest` of all.

    `worldmodel.town.records.moments` says what a moment is, and when it is vision-critical.
    """

    lowest: float = 0.0
    highest: float = 1.0

    def misses(self, share: Array) -> Array:
        """How far shares lie outside the limits, or nearer to one than AIM."""
        low = self.lowest + AIM if self.lowest else 0.0
        high = self.highest - AIM if self.highest < 1 else 1.0
        return np.maximum(low - share, 0.0) + np.maximum(share - high, 0.0)


MIXES = {
    "natural": Mix(highest=0.15),  # as on real roads: mostly one goes on as before
    "rich": Mix(lowest=0.5),  # what one needs eyes for, at least half the time
}


def scene_list(
    scenes: int, seed: int, *, situations: Iterable[str] | None = None, split: str = "train"
) -> list[tuple[str, int]]:
    """Pairs (situation, seed): situations in turn, seeds from the split's own range.

    Args:
        scenes: How many.
        seed: Where in the range to start; lists of different seeds overlap only by chance.
        situations: Names, of which a repeated one weighs more; all when None.
        split: 'train', 'val' or 'test'.
    Raises:
        UnknownName: for a situation or split that does not exist.
        BadRequest: for a number of scenes or a seed out of range.
    """
    names = _names(situations)
    if split not in SPLITS:
        raise UnknownName("split", split, SPLITS)
    if not 1 <= scenes <= MAX_SCENES:
        raise BadRequest(f"{scenes} scenes are wanted; it must be 1 to {MAX_SCENES}. Choose a number in between.")
    if not 0 <= seed < 2**63:
        raise BadRequest(f"the seed is {seed}; it must be an integer from 0 to 2**63 - 1. Choose another.")
    return _pairs(names, seed, split, 0, scenes)


def _names(situations: Iterable[str] | None) -> list[str]:
    names = list(SITUATIONS) if situations is None else list(situations)
    for name in names:
        if name not in SITUATIONS:
            raise UnknownName("situation", name, SITUATIONS)
    if not names:
        raise BadRequest("no situation was named. Name at least one, or leave the option out for all.")
    return names


def _pairs(names: Sequence[str], seed: int, split: str, first: int, count: int) -> list[tuple[str, int]]:
    start = int(np.random.default_rng(seed).integers(SPLIT_SIZE))
    return [(names[i % len(names)], SPLITS[split] + (start + i) % SPLIT_SIZE) for i in range(first, first + count)]


def mixed_scenes(
    mix: str | None,
    scenes: int,
    seed: int,
    *,
    situations: Iterable[str] | None = None,
    split: str = "train",
    seconds: float,
    frequency_hz: float = 8.0,
    workers: int = 1,
) -> list[tuple[str, int]]:
    """Pairs (situation, seed) of a mix; as `scene_list` without one.

    Args:
        mix: A name of MIXES, or None.
        seconds, frequency_hz: Of the scenes; they decide which moments there are.
        workers: Processes that simulate side by side; the result does not depend on it.
    Raises:
        UnknownName: for a mix, situation or split that does not exist.
        BadRequest: as `scene_list`; if a scene has no moment, or the situations cannot make up the mix.
    """
    plain = scene_list(scenes, seed, situations=situations, split=split)
    if mix is None:
        return plain
    check_mix(mix, seconds, frequency_hz)
    score = partial(_moments, seconds=seconds, frequency_hz=frequency_hz)
    names, chosen, choice = _names(situations), [], _Choice(MIXES[mix])
    offset = 0
    for first in range(0, scenes, BLOCK):
        wanted = min(BLOCK, scenes - first)
        pairs = _pairs(names, seed, split, offset, max(CANDIDATES * wanted, FEWEST))
        offset += len(pairs)
        moments = list(in_order(score, pairs, workers))
        chosen += [pairs[i] for i in choice.take(wanted, [name for name, _ in pairs], moments)]
    _check_share(mix, choice.share, names)
    return chosen


def check_mix(mix: str, seconds: float, frequency_hz: float) -> None:
    """Refuse a mix that cannot be made.

    Raises:
        UnknownName: for a mix that does not exist.
        BadRequest: for scenes without a moment.
    """
    if mix not in MIXES:
        raise UnknownName("mix", mix, MIXES)
    if not len(moment_frames(round(seconds * frequency_hz), frequency_hz)):
        raise BadRequest(
            f"scenes of {seconds:g} s are wanted, but a mix looks {FUTURE_S:g} s ahead and needs more. "
            "Choose 4 s or more, or leave the mix out."
        )


def _moments(pair: tuple[str, int], *, seconds: float, frequency_hz: float) -> Moments:
    return moments_of(simulate(*pair, seconds=seconds, frequency_hz=frequency_hz))


def _check_share(mix: str, share: float, names: Sequence[str]) -> None:
    limits = MIXES[mix]
    if not limits.lowest <= share <= limits.highest:
        bound = f"at least {limits.lowest:.0%}" if share < limits.lowest else f"at most {limits.highest:.0%}"
        raise BadRequest(
            f"of the moments of {', '.join(dict.fromkeys(names))} {share:.0%} are vision-critical at best, but the mix '{mix}' needs "
            f"{bound}. Name other situations, or ask for more scenes."
        )


class _Choice:
    """The scenes taken so far, as counts."""

    def __init__(self, mix: Mix) -> None:
        self.mix = mix
        self.moments = 0
        self.critical = 0
        self.decisions = np.zeros(len(Moments(gaps_m=(), decisions=()).counts(BALANCED)))
        self.situations: dict[str, int] = {}

    @property
    def share(self) -> float:
        """Of vision-critical moments."""
        return self.critical / max(self.moments, 1)

    def take(self, wanted: int, names: Sequence[str], moments: Sequence[Moments]) -> list[int]:
        """Choose among candidates, the best first; numbers of the chosen ones."""
        totals = np.array([len(each) for each in moments])
        critical = np.array([each.critical for each in moments])
        decisions = np.array([list(each.counts(BALANCED).values()) for each in moments], np.float64)
        free = np.ones(len(moments), bool)
        taken = []
        for _ in range(wanted):
            costs = self._costs(names, totals, critical, decisions)
            best = int(np.argmin(np.where(free, costs, np.inf)))
            free[best] = False
            taken.append(best)
            self.moments += int(totals[best])
            self.critical += int(critical[best])
            self.decisions += decisions[best]
            self.situations[names[best]] = self.situations.get(names[best], 0) + 1
        return taken

    def _costs(self, names: Sequence[str], totals: Array, critical: Array, decisions: Array) -> Array:
        """What is wrong with the dataset once a candidate is in it; the factors say what matters most."""
        wanted = Counter(names)  # as often as candidates
        moments = self.moments + totals
        share = (self.critical + critical) / moments
        rare = np.maximum(DECISION_AIM - (self.decisions + decisions) / moments[:, None], 0.0).sum(axis=1)
        often = np.array([self.situations.get(name, 0) / wanted[name] for name in names])
        often *= len(names) / len(wanted) / (sum(self.situations.values()) + 1)
        return np.asarray(40 * self.mix.misses(share) + 20 * rare + often)
