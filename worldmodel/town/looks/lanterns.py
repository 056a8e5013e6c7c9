"""Where light comes from at night: street lamps, headlights, tail lights, indicators and traffic lights.

A lantern is a row x, y, z, red, green, blue, size (m, of its halo), direction x, y, focus: with focus 0 it shines
everywhere alike, else with the cosine to its direction to that power.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from worldmodel.geometry import Array
from worldmodel.town.looks.lamps import AMBER_LIT, BRAKE, LEFT_LAMP, RIGHT_LAMP, SIGNAL_LIT, body_lamps
from worldmodel.town.scene import Lane, Scene

COLUMNS = 10
DRIVEN = ("car", "van", "truck", "bus", "cyclist")
LAMP_TONE, HEAD_TONE, TAIL_TONE = (1.0, 0.80, 0.50), (1.0, 0.97, 0.88), (1.0, 0.10, 0.06)
MOVING_MPS = 0.3
IN_LANE_M = 0.9  # who stands closer to the middle of a lane waits in traffic and has the lights on


def driven(scene: Scene, frame: int) -> Bool[Array, " body"]:
    """Which bodies have their lights on: vehicles that have moved, or stand in the middle of a lane."""
    kind = np.array([body.kind in DRIVEN for body in scene.bodies], dtype=bool)
    moved = np.abs(scene.body_speeds_mps[: frame + 1]).max(axis=0, initial=0.0) > MOVING_MPS
    middles = _middles(scene.stage.lanes)
    waiting = np.zeros(len(kind), dtype=bool)
    for b in np.flatnonzero(kind & ~moved):
        x, y = scene.body_poses[frame, b, :2]
        waiting[b] = len(middles) > 0 and np.hypot(middles[:, 0] - x, middles[:, 1] - y).min() < IN_LANE_M
    return scene.body_present[frame] & kind & (moved | waiting)


@lru_cache(maxsize=4)
def _middles(lanes: tuple[Lane, ...]) -> Float[Array, "n 2"]:
    return np.concatenate([np.zeros((0, 2)), *(lane.centre for lane in lanes)])


def beams(scene: Scene, frame: int) -> Float[Array, "n 4"]:
    """Headlights that light the road: x, y, yaw of the front and half the width, of the ego first."""
    ego = scene.ego_poses[frame]
    rows = [[ego[0] + 2.9 * np.cos(ego[2]), ego[1] + 2.9 * np.sin(ego[2]), ego[2], 0.8]]
    for b in np.flatnonzero(driven(scene, frame)):
        body, (x, y, yaw) = scene.bodies[b], scene.body_poses[frame, b]
        front = body.length_m / 2
        rows.append([x + front * np.cos(yaw), y + front * np.sin(yaw), yaw, body.width_m / 2])
    return np.array(rows, np.float64)


def street_lamps(scene: Scene) -> Float[Array, "n 10"]:
    """The lamps on posts along the streets."""
    rows = [
        [prop.x_m, prop.y_m, prop.height_m, *LAMP_TONE, 1.3, 0, 0, 0]
        for prop in scene.stage.props
        if prop.kind == "lamp"
    ]
    return np.array(rows, np.float64).reshape(-1, COLUMNS)


def lanterns(scene: Scene, frame: int, *, night: float, murk: float) -> Float[Array, "n 10"]:
    """Everything that dazzles in one frame.

    Args:
        night: How much street lamps shine, 0 by day to 1 at night.
        murk: How much lights of vehicles dazzle, at least `night`; those that shine by day too are weaker then.
    """
    rows: list[list[float]] = []
    codes, on = body_lamps(scene, [frame])[0], driven(scene, frame)
    for b in np.flatnonzero(scene.body_present[frame]):
        rows += _vehicle(scene, frame, int(b), int(codes[b]), bool(on[b]), murk)
    for signal, state in zip(scene.stage.signals, scene.signal_states[frame], strict=True):
        back = np.array([-np.cos(signal.yaw_rad), -np.sin(signal.yaw_rad)])
        spot = np.array([signal.x_m, signal.y_m]) + 0.14 * back
        tone = np.array(SIGNAL_LIT[int(state)]) * (0.25 + 0.65 * murk)
        height = signal.height_m - 0.62 + (1 - int(state)) * 0.38
        rows.append([*spot, height, *tone, 0.75, *back, 2.0])
    moving = np.array(rows, np.float64).reshape(-1, COLUMNS)
    posts = street_lamps(scene) * np.array([1, 1, 1, night, night, night, 1, 1, 1, 1])
    return np.concatenate([posts, moving]) if night > 0 else moving


def _vehicle(scene: Scene, frame: int, b: int, code: int, on: bool, night: float) -> list[list[float]]:
    body, (x, y, yaw) = scene.bodies[b], scene.body_poses[frame, b]
    if body.kind not in DRIVEN:
        return []
    ahead, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    bike = body.kind == "cyclist"
    half, height = (0.0, 0.8) if bike else (0.38 * body.width_m, min(0.44 * body.height_m, 0.95))
    length = body.length_m / 2
    rows: list[list[float]] = []

    def add(along: float, across: float, tone: tuple[float, float, float], share: float, size: float) -> None:
        spot = np.array([x, y]) + (along * length) * ahead + across * left
        rows.append([*spot, height, *(share * c for c in tone), size, *(along * ahead), 3.0])

    for side in (0.0,) if bike else (1.0, -1.0):
        if on and night > 0:
            add(1.0, side * half, HEAD_TONE, 0.95 * night, 0.5 if bike else 1.15)
        brake = (code & BRAKE) > 0
        if brake or (on and night > 0):
            add(-1.0, side * half, TAIL_TONE, (0.35 + 0.6 * night) if brake else 0.5 * night, 0.9 if brake else 0.45)
        if code & (LEFT_LAMP if side > 0 else RIGHT_LAMP) and side:
            add(-1.0, side * half * 1.1, AMBER_LIT, 0.3 + 0.4 * night, 0.6)
            add(1.0, side * half * 1.1, AMBER_LIT, 0.3 + 0.4 * night, 0.6)
    return rows
