"""Decision labels: at every frame of a scene, what the driver does over the next 1, 2 and 3 s."""

import numpy as np

from worldmodel.decisions import HORIZONS_S, decide
from worldmodel.geometry import Trajectory
from worldmodel.plans import Decision
from worldmodel.town.scene import Scene

Labels = tuple[Decision | None, ...]  # one per horizon; None where the scene ends before it


def decision_labels(scene: Scene) -> tuple[Labels, ...]:
    """For every frame, the decisions over HORIZONS_S; None where the future is too short to tell."""
    return tuple(tuple(decision_at(scene, frame, horizon) for horizon in HORIZONS_S) for frame in range(len(scene)))


def decision_at(scene: Scene, frame: int, horizon_s: float) -> Decision | None:
    """The decision over [frame, frame + horizon]; None where the scene ends before."""
    steps = round(horizon_s * scene.frequency_hz)
    if frame + steps >= len(scene) or steps < 1:
        return None
    times = np.arange(steps + 1) / scene.frequency_hz
    ahead = Trajectory(poses=scene.ego_poses[frame : frame + steps + 1], times_s=times)
    return decide(ahead, horizon_s, start_mps=float(scene.ego_speeds_mps[frame]))
