"""`detour bench jobs`: what is counted as time outside the model, and how it is said."""

import pytest
from typer.testing import CliRunner

from studio.bench_jobs import JobsBench, jobs_table, ratios, row_of
from studio.cli import main
from studio.machine import machine_now
from worldmodel.errors import BadRequest, UnknownName


def events_of(workers: int, units: int, unit_s: float, model_s: float):
    """Workers that come up after 3 s and do as many units each, one after the other."""
    yield {"event": "run_began", "t_s": 1.0}
    for worker in range(workers):
        name = f"local-{worker + 1}"
        yield {"event": "worker_ready", "t_s": 3.0, "worker": name}
        for unit in range(units):
            parts = {"model": model_s, "write": 0.1, "load": 9.0}
            yield {"event": "unit_done", "t_s": 3.0 + (unit + 1) * unit_s, "worker": name, "timings_s": parts}


def test_time_outside_the_model_is_counted_from_when_workers_are_up_and_with_loading():
    row = row_of(list(events_of(2, units=4, unit_s=1.0, model_s=0.8)), "local", 2)
    assert (row.units, row.loading_s, row.working_s) == (8, 2.0, 4.0)
    assert row.overhead == pytest.approx(0.2)
    assert row.overhead_with_loading == pytest.approx(1 - 8 * 0.8 / (2 * 6.0))
    assert row.between_s == pytest.approx(0.1)  # 1 s less 0.8 in the model and 0.1 of writing
    assert row.units_per_hour == pytest.approx(7200)


def test_the_table_says_what_was_promised_and_what_more_workers_bring():
    rows = [row_of(list(events_of(workers, 4, 1.0 + 0.1 * workers, 0.9)), "local", workers) for workers in (1, 2)]
    assert ratios(rows) == {"local, 2 workers": pytest.approx(2 * 1.1 / 1.2)}
    said = jobs_table(rows, JobsBench(units=4), machine_now(1))
    assert "promised: 1.7" in said
    assert "25.0%" in said
    assert "1.83 times" in said


def test_engines_and_numbers_that_make_no_sense_are_refused():
    with pytest.raises(UnknownName, match="local"):
        JobsBench(engines=("locl",))
    with pytest.raises(BadRequest, match="1 units"):
        JobsBench(units=1)
    refused = CliRunner().invoke(main, ["bench", "jobs", "--engine", "ry"])
    assert refused.exit_code == 2
    assert "Did you mean 'ray'?" in refused.output
