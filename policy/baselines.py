"""Planners that need no pictures: what every other planner is compared with first."""

import numpy as np

from worldmodel.errors import MissingMotion
from worldmodel.geometry import Trajectory, integrate_rates
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan

STOPPING_MPS2 = 3.0  # firm, and within what NAVSIM calls comfortable


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


class StandStillPlanner:
    """Brake to a stop and stand: never hit anything, never arrive."""

    name = "stand still"
    needs_pixels = False

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """Straight on with STOPPING_MPS2 until standing; the seed changes nothing.

        Raises:
            MissingMotion: if the speed is unknown.
        """
        del seed, memory
        speed = max(_speed(observation, self.name), 0.0)
        braked_s = np.minimum(PLAN_TIMES_S, speed / STOPPING_MPS2)
        poses = np.zeros((len(PLAN_TIMES_S), 3))
        poses[:, 0] = speed * braked_s - 0.5 * STOPPING_MPS2 * braked_s**2
        return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))


class ConstantVelocityPlanner:
    """Drive straight on at the current speed."""

    name = "constant velocity"
    needs_pixels = False

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
    needs_pixels = False

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """An arc; the seed changes nothing.

        Raises:
            MissingMotion: if speed and yaw rate are unknown.
        """
        del seed, memory
        speed = _speed(observation, self.name)
        return _arc(speed, observation.yaw_rate_radps or 0.0)


class PrivilegedExpert:
    """The town's own driver, who knows where everybody is and what the signals will show; not a planner, but the ceiling.

    It makes no plans from observations: `driving.drive` lets the town drive by itself when it is given.
    """

    name = "expert (privileged)"
    needs_pixels = False
