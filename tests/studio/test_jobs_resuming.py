"""Batches that are run, interrupted and run again, in real folders with workers that only pretend."""

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import Clock, FakeEngine, a_batch, storing

from studio.jobs.engines.engine import EngineChoice, WorkerPlan
from studio.jobs.folder import manifest
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.storage import Storage
from studio.jobs.run import driver
from studio.jobs.run.driver import run_batch
from studio.jobs.run.events import read_events
from studio.jobs.run.scratch import scratch_of
from studio.jobs.run.stops import Stops
from studio.jobs.run.summary import Summary, standing_lines, standing_of
from studio.jobs.units import Batch, Shard
from worldmodel.errors import DiskFull, OutputExists

TWO = EngineChoice(workers=2)


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders whose pages were written; writing them takes time and is tested elsewhere."""
    shown: list[str] = []
    monkeypatch.setattr(driver, "show", lambda folder: shown.append(folder.storage.address))
    monkeypatch.setattr("studio.runs.commit", lambda: "a commit")
    return shown


class Site:
    """A folder, and the engines that worked on it."""

    def __init__(self, out: str) -> None:
        self.out, self.engines, self.plans, self.said, self.stops = out, [], [], [], Stops()
        self.fates: dict[int, list[str]] = {}
        self.on_begin: Callable[[int], None] = lambda work: None

    def run(self, batch: Batch, **options: object) -> Summary:
        clock = Clock()

        def make(choice: EngineChoice, plan: WorkerPlan) -> FakeEngine:
            engine = FakeEngine(clock, choice.workers, dict(self.fates), self.on_begin, storing(self.out))
            self.engines.append(engine)
            self.plans.append(plan)
            return engine

        self.stops = Stops()
        told = {"make": make, "clock": clock, "stops": self.stops, "on_progress": self.said.append}
        return run_batch(batch, self.out, TWO, **(told | options))  # type: ignore[arg-type]

    @property
    def begun(self) -> list[int]:
        return [number for engine in self.engines for number in engine.begun]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(str(tmp_path / "mit Leerzeichen, äöü"))


def test_a_batch_is_done_and_not_done_again(site: Site) -> None:
    batch = a_batch(5)
    first = site.run(batch)
    assert (first.done, first.failed, first.missing, first.exit_code) == (5, 0, 0, 0)
    assert site.engines[0].closed == [False]
    again = site.run(batch)
    assert (again.kept, again.done, again.exit_code) == (5, 0, 0)
    assert len(site.engines) == 1  # nothing to do: no worker loads a model
    rows = list(BatchFolder.open(site.out).rows())
    assert [row["number"] for row in rows] == list(range(5))
    assert json.loads(Path(site.out, "summary.json").read_text())["kept"] == 5
    assert [one["event"] for one in read_events(Storage.at(site.out))].count("unit_done") == 5


def test_scratch_is_on_the_disk_of_the_outputs_and_gone_afterwards(site: Site) -> None:
    batch = a_batch(2)
    BatchFolder.begin(site.out, batch)
    left = Path(site.out, "scratch", "all", "of-a-killed-driver")
    left.mkdir(parents=True)
    site.on_begin = lambda work: Path(site.plans[0].scratch, "unfinished").touch()
    site.run(batch)
    assert Path(site.plans[0].scratch).parent == Path(site.out, "scratch").resolve()
    assert not Path(site.out, "scratch").exists()
    assert not left.exists()


def test_scratch_elsewhere_is_cleared_by_the_next_driver_and_never_somebody_elses(tmp_path: Path) -> None:
    storage = Storage.at("memory://scratch elsewhere")
    with scratch_of(storage, Shard(), str(tmp_path), TWO) as first:
        Path(first, "unfinished").touch()
        with scratch_of(storage, Shard(), str(tmp_path), TWO) as second:  # as if the first had been killed
            assert (first, list(Path(second).iterdir())) == (second, [])
    Path(first).symlink_to(tmp_path)
    with scratch_of(storage, Shard(), str(tmp_path), TWO) as other:
        assert other != first
    assert [path.name for path in tmp_path.iterdir()] == [Path(first).name]


def test_what_was_interrupted_goes_on_and_nothing_is_done_twice(site: Site) -> None:
    batch = a_batch(12)
    site.on_begin = lambda work: site.stops.ask() if work == 3 else None
    first = site.run(batch)
    assert first.exit_code == 130
    assert 0 < first.missing < 12
    assert "missing; the same command goes on" in "\n".join(first.lines())
    site.on_begin = lambda work: None
    second = site.run(batch)
    assert (second.kept, second.kept + second.done, second.exit_code) == (first.done, 12, 0)
    assert sorted(site.begun) == list(range(12))


def test_units_that_failed_are_tried_again_when_asked_and_passing_ones_always(site: Site) -> None:
    batch = a_batch(4, retry={"attempts": 2, "wait_s": 0.5})
    site.fates = {1: ["bad"], 2: ["passing", "passing"]}
    first = site.run(batch)
    assert first.kinds == {"BadMotion": 1, "Unreachable": 1}
    assert first.exit_code == 1
    assert [(row.number, row.attempts) for row in BatchFolder.open(site.out).failures()] == [(1, 1), (2, 2)]
    site.fates = {}
    second = site.run(batch)
    assert (second.done, second.failed_before, second.exit_code) == (1, 1, 1)
    third = site.run(batch, retry_failed=True)
    assert (third.kept, third.done, third.failed_before, third.exit_code) == (3, 1, 0, 0)
    assert BatchFolder.open(site.out).failures() == ()


def test_a_second_driver_on_the_folder_says_so_and_stops(site: Site) -> None:
    batch, errors = a_batch(3), []

    def begin(work: int) -> None:
        if work == 0:
            with pytest.raises(OutputExists, match=f"process {os.getpid()} on '{platform.node()}'") as caught:
                run_batch(batch, site.out, TWO)
            errors.append(caught.value)

    site.on_begin = begin
    assert site.run(batch).exit_code == 0
    assert len(errors) == 1


def test_damaged_outputs_are_made_again(site: Site) -> None:
    batch = a_batch(3)
    site.run(batch)
    key = batch.units[1].key
    Path(site.out, "units", key[:2], key, "mosaic.mp4").write_bytes(b"x" * 320)
    again = site.run(batch)
    assert (again.kept, again.done, again.damaged) == (2, 1, 1)
    assert any("1 were damaged" in line for line in site.said)


def test_shards_share_a_folder_cover_everything_and_the_last_one_writes_the_page(site: Site, shown: list[str]) -> None:
    batch = a_batch(5)
    summaries = [site.run(batch, shard=Shard(index=1, of=2))]
    assert shown == []
    summaries.append(site.run(batch, shard=Shard(index=2, of=2)))
    assert shown == [site.out]
    assert [one.units for one in summaries] == [3, 2]
    assert sorted(site.begun) == list(range(5))
    assert Path(site.out, "summary-shard-2-of-2.json").is_file()
    assert standing_of(BatchFolder.open(site.out))["done"] == 5


def test_a_manifest_that_cannot_be_written_at_the_end_costs_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, write = a_batch(3), manifest.write_part

    def full(storage: Storage, name: str, table: object) -> None:
        if site.begun:
            raise DiskFull("nothing more fits on the disk.")
        write(storage, name, table)

    monkeypatch.setattr(manifest, "write_part", full)
    summary = site.run(batch)
    assert (summary.stopped, summary.exit_code) == ("nothing more fits on the disk.", 1)
    monkeypatch.setattr(manifest, "write_part", write)
    assert site.run(batch).kept == 3
    assert len(list(BatchFolder.open(site.out).rows())) == 3


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    site.out = str(tmp_path / "file" / "out")
    with pytest.raises(OutputExists, match="cannot"):
        site.run(a_batch(1))
    assert site.engines == []


def test_outputs_in_an_object_store_keep_their_events_in_parts() -> None:
    site, batch = Site("memory://a batch/of units"), a_batch(8)
    site.run(batch)
    site.run(a_batch(9))
    storage = Storage.at(site.out)
    assert storage.names("events/all") == ["000001-000001.jsonl", "000002-000001.jsonl"]
    events = [one["event"] for one in read_events(storage, "all")]
    assert events.count("unit_done") == 9
    assert (events[0], events[-1]) == ("run_began", "run_ended")
    assert not Path(site.plans[0].scratch).exists()


def test_status_tells_what_is_done_failed_and_missing(site: Site) -> None:
    batch = a_batch(6)
    site.fates = {0: ["bad"]}
    site.on_begin = lambda work: site.stops.ask() if work == 2 else None
    site.run(batch)
    found = standing_of(BatchFolder.open(site.out))
    assert (found["units"], found["failed"]) == (6, 1)
    assert found["done"] + found["failed"] + found["missing"] == 6
    assert found["kinds"] == {"BadMotion": 1}
    text = "\n".join(standing_lines(json.loads(json.dumps(found))))
    assert "1 failed: BadMotion" in text
    assert "stopped: asked by SIGINT" in text
