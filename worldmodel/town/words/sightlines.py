"""Outlines on the ground, and what stands between an eye and a point."""

from math import cos, sin

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.geometry import Array


def outline(pose: Float[Array, " 3"], length_m: float, width_m: float) -> Float[Array, "8 2"]:
    """Corners and middles of the sides of a rectangle on the ground."""
    u = np.array([1, 1, 1, 0, -1, -1, -1, 0]) * length_m / 2
    v = np.array([-1, 0, 1, 1, 1, 0, -1, -1]) * width_m / 2
    c, s = cos(pose[2]), sin(pose[2])
    return np.stack([pose[0] + c * u - s * v, pose[1] + s * u + c * v], axis=-1)


def gap_m(centre: Float[Array, " 3"], length_m: float, width_m: float, points: Float[Array, "n 2"]) -> float:
    """Metres from a rectangle (its middle at the pose `centre`) to the nearest of some world points; 0 inside."""
    dx, dy = (points - centre[:2]).T
    c, s = cos(centre[2]), sin(centre[2])
    along = np.maximum(np.abs(c * dx + s * dy) - length_m / 2, 0.0)
    across = np.maximum(np.abs(-s * dx + c * dy) - width_m / 2, 0.0)
    return float(np.hypot(along, across).min())


def crosses(eye: Float[Array, " 2"], points: Float[Array, "n 2"], boxes: Float[Array, "m 5"]) -> Bool[Array, "n m"]:
    """Whether the straight line from an eye to each point passes through each rectangle (x, y, yaw, length, width)."""
    c, s = np.cos(boxes[:, 2]), np.sin(boxes[:, 2])

    def local(places: Float[Array, "k 2"]) -> Float[Array, "k m 2"]:
        dx, dy = places[:, None, 0] - boxes[:, 0], places[:, None, 1] - boxes[:, 1]
        return np.stack([c * dx + s * dy, -s * dx + c * dy], axis=-1)

    start, half = local(eye[None]), boxes[:, 3:5] / 2
    step = local(points) - start
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    first, second = (-half - start) / step, (half - start) / step
    enter, leave = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    return np.asarray((enter < leave) & (leave > 0.0) & (enter < 1.0))
