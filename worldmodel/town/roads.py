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

from math import pi
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.town.junctions import intersection
from worldmodel.town.network import Segment
from worldmodel.town.roadmap import PARKING_M, SHOULDER_M, Gate, Programme, RoadMap
from worldmodel.town.streets import highway, two_way

if TYPE_CHECKING:
    from worldmodel.town.situations import Situation

__all__ = ["PARKING_M", "SHOULDER_M", "Gate", "Programme", "RoadMap", "draw_road"]


def draw_road(situation: "Situation", rng: np.random.Generator, *, seed: int, wish: float, length_m: float) -> RoadMap:
    """The road of a scene; `length_m` must lie ahead of the ego."""
    heading = float(rng.uniform(-pi, pi))
    segments: list[Segment]
    if situation.road == "intersection":
        turn = ("left", "right", "straight", "left", "right")[seed % 5]  # balanced over any run of seeds
        side = {"left": 1, "straight": 2, "right": 3}[turn]
        missing = int(rng.choice([arm for arm in (1, 2, 3) if arm != side])) if rng.random() < 0.3 else None
        approach = float(wish * rng.uniform(0.3, 3.4) + 4.0)
        return intersection(
            heading=heading,
            turn=turn,
            approach_m=approach,
            reach_m=length_m + 40,
            missing=missing,
            width=float(rng.uniform(3.6, 4.0)),
        )
    if situation.road == "highway":
        segments = []
        bend = 1.0 if rng.random() < 0.5 else -1.0
        while sum(_length(s) for s in segments) < length_m + 120:
            radius = float(rng.uniform(350, 900))
            segments.append(("arc", radius, bend * float(rng.uniform(80, 220)) / radius))
            if rng.random() < 0.4:
                segments.append(("straight", float(rng.uniform(40, 150)), 0.0))
            bend = -bend if rng.random() < 0.5 else bend
        return highway(segments, heading=heading, start_s=100.0, ego_lane=int(rng.choice([0, 1, 2], p=[0.2, 0.5, 0.3])))
    parking = situation.half_blocked or situation.parked[0] > 1 or bool(rng.random() < 0.5)
    if situation.road == "curvy":
        segments = _bends(rng, length_m + 70, right_first=seed % 2 == 0)
    else:
        segments = [("straight", length_m + 100, 0.0)]
        if rng.random() < 0.6:  # a street is seldom straight for long
            radius = float(rng.uniform(120, 350))
            turn_rad = float(rng.uniform(0.15, 0.5)) * (1 if rng.random() < 0.5 else -1)
            before = float(rng.uniform(60, 140))
            segments = [("straight", before, 0.0), ("arc", radius, turn_rad), ("straight", length_m + 60, 0.0)]
    width = float(rng.uniform(3.5, 4.0))
    return two_way(segments, heading=heading, start_s=60.0, width=width, parking=parking)


def _length(segment: Segment) -> float:
    return segment[1] if segment[0] == "straight" else segment[1] * abs(segment[2])


def _bends(rng: np.random.Generator, length_m: float, *, right_first: bool) -> list[Segment]:
    segments: list[Segment] = [("straight", float(rng.uniform(45, 85)), 0.0)]
    heading = 0.0
    while sum(_length(s) for s in segments) < length_m:
        angle = float(rng.uniform(0.35, 1.4))
        to_left = not right_first if len(segments) == 1 else bool(rng.random() < 0.5)
        if heading + angle > 1.5 or (heading - angle > -1.5 and to_left):
            angle = -angle  # never so far round that the road meets itself
        radius = float(rng.uniform(18, 40)) if abs(angle) > 0.8 else float(rng.uniform(30, 90))
        heading += angle
        segments += [("arc", radius, angle), ("straight", float(rng.uniform(12, 55)), 0.0)]
    return segments
