"""The folder of a batch: its plan, what is finished, what failed, and who is at work.

OUT/batch.json, job.yaml, units.parquet   the plan (see `plan_files`)
OUT/units/ab/KEY/                          a finished unit, whole; unit.json says what is in it
OUT/damaged/KEY-1/                         one that was not what had been written; it was done again, and this may be removed
OUT/manifest/*.parquet                     a row per finished unit; no unit twice
OUT/failures/KEY.json                      a unit that could not be done, and why
OUT/partial/KEY/                           checkpoints of a long unit that is under way
OUT/locks/                                 who is at work
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.jobs import failed, locks, manifest, plan_files
from studio.jobs.disk import UNFINISHED, Disk
from studio.jobs.failed import Failure
from studio.jobs.locks import Hold, Holder, Pace
from studio.jobs.patience import Patience
from studio.jobs.standing import Standing, look, present
from studio.jobs.storage import Storage
from studio.jobs.unit_folder import in_threads, read_record, set_aside, store_unit, stored_files
from studio.jobs.units import Batch, FileFact, Outcome, Shard, Unit
from worldmodel.errors import BadDataset, OutputExists


class BatchFolder:
    """A batch's folder. Drivers lock a shard of it; workers store units; everybody may look.

    Attributes:
        storage: The folder.
        facts: Content of batch.json when it was opened.

    Raises:
        OutputExists, DiskFull, Unreachable: by whatever writes, see `studio.jobs.storage.Storage`.
    """

    def __init__(self, storage: Storage, facts: Mapping[str, Any], pace: Pace) -> None:
        self.storage, self.facts, self._pace = storage, facts, pace
        self._shard: Shard | None = None
        self._hold: Hold | None = None
        self._part: manifest.Part | None = None
        self._ended: list[Outcome] = []
        self._failed: set[str] = set()

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
    def lock(self, shard: Shard | None = None) -> Iterator[None]:
        """Be the driver of a shard while the block runs; its manifest is written at the end, however it ends.

        Raises:
            OutputExists: if somebody else is; the message names who and since when.
        """
        shard = shard or Shard()
        with locks.turn(self.storage, self._pace):
            self._hold = locks.take_shard(self.storage, shard, self._pace)
            try:
                self._arrive(shard)
            except BaseException:
                self._leave()
                raise
        try:
            yield
            self.flush()
        except BaseException:
            self._flush_if_possible()
            raise
        finally:
            self._leave()

    def at_work(self) -> tuple[Holder, ...]:
        """Drivers that are at work; on object stores it takes a while to know that a killed one is not."""
        return locks.at_work(self.storage, self._pace)

    def look(self, shard: Shard | None = None, check: str = "checksum") -> Standing:
        """How the units of a shard stand, or all.

        Who holds the lock of that shard also has damaged units moved out of the way, rows that a crash lost written
        again, and what killed workers left removed; for others nothing changes.

        Args:
            shard: Whose units; None for all.
            check: 'checksum', 'size' or 'none', see `studio.jobs.standing.look`.
        """
        standing = self._look(shard, check)
        if self._shard is not None and (shard or Shard()) == self._shard:
            self._mend(standing)
        return standing

    def verify(self) -> Standing:
        """How all units stand, by all their bytes; nothing is changed."""
        return self._look(None, "checksum")

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
        """How a unit ended; for the driver. The manifest is written now and then, failures at once.

        Raises:
            OutputExists: if another driver took over, as nothing was heard of this one for long.
        """
        self.check_lock()
        if outcome.state == "done":
            self._ended.append(outcome)
        else:
            failed.add_failure(self.storage, outcome)
            self._failed.add(outcome.key)
        if self._part is not None and self._part.due:
            self.flush()

    def check_lock(self) -> None:
        """Say so if this driver may not go on.

        Raises:
            OutputExists: if another one took over.
        """
        if self._hold is not None and self._hold.lost:
            raise OutputExists(
                f"another driver may have taken over '{self.storage.address}', as the storage could not be reached for "
                "long. Only one may be at work; see `detour jobs status`, then run the same command again."
            )

    def flush(self) -> None:
        """Write the manifest with all that was noted."""
        if self._part is None:
            return
        ended, self._ended = self._ended, []
        for row in in_threads(self.storage, self._row, ended):
            if row is not None:
                self._part.add(row)
        done = {outcome.key for outcome in ended} & self._failed
        failed.forget(self.storage, done)
        self._failed -= done
        self._part.flush()

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per finished unit of the plan, in order of their numbers; columns as in `studio.jobs.manifest.schema`.

        Rows that a crash kept out of the manifest are read from the units.
        """
        yield from manifest.rows_of(self._complete())

    def failures(self) -> tuple[Failure, ...]:
        """Units of the plan that could not be done, in order of their numbers."""
        numbers, done = self._numbers, present(self.storage, sizes=False)
        keys = sorted(key for key in failed.failed_keys(self.storage) if key in numbers and key not in done)
        found = in_threads(self.storage, lambda key: failed.read_failure(self.storage, key), keys)
        told = [replace(failure, number=numbers[failure.key]) for failure in found if failure is not None]
        return tuple(sorted(told, key=lambda failure: failure.number))

    def forget_failures(self, keys: Iterable[str]) -> None:
        """Let these units be tried as if they never had been."""
        wanted = set(keys)
        failed.forget(self.storage, sorted(wanted))
        self._failed -= wanted

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {unit.key: unit.number for unit in self.batch.units}

    @cached_property
    def _units(self) -> dict[str, Unit]:
        return {unit.key: unit for unit in self.batch.units}

    def _units_of(self, shard: Shard) -> list[Unit]:
        return sorted(
            (unit for work in self.batch.works if shard.owns(work) for unit in work.units), key=lambda unit: unit.number
        )

    def _look(self, shard: Shard | None, check: str) -> Standing:
        table = manifest.read_parts(self.storage) if self._part is None else self._part.table
        return look(self.storage, self._units_of(shard or Shard()), table, set(self._numbers), check)

    def _complete(self) -> Any:
        """All rows that can be had."""
        import pyarrow as pa

        stored = manifest.planned(manifest.read_parts(self.storage), self._numbers)
        known, there = set(stored["key"].to_pylist()), present(self.storage, sizes=False)
        fresh = [key for key in there if key in self._numbers and key not in known]
        rows = [row for row in in_threads(self.storage, self._row_of, fresh) if row is not None]
        kept = stored.filter(pa.array([key in there for key in stored["key"].to_pylist()], pa.bool_()))
        return pa.concat_tables([kept, manifest.table_of(rows)])

    def _row_of(self, key: str) -> dict[str, Any] | None:
        try:
            return manifest.row_of(self._units[key], read_record(self.storage, key))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _row(self, outcome: Outcome) -> dict[str, Any] | None:
        """The row of a unit that a worker says is done; if it is not there, that is a failure."""
        row = self._row_of(outcome.key) if outcome.key in self._units else None
        if row is None:
            message = (
                f"the worker '{outcome.worker}' said that it was stored, and it is not there or is damaged. "
                "The storage must keep what it accepts; check it and run the same command again."
            )
            lost = replace(outcome, state="failed", kind="NotStored", message=message, again=True)
            failed.add_failure(self.storage, lost)
        return row

    def _arrive(self, shard: Shard) -> None:
        """What a driver does in its turn."""
        self._repartition(shard)
        numbers = {unit.key: unit.number for unit in self._units_of(shard)}
        self._part = manifest.Part(self.storage, shard.name, numbers)
        self._part.flush()
        self._shard, self._failed = shard, failed.failed_keys(self.storage)
        self._write_history(shard)

    def _write_history(self, shard: Shard) -> None:
        from studio.runs import commit, versions

        driver = asdict(Holder.here(shard)) | {"commit": commit(), "versions": versions()}
        driver = {name: value for name, value in driver.items() if name not in ("token", "count")}
        facts = plan_files.read_facts(self.storage)
        self.facts = facts | {"drivers": [*facts["drivers"], driver][-plan_files.MAX_DRIVERS :]}
        plan_files.write_facts(self.storage, self.facts)

    def _leave(self) -> None:
        if self._hold is not None:
            self._hold.release()
        self._hold = self._part = self._shard = None

    def _flush_if_possible(self) -> None:
        """The manifest is written even when something went wrong; what is lost then is found again."""
        try:
            self.flush()
        except (OutputExists, OSError):
            return

    def _repartition(self, shard: Shard) -> None:
        """One part per shard, of as many shards as the drivers have now; only called while no driver has another number."""
        wanted = [Shard(index=index, of=shard.of) for index in range(1, shard.of + 1)]
        names = manifest.part_names(self.storage)
        others = [name for name in names if name not in {one.name for one in wanted}]
        if not others:
            return
        table = manifest.read_parts(self.storage)
        for one in wanted:
            numbers = {unit.key: unit.number for unit in self._units_of(one)}
            part = manifest.planned(table, numbers)
            if len(part):
                manifest.write_part(self.storage, one.name, part)
        for name in others:
            self.storage.remove(f"{manifest.FOLDER}/{name}.parquet")

    def _mend(self, standing: Standing) -> None:
        assert self._part is not None
        assert self._shard is not None
        for key in standing.damaged:
            set_aside(self.storage, key)
        self._part.drop(frozenset(unit.key for unit in standing.missing))
        for row in standing.found:
            self._part.add(row)
        self._part.flush()
        self._sweep(set(standing.done))

    def _sweep(self, done: set[str]) -> None:
        """Remove what killed workers left: halves of units on disks, checkpoints of units that are done."""
        for key in set(self.storage.names("partial")) & done:
            self.storage.remove(f"partial/{key}")
        if isinstance(self.storage, Disk) and self._shard is not None:
            keys = {unit.key for unit in self._units_of(self._shard)}
            for left in (self.storage.local / "units").glob(f"*/.*{UNFINISHED}"):
                if left.name.split(".")[1] in keys:
                    self.storage.remove(left.relative_to(self.storage.local).as_posix())

    def _take_plan(self, batch: Batch) -> None:
        """Write another plan, or the first."""
        busy = locks.at_work(self.storage, self._pace)
        if busy:
            raise OutputExists(
                f"a driver is at work on another plan in '{self.storage.address}' ({busy[0].words()}). "
                "Wait until it is done, end it, or choose another --out."
            )
        before = self.storage.exists(plan_files.FACTS)
        drivers = list(self._old_facts().get("drivers", ())) if before else []
        self.facts = plan_files.write_plan(self.storage, batch, drivers)
        if before:
            manifest.write_part(self.storage, "all", manifest.planned(manifest.read_parts(self.storage), self._numbers))
            for name in manifest.part_names(self.storage):
                if name != "all":
                    self.storage.remove(f"{manifest.FOLDER}/{name}.parquet")

    def _old_facts(self) -> Mapping[str, Any]:
        try:
            return plan_files.read_facts(self.storage)
        except BadDataset:
            return {}
