"""Moments of test scenes that planners are diagnosed on: what is seen, what was driven, what is seen 1, 2 and 3 s later.

Moments are of ordinary drives, or of surprises (`worldmodel.town.surprises`) just before the driver notices. One moment per
scene, so that moments are independent. Only the six pictures that are needed are rendered. Each scene is one file, written
under a temporary name, so that an interrupted run goes on.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policy.characteristics import Characteristics, characteristics
from policy.planner_config import HISTORY_S, STATES_S, STEPS_SEEN
from policy.training.labels import Label, labels_of
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.town.mixes import scene_list
from worldmodel.town.records.moments import moments_of
from worldmodel.town.render import render
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.surprises import surprise
from worldmodel.town.traffic import simulate
from worldmodel.training.words import Words, spoken_of

RATE_HZ = 8.0
DRIVE_NOW = 15  # the frame that is planned at
SURPRISE_NOW = 4  # the last frame at which no surprised driver has noticed yet
SCENE_S = 6.0  # 4 s beyond both
SEED = 23  # of the scenes, in the test split's own range
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutMoment:
    """One moment of a test scene.

    Attributes:
        scene: The scene's id.
        seen: RGB uint8 [3, camera, 3, h, w]: pictures 0.5, 0.25 and 0 s old.
        later: RGB uint8 [3, camera, 3, h, w]: 1, 2 and 3 s later.
        steps: The newest ego steps [STEPS_SEEN, 3].
        text: What the driver is told.
        label: What was driven.
        kind: What kind of scene it is.
        gaps_m: Ego-status gaps of all moments of the scene, two per second.
    """

    scene: str
    seen: Array
    later: Array
    steps: Array
    text: str
    label: Label
    kind: Characteristics
    gaps_m: Array


def moment_rig() -> Rig:
    """The cameras: those that planners of preset 'town-mini' are trained with."""
    return town_rig(3, 128, 64)


def held_out_moments(
    folder: Path,
    scenes: int,
    *,
    surprised: bool = False,
    seed: int = SEED,
    rig: Rig | None = None,
    progress: Progress | None = None,
) -> list[HeldOutMoment]:
    """Moments of scenes of the test split; those that the folder lacks are rendered into it.

    Args:
        surprised: Whether of surprises instead of ordinary drives.
    Raises:
        BadRequest: for a number of scenes or a seed out of range.
        BadDataset: if a file in the folder is none of these moments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rig = moment_rig() if rig is None else rig
    found = []
    for number, (situation, scene_seed) in enumerate(scene_list(scenes, seed, split="test")):
        path = folder / f"{'surprise-' if surprised else ''}{situation}-{scene_seed}.npz"
        if not path.exists():
            drive = surprise if surprised else simulate
            _write(path, drive(situation, scene_seed, seconds=SCENE_S, frequency_hz=RATE_HZ), rig, surprised)
            if progress is not None:
                progress(number + 1, scenes)
        found.append(read_moment(path))
    return found


def picture_frames(now: int) -> list[int]:
    """The frames of a scene that are rendered: those seen, then those to come."""
    return [now - round(age * RATE_HZ) for age in HISTORY_S] + [now + round(at * RATE_HZ) for at in STATES_S]


def _write(path: Path, scene: Scene, rig: Rig, surprised: bool) -> None:
    now = SURPRISE_NOW if surprised else DRIVE_NOW
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    meta = {
        "now": now,
        "text": Words(instruction=spoken_of(scene.instructions)).at("instruction", now / RATE_HZ),
        "kind": characteristics(scene, now).to_json(),
    }
    with temporary.open("wb") as file:
        np.savez(
            file,
            pictures=render(scene, rig, picture_frames(now)).rgb,
            deltas=scene.trajectory().motion().deltas,
            gaps_m=np.array(moments_of(scene).gaps_m),
            meta=np.array(json.dumps(meta)),
        )
    os.replace(temporary, path)


def read_moment(path: Path) -> HeldOutMoment:
    """A moment that `held_out_moments` wrote.

    Raises:
        BadDataset: if the file is something else.
    """
    try:
        with np.load(path) as data:
            pictures, deltas, gaps = data["pictures"], data["deltas"], data["gaps_m"]
            meta = json.loads(str(data["meta"]))
        kind, now = Characteristics.from_json(meta["kind"]), int(meta["now"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDataset(
            f"'{path}' is no moment of a test scene ({error}). Delete it; it is rendered again."
        ) from error
    label = labels_of(Motion(deltas=deltas, period_s=1 / RATE_HZ), [now])[now]
    return HeldOutMoment(
        scene=path.stem,
        seen=pictures[: len(HISTORY_S)],
        later=pictures[len(HISTORY_S) :],
        steps=deltas[now - STEPS_SEEN : now],
        text=meta["text"],
        label=label,
        kind=kind,
        gaps_m=gaps,
    )


def critical_gaps(moments: Sequence[HeldOutMoment]) -> tuple[Array, Array]:
    """Ego-status gaps of all moments of the scenes [n], and which scene each is of [n]."""
    scenes = np.repeat(np.arange(len(moments)), [len(moment.gaps_m) for moment in moments])
    return np.concatenate([moment.gaps_m for moment in moments]), scenes
