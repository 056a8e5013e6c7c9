"""Who is asked, how, and at which held-out moments: what all questions of `benchmarks/obeys.py` share."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval_fid_fvd.held_out import Moment, moment_of, unseen_scenes
from eval_fid_fvd.obedience.commands import reach_s
from eval_fid_fvd.obedience.read_back import imagine_all
from eval_fid_fvd.readers import Readers
from worldmodel.errors import BadDataset
from worldmodel.geometry import Rig, Trajectory
from worldmodel.model import WorldModel
from worldmodel.plans import Observation
from worldmodel.rollout import Rollout
from worldmodel.sampling import Sampling
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.traffic import simulate

SECONDS = 4.0
INDEPENDENT = "independent reader"
SPARE_S = 4.0  # of a scene, in which its moment may lie
TRIES = 40  # scenes looked at for every moment that is wanted


@dataclass(frozen=True, eq=False, kw_only=True)
class Suite:
    """Who is asked, how, and at how many moments.

    Attributes:
        folder: Keeps the rendered moments.
        clips: Moments per question; a quarter of them for junctions.
    """

    model: WorldModel
    readers: Readers
    sampling: Sampling
    folder: Path
    clips: int = 16
    batch: int = 8
    seed: int = 0

    @property
    def rig(self) -> Rig:
        """The town's three cameras at the model's picture size."""
        return town_rig(3, self.model.config.width_px, self.model.config.height_px)

    @property
    def hertz(self) -> float:
        """Frames per second."""
        return self.model.config.frequency_hz

    @property
    def history(self) -> int:
        """Frames that are observed."""
        return self.model.config.history_chunks * self.model.per_chunk

    def moments(self, name: str, situations: Sequence[str], wanted: int, future_s: float, fits: "Fits") -> list[Moment]:
        """`wanted` moments of unseen scenes at which `fits` says yes; found once, then remembered by `name`."""
        file = self.folder / f"{name}-{self.seed}-{self.history}.json"
        places: list[tuple[str, int, int]] = json.loads(file.read_text()) if file.exists() else []
        if len(places) < wanted:
            places = self._search(situations, wanted, future_s, fits)
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = file.with_suffix(".tmp")
            temporary.write_text(json.dumps(places))
            temporary.replace(file)
        return [self._moment(name, seed, now, future_s) for name, seed, now in places[:wanted]]

    def _search(
        self, situations: Sequence[str], wanted: int, future_s: float, fits: "Fits"
    ) -> list[tuple[str, int, int]]:
        found: list[tuple[str, int, int]] = []
        seconds = self._seconds(future_s) + SPARE_S
        for tried, scene in enumerate(unseen_scenes(situations, self.seed, seconds, self.hertz)):
            if len(found) == wanted or tried == TRIES * wanted:
                break
            last = len(scene) - 1 - round(reach_s(future_s) * self.hertz)
            now = next((frame for frame in range(self.history - 1, last + 1, 4) if fits(scene, frame)), None)
            if now is not None:
                found.append((scene.situation, scene.seed, now))
        if len(found) < 2:
            raise BadDataset(
                f"{len(found)} fitting moments were found in {TRIES * wanted} scenes of {', '.join(situations)}; at least two are "
                "needed. Ask for more clips or with another seed."
            )
        return found

    def _seconds(self, future_s: float) -> float:
        return self.history / self.hertz + reach_s(future_s)

    def _moment(self, situation: str, seed: int, now: int, future_s: float) -> Moment:
        scene = simulate(situation, seed, seconds=self._seconds(future_s) + SPARE_S, frequency_hz=self.hertz)
        future = round(future_s * self.hertz)
        return moment_of(scene, now, self.rig, history=self.history, future=future, folder=self.folder)

    def imagine(
        self,
        observations: Sequence[Observation],
        seconds: float,
        actions: Sequence[Trajectory] | None = None,
        *,
        one_seed: bool = False,
    ) -> list[Rollout]:
        """Continue all observations with the suite's settings."""
        seeds = [self.seed if one_seed else self.seed + i for i in range(len(observations))]
        return imagine_all(
            self.model,
            observations,
            seconds=seconds,
            seeds=seeds,
            actions=actions,
            sampling=self.sampling,
            batch=self.batch,
        )


Fits = Callable[[Scene, int], bool]


def driven(moment: Moment, seconds: float) -> Trajectory:
    """What was driven from a moment on, in the ego frame of then."""
    hertz = moment.scene.frequency_hz
    frames = int(np.ceil(seconds * hertz)) + 1
    poses = moment.scene.ego_poses[moment.now : moment.now + frames]
    return Trajectory(poses=poses, times_s=np.arange(len(poses)) / hertz).seen_from(poses[0])
