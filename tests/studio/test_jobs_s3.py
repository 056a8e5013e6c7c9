"""A batch in a real S3 server that refuses, forgets, cuts and stalls: everything arrives, once."""

import threading

import pytest
from batch_folders import a_batch, content, failure_of, finish
from flaky_s3 import BUCKET, FAULTS, flaky_s3, options_of
from unit_work import asked, same_threads

from studio.jobs.engines.engine import Ended, EngineChoice
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.leases import Pace
from studio.jobs.folder.patience import Patience
from studio.jobs.folder.storage import Storage
from studio.jobs.run.driver import run_batch
from studio.jobs.run.events import read_events
from studio.jobs.units import Setup, make_batch
from studio.jobs.work.working import Worker
from worldmodel.errors import BadRequest, OutputExists, Unreachable

pytestmark = pytest.mark.slow

UNITS, ONE = 6, EngineChoice(workers=1)
PACE = Pace(beat_s=0.3, dead_s=20.0, look_s=0.1, settle_s=0.1, turn_s=60.0)


@pytest.fixture(scope="module")
def server():
    with flaky_s3(seed=7) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def sound(server):
    yield
    server.share, server.kinds = 0.0, FAULTS


class HereEngine:
    """One worker in this process.

    Attributes:
        left: Works until somebody pulls the plug.
    """

    def __init__(self, plan, left=1000):
        self.worker, self.left, self.given = Worker(plan, "here"), left, []

    @property
    def free(self):
        return 2 - len(self.given)

    def give(self, work, skip=frozenset()):
        self.given.append((work, skip))

    def next(self, patience_s):
        if not self.given:
            return None
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        work, skip = self.given.pop(0)
        return Ended(worker="here", work=work.number, outcomes=self.worker.do(work, skip))

    def drop(self, work):
        raise AssertionError("nothing takes too long")

    def take_back(self):
        numbers = tuple(work.number for work, _ in self.given)
        self.given.clear()
        return numbers

    def close(self, *, now=False):
        self.worker.close()

    def facts(self):
        return {"name": "here", "workers": 1}


def patient():
    return Patience(attempts=12, first_s=0.02, longest_s=0.3)


def folder_at(server, name, batch=None):
    address, options = f"s3://{BUCKET}/{name}", options_of(server)
    if batch is None:
        return BatchFolder.open(address, options, pace=PACE, patience=patient())
    return BatchFolder.begin(address, batch, options, pace=PACE, patience=patient())


def test_a_batch_is_complete_although_the_store_fails_at_random(server, tmp_path):
    batch = a_batch(UNITS)
    server.share = 0.15
    folder = folder_at(server, "flaky ü", batch)
    with folder.lock():
        assert len(folder.look().missing) == UNITS
        workers = [folder_at(server, "flaky ü") for _ in range(3)]
        for outcome in _by_threads(workers, batch.units[: UNITS // 2], tmp_path):
            folder.note(outcome)
    with folder.lock():
        todo = folder.look(check="size").missing
        assert len(todo) == UNITS - UNITS // 2
        folder.note(failure_of(todo[0]))
        for outcome in _by_threads(workers, todo, tmp_path):
            folder.note(outcome)
    standing, rows, failures = folder.look(), list(folder.rows()), folder.failures()
    faults = dict(server.faults)
    server.share = 0.0
    assert (len(standing.done), standing.damaged, failures) == (UNITS, {}, ())
    assert [row["number"] for row in rows] == list(range(UNITS))
    assert content(folder) == _on_a_disk(batch, tmp_path)
    assert folder.storage.names("locks") == []
    assert all(
        faults.get(kind, 0) > 0 for kind in ("refused", "dropped after all", "cut", "stalled", "failed after all")
    )


def test_a_real_batch_in_a_failing_store_equals_one_on_a_disk(server, tmp_path, drives, checkpoint):
    requests = [asked(drives, seed=seed, outputs=("mosaic", "latents", "trajectory")) for seed in range(3)]
    batch = make_batch(
        Setup(model=str(checkpoint), model_digest=""), requests, {"retry": {"attempts": 5, "wait_s": 0.1}}
    )
    address, options = f"s3://{BUCKET}/real", options_of(server)
    server.share = 0.03
    with same_threads():
        with pytest.raises(KeyboardInterrupt):
            run_batch(
                batch, address, ONE, options=options, scratch=str(tmp_path), make=lambda _, plan: HereEngine(plan, 2)
            )
        summary = run_batch(
            batch, address, ONE, options=options, scratch=str(tmp_path), make=lambda _, plan: HereEngine(plan)
        )
        server.share = 0.0
        run_batch(batch, str(tmp_path / "disk"), ONE, make=lambda _, plan: HereEngine(plan))
    folder = BatchFolder.open(address, options)
    assert (summary.exit_code, summary.failed) == (0, 0)
    assert content(folder) == content(BatchFolder.open(tmp_path / "disk"))
    assert [row["number"] for row in folder.rows()] == [0, 1, 2]
    events = list(read_events(folder.storage))
    assert sum(event["event"] == "unit_done" for event in events) == 3
    assert {"summary.json", "index.html"} <= set(folder.storage.names())


def test_two_drivers_and_a_killed_one(server):
    batch = a_batch(2)
    quick = Pace(beat_s=0.2, dead_s=1.5, look_s=0.1, settle_s=0.1, turn_s=60.0)
    folder = folder_at(server, "two", batch)
    with folder.lock():
        with pytest.raises(OutputExists, match="another driver is at work"):
            folder_at(server, "two").lock().__enter__()
        lease = folder.storage.read("locks/all.lease")
    folder.storage.write("locks/all.lease", lease)  # as if it had been killed
    again = BatchFolder.open(f"s3://{BUCKET}/two", options_of(server), pace=quick)
    with again.lock():
        assert len(again.facts["drivers"]) == 2


def test_a_damaged_object_is_moved_away_and_done_again(server, tmp_path):
    batch = a_batch(3)
    folder = folder_at(server, "damaged", batch)
    with folder.lock():
        for unit in batch.units:
            folder.note(finish(folder, unit, tmp_path))
    unit = batch.units[1]
    folder.storage.write(f"units/{unit.key[:2]}/{unit.key}/poster.jpg", b"poster of " + b"?" * len(unit.key))
    assert len(folder.look(check="size").done) == 3
    with folder.lock():
        assert list(folder.look().damaged) == [unit.key]
        folder.note(finish(folder, unit, tmp_path))
    assert len(folder.look().done) == 3
    assert folder.storage.names("damaged") == [f"{unit.key}-1"]


def test_a_dead_store_is_said(server):
    server.share, server.kinds = 1.0, ("refused", "dropped")
    storage = Storage.at(f"s3://{BUCKET}/x", options_of(server), Patience(attempts=3, first_s=0.0))
    with pytest.raises(Unreachable, match=r"cannot write 's3://a-bucket/x/a': .*3 times.*run the same command again"):
        storage.write("a", b"1")


def test_a_driver_goes_on_while_the_store_is_away(server, tmp_path, monkeypatch):
    monkeypatch.setattr("studio.jobs.folder.manifest.PAUSE_S", 0.0)
    batch = a_batch(3)
    folder = folder_at(server, "away", batch)
    folder.storage.patience = Patience(attempts=2, first_s=0.0)
    with folder.lock():
        outcomes = [finish(folder, unit, tmp_path) for unit in batch.units[:2]]
        server.share, server.kinds = 1.0, ("refused", "dropped")
        for outcome in (*outcomes, failure_of(batch.units[2])):
            folder.note(outcome)
        assert "cannot read" in folder.trouble
        server.share = 0.0
    assert [row["number"] for row in folder.rows()] == [0, 1]
    assert [failure.number for failure in folder.failures()] == [2]


def test_what_cannot_work_is_said(server):
    with pytest.raises(OutputExists, match="The bucket must exist"):
        Storage.at("s3://no-such-bucket/x", options_of(server)).write("a", b"")
    with pytest.raises(BadRequest, match="options of"):
        Storage.at(f"s3://{BUCKET}/x", {"no_such_option": 1})


def _by_threads(workers, units, place):
    """Outcomes of units that several workers store at once."""
    found = []

    def work(number):
        found.extend(finish(workers[number], unit, place) for unit in units[number :: len(workers)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(units)
    return found


def _on_a_disk(batch, place):
    folder = BatchFolder.begin(place / "on a disk", batch)
    for unit in batch.units:
        finish(folder, unit, place)
    return content(folder)
