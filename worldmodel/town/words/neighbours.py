"""Somebody or something near the ego at one frame: where it is, what it does, how well it can be seen."""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

THINGS = ("cone", "barrier", "box")  # they never move by themselves
VEHICLES = ("car", "van", "truck", "bus", "cyclist")
STILL_MPS = 0.3


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """Somebody or something near the ego at one frame.

    Attributes:
        index: Of the body in the scene.
        kind: As `Body.kind`.
        x_m, y_m: Its centre from the ego's centre, forward and left.
        gap_m: From outline to outline, in a straight line.
        along_m: From bumper to bumper along the route; negative behind, 0 beside.
        side_m: Its centre to the left of the middle of the ego's lane.
        half_m: Half its width across the route.
        heading_rad: Against the route's direction at that place.
        drift_mps: How fast it moves to the left of the lane that it drives on; 0 off the lanes.
        parked: It is a vehicle that stands for the whole scene, beside the lanes or with its hazard lights on.
        share: Of its outline that no house and no other body hides from the driver; 0 to 1.
        sight_m: How far the driver sees at all.
    """

    index: int
    track: str
    kind: str
    x_m: float
    y_m: float
    gap_m: float
    along_m: float
    side_m: float
    half_m: float
    heading_rad: float
    speed_mps: float
    drift_mps: float
    braking: bool
    indicator: int
    parked: bool
    share: float
    sight_m: float

    @property
    def seen(self) -> bool:
        """Whether the driver can see it."""
        return self.gap_m <= self.sight_m and self.share >= 0.25

    @property
    def clear(self) -> bool:
        """Whether nobody would doubt that it can be seen."""
        return self.gap_m <= 0.85 * self.sight_m and self.share >= 0.5

    @property
    def hidden(self) -> bool:
        """Whether nobody would say that it can be seen."""
        return self.gap_m > 1.25 * self.sight_m or self.share < 0.05

    @property
    def bearing_rad(self) -> float:
        """From the ego's centre, to the left."""
        return float(np.arctan2(self.y_m, self.x_m))

    @property
    def moves(self) -> bool:
        """Whether it moves at all."""
        return self.speed_mps > STILL_MPS

    @property
    def oncoming(self) -> bool:
        """Whether it points against the traffic of the ego's lane."""
        return cos(self.heading_rad) < -0.5

    @property
    def sideways_mps(self) -> float:
        """How fast it moves to the left, across the route."""
        return self.speed_mps * sin(self.heading_rad)
