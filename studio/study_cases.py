"""Where a study looks: scenes of the town, or stretches of recordings, each with at most one moment that may be used."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from studio.eligible import Verdict, first_eligible, recorded_verdict
from studio.study_config import StudyConfig
from studio.study_things import Thing
from studio.town_answer import real_obstacle
from studio.town_scene import roadside_m
from studio.town_sprites import lookalike_of, sprite_of
from worldmodel.clips import Clip, Instruction
from worldmodel.errors import BadEdit
from worldmodel.geometry import Array, Trajectory
from worldmodel.io.lerobot import Dataset
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.town.scene import Scene, town_rig

if TYPE_CHECKING:
    from worldmodel.town.oracle import Truth

Known = Mapping[str, tuple[Verdict, ...]]  # verdicts of earlier studies by scene
TAIL_S = 0.5  # simulated beyond the last plan


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """One eligible moment and what planners see there.

    Attributes:
        scene: Name of the scene or stretch.
        situation, seed: What it is a scene of; '' and the episode's number for a recording.
        found: The verdict.
        clip: The frames up to the moment.
        depth_m: Of all that stands there [time, camera, h, w]; None where it is unknown.
        roadside_m: Where a lookalike stands, metres to the left; None where there is no place, or for the usual one.
        truth: What the town's driver does about a thing on the road; None where nobody knows.
        without: What it drives without it.
    """

    scene: str
    situation: str
    seed: int
    found: Verdict
    clip: Clip
    depth_m: Float[Array, "time camera h w"] | None = None
    roadside_m: float | None = None
    truth: Callable[[Thing], "Truth | None"] | None = None
    without: Plan | None = None

    @property
    def now_s(self) -> float:
        """The moment, seconds from the clip's start."""
        return (len(self.clip) - 1) / self.clip.frequency_hz

    @property
    def in_town(self) -> bool:
        """Whether there is a true answer."""
        return self.truth is not None

    def oracle_m(self, thing: Thing) -> float | None:
        """Change of the town driver's path over 4 s by a thing, metres; None where it cannot be asked."""
        if not self.in_town or thing.variant == "lookalike" or thing.size != 1:
            return None
        if thing.harmless:
            return 0.0
        if thing.variant == "near" and thing.x_m is None:
            return self.found.oracle_m
        assert self.truth is not None
        answer = self.truth(thing)
        return None if answer is None else answer.response.path_length_change_m


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """What was looked at: the verdicts of its moments, and the case if one of them may be used."""

    verdicts: tuple[Verdict, ...]
    case: Case | None


class TownScenes:
    """Scenes of the town.

    Args:
        history_s: Of the frames that planners see.
    """

    def __init__(self, config: StudyConfig, history_s: float) -> None:
        self.config, self.history_s = config, history_s

    @cached_property
    def pairs(self) -> list[tuple[str, int]]:
        """Situation and seed of each."""
        from worldmodel.town.mixes import scene_list

        config = self.config
        return scene_list(config.scenes, config.seed, situations=config.situations or None, split=config.split)

    @cached_property
    def names(self) -> list[str]:
        """Of the scenes, in order."""
        return [f"{situation}-{seed}" for situation, seed in self.pairs]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.pairs)

    def found(self, number: int, known: Known) -> Found:
        """The verdicts of one scene, and its case; an ineligible scene that is known already is not simulated again."""
        from worldmodel.town.traffic import simulate

        config, (situation, seed) = self.config, self.pairs[number]
        verdicts = known.get(self.names[number])
        if verdicts is not None and not _usable(verdicts):
            return Found(verdicts=verdicts, case=None)
        last_s = max(config.moments_s) if verdicts is None else verdicts[-1].at_s
        seconds = last_s + float(PLAN_TIMES_S[-1]) + TAIL_S
        scene = simulate(situation, seed, seconds=seconds, frequency_hz=config.frequency_hz)
        if verdicts is None:
            verdicts = tuple(first_eligible(scene, config.moments_s, kind=config.kind))
        return Found(verdicts=verdicts, case=self._case(scene, verdicts[-1]) if _usable(verdicts) else None)

    def _case(self, scene: Scene, found: Verdict) -> Case:
        from worldmodel.town.oracle import Oracle, plan_of

        def truth(thing: Thing) -> "Truth | None":
            try:
                return Oracle().truth(scene, real_obstacle(thing.edit(self.config.kind, found.at_s), found.at_s))
            except BadEdit:
                return None

        clip, depth = self._seen(scene, found.at_s)
        frame = round(found.at_s * scene.frequency_hz)
        return Case(
            scene=scene.id,
            situation=scene.situation,
            seed=scene.seed,
            found=found,
            clip=clip,
            depth_m=depth,
            roadside_m=roadside_m(scene, frame, lookalike_of(sprite_of(self.config.kind))),
            truth=truth,
            without=plan_of(scene, found.at_s),
        )

    def _seen(self, scene: Scene, at_s: float) -> tuple[Clip, Array]:
        """What planners see up to a moment, and the depth of all that stands there."""
        from worldmodel.town.looks.world import GROUND_INSTANCE
        from worldmodel.town.render import render

        config, now = self.config, round(at_s * scene.frequency_hz)
        first = now + 1 - max(1, round(self.history_s * scene.frequency_hz))
        rig = town_rig(config.cameras, config.width_px, config.height_px)
        taken = render(scene, rig, range(first, now + 1))
        driven = scene.trajectory().motion()
        said = next((i.text for i in scene.instructions if i.start_s <= at_s + 1e-9 < i.end_s), "")
        clip = Clip(
            id=scene.id,
            video=taken.rgb,
            rig=rig,
            motion=driven[first:now] if now > first else None,
            motion_origin="town" if now > first else "none",
            frequency_hz=scene.frequency_hz,
            instructions=(Instruction(text=said),) if said else (),
            boxes=tuple(scene.boxes(frame) for frame in range(first, now + 1)),
            source="the town, for a study",
        )
        return clip, np.where(taken.instance == GROUND_INSTANCE, np.inf, taken.depth_m)


def _usable(verdicts: tuple[Verdict, ...]) -> bool:
    return bool(verdicts) and verdicts[-1].eligible


class Recordings:
    """Stretches of a dataset's recordings, in order; nobody knows what the driver would have done.

    Raises:
        BadDataset: if it cannot be opened.
    """

    def __init__(self, config: StudyConfig, history_s: float) -> None:
        self.config, self.history_s, self.dataset = config, history_s, Dataset.open(config.dataset)

    @cached_property
    def stretches(self) -> list[tuple[int, float]]:
        """Episode and start of each, seconds."""
        rate = self.dataset.frequency_hz
        counts = [max(1, math.ceil(record.length / rate / self.config.stretch_s)) for record in self.dataset.records]
        both = [(e, k * self.config.stretch_s) for e, count in enumerate(counts) for k in range(count)]
        return both[: self.config.scenes]

    @cached_property
    def names(self) -> list[str]:
        """Of the stretches, in order: the clip's and its start."""
        return [f"{self.dataset.ids[episode]}@{start_s:g}" for episode, start_s in self.stretches]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.stretches)

    def found(self, number: int, known: Known) -> Found:
        """The verdicts of one stretch, and its case."""
        episode, start_s = self.stretches[number]
        name = self.names[number]
        verdicts = known.get(name)
        verdicts = tuple(self._verdicts(episode, start_s, name)) if verdicts is None else verdicts
        case = self._case(episode, start_s, name, verdicts[-1]) if _usable(verdicts) else None
        return Found(verdicts=verdicts, case=case)

    def _verdicts(self, episode: int, start_s: float, name: str) -> list[Verdict]:
        motion, rate = self.dataset.motion(episode), self.dataset.frequency_hz
        end_s = min((self.dataset.length(episode) - 1) / rate, start_s + self.config.stretch_s)
        driven = None if motion is None else motion.trajectory()
        found: list[Verdict] = []
        for after_s in self.config.moments_s:
            frame = round((start_s + after_s) * rate)
            if frame / rate > end_s + 1e-9 or (frame + 1) / rate < self.history_s - 1e-9:
                continue
            boxes = self.dataset.clip(episode, frame / rate, 1 / rate).boxes
            found.append(
                recorded_verdict(
                    name,
                    after_s,
                    speed_mps=None if motion is None else float(motion.speeds_mps[max(0, frame - 1)]),
                    driven=np.zeros((1, 3)) if driven is None else _ahead(driven, frame),
                    boxes=None if boxes is None else boxes[0],
                    without_boxes=self.config.without_boxes,
                )
            )
            if found[-1].eligible:
                break
        return found

    def _case(self, episode: int, start_s: float, name: str, found: Verdict) -> Case:
        rate = self.dataset.frequency_hz
        now = round((start_s + found.at_s) * rate)
        frames = max(1, round(self.history_s * rate))
        clip = self.dataset.clip(episode, (now + 1 - frames) / rate, frames / rate)
        return Case(scene=name, situation="", seed=episode, found=found, clip=clip)


def _ahead(driven: Trajectory, frame: int) -> Float[Array, "n 3"]:
    return driven.seen_from(driven.poses[frame]).poses[frame:]


def cases_of(config: StudyConfig, history_s: float) -> TownScenes | Recordings:
    """What a study looks at."""
    return Recordings(config, history_s) if config.dataset else TownScenes(config, history_s)
