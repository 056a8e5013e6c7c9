"""What a driver tells: lines, estimates of the time that is left, numbers for Prometheus, and the summary."""

import json
import math
import re
from pathlib import Path

import pytest
from fake_engine import Clock, a_batch

from studio.jobs.run.limits import Limits
from studio.jobs.run.progress import Pace, Progress, duration
from studio.jobs.run.prometheus import Metric, Sample, exposition, histogram, write_metrics
from studio.jobs.run.retrying import RetryPolicy
from studio.jobs.run.summary import RunFacts, summary_of
from studio.jobs.run.tally import Tally
from studio.jobs.run.telling import Telling, metrics_of
from studio.jobs.units import Batch, ClipRef, FileFact, Outcome, Setup, UnitRequest, make_batch
from studio.live.tasks.processes import Count
from worldmodel.errors import OutputExists

LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"')


def parsed(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by name and labels of a Prometheus text file, read by the format's rules."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    kinds: dict[str, str] = {}
    helped: set[str] = set()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped, "HELP once"
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, "TYPE once"
            assert name not in found, "TYPE before values"
            kinds[name] = kind
        else:
            match = LINE.fullmatch(line)
            assert match, line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1]) if match[1] not in kinds else match[1]
            assert family in kinds, f"{family} has no TYPE"
            labels = tuple(LABEL.findall(match[2] or ""))
            values = found.setdefault(match[1], {})
            assert labels not in values, "each value once"
            values[labels] = float(match[3])
            if kinds[family] == "counter":
                assert match[1].endswith("_total")
    assert helped == set(kinds)
    return found


def done(unit: int, seconds: float = 2.0) -> Outcome:
    file = FileFact(name="mosaic.mp4", bytes=1000, sha256="0")
    timings = {"load": 5.0, "model": seconds * 0.75, "write": seconds * 0.25}
    return Outcome(
        key=f"{unit}", number=unit, state="done", timings_s=timings, files=(file,), chunks=8, warnings=("it is dark",)
    )


def a_tally(batch: Batch, slow: int = 3) -> Tally:
    tally = Tally()
    for unit in batch.units[:-1]:
        tally.add(done(unit.number, 60.0 if unit.number == slow else 2.0), unit)
    last = batch.units[-1]
    message = "the clip has no motion."
    failed = Outcome(key=last.key, number=last.number, state="failed", kind="MissingMotion", message=message)
    tally.add(failed, last)
    return tally


def facts(**changes: object) -> RunFacts:
    usual: dict[str, object] = {
        "batch": "b", "shard": "all", "engine": {"name": "local"}, "units": 15, "kept": 2, "failed_before": 1, "damaged": 1,
        "bytes_before": 500, "workers": 2, "seconds": 100.0, "worker_s": 120.0,
    }  # fmt: skip
    return RunFacts(**(usual | changes))  # type: ignore[arg-type]


def test_the_summary_names_the_slowest_and_the_failed() -> None:
    summary = summary_of(facts(), a_tally(a_batch(12)))
    assert (summary.done, summary.failed, summary.missing, summary.exit_code) == (11, 1, 0, 1)
    assert summary.slowest[0].number == 3
    assert summary.slowest[0].seconds == 60.0  # loading the model is not the unit's
    text = "\n".join(summary.lines())
    assert "13 of 15 units are done (11 in this run, 100 s)" in text
    assert re.search(r"slow: \w+ +60.0 s +a drive @ 2 s · as recorded · seed 3", text)
    assert "1 failed: MissingMotion" in text
    assert "the clip has no motion." in text
    assert "1 failed in earlier runs" in text
    assert "2 units failed: see `detour jobs failures`" in text
    assert "11 units: it is dark" in text
    assert json.loads(json.dumps(summary.to_json()))["failures"][0]["kind"] == "MissingMotion"


def test_the_time_not_spent_in_the_model_is_a_share_of_all_workers_time() -> None:
    summary = summary_of(facts(worker_s=100.0), a_tally(a_batch(12)))
    assert summary.overhead == pytest.approx(1 - (10 * 1.5 + 45.0) / 100.0)
    assert summary_of(facts(worker_s=0.0), Tally()).overhead is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"kept": 15, "failed_before": 0}, 0), ({"kept": 14, "failed_before": 0}, 1), ({"signal_code": 143}, 143)],
)
def test_the_exit_code_says_whether_everything_is_done(changes: dict[str, object], code: int) -> None:
    assert summary_of(facts(**changes), Tally()).exit_code == code


def test_a_long_night_keeps_few_names() -> None:
    batch, tally = a_batch(400), Tally()
    for unit in batch.units:
        tally.add(done(unit.number, unit.number / 10), unit)
    assert [one.number for one in tally.slowest] == list(range(399, 389, -1))


def test_the_time_left_comes_from_units_of_like_size() -> None:
    clip = ClipRef(dataset="town", episode=0, id="a", at_s=2.0, digest="d")
    asks = [UnitRequest(clip=clip, seed=seed, seconds=2.0 if seed < 10 else 20.0) for seed in range(20)]
    batch = make_batch(Setup(model="nowhere", model_digest="m"), asks, {})
    pace = Pace(batch.setup, batch.works)
    assert pace.left(0.0, 2) is None
    for number in range(2):  # two short ones, of 3 s each
        pace.began(number, 3.0 * number)
        pace.ended(number, 3.0 * number + 3.0)
    guessed = pace.left(6.0, 2)
    assert guessed is not None
    assert guessed > 8 * 3.0 / 2 + 10 * 9.0 / 2  # long ones cost more on paper
    pace.began(10, 6.0)
    pace.ended(10, 46.0)  # the first long one took 40 s
    assert pace.left(46.0, 2) == pytest.approx((8 * 3.0 + 9 * 40.0) / 2)
    pace.began(11, 46.0)
    assert pace.left(66.0, 2) == pytest.approx((8 * 3.0 + 8 * 40.0 + 20.0) / 2)
    pace.advanced(11, 0.25)  # it told how far it is
    assert pace.left_of_running(66.0) == pytest.approx(60.0)


def test_a_line_of_progress_is_read_by_the_jobs_page() -> None:
    progress = Progress(
        total=40, kept=5, done=10, failed=1, running=2, workers=2, again=3, lost=1, elapsed_s=110.0, working_s=100.0, imagined_s=40.0, left_s=7325.4
    )  # fmt: skip
    line = progress.line()
    assert Count.of(line) == Count(done=16, total=40, things="units", left_s=7325.0)
    assert "(2 h 2 min)" in line
    assert "6.0 units/min, 0.4 s imagined per s" in line
    assert line.endswith("2 under way with 2 workers · 1 failed · 3 tried again · 1 worker lost")
    assert Progress(total=4).line() == "  0 of 4 units, time left not known yet · no worker is up yet"
    assert [duration(seconds) for seconds in (0.4, 119, 3599, 7200)] == ["0 s", "119 s", "60 min", "2 h 0 min"]


def test_the_text_file_keeps_to_the_format(tmp_path: Path) -> None:
    batch, file = a_batch(12), tmp_path / "detour.prom"
    progress = Progress(total=15, kept=2, done=11, failed=1, left_s=12.5, elapsed_s=100.0)
    write_metrics(file, metrics_of(progress, a_tally(batch)))
    found = parsed(file.read_text(encoding="utf-8"))
    assert found["detour_jobs_units"] == {(): 15.0}
    assert found["detour_jobs_left_seconds"] == {(): 12.5}
    assert found["detour_jobs_units_failed_total"] == {(): 1.0}
    assert found["detour_jobs_failures_total"] == {(("kind", "MissingMotion"),): 1.0}
    assert found["detour_jobs_worker_seconds_total"][(("part", "model"),)] == pytest.approx(60.0)
    buckets = found["detour_jobs_unit_seconds_bucket"]
    values = list(buckets.values())
    assert values == sorted(values)
    assert buckets[(("le", "2"),)] == 10.0
    assert buckets[(("le", "+Inf"),)] == found["detour_jobs_unit_seconds_count"][()] == 11.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["detour.prom"]


def test_drivers_on_one_machine_are_told_apart_by_labels() -> None:
    texts = [exposition(metrics_of(Progress(total=1), Tally()), {"shard": f'1/2 "a"\\b\n{n}'}) for n in range(2)]
    first, second = (set(parsed(text)["detour_jobs_units"]) for text in texts)
    assert first == {(("shard", '1/2 \\"a\\"\\\\b\\n0'),)}
    assert not first & second


def test_numbers_that_are_not_finite_are_written_as_the_format_wants() -> None:
    samples = [Sample(value=value, labels={"of": str(value)}) for value in (math.nan, math.inf, -math.inf, 0.1, 3.0)]
    text = exposition([Metric(name="a", kind="gauge", help="b\nc", samples=samples), histogram("h", "x", (), [0], 0.0)])
    assert [line.split(" ")[-1] for line in text.splitlines() if line.startswith("a{")] == [
        "NaN",
        "+Inf",
        "-Inf",
        "0.1",
        "3",
    ]
    parsed(text)


def test_a_text_file_that_cannot_be_written_is_told_at_once_and_later_stops_nothing(tmp_path: Path) -> None:
    clock, said = Clock(), []
    telling = Telling(on_progress=None, prometheus=tmp_path / "no folder" / "a.prom", clock=clock)
    with pytest.raises(OutputExists, match="--prometheus"):
        telling.tell(Progress(total=1), Tally(), {})
    (tmp_path / "folder").mkdir()
    telling = Telling(on_progress=said.append, prometheus=tmp_path / "folder" / "a.prom", clock=clock)
    telling.tell(Progress(total=1), Tally(), {})
    (tmp_path / "folder").rename(tmp_path / "moved")
    for _ in range(2):
        clock.now += 60.0
        telling.tell(Progress(total=1), Tally(), {})
    assert "cannot write" in telling.problem
    assert sum("warning: cannot write" in line for line in said) == 1


def test_lines_become_rare_in_a_long_night() -> None:
    clock, said = Clock(), []
    telling = Telling(on_progress=said.append, prometheus=None, clock=clock)
    for second in range(3600):
        clock.now += 1.0
        telling.tell(Progress(total=9, elapsed_s=float(second), left_s=3600.0 - second), Tally(), {})
    assert 150 < len(said) < 400
    said.clear()
    for _ in range(60):
        clock.now += 1.0
        telling.tell(Progress(total=9), Tally(), {})
    assert len(said) == 2  # the same again is said every half minute


def test_policies_and_limits_are_read_from_the_job() -> None:
    job = {
        "retry": {"attempts": 5, "wait_s": 2.0, "factor": 3.0, "longest_wait_s": 10.0},
        "limits": {"bytes": "2 GB", "units": 7},
    }
    policy = RetryPolicy.of(job)
    assert [policy.wait_before(attempt) for attempt in range(1, 5)] == [0.0, 2.0, 6.0, 10.0]
    assert Limits.of(job) == Limits(bytes=2_000_000_000)
    assert (RetryPolicy.of({}), Limits.of({})) == (RetryPolicy(), Limits())
