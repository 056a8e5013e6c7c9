"""Where a driver enters how units ended: the batch's folder, the counts and the events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from studio.jobs.run.events import EventLog
from studio.jobs.run.retrying import Verdict
from studio.jobs.run.tally import Tally
from studio.jobs.units import FileFact, Outcome, Unit
from worldmodel.errors import DetourError


class Notebook(Protocol):
    """Where outcomes are noted: `studio.jobs.folder.batch_folder.BatchFolder`."""

    def note(self, outcome: Outcome) -> None:
        """Note how a unit ended."""

    def stored(self, key: str) -> tuple[FileFact, ...] | None:
        """Files of a unit that is there."""

    def record(self, key: str) -> dict[str, Any]:
        """Content of its unit.json."""

    @property
    def trouble(self) -> str:
        """Why notes could not be written lately."""


@dataclass(eq=False, kw_only=True)
class Book:
    """Enters outcomes.

    Attributes:
        folder: Of the batch.
        units: That may end, by key.
        events: What happened.
        tally: Counts of this run.
    """

    folder: Notebook
    units: Mapping[str, Unit]
    events: EventLog
    tally: Tally = field(default_factory=Tally)
    _trouble: str = ""

    def enter(self, verdict: Verdict, work: int, worker: str) -> str:
        """What follows from a try; returns why this driver may note nothing more, '' if it may."""
        trouble = [self._note(outcome) for outcome in (*verdict.again, *verdict.final)]
        for outcome in verdict.again:
            self.tally.again += 1
            facts = {"kind": outcome.kind, "message": outcome.message, "wait_s": verdict.wait_s}
            self._write("unit_again", outcome, work, worker, attempt=verdict.attempt, **facts)
        for outcome in verdict.final:
            self.tally.add(outcome, self.units[outcome.key])
            if outcome.state == "done":
                self._write_done(outcome, work, worker)
            else:
                facts = {"kind": outcome.kind, "message": outcome.message, "timings_s": dict(outcome.timings_s)}
                self._write("unit_failed", outcome, work, worker, attempts=verdict.attempt, **facts)
        return next(filter(None, trouble), "")

    def warning(self) -> str:
        """Why the folder could not be written lately, once; '' when there is nothing new to say."""
        before, self._trouble = self._trouble, self.folder.trouble
        if self._trouble in ("", before):
            return ""
        self.events.write("warned", message=self._trouble)
        return self._trouble

    def stored(self, units: Iterable[Unit], worker: str) -> tuple[Outcome, ...]:
        """Outcomes of those units that a lost worker had stored."""
        found = (self._stored(unit, worker) for unit in units)
        return tuple(outcome for outcome in found if outcome is not None)

    def _stored(self, unit: Unit, worker: str) -> Outcome | None:
        try:
            files = self.folder.stored(unit.key)
            return None if files is None else _outcome_of(unit, files, self.folder.record(unit.key), worker)
        except (DetourError, OSError, ValueError):  # it is done again, which changes nothing
            return None

    def _note(self, outcome: Outcome) -> str:
        try:
            self.folder.note(outcome)
        except (DetourError, OSError) as error:  # what is finished is safe in its folder, and found again
            return str(error)
        return ""

    def _write_done(self, outcome: Outcome, work: int, worker: str) -> None:
        timings = {part: round(seconds, 4) for part, seconds in outcome.timings_s.items()}
        self._write(
            "unit_done",
            outcome,
            work,
            worker,
            seconds=round(sum(timings.values()), 4),
            timings_s=timings,
            bytes=outcome.bytes,
            chunks=outcome.chunks,
            peak_bytes=outcome.peak_bytes,
            warnings=list(outcome.warnings),
        )

    def _write(self, event: str, outcome: Outcome, work: int, worker: str, **facts: object) -> None:
        about = {"worker": outcome.worker or worker, "work": work, "key": outcome.key, "number": outcome.number}
        self.events.write(event, **about, **facts)


def _outcome_of(unit: Unit, files: tuple[FileFact, ...], record: Mapping[str, Any], worker: str) -> Outcome:
    """How a unit ended whose worker could not say so any more."""
    return Outcome(
        key=unit.key,
        number=unit.number,
        state="done",
        timings_s=record.get("timings_s") or {},
        peak_bytes=int(record.get("peak_bytes") or 0),
        files=files,
        warnings=tuple(record.get("warnings") or ()),
        worker=worker,
    )
