"""Drives that no expert would take: the ego wanders about its route, and slows and hurries without a reason.

In recordings of good driving the next moment follows from what is seen, so a model may learn to ignore the steps that
it is given. Here speed and place in the lane change at random, so that only the steps tell what comes next.

Source: own rules; why, with numbers, is in `docs/decisions.md`.
"""

from dataclasses import dataclass
from math import atan, sqrt

import numpy as np

from worldmodel.town.roads.paths import Path
from worldmodel.town.scene import Scene
from worldmodel.town.situations import generator
from worldmodel.town.traffic import TICKS_HZ, EgoState, Simulation

ASIDE_M = 1.3  # as far from the middle of its lane it strays
ACCELERATIONS_MPS2 = (-3.5, 2.5)
CHANGES_S = (0.6, 2.2)  # how long it keeps a whim
LATERAL_MPS2 = 3.5  # sideways acceleration that it never exceeds
HEADED = ("leader", "walker", "obstacle", "oncoming", "crossing")  # causes for which it brakes as the expert would


@dataclass(eq=False)
class Whims:
    """What the ego wants at each moment: an acceleration and a place in its lane, drawn before the scene starts."""

    rng: np.random.Generator
    seconds: float

    def __post_init__(self) -> None:
        self.accelerations = self._steps(*ACCELERATIONS_MPS2)
        self.places = self._steps(-ASIDE_M, ASIDE_M)

    def _steps(self, low: float, high: float) -> list[float]:
        """One value per tick, constant for a random while."""
        values: list[float] = []
        while len(values) < self.seconds * TICKS_HZ + 1:
            values += [float(self.rng.uniform(low, high))] * round(float(self.rng.uniform(*CHANGES_S)) * TICKS_HZ)
        return values


@dataclass(eq=False)
class Wanderer:
    """The ego while it wanders: place along and beside its route, slope of the latter, speed."""

    path: Path
    s: float
    speed: float
    d: float = 0.0
    drift: float = 0.0

    def step(self, acceleration: float, place: float) -> EgoState:
        """Drive one tick towards a place in the lane; never backwards, and slowly enough for the bend."""
        bend = abs(self.path.curvature(self.s + 0.5 * self.speed))
        allowed = sqrt(LATERAL_MPS2 / max(bend, 1e-3))
        self.speed = max(0.0, min(self.speed + acceleration / TICKS_HZ, max(allowed, self.speed - 4.0 / TICKS_HZ)))
        metres = self.speed / TICKS_HZ
        stiffness = min(max(1.0 / (0.5 * max(self.speed, 0.1)), 0.10), 0.5)
        pull = stiffness**2 * (place - self.d) - 2 * stiffness * self.drift
        most = LATERAL_MPS2 / max(self.speed, 2.0) ** 2
        self.drift += min(max(pull, -most), most) * metres
        self.d += self.drift * metres
        self.s += metres
        x, y, heading = self.path.at(self.s, self.d)
        return EgoState(x_m=x, y_m=y, yaw_rad=heading + atan(self.drift), speed_mps=self.speed)


def wander(situation: str, seed: int, *, seconds: float, frequency_hz: float = 8.0) -> Scene:
    """Let a scene happen in which the ego wanders instead of driving well; others see it and react.

    It brakes for what is in its way, but minds no signal and no limit. A pure function of its arguments.

    Args:
        situation, seed, seconds, frequency_hz: As for `simulate`.
    Raises:
        UnknownName, BadRequest: as `simulate`.
    """
    simulation = Simulation(situation, seed, frequency_hz=frequency_hz)
    whims = Whims(generator(situation, seed, "wander"), simulation.config.max_seconds)
    ego = simulation.crowd.agents[0]
    wanderer = Wanderer(path=ego.path, s=ego.s, speed=ego.speed, d=ego.d)
    fastest = 1.3 * simulation.wish_mps
    for tick in range(round((seconds - 1 / frequency_hz) * TICKS_HZ)):
        wanted = whims.accelerations[tick] if wanderer.speed < fastest else -0.5
        if ego.cause.kind in HEADED:
            wanted = min(wanted, ego.acceleration)
        simulation.step(wanderer.step(wanted, whims.places[tick]))
    return simulation.scene(seconds)
