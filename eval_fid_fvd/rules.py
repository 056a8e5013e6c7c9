"""Traffic rules and the route, from the state of a scene: red lights, stop signs, how far along, how far away."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from worldmodel.geometry import Array, relative
from worldmodel.town.scene import EGO_BODY, REAR_AXLE_M, RED, Scene

NOSE_M = REAR_AXLE_M + EGO_BODY.length_m / 2
HALT_MPS, HALT_WITHIN_M = 0.5, 8.0  # as slow as a decision "stop", this shortly before a stop sign's line, is a halt
SEARCH_M = 12.0  # per frame the place on the route moves less than this


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The ego's nose passes a stop line: in which frame, and the line's number on the stage."""

    frame: int
    line: int


def crossings(scene: Scene) -> tuple[Crossing, ...]:
    """Every time that the ego's front drives over a stop line in the line's direction."""
    found = []
    nose = scene.ego_poses.copy()
    nose[:, 0] += NOSE_M * np.cos(nose[:, 2])
    nose[:, 1] += NOSE_M * np.sin(nose[:, 2])
    for number, line in enumerate(scene.stage.stop_lines):
        local = relative(np.array([line.x_m, line.y_m, line.yaw_rad]), nose)
        over = (local[:-1, 0] <= 0) & (local[1:, 0] > 0) & (local[1:, 0] < 8.0)
        near = (np.abs(local[1:, 1]) < line.width_m / 2 + 0.3) & (np.abs(local[1:, 2]) < np.pi / 3)
        found += [Crossing(frame=int(frame) + 1, line=number) for frame in np.flatnonzero(over & near)]
    return tuple(sorted(found, key=lambda one: (one.frame, one.line)))


def red_lights(scene: Scene) -> tuple[Crossing, ...]:
    """Stop lines that the ego drove over while their signal was red; on amber one may."""
    found = []
    for one in crossings(scene):
        line = scene.stage.stop_lines[one.line]
        if line.rule == "signal" and scene.signal_states[one.frame - 1, line.number] == RED:
            found.append(one)
    return tuple(found)


def stop_signs(scene: Scene) -> tuple[Crossing, ...]:
    """Lines of stop signs that the ego drove over without standing before them."""
    lines = scene.stage.stop_lines
    return tuple(one for one in crossings(scene) if lines[one.line].rule == "stop" and not _stood_before(scene, one))


def _stood_before(scene: Scene, one: Crossing) -> bool:
    back = np.linalg.norm(scene.ego_poses[: one.frame + 1, :2] - scene.ego_poses[one.frame, :2], axis=1)
    return bool((scene.ego_speeds_mps[: one.frame + 1][back < HALT_WITHIN_M] < HALT_MPS).any())


def along_route(
    route: Float[Array, "n 2"], points: Float[Array, "time 2"], start_s: float | None = None
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """(metres along the route, metres away from it) of points in order of time.

    Each point looks near the place of the one before, so that a route which comes back to itself (a roundabout, around
    the block) is followed and not jumped across.

    Args:
        start_s: About where the first point is, metres along; None: wherever the route is closest.
    """
    pieces = np.linalg.norm(np.diff(route, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(pieces)])
    along, away = np.empty(len(points)), np.empty(len(points))
    here = start_s
    for t, point in enumerate(np.asarray(points, np.float64)):
        low, high = (0, len(pieces)) if here is None else np.searchsorted(at, [here - SEARCH_M, here + SEARCH_M])
        low, high = max(int(low) - 1, 0), min(max(int(high), int(low) + 2), len(pieces))
        low = min(low, high - 1)
        here, away[t] = _closest(route[low : high + 1], at[low:high], pieces[low:high], point)
        along[t] = here
    return along, away


def _closest(route: Array, at: Array, pieces: Array, point: Array) -> tuple[float, float]:
    way = np.diff(route, axis=0)
    part = np.clip(((point - route[:-1]) * way).sum(axis=1) / np.maximum(pieces**2, 1e-12), 0.0, 1.0)
    gap = np.linalg.norm(route[:-1] + part[:, None] * way - point, axis=1)
    best = int(gap.argmin())
    return float(at[best] + part[best] * pieces[best]), float(gap[best])


def route_progress(scene: Scene) -> float:
    """Metres along the route between the scene's start and the furthest place that the ego reached."""
    along, _ = along_route(scene.route, scene.ego_poses[:, :2], start_s=float(scene.route_s[0]))
    return float(along.max() - along[0])
