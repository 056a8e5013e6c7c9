"""Drives in which the driver notices something late: an obstacle that stood in the lane, or harmlessly beside it, all along.

A good driver brakes early, so in its drives nothing is ever close ahead of a fast ego, and a planner cannot learn what to do
then. Here the obstacle is in sight from the first frame, but the driver looks up only a little over half a second later and
reacts from then on as it always does. The obstacle is a body of the town, rendered with the rest; nothing is stitched. In
half of the scenes a board hangs high above the road as well, which is nobody's obstacle.

Source: own rules; why, with numbers, is in `docs/decisions.md`.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from worldmodel.edits import InsertActor
from worldmodel.errors import BadEdit
from worldmodel.geometry import relative
from worldmodel.town.scene import Prop, Scene, from_frame
from worldmodel.town.situations import generator
from worldmodel.town.traffic import simulate

KINDS = ("car", "car", "van", "truck", "pedestrian", "cyclist", "cone", "box")
AHEAD_M = (7.0, 40.0)  # the nearer, the more often
IN_LANE = 0.6  # share of the obstacles that stand in the lane
ASIDE_M = 0.5  # how far from its middle these stand
BESIDE_M = (3.2, 7.0)  # how far from it the others stand, on either side
HEADINGS_RAD = (0.0, 0.0, np.pi, np.pi / 2, -np.pi / 2)
BLIND_S = 0.5  # the obstacle is in sight for so long, and up to LATE_FRAMES more, before the driver notices
LATE_FRAMES = 2
OVERHEAD = 0.5  # share of the scenes with a board above the road
OVERHEAD_AHEAD_M = (20.0, 60.0)
OVERHEAD_TOP_M, OVERHEAD_HALF_M = (6.0, 10.5), (1.5, 4.5)  # its upper edge, and half its width
LATEST_S = 3.0  # of the undisturbed scene, until when it happens
SPEEDS_MPS = (4.0, 14.0)  # of the ego, where there are such moments
TRIES = 6


def surprise(situation: str, seed: int, *, seconds: float, frequency_hz: float = 8.0) -> Scene:
    """A scene that begins shortly before its driver notices an obstacle. A pure function of its arguments.

    Where no obstacle finds a place, the scene goes on as it would have.

    Args:
        situation, seed, frequency_hz: As for `simulate`.
        seconds: Duration of the scene.
    Raises:
        UnknownName, BadRequest: as `simulate`.
    """
    rng = generator(situation, seed, "surprise")
    before = simulate(situation, seed, seconds=LATEST_S + 1 / frequency_hz, frequency_hz=frequency_hz)
    frame = _moment(before, rng)
    first = frame - round(BLIND_S * frequency_hz) - int(rng.integers(LATE_FRAMES + 1))
    again = partial(simulate, situation, seed, seconds=first / frequency_hz + seconds, frequency_hz=frequency_hz)
    for _ in range(TRIES):
        try:
            edited = again(edits=(_obstacle(before, frame, rng),))
        except BadEdit:
            continue
        return from_frame(_below_a_board(_seen_all_along(edited, frame), frame, rng), first)
    return from_frame(again(), first)


def _moment(scene: Scene, rng: np.random.Generator) -> int:
    """The frame at which the driver notices."""
    first = round(BLIND_S * scene.frequency_hz) + LATE_FRAMES
    frames = np.arange(first, round(LATEST_S * scene.frequency_hz) + 1)
    speeds = scene.ego_speeds_mps[frames]
    good = frames[(speeds >= SPEEDS_MPS[0]) & (speeds <= SPEEDS_MPS[1])]
    return int(rng.choice(good if len(good) else frames))


def _obstacle(scene: Scene, frame: int, rng: np.random.Generator) -> InsertActor:
    """Something that stands on the ego's way, or beside it."""
    nearest, farthest = AHEAD_M
    x, y, heading = _on_the_way(scene, frame, nearest + (farthest - nearest) * rng.random() ** 1.5)
    aside = rng.uniform(-ASIDE_M, ASIDE_M) if rng.random() < IN_LANE else rng.choice([-1, 1]) * rng.uniform(*BESIDE_M)
    world = np.array([x - aside * np.sin(heading), y + aside * np.cos(heading), heading])
    forward, left, yaw = (float(value) for value in relative(scene.ego_poses[frame], world))
    return InsertActor(
        kind=str(rng.choice(KINDS)),
        x_m=forward,
        y_m=left,
        yaw_rad=yaw + float(rng.choice(HEADINGS_RAD)),
        at_s=frame / scene.frequency_hz,
    )


def _on_the_way(scene: Scene, frame: int, ahead_m: float) -> tuple[float, float, float]:
    """World pose of the route so many metres ahead of a frame."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(scene.route, axis=0), axis=1))])
    at = scene.route_s[frame] + ahead_m
    x, y = (np.interp([at, at + 1.0], lengths, scene.route[:, axis]) for axis in (0, 1))
    return float(x[0]), float(y[0]), float(np.arctan2(np.diff(y)[0], np.diff(x)[0]))


def _below_a_board(scene: Scene, frame: int, rng: np.random.Generator) -> Scene:
    """The scene, at times with a board above the road."""
    if rng.random() >= OVERHEAD:
        return scene
    x, y, heading = _on_the_way(scene, frame, rng.uniform(*OVERHEAD_AHEAD_M))
    board = Prop(
        kind="overhead",
        x_m=x,
        y_m=y,
        height_m=rng.uniform(*OVERHEAD_TOP_M),
        radius_m=rng.uniform(*OVERHEAD_HALF_M),
        style=int(rng.integers(1000)),
        yaw_rad=heading,
    )
    return replace(scene, stage=replace(scene.stage, props=(*scene.stage.props, board)))


def _seen_all_along(scene: Scene, frame: int) -> Scene:
    """The scene with the body that comes at a frame already there before."""
    new = [b for b, body in enumerate(scene.bodies) if body.track.startswith("inserted-")]
    present, poses = scene.body_present.copy(), scene.body_poses.copy()
    present[:frame, new] = scene.body_present[frame, new]
    poses[:frame, new] = scene.body_poses[frame, new]
    return replace(scene, id=f"{scene.id}+noticed", body_present=present, body_poses=poses)
