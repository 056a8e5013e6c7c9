"""What the scene behind a town clip tells a stitch: depth of everything that can hide an object, and where the roadside is."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from studio.moments import Moment
from studio.placement import NEAR_M
from studio.sprites import Sprite
from studio.town_answer import recorded_scene
from worldmodel.errors import DetourError
from worldmodel.geometry import Array, Rig, compose, relative

if TYPE_CHECKING:
    from worldmodel.town.scene import Scene

SIDES_M = np.arange(3.0, 7.75, 0.25)  # how far beside its way the ego still sees 12 m ahead
CLEARANCE_M = 0.3


def town_scene(moment: Moment) -> "Scene | None":
    """The scene of a town clip over all its frames; None for other clips, and where the town has changed since."""
    from worldmodel.town.dataset import SOURCE

    if moment.clip.source != SOURCE:
        return None
    try:
        return recorded_scene(moment, (len(moment.clip) - 1 - moment.now) / moment.clip.frequency_hz)
    except DetourError:
        return None


def town_depth(scene: "Scene", moment: Moment) -> Float[Array, "time camera height width"]:
    """`solid_depth` at every frame of a moment's clip."""
    first = round(moment.start_s * scene.frequency_hz)
    return solid_depth(scene, moment.clip.rig, range(first, first + len(moment.clip)))


def solid_depth(scene: "Scene", rig: Rig, frames: Sequence[int]) -> Float[Array, "time camera height width"]:
    """Depth along the optical axis of all that stands in a scene, metres; infinite where there is only ground or sky."""
    from worldmodel.town.looks.world import GROUND_INSTANCE
    from worldmodel.town.render import render

    rendering = render(scene, rig, frames, supersample=1)
    return np.where(rendering.instance == GROUND_INSTANCE, np.inf, rendering.depth_m)


def roadside_m(scene: "Scene", frame: int, sprite: Sprite, ahead_m: float = NEAR_M) -> float | None:
    """How far to the left an object beside the road stands, nearest to the ego's way; negative to the right.

    It touches no lane, body or house. None where there is no such place in sight.

    Args:
        scene: Of the town.
        frame: Whose ego frame is meant.
        sprite: The object.
        ahead_m: How far ahead.
    """
    ego = scene.ego_poses[frame]
    radius = math.hypot(*sprite.footprint_m) / 2
    for side in sorted([*SIDES_M, *-SIDES_M], key=lambda y: (abs(y), y)):
        place = compose(ego, np.array([ahead_m + radius, side, 0.0]))
        if _off_the_lanes(scene, place, radius) and _free(scene, frame, place, radius):
            return float(side)
    return None


def _off_the_lanes(scene: "Scene", place: Array, radius: float) -> bool:
    return all(
        float(np.hypot(*(lane.centre - place[:2]).T).min()) > lane.width_m / 2 + radius + CLEARANCE_M
        for lane in scene.stage.lanes
    )


def _free(scene: "Scene", frame: int, place: Array, radius: float) -> bool:
    there = scene.body_present[frame]
    things = [
        (scene.body_poses[frame, b], scene.bodies[b].length_m, scene.bodies[b].width_m) for b in np.flatnonzero(there)
    ]
    things += [(np.array([h.x_m, h.y_m, h.yaw_rad]), h.length_m, h.width_m) for h in scene.stage.buildings]
    for pose, length, width in things:
        beside = np.abs(relative(pose, place)[:2]) - np.array([length, width]) / 2
        if np.hypot(*np.maximum(beside, 0.0)) < radius:
            return False
    return True
