"""The seat of a shard's driver: only who holds its lock notes how units ended, and mends what a crash left."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from studio.jobs.folder import failed, manifest
from studio.jobs.folder.disk import UNFINISHED, abandoned
from studio.jobs.folder.locks import Hold
from studio.jobs.folder.roster import Roster
from studio.jobs.folder.standing import Standing
from studio.jobs.folder.storage import Storage
from studio.jobs.folder.unit_folder import in_threads, read_record, set_aside
from studio.jobs.units import Outcome, Shard, Unit
from worldmodel.errors import DiskFull, OutputExists, Unreachable

SWEPT = (manifest.FOLDER, failed.FOLDER)
GOES_ON = ("WorkerLost", "TimedOut")  # failures after which `detour jobs retry` goes on from the last checkpoint


class Seat:
    """Notes how units of a shard ended. To be made in one's turn, when no driver splits the batch otherwise.

    Args:
        storage: The batch's folder.
        roster: Units of the plan.
        shard: Whose driver.
        hold: Its lock.

    Attributes:
        shard: As given.
        trouble: Why the last writing failed; '' if it did not. What was to be written is kept for the next one.
    """

    def __init__(self, storage: Storage, roster: Roster, shard: Shard, hold: Hold) -> None:
        self.shard, self.trouble = shard, ""
        self._storage, self._roster, self._hold = storage, roster, hold
        _repartition(storage, roster, shard)
        self._part = manifest.Part(storage, shard.name, roster.numbers_of(shard))
        self._part.flush()
        self._failed = failed.failed_keys(storage)
        self._done: list[Outcome] = []
        self._lost: list[Outcome] = []

    @property
    def table(self) -> Any:
        """Rows of the shard's finished units, without those of the last seconds."""
        return self._part.table

    def note(self, outcome: Outcome) -> None:
        """How a unit ended. A full disk or a storage that does not answer is no reason to stop here; see `trouble`.

        Raises:
            OutputExists: if another driver took over, or the folder may not be written.
        """
        self.check()
        done = outcome.state == "done"
        (self._done if done else self._lost).append(outcome)
        if self._part.due or not done:
            try:
                self._flush(part=self._part.due)
                self.trouble = ""
            except (DiskFull, Unreachable) as error:
                self.trouble = str(error)
                self._part.postpone()

    def flush(self) -> None:
        """Write all that was noted.

        Raises:
            OutputExists, DiskFull, Unreachable: if it cannot be written.
        """
        self.check()
        self._flush(part=True)
        self.trouble = ""

    def check(self) -> None:
        """Say so if this driver may not go on.

        Raises:
            OutputExists: if another one may have taken over.
        """
        if self._hold.lost:
            raise OutputExists(
                f"another driver may have taken over '{self._storage.address}', as the storage could not be reached for "
                "long. Only one may be at work; see `detour jobs status`, then run the same command again."
            )

    def forget(self, keys: set[str]) -> None:
        """Let these units be tried as if they never had been."""
        failed.forget(self._storage, sorted(keys & self._failed))
        self._failed -= keys

    def leave(self) -> None:
        """Let another driver have it."""
        self._hold.release()

    def mend(self, standing: Standing) -> None:
        """Move damaged units out of the way, write lost rows again, forget failures of what is done, and remove leftovers."""
        for key in standing.damaged:
            set_aside(self._storage, key)
        self._part.drop(frozenset(unit.key for unit in standing.missing))
        for row in standing.found:
            self._part.add(row)
        self._part.flush()
        self.forget(set(standing.done))
        self._sweep(set(standing.done), self._roster.of(self.shard))

    def _sweep(self, done: set[str], units: Iterable[Unit]) -> None:
        for key in set(self._storage.names("partial")) & done:
            self._storage.remove(f"partial/{key}")
        top, keys = self._storage.local, {unit.key for unit in units}
        if top is None:
            return
        mine = [left for left in (top / "units").glob(f"*/.*{UNFINISHED}") if left.name.split(".")[1] in keys]
        others = [left for folder in ("", *SWEPT) for left in (top / folder).glob(f".*{UNFINISHED}") if abandoned(left)]
        for left in mine + others:
            self._storage.remove(left.relative_to(top).as_posix())

    def _flush(self, *, part: bool) -> None:
        if part:
            self._flush_part()
        while self._lost:
            failed.add_failure(self._storage, self._lost[0])
            outcome = self._lost.pop(0)
            self._failed.add(outcome.key)
            if not outcome.again and outcome.kind not in GOES_ON:
                self._storage.remove(f"partial/{outcome.key}")

    def _flush_part(self) -> None:
        for row in in_threads(self._storage, self._row, self._done):
            if row is not None:
                self._part.add(row)
        done, self._done = {outcome.key for outcome in self._done}, []
        self._part.flush()
        self.forget(done - {outcome.key for outcome in self._lost})

    def _row(self, outcome: Outcome) -> dict[str, Any] | None:
        """The row of a unit that a worker says is done; if it is not there, that is a failure."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return manifest.row_of(self._roster.units[outcome.key], read_record(self._storage, outcome.key))
        message = (
            f"the worker '{outcome.worker}' said that it was stored, and it is not there or is damaged. "
            "The storage must keep what it accepts; check it and run the same command again."
        )
        self._lost.append(replace(outcome, state="failed", kind="NotStored", message=message, again=True))
        return None


def _repartition(storage: Storage, roster: Roster, shard: Shard) -> None:
    """One part per shard, of as many shards as the drivers have now."""
    wanted = [Shard(index=index, of=shard.of) for index in range(1, shard.of + 1)]
    others = set(manifest.part_names(storage)) - {one.name for one in wanted}
    if not others:
        return
    table, names = manifest.read_parts(storage), manifest.part_names(storage)
    for one in wanted:
        rows = manifest.planned(table, roster.numbers_of(one))
        if len(rows) or one.name in names:
            manifest.write_part(storage, one.name, rows)
    for name in sorted(others):
        storage.remove(f"{manifest.FOLDER}/{name}.parquet")
