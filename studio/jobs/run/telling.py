"""What a driver tells while it works: lines for people, and numbers for Prometheus."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.jobs.run.events import Clock
from studio.jobs.run.progress import Progress
from studio.jobs.run.prometheus import Metric, each, histogram, one, write_metrics
from studio.jobs.run.tally import BOUNDS_S, Tally
from worldmodel.errors import OutputExists

SOONEST_S, LATEST_S = 2.0, 30.0  # between lines: often at first, seldom in a long night
METRICS_EVERY_S = 5.0


@dataclass(eq=False, kw_only=True)
class Telling:
    """Says how it goes, not too often.

    Attributes:
        on_progress: Gets lines for people; None for nobody.
        prometheus: The text file; None for none.
        clock: Monotonic seconds.
        problem: Why the text file could not be written lately; '' if it was.
    """

    on_progress: Callable[[str], None] | None
    prometheus: Path | None
    clock: Clock
    problem: str = ""
    _line: str = ""
    _said: float = float("-inf")
    _line_due: float = float("-inf")
    _metrics_due: float = float("-inf")

    def say(self, text: str) -> None:
        """A line at once."""
        if self.on_progress is not None:
            self.on_progress(text)

    def due(self) -> bool:
        """Whether it is time to tell."""
        return self.clock() >= min(self._line_due, self._metrics_due)

    def tell(self, progress: Progress, tally: Tally, labels: dict[str, str], *, last: bool = False) -> None:
        """Where the work stands: a line and the text file when their time has come, and at the end."""
        now = self.clock()
        if last or now >= self._line_due:
            self._say_line(progress, now)
        if self.prometheus is not None and (last or now >= self._metrics_due):
            self._write(self.prometheus, metrics_of(progress, tally), labels)
        if now >= self._metrics_due:
            self._metrics_due = now + METRICS_EVERY_S

    def _say_line(self, progress: Progress, now: float) -> None:
        """The line, unless it is the one that was said a moment ago."""
        line = progress.line()
        self._line_due = now + min(LATEST_S, max(SOONEST_S, progress.elapsed_s / 60))
        if line != self._line or now >= self._said + LATEST_S:
            self._line, self._said = line, now
            self.say(line)

    def _write(self, path: Path, metrics: list[Metric], labels: dict[str, str]) -> None:
        """A full disk or a moved folder ends no batch: the first time is the only one that is an error.

        Raises:
            OutputExists: if the file cannot be written at all.
        """
        try:
            write_metrics(path, metrics, labels)
            self.problem = ""
        except OutputExists as error:
            if self._metrics_due == float("-inf"):
                raise
            if not self.problem:
                self.say(f"  warning: {error}")
            self.problem = str(error)


def metrics_of(progress: Progress, tally: Tally) -> list[Metric]:
    """All numbers about a run.

    Args:
        progress: Where it stands.
        tally: What it has seen.
    """
    left_s = progress.left_s
    gauges = [
        ("detour_jobs_units", "Units of this driver's shard.", progress.total),
        ("detour_jobs_units_over", "Units that need nothing more.", progress.over),
        ("detour_jobs_units_kept", "Units that were done before this run.", progress.kept),
        ("detour_jobs_units_failed_before", "Units that failed in earlier runs.", progress.failed_before),
        ("detour_jobs_works_running", "Works under way.", progress.running),
        ("detour_jobs_works_waiting", "Works that nobody has begun.", progress.waiting),
        ("detour_jobs_workers", "Workers that are up.", progress.workers),
        ("detour_jobs_elapsed_seconds", "Seconds since this run began.", progress.elapsed_s),
        ("detour_jobs_peak_memory_bytes", "Largest resident memory of a worker.", tally.peak_bytes),
        ("detour_jobs_written_timestamp_seconds", "When this was written, in Unix time.", time.time()),
        *([] if left_s is None else [("detour_jobs_left_seconds", "Seconds left, estimated.", left_s)]),
    ]
    counters = [
        ("detour_jobs_units_done_total", "Units done in this run.", tally.done),
        ("detour_jobs_units_failed_total", "Units that failed in this run.", tally.failed),
        ("detour_jobs_tries_again_total", "Tries that failed and were made again.", tally.again),
        ("detour_jobs_workers_lost_total", "Workers that were lost.", tally.lost),
        ("detour_jobs_output_bytes_total", "Bytes of finished units.", tally.bytes),
        ("detour_jobs_imagined_seconds_total", "Seconds of futures made.", tally.imagined_s),
        ("detour_jobs_chunks_total", "Chunks computed.", tally.chunks),
    ]
    return [
        *(one(name, "gauge", told, value) for name, told, value in gauges),
        *(one(name, "counter", told, value) for name, told, value in counters),
        each("detour_jobs_failures_total", "counter", "Units that failed in this run, by kind.", "kind", tally.kinds),
        each("detour_jobs_worker_seconds_total", "counter", "Time of workers by part.", "part", tally.timings_s),
        histogram("detour_jobs_unit_seconds", "Time of a unit.", BOUNDS_S, tally.buckets, tally.unit_s),
    ]
