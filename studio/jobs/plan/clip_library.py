"""Datasets that a job names, opened once, with digests of their recordings; and what is wrong with them, said at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.jobs.plan.clip_digests import ClipDigests
from studio.jobs.plan.clips import fetched, matching, options_for
from worldmodel.errors import BadInput, BadRequest
from worldmodel.io.lerobot import Dataset

MAX_SHOWN = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen:
    """One moment of a recording.

    Attributes:
        address: Of its dataset, as workers open it.
        dataset: The dataset, open.
        episode: Number of the recording.
        now: Number of its newest frame that is seen.
    """

    address: str
    dataset: Dataset
    episode: int
    now: int

    @property
    def at_s(self) -> float:
        """Now, in seconds from the recording's start."""
        return self.now / self.dataset.frequency_hz

    @property
    def left_s(self) -> float:
        """Seconds of the recording after now."""
        return (self.dataset.length(self.episode) - 1 - self.now) / self.dataset.frequency_hz

    @property
    def name(self) -> str:
        """For messages."""
        return f"clip '{self.dataset.ids[self.episode]}' of '{self.address}'"


@dataclass(eq=False)
class Problems:
    """What is wrong with the clips of a job; all of it is said at once."""

    found: dict[str, None] = field(default_factory=dict)

    def note(self, problem: str) -> None:
        """One more; what was said already is not repeated."""
        self.found.setdefault(problem.rstrip(". "))

    def raise_any(self) -> None:
        """Say all that was noted, if there is something.

        Raises:
            BadRequest: naming the first MAX_SHOWN.
        """
        if not self.found:
            return
        shown, more = list(self.found)[:MAX_SHOWN], len(self.found) - MAX_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        count = "1 thing" if len(self.found) == 1 else f"{len(self.found)} things"
        raise BadRequest(
            f"{count} about the clips must be put right before anything runs:\n  "
            + "\n  ".join(shown)
            + rest
            + "\nRepair or leave out these clips, and run it again."
        )


@dataclass(eq=False)
class Library:
    """Datasets that were opened and looked at, each once.

    Attributes:
        cache: Where datasets from elsewhere are copied to; None for the user's cache folder.
        options: Of the batch's storage.
        out: Where the batch lies, which says for which datasets these are; '' for here.
    """

    cache: Path | None = None
    options: Mapping[str, Any] | None = None
    out: str = ""
    _open: dict[str, Dataset | BadInput] = field(default_factory=dict)
    _digests: dict[str, ClipDigests] = field(default_factory=dict)

    def dataset(self, address: str) -> Dataset:
        """The dataset at a path or address.

        Raises:
            BadInput: if it is none or broken; the same again when asked again.
        """
        if address not in self._open:
            try:
                self._open[address] = Dataset.open(fetched(address, self.cache, self._options(address)))
            except BadInput as error:
                self._open[address] = error
        found = self._open[address]
        if isinstance(found, BadInput):
            raise found
        return found

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Datasets that a pattern names.

        Raises:
            BadDataset: if there is none.
        """
        return matching(pattern, self._options(pattern))

    def _options(self, address: str) -> Mapping[str, Any] | None:
        return options_for(address, self.out, self.options)

    def digest(self, chosen: Chosen) -> str:
        """Of the moment's recording.

        Raises:
            BadInput: if a file of it is missing or broken.
        """
        if chosen.address not in self._digests:
            self._digests[chosen.address] = ClipDigests(chosen.dataset)
        return self._digests[chosen.address].of(chosen.episode)
