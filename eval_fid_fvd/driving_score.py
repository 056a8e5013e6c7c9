"""Driving scores: the published formulas on plain dicts, and CARLA's score of a scene that was driven here.

The formulas are those of `pdm_scores` (NAVSIM: `pdms`, `epdms`, `stage_two_weights`, `two_stage_score`) and `carla`
(`carla_driving_score`); the closed loop uses the same ones. Of a driven scene:

    driving score = 100 * mean over scenes of (route completion * penalty)

Score each scene, then take the mean: the product of mean completion and mean penalty is another number. The published
forms of the penalty give different numbers for the same drives; every score here names its form.

What differs from CARLA's leaderboards: collisions count only where NAVSIM's rule blames the ego (CARLA counts all), a
route is as long as free driving takes in the time that a scene is given (CARLA: kilometres, with ample time), and there
are no scenario time-outs, emergency vehicles or minimum-speed checks, so those factors are 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eval_fid_fvd.carla import (
    PENALTIES,
    Penalty,
    bench2drive_table,
    carla_driving_score,
    carla_infractions_per_km,
    penalty_of,
)
from eval_fid_fvd.contacts import contacts
from eval_fid_fvd.footprints import LaneMap, Placement, touching
from eval_fid_fvd.pdm_scores import epdms, pdms, stage_two_weights, two_stage_score
from eval_fid_fvd.rules import red_lights, stop_signs
from worldmodel.errors import BadRequest
from worldmodel.town.scene import THINGS, Scene

PEDESTRIAN, VEHICLE, STATIC = "collision_pedestrian", "collision_vehicle", "collision_static"
RED_LIGHT, STOP_SIGN, NO_FAULT = "red_light", "stop_sign", "collision_not_at_fault"
COLLISIONS = (PEDESTRIAN, VEHICLE, STATIC)  # at fault
KINDS = (*COLLISIONS, RED_LIGHT, STOP_SIGN, NO_FAULT)


DEFAULT_FORM = "1.0"
IN_CARLA = {
    PEDESTRIAN: "pedestrian", VEHICLE: "vehicle", STATIC: "static", RED_LIGHT: "red_light", STOP_SIGN: "stop",
}  # fmt: skip
__all__ = [
    "COLLISIONS", "DEFAULT_FORM", "KINDS", "NO_FAULT", "PEDESTRIAN", "PENALTIES", "RED_LIGHT", "STATIC", "STOP_SIGN",
    "VEHICLE", "Conduct", "DrivingScore", "Infraction", "Penalty", "Referee", "bench2drive_table", "carla_driving_score",
    "carla_infractions_per_km", "conduct", "driving_score", "epdms", "pdms", "stage_two_weights", "summary",
    "two_stage_score",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Infraction:
    """Something that went wrong.

    Attributes:
        time_s: When, from the scene's start.
        kind: One of KINDS.
        track: Of the other; 'line-<number>' for a stop line.
        detail: How the two touched, for collisions.
    """

    time_s: float
    kind: str
    track: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """How a drive was: what went wrong, and how far it went.

    Attributes:
        infractions: In order of time.
        driven_m: Metres driven.
        outside_m: Of these, outside the lanes of the ego's direction (its centre; beside the road or in the oncoming lane).
    """

    infractions: tuple[Infraction, ...] = ()
    driven_m: float = 0.0
    outside_m: float = 0.0

    @property
    def outside_share(self) -> float:
        """Share of the way driven outside, 0 to 1."""
        return self.outside_m / self.driven_m if self.driven_m > 0 else 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Infractions by kind; every kind is there."""
        return {kind: sum(one.kind == kind for one in self.infractions) for kind in KINDS}

    def penalty(self, form: str = DEFAULT_FORM, *, speed_share: float = 1.0) -> float:
        """What is left of the score, 0 to 1, by one of PENALTIES.

        Raises:
            UnknownName: for a form that does not exist.
        """
        counts = {IN_CARLA[kind]: float(count) for kind, count in self.counts.items() if kind in IN_CARLA}
        return penalty_of(form).of(counts, self.outside_share, (speed_share,))


def conduct(scene: Scene, *, lanes: LaneMap | None = None) -> Conduct:
    """What went wrong in a driven scene.

    Args:
        scene: From its first frame on.
        lanes: Of the scene's stage, when they are at hand.
    """
    referee = Referee(lanes=lanes or LaneMap.of(scene.stage))
    referee.watch(scene)
    return referee.conduct


@dataclass(eq=False, kw_only=True)
class Referee:
    """Watches a scene grow, and looks at every frame once; watching it whole or in parts gives the same.

    Attributes:
        lanes: Of the stage.
        placement: Where the ego was in the frames that the last `watch` looked at.
    """

    lanes: LaneMap
    placement: Placement | None = None
    _infractions: list[Infraction] = field(default_factory=list)
    _touched: set[str] = field(default_factory=set)
    _driven_m: float = 0.0
    _outside_m: float = 0.0
    _seen: int = 0

    def watch(self, scene: Scene) -> None:
        """Look at the frames that came since the last time."""
        if len(scene) <= self._seen:
            return
        first = max(self._seen - 1, 0)
        placement = Placement.of(scene.ego_poses[first:], self.lanes)
        self._measure(placement)
        self._collisions(scene, first, placement)
        self._lines(scene)
        self._infractions.sort(key=lambda one: one.time_s)
        self._seen, self.placement = len(scene), placement

    @property
    def conduct(self) -> Conduct:
        """What was seen up to now."""
        return Conduct(infractions=tuple(self._infractions), driven_m=self._driven_m, outside_m=self._outside_m)

    def _measure(self, placement: Placement) -> None:
        steps = np.linalg.norm(np.diff(placement.centres[:, :2], axis=0), axis=1)
        self._driven_m += float(steps.sum())
        self._outside_m += float((steps * placement.astray[1:]).sum())

    def _collisions(self, scene: Scene, first: int, placement: Placement) -> None:
        if not self._seen:  # who touches the ego from the start is nobody's fault
            there = touching(scene, placement.centres[:1], scene.body_poses[:1]) & scene.body_present[:1]
            self._touched |= {scene.bodies[b].track for b in np.flatnonzero(there[0])}
        for contact in contacts(scene, placement, first):
            body, time_s = scene.bodies[contact.body], contact.frame / scene.frequency_hz
            if body.track in self._touched:
                continue
            self._touched.add(body.track)
            kind = _collision_kind(body.kind) if contact.at_fault else NO_FAULT
            self._infractions.append(Infraction(time_s=time_s, kind=kind, track=body.track, detail=contact.how))

    def _lines(self, scene: Scene) -> None:
        for kind, found in ((RED_LIGHT, red_lights(scene)), (STOP_SIGN, stop_signs(scene))):
            for one in found:
                if one.frame >= self._seen:
                    time_s = one.frame / scene.frequency_hz
                    self._infractions.append(Infraction(time_s=time_s, kind=kind, track=f"line-{one.line}"))


def _collision_kind(kind: str) -> str:
    return PEDESTRIAN if kind == "pedestrian" else STATIC if kind in THINGS else VEHICLE


@dataclass(frozen=True, kw_only=True)
class DrivingScore:
    """CARLA's three numbers of one scene.

    Attributes:
        completion: Share of the route, 0 to 1.
        penalty: What infractions left, 0 to 1.
        form: Which of PENALTIES.
        route_m: Length of the route.
    """

    completion: float
    penalty: float
    route_m: float
    form: str = DEFAULT_FORM

    @property
    def value(self) -> float:
        """Driving score, 0 to 100."""
        return 100 * self.completion * self.penalty


def driving_score(progress_m: float, route_m: float, conduct: Conduct, *, form: str = DEFAULT_FORM) -> DrivingScore:
    """The score of one drive.

    Args:
        progress_m: Along the route.
        route_m: Its length: how far free driving comes in the time given.
    Raises:
        BadRequest: if the route has no length.
        UnknownName: for a form that does not exist.
    """
    if not (np.isfinite(progress_m) and np.isfinite(route_m) and route_m > 0):
        raise BadRequest(f"{progress_m} m of a route of {route_m} m: the route needs a length. Choose a longer drive.")
    share = min(max(progress_m / route_m, 0.0), 1.0)
    return DrivingScore(completion=share, penalty=conduct.penalty(form), route_m=route_m, form=form)


def summary(scores: Sequence[DrivingScore], conducts: Sequence[Conduct]) -> dict[str, float]:
    """Over scenes: mean `driving_score`, `route_completion` and `penalty`, and infractions per km by kind.

    Per km is CARLA's: all infractions over all metres of route completed.

    Raises:
        BadRequest: without scenes, or if the two lists are not pairs.
    """
    if not scores or len(scores) != len(conducts):
        raise BadRequest(
            f"{len(scores)} scores and {len(conducts)} conducts: they must be pairs, at least one. Pair them."
        )
    kilometres = sum(score.completion * score.route_m for score in scores) / 1000
    found = {
        "driving_score": float(np.mean([score.value for score in scores])),
        "route_completion": float(np.mean([score.completion for score in scores])),
        "penalty": float(np.mean([score.penalty for score in scores])),
    }
    for kind in KINDS:
        count = sum(conduct.counts[kind] for conduct in conducts)
        found[f"{kind}_per_km"] = count / kilometres if kilometres > 0 else float("nan")
    return found
