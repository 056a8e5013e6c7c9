"""Where a stitched object stands or moves: the variants' places, a user's own, and the pose in every frame."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from studio.ground import Ground
from studio.sprites import Sprite
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Array, compose, relative

NEAR_M, FAR_M = 12.0, 30.0
# how far ahead the near side stands; very far is twice as far as far, so about half its size
DISTANCES_M = {
    "near": NEAR_M,
    "far": FAR_M,
    "very_far": 2 * FAR_M,
    "sky_near": NEAR_M,
    "sky_far": FAR_M,
    "sky": 2 * FAR_M,
    "lookalike": NEAR_M,
    "empty": NEAR_M,
}
ROAD_TWINS = {"sky_near": "near", "sky_far": "far", "sky": "very_far"}  # whose pixel size a twin in the sky copies
ON_THE_ROAD = ("near", "far", "very_far")
ROADSIDE_M = -5.0  # where a lookalike stands unless told: to the right of a usual lane and its kerb
MAX_PLACE_M, MAX_SPEED_MPS = 150.0, 40.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Stand:
    """Where the object is in one frame, in that frame's ego frame.

    Attributes:
        pose: Middle of its footprint and heading, shape [3].
        foot_m: Height of its feet.
        ground: The road below, on which its shadow lies.
    """

    pose: Float[Array, " 3"]
    foot_m: float
    ground: Ground


def place_of_edit(edit: StitchSprite) -> tuple[float, float]:
    """Where the object's near side stands at the edit's moment: (forward m, left m).

    Raises:
        UnknownName: if there is no such variant.
        BadEdit: if the place or the speed is out of range, or the feet are below the ground.
    """
    if edit.variant not in DISTANCES_M:
        raise UnknownName("variant", edit.variant, DISTANCES_M)
    x = DISTANCES_M[edit.variant] if edit.x_m is None else edit.x_m
    y = (ROADSIDE_M if edit.variant == "lookalike" else 0.0) if edit.y_m is None else edit.y_m
    if not all(math.isfinite(value) for value in (x, y, edit.z_m, edit.yaw_rad, edit.speed_mps)):
        raise BadEdit(
            f"the object's place ({x}, {y}, {edit.z_m}), heading and speed must be finite numbers. Correct them."
        )
    if math.hypot(x, y) > MAX_PLACE_M or math.hypot(x, y) < 1e-6:
        raise BadEdit(
            f"the object is to stand {math.hypot(x, y):g} m from the ego; it must be more than 0 and at most {MAX_PLACE_M:g} m. "
            "Choose another place."
        )
    if edit.z_m < 0:
        raise BadEdit(
            f"the object's feet are to be {-edit.z_m:g} m below the ground, where no camera sees. Choose 0 or more."
        )
    if not 0 <= edit.speed_mps <= MAX_SPEED_MPS:
        raise BadEdit(
            f"the object is to move at {edit.speed_mps:g} m/s; it must lie between 0 and {MAX_SPEED_MPS:g}. "
            "Turn its heading to let it come towards you."
        )
    return x, y


def middle_of(edit: StitchSprite, sprite: Sprite) -> Float[Array, " 3"]:
    """Planar pose of the object's middle at the edit's moment, in the ego frame of that moment.

    Raises:
        UnknownName, BadEdit: as `place_of_edit`.
    """
    x, y = place_of_edit(edit)
    sight = math.atan2(y, x)
    inwards = sprite.reach_m(sight - edit.yaw_rad) / 2
    return np.array([x + inwards * math.cos(sight), y + inwards * math.sin(sight), edit.yaw_rad])


def stands(clip: Clip, edit: StitchSprite, sprite: Sprite, ground: Ground) -> list[Stand]:
    """The object in every frame of a clip: fixed in the world, or moving straight on along its heading.

    Raises:
        UnknownName, BadEdit: as `place_of_edit`.
        ClipTooShort: if the clip has no frame at the edit's moment.
        MissingMotion: if the clip has several frames and no motion: a place in the world could not be kept.
    """
    middle = middle_of(edit, sprite)
    now = round(edit.at_s * clip.frequency_hz)
    if not 0 <= now < len(clip):
        raise ClipTooShort(
            f"the object is placed at {edit.at_s:g} s, but clip '{clip.id}' has frames from 0 to "
            f"{(len(clip) - 1) / clip.frequency_hz:.2f} s. Choose a moment inside it."
        )
    driven = edit.speed_mps * (np.arange(len(clip)) - now) / clip.frequency_hz
    moved = compose(middle, np.stack([driven, 0 * driven, 0 * driven], axis=-1))
    poses = relative(_ego_poses(clip, now), moved)
    return [Stand(pose=pose, foot_m=float(ground.under(pose)) + edit.z_m, ground=ground) for pose in poses]


def _ego_poses(clip: Clip, now: int) -> Float[Array, "time 3"]:
    """The ego in the ego frame of frame `now`."""
    if len(clip) == 1:
        return np.zeros((1, 3))
    if clip.motion is None:
        raise MissingMotion(
            f"clip '{clip.id}' has {len(clip)} frames and no ego motion, so an object cannot be kept at one place in the "
            "world. Use a clip with motion, or a single frame of this one."
        )
    trajectory = clip.motion.trajectory()
    return trajectory.seen_from(trajectory.poses[now]).poses
