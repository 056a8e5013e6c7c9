"""A batch's folder: units whole or not at all, damage found, one driver per shard, plans that change."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from batch_folders import HASTY, QUICK, a_batch, content, failure_of, finish, output_of, record_of, unit_place

from studio.jobs.folder import disk
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.units import Shard, UnitRequest
from worldmodel.errors import BadDataset, BadRequest, DiskFull, OutputExists

KINDS = ("Unreachable", "WorkerLost", "TimedOut", "Diverged")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Neither git nor the disk is waited for."""
    monkeypatch.setattr("os.fsync", lambda number: None)
    monkeypatch.setattr("studio.jobs.folder.plan_files.made_with", lambda: {"versions": {}, "commit": "c0ffee"})


@pytest.fixture
def address(tmp_path):
    return tmp_path / "a batch"


@pytest.fixture(params=["disk", "memory"])
def anywhere(request, tmp_path):
    return str(tmp_path / "out") if request.param == "disk" else f"memory://{tmp_path.name}/out"


def begin(address, batch):
    return BatchFolder.begin(address, batch, pace=QUICK, patience=HASTY)


def reopen(address):
    return BatchFolder.open(address, pace=QUICK, patience=HASTY)


def test_the_plan_is_read_back(anywhere):
    batch = a_batch(5)
    begin(anywhere, batch)
    found = reopen(anywhere).batch
    assert found.digest == batch.digest
    assert found.units == batch.units
    assert found.works == batch.works
    assert found.setup == batch.setup
    assert found.job == batch.job
    assert begin(anywhere, batch).facts["units"] == 5


def test_a_stored_unit_is_found(anywhere, tmp_path):
    batch = a_batch(3)
    folder = begin(anywhere, batch)
    unit = batch.units[1]
    files = finish(reopen(anywhere), unit, tmp_path).files
    assert [file.name for file in files] == ["cameras/front left.mp4", "poster.jpg"]
    standing = folder.look()
    assert standing.done == {unit.key: sum(file.bytes for file in files)}
    assert standing.missing == (batch.units[0], batch.units[2])
    assert UnitRequest.of(folder.record(unit.key)["request"]) == unit.request
    assert [row["key"] for row in folder.rows()] == [unit.key]


def test_storing_twice_changes_nothing(anywhere, tmp_path):
    batch = a_batch(2)
    folder, unit = begin(anywhere, batch), batch.units[0]
    first = finish(folder, unit, tmp_path).files
    before = folder.storage.read(f"units/{unit.key[:2]}/{unit.key}/unit.json")
    (output_of(unit, tmp_path / "again") / "poster.jpg").write_bytes(b"other")
    assert folder.store(unit, output_of(unit, tmp_path / "again"), record_of(unit, model_s=9.0)) == first
    assert folder.storage.read(f"units/{unit.key[:2]}/{unit.key}/unit.json") == before


def test_a_checkpoint_goes_when_its_unit_is_stored(anywhere, tmp_path):
    batch = a_batch(2)
    folder = begin(anywhere, batch)
    for unit in batch.units:
        folder.partial(unit.key).write("segment/0", b"x")
    finish(folder, batch.units[0], tmp_path)
    assert folder.storage.names("partial") == [batch.units[1].key]


def test_a_checkpoint_stays_only_where_another_try_goes_on_from_it(anywhere):
    batch = a_batch(4)
    folder = begin(anywhere, batch)
    failures = [failure_of(unit, kind) for unit, kind in zip(batch.units, KINDS, strict=True)]
    for unit in batch.units:
        folder.partial(unit.key).write("segment/0", b"x")
    with folder.lock():
        for outcome in (replace(failures[0], again=True), *failures[1:]):
            folder.note(outcome)
    assert set(folder.storage.names("partial")) == {unit.key for unit in batch.units[:3]}


@pytest.mark.parametrize(
    "step", ["os.rename", "os.fsync", "pathlib.Path.write_bytes", "studio.jobs.folder.unit_folder.copied"]
)
def test_a_full_disk_leaves_no_unit(address, tmp_path, monkeypatch, step):
    batch = a_batch(2)
    folder, unit = begin(address, batch), batch.units[0]
    made = output_of(unit, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(step, _full)
        with pytest.raises(DiskFull, match="free some and run the same command again"):
            folder.store(unit, made, record_of(unit))
    assert not folder.look().done
    assert not folder.storage.sizes("units")
    assert folder.store(unit, made, record_of(unit))


def test_a_killed_worker_leaves_no_unit(address, tmp_path, monkeypatch):
    batch = a_batch(2)
    folder, unit = begin(address, batch), batch.units[0]
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
        patch.setattr("os.rename", _killed)
        with pytest.raises(KeyboardInterrupt):
            finish(folder, unit, tmp_path)
    place = unit_place(folder, unit).parent
    assert len(os.listdir(place)) == 1
    assert not folder.look().done
    with folder.lock():
        folder.look()
    assert os.listdir(place) == []


def test_what_a_killed_driver_left_is_removed(address):
    folder = begin(address, a_batch(1))
    living = disk.unfinished(address / "job.yaml")
    dead = living.with_name(living.name.replace(f".{os.getpid()}.", ".999999999."))
    with folder.lock():
        left = [dead, address / "manifest" / dead.name, living, dead.with_name(f"elsewhere{dead.name}")]
        for file in left:
            file.touch()
        folder.look()
    assert [file.exists() for file in left] == [False, False, True, True]


def test_a_failed_upload_leaves_no_unit(tmp_path, monkeypatch):
    batch = a_batch(2)
    folder, unit = begin(f"memory://{tmp_path.name}/out", batch), batch.units[0]
    with monkeypatch.context() as patch:
        patch.setattr(type(folder.storage.files), "pipe_file", _killed)
        with pytest.raises(KeyboardInterrupt):
            finish(folder, unit, tmp_path)
    assert folder.storage.sizes("units")
    standing = folder.look()
    assert not standing.done
    assert not standing.damaged
    finish(folder, unit, tmp_path)
    assert folder.look().done


def _flip(place):
    data = bytearray((place / "poster.jpg").read_bytes())
    data[3] ^= 1
    (place / "poster.jpg").write_bytes(bytes(data))


def _flip_record(place):
    text = (place / "unit.json").read_text()
    (place / "unit.json").write_text(text.replace('"frames": 32', '"frames": 33'))


DAMAGE = {
    "cut": lambda place: (place / "cameras" / "front left.mp4").write_bytes(b""),
    "gone": lambda place: (place / "poster.jpg").unlink(),
    "no record": lambda place: (place / "unit.json").unlink(),
    "no json": lambda place: (place / "unit.json").write_text("{"),
    "other json": lambda place: (place / "unit.json").write_text("[]"),
    "flipped": _flip,
    "flipped record": _flip_record,
}


@pytest.mark.parametrize(("how", "noted"), [(how, number % 2 == 0) for number, how in enumerate(DAMAGE)])
def test_damage_is_found_moved_away_and_done_again(address, tmp_path, how, noted):
    batch = a_batch(3)
    folder, unit = begin(address, batch), batch.units[1]
    with folder.lock():
        for one in batch.units:
            outcome = finish(folder, one, tmp_path)
            if noted:
                folder.note(outcome)
    whole = content(folder)
    DAMAGE[how](unit_place(folder, unit))
    assert list(folder.look().damaged) == [unit.key]
    assert unit_place(folder, unit).exists()  # looking alone changes nothing
    with folder.lock():
        standing = folder.look()
        assert list(standing.damaged) == [unit.key]
        assert standing.missing == (unit,)
        assert folder.storage.names("damaged") == [f"{unit.key}-1"]
        assert [row["number"] for row in folder.rows()] == [0, 2]
        folder.note(finish(folder, unit, tmp_path))
    assert content(folder) == whole
    assert [row["number"] for row in folder.rows()] == [0, 1, 2]
    assert not folder.look().damaged


def test_the_size_check_finds_what_was_cut(address, tmp_path):
    batch = a_batch(2)
    folder = begin(address, batch)
    for unit in batch.units:
        finish(folder, unit, tmp_path)
    _flip(unit_place(folder, batch.units[0]))
    DAMAGE["cut"](unit_place(folder, batch.units[1]))
    assert list(folder.look(check="size").damaged) == [batch.units[1].key]
    assert len(folder.look(check="none").done) == 2
    assert len(folder.look(check="checksum").damaged) == 2


def test_a_worker_does_not_trust_a_damaged_unit(address, tmp_path):
    batch = a_batch(1)
    folder, unit = begin(address, batch), batch.units[0]
    finish(folder, unit, tmp_path)
    DAMAGE["cut"](unit_place(folder, unit))
    assert folder.stored(unit.key) is None
    finish(folder, unit, tmp_path)
    assert not folder.look().damaged


def test_failures_are_kept_until_done_or_forgotten(anywhere, tmp_path):
    batch = a_batch(4)
    folder = begin(anywhere, batch)
    with folder.lock():
        for unit in batch.units[:3]:
            folder.note(failure_of(unit))
        folder.note(failure_of(batch.units[0], "WorkerLost"))
        folder.note(finish(folder, batch.units[1], tmp_path))
        folder.forget_failures([batch.units[2].key])
    (failure,) = reopen(anywhere).failures()
    assert (failure.number, failure.kind, failure.attempts) == (0, "WorkerLost", 2)
    assert failure.earlier == (("Diverged", "Diverged it was"),)


def test_a_failure_of_what_was_done_in_the_end_is_forgotten(anywhere, tmp_path):
    batch = a_batch(1)
    folder = begin(anywhere, batch)
    with folder.lock():
        folder.note(failure_of(batch.units[0]))
        finish(folder, batch.units[0], tmp_path)  # and the driver is killed before it hears of it
    assert folder.storage.names("failures") == [f"{batch.units[0].key}.json"]
    assert folder.failures() == ()
    with folder.lock():
        folder.look()
    assert folder.storage.names("failures") == []


def test_a_unit_that_is_not_there_is_a_failure(anywhere, tmp_path):
    batch = a_batch(2)
    folder, unit = begin(anywhere, batch), batch.units[0]
    with folder.lock():
        folder.note(replace(failure_of(unit), state="done"))
    (failure,) = folder.failures()
    assert failure.kind == "NotStored"
    assert failure.again
    assert list(folder.rows()) == []


def test_only_the_driver_notes(address):
    batch = a_batch(1)
    with pytest.raises(BadRequest, match="Take the lock first"):
        begin(address, batch).note(failure_of(batch.units[0]))


def test_a_second_driver_is_told_who_the_first_is(anywhere):
    folder = begin(anywhere, a_batch(2))
    with folder.lock(), pytest.raises(OutputExists, match=rf"another driver.*process {os.getpid()} on '.+', since 20"):
        reopen(anywhere).lock().__enter__()
    with reopen(anywhere).lock():
        assert len(folder.at_work()) == 1
    assert folder.at_work() == ()


def test_shards_work_side_by_side_but_split_alike(anywhere, tmp_path):
    batch = a_batch(4)
    first, second = begin(anywhere, batch), reopen(anywhere)
    with first.lock(Shard(index=1, of=2)), second.lock(Shard(index=2, of=2)):
        for other, said in (
            (Shard(), "this is shard 1/1"),
            (Shard(index=3, of=3), "use N/2"),
            (Shard(index=2, of=2), "another"),
        ):
            with pytest.raises(OutputExists, match=said):
                reopen(anywhere).lock(other).__enter__()
        for unit in batch.units:
            (first, second)[unit.number % 2].note(finish(first, unit, tmp_path))
    assert [row["number"] for row in first.rows()] == [0, 1, 2, 3]
    assert first.storage.names("manifest") == ["shard-1-of-2.parquet", "shard-2-of-2.parquet"]


@pytest.mark.slow  # starts a process
def test_a_killed_drivers_lock_is_free_at_once(address):
    batch = a_batch(2)
    folder = begin(address, batch)
    code = "import sys, time; sys.path[:0] = sys.argv[2:]; from studio.jobs.folder.batch_folder import BatchFolder\n"
    code += "with BatchFolder.open(sys.argv[1]).lock(): print('held', flush=True); time.sleep(60)"
    root = str(Path(disk.__file__).parents[2])
    with subprocess.Popen([sys.executable, "-c", code, str(address), root], stdout=subprocess.PIPE) as driver:
        assert driver.stdout.readline() == b"held\n"
        with pytest.raises(OutputExists, match=f"process {driver.pid} on"):
            folder.lock().__enter__()
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    with folder.lock():
        assert [one["pid"] for one in reopen(address).facts["drivers"]] == [driver.pid, os.getpid()]


def test_a_lease_that_stands_still_is_taken_over(tmp_path, monkeypatch):
    address = f"memory://{tmp_path.name}/out"
    folder = begin(address, a_batch(2))
    with folder.lock():
        lease = folder.storage.read("locks/all.lease")
    folder.storage.write("locks/all.lease", lease)  # its driver was killed
    folder.storage.write("locks/turn.lease", lease)  # while another one began
    said: list[str] = []
    with reopen(address).lock(tell=said.append):
        assert folder.storage.read("locks/all.lease") != lease
    assert "watched for a sign of life" in said[0]
    assert folder.storage.names("locks") == []


def test_who_lost_his_lease_stops(tmp_path):
    address = f"memory://{tmp_path.name}/out"
    batch = a_batch(2)
    folder = begin(address, batch)
    with pytest.raises(OutputExists, match="another driver may have taken over"):
        _drive_while_another_takes_over(folder, batch)


def test_where_the_disk_has_no_locks_leases_are_used(address, monkeypatch):
    monkeypatch.setattr("studio.jobs.folder.locks._flock", _no_locks)
    folder = begin(address, a_batch(2))
    with folder.lock():
        assert folder.storage.names("locks") == ["all.lease"]
        with pytest.raises(OutputExists, match="another driver"):
            reopen(address).lock().__enter__()


def test_a_changed_job_keeps_the_units_that_both_have(anywhere, tmp_path):
    old, new = a_batch(4), a_batch(6)
    folder = begin(anywhere, old)
    with folder.lock(Shard(index=1, of=2)):
        for unit in old.units:
            folder.note(finish(folder, unit, tmp_path))
    changed = begin(anywhere, a_batch(6, dataset="elsewhere"))
    assert changed.batch.digest == new.digest  # where clips lie does not matter
    with changed.lock():
        standing = changed.look()
    assert [unit.number for unit in standing.missing] == [4, 5]
    assert standing.stale == 0
    fewer = begin(anywhere, a_batch(1))
    assert (len(fewer.look().done), fewer.look().stale) == (1, 3)
    assert len(list(fewer.rows())) == 1
    other = begin(anywhere, a_batch(3, threads=2))
    assert (len(other.look().done), other.look().stale) == (0, 4)
    assert len(begin(anywhere, old).look().done) == 4


def test_another_plan_waits_for_the_driver_at_work(anywhere):
    folder = begin(anywhere, a_batch(2))
    with folder.lock():
        assert begin(anywhere, a_batch(2)).facts
        with pytest.raises(OutputExists, match="at work on another plan"):
            begin(anywhere, a_batch(3))


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": 1}', None])
@pytest.mark.parametrize("file", ["batch.json", "units.parquet"])
def test_a_damaged_plan_is_written_again(address, tmp_path, file, content):
    batch = a_batch(2)
    finish(begin(address, batch), batch.units[0], tmp_path)
    (address / file).unlink() if content is None else (address / file).write_bytes(content)
    lost_facts = (file, content) == ("batch.json", None)
    with pytest.raises(BadDataset, match="it has no batch.json" if lost_facts else "Run the job file again"):
        _ = reopen(address).batch
    assert len(begin(address, batch).look().done) == 1
    assert reopen(address).batch.digest == batch.digest


def test_an_interrupted_beginning_is_gone_on_with(address, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("studio.jobs.folder.plan_files.write_facts", _killed)
        with pytest.raises(KeyboardInterrupt):
            begin(address, a_batch(2))
    assert begin(address, a_batch(3)).facts["units"] == 3


def test_folders_with_other_things_are_refused(tmp_path):
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "beach.jpg").write_bytes(b"")
    with pytest.raises(OutputExists, match=r"holds other things \(beach.jpg\), and no batch"):
        begin(tmp_path / "holidays", a_batch(1))
    with pytest.raises(OutputExists, match="is a file"):
        begin(tmp_path / "holidays" / "beach.jpg", a_batch(1))
    with pytest.raises(BadDataset, match="is not a batch's folder"):
        reopen(tmp_path / "holidays")
    assert os.listdir(tmp_path / "holidays") == ["beach.jpg"]


def test_a_batch_of_a_later_version_is_left_alone(address):
    begin(address, a_batch(1))
    (address / "batch.json").write_text('{"format": 2}')
    for act in (reopen, lambda place: begin(place, a_batch(1))):
        with pytest.raises(BadRequest, match="format 2; this version reads format 1"):
            act(address)


@pytest.mark.parametrize("out", ["in/town", "in/town/deeper", "in", "in/a-model/x", "link", "in/../in/town"])
def test_inputs_are_never_written_into(tmp_path, out):
    (tmp_path / "in" / "town" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in" / "town")
    batch = a_batch(1, dataset=str(tmp_path / "in" / "town"), model=str(tmp_path / "in" / "a-model"))
    with pytest.raises(OutputExists, match="itself, inside it, or around it"):
        begin(tmp_path / out, batch)
    begin(tmp_path / "in-town", batch)


def test_inputs_in_stores_are_never_written_into(tmp_path):
    batch = a_batch(1, dataset=f"memory://{tmp_path.name}/town/")
    with pytest.raises(OutputExists, match="the dataset"):
        begin(f"memory://{tmp_path.name}/town/out", batch)
    begin(f"memory://{tmp_path.name}/townhouse", batch)


def test_a_read_only_folder_is_said(address, monkeypatch):
    monkeypatch.setattr("pathlib.Path.mkdir", _read_only)
    with pytest.raises(OutputExists, match="must be a folder that you may read and write"):
        begin(address, a_batch(1))


def test_a_disk_that_is_full_from_the_start_is_said(address, monkeypatch):
    begin(address, a_batch(1))
    monkeypatch.setattr("studio.jobs.folder.leases.Holder.data", _full)
    with pytest.raises(DiskFull, match="is full"):
        begin(address, a_batch(1))


def _drive_while_another_takes_over(folder, batch):
    with folder.lock():
        lease = json.loads(folder.storage.read("locks/all.lease"))
        folder.storage.write("locks/all.lease", json.dumps(lease | {"token": "another"}).encode())
        while True:
            folder.note(failure_of(batch.units[0]))


def _full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def _read_only(*args, **kwargs):
    raise OSError(30, "Read-only file system")


def _no_locks(*args, **kwargs):
    raise OSError(37, "No locks available")


def _killed(*args, **kwargs):
    raise KeyboardInterrupt
