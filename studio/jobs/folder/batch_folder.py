"""The folder of a batch: its plan, what is finished, what failed, and who is at work.

OUT/batch.json, job.yaml, units.parquet   the plan (see `plan_files`)
OUT/units/ab/KEY/                          a finished unit, whole; unit.json says what is in it
OUT/damaged/KEY-1/                         one that was not what had been written; it was done again, and this may be removed
OUT/manifest/*.parquet                     a row per finished unit; no unit twice
OUT/failures/KEY.json                      a unit that could not be done, and why
OUT/partial/KEY/                           checkpoints of a long unit that is under way
OUT/locks/                                 who is at work
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.jobs.folder import failed, locks, manifest, plan_files
from studio.jobs.folder.failed import Failure
from studio.jobs.folder.leases import Holder, Pace
from studio.jobs.folder.patience import Patience
from studio.jobs.folder.roster import Roster
from studio.jobs.folder.seat import Seat
from studio.jobs.folder.standing import Standing, complete, look
from studio.jobs.folder.storage import Storage
from studio.jobs.folder.unit_folder import in_threads, is_stored, read_record, store_unit, stored_files
from studio.jobs.units import Batch, FileFact, Outcome, Shard, Unit
from worldmodel.errors import BadDataset, BadRequest, DetourError, OutputExists


def _nobody(line: str) -> None:
    """Tell nobody."""
    del line


class BatchFolder:
    """A batch's folder. Drivers lock a shard of it; workers store units; everybody may look.

    Attributes:
        storage: The folder.
        facts: Content of batch.json when it was opened.

    Raises:
        OutputExists, DiskFull, Unreachable: by whatever writes, see `studio.jobs.folder.storage.Storage`.
    """

    def __init__(self, storage: Storage, facts: Mapping[str, Any], pace: Pace) -> None:
        self.storage, self.facts, self._pace = storage, facts, pace
        self._seat: Seat | None = None

    @staticmethod
    def begin(
        address: str | Path,
        batch: Batch,
        options: Mapping[str, Any] | None = None,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> "BatchFolder":
        """The folder for a batch, made or gone on with. Another plan than the one it has may take it: units that both have stay.

        Raises:
            OutputExists: if it holds something else, is or touches an input, cannot be written, or a driver is at work on
                another plan in it.
        """
        plan_files.refuse_inputs(str(address), batch)
        storage, pace = Storage.at(address, options, patience), pace or Pace()
        plan_files.refuse_other_content(storage)
        with locks.turn(storage, pace):
            facts = plan_files.same_plan(storage, batch)
            folder = BatchFolder(storage, facts or {}, pace)
            folder.__dict__["batch"] = batch
            if facts is None:
                folder._take_plan(batch)
        return folder

    @staticmethod
    def open(
        address: str | Path,
        options: Mapping[str, Any] | None = None,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> "BatchFolder":
        """A batch's folder as it is.

        Raises:
            BadDataset: if it is none, or cannot be read.
        """
        storage = Storage.at(address, options, patience)
        return BatchFolder(storage, plan_files.read_facts(storage), pace or Pace())

    @cached_property
    def batch(self) -> Batch:
        """The plan.

        Raises:
            BadDataset: if it is missing or damaged.
        """
        return plan_files.read_plan(self.storage, self.facts)

    @contextmanager
    def lock(self, shard: Shard | None = None, tell: Callable[[str], None] = _nobody) -> Iterator[None]:
        """Be the driver of a shard while the block runs; its manifest is written at the end, however it ends.

        Args:
            shard: Which; None for all.
            tell: Gets a line if one must wait.

        Raises:
            OutputExists: if somebody else is; the message names who and since when.
        """
        shard = shard or Shard()
        if any(name.endswith(locks.LEASE) for name in self.storage.names(locks.FOLDER)):
            tell(
                f"another driver was at work on '{self.storage.address}' or still is; it is watched for a sign of life, "
                f"for {self._pace.dead_s:.0f} s at most"
            )
        with locks.turn(self.storage, self._pace):
            seat = self._sit_down(shard)
        self._seat = seat
        try:
            yield
            seat.flush()
        except BaseException:
            with suppress(DetourError):  # what is not written now is found again
                seat.flush()
            raise
        finally:
            self._seat = None
            seat.leave()

    def at_work(self) -> tuple[Holder, ...]:
        """Drivers that are at work; on object stores it takes a while to know that a killed one is not."""
        return locks.at_work(self.storage, self._pace)

    def look(self, shard: Shard | None = None, check: str = "checksum") -> Standing:
        """How the units of a shard stand, or all.

        Who holds the lock of that shard also has damaged units moved out of the way, rows that a crash lost written
        again, and what killed workers left removed; for others nothing changes.

        Args:
            shard: Whose units; None for all.
            check: 'checksum', 'size' or 'none', see `studio.jobs.folder.standing.look`.
        """
        standing = self._look(shard, check)
        if self._seat is not None and (shard or Shard()) == self._seat.shard:
            self._seat.mend(standing)
        return standing

    def stored(self, key: str) -> tuple[FileFact, ...] | None:
        """Files of a unit if it is there and looks whole; a damaged one is moved out of the way."""
        return stored_files(self.storage, key)

    def store(self, unit: Unit, folder: Path, record: Mapping[str, Any]) -> tuple[FileFact, ...]:
        """Let a unit's output appear, whole or not at all; for workers. If it is there already, that one stays.

        Args:
            unit: Whose output.
            folder: With its files; on the same disk they are linked, so do not change them afterwards.
            record: For unit.json; key, number, request and files are added.
        """
        files = store_unit(self.storage, unit, folder, record)
        if unit.key in self.storage.names("partial"):
            self.storage.remove(f"partial/{unit.key}")
        return files

    def partial(self, key: str) -> Storage:
        """Where a long unit keeps what it needs to go on; removed when it is stored."""
        return self.storage.sub(f"partial/{key}")

    def record(self, key: str) -> dict[str, Any]:
        """Content of a unit's unit.json.

        Raises:
            FileNotFoundError: if it is not done.
            ValueError: if it is damaged.
        """
        return read_record(self.storage, key)

    def note(self, outcome: Outcome) -> None:
        """How a unit ended; for the driver, who holds the lock. The manifest is written now and then, failures at once.

        A full disk or a storage that does not answer is not raised here: what was to be written waits, and `trouble` says
        why.

        Raises:
            OutputExists: if another driver took over, as nothing was heard of this one for long.
        """
        self._driver().note(outcome)

    def flush(self) -> None:
        """Write the manifest and failures with all that was noted; for the driver.

        Raises:
            OutputExists, DiskFull, Unreachable: if it cannot be written.
        """
        self._driver().flush()

    @property
    def trouble(self) -> str:
        """Why the manifest could not be written lately; '' if it could."""
        return "" if self._seat is None else self._seat.trouble

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per finished unit of the plan, in order of their numbers; columns as in `studio.jobs.folder.manifest.schema`.

        Rows that a crash kept out of the manifest are read from the units.
        """
        yield from manifest.rows_of(complete(self.storage, self._roster))

    def failures(self) -> tuple[Failure, ...]:
        """Units of the plan that could not be done, in order of their numbers."""
        numbers = self._roster.numbers
        keys = sorted(failed.failed_keys(self.storage) & numbers.keys())
        found = in_threads(self.storage, self._failure, keys)
        told = [replace(failure, number=numbers[failure.key]) for failure in found if failure is not None]
        return tuple(sorted(told, key=lambda failure: failure.number))

    def forget_failures(self, keys: Iterable[str]) -> None:
        """Let these units be tried as if they never had been; for the driver."""
        self._driver().forget(set(keys))

    @cached_property
    def _roster(self) -> Roster:
        return Roster(self.batch)

    def _failure(self, key: str) -> Failure | None:
        return None if is_stored(self.storage, key) else failed.read_failure(self.storage, key)

    def _driver(self) -> Seat:
        if self._seat is None:
            raise BadRequest(
                f"only the driver of '{self.storage.address}' may note how units ended. Take the lock first."
            )
        return self._seat

    def _sit_down(self, shard: Shard) -> Seat:
        """What a driver does in its turn."""
        hold = locks.take_shard(self.storage, shard, self._pace)
        try:
            seat = Seat(self.storage, self._roster, shard, hold)
            self._write_history(shard)
        except BaseException:
            hold.release()
            raise
        return seat

    def _look(self, shard: Shard | None, check: str) -> Standing:
        table = manifest.read_parts(self.storage) if self._seat is None else self._seat.table
        roster = self._roster
        return look(self.storage, roster.of(shard or Shard()), table, set(roster.numbers), check)

    def _write_history(self, shard: Shard) -> None:
        driver = asdict(Holder.here(shard)) | plan_files.made_with()
        driver = {name: value for name, value in driver.items() if name not in ("token", "count")}
        facts = plan_files.read_facts(self.storage)
        self.facts = facts | {"drivers": [*facts["drivers"], driver][-plan_files.MAX_DRIVERS :]}
        plan_files.write_facts(self.storage, self.facts)

    def _take_plan(self, batch: Batch) -> None:
        """Write another plan, or the first."""
        busy = locks.at_work(self.storage, self._pace)
        if busy:
            raise OutputExists(
                f"a driver is at work on another plan in '{self.storage.address}' ({busy[0].words()}). "
                "Wait until it is done, end it, or choose another --out."
            )
        drivers = list(self._old_facts().get("drivers", ()))
        parts = manifest.part_names(self.storage)
        if parts:  # before the plan: rows that an interruption loses here are found again
            rows = manifest.planned(manifest.read_parts(self.storage), self._roster.numbers)
            manifest.write_part(self.storage, "all", rows)
        for name in parts:
            if name != "all":
                self.storage.remove(f"{manifest.FOLDER}/{name}.parquet")
        self.facts = plan_files.write_plan(self.storage, batch, drivers)

    def _old_facts(self) -> Mapping[str, Any]:
        try:
            return plan_files.read_facts(self.storage)
        except BadDataset:
            return {}
