"""`detour jobs run`: gives a batch's works to an engine until all are done, whatever happens to workers, disks and networks.

What is finished is in the folder whole, and is not done again. What the driver knows beside that it can lose.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.jobs.engines.engine import Engine, EngineChoice, WorkerPlan
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.standing import Standing
from studio.jobs.folder.storage import protocol_of
from studio.jobs.run.book import Book
from studio.jobs.run.course import Before, Course
from studio.jobs.run.events import Clock, EventLog
from studio.jobs.run.limits import Limits
from studio.jobs.run.progress import Pace
from studio.jobs.run.retrying import RetryPolicy, WorkQueue
from studio.jobs.run.scratch import scratch_of
from studio.jobs.run.stops import Stops
from studio.jobs.run.summary import RunFacts, Summary, summary_of, write_summary
from studio.jobs.run.tally import Tally
from studio.jobs.run.telling import Telling
from studio.jobs.units import Batch, Shard, Unit
from worldmodel.errors import BadRequest, DetourError

Make = Callable[[EngineChoice, WorkerPlan], Engine]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The arguments of `run_batch` that its parts share."""

    batch: Batch
    out: str
    choice: EngineChoice
    shard: Shard
    retry_failed: bool
    telling: Telling
    stops: Stops
    make: Make
    clock: Clock


def run_batch(
    batch: Batch,
    out: str,
    engine: EngineChoice,
    *,
    shard: Shard = Shard(),  # noqa: B008 (a value)
    check: str = "checksum",
    retry_failed: bool = False,
    prometheus: Path | None = None,
    scratch: str = "",
    cache: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] | None = None,
    stops: Stops | None = None,
    make: Make | None = None,
    clock: Clock = time.monotonic,
) -> Summary:
    """Do what is not done of a batch, or of one shard of it.

    Ctrl-C or SIGTERM once: no more work is given, and what runs is finished. Twice: workers are ended at once. Neither
    leaves anything half-written, and calling it again goes on.

    Units that failed in earlier runs are tried again when the cause may have passed (a storage that did not answer);
    those that failed by themselves only with `retry_failed`.

    Args:
        batch: What is to be done.
        out: Folder or address.
        engine: Who does it.
        shard: Which part of it.
        check: How finished outputs are checked first: 'checksum', 'size' or 'none'.
        retry_failed: Also try units again that failed for good.
        prometheus: Text file that is kept up to date.
        scratch: Local folder for unfinished outputs; '' for one in `out` where that is on a disk.
        cache: Local folder for clips from elsewhere.
        options: Of the storage, as fsspec names them.
        on_progress: Gets lines for people.
        stops: Asked whether to stop; None: signals alone are heard.
        make: Makes the engine; None: `studio.jobs.engines.make_engine`.
        clock: Monotonic seconds.

    Raises:
        OutputExists: if the folder cannot be used, or another driver is at work on this shard.
        DetourError: if no worker can be started.
    """
    asked = _Asked(
        batch=batch,
        out=out,
        choice=engine,
        shard=shard,
        retry_failed=retry_failed,
        telling=Telling(on_progress=on_progress, prometheus=prometheus, clock=clock),
        stops=stops or Stops(),
        make=make or _make_engine,
        clock=clock,
    )
    folder, summary = BatchFolder.begin(out, batch, options), None
    try:
        with folder.lock(shard, asked.telling.say), EventLog(folder.storage, shard.name, clock) as events:
            standing = folder.look(shard, check)
            with scratch_of(folder.storage, shard, scratch, engine) as place:
                plan = WorkerPlan(setup=batch.setup, out=out, scratch=place, cache=cache or "", options=options)
                summary = _run(asked, plan, folder, standing, events)
            write_summary(folder.storage, summary)
            if summary.done + summary.failed and asked.stops.count < 2 and _last(folder, shard):
                show(folder)
    except DetourError as error:
        if summary is None:
            raise
        return replace(summary, stopped=summary.stopped or str(error), exit_code=summary.exit_code or 1)
    return summary


def _last(folder: BatchFolder, shard: Shard) -> bool:
    """Whether this driver is the only one, or the one that completes what all of them do."""
    return shard.of == 1 or len(folder.look(None, "none").done) == len(folder.batch.units)


def show(folder: BatchFolder) -> None:
    """Write a batch's contact sheets and its page, as it stands.

    Raises:
        OutputExists, Unreachable: if the folder cannot be written.
    """
    from studio.jobs.results.contact_sheets import write_sheets
    from studio.jobs.results.index import write_index

    write_sheets(folder)
    write_index(folder)


def _make_engine(choice: EngineChoice, plan: WorkerPlan) -> Engine:
    from studio.jobs.engines import make_engine

    if protocol_of(plan.out) == "memory":
        raise BadRequest(
            f"'{plan.out}' exists in this process alone, and workers are processes of their own. They must reach it, too; "
            "use a folder, or s3://bucket/folder."
        )
    return make_engine(choice, plan)


def _run(asked: _Asked, plan: WorkerPlan, folder: BatchFolder, standing: Standing, events: EventLog) -> Summary:
    works = [work for work in asked.batch.works if asked.shard.owns(work)]
    units = {unit.key: unit for work in works for unit in work.units}
    done, failed = _settled(asked, folder, standing, units)
    queue = WorkQueue(works, done | failed, RetryPolicy.of(asked.batch.job))
    before = Before(units=len(units), kept=len(done), failed=len(failed), bytes=sum(standing.done[key] for key in done))
    run = _Run(asked=asked, plan=plan, folder=folder, events=events, units=units, queue=queue, before=before)
    return run.go(damaged=sum(key in units for key in standing.damaged))


def _settled(
    asked: _Asked, folder: BatchFolder, standing: Standing, units: Mapping[str, Unit]
) -> tuple[frozenset[str], frozenset[str]]:
    """Keys of the shard's units that are done, and that have failed and are not tried again."""
    done = frozenset(key for key in units if key in standing.done)
    rows = [row for row in folder.failures() if row.key in units and row.key not in done]
    again = frozenset(row.key for row in rows if asked.retry_failed or row.again)
    folder.forget_failures(again)
    return done, frozenset(row.key for row in rows) - again


@dataclass(frozen=True, eq=False, kw_only=True)
class _Run:
    """One run with all it needs."""

    asked: _Asked
    plan: WorkerPlan
    folder: BatchFolder
    events: EventLog
    units: Mapping[str, Unit]
    queue: WorkQueue
    before: Before

    def go(self, damaged: int) -> Summary:
        """Do it."""
        began = self.asked.clock()
        self._tell_beginning(damaged)
        if not len(self.queue):
            return self._end(None, damaged, self.asked.clock() - began, {"name": self.asked.choice.name})
        engine = self.asked.make(self.asked.choice, self.plan)
        course, whole = self._course(engine), False
        with self.asked.stops.listening():
            try:
                course.run()
                whole = True
            except DetourError as error:
                seconds = round(self.asked.clock() - began, 3)
                self.events.write("run_ended", seconds=seconds, stopped=str(error), exit_code=1)
                raise
            finally:
                facts = engine.facts()
                engine.close(now=not whole or self.asked.stops.count > 1)
        return self._end(course, damaged, self.asked.clock() - began, facts)

    def _tell_beginning(self, damaged: int) -> None:
        asked, before = self.asked, self.before
        self.events.write(
            "run_began",
            shard=asked.shard.name,
            batch=asked.batch.digest,
            engine=asdict(asked.choice),
            units=before.units,
            works=len(self.queue),
            kept=before.kept,
            failed_before=before.failed,
            damaged=damaged,
            limits=asdict(Limits.of(asked.batch.job)),
            retry=asdict(RetryPolicy.of(asked.batch.job)),
        )
        if before.kept or before.failed or damaged:
            asked.telling.say(
                f"  {before.units} units: {before.kept} are done, {before.failed} failed before, {damaged} were damaged and are "
                f"made again, {before.units - before.kept - before.failed} are to be done"
            )

    def _course(self, engine: Engine) -> Course:
        asked = self.asked
        places = (self.folder.storage.local, Path(self.plan.scratch) if self.plan.scratch else None)
        labels = {"batch": asked.batch.digest, "shard": asked.shard.name}
        return Course(
            engine=engine,
            queue=self.queue,
            pace=Pace(asked.batch.setup, [task.work for task in self.queue.tasks()]),
            book=Book(folder=self.folder, units=self.units, events=self.events),
            events=self.events,
            telling=asked.telling,
            stops=asked.stops,
            clock=asked.clock,
            before=self.before,
            workers=asked.choice.workers,
            limits=Limits.of(asked.batch.job),
            disks=[place for place in places if place is not None],
            labels=labels,
        )

    def _end(self, course: Course | None, damaged: int, seconds: float, engine: Mapping[str, Any]) -> Summary:
        """The summary, when no worker is left."""
        asked, before = self.asked, self.before
        facts = RunFacts(
            batch=asked.batch.digest,
            shard=asked.shard.name,
            engine=engine,
            units=before.units,
            kept=before.kept,
            failed_before=before.failed,
            damaged=damaged,
            bytes_before=before.bytes,
            workers=asked.choice.workers,
            seconds=seconds,
            worker_s=0.0 if course is None else course.worker_s,
            stopped="" if course is None else course.stopping,
            unwritten_events=self.events.unwritten,
            signal_code=asked.stops.exit_code,
        )
        summary = summary_of(facts, Tally() if course is None else course.book.tally)
        ended = ("done", "failed", "missing", "exit_code", "stopped")
        self.events.write("run_ended", seconds=summary.seconds, **{name: getattr(summary, name) for name in ended})
        return summary
