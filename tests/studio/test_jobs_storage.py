"""A folder anywhere: whole files or none, names that stay inside, patience with what passes."""

import errno
import os
import random
from pathlib import Path

import pytest

from studio.jobs.folder.disk import Disk
from studio.jobs.folder.patience import Patience, may_pass
from studio.jobs.folder.storage import Storage
from worldmodel.errors import BadRequest, DiskFull, OutputExists, UnknownName, Unreachable

HASTY = Patience(attempts=4, first_s=0.0)
ODD = "with space, ü and 日本 #1?.txt"


@pytest.fixture(params=["disk", "memory"])
def storage(request, tmp_path):
    if request.param == "disk":
        return Storage.at(tmp_path / "a folder", patience=HASTY)
    return Storage.at(f"memory://{tmp_path.name}/a folder", patience=HASTY)


def test_what_is_written_is_read(storage, tmp_path):
    assert storage.names() == []
    assert storage.sizes() == {}
    storage.write(f"a/{ODD}", b"one")
    storage.write(f"a/{ODD}", b"other")
    storage.write("b", b"")
    assert storage.read(f"a/{ODD}") == b"other"
    assert storage.names() == ["a", "b"]
    assert storage.names("a") == [ODD]
    assert storage.sizes() == {f"a/{ODD}": 5, "b": 0}
    assert storage.sizes("a") == {f"a/{ODD}": 5}
    assert storage.exists("b")
    assert not storage.exists("a")
    assert not storage.exists("c")
    assert storage.digest("b") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert storage.sub("a").read(ODD) == b"other"


def test_files_come_go_and_move(storage, tmp_path):
    (tmp_path / "from").write_bytes(b"1")
    storage.put(tmp_path / "from", f"tree/in/{ODD}")
    storage.write("tree/x", b"2")
    storage.move("tree", "moved/tree")
    storage.move("moved/tree/x", "y")
    assert sorted(storage.sizes()) == [f"moved/tree/in/{ODD}", "y"]
    storage.get(f"moved/tree/in/{ODD}", tmp_path / "to" / ODD)
    assert (tmp_path / "to" / ODD).read_bytes() == b"1"
    storage.remove("moved")
    storage.remove("moved")
    assert sorted(storage.sizes()) == ["y"]


def test_a_name_is_taken_once(storage):
    assert storage.create("x", b"1")
    assert not storage.create("x", b"2")
    assert storage.read("x") == b"1"


def test_what_is_not_there_is_said(storage):
    for ask in (storage.read, storage.size, storage.digest):
        with pytest.raises(FileNotFoundError):
            ask("nothing")
    storage.remove("nothing")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\b", "a\nb", "a/"])
def test_names_stay_inside(storage, name):
    for act in (storage.read, storage.remove, storage.sub, lambda name: storage.write(name, b"")):
        with pytest.raises(BadRequest, match="does not name a file inside"):
            act(name)


def test_addresses_that_mean_nothing_are_refused():
    with pytest.raises(UnknownName, match="Did you mean 's3://'"):
        Storage.at("s4://bucket/x")
    with pytest.raises(BadRequest, match="path or an address"):
        Storage.at(" ")
    with pytest.raises(BadRequest, match="chains"):
        Storage.at("simplecache::s3://bucket/x")
    with pytest.raises(BadRequest, match="names no folder"):
        Storage.at("memory://a/../b")


def test_a_missing_package_is_named():
    with pytest.raises(BadRequest, match=r"detour\[gcs\]"):
        Storage.at("gs://bucket/x")


def test_a_file_address_is_a_path(tmp_path):
    assert Storage.at(f"file://{tmp_path}/x y").local == tmp_path / "x y"
    assert isinstance(Storage.at("runs/x"), Disk)


def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch):
    storage = Storage.at(tmp_path, patience=HASTY)
    storage.write("a", b"before")
    monkeypatch.setattr(os, "replace", _failing(errno.ENOSPC))
    with pytest.raises(DiskFull, match=r"is full.*free some"):
        storage.write("a", b"after")
    assert storage.read("a") == b"before"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("step", ["replace", "fsync", "rename"])
def test_a_failure_that_passes_is_tried_again(tmp_path, monkeypatch, step):
    storage = Storage.at(tmp_path, patience=HASTY)
    monkeypatch.setattr(os, step, _failing(errno.EIO, times=2, then=getattr(os, step)))
    storage.write("a", b"1")
    storage.move("a", "b")
    assert storage.read("b") == b"1"
    assert os.listdir(tmp_path) == ["b"]


def test_patience_ends_with_a_sentence(tmp_path, monkeypatch):
    storage = Storage.at(tmp_path, patience=HASTY)
    monkeypatch.setattr(os, "replace", _failing(errno.ESTALE))
    with pytest.raises(Unreachable, match=r"cannot write '.*a': .*4 times.*run the same command again"):
        storage.write("a", b"1")


def test_what_is_not_allowed_is_said_at_once(tmp_path, monkeypatch):
    storage = Storage.at(tmp_path / "x", patience=HASTY)
    monkeypatch.setattr(Path, "mkdir", _failing(errno.EROFS))
    with pytest.raises(OutputExists, match="may read and write"):
        storage.write("a", b"1")


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "sheets").write_bytes(b"")
    storage = Storage.at(tmp_path, patience=HASTY)
    for act in (storage.write, storage.create):
        with pytest.raises(OutputExists, match="a file, not a folder"):
            act("sheets/1.jpg", b"")


def test_waits_grow_and_differ_between_processes():
    waits = list(Patience(attempts=8, first_s=1.0, longest_s=10.0, dice=random.Random(1)).waits_s())
    assert len(waits) == 7
    assert all(half <= wait <= 2 * half for wait, half in zip(waits, [0.5, 1, 2, 4, 5, 5, 5], strict=True))
    assert waits != list(Patience(attempts=8, first_s=1.0, longest_s=10.0, dice=random.Random(2)).waits_s())


def test_waiting_is_bounded():
    slept: list[float] = []
    patience = Patience(sleep=slept.append)
    with pytest.raises(Unreachable):
        patience.call("do it", _failing(errno.ETIMEDOUT))
    assert len(slept) == patience.attempts - 1
    assert sum(slept) < 60


def test_which_failures_pass():
    assert may_pass(TimeoutError())
    assert may_pass(ConnectionResetError())
    assert may_pass(OSError(errno.EBUSY, "slow down"))
    assert not may_pass(FileNotFoundError())
    assert not may_pass(PermissionError())
    assert not may_pass(OSError(errno.ENOSPC, ""))
    cut = OSError(errno.EINVAL, "IncompleteBody")  # as s3fs tells it
    cut.__cause__ = _answered("IncompleteBody")
    assert may_pass(cut)
    assert may_pass(_answered("SlowDown"))
    assert not may_pass(_answered("NoSuchBucket"))


@pytest.mark.parametrize(
    "name", ["ReadTimeoutError", "ConnectTimeoutError", "EndpointConnectionError", "ConnectionClosedError"]
)
def test_a_store_that_does_not_answer_may_answer_later(name):
    kind = getattr(pytest.importorskip("botocore.exceptions"), name)
    assert may_pass(kind(endpoint_url="https://store", error=None, request=None))


def test_a_truncated_copy_is_not_taken(tmp_path, monkeypatch):
    storage = Storage.at(f"memory://{tmp_path.name}", patience=HASTY)
    storage.write("a", b"12345")
    whole, cut = storage.files.get_file, [2]

    def short(source, target):
        whole(source, target)
        if cut[0]:
            cut[0] -= 1
            Path(target).write_bytes(b"123")

    monkeypatch.setattr(type(storage.files), "get_file", lambda self, source, target: short(source, target))
    storage.get("a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"12345"
    cut[0] = 99
    with pytest.raises(Unreachable, match="3 bytes came of 5"):
        storage.get("a", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_unfinished_files_are_passed_over(tmp_path, monkeypatch):
    storage = Storage.at(tmp_path, patience=HASTY)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # as if it was killed
    (tmp_path / "source").write_bytes(b"1")
    monkeypatch.setattr(os, "replace", _failing(errno.ENOSPC))
    with pytest.raises(DiskFull):
        storage.write("a", b"1")
    assert len(list(tmp_path.iterdir())) == 2
    assert storage.names() == ["source"]
    assert storage.sizes() == {"source": 1}


def _failing(number, times=10**6, then=None):
    """A function that fails with this error so many times."""
    left = [times]

    def act(*args, **kwargs):
        if left[0] > 0:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return then(*args, **kwargs)

    return act


def _answered(code):
    error = RuntimeError(code)
    error.response = {"Error": {"Code": code}}
    return error
