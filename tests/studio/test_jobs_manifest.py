"""The manifest: read by DuckDB and pandas, no unit twice, written now and then, found again after a crash."""

import time

import duckdb
import pandas as pd
import pytest
from batch_folders import QUICK, a_batch, failure_of, finish

from studio.jobs.folder import manifest
from studio.jobs.folder.batch_folder import BatchFolder
from studio.jobs.folder.storage import Storage
from studio.jobs.units import Shard
from worldmodel.errors import DiskFull


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Neither git nor the disk is waited for."""
    monkeypatch.setattr("os.fsync", lambda number: None)
    monkeypatch.setattr("studio.jobs.folder.plan_files.made_with", lambda: {"versions": {}, "commit": "c0ffee"})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out's ü"


def run(out, batch, place, shard=Shard(), units=None):  # noqa: B008 (a value)
    """A driver that does these units of its shard."""
    folder = BatchFolder.begin(out, batch, pace=QUICK)
    with folder.lock(shard):
        for unit in folder.look(shard).missing[:units]:
            folder.note(finish(folder, unit, place))
    return folder


def test_duckdb_and_pandas_read_it(out, tmp_path):
    run(out, a_batch(6), tmp_path, Shard(index=1, of=2))
    run(out, a_batch(6), tmp_path, Shard(index=2, of=2))
    found = duckdb.execute(
        "select number, text, seed, scores['psnr'], timings_s['model'], len(files), files[1].name, imagined "
        "from read_parquet(?) order by number",
        [f"{out}/manifest/*.parquet"],
    ).fetchall()
    assert [row[0] for row in found] == list(range(6))
    assert found[1] == (1, "turn left", 1, 21.0, 0.5, 2, "cameras/front left.mp4", True)
    assert found[2][1] is None
    table = pd.read_parquet(out / "manifest").sort_values("number")
    assert table["seed"].tolist() == list(range(6))
    assert dict(table["scores"].iloc[3]) == {"psnr": 23.0}


def test_an_empty_manifest_is_readable(out):
    with BatchFolder.begin(out, a_batch(2), pace=QUICK).lock():
        pass
    assert duckdb.execute("select count(*) from read_parquet(?)", [f"{out}/manifest/*.parquet"]).fetchone() == (0,)


def test_rows_that_a_crash_lost_are_found_again(out, tmp_path):
    folder = run(out, a_batch(4), tmp_path)
    whole = list(folder.rows())
    for name in manifest.part_names(folder.storage):
        folder.storage.write(f"manifest/{name}.parquet", b"PAR1 and no more")
    assert list(folder.rows()) == whole
    with folder.lock():
        assert not folder.look().missing
    assert manifest.read_parts(folder.storage).num_rows == 4


def test_other_shards_do_not_double_rows(out, tmp_path):
    batch = a_batch(7)
    folder = run(out, batch, tmp_path, units=5)
    for of in (3, 2, 1):
        for index in range(1, of + 1):
            run(out, batch, tmp_path, Shard(index=index, of=of), units=1 if of == 3 else None)
            numbers = [row["number"] for row in manifest.rows_of(manifest.read_parts(folder.storage))]
            assert len(numbers) == len(set(numbers)) >= 5
    assert folder.storage.names("manifest") == ["all.parquet"]
    assert [row["number"] for row in folder.rows()] == list(range(7))


def test_parts_left_over_by_a_crash_do_not_double_rows(out, tmp_path):
    batch = a_batch(4)
    folder = run(out, batch, tmp_path)
    rows = folder.storage.read("manifest/all.parquet")
    run(out, batch, tmp_path, Shard(index=1, of=2))
    folder.storage.write("manifest/all.parquet", rows)
    assert [row["number"] for row in folder.rows()] == [0, 1, 2, 3]
    run(out, batch, tmp_path, Shard(index=1, of=2))
    assert sorted(folder.storage.names("manifest")) == ["shard-1-of-2.parquet", "shard-2-of-2.parquet"]
    assert manifest.read_parts(folder.storage).num_rows == 4


def test_it_is_written_now_and_then(out, tmp_path, monkeypatch):
    batch, written = a_batch(5), []
    monkeypatch.setattr(
        "studio.jobs.folder.manifest.write_part", lambda storage, name, table: written.append(len(table))
    )
    folder = BatchFolder.begin(out, batch, pace=QUICK)
    with folder.lock():
        for unit in batch.units:
            folder.note(finish(folder, unit, tmp_path))
        assert written == [0]
    assert written == [0, 5]


def test_a_slow_manifest_is_written_less_often(tmp_path, monkeypatch):
    storage = Storage.at(tmp_path)
    monkeypatch.setattr("studio.jobs.folder.manifest.PAUSE_S", 0.001)
    monkeypatch.setattr("studio.jobs.folder.manifest.write_part", lambda *args: time.sleep(0.02))
    part = manifest.Part(storage, "all", {})
    part.flush()
    assert part._pause_s >= 20 * 0.02


def test_what_a_full_disk_kept_out_is_written_later(out, tmp_path, monkeypatch):
    batch = a_batch(3)
    monkeypatch.setattr("studio.jobs.folder.manifest.PAUSE_S", 0.0)
    folder = BatchFolder.begin(out, batch, pace=QUICK)
    with folder.lock():
        outcomes = [finish(folder, unit, tmp_path) for unit in batch.units[:2]]
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", _full)
            for outcome in (*outcomes, failure_of(batch.units[2])):
                folder.note(outcome)
            assert "is full" in folder.trouble
        folder.note(failure_of(batch.units[2]))
        assert folder.trouble == ""
    assert [row["number"] for row in folder.rows()] == [0, 1]
    assert folder.failures()[0].attempts == 2


def test_a_disk_that_stays_full_is_said_at_the_end(out, tmp_path, monkeypatch):
    batch = a_batch(1)
    folder = BatchFolder.begin(out, batch, pace=QUICK)
    lock = folder.lock()
    lock.__enter__()
    folder.note(finish(folder, batch.units[0], tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _full)
        with pytest.raises(DiskFull):
            lock.__exit__(None, None, None)
    with folder.lock():
        assert len(folder.look().done) == 1


def test_columns_and_reader_agree(out, tmp_path):
    folder = run(out, a_batch(1), tmp_path)
    (row,) = folder.rows()
    assert list(row) == manifest.schema().names
    assert row["bytes"] == sum(file["bytes"] for file in row["files"])
    assert row["scores"] == {"psnr": 20.0}
    assert (out / row["folder"] / "unit.json").is_file()


def _full(*args, **kwargs):
    raise OSError(28, "No space left on device")
