"""The road of a scene: which kind, how long, how it bends.

kind            what it is                                       routes besides 'ego'
'street'        one lane each way                                'oncoming'
'curvy'         the same with bends                              'oncoming'
'crossing'      the same with a zebra crosswalk ahead            'oncoming'
'blind_bend'    the same with a tight bend between houses        'oncoming'
'two_lanes'     two lanes each way                               'lane0' (left), 'lane1', 'oncoming0', 'oncoming1'
'highway'       three lanes each way                             'lane0' ... 'lane2', 'oncoming0' ... 'oncoming2'
'merge'         a highway that a ramp joins                      as 'highway' and 'ramp'
'exit'          a highway that a ramp leaves                     as 'highway' and 'ramp'
'intersection'  a crossing without signals                       '0-1' ... '3-2': from arm to arm
'signals'       a crossing with signals                          '0-1' ... '3-2'
'roundabout'    a ring with three or four arms                   '0-1' ... '3-2'
'block'         streets around a block                           'oncoming' (round the other way), 'through0' ... 'through7'

The ego comes from arm 0. At crossings arms 1, 2 and 3 lie to its left, ahead and to its right; at a roundabout they are
counted as one passes them. 'oncoming0' is the lane next to the middle.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.town.roads.bends import Bend, blind_bend, draw_bends
from worldmodel.town.roads.block import Block, block
from worldmodel.town.roads.junctions import ARMS, Control, Crossroads, intersection
from worldmodel.town.roads.network import Segment, length_of
from worldmodel.town.roads.ramps import TAPER_M, Ramp, joining, leaving
from worldmodel.town.roads.roadmap import Programme, RoadMap
from worldmodel.town.roads.roundabout import Roundabout, roundabout
from worldmodel.town.roads.streets import highway, two_lanes, two_way, with_crosswalk

if TYPE_CHECKING:
    from worldmodel.town.situations import Situation

BEHIND_M = 135.0  # of road behind the ego's start: farther than one sees
EASY_MPS2 = 2.5  # everybody can brake so hard for what the scene begins with


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """What a road is drawn from; see `draw_road`."""

    situation: "Situation"
    rng: np.random.Generator
    heading: float
    seed: int
    wish: float
    length_m: float

    def between(self, low: float, high: float) -> float:
        """A number in a range."""
        return float(self.rng.uniform(low, high))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)

    def braking_m(self) -> float:
        """Enough to stop from the wished speed, and the car's nose."""
        return self.wish**2 / (2 * EASY_MPS2) + 8.0


def draw_road(situation: "Situation", rng: np.random.Generator, *, seed: int, wish: float, length_m: float) -> RoadMap:
    """The road of a scene.

    Args:
        situation: Its `road` names the kind.
        rng: Everything but the turns is drawn from it; turns go round with the seed, so that they are balanced.
        wish: Speed that the ego would like to drive.
        length_m: Must lie ahead of the ego.
    """
    heading = float(rng.uniform(-pi, pi))
    draw = Draw(situation=situation, rng=rng, heading=heading, seed=seed, wish=wish, length_m=length_m)
    return ROADS[situation.road](draw)


# -- streets ----------------------------------------------------------------------------------------------------


def _street(draw: Draw) -> RoadMap:
    return _along(draw, _nearly_straight(draw), _parking(draw))


def _curvy(draw: Draw) -> RoadMap:
    bends = draw_bends(draw.rng, draw.length_m + 70, right_first=draw.seed % 2 == 0)
    return _along(draw, [("straight", BEHIND_M - 60.0, 0.0), *bends], _parking(draw))


def _along(draw: Draw, segments: list[Segment], parking: bool) -> RoadMap:
    width = draw.between(3.5, 4.0)
    return two_way(segments, heading=draw.heading, start_s=BEHIND_M, width=width, parking=parking)


def _parking(draw: Draw) -> bool:
    return draw.situation.half_blocked or draw.situation.parked[0] > 1 or draw.chance(0.5)


def _nearly_straight(draw: Draw) -> list[Segment]:
    """A street with one wide bend, or none: a street is seldom straight for long."""
    if not draw.chance(0.6):
        return [("straight", draw.length_m + BEHIND_M + 40.0, 0.0)]
    radius = draw.between(120, 350)
    turn = draw.between(0.15, 0.5) * (1 if draw.chance(0.5) else -1)
    before = BEHIND_M + draw.between(0, 80)
    return [("straight", before, 0.0), ("arc", radius, turn), ("straight", draw.length_m + 40.0, 0.0)]


def _crossing(draw: Draw) -> RoadMap:
    road = _along(draw, _nearly_straight(draw), parking=False)
    ahead = draw.braking_m() + draw.wish * draw.between(0.5, 3.5)
    return with_crosswalk(road, ahead, ("", "teeth", "solid")[int(draw.rng.integers(3))])


def _two_lanes(draw: Draw) -> RoadMap:
    return two_lanes(
        _nearly_straight(draw),
        heading=draw.heading,
        start_s=BEHIND_M,
        width=draw.between(3.2, 3.6),
        parking=draw.situation.parked[0] > 1 or draw.chance(0.4),
        ego_lane=int(draw.chance(0.65)),
    )


def _blind_bend(draw: Draw) -> RoadMap:
    bend = Bend(
        behind_m=BEHIND_M,
        before_m=draw.wish * draw.between(1.5, 3.5) + 10.0,
        radius_m=draw.between(13, 17),
        angle_rad=draw.between(1.25, 1.57) * (1 if draw.seed % 2 == 0 else -1),
        after_m=draw.length_m,
    )
    return blind_bend(bend, heading=draw.heading, width=draw.between(3.4, 3.8))


def _highway(draw: Draw) -> RoadMap:
    lane = int(draw.rng.choice([0, 1, 2], p=[0.2, 0.5, 0.3]))
    segments = _sweeps(draw, draw.length_m + BEHIND_M + 20.0)
    return highway(segments, heading=draw.heading, start_s=BEHIND_M, ego_lane=lane)


def _sweeps(draw: Draw, length_m: float) -> list[Segment]:
    """The wide bends of a highway."""
    segments: list[Segment] = []
    bend = 1.0 if draw.chance(0.5) else -1.0
    while length_of(segments) < length_m:
        radius = draw.between(350, 900)
        segments.append(("arc", radius, bend * draw.between(80, 220) / radius))
        if draw.chance(0.4):
            segments.append(("straight", draw.between(40, 150), 0.0))
        bend = -bend if draw.chance(0.5) else bend
    return segments


def _merge(draw: Draw) -> RoadMap:
    """Every second seed starts on the ramp, the others beside it."""
    lanes, before = int(draw.rng.integers(2, 4)), 2 * BEHIND_M
    own = "ramp" if draw.seed % 2 == 0 else f"lane{lanes - 1 - int(draw.chance(0.25))}"
    ahead = draw.wish * draw.between(0.3, 2.2) + 10.0
    return joining(_ramp(draw, lanes, before, own, before - ahead))


def _exit(draw: Draw) -> RoadMap:
    """Two of three seeds take the exit."""
    lanes = int(draw.rng.integers(2, 4))
    before = BEHIND_M + TAPER_M + draw.wish * draw.between(0.8, 4.0) + 10.0
    own = "ramp" if draw.seed % 3 else f"lane{lanes - 1 - int(draw.chance(0.3))}"
    beyond: list[Segment] = [("arc", draw.between(500, 900), -draw.between(0.1, 0.4)), ("straight", draw.length_m, 0.0)]
    return leaving(replace(_ramp(draw, lanes, before, own, BEHIND_M), beyond=beyond))  # away from the ramp


def _ramp(draw: Draw, lanes: int, before_m: float, ego: str, start_s: float) -> Ramp:
    return Ramp(
        heading=draw.heading,
        lanes=lanes,
        before_m=before_m,
        beside_m=draw.between(110, 150) if draw.situation.road == "merge" else draw.between(70, 110),
        radius_m=draw.between(120, 180) if draw.situation.road == "merge" else draw.between(60, 110),
        angle_rad=draw.between(0.3, 0.5),
        away_m=draw.length_m,
        beyond=_sweeps(draw, draw.length_m),
        ego=ego,
        start_s=start_s,
    )


# -- where roads meet -------------------------------------------------------------------------------------------


def _intersection(draw: Draw) -> RoadMap:
    """Three of ten have no priority; at the others the ego's street goes first in three of seven."""
    kind = str(draw.rng.choice(["equal", "yield", "stop"], p=[0.3, 0.4, 0.3]))
    lower = (1, 3) if draw.chance(3 / 7) else (0, 2)
    zebras = tuple(arm for arm in range(4) if draw.chance(0.7)) if draw.chance(0.4) else ()
    return _crossroads(draw, Control(kind=kind, lower=() if kind == "equal" else lower, zebras=zebras))


def _signals(draw: Draw) -> RoadMap:
    zebras = (0, 1, 2, 3) if draw.chance(0.8) else ()
    green = draw.between(6.0, 10.0)
    cycle = 2 * (green + Programme.amber_s + Programme.clear_s)
    return _crossroads(draw, Control(kind="signals", zebras=zebras, programme_s=(green, draw.between(0.0, cycle))))


def _crossroads(draw: Draw, control: Control) -> RoadMap:
    turn = ("left", "right", "straight", "left", "right")[draw.seed % 5]  # balanced over any run of seeds
    free = [arm for arm in (1, 2, 3) if arm != ARMS[turn]]
    missing = int(draw.rng.choice(free)) if draw.chance(0.3) else None
    if control.lower and missing is not None:
        control = replace(control, lower=(0,) if missing == 2 else (1, 3))  # the street that goes on goes first
    control = replace(control, zebras=tuple(arm for arm in control.zebras if arm != missing))
    equal = control.kind == "equal" and not control.zebras
    approach = draw.wish * draw.between(0.3, 3.4) + (4.0 if equal else draw.braking_m())
    return intersection(
        Crossroads(
            heading=draw.heading,
            turn=turn,
            missing=missing,
            approach_m=approach,
            reach_m=draw.length_m + 40,
            width_m=draw.between(3.6, 4.0),
            control=control,
        )
    )


def _roundabout(draw: Draw) -> RoadMap:
    taken = 1 + draw.seed % 3
    four = taken == 3 or draw.chance(0.5)
    angles = (0, 90, 180, 270) if four else ((0, 120, 240), (0, 90, 180), (0, 90, 270), (0, 180, 270))[draw.seed % 4]
    arms = (0.0, *(np.radians(angle + draw.between(-7, 7)) for angle in angles[1:]))
    laps = draw.situation.laps
    return roundabout(
        Roundabout(
            heading=draw.heading,
            arms=arms,
            radius_m=draw.between(16.0, 18.0) if laps else draw.between(12.5, 17.5),
            reach_m=draw.length_m + 40,
            approach_m=draw.braking_m() + draw.wish * draw.between(0.3, 2.5),
            exit=taken,
            laps=laps,
            bays=laps > 0,
            zebras=tuple(arm for arm in range(len(arms)) if draw.chance(0.6)) if draw.chance(0.4) else (),
            width_m=draw.between(3.5, 3.9),
        )
    )


def _block(draw: Draw) -> RoadMap:
    """Every second seed goes round to the right."""
    return block(
        Block(
            heading=draw.heading,
            to_right=draw.seed % 2 == 0,
            along_m=draw.between(64, 80),
            across_m=draw.between(54, 68),
            outside_m=BEHIND_M,
            ahead=frozenset(corner for corner in range(4) if draw.chance(0.7)),
            behind=frozenset(corner for corner in range(3) if draw.chance(0.7)) | {3},
            start=draw.between(0.15, 0.6),
            length_m=draw.length_m,
            width_m=draw.between(3.5, 3.8),
        )
    )


ROADS: dict[str, Callable[[Draw], RoadMap]] = {
    "street": _street,
    "curvy": _curvy,
    "highway": _highway,
    "intersection": _intersection,
    "signals": _signals,
    "crossing": _crossing,
    "roundabout": _roundabout,
    "merge": _merge,
    "exit": _exit,
    "two_lanes": _two_lanes,
    "blind_bend": _blind_bend,
    "block": _block,
}
