"""Roads of every kind, drawn once for all tests."""

from functools import cache

import numpy as np

from worldmodel.town.roads.draws import draw_road
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.situations import Situation

FAST = ("highway", "merge", "exit")


@cache
def road(kind: str, seed: int, laps: int = 0, length_m: float = 200.0) -> RoadMap:
    situation = Situation(description=kind, road=kind, speed_mps=(8.0, 8.0), laps=laps)
    rng = np.random.default_rng([seed, 77])
    return draw_road(situation, rng, seed=seed, wish=18.0 if kind in FAST else 8.0, length_m=length_m)
