"""What a unit sees of its recording, and what followed: only the pictures that are needed, and nothing read twice in a row."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from studio.jobs.plan.clip_digests import ClipDigests
from studio.jobs.units import ClipRef, EditChoice
from studio.moments import Moment, Wish, editable, moment_of, path_ahead
from studio.stitching import StitchRequest, sprite_for, stitched_for
from worldmodel.errors import BadDataset
from worldmodel.geometry import Array, Trajectory
from worldmodel.io.lerobot import Dataset
from worldmodel.observing import frames_between
from worldmodel.pictures import resize_video

MAX_DATASETS, MAX_SEEN, MAX_EDITED = 8, 1, 1  # kept open or in memory; a batch asks moment after moment
BLOCK, MAX_BLOCKS = 16, 4  # frames; blocks

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One moment of a recording, whose pictures after now are read only when somebody asks for them.

    Attributes:
        moment: What is seen; the clip ends now.
        driven: The logged path in the ego frame of now as far as it is known, at most as far as was wished; None when it
            is unknown or nothing follows.
        dataset, episode: Where it lies.
        every: Of so many of its frames one is used.
        blocks: The last pictures after now that were read; the rollouts of a sweep are compared with the same ones.
        measured: What was measured of the recording itself, by what and where; likewise.
    """

    moment: Moment
    driven: Trajectory | None
    dataset: Dataset
    episode: int
    every: int
    blocks: OrderedDict[Hashable, Array] = field(default_factory=OrderedDict)
    measured: dict[Hashable, tuple[float, int]] = field(default_factory=dict)

    @property
    def followed(self) -> int:
        """How many frames the recording has after now, at the rate of the moment."""
        return (self.dataset.length(self.episode) - 1 - self._now) // self.every

    def truth(
        self, first: int, frames: int, width_px: int, height_px: int
    ) -> UInt8[Array, "time camera 3 height width"]:
        """Pictures that followed, from frame `first` after now (0 is the next one), as many of `frames` as there are."""
        last = max(first, min(first + frames, self.followed))
        numbers = range(first // BLOCK, -(-last // BLOCK) if last > first else 0)
        blocks = [self._block(number, width_px, height_px) for number in numbers]
        if not blocks:
            return np.zeros((0, len(self.moment.clip.rig), 3, height_px, width_px), np.uint8)
        start = first - numbers[0] * BLOCK
        return np.concatenate(blocks)[start : start + last - first]

    def _block(self, number: int, width_px: int, height_px: int) -> Array:
        """Some frames at once: opening a video takes longer than reading from it."""

        def read() -> Array:
            last = min((number + 1) * BLOCK, self.followed)
            frames = self._now + self.every * (1 + np.arange(number * BLOCK, last))
            return resize_video(self.dataset.frames(self.episode, frames), width_px, height_px)

        return _kept(self.blocks, (number, width_px, height_px), MAX_BLOCKS, read)

    @property
    def _now(self) -> int:
        moment = self.moment
        return round(moment.start_s * self.dataset.frequency_hz) + moment.now * self.every


@dataclass(frozen=True, eq=False, kw_only=True)
class EditedMoment:
    """A moment with something put into what is seen.

    Attributes:
        moment: The edited one.
        factual: The same frames without; of a recording without motion only the newest one.
        facts: What was done, for the unit's record.
        notes: What to know of it.
    """

    moment: Moment
    factual: Moment
    facts: dict[str, object]
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class ClipReader:
    """Opens datasets once and keeps the last moments, since the units of a sweep ask for the same ones.

    Attributes:
        local: The folder on this machine that a dataset's name or address stands for; fetches what lies elsewhere.
    """

    local: Callable[[str], Path] = Path
    _datasets: OrderedDict[Hashable, ClipDigests] = field(default_factory=OrderedDict)
    _seen: OrderedDict[Hashable, Recording] = field(default_factory=OrderedDict)
    _edited: OrderedDict[Hashable, EditedMoment] = field(default_factory=OrderedDict)

    def read(self, clip: ClipRef, wish: Wish) -> Recording:
        """The moment that a unit is about.

        Args:
            wish: As of `detour imagine`; its future says how far the driven path is wanted.
        Raises:
            BadDataset: if the dataset has no such clip any more, or another one under its name.
            BadInput: if it cannot be read, or the moment does not fit; as `moment_of`.
        """
        return _kept(self._seen, (clip, wish), MAX_SEEN, lambda: self._read(clip, wish))

    def edited(self, clip: ClipRef, wish: Wish, edit: EditChoice) -> EditedMoment:
        """The same moment with an edit in it, as `detour stitch` makes it.

        Raises:
            BadEdit, MissingMotion, UnknownName: as `studio.stitch.stitch`.
        """
        found = self.read(clip, wish)
        return _kept(self._edited, (clip, wish, edit), MAX_EDITED, lambda: _stitched(clip, found.moment, edit))

    def _opened(self, name: str) -> ClipDigests:
        return ClipDigests(Dataset.open(self.local(name)))

    def _read(self, clip: ClipRef, wish: Wish) -> Recording:
        digests = _kept(self._datasets, clip.dataset, MAX_DATASETS, lambda: self._opened(clip.dataset))
        dataset = digests.dataset
        episode = _episode(dataset, clip)
        _check_same(clip, digests.of(episode))
        moment = moment_of(dataset, episode, clip.at_s, replace(wish, future_s=0.0))
        every = 1 if wish.rate_hz is None else frames_between(dataset.frequency_hz, wish.rate_hz)
        found = Recording(moment=moment, driven=None, dataset=dataset, episode=episode, every=every)
        return replace(found, driven=_driven(found, wish.future_s))


def _kept(cache: OrderedDict[Hashable, Value], key: Hashable, most: int, make: Callable[[], Value]) -> Value:
    """The value of a key: as kept, or made, and then kept instead of the one that was not asked for the longest."""
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    value = make()
    while len(cache) >= most:
        cache.popitem(last=False)
    cache[key] = value
    return value


def _episode(dataset: Dataset, clip: ClipRef) -> int:
    """Where the clip is now; its name counts, its number may have changed."""
    if clip.episode < len(dataset) and dataset.ids[clip.episode] == clip.id:
        return clip.episode
    if clip.id in dataset.ids:
        return dataset.ids.index(clip.id)
    raise BadDataset(
        f"'{clip.dataset}' has no clip '{clip.id}' (its episode {clip.episode} once); the unit is about that one. "
        "Bring the dataset back as it was, or run the changed job file again."
    )


def _check_same(clip: ClipRef, digest: str) -> None:
    if digest != clip.digest:
        raise BadDataset(
            f"clip '{clip.id}' of '{clip.dataset}' is another one than when the batch was planned: its files have other "
            "content. Bring it back as it was, or run the job file again: of a changed clip, all units are new."
        )


def _driven(found: Recording, seconds: float) -> Trajectory | None:
    moment, dataset = found.moment, found.dataset
    rate = dataset.frequency_hz
    first = round(moment.start_s * rate)
    last = min(dataset.length(found.episode), found._now + 1 + round(seconds * rate))
    motion = dataset.motion(found.episode, first / rate, (last - first) / rate)
    if motion is None:
        return None
    return path_ahead(motion.thinned(found.every) if found.every > 1 else motion, moment.now)


def _stitched(clip: ClipRef, moment: Moment, edit: EditChoice) -> EditedMoment:
    request = StitchRequest(
        clip=clip.id,
        variant=edit.variant,
        kind=edit.kind,
        height_m=edit.height_m,
        x_m=edit.x_m,
        y_m=edit.y_m,
        yaw_deg=edit.yaw_deg,
        speed_mps=edit.speed_mps,
    )
    factual = editable(moment)
    _, edited = stitched_for(request, factual, sprite_for(request))
    assert edited.stitched is not None
    done = edited.stitched
    return EditedMoment(
        moment=replace(factual, clip=edited.clip), factual=factual, facts=dict(done.provenance), notes=done.notes
    )
