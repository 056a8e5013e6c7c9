"""NAVSIM's sub-scores and its two totals, from the state of a driven scene.

What differs from the benchmark, so that nobody mixes the tables: the scene is as long as it is (NAVSIM: 4 s), the
others react (NAVSIM v1: they follow the log), the ego is driven by our bicycle (NAVSIM: an LQR one), progress is
compared with the town's expert in the same scene (NAVSIM: PDM-Closed) and normalised as in v1 for both totals, and 'on
the route' means in a lane of the ego's direction. The totals themselves are those of `pdm_scores`. Score every scene,
then take the mean; the product of mean sub-scores is another number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from eval_fid_fvd.comfort import Ride
from eval_fid_fvd.contacts import Contact, contacts, too_close
from eval_fid_fvd.footprints import LaneMap, Placement
from eval_fid_fvd.pdm_scores import epdms, pdms
from eval_fid_fvd.rules import red_lights
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array
from worldmodel.town.scene import THINGS, Scene

LEAST_PROGRESS_M = 5.0  # if even the best goes less far, progress says nothing
KEEPING_M, KEEPING_S = 0.5, 2.0
SHORT_NAMES = {
    "NC": "no_at_fault_collision", "DAC": "drivable_area", "DDC": "driving_direction", "TLC": "traffic_lights",
    "EP": "progress", "TTC": "time_to_collision", "C": "comfort", "LK": "lane_keeping", "HC": "comfort",
    "EC": "extended_comfort",
}  # fmt: skip
ONCOMING_S, ONCOMING_FINE_M, ONCOMING_BAD_M = 1.0, 2.0, 6.0


@dataclass(frozen=True, kw_only=True)
class SubScores:
    """NAVSIM's sub-scores of one drive, each from 0 (bad) to 1.

    Attributes:
        no_at_fault_collision: 1; 0.5 where only things were hit, 0 where a road user was.
        drivable_area: 1 if no corner of the ego ever left the lanes.
        driving_direction: 1; 0.5 for 2 m and 0 for 6 m or more in the lanes of the others within a second.
        traffic_lights: 0 if the ego ever drove over a stop line at red.
        time_to_collision: 0 if it was ever less than a second from running into somebody.
        lane_keeping: 0 if it was more than 0.5 m beside the middle of every lane for 2 s, crossings aside.
        comfort: 1 if the ride kept all limits of `comfort.LIMITS`.
        progress: Of the reference's progress, the share that was made.
        extended_comfort: Share of plans that go on as the plan before said; None where there were no plans.
    """

    no_at_fault_collision: float
    drivable_area: float
    driving_direction: float
    traffic_lights: float
    time_to_collision: float
    lane_keeping: float
    comfort: float
    progress: float
    extended_comfort: float | None = None

    @property
    def pdms(self) -> float:
        """NAVSIM v1's total, `pdm_scores.pdms`."""
        return float(pdms(self.columns)[0])

    @property
    def epdms(self) -> float:
        """NAVSIM v2's total, `pdm_scores.epdms`, without its filter; see `forgiven`."""
        return float(epdms(self.columns)[0])

    @property
    def columns(self) -> dict[str, list[float]]:
        """The sub-scores under NAVSIM's short names, as `pdm_scores` takes them; those that are not known are left out."""
        known = {short: getattr(self, name) for short, name in SHORT_NAMES.items()}
        return {short: [value] for short, value in known.items() if value is not None}


FORGIVABLE = (
    "no_at_fault_collision", "drivable_area", "driving_direction", "traffic_lights", "time_to_collision", "lane_keeping",
)  # fmt: skip


def forgiven(own: SubScores, human: SubScores) -> SubScores:
    """NAVSIM v2's filter: where the human's (here: the expert's) sub-score is exactly 0, one's own becomes 1.

    The filter of `pdm_scores.epdms`, kept as sub-scores, so that tables show what was forgiven. Progress, comfort and extended
    comfort are never forgiven: NAVSIM's human has 1 of the first two by construction, and the third is not scored.
    """
    from dataclasses import replace

    return replace(own, **{name: 1.0 for name in FORGIVABLE if getattr(human, name) == 0.0})


def sub_scores(
    scene: Scene,
    *,
    progress_m: float,
    reference_m: float,
    extended_comfort: float | None = None,
    lanes: LaneMap | None = None,
) -> SubScores:
    """All sub-scores of a driven scene.

    Args:
        scene: At least 5 frames.
        progress_m: Along the route, of the ego; see `rules.route_progress`.
        reference_m: Of whom it is compared with, in the same scene and time.
        extended_comfort: From `comfort.plans_agree`, where plans are known.
        lanes: Of the scene's stage, when they are at hand.
    Raises:
        BadRequest: for fewer than 5 frames.
    """
    placement = Placement.of(scene.ego_poses, lanes or LaneMap.of(scene.stage))
    touched = contacts(scene, placement)
    collision, area = no_at_fault_collision(scene, touched), float(not placement.off_road.any())
    return SubScores(
        no_at_fault_collision=collision,
        drivable_area=area,
        driving_direction=driving_direction(placement, scene.frequency_hz),
        traffic_lights=float(not red_lights(scene)),
        time_to_collision=float(not too_close(scene, placement).any()),
        lane_keeping=lane_keeping(placement, scene.frequency_hz),
        comfort=float(Ride.of(scene.ego_poses[:, 2], scene.ego_speeds_mps, scene.frequency_hz).comfortable),
        progress=progress_share(progress_m, reference_m, gate=collision * area),
        extended_comfort=extended_comfort,
    )


def no_at_fault_collision(scene: Scene, touched: Sequence[Contact]) -> float:
    """1 without contact at fault, 0.5 if only things (cones, barriers, boxes) were hit, else 0."""
    blamed = [scene.bodies[contact.body].kind in THINGS for contact in touched if contact.at_fault]
    return 1.0 if not blamed else 0.5 if all(blamed) else 0.0


def driving_direction(placement: Placement, frequency_hz: float) -> float:
    """1, 0.5 or 0 by the metres driven in lanes of the other direction within any second."""
    steps = np.linalg.norm(np.diff(placement.centres[:, :2], axis=0), axis=1)
    metres = np.concatenate([[0.0], steps]) * placement.oncoming
    total = np.concatenate([[0.0], np.cumsum(metres)])
    span = round(ONCOMING_S * frequency_hz) + 1
    ends = np.arange(1, len(total))
    worst = float((total[ends] - total[np.maximum(ends - span, 0)]).max())
    return 1.0 if worst < ONCOMING_FINE_M else 0.5 if worst < ONCOMING_BAD_M else 0.0


def lane_keeping(placement: Placement, frequency_hz: float) -> float:
    """0 if the ego is beside its lane's middle for 2 s on end; frames on crossings neither count nor interrupt."""
    beside = (placement.off_centre_m > KEEPING_M)[~placement.crossing]
    return float(longest_run(beside) < round(KEEPING_S * frequency_hz))


def longest_run(flags: Bool[Array, " n"]) -> int:
    """Length of the longest run of True.

    >>> longest_run(np.array([True, False, True, True]))
    2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def progress_share(progress_m: float, reference_m: float, *, gate: float = 1.0) -> float:
    """NAVSIM v1's progress: own metres over the better one's, both times their gate (the reference's is 1).

    Where even the better one makes no more than 5 m, it is 1, or 0 if the gate is.

    Raises:
        BadRequest: if a number is not finite.
    """
    if not np.isfinite([progress_m, reference_m, gate]).all():
        raise BadRequest(
            f"progress {progress_m}, reference {reference_m}, gate {gate}: all must be finite. Check the drive."
        )
    own = max(progress_m, 0.0) * gate
    best = max(own, reference_m)
    return own / best if best > LEAST_PROGRESS_M else float(gate > 0)


def mean_scores(scores: Sequence[SubScores]) -> dict[str, float]:
    """Means over scenes: of every sub-score, and of the scenes' PDMS and EPDMS (not the product of means).

    Raises:
        BadRequest: without scenes.
    """
    if not scores:
        raise BadRequest("there are no scenes to take the mean of; score at least one.")
    names = [*SubScores.__dataclass_fields__, "pdms", "epdms"]
    table = {name: [getattr(score, name) for score in scores if getattr(score, name) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in table.items() if values}
