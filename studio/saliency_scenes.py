"""Held-out scenes of the town with somebody ahead in the lane: what the planners' heat maps are scored on.

Of each scene of the test seeds the first moment counts at which the nearest body in the ego's lane shows at least MIN_PX pixels in
the front camera. No planner is asked; scenes without such a moment are counted.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from studio.saliency_masks import Masks, nearest_on, town_masks, way_of
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.plans import PLAN_TIMES_S, Observation
from worldmodel.town.scene import Scene, town_rig

MOMENTS_S = (1.0, 2.0, 3.0)
FREQUENCY_HZ = 8.0
HISTORY = 5  # frames: half a second and now
MIN_PX = 20
ENDLESS = 20  # so many scenes are looked at for each that is wanted, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """One moment of one scene.

    Attributes:
        name: '<situation>-<seed>'.
        at_s: When in the scene.
        observation: What is seen and told.
        driven: Poses of the town's driver at 0.5 ... 4 s [8, 3].
        masks: Of the newest pictures.
    """

    name: str
    at_s: float
    observation: Observation
    driven: Float[Array, "8 3"]
    masks: Masks


def scene_rig() -> Rig:
    """Three cameras of 128 x 64, as the shipped planners were trained with."""
    return town_rig(3, 128, 64)


def held_out_shots(
    folder: Path, count: int, seed: int, *, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[list[Shot], int]:
    """The first `count` moments of the test scenes of a seed, and how many scenes had none; kept in a folder, once made.

    Raises:
        BadRequest: for a seed or count out of range.
    """
    from worldmodel.town.mixes import scene_list

    folder.mkdir(parents=True, exist_ok=True)
    shots: list[Shot] = []
    without = 0
    for situation, number in scene_list(ENDLESS * count, seed, split="test"):
        if len(shots) == count:
            break
        shot = _kept(folder, situation, number)
        without += shot is None
        shots += [] if shot is None else [shot]
        progress(len(shots), count)
    return shots, without


def _kept(folder: Path, situation: str, seed: int) -> Shot | None:
    path = folder / f"{situation}-{seed}.npz"
    if not path.exists():
        shot = find_shot(situation, seed)
        arrays: dict[str, Array] = {} if shot is None else _arrays(shot)
        partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    with np.load(path) as stored:
        return _shot(path.stem, dict(stored)) if "driven" in stored else None


def _arrays(shot: Shot) -> dict[str, Array]:
    assert shot.observation.motion is not None
    return {
        "video": shot.observation.video,
        "deltas": shot.observation.motion.deltas,
        "driven": shot.driven,
        "users": shot.masks.users,
        "ahead": shot.masks.ahead,
        "told": np.array([shot.observation.instruction, shot.masks.track]),
        "at_s": np.array(shot.at_s),
    }


def _shot(name: str, stored: dict[str, Array]) -> Shot:
    text, track = (str(value) for value in stored["told"])
    observation = Observation(
        video=stored["video"],
        rig=scene_rig(),
        motion=Motion(deltas=stored["deltas"], period_s=1 / FREQUENCY_HZ),
        frequency_hz=FREQUENCY_HZ,
        instruction=text,
    )
    masks = Masks(users=stored["users"], ahead=stored["ahead"], track=track, source="instances")
    return Shot(name=name, at_s=float(stored["at_s"]), observation=observation, driven=stored["driven"], masks=masks)


def find_shot(situation: str, seed: int) -> Shot | None:
    """The first moment of a scene with somebody ahead in the lane, or None."""
    from worldmodel.town.traffic import simulate

    seconds = MOMENTS_S[-1] + float(PLAN_TIMES_S[-1]) + 1 / FREQUENCY_HZ
    scene = simulate(situation, seed, seconds=seconds, frequency_hz=FREQUENCY_HZ)
    shots = (_shot_at(scene, at_s) for at_s in _moments(scene))
    return next((shot for shot in shots if shot is not None), None)


def _moments(scene: Scene) -> Iterator[float]:
    """Moments at which a body stands or drives in the lane, hidden or not."""
    for at_s in MOMENTS_S:
        frame = round(at_s * FREQUENCY_HZ)
        if nearest_on(scene.boxes(frame), way_of(scene, frame)):
            yield at_s


def _shot_at(scene: Scene, at_s: float) -> Shot | None:
    from worldmodel.town.oracle import plan_of
    from worldmodel.town.render import render

    frame, rig = round(at_s * FREQUENCY_HZ), scene_rig()
    newest = render(scene, rig, [frame])
    masks = town_masks(scene, frame, rig, newest.instance[0])
    if masks.ahead[rig.names.index("front")].sum() < MIN_PX:
        return None
    before = render(scene, rig, range(frame - HISTORY + 1, frame)).rgb
    texts = [i.text for i in scene.instructions if i.start_s <= at_s + 1e-9 < i.end_s]
    observation = Observation(
        video=np.concatenate([before, newest.rgb]),
        rig=rig,
        motion=scene.trajectory().motion()[frame - HISTORY + 1 : frame],
        frequency_hz=FREQUENCY_HZ,
        instruction=texts[-1] if texts else "",
    )
    driven = plan_of(scene, at_s).trajectory.poses
    return Shot(name=scene.id, at_s=at_s, observation=observation, driven=driven, masks=masks)
