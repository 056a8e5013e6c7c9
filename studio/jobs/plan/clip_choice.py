"""Which moments a job's clips stand for: episodes and times found, filters applied, every problem noted."""

import fnmatch
import hashlib
import re
from collections.abc import Iterator, Mapping

import numpy as np

from studio.jobs.plan.clip_library import Chosen, Library, Problems
from studio.jobs.plan.job_clips import Clips, Every, Filter
from studio.moments import Wish, now_frame
from worldmodel.errors import BadInput, BadRequest
from worldmodel.io.lerobot import Dataset
from worldmodel.io.lerobot_rows import episode_rows, instructions_of
from worldmodel.town.dataset import SOURCE

_RANGE = re.compile(r"(\d{1,9})\s*-\s*(\d{1,9})")


def chosen_moments(clips: Clips, wish: Wish, library: Library, problems: Problems) -> list[Chosen]:
    """All moments that an entry of a job's clips stands for, in order: datasets, episodes, times.

    Args:
        wish: How much past and future; where no times are named, it says which moment is taken.
        problems: Takes what cannot be used, and why.
    """
    before = len(problems.found)
    found: list[Chosen] = []
    try:
        addresses = library.matching(clips.dataset)
    except BadInput as error:
        problems.note(str(error))
        return []
    for address in addresses:
        try:
            dataset = library.dataset(address)
            episodes = _episodes(clips, dataset, address)
        except BadInput as error:
            problems.note(str(error))
            continue
        for episode in episodes:
            found += _in_episode(clips, address, dataset, episode, wish, problems)
    if not found and len(problems.found) == before:
        problems.note(f"'{clips.dataset}' has no moment that fits `episodes`, `at_s` and `filter`. Ask for less")
    return _limited(clips, found)


def _limited(clips: Clips, found: list[Chosen]) -> list[Chosen]:
    if clips.limit is None or len(found) <= clips.limit:
        return found
    if clips.seed is None:
        return found[: clips.limit]

    def drawn(number: int) -> str:  # by name: further clips do not change which of these come first
        one = found[number]
        return hashlib.sha256(f"{clips.seed}\0{one.dataset.ids[one.episode]}\0{one.at_s!r}".encode()).hexdigest()

    kept = sorted(range(len(found)), key=lambda number: (drawn(number), number))[: clips.limit]
    return [found[number] for number in sorted(kept)]


def _episodes(clips: Clips, dataset: Dataset, address: str) -> list[int]:
    """Numbers of the wanted episodes, in order.

    Raises:
        BadInput: for numbers and names that are not there.
    """
    if clips.wanted is None:
        return list(range(dataset.episodes))
    found: set[int] = set()
    for wanted in clips.wanted:
        named = _named(wanted, dataset)
        if not named:
            raise BadRequest(
                f"'{address}' has no episode {wanted!r}; it has {dataset.episodes} ({dataset.ids[0]}, ...)"
                if dataset.episodes
                else f"'{address}' has no episodes"
            )
        found |= named
    return sorted(found)


def _named(wanted: int | str, dataset: Dataset) -> set[int]:
    """Episodes with a number, in a range, of a name, or whose names match; nothing if a part of a range is missing."""
    if isinstance(wanted, str):
        exact = {number for number, name in enumerate(dataset.ids) if name == wanted}
        if exact:
            return exact
        limits = _RANGE.fullmatch(wanted)
        if limits is None and not wanted.isdecimal():
            return {number for number, name in enumerate(dataset.ids) if fnmatch.fnmatchcase(name, wanted)}
        first, last = (int(limits[1]), int(limits[2])) if limits else (int(wanted), int(wanted))
    else:
        first = last = wanted
    return set(range(first, last + 1)) if first <= last < dataset.episodes else set()


def _in_episode(
    clips: Clips, address: str, dataset: Dataset, episode: int, wish: Wish, problems: Problems
) -> Iterator[Chosen]:
    if not _fits(clips.filter, dataset, episode):
        return
    try:
        frames = _frames(clips, dataset, episode, wish)
        told = _Told(dataset, episode)
        for now in frames:
            if told.fits(clips.filter, now):
                yield Chosen(address=address, dataset=dataset, episode=episode, now=now)
    except BadInput as error:
        problems.note(f"'{address}': {error}")


def _frames(clips: Clips, dataset: Dataset, episode: int, wish: Wish) -> list[int]:
    """Numbers of the frames that are now, increasing.

    Raises:
        ClipTooShort, BadRequest: if a named time has not enough past, or lies outside.
    """
    times = clips.moments
    if times is None:
        return [now_frame(dataset, episode, None, wish)]
    if isinstance(times, Every):
        return _regular_frames(times, dataset, episode, wish)
    length, rate = dataset.length(episode), dataset.frequency_hz
    for at_s in times:
        if at_s >= length / rate:
            raise BadRequest(
                f"{at_s:g} s is outside clip '{dataset.ids[episode]}', which lasts {length / rate:.2f} s. Choose a time inside it"
            )
    return sorted({now_frame(dataset, episode, at_s, wish) for at_s in times})


def _regular_frames(times: Every, dataset: Dataset, episode: int, wish: Wish) -> list[int]:
    """Those that have one chunk of past and something to compare with."""
    length, rate = dataset.length(episode), dataset.frequency_hz
    earliest = now_frame(
        dataset, episode, None, Wish(history=wish.chunk, chunk=wish.chunk, future_s=0, rate_hz=wish.rate_hz)
    )
    latest = length - 2 if times.end_s is None else min(length - 2, round(times.end_s * rate))
    count = int(max(0, latest / rate - times.start_s) / times.every) + 2
    wanted = {round((times.start_s + number * times.every) * rate) for number in range(min(count, 10 * length))}
    return sorted(now for now in wanted if earliest <= now <= latest)


def _fits(wanted: Filter, dataset: Dataset, episode: int) -> bool:
    """Whether a recording as a whole may be used."""
    record = dataset.record(episode)
    lasts = record.length / dataset.frequency_hz
    situation = record.id.rpartition("-")[0] if record.source == SOURCE else ""
    return (
        wanted.motion in (None, dataset.has_motion)
        and wanted.boxes in (None, record.has_boxes)
        and (wanted.duration_s is None or wanted.duration_s[0] <= lasts <= wanted.duration_s[1])
        and (
            wanted.situations is None
            or any(situation and fnmatch.fnmatchcase(situation, name) for name in wanted.situations)
        )
    )


class _Told:
    """What is told and how fast it goes at moments of a recording; read when a filter asks for it."""

    def __init__(self, dataset: Dataset, episode: int) -> None:
        self.dataset, self.record, self.episode = dataset, dataset.record(episode), episode

    def fits(self, wanted: Filter, now: int) -> bool:
        """Whether a moment may be used."""
        if wanted.text is not None and wanted.text.casefold() not in self._text(now).casefold():
            return False
        if wanted.speed_mps is None:
            return True
        speed = self._speed_mps(now)
        return speed is not None and wanted.speed_mps[0] <= speed <= wanted.speed_mps[1]

    def _rows(self) -> Mapping[str, np.ndarray]:
        return episode_rows(self.record, self.episode, self.dataset.has_motion)

    def _text(self, now: int) -> str:
        rate, at_s = self.dataset.frequency_hz, now / self.dataset.frequency_hz
        said = instructions_of(self.dataset.path, self.record, self._rows(), rate)
        return next((text.text for text in reversed(said) if text.start_s <= at_s + 1e-9 < text.end_s), "")

    def _speed_mps(self, now: int) -> float | None:
        """Of the step into this frame; None where it is not known."""
        if not self.dataset.has_motion or now == 0 or not self._rows()["action_valid"][now - 1]:
            return None
        return float(np.hypot(*self._rows()["action"][now - 1][:2])) * self.dataset.frequency_hz
