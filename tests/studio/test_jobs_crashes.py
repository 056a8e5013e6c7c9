"""Batches whose workers and drivers are killed: a short form of `benchmarks/jobs_crashes.py`, with the whole command."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HARNESS = Path(__file__).parents[2] / "benchmarks" / "jobs_crashes.py"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    """The benchmark, which is no package."""
    spec = importlib.util.spec_from_file_location("jobs_crashes", HARNESS)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["jobs_crashes"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def quiet(harness, tmp_path_factory):
    """Twelve units that nobody disturbed."""
    return harness.in_peace(tmp_path_factory.mktemp("crashes") / "batch", units=12, workers=2)


@pytest.mark.slow
def test_a_batch_that_is_killed_and_run_again_ends_as_if_nothing_had_happened(harness, quiet):
    kills = [
        harness.Kill(victim="worker", after=2, delay_s=0.05),
        harness.Kill(victim="driver", after=5, delay_s=0.1),
        harness.Kill(victim="driver", after=-1, delay_s=1.5),
    ]
    found = harness.under_fire(*quiet, kills, "local")
    assert found.kills == 3
    assert found.fine, found


@pytest.mark.slow
def test_on_ray_it_is_the_same_batch_though_an_actor_is_killed(harness, quiet):
    found = harness.under_fire(*quiet, [harness.Kill(victim="worker", after=3, delay_s=0.05)], "ray")
    assert found.kills == 1
    assert found.fine, found
    lines = (quiet[0].out.parent / "crashed-ray/events/all.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["event"] == "worker_lost" for line in lines) == 1


def test_kills_are_the_same_for_the_same_seed_and_stay_within_the_batch(harness):
    kills = harness.kills_of(3, kills=20, units=200, workers=2, unit_s=0.5)
    assert kills == harness.kills_of(3, kills=20, units=200, workers=2, unit_s=0.5)
    assert {kill.victim for kill in kills} == {"driver", "worker"}
    assert sum(kill.after < 0 for kill in kills) == 4
    assert all(-1 <= kill.after < 198 and kill.delay_s < 4 for kill in kills)
