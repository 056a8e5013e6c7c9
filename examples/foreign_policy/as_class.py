"""The foreign driver as a class:

detour check-policy examples/foreign_policy/as_class.py:Arcs
"""

import numpy as np
from arcs import FRAME, RATE_HZ, STEPS, drive

from worldmodel.plans import Observation


class Arcs:
    """What its numbers mean stands in `declares`; nothing is guessed."""

    name = "arcs, a class"
    declares = {  # noqa: RUF012 - plain data
        "frame": FRAME,
        "units": "m",
        "rate_hz": RATE_HZ,
        "steps": STEPS,
        "heading": "derived",
        "relative_to": "ego-now",
        "ahead_of_rear_axle_m": 0,
        "beyond": "straight-on",
        "randomness": "none",
        "cameras": ["front"],
        "pictures": 2,
    }

    def plan(self, observation: Observation, seed: int) -> np.ndarray:
        """Points to the right and forward [6, 2], metres."""
        del seed  # it draws nothing
        front = observation.video[-1, 0].transpose(1, 2, 0)
        return np.array(drive(front, observation.speed_mps or 0.0, observation.yaw_rate_radps or 0.0))
