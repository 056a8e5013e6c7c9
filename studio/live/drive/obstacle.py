"""Something that is put in the way of a moving car."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from studio.placement import middle_of
from studio.town_sprites import KINDS, sprite_of
from worldmodel.edits import StitchSprite
from worldmodel.errors import UnknownName
from worldmodel.geometry import Array, compose, relative

LEAST_M, AHEAD_S = 12.0, 2.0  # as far ahead as the car drives in that time, and no nearer
PASSED_M = 2.0  # ahead of the rear axle; nearer, no camera shows it whole
EGO_WIDTH_M = 1.8
FARTHEST_M = 40.0  # beyond, the model's small pictures hardly show it


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """What is put there; it stands on the way ahead.

    Attributes:
        kind: One of `studio.town_sprites.KINDS`.
    """

    kind: str = "car"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of obstacle", self.kind, KINDS)

    def edit(self, speed_mps: float, way: Float[Array, "n 3"], at_s: float) -> StitchSprite:
        """The edit at a moment of a clip or scene.

        Args:
            speed_mps: Of the car now.
            way: Poses ahead in the ego frame of that moment; beyond its end it goes straight on.
            at_s: The moment.
        """
        place = along(way, min(FARTHEST_M, max(LEAST_M, AHEAD_S * speed_mps)))
        x, y, yaw = (float(value) for value in place)
        return StitchSprite(variant="near", kind=self.kind, at_s=at_s, x_m=x, y_m=y, yaw_rad=yaw)


@dataclass(frozen=True, eq=False, kw_only=True)
class Standing:
    """An obstacle that stands in a dream: the model's pictures forget it, so it is stitched into each until it is passed.

    Attributes:
        kind: Of the obstacle.
        middle: World pose of the middle of its footprint, [3].
    """

    kind: str
    middle: Float[Array, " 3"]

    @staticmethod
    def of(edit: StitchSprite, ego: Float[Array, " 3"]) -> "Standing":
        """What an edit puts there, at the ego's world pose."""
        return Standing(kind=edit.kind, middle=compose(ego, middle_of(edit, sprite_of(edit.kind))))

    def passed(self, ego: Float[Array, " 3"]) -> bool:
        """Whether the ego has its rear axle beside it, or is past it."""
        return bool(relative(ego, self.middle)[0] <= PASSED_M)

    def hit(self, ego: Float[Array, " 3"]) -> bool:
        """Whether an ego that has come so far went through it."""
        aside = abs(float(relative(ego, self.middle)[1]))
        return aside < (sprite_of(self.kind).footprint_m[1] + EGO_WIDTH_M) / 2

    def above(self, ego: Float[Array, " 3"]) -> dict[str, Any]:
        """How the view from above shows it."""
        x, y, yaw = (float(value) for value in relative(ego, self.middle))
        length, width = sprite_of(self.kind).footprint_m
        return {"x": x, "y": y, "yaw": yaw, "length": length, "width": width, "kind": self.kind, "movable": False}

    def edit(self, ego: Float[Array, " 3"], at_s: float) -> StitchSprite:
        """The edit that puts it into pictures that were taken up to a moment, at which the ego is there."""
        x, y, yaw = (float(value) for value in relative(ego, self.middle))
        far = math.hypot(x, y)
        inwards = sprite_of(self.kind).reach_m(math.atan2(y, x) - yaw) / 2
        share = max(far - inwards, 0.1) / far
        return StitchSprite(variant="near", kind=self.kind, at_s=at_s, x_m=x * share, y_m=y * share, yaw_rad=yaw)


def along(way: Float[Array, "n 3"], ahead_m: float) -> Float[Array, " 3"]:
    """The pose so many metres along a way from the origin; straight on from its end."""
    poses = np.concatenate([np.zeros((1, 3)), way])
    lengths = np.hypot(*np.diff(poses[:, :2], axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(lengths)])
    if ahead_m >= reached[-1]:
        return compose(poses[-1], np.array([ahead_m - reached[-1], 0.0, 0.0]))
    leg = int(np.searchsorted(reached, ahead_m, side="right")) - 1
    share = (ahead_m - reached[leg]) / lengths[leg]
    step = relative(poses[leg], poses[leg + 1])
    return compose(poses[leg], share * step)
