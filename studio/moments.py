"""A moment of a recording: what is seen up to now, and what follows."""

from dataclasses import dataclass

from worldmodel.clips import Clip
from worldmodel.errors import BadRequest, ClipTooShort
from worldmodel.geometry import Motion, Trajectory
from worldmodel.io.lerobot import Dataset, find_clip
from worldmodel.observing import frames_between
from worldmodel.plans import Observation


@dataclass(frozen=True, eq=False, kw_only=True)
class Moment:
    """A stretch of a recording with a now in it.

    Attributes:
        clip: From the first frame seen to the last frame of interest, at its own size.
        now: Number of the newest frame seen.
        start_s: Where the stretch begins in its recording.
        notes: What to know of the stretch, such as that the recording was thinned.
    """

    clip: Clip
    now: int
    start_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def at_s(self) -> float:
        """Now, in seconds from the stretch's first frame."""
        return self.now / self.clip.frequency_hz

    @property
    def history_s(self) -> float:
        """Seconds that are seen."""
        return (self.now + 1) / self.clip.frequency_hz

    def observation(self) -> Observation:
        """What may be seen: everything up to now."""
        return self.clip.observation(self.at_s, self.history_s)

    def driven(self) -> Trajectory | None:
        """The logged path in the ego frame of now, time 0 at now; None when it is unknown or nothing follows."""
        if self.clip.motion is None:
            return None
        return path_ahead(self.clip.motion, self.now)

    def past(self) -> Trajectory | None:
        """The logged path up to now in the ego frame of now, times up to 0; None when it is unknown."""
        if self.clip.motion is None or self.now == 0:
            return None
        whole = self.clip.motion.trajectory()
        behind = whole.seen_from(whole.poses[self.now])
        return Trajectory(
            poses=behind.poses[: self.now + 1], times_s=whole.times_s[: self.now + 1] - whole.times_s[self.now]
        )


def path_ahead(motion: Motion, now: int) -> Trajectory | None:
    """The path of a motion from frame `now` on, in the ego frame of it, time 0 there; None when nothing follows."""
    if now >= len(motion):
        return None
    whole = motion.trajectory()
    ahead = whole.seen_from(whole.poses[now])
    return Trajectory(poses=ahead.poses[now:], times_s=whole.times_s[now:] - whole.times_s[now])


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How much is wanted around now.

    Attributes:
        history: Frames to see at most.
        chunk: The frames seen are a multiple of it, and at least one.
        future_s: Seconds wanted after now; less is fine.
        rate_hz: The rate that frames are counted at; a recording at a whole multiple of it is thinned. None: its own.
    """

    history: int
    chunk: int
    future_s: float
    rate_hz: float | None = None


def find_moment(text: str, wish: Wish) -> Moment:
    """The moment that DATASET[:EPISODE[@SECONDS]] names; without seconds, one with enough past and a long future.

    Raises:
        BadDataset, UnknownName, BadRequest: as `find_clip`.
        ClipTooShort: if not even one chunk of the past fits.
        BadRequest: if the recording's rate is no whole multiple of the one that is wished.
    """
    dataset, episode, at_s = find_clip(text)
    return moment_of(dataset, episode, at_s, wish)


def moment_of(dataset: Dataset, episode: int, at_s: float | None, wish: Wish) -> Moment:
    """`find_moment` for an open dataset."""
    rate, length = dataset.frequency_hz, dataset.length(episode)
    every = 1 if wish.rate_hz is None else frames_between(rate, wish.rate_hz)
    now = _now(dataset, episode, at_s, wish, every)
    seen = min(wish.history, (now // every + 1) // wish.chunk * wish.chunk)
    first, last = now - (seen - 1) * every, min(length, now + 1 + round(wish.future_s * rate))
    clip = dataset.clip(episode, first / rate, (last - first) / rate)
    if every == 1:
        return Moment(clip=clip, now=seen - 1, start_s=first / rate)
    note = f"the recording has {rate:g} Hz and {wish.rate_hz:g} Hz are needed: of {every} frames one was used."
    return Moment(clip=clip.thinned(every), now=seen - 1, start_s=first / rate, notes=(note,))


def editable(moment: Moment) -> Moment:
    """The moment as it can be edited: of a recording without motion its newest frame alone, where nothing has to be kept
    at its place."""
    if moment.clip.motion is not None:
        return moment
    note = "the recording has no ego motion: only the newest frame is edited."
    newest = moment.clip.sliced(moment.at_s, moment.at_s + 1 / moment.clip.frequency_hz)
    return Moment(clip=newest, now=0, start_s=moment.start_s + moment.at_s, notes=(*moment.notes, note))


def now_frame(dataset: Dataset, episode: int, at_s: float | None, wish: Wish) -> int:
    """The number of the frame that `moment_of` takes for now, in the recording; nothing is read.

    Raises:
        ClipTooShort, BadRequest: as `find_moment`.
    """
    every = 1 if wish.rate_hz is None else frames_between(dataset.frequency_hz, wish.rate_hz)
    return _now(dataset, episode, at_s, wish, every)


def _now(dataset: Dataset, episode: int, at_s: float | None, wish: Wish, every: int) -> int:
    length, rate, name = dataset.length(episode), dataset.frequency_hz, dataset.ids[episode]
    need = (wish.chunk - 1) * every + 1
    if length < need + 1:
        raise ClipTooShort(
            f"clip '{name}' has {length} frames; at least {need + 1} are needed ({need} to see, 1 to compare "
            "with). Use a longer clip."
        )
    if at_s is None:
        return min((wish.history - 1) * every, max(need - 1, length - 1 - round(wish.future_s * rate)))
    now = min(round(at_s * rate), length - 1)
    if now < need - 1:
        raise ClipTooShort(
            f"at {at_s:g} s clip '{name}' has {now + 1} frames of the past; at least {need} are needed. "
            f"Choose a moment from {(need - 1) / rate:g} s on."
        )
    return now


def seconds_in_range(what: str, seconds: float, most: float) -> float:
    """The value, or why it makes no sense.

    Raises:
        BadRequest: if it is not positive (NaN included) or above `most`.
    """
    if not 0 < seconds <= most:
        raise BadRequest(f"{what} of {seconds:g} s is asked for; it must be positive and at most {most:g} s.")
    return seconds
