"""Closed loop in the town: a planner drives, the others react, and what happened is judged.

The planner plans every half second, and our bicycle follows the plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.comfort import Ride, plans_agree
from eval_fid_fvd.driving_score import Conduct, DrivingScore
from eval_fid_fvd.navsim import SubScores, forgiven, sub_scores
from policy.baselines import PrivilegedExpert, StandStillPlanner
from policy.bicycle import PLAN_STEP_S, controls_of
from policy.bicycle import drive as drive_on
from policy.planner import Planner
from policy.town_drive import Course, TownDrive
from worldmodel.errors import BadRequest, Diverged, PolicyError
from worldmodel.geometry import Array, Rig
from worldmodel.plans import Plan
from worldmodel.town.scene import Scene, town_rig

RIDE_HZ = 10.0  # states of a plan, for its comfort


@dataclass(frozen=True, eq=False, kw_only=True)
class Drive:
    """A drive that is over.

    Attributes:
        course: What was to be driven.
        driver: Name of who drove.
        scene: From the hand-over to the end.
        end: Why it ended, one of ENDS.
        conduct: What went wrong.
        score: CARLA's driving score.
        progress_m: Along the route.
        navsim: NAVSIM's sub-scores of it, progress against the expert's in the same time.
        expert: The expert's own sub-scores in that scene, which forgive what even the expert did.
        plans: Every plan made, and when, in seconds from the hand-over.
        failures: When the planner had no usable answer, and why; the car brakes until the next one.
    """

    course: Course
    driver: str
    scene: Scene
    end: str
    conduct: Conduct
    score: DrivingScore
    progress_m: float
    navsim: SubScores
    expert: SubScores
    plans: tuple[tuple[float, Plan], ...] = ()
    failures: tuple[tuple[float, str], ...] = ()

    @property
    def epdms(self) -> float:
        """NAVSIM v2's total, after its filter with the expert in the human's place."""
        return forgiven(self.navsim, self.expert).epdms


def drive(
    driver: Planner | PrivilegedExpert,
    course: Course,
    *,
    rig: Rig | None = None,
    history: int = 16,
    ages: Sequence[int] | None = None,
    replan_s: float = PLAN_STEP_S,
    seed: int = 0,
) -> Drive:
    """Let somebody drive a course, to the end of its time or until the drive is over earlier.

    A drive ends early at a collision at fault, 5 m off the road, 30 m off the route, or when the route is done.

    Args:
        driver: A planner, or the town's expert. A planner whose `needs_pixels` is False gets black frames for free.
        rig: Cameras for the planner; the town's own three by default.
        history: Frames that the planner sees, at most.
        ages: How many frames old those are that it looks at; the others stay black. None: all of them.
        replan_s: A new plan each time; a multiple of a frame.
        seed: Of the planner; every plan gets its own, derived from it.
    Raises:
        BadInput: if the course cannot be driven, or the planner cannot use its observations; a planner that fails on one of
            them brakes, and the failure stands in the record.
    """
    frames = replan_s * course.frequency_hz
    if not (frames >= 1 and abs(frames - round(frames)) < 1e-6):
        raise BadRequest(
            f"a plan every {replan_s:g} s is {frames:g} frames; it must be a whole number, at least 1. Plan every 0.5 s."
        )
    if isinstance(driver, PrivilegedExpert):
        return finished(_by_expert(course), driver.name)
    town = TownDrive(course)
    cameras = rig or town_rig()
    plans: list[tuple[float, Plan]] = []
    rides: list[Ride] = []
    failures: list[tuple[float, str]] = []
    while not town.end:
        seen = town.observation(cameras, history, pixels=getattr(driver, "needs_pixels", True), ages=ages)
        try:
            plan = driver.plan(seen, seed=seed * 100_000 + len(plans))
        except (PolicyError, Diverged) as error:
            failures.append((town.time_s, str(error)))
            plan = StandStillPlanner().plan(seen, seed=0)
        plans.append((town.time_s, plan))
        controls = controls_of(plan, town.car.speed_mps, course.limits)
        rides.append(ride_of(controls, town.car.speed_mps))
        town.advance((float(controls[0, 0]), float(controls[0, 1])), replan_s)
    record = finished(town, driver.name, plans=plans, agreement=agreement(rides, replan_s))
    return replace(record, failures=tuple(failures))


def finished(
    town: TownDrive, driver: str, *, plans: Sequence[tuple[float, Plan]] = (), agreement: float | None = None
) -> Drive:
    """The record of a drive that is over."""
    scene, expert_m = town.scene(), _by_expert(town.course).progress_m
    return Drive(
        course=town.course,
        driver=driver,
        scene=scene,
        end=town.end,
        conduct=town.conduct,
        score=town.score,
        progress_m=town.progress_m,
        navsim=sub_scores(scene, progress_m=town.progress_m, reference_m=expert_m, extended_comfort=agreement),
        expert=_expert_scores(town.course),
        plans=tuple(plans),
    )


@lru_cache(maxsize=4)
def _by_expert(course: Course) -> TownDrive:
    """The course driven by the expert to its end; several drivers of one course are compared with one such drive."""
    town = TownDrive(course)
    while not town.end:
        town.advance(None, 1.0)
    return town


@lru_cache(maxsize=64)
def _expert_scores(course: Course) -> SubScores:
    town = _by_expert(course)
    return sub_scores(town.scene(), progress_m=town.progress_m, reference_m=town.progress_m)


def ride_of(controls: Float[Array, "8 2"], speed_mps: float) -> Ride:
    """What 4 s of half-second controls feel like, at RIDE_HZ."""
    each = round(PLAN_STEP_S * RIDE_HZ)
    pose, speed = np.zeros(3), np.array(speed_mps)
    yaws, speeds = [0.0], [float(speed_mps)]
    for acceleration, curvature in np.repeat(controls, each, axis=0):
        pose, speed = drive_on(pose, speed, acceleration, curvature, 1 / RIDE_HZ)
        yaws.append(float(pose[2]))
        speeds.append(float(speed))
    return Ride.of(np.array(yaws), np.array(speeds), RIDE_HZ)


def agreement(rides: Sequence[Ride], replan_s: float) -> float | None:
    """Share of plans that go on as the one before said; None for fewer than two."""
    shift = round(replan_s * RIDE_HZ)
    pairs = [plans_agree(before, after, shift) for before, after in pairwise(rides)]
    return float(np.mean(pairs)) if pairs else None
