"""What a run of a driver did, and how a batch stands: for machines, and as lines for people."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from studio.jobs.folder.storage import Storage
from studio.jobs.run.progress import counted, duration
from studio.jobs.run.tally import Named, Tally

if TYPE_CHECKING:
    from studio.jobs.folder.batch_folder import BatchFolder

MB = 1e6
MOST_LINES = 5  # of slow and of failed units


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        batch: The batch's digest.
        shard: Its name, 'all' or 'shard-1-of-4'.
        engine: Facts about who did it.
        units: Of the shard.
        kept: Done before.
        done, failed: In this run.
        failed_before: In earlier runs, for good; not tried again.
        missing: Neither done nor failed, because the run was stopped.
        damaged: Outputs that were found broken and made again, counted in `done` when they were.
        again: Tries that failed and were made again.
        lost: Workers that were lost.
        kinds: How many units failed how.
        failures, slowest: Some of them.
        warnings: How many units said what.
        timings_s: Of all workers, by part.
        overhead: Share of the workers' time that was not spent in the model, each worker's from when it was up to its
            last unit; None when nothing was computed.
        seconds: Of the run.
        imagined_s: Of futures that were made.
        chunks: That were computed, those of tries that failed counted.
        bytes: Written by this run.
        bytes_in_all: Of all finished units of the shard.
        peak_bytes: Largest resident memory of a worker.
        workers: That were asked for.
        stopped: Why it ended before everything was done; '' if it did not.
        unwritten_events: Lines that are missing in the events.
        exit_code: 0 when everything is done, 1 when something failed or is missing, 130 and 143 after signals.
    """

    batch: str
    shard: str
    engine: Mapping[str, Any]
    units: int
    kept: int
    done: int
    failed: int
    failed_before: int
    missing: int
    damaged: int
    again: int
    lost: int
    kinds: Mapping[str, int]
    failures: tuple[Named, ...]
    slowest: tuple[Named, ...]
    warnings: Mapping[str, int]
    timings_s: Mapping[str, float]
    overhead: float | None
    seconds: float
    imagined_s: float
    chunks: int
    bytes: int
    bytes_in_all: int
    peak_bytes: int
    workers: int
    stopped: str
    unwritten_events: int
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: counts, speed, where the time went, what failed, what was slow, what to do next."""
        return [
            f"{self.kept + self.done} of {self.units} units are done ({self.done} in this run, {duration(self.seconds)})",
            *self._speed(),
            *self._trouble(),
            *[f"  slow: {one.key[:12]} {one.seconds:8.1f} s  {one.what}" for one in self.slowest[:MOST_LINES]],
            *self._next(),
        ]

    def _speed(self) -> list[str]:
        if not self.done:
            return []
        parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.timings_s.items() if seconds >= 0.05)
        lines = [
            f"  {self.done / max(self.seconds, 1e-9):.3g} units/s, {self.imagined_s / max(self.seconds, 1e-9):.3g} s imagined "
            f"per s, {counted(self.workers, 'worker')}, {self.bytes / MB:.1f} MB written, {self.peak_bytes / MB:.0f} MB memory at most",
            f"  time of workers: {parts}",
        ]
        return (
            lines
            if self.overhead is None
            else [*lines, f"  {self.overhead:.1%} of it, loading aside, was not spent in the model"]
        )

    def _trouble(self) -> list[str]:
        lines = [f"  {count} failed: {kind}" for kind, count in self.kinds.items()]
        lines += [f"    {one.key[:12]}  {one.what}: {one.message}" for one in self.failures[:MOST_LINES]]
        lines += [f"  {self.failed_before} failed in earlier runs"] if self.failed_before else []
        lines += [f"  {counted(self.damaged, 'damaged output')} found and made again"] if self.damaged else []
        lines += [f"  {counted(self.lost, 'worker')} lost and replaced"] if self.lost else []
        lines += [f"  {counted(self.again, 'time')} tried again"] if self.again else []
        lines += [f"  {counted(self.unwritten_events, 'event')} could not be written"] if self.unwritten_events else []
        return lines + [
            f"  {counted(count, 'unit')}: {text}" for text, count in list(self.warnings.items())[:MOST_LINES]
        ]

    def _next(self) -> list[str]:
        lines = [f"stopped: {self.stopped}"] if self.stopped else []
        lines += [f"{counted(self.missing, 'unit')} missing; the same command goes on."] if self.missing else []
        bad = self.failed + self.failed_before
        return lines + (
            [f"{counted(bad, 'unit')} failed: see `detour jobs failures`, try them with `detour jobs retry`."]
            if bad
            else []
        )


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a summary needs beside the tally; the fields mean what they mean in `Summary`."""

    batch: str
    shard: str
    engine: Mapping[str, Any]
    units: int
    kept: int
    failed_before: int
    damaged: int
    bytes_before: int
    workers: int
    seconds: float
    worker_s: float
    stopped: str = ""
    unwritten_events: int = 0
    signal_code: int = 0


def summary_of(facts: RunFacts, tally: Tally) -> Summary:
    """The summary of a run.

    Args:
        facts: About the run; `worker_s` is the workers' time, each from when it was up to its last unit.
        tally: What happened to units.
    """
    missing = facts.units - facts.kept - facts.failed_before - tally.done - tally.failed
    whole = not (missing or tally.failed or facts.failed_before)
    return Summary(
        batch=facts.batch,
        shard=facts.shard,
        engine=facts.engine,
        units=facts.units,
        kept=facts.kept,
        done=tally.done,
        failed=tally.failed,
        failed_before=facts.failed_before,
        missing=missing,
        damaged=facts.damaged,
        again=tally.again,
        lost=tally.lost,
        kinds=dict(tally.kinds.most_common()),
        failures=tuple(tally.failures),
        slowest=tuple(tally.slowest),
        warnings=dict(tally.warnings.most_common()),
        timings_s={part: round(seconds, 3) for part, seconds in tally.timings_s.items()},
        overhead=_overhead(facts, tally),
        seconds=round(facts.seconds, 3),
        imagined_s=tally.imagined_s,
        chunks=tally.chunks,
        bytes=tally.bytes,
        bytes_in_all=facts.bytes_before + tally.bytes,
        peak_bytes=tally.peak_bytes,
        workers=facts.workers,
        stopped=facts.stopped,
        unwritten_events=facts.unwritten_events,
        exit_code=facts.signal_code or (0 if whole else 1),
    )


def _overhead(facts: RunFacts, tally: Tally) -> float | None:
    """Of the workers' time; planners are models, too."""
    if not tally.done or facts.worker_s <= 0:
        return None
    return round(
        max(0.0, 1.0 - (tally.timings_s.get("model", 0.0) + tally.timings_s.get("plan", 0.0)) / facts.worker_s), 4
    )


def write_summary(storage: Storage, summary: Summary) -> None:
    """Write OUT/summary.json, or OUT/summary-shard-1-of-4.json where several drivers share the folder."""
    storage.write(_file(summary.shard), (json.dumps(summary.to_json(), indent=1, ensure_ascii=False) + "\n").encode())


def _file(shard: str) -> str:
    return "summary.json" if shard == "all" else f"summary-{shard}.json"


def standing_of(folder: "BatchFolder", check: str = "none") -> dict[str, Any]:
    """How a batch stands, as plain data; nothing is changed.

    Args:
        folder: Of the batch.
        check: How finished outputs are checked: 'checksum', 'size' or 'none'.
    """
    standing, failures, batch = folder.look(None, check), folder.failures(), folder.batch
    return {
        "batch": batch.digest,
        "units": len(batch.units),
        "done": len(standing.done),
        "failed": len(failures),
        "missing": len(standing.missing) - len(failures),
        "damaged": dict(standing.damaged),
        "stale": standing.stale,
        "kinds": dict(Counter(row.kind for row in failures).most_common()),
        "bytes": standing.bytes,
        "checked": check,
        "at_work": [
            {"shard": one.shard, "host": one.host, "pid": one.pid, "since": one.since} for one in folder.at_work()
        ],
        "runs": _runs(folder.storage),
    }


def _runs(storage: Storage) -> list[dict[str, Any]]:
    """How the last run of each shard ended, as far as it could say so."""
    found = []
    for name in storage.names():
        if name == "summary.json" or (name.startswith("summary-shard-") and name.endswith(".json")):
            summary = _read(storage, name)
            kept = ("shard", "done", "failed", "missing", "seconds", "stopped", "exit_code")
            found.append({key: summary[key] for key in kept if key in summary})
    return found


def _read(storage: Storage, name: str) -> dict[str, Any]:
    try:
        found = json.loads(storage.read(name))
    except (ValueError, FileNotFoundError):
        return {}
    return found if isinstance(found, dict) else {}


def standing_lines(found: Mapping[str, Any]) -> list[str]:
    """What `standing_of` says, for people."""
    lines = [f"{found['done']} of {found['units']} units are done, {found['bytes'] / MB:.1f} MB"]
    lines += [f"  {found['missing']} are missing"] if found["missing"] else []
    lines += [f"  {count} failed: {kind}" for kind, count in found["kinds"].items()]
    lines += [f"  {key[:12]} is damaged: {why}" for key, why in list(found["damaged"].items())[:MOST_LINES]]
    lines += [f"  {len(found['damaged'])} are damaged in all; they are made again"] if found["damaged"] else []
    lines += [f"  {found['stale']} finished units belong to another plan"] if found["stale"] else []
    lines += [
        f"at work: {one['shard']}, process {one['pid']} on {one['host']}, since {one['since']}"
        for one in found["at_work"]
    ]
    return lines + [
        f"last run of {run['shard']} stopped: {run['stopped']}" for run in found["runs"] if run.get("stopped")
    ]
