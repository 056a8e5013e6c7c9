"""Who touched whom, and whose fault it was: NAVSIM's (nuPlan's) rule on the state of a scene."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from eval_fid_fvd.footprints import Placement, corners, rectangles_meet, touching
from worldmodel.geometry import Array, wrap_angle
from worldmodel.town.scene import EGO_BODY, Scene, ego_centres

STOPPED_MPS = 0.05
BEHIND_RAD = np.radians(150)  # further from straight ahead than this is behind
AHEAD_RAD = np.radians(30)
TTC_STEPS_S = (0.0, 0.3, 0.6, 0.9)
TTC_STOPPED_MPS = 5e-3
BUMPER_M = 0.02  # depth of the strip that stands for the front bumper


@dataclass(frozen=True, kw_only=True)
class Contact:
    """The first frame in which the ego touches somebody.

    Attributes:
        frame: Its number.
        body: Row of the body in the scene.
        how: 'stopped_ego', 'stopped_track', 'rear', 'front' or 'side'.
        at_fault: By NAVSIM's rule.
    """

    frame: int
    body: int
    how: str
    at_fault: bool


def contacts(scene: Scene, placement: Placement, first: int = 0) -> tuple[Contact, ...]:
    """The first contact with every body, in order of time; who touches the ego in the first frame already is left out.

    Args:
        placement: Of the scene's frames from `first` on.
        first: Where to begin.

    The ego is at fault when it drives and touches somebody who stands, touches with its front bumper, or touches with
    its side while it is in more than one lane or off the road. Later contacts with the same body do not count again.

    Source: nuPlan's at-fault collisions, as NAVSIM's scorer applies them.
    """
    touch = touching(scene, placement.centres, scene.body_poses[first:]) & scene.body_present[first:]
    found = []
    for body in np.flatnonzero(touch.any(axis=0) & ~touch[0]):
        place = int(touch[:, body].argmax())
        how = _how(scene, placement.centres[place], first + place, int(body))
        blamed = how in ("stopped_track", "front") or (how == "side" and bool(placement.off_lane[place]))
        found.append(Contact(frame=first + place, body=int(body), how=how, at_fault=blamed))
    return tuple(sorted(found, key=lambda contact: (contact.frame, contact.body)))


def _how(scene: Scene, centre: Float[Array, " 3"], frame: int, body: int) -> str:
    if scene.ego_speeds_mps[frame] <= STOPPED_MPS:
        return "stopped_ego"
    if (
        scene.body_speeds_mps[max(frame - 1, 0) : frame + 1, body].max() <= STOPPED_MPS
    ):  # at the contact the town stops it
        return "stopped_track"
    pose = scene.body_poses[frame, body]
    if bearing(scene.ego_poses[frame], pose) > BEHIND_RAD:
        return "rear"
    reach = (EGO_BODY.length_m - BUMPER_M) / 2
    strip = np.array([centre[0] + reach * np.cos(centre[2]), centre[1] + reach * np.sin(centre[2]), centre[2]])
    other = corners(pose, scene.bodies[body].length_m, scene.bodies[body].width_m)
    return "front" if rectangles_meet(corners(strip, BUMPER_M, EGO_BODY.width_m), other) else "side"


def bearing(ego: Float[Array, "*n 3"], other: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """Angle between the ego's heading and the direction to somebody's centre, 0 (ahead) to pi (behind)."""
    to = np.arctan2(other[..., 1] - ego[..., 1], other[..., 0] - ego[..., 0])
    return np.asarray(np.abs(wrap_angle(to - ego[..., 2])))


def too_close(scene: Scene, placement: Placement) -> Bool[Array, " time"]:
    """Frames in which the ego, driving straight on for a second, would run into where somebody then is: NAVSIM's TTC.

    The ego's footprint is moved on at constant velocity by 0, 0.3, 0.6 and 0.9 s and compared with the places where the
    others really were then (past the scene's end: drive straight on at constant speed). It counts when the other is
    ahead (30 degrees), or not behind while the ego is off its lane or where lanes cross. A standing ego is never
    too close. A body that met the ego's moved footprint otherwise is left out from then on.

    Source: NAVSIM's scorer.
    """
    ego = scene.ego_poses
    drives = scene.ego_speeds_mps >= TTC_STOPPED_MPS
    wide_view = placement.off_lane | placement.crossing
    way = scene.ego_speeds_mps[:, None] * np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=-1)
    guilty, excused = [], []
    for step in TTC_STEPS_S:
        moved = ego.copy()
        moved[:, :2] += way * step
        poses, there = bodies_at(scene, step)
        meets = touching(scene, ego_centres(moved), poses) & there & drives[:, None]
        angle = bearing(ego[:, None], poses)
        counts = (angle < AHEAD_RAD) | (wide_view[:, None] & (angle < BEHIND_RAD))
        guilty.append(meets & counts)
        excused.append(meets & ~counts)
    out = np.zeros(len(scene.bodies), bool)
    close = np.zeros(len(scene), bool)
    for frame in range(len(scene)):
        for is_guilty, is_excused in zip(guilty, excused, strict=True):
            close[frame] |= bool((is_guilty[frame] & ~out).any())
            out |= is_excused[frame]
    return close


def bodies_at(scene: Scene, later_s: float) -> tuple[Float[Array, "time body 3"], Bool[Array, "time body"]]:
    """Poses of the bodies `later_s` after each frame, and whether they are there; straight on past the scene's end."""
    place = np.arange(len(scene)) + later_s * scene.frequency_hz
    first = np.minimum(np.floor(place + 1e-9).astype(int), len(scene) - 1)
    second = np.minimum(first + 1, len(scene) - 1)
    part = np.minimum(place - first, 1.0)[:, None, None] * (second > first)[:, None, None]
    start, end = scene.body_poses[first], scene.body_poses[second]
    poses = start + part * np.concatenate(
        [end[..., :2] - start[..., :2], wrap_angle(end[..., 2:] - start[..., 2:])], axis=-1
    )
    over_s = np.maximum(place - (len(scene) - 1), 0.0) / scene.frequency_hz
    ahead = over_s[:, None] * scene.body_speeds_mps[first]
    poses[..., 0] += ahead * np.cos(poses[..., 2])
    poses[..., 1] += ahead * np.sin(poses[..., 2])
    return poses, scene.body_present[first]
