"""How close a scene came to harm, and whether its driver reacted: distances, times to collision and onsets.

Boxes on the ground plane; the ego is `EGO_BODY`, its box centred REAR_AXLE_M ahead of the pose. Everything float64.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array
from worldmodel.town.scene import EGO_BODY, Scene, ego_centres

STANDING_MPS = 0.1  # slower than this stands
TTC_HORIZON_S = 5.0  # later collisions of a constant-velocity forecast mean nothing
BRAKE_MPS = 0.5  # this much slower (faster) than its factual twin is braking (speeding up)
EVADE_M = 0.3  # this far beside the factual path is evading
PROLONGED_M = 1000.0  # further than anybody drives in a scene


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How close the ego came to others, and where it stopped, from a moment on.

    Attributes:
        stop_distance_m: Metres driven from the moment until the ego stands; None if it never does.
        stop_s: Seconds from the moment until it stands; None if it never does.
        time_to_collision_s: The smallest over all frames of the time until boxes touch, if everybody kept velocity
            and heading; None where no frame foresees a touch within TTC_HORIZON_S. Frames where the ego stands do
            not count, as in NAVSIM.
        collision_track: The body that this time belongs to; '' where there is none.
        minimum_gap_m: The smallest distance between the ego's box and another's; 0 when they touch; None with nobody.
        gap_track: The body that this gap belongs to; '' where there is none.
    """

    stop_distance_m: float | None
    stop_s: float | None
    time_to_collision_s: float | None
    collision_track: str
    minimum_gap_m: float | None
    gap_track: str


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """Whether a driver did something else than its factual twin, and when.

    Attributes:
        kind: 'none', 'brake' (slower by BRAKE_MPS), 'evade' (EVADE_M beside the factual path) or 'speed_up' (faster by
            BRAKE_MPS), whichever came first.
        onset_s: Seconds from the edit to the first frame beyond that threshold; None without a reaction.
    """

    kind: str
    onset_s: float | None


def measure(scene: Scene, at_s: float = 0.0) -> Measures:
    """How close the ego comes to others from a moment on, over the frames of the scene."""
    first = int(np.ceil(at_s * scene.frequency_hz - 1e-6))
    stop = _stop(scene, first)
    gap, gap_track = _smallest(gaps(scene)[first:], scene)
    ttc, ttc_track = _smallest(times_to_collision(scene)[first:], scene)
    return Measures(
        stop_distance_m=None if stop is None else stop[0],
        stop_s=None if stop is None else stop[1],
        time_to_collision_s=ttc,
        collision_track=ttc_track,
        minimum_gap_m=gap,
        gap_track=gap_track,
    )


def react(factual: Scene, edited: Scene, at_s: float) -> Reaction:
    """What the edited ego did that the factual one did not, and when it began.

    Args:
        factual, edited: The same scene without and with an edit, over the same frames.
        at_s: Moment of the edit.
    """
    rate = factual.frequency_hz
    frames = np.arange(len(factual))
    after = frames >= at_s * rate - 1e-6
    faster = edited.ego_speeds_mps - factual.ego_speeds_mps
    found = {
        "brake": after & (faster <= -BRAKE_MPS),
        "evade": after & (distance_to_way(edited.ego_poses[:, :2], factual.ego_poses) >= EVADE_M),
        "speed_up": after & (faster >= BRAKE_MPS),
    }
    onsets = {kind: int(np.argmax(there)) for kind, there in found.items() if there.any()}
    if not onsets:
        return Reaction(kind="none", onset_s=None)
    kind = min(onsets, key=lambda name: onsets[name])
    return Reaction(kind=kind, onset_s=onsets[kind] / rate - at_s)


def gaps(scene: Scene) -> Float[Array, "time body"]:
    """Metres between the ego's box and every other; 0 where they touch, infinite where the body is not there."""
    ego, others = _boxes(scene)
    apart = rectangle_distances(*ego, *others)
    return np.where(scene.body_present, apart, np.inf)


def times_to_collision(scene: Scene) -> Float[Array, "time body"]:
    """Seconds until the ego's box and another's touch if both keep velocity and heading; infinite where they never do.

    Infinite too beyond TTC_HORIZON_S, where the body is not there, and where the ego stands.

    Source: Hayward (1972), time to collision; the constant-velocity forecast of boxes and the exemption of a standing
    ego as in NAVSIM's scorer, but exact in time instead of in steps of 0.3 s.
    """
    (ego, ego_size), (others, sizes) = _boxes(scene)
    speed, other_speed = scene.ego_speeds_mps[:, None], scene.body_speeds_mps
    velocity = np.stack([np.cos(ego[..., 2]), np.sin(ego[..., 2])], axis=-1) * speed[..., None]
    other_velocity = np.stack([np.cos(others[..., 2]), np.sin(others[..., 2])], axis=-1) * other_speed[..., None]
    begin, end = contact(ego, ego_size, others, sizes, other_velocity - velocity)
    touch = (begin <= end) & (end >= 0) & (begin <= TTC_HORIZON_S)
    counts = touch & scene.body_present & (speed > STANDING_MPS)
    return np.where(counts, np.maximum(begin, 0.0), np.inf)


def distance_to_way(points: Array, poses: Array) -> Float[Array, " n"]:
    """Distance of points [n, 2] to the way through `poses` [m, 3], prolonged straight on at both ends."""
    heading = PROLONGED_M * np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], axis=-1)
    way = np.concatenate([poses[:1, :2] - heading[:1], poses[:, :2], poses[-1:, :2] + heading[-1:]])
    way = way[np.concatenate([[True], np.linalg.norm(np.diff(way, axis=0), axis=1) > 1e-6])]
    start, step = way[:-1], np.diff(way, axis=0)
    along = ((points[:, None] - start) * step).sum(-1) / (step**2).sum(-1)
    nearest = start + np.clip(along, 0.0, 1.0)[..., None] * step
    return np.asarray(np.linalg.norm(points[:, None] - nearest, axis=-1).min(axis=1))


def rectangle_distances(poses: Array, size: Array, other_poses: Array, other_size: Array) -> Array:
    """Distance between rectangles, 0 where they overlap.

    Args:
        poses, other_poses: Centres and headings, shapes [..., 3] that broadcast.
        size, other_size: Length and width, shapes [..., 2].
    """
    begin, end = contact(poses, size, other_poses, other_size, np.zeros(2))
    nearest = np.minimum(
        _corner_distance(poses, size, other_poses, other_size),
        _corner_distance(other_poses, other_size, poses, size),
    )
    return np.asarray(np.where(begin <= end, 0.0, nearest))


def contact(poses: Array, size: Array, other_poses: Array, other_size: Array, velocity: Array) -> tuple[Array, Array]:
    """When rectangles touch that move straight on without turning: seconds of first and last contact.

    Args:
        velocity: Of the others against the first, shape [..., 2].
    Returns:
        Begin and end; begin > end where they never touch. Touching for ever is from -inf to inf.
    Source: separating axes, solved for time.
    """
    apart, velocity = np.broadcast_arrays(other_poses[..., :2] - poses[..., :2], velocity)
    begin, end = np.full(apart.shape[:-1], -np.inf), np.full(apart.shape[:-1], np.inf)
    for yaw in (poses[..., 2], poses[..., 2] + np.pi / 2, other_poses[..., 2], other_poses[..., 2] + np.pi / 2):
        axis = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
        reach = _reach(axis, poses[..., 2], size) + _reach(axis, other_poses[..., 2], other_size)
        gap, speed = (apart * axis).sum(-1), (velocity * axis).sum(-1)
        moving = np.abs(speed) > 1e-9
        safe = np.where(moving, speed, 1.0)
        first, last = (-gap - np.sign(safe) * reach) / safe, (-gap + np.sign(safe) * reach) / safe
        inside = np.abs(gap) <= reach
        begin = np.maximum(begin, np.where(moving, first, np.where(inside, -np.inf, np.inf)))
        end = np.minimum(end, np.where(moving, last, np.where(inside, np.inf, -np.inf)))
    return begin, end


def _reach(axis: Array, yaw: Array, size: Array) -> Array:
    """Half the width of a rectangle's shadow on an axis."""
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
    shadow = np.abs((axis * forward).sum(-1)) * size[..., 0] + np.abs((axis * left).sum(-1)) * size[..., 1]
    return np.asarray(shadow / 2)


def _corner_distance(poses: Array, size: Array, other_poses: Array, other_size: Array) -> Array:
    """From the nearest corner of the first rectangle to the other rectangle."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / 2 * size[..., None, :]
    cos, sin = np.cos(poses[..., 2, None]), np.sin(poses[..., 2, None])
    x = poses[..., 0, None] + cos * corners[..., 0] - sin * corners[..., 1] - other_poses[..., 0, None]
    y = poses[..., 1, None] + sin * corners[..., 0] + cos * corners[..., 1] - other_poses[..., 1, None]
    cos, sin = np.cos(other_poses[..., 2, None]), np.sin(other_poses[..., 2, None])
    across = np.stack([np.abs(cos * x + sin * y), np.abs(-sin * x + cos * y)], axis=-1)
    outside = np.maximum(across - other_size[..., None, :] / 2, 0.0)
    return np.asarray(np.hypot(outside[..., 0], outside[..., 1]).min(axis=-1))


def _boxes(scene: Scene) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Centres [time, 1 or body, 3] and sizes of the ego and of everybody else."""
    sizes = np.array([[body.length_m, body.width_m] for body in scene.bodies]).reshape(1, -1, 2)
    ego = np.array([[[EGO_BODY.length_m, EGO_BODY.width_m]]])
    return (ego_centres(scene.ego_poses)[:, None], ego), (scene.body_poses, sizes)


def _smallest(values: Array, scene: Scene) -> tuple[float | None, str]:
    if not values.size or not np.isfinite(values).any():
        return None, ""
    frame, body = np.unravel_index(int(np.argmin(values)), values.shape)
    return float(values[frame, body]), scene.bodies[body].track


def _stop(scene: Scene, first: int) -> tuple[float, float] | None:
    """(metres, seconds) from frame `first` to the first standstill."""
    standing = np.flatnonzero(scene.ego_speeds_mps[first:] < STANDING_MPS)
    if not len(standing):
        return None
    way = scene.ego_poses[first : first + standing[0] + 1, :2]
    metres = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
    return metres, float(standing[0]) / scene.frequency_hz
