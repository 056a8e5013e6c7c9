"""What a visitor does with the pad, and what a car makes of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from policy.bicycle import CarState, Limits

PAD_CAR = Limits(speed_mps=16.0)  # the shipped model has seen little above; a top speed of 58 km/h
THROTTLE_MPS2, BRAKE_MPS2 = 2.0, 5.0  # of a key that is held
TIGHTEST_PER_M = 0.15  # of a turn at walking pace
SIDEWAYS_MPS2 = 2.0  # a held key turns no harder than this; firm but comfortable
SOFT_START = 0.5  # share of it in the first half second, so that a tap corrects and a held key turns


@dataclass(frozen=True, kw_only=True)
class Hands:
    """The pad: throttle -1 (brake) to 1, steer -1 (right) to 1 (left); 0 is hands off, which holds speed and goes straight."""

    throttle: float = 0.0
    steer: float = 0.0

    @staticmethod
    def read(value: object) -> "Hands":
        """What the pad in the browser says; whatever is not understood counts as hands off."""
        if not isinstance(value, Mapping):
            return Hands()
        return Hands(throttle=_share(value.get("throttle")), steer=_share(value.get("steer")))

    def controls(self, car: CarState, before: "Hands | None" = None) -> tuple[float, float]:
        """Acceleration (m/s2) and curvature (1/m) for the next half second.

        Args:
            car: Now; the faster it is, the less it turns.
            before: The pad half a second ago; a key that was not held then steers softly.
        """
        pedal = THROTTLE_MPS2 if self.throttle > 0 else BRAKE_MPS2
        most = min(TIGHTEST_PER_M, SIDEWAYS_MPS2 / max(car.speed_mps, 1.0) ** 2)
        held = before is not None and before.steer * self.steer > 0
        return self.throttle * pedal, self.steer * most * (1.0 if held else SOFT_START)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return float(min(1.0, max(-1.0, value)))
