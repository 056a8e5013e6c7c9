"""Which moments of town scenes a grounding study may use: fixed by rules that look at no planner.

A moment is eligible when the ego drives 4 to 12 m/s, nobody is in its lane for 40 m, and the town's own driver, meeting the
same obstacle for real, drives more than 0.5 m less far in 4 s. All others are counted by their reason.

Source: DESIGN of the stitching study; the strong reaction of the simulator's driver replaces the choice by eye of paper 003.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from studio.placement import ON_THE_ROAD
from studio.town_answer import real_obstacle
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort
from worldmodel.geometry import Array, relative

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

SPEEDS_MPS = (4.0, 12.0)
FREE_M = 40.0  # of the ego's own way ahead
LANE_HALF_M = 1.75
REASONS = ("eligible", "slow", "fast", "way ends", "lane not free", "place taken", "oracle does not brake")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a moment may be used.

    Attributes:
        scene, at_s: Which moment.
        reason: One of REASONS; 'eligible' when it may.
        speed_mps: Of the ego.
        oracle_m: Change of the town driver's path over 4 s by the real obstacle, metres; None where it was not asked.
    """

    scene: str
    at_s: float
    reason: str
    speed_mps: float
    oracle_m: float | None = None

    @property
    def eligible(self) -> bool:
        """Whether it may be used."""
        return self.reason == "eligible"


def verdict(scene: "Scene", at_s: float, *, kind: str = "car", variant: str = "near") -> Verdict:
    """Judge one moment of a factual scene; the first rule that fails is the reason.

    Args:
        scene: At least 4 s longer than the moment.
        at_s: Seconds from the scene's start, on a frame.
        kind, variant: The obstacle that the town's driver is given: on the road.
    Raises:
        ClipTooShort: if less than 4 s follow.
        BadEdit: for a variant that puts nothing on the road.
    """
    from worldmodel.town.oracle import REACTION_M, Oracle, plan_of

    if variant not in ON_THE_ROAD:
        raise BadEdit(
            f"variant '{variant}' puts nothing on the road, so no driver brakes for it. Use {', '.join(ON_THE_ROAD)}."
        )
    plan_of(scene, at_s)  # refuses a moment that is too late
    frame = round(at_s * scene.frequency_hz)
    speed = float(scene.ego_speeds_mps[frame])

    def because(reason: str, oracle_m: float | None = None) -> Verdict:
        return Verdict(scene=scene.id, at_s=at_s, reason=reason, speed_mps=speed, oracle_m=oracle_m)

    if speed < SPEEDS_MPS[0]:
        return because("slow")
    if speed > SPEEDS_MPS[1]:
        return because("fast")
    way = way_ahead(scene, frame)
    if way is None:
        return because("way ends")
    if not lane_is_free(scene, frame, way):
        return because("lane not free")
    try:
        truth = Oracle().truth(scene, real_obstacle(StitchSprite(variant=variant, kind=kind), at_s))
    except BadEdit:
        return because("place taken")
    change = truth.response.path_length_change_m
    return because("eligible" if change < -REACTION_M else "oracle does not brake", change)


def way_ahead(scene: "Scene", frame: int) -> Float[Array, "n 2"] | None:
    """The next FREE_M of the ego's route, world points half a metre apart; None where the route is shorter."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(scene.route, axis=0), axis=1))])
    start = float(scene.route_s[frame])
    if start + FREE_M > lengths[-1]:
        return None
    wanted = start + np.arange(0.0, FREE_M + 1e-9, 0.5)
    return np.column_stack([np.interp(wanted, lengths, scene.route[:, axis]) for axis in (0, 1)])


def lane_is_free(scene: "Scene", frame: int, way: Float[Array, "n 2"]) -> bool:
    """Whether no body's footprint comes within half a lane of the way."""
    for b in np.flatnonzero(scene.body_present[frame]):
        body, pose = scene.bodies[b], scene.body_poses[frame, b]
        beside = relative(pose, np.column_stack([way, np.zeros(len(way))]))[:, :2]
        outside = np.maximum(np.abs(beside) - np.array([body.length_m, body.width_m]) / 2, 0.0)
        if np.hypot(*outside.T).min() < LANE_HALF_M:
            return False
    return True


def first_eligible(scene: "Scene", moments_s: Sequence[float], *, kind: str = "car") -> list[Verdict]:
    """Verdicts of a scene's moments in order, up to and including the first eligible one: one value per scene."""
    found = []
    for at_s in moments_s:
        try:
            found.append(verdict(scene, at_s, kind=kind))
        except ClipTooShort:
            break
        if found[-1].eligible:
            break
    return found


def counted(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many moments there were of each reason, in the order of REASONS."""
    seen = Counter(one.reason for one in verdicts)
    return {reason: seen[reason] for reason in REASONS if seen[reason]}
