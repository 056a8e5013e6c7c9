"""Places where traffic waits: lines on the ground, and the gates of the routes that pass them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from worldmodel.geometry import wrap_angle
from worldmodel.town.roads.network import Pose
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import Gate
from worldmodel.town.scene import StopLine

CROSSWALK_M = 3.2  # length along the traffic
LINE_GAP_M = 1.0  # from a stop line to the crosswalk behind it
ASIDE_M, ALIGNED_RAD = 1.0, 0.5  # a route that passes a place closer and straighter than this has its gate


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A place on a lane where traffic may have to wait.

    Attributes:
        pose: World x, y of the lane's middle, and the driving direction.
        kind, number: As of `Gate`.
        line: 'solid' or 'teeth' are painted there, '' nothing.
        width_m: Of the lane.
    """

    pose: Pose
    kind: str
    number: int = -1
    line: str = ""
    width_m: float = 4.0


def stop_lines(waits: Iterable[Wait]) -> tuple[StopLine, ...]:
    """What is painted at the places where one waits."""
    return tuple(
        StopLine(
            x_m=wait.pose[0],
            y_m=wait.pose[1],
            yaw_rad=wait.pose[2],
            width_m=wait.width_m,
            kind=wait.line,
            rule=wait.kind,
            number=wait.number,
        )
        for wait in waits
        if wait.line
    )


def gates_along(path: Path, waits: Iterable[Wait]) -> tuple[Gate, ...]:
    """Gates of one route, in driving order; a route that comes by twice has a place's gate twice."""
    found = [Gate(s_m=s, kind=wait.kind, number=wait.number) for wait in waits for s in passes(path, wait.pose)]
    return tuple(sorted(found, key=lambda gate: gate.s_m))


def gates_of(routes: Mapping[str, Path], waits: Iterable[Wait]) -> dict[str, tuple[Gate, ...]]:
    """Gates of every route that has some."""
    known = tuple(waits)
    found = {name: gates_along(path, known) for name, path in routes.items()}
    return {name: gates for name, gates in found.items() if gates}


def passes(path: Path, pose: Pose) -> list[float]:
    """Metres along a path at which it passes a place in its direction, one for each time."""
    apart = np.hypot(path.points[:, 0] - pose[0], path.points[:, 1] - pose[1])
    aligned = np.abs(wrap_angle(path.headings - pose[2])) < ALIGNED_RAD
    near = np.flatnonzero((apart < ASIDE_M + path.step_m) & aligned)
    visits = np.split(near, np.flatnonzero(np.diff(near) > 8) + 1)
    found = []
    for visit in visits:
        if len(visit):
            best = int(visit[apart[visit].argmin()])
            x, y, heading = path.at(best * path.step_m)
            ahead = np.cos(heading) * (pose[0] - x) + np.sin(heading) * (pose[1] - y)
            aside = -np.sin(heading) * (pose[0] - x) + np.cos(heading) * (pose[1] - y)
            if abs(aside) < ASIDE_M:
                found.append(float(best * path.step_m + ahead))
    return found
