"""Moments of test scenes at which every planner is asked for a plan: what is seen, what was driven, who was where.

One moment per scene, so that moments are independent. There are two kinds: *drives*, in which the town's expert goes through the
situations in turn and is asked later from round to round, and *surprises*, in which something stands in the lane, or
harmlessly beside it, and the driver is about to notice (`worldmodel.town.surprises`). Each moment is one file, written
under a temporary name, so that an interrupted run goes on.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eval_fid_fvd.collisions import boxes_ahead
from eval_fid_fvd.planning import PUBLISHED_TIMES_S
from policy.training.labels import Label, labels_of
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array, Motion, Rig
from worldmodel.plans import Observation
from worldmodel.town.mixes import scene_list
from worldmodel.town.render import render
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.surprises import surprise
from worldmodel.town.traffic import SITUATIONS, simulate
from worldmodel.training.words import Words, spoken_of

RATE_HZ = 8.0
HISTORY = 16  # frames of a drive that are seen: as many as the world model reads
FIRST_NOW = HISTORY - 1
LATER = 8  # frames that the moment moves on after each round of situations, for ROUNDS rounds
ROUNDS = 4
SURPRISE_NOW = 4  # the last frame at which no surprised driver has noticed yet
AHEAD_S = 4.0
DRIVE, SURPRISE = "drive", "surprise"
SEED = 29  # where in the range of test seeds drives begin; surprises begin at the next one
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class DrivenMoment:
    """One moment of a test scene.

    Attributes:
        scene: The scene's id.
        kind: DRIVE or SURPRISE.
        now: Its frame.
        observation: What is seen up to now.
        label: What was driven.
        boxes: Everybody at 0.5, 1.0, ... 3.0 s, as `eval_fid_fvd.collisions` takes them.
    """

    scene: str
    kind: str
    now: int
    observation: Observation
    label: Label
    boxes: tuple[Float[Array, "n 5"], ...]

    def facts(self) -> dict[str, Any]:
        """As written into a result."""
        seen = self.observation
        return {
            "scene": self.scene,
            "kind": self.kind,
            "at_s": self.now / RATE_HZ,
            "gap_m": self.label.gap_m,
            "speed_mps": seen.speed_mps,
            "yaw_rate_radps": seen.yaw_rate_radps,
            "driven": self.label.poses.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    situation: str
    seed: int
    kind: str
    now: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.situation}-{self.seed}-{self.now}"

    def scene(self) -> Scene:
        seconds = self.now / RATE_HZ + AHEAD_S + 2 / RATE_HZ
        make = surprise if self.kind == SURPRISE else simulate
        return make(self.situation, self.seed, seconds=seconds, frequency_hz=RATE_HZ)


def driven_moments(
    folder: Path,
    drives: int,
    surprises: int,
    *,
    seed: int = SEED,
    rig: Rig | None = None,
    progress: Progress | None = None,
) -> list[DrivenMoment]:
    """Moments of test scenes; those that the folder lacks are simulated and rendered into it.

    Args:
        drives, surprises: How many of each kind; one of them may be 0.
        rig: The cameras; those that planners of preset 'town-mini' are trained with by default.
    Raises:
        BadRequest: for a number of scenes or a seed out of range.
        BadDataset: if a file in the folder is none of these moments, or was seen by other cameras.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rig = rig or town_rig(3, 128, 64)
    wanted, found = _wanted(drives, surprises, seed), []
    for number, one in enumerate(wanted, start=1):
        path = folder / f"{one.name}.npz"
        if not path.exists():
            _write(path, one, rig)
            if progress is not None:
                progress(number, len(wanted))
        found.append(_read(path, one, rig))
    return found


def _wanted(drives: int, surprises: int, seed: int) -> list[_Wanted]:
    found = []
    for number, (situation, one) in enumerate(scene_list(drives, seed, split="test") if drives else []):
        now = FIRST_NOW + LATER * (number // len(SITUATIONS) % ROUNDS)
        found.append(_Wanted(situation=situation, seed=one, kind=DRIVE, now=now))
    for situation, one in scene_list(surprises, seed + 1, split="test") if surprises else []:
        found.append(_Wanted(situation=situation, seed=one, kind=SURPRISE, now=SURPRISE_NOW))
    return found


def _write(path: Path, wanted: _Wanted, rig: Rig) -> None:
    scene, now = wanted.scene(), wanted.now
    first = max(0, now - HISTORY + 1)
    steps = np.round(PUBLISHED_TIMES_S * RATE_HZ).astype(int)
    motion = scene.trajectory().motion()
    poses = Motion(deltas=motion.deltas[now:], period_s=motion.period_s).trajectory().poses
    there = boxes_ahead([scene.boxes(now + step) for step in steps], poses[steps])
    meta = {
        "scene": scene.id,
        "text": Words(instruction=spoken_of(scene.instructions)).at("instruction", now / RATE_HZ),
    }
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    with temporary.open("wb") as file:
        np.savez(
            file,
            video=render(scene, rig, range(first, now + 1)).rgb,
            deltas=motion.deltas,
            boxes=np.concatenate(there),
            counts=np.array([len(boxes) for boxes in there]),
            meta=np.array(json.dumps(meta)),
        )
    os.replace(temporary, path)


def _read(path: Path, wanted: _Wanted, rig: Rig) -> DrivenMoment:
    try:
        with np.load(path) as data:
            video, deltas, boxes, counts = (data[name] for name in ("video", "deltas", "boxes", "counts"))
            meta = json.loads(str(data["meta"]))
    except (OSError, ValueError, KeyError) as error:
        raise BadDataset(
            f"'{path}' is no moment of a test scene ({error}). Delete it; it is rendered again."
        ) from error
    size = (len(rig), 3, rig.height_px, rig.width_px)
    if video.shape[1:] != size:
        raise BadDataset(
            f"'{path}' holds pictures of shape {video.shape[1:]}; these cameras need {size}. Name another folder."
        )
    now = wanted.now
    seen = Observation(
        video=video,
        rig=rig,
        motion=Motion(deltas=deltas[now - len(video) + 1 : now], period_s=1 / RATE_HZ),
        frequency_hz=RATE_HZ,
        instruction=meta["text"],
    )
    label = labels_of(Motion(deltas=deltas, period_s=1 / RATE_HZ), [now])[now]
    return DrivenMoment(
        scene=meta["scene"],
        kind=wanted.kind,
        now=now,
        observation=seen,
        label=label,
        boxes=tuple(np.split(boxes, np.cumsum(counts)[:-1])),
    )


def gaps_of(moments: Sequence[DrivenMoment]) -> Float[Array, " n"]:
    """Their ego-status gaps, metres."""
    return np.array([moment.label.gap_m for moment in moments])
