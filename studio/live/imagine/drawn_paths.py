"""A path that somebody draws: a few waypoints, each where the car shall be after its share of the time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from worldmodel.errors import BadRequest
from worldmodel.geometry import Array, Trajectory, integrate_rates

Waypoints = tuple[tuple[float, float], ...]

MOST_WAYPOINTS = 8
FARTHEST_M = 2000.0  # 60 s at 120 km/h
SAME_M = 0.05  # waypoints nearer than this to the one before mean that the car stands
PLAIN_SPEED_MPS = 8.0  # where nobody knows how fast the car is


def checked_waypoints(points: Sequence[Any]) -> Waypoints:
    """Waypoints as plain numbers.

    Raises:
        BadRequest: if there is none or too many, or one is no pair of numbers within FARTHEST_M.
    """
    if not 1 <= len(points) <= MOST_WAYPOINTS:
        raise BadRequest(
            f"the path has {len(points)} waypoints; 1 to {MOST_WAYPOINTS} make sense. Drag those that are shown."
        )
    found = []
    for point in points:
        try:
            x, y = (float(value) for value in point)
        except (TypeError, ValueError):
            x = y = float("nan")
        if not max(abs(x), abs(y)) <= FARTHEST_M:
            raise BadRequest(
                f"the waypoint {str(point)[:60]} is not two numbers of at most {FARTHEST_M:g} m. Drag it to a place on the map."
            )
        found.append((round(x, 2), round(y, 2)))
    return tuple(found)


def waypoint_times(count: int, seconds: float) -> Float[Array, " count"]:
    """When each waypoint is reached, seconds from now; the last one at the end."""
    return seconds * np.arange(1, count + 1) / count


def straight_on(seconds: float, speed_mps: float | None, yaw_rate_radps: float | None = None) -> Waypoints:
    """Waypoints about a second apart of a car that goes on as it does now, to begin drawing with."""
    count = int(np.clip(round(seconds), 2, MOST_WAYPOINTS))
    times = np.concatenate([[0.0], waypoint_times(count, seconds)])
    speed = PLAIN_SPEED_MPS if speed_mps is None else max(speed_mps, 1.0)
    path = integrate_rates(np.full(count, speed), np.full(count, yaw_rate_radps or 0.0), times)
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in path.poses[1:, :2])


def path_through(
    waypoints: Waypoints, seconds: float, *, frequency_hz: float, speed_mps: float | None = None
) -> Trajectory:
    """The smooth path through waypoints, in the ego frame of now: it starts straight ahead, never runs backwards along itself.

    Args:
        waypoints: In the ego frame of now, metres; reached at `waypoint_times`.
        seconds: When the last one is reached.
        frequency_hz: Of the poses.
        speed_mps: Of the car now, if known; it is kept at first as far as the first waypoint allows.
    """
    from scipy.interpolate import CubicSpline

    points = np.concatenate([np.zeros((1, 2)), np.array(waypoints)])
    times = np.concatenate([[0.0], waypoint_times(len(waypoints), seconds)])
    way = np.concatenate([[0.0], np.cumsum(_lengths(points))])
    grid = np.arange(max(1, round(seconds * frequency_hz)) + 1) / frequency_hz
    corners = np.concatenate([[True], np.diff(way) > 0])
    if corners.sum() < 2:
        return Trajectory(poses=np.zeros((len(grid), 3)), times_s=grid)
    shape = CubicSpline(way[corners], points[corners], bc_type=((1, np.array([1.0, 0.0])), (2, np.zeros(2))))
    along = _along(times, way, speed_mps)(np.minimum(grid, times[-1]))
    tangent = shape(along, 1)
    yaw = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    return Trajectory(poses=np.concatenate([shape(along), yaw[:, None]], axis=1), times_s=grid)


def _lengths(points: Array) -> Array:
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.where(lengths < SAME_M, 0.0, lengths)


def _along(times: Array, way: Array, speed_mps: float | None) -> Callable[[Array], Array]:
    """Metres along the path over time: monotone, at the present speed at first where that does not overshoot."""
    from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

    steady = np.full(2, way[-1] / times[-1])
    slopes = steady if len(times) == 2 else PchipInterpolator(times, way).derivative()(times)
    first = (way[1] - way[0]) / (times[1] - times[0])
    if speed_mps is not None:
        slopes[0] = min(max(speed_mps, 0.0), 3 * first)
    found: Callable[[Array], Array] = CubicHermiteSpline(times, way, slopes)
    return found
