"""Which moments of town scenes a grounding study may use: fixed by rules that look at no planner.

A moment is eligible when the ego drives 4 to 12 m/s, nobody is in its lane for 40 m, and the town's own driver, meeting the
same obstacle for real, drives more than 0.5 m less far in 4 s. All others are counted by their reason.

In recordings nobody can be asked what the driver would have done: there the first two rules stand alone, and the lane ahead is
the driven path (straight on where the recording ends). Without labelled boxes nobody knows whether it is free.

Source: DESIGN of the stitching study; the strong reaction of the simulator's driver replaces the choice by eye of paper 003.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from studio.placement import ON_THE_ROAD
from studio.town_answer import real_obstacle
from worldmodel.clips import Box
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort
from worldmodel.geometry import Array, relative

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

SPEEDS_MPS = (4.0, 12.0)
FREE_M = 40.0  # of the ego's own way ahead
LANE_HALF_M = 1.75
REASONS = (
    "eligible", "no motion", "slow", "fast", "way ends", "lane not known", "lane not free", "place taken",
    "oracle does not brake",
)  # fmt: skip


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

    if pace := _pace(speed):
        return because(pace)
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
    there = np.flatnonzero(scene.body_present[frame])
    return all(
        _beside(way, scene.body_poses[frame, b], (scene.bodies[b].length_m, scene.bodies[b].width_m)) for b in there
    )


def _beside(way: Float[Array, "n 2"], pose: Array, sides_m: tuple[float, float]) -> bool:
    """Whether a footprint stays half a lane away from a way."""
    beside = relative(pose, np.column_stack([way, np.zeros(len(way))]))[:, :2]
    outside = np.maximum(np.abs(beside) - np.array(sides_m) / 2, 0.0)
    return bool(np.hypot(*outside.T).min() >= LANE_HALF_M)


def _pace(speed_mps: float) -> str | None:
    return "slow" if speed_mps < SPEEDS_MPS[0] else "fast" if speed_mps > SPEEDS_MPS[1] else None


def recorded_verdict(
    name: str,
    at_s: float,
    *,
    speed_mps: float | None,
    driven: Float[Array, "n 3"],
    boxes: Sequence[Box] | None,
    without_boxes: bool = False,
) -> Verdict:
    """Judge one moment of a recording: its speed, and whether any labelled box comes within half a lane of the way.

    Args:
        name: Of the stretch.
        at_s: The moment.
        speed_mps: Of the ego; None where the recording has no motion.
        driven: What the ego drove from then on, poses in its frame of the moment; straight on after its end.
        boxes: Of the moment; None where nobody labelled any.
        without_boxes: Whether a moment without labels is used, too.
    """
    reason = "eligible"
    if speed_mps is None:
        reason = "no motion"
    elif pace := _pace(speed_mps):
        reason = pace
    elif boxes is None:
        reason = "eligible" if without_boxes else "lane not known"
    else:
        way = driven_ahead(driven)
        poses = [(np.array([*box.center[:2], box.yaw_rad]), (float(box.size[0]), float(box.size[1]))) for box in boxes]
        if not all(_beside(way, pose, sides) for pose, sides in poses):
            reason = "lane not free"
    return Verdict(scene=name, at_s=at_s, reason=reason, speed_mps=math.nan if speed_mps is None else speed_mps)


def driven_ahead(driven: Float[Array, "n 3"]) -> Float[Array, "m 2"]:
    """The next FREE_M of a driven path, half a metre apart; straight on from where it ends.

    >>> driven_ahead(np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]))[-1].tolist()
    [40.0, 0.0]
    """
    last = driven[-1]
    beyond = last[:2] + FREE_M * np.array([math.cos(last[2]), math.sin(last[2])])
    points = np.concatenate([driven[:, :2], beyond[None]])
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    wanted = np.arange(0.0, FREE_M + 1e-9, 0.5)
    return np.column_stack([np.interp(wanted, lengths, points[:, axis]) for axis in (0, 1)])


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
