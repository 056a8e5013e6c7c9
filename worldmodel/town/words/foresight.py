"""What the driver does next, and why it does what it does, in closed vocabularies."""

from worldmodel.town.scene import Scene
from worldmodel.town.words.labels import decision_at
from worldmodel.town.words.neighbours import STILL_MPS
from worldmodel.town.words.surroundings import Surroundings

NEXT_S = 2.0
BEND_RAD = 0.2
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
    "line": "because of the stop line",
    "signal": "because of the traffic light",
    "obstacle": "because something stands in the way",
    "oncoming": "because somebody comes towards us",
}


def next_moves(scene: Scene, frame: int) -> tuple[str, str] | None:
    """(what happens to the speed, where the driver steers) over the next NEXT_S; None near the scene's end."""
    decision = decision_at(scene, frame, NEXT_S)
    return None if decision is None else (NEXT_PACE[decision.longitudinal], NEXT_WAY[decision.lateral])


def reason(around: Surroundings, frame: int) -> tuple[str, str, str] | None:
    """(what the driver does, why, whose track) while it brakes or stands for a reason that one can see; None else."""
    scene, cause = around.scene, around.scene.ego_causes[frame]
    kind = "line" if cause.kind == "crossing" and not cause.track else cause.kind
    bends = max(abs(around.turned_rad(frame, 0.0, ahead)) for ahead in (10.0, 20.0, 35.0))
    if kind not in WHY or (kind == "curve" and bends < BEND_RAD):
        return None
    body = next((one for one in around.around(frame) if one.track == cause.track), None)
    if body is not None and not body.clear:
        return None
    if body is not None and kind == "obstacle":
        kind = "walker" if body.kind == "pedestrian" else "leader" if body.moves else kind
    if scene.ego_speeds_mps[frame] < STILL_MPS:
        return "does our driver stand still", WHY[kind], cause.track
    return ("does our driver brake", WHY[kind], cause.track) if scene.ego_braking[frame] else None
