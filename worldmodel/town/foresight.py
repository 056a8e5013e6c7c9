"""What the driver does next, and why it does what it does, in closed vocabularies."""

from worldmodel.town.labels import decision_at
from worldmodel.town.scene import Scene
from worldmodel.town.surroundings import STILL_MPS

NEXT_S = 2.0
NEXT_PACE = {"stop": "stop", "slow": "slow down", "keep": "keep the speed", "accelerate": "speed up"}
NEXT_WAY = {
    "straight": "straight on",
    "slight_left": "slightly left",
    "slight_right": "slightly right",
    "left": "left",
    "right": "right",
}
WHY = {
    "curve": "because of the bend ahead",
    "leader": "because of the vehicle ahead",
    "walker": "because of somebody on foot",
    "crossing": "because somebody else goes first",
    "signal": "because of the traffic light",
    "obstacle": "because something stands in the way",
    "oncoming": "because somebody comes towards us",
}


def next_moves(scene: Scene, frame: int) -> tuple[str, str] | None:
    """(what happens to the speed, where the driver steers) over the next NEXT_S; None near the scene's end."""
    decision = decision_at(scene, frame, NEXT_S)
    return None if decision is None else (NEXT_PACE[decision.longitudinal], NEXT_WAY[decision.lateral])


def reason(scene: Scene, frame: int) -> tuple[str, str, str] | None:
    """(what the driver does, why, whose track) while it brakes or stands for a reason; None else."""
    cause = scene.ego_causes[frame]
    if cause.kind not in WHY:
        return None
    if scene.ego_speeds_mps[frame] < STILL_MPS:
        return "does our driver stand still", WHY[cause.kind], cause.track
    if scene.ego_braking[frame]:
        return "does our driver brake", WHY[cause.kind], cause.track
    return None
