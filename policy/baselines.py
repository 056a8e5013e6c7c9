"""Planners that need no pictures: what every other planner is compared with first."""

import numpy as np

from worldmodel.errors import MissingMotion
from worldmodel.geometry import integrate_rates
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan


def _speed(observation: Observation, planner: str) -> float:
    speed = observation.speed_mps
    if speed is None:
        raise MissingMotion(
            f"the observation has no ego motion, and planner '{planner}' drives on from the current speed. "
            "Give at least two frames of a clip with motion, or use a planner that reads the pictures."
        )
    return speed


def _arc(speed_mps: float, yaw_rate_radps: float) -> Plan:
    """Drive on for 4 s with fixed speed and yaw rate."""
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    steps = len(PLAN_TIMES_S)
    path = integrate_rates(np.full(steps, speed_mps), np.full(steps, yaw_rate_radps), times)
    return Plan(trajectory=path.resampled(PLAN_TIMES_S))


class ConstantVelocityPlanner:
    """Drive straight on at the current speed."""

    name = "constant velocity"

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """A straight line; the seed changes nothing.

        Raises:
            MissingMotion: if the speed is unknown.
        """
        del seed, memory
        return _arc(_speed(observation, self.name), 0.0)


class ConstantTurnRatePlanner:
    """Drive on at the current speed and yaw rate (a circular arc)."""

    name = "constant turn rate"

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """An arc; the seed changes nothing.

        Raises:
            MissingMotion: if speed and yaw rate are unknown.
        """
        del seed, memory
        speed = _speed(observation, self.name)
        return _arc(speed, observation.yaw_rate_radps or 0.0)
