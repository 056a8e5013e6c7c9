"""Both sides of a batch's scores: what units imagined, and what their recordings show at the same moments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import UInt8

from studio.jobs.exports.finished import Finished
from studio.jobs.plan.clip_digests import ClipDigests
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array, Rig
from worldmodel.io.lerobot import Dataset
from worldmodel.io.video import read_frames
from worldmodel.observing import frames_between

Local = Callable[[str], Path]


@dataclass(frozen=True, eq=False, kw_only=True)
class Followed:
    """What a unit's recording shows after its moment, at the rate of the unit.

    Attributes:
        dataset, episode: Where it lies.
        now: Number of the newest frame that was seen.
        every: Of so many recorded frames one is compared.
    """

    dataset: Dataset
    episode: int
    now: int
    every: int

    @property
    def frames(self) -> int:
        """How many frames follow."""
        return (self.dataset.length(self.episode) - 1 - self.now) // self.every

    def read(self, cameras: Sequence[str], numbers: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames that follow by number, 0 is the next one.

        Raises:
            BadDataset: if a camera is missing or the recording cannot be read.
        """
        have = self.dataset.rig.names
        if not set(cameras) <= set(have):
            raise BadDataset(
                f"'{self.dataset.path}' has cameras {', '.join(have)}; the unit shows {', '.join(cameras)}. Score it with "
                "the recordings that it was made from."
            )
        order = [have.index(camera) for camera in cameras]
        return self.dataset.frames(self.episode, self.now + self.every * (1 + np.asarray(numbers)))[:, order]


class Recordings:
    """Opens each dataset once.

    Args:
        local: The folder on this machine that a dataset's name or address stands for.
    """

    def __init__(self, local: Local) -> None:
        self._local, self._open = local, dict[str, ClipDigests]()

    def after(self, unit: Finished) -> Followed:
        """What followed a unit's moment.

        Raises:
            BadDataset: if the recording is not there any more, or is another one.
            BadRequest: if its rate is no whole multiple of the unit's.
        """
        clip = unit.request.clip
        if clip.dataset not in self._open:
            self._open[clip.dataset] = ClipDigests(Dataset.open(self._local(clip.dataset)))
        digests = self._open[clip.dataset]
        dataset = digests.dataset
        if clip.id not in dataset.ids:
            raise BadDataset(f"'{clip.dataset}' has no recording '{clip.id}' any more. Bring it back, and score again.")
        episode = dataset.ids.index(clip.id)
        if digests.of(episode) != clip.digest:
            raise BadDataset(
                f"recording '{clip.id}' of '{clip.dataset}' is not the one that the unit goes on from: it was changed. "
                "Bring that one back, or run the job file again."
            )
        now = min(round(clip.at_s * dataset.frequency_hz), dataset.length(episode) - 1)
        every = frames_between(dataset.frequency_hz, unit.frequency_hz)
        return Followed(dataset=dataset, episode=episode, now=now, every=every)


@dataclass(frozen=True, eq=False, kw_only=True)
class Compared:
    """A unit and what followed its moment."""

    unit: Finished
    followed: Followed

    @property
    def frames(self) -> int:
        """Imagined."""
        return int(self.unit.record["frames"])

    @property
    def moment(self) -> tuple[str, str, float]:
        """What units with other seeds and wishes share."""
        clip = self.unit.request.clip
        return clip.digest, clip.id, clip.at_s


class Imagined:
    """What units imagined, by key; a `ClipSource`. A unit's videos are copied, checked and read when they are needed.

    Raises:
        BadDataset: if units have unlike cameras or rates; both are named.
    """

    codec = "mp4"

    def __init__(self, pairs: Sequence[Compared]) -> None:
        self._units = {pair.unit.key: pair.unit for pair in pairs}
        first = pairs[0].unit
        for pair in pairs:
            _check_alike(first, pair.unit)
        self.label, self.names = "the batch", tuple(self._units)
        self.rig: Rig | None = first.rig
        self.cameras, self.frequency_hz = first.rig.names, first.frequency_hz

    def length(self, name: str) -> int:
        """Frames of one unit."""
        return int(self._units[name].record["frames"])

    def read(self, name: str, indices: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames of one unit, all cameras.

        Raises:
            BadDataset, BadVideo: if a video is missing, damaged or cannot be read.
        """
        with TemporaryDirectory(prefix="detour-score-") as folder:
            videos = self._units[name].camera_videos(Path(folder))
            return np.stack([read_frames(videos[camera], indices) for camera in self.cameras], axis=1)


class Recorded:
    """What followed in the recordings, by the keys of the units; a `ClipSource`."""

    codec = "dataset"

    def __init__(self, pairs: Sequence[Compared]) -> None:
        self._followed = {pair.unit.key: pair.followed for pair in pairs}
        first = pairs[0].unit
        self.label, self.names = "what followed in the recordings", tuple(self._followed)
        self.rig: Rig | None = None
        self.cameras, self.frequency_hz = first.rig.names, first.frequency_hz

    def length(self, name: str) -> int:
        """Frames that follow."""
        return self._followed[name].frames

    def read(self, name: str, indices: Array) -> UInt8[Array, "time camera 3 h w"]:
        """Frames that follow, all cameras."""
        return self._followed[name].read(self.cameras, indices)

    @cached_property
    def thinned(self) -> str:
        """How recordings were brought to the units' rate, for notes; '' if they have it."""
        rates = sorted({one.dataset.frequency_hz for one in self._followed.values() if one.every > 1})
        return f"real: every k-th frame of recordings at {', '.join(f'{rate:g}' for rate in rates)} Hz" if rates else ""


def _check_alike(first: Finished, unit: Finished) -> None:
    if unit.rig.names != first.rig.names or unit.frequency_hz != first.frequency_hz:
        facts = [f"{', '.join(one.rig.names)} at {one.frequency_hz:g} Hz" for one in (first, unit)]
        raise BadDataset(
            f"{first.title} and {unit.title} have unlike cameras or rates ({'; '.join(facts)}); scores need them alike. "
            "Score them apart."
        )
