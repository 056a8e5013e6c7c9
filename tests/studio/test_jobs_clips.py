"""Clips of a batch: patterns, episodes, moments and filters; what lies elsewhere is copied whole; digests of what is read."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.implementations.memory import MemoryFile  # type: ignore[import-untyped]

from studio.jobs.plan import clips as clips_module
from studio.jobs.plan.clip_choice import chosen_moments
from studio.jobs.plan.clip_digests import ClipDigests
from studio.jobs.plan.clip_library import Chosen, Library, Problems
from studio.jobs.plan.clips import fetched, matching, options_for
from studio.jobs.plan.job_file import job_of
from studio.moments import Wish
from worldmodel.errors import BadDataset, BadInput, BadRequest, BadVideo, DiskFull, Unreachable
from worldmodel.io.lerobot import Dataset

WISH = Wish(history=16, chunk=4, future_s=4.0, rate_hz=8.0)


def _chosen(entry: dict[str, Any], problems: Problems | None = None) -> list[Chosen]:
    noted = Problems() if problems is None else problems
    (clips,) = job_of(json.dumps({"clips": [entry]}), "x").clips
    found = chosen_moments(clips, WISH, Library(), noted)
    if problems is None:
        noted.raise_any()
    return found


def _places(entry: dict[str, Any]) -> list[tuple[int, float]]:
    return [(one.episode, one.at_s) for one in _chosen(entry)]


@pytest.fixture
def copied(drives: Dataset, tmp_path: Path) -> Callable[[str], Path]:
    """Makes copies of the drives."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(drives.path, tmp_path / name))

    return copy


@pytest.fixture
def bucket(drives: Dataset) -> Iterator[str]:
    """The drives in an object store, with spaces and umlauts in their address."""
    store = fsspec.filesystem("memory")
    for path in drives.path.rglob("*"):
        if path.is_file():
            store.pipe(f"/lager/sets/früh am tag/{path.relative_to(drives.path)}", path.read_bytes())
    store.pipe("/lager/sets/notes/readme.txt", b"no dataset")
    yield "memory://lager/sets/früh am tag"
    store.rm("/lager", recursive=True)


def test_patterns_name_datasets_in_order_and_skip_what_is_none(copied: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("b ünï", "a", "c [1]"):
        copied(name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").touch()
    assert [Path(path).name for path in matching(f"{tmp_path}/*")] == ["a", "b ünï", "c [1]"]
    assert matching(f"{tmp_path}/c [1]") == (f"{tmp_path}/c [1]",)  # what is there is meant, not a pattern
    with pytest.raises(BadDataset, match="names no dataset"):
        matching(f"{tmp_path}/z*")


def test_without_times_the_moment_is_the_one_that_imagine_takes(drives: Dataset) -> None:
    from studio.moments import moment_of

    found = _chosen({"dataset": str(drives.path), "episodes": "0-1"})
    for one in found:
        moment = moment_of(drives, one.episode, None, WISH)
        assert one.at_s == moment.start_s + moment.at_s == 1.875


def test_moments_that_are_named_or_regular(drives: Dataset) -> None:
    path = str(drives.path)
    assert _places({"dataset": path, "episodes": 0, "at_s": 2.03}) == [(0, 2.0)]
    assert _places({"dataset": path, "episodes": ["two", 0], "at_s": [3, 2, 2.01]}) == [
        (e, t) for e in (0, 1) for t in (2, 3)
    ]
    assert _places({"dataset": path, "at_s": "every 2.0"}) == [(0, 2), (0, 4), (0, 6), (1, 2), (1, 4), (1, 6)]
    every = {"every": 0.5, "start_s": 0.25, "end_s": 1.5}
    assert _places({"dataset": path, "episodes": "t*", "at_s": every}) == [(1, 0.75), (1, 1.25)]
    last = _places({"dataset": path, "episodes": 2, "at_s": "every 0.125"})
    assert (last[0], last[-1]) == ((2, 0.375), (2, 1.75))  # one chunk before, something to compare with after


def test_filters_and_limits(drives: Dataset, silent_drives: Dataset) -> None:
    path = str(drives.path)
    entry = {"dataset": path, "at_s": "every 1.0"}
    every = _places(entry)
    assert (
        _places({**entry, "filter": {"text": "LEFT at", "speed_mps": [7, 9], "boxes": True, "motion": True}}) == every
    )
    assert _places({**entry, "filter": {"duration_s": [0, 3]}}) == [(2, 1.0)]
    assert _places({**entry, "limit": 2}) == every[:2]
    drawn = _places({**entry, "limit": 5, "seed": 3})
    assert drawn == sorted(drawn) == _places({**entry, "limit": 5, "seed": 3}) != every[:5]
    assert set(_places({**entry, "limit": 4, "seed": 3})) < set(drawn)  # asking for less takes some of the same
    for nothing in ({"speed_mps": [20, 30]}, {"text": "right"}, {"situations": ["*"]}, {"motion": False}):
        with pytest.raises(BadRequest, match="has no moment that fits"):
            _chosen({**entry, "filter": nothing})
    with pytest.raises(BadRequest, match="has no moment that fits"):
        _chosen({"dataset": str(silent_drives.path), "filter": {"speed_mps": [0, 99]}})


def test_situations_are_those_of_the_town() -> None:
    town = Path(__file__).resolve().parents[2] / "assets" / "clips"
    found = _chosen({"dataset": str(town), "filter": {"situations": ["street*", "junction"]}})
    assert {one.dataset.ids[one.episode].rpartition("-")[0] for one in found} <= {"street", "junction"}
    assert found


def test_everything_that_is_wrong_with_clips_is_said_at_once(copied: Callable[[str], Path], tmp_path: Path) -> None:
    (copied("broken") / "meta" / "info.json").write_text("{")
    copied("fine")
    problems = Problems()
    assert _chosen({"dataset": f"{tmp_path}/*", "episodes": "0-7"}, problems) == []
    _chosen({"dataset": f"{tmp_path}/fine", "at_s": [0.1, 9]}, problems)
    _chosen({"dataset": f"{tmp_path}/nowhere"}, problems)
    _chosen({"dataset": f"{tmp_path}/fine", "episodes": ["one", "thre"]}, problems)
    with pytest.raises(BadRequest) as raised:
        problems.raise_any()
    for part in ("info.json' cannot be read", "no episode '0-7'", "9 s is outside clip 'one'", "nowhere", "'thre'"):
        assert part in str(raised.value)
    for number in range(50):
        problems.note(f"problem {number}")
    with pytest.raises(BadRequest, match=r"and 3[0-9] more"):
        problems.raise_any()


def test_a_rate_that_is_no_number_is_a_problem_of_its_dataset(copied: Callable[[str], Path]) -> None:
    info = copied("endless") / "meta" / "info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fps": float("inf")}))
    with pytest.raises(BadRequest, match="fps is inf"):
        _chosen({"dataset": str(info.parent.parent), "at_s": "every 1"})


def test_a_digest_names_what_is_read_and_not_where_it_lies(drives: Dataset, copied: Callable[[str], Path]) -> None:
    path = copied("moved")
    before, moved = ClipDigests(drives), ClipDigests(Dataset.open(path))
    assert [before.of(number) for number in range(3)] == [moved.of(number) for number in range(3)]
    assert len({before.of(number) for number in range(3)}) == 3


def _longer_name(path: Path) -> None:
    facts = json.loads((path / "meta" / "clips.json").read_text())
    facts["episodes"][0]["instructions"] = [{"text": "turn right", "start_s": 0.0, "end_s": None}]
    (path / "meta" / "clips.json").write_text(json.dumps(facts))


def _other_rig(path: Path) -> None:
    rig = json.loads((path / "meta" / "rig.json").read_text())
    rig["cameras"][0]["intrinsics"][0][0] += 1
    (path / "meta" / "rig.json").write_text(json.dumps(rig))


def _other_motion(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in sorted((path / "data").rglob("*.parquet"))[:1]:
        table = pq.read_table(file)
        steps = table["action"].to_pylist()
        steps[3][0] += 0.5
        place = table.schema.get_field_index("action")
        column = pa.array(steps, type=table.schema.field(place).type)
        pq.write_table(table.set_column(place, table.schema.field(place), column), file)


def _other_boxes(path: Path) -> None:
    import pyarrow.parquet as pq

    file = path / "meta" / "boxes.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)


def _other_video(path: Path) -> None:
    file = min(path.rglob("*.mp4"))
    with file.open("ab") as stream:
        stream.write(b"\0\0\0\x08free")


@pytest.mark.parametrize("change", [_longer_name, _other_rig, _other_motion, _other_boxes, _other_video])
def test_whatever_is_read_changes_the_digest(
    drives: Dataset, copied: Callable[[str], Path], change: Callable[[Path], None]
) -> None:
    path = copied("changed")
    change(path)
    before, after = ClipDigests(drives), ClipDigests(Dataset.open(path))
    assert before.of(0) != after.of(0)
    assert (before.of(1) == after.of(1)) == (change is not _other_rig)  # the rig is that of all


def test_a_broken_video_is_found_before_anything_runs(copied: Callable[[str], Path]) -> None:
    path = copied("broken")
    first, second, *_ = sorted(path.rglob("*.mp4"))
    first.write_bytes(first.read_bytes()[:500])
    second.unlink()
    dataset = Dataset.open(path)
    for number in range(2):
        with pytest.raises((BadVideo, BadDataset)):
            ClipDigests(dataset).of(number)


def test_a_dataset_in_a_store_is_copied_once_and_reads_the_same(bucket: str, drives: Dataset, tmp_path: Path) -> None:
    folder = fetched(bucket, tmp_path)
    assert folder.parent == tmp_path
    assert ClipDigests(Dataset.open(folder)).of(0) == ClipDigests(drives).of(0)
    stamp = folder.stat().st_mtime_ns
    assert fetched(bucket, tmp_path) == folder
    assert folder.stat().st_mtime_ns == stamp
    fsspec.filesystem("memory").pipe("/lager/sets/früh am tag/meta/more.json", b"{}")
    assert fetched(bucket, tmp_path) != folder
    assert matching("memory://lager/s*/*") == (bucket,)
    assert fetched(str(drives.path), tmp_path) == drives.path


def test_what_a_killed_copy_left_is_removed(bucket: str, tmp_path: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    left = tmp_path / f".{socket.gethostname()}.{gone.stdout.strip()}.abc"
    other = tmp_path / f".{socket.gethostname()}.{os.getpid()}.abc"
    for path in (left, other):
        (path / "meta").mkdir(parents=True)
    fetched(bucket, tmp_path)
    assert not left.exists()
    assert other.exists()


def test_options_of_the_batch_are_for_datasets_in_a_store_like_its_own() -> None:
    options = {"endpoint_url": "http://store"}
    for address, out, meant in (
        ("s3://a/b", "s3://c/d", True),
        ("s3://a/b", "runs/x", True),
        ("s3://a/b", "", True),
        ("s3://a/b", "gs://c/d", False),
        ("/data/x", "s3://c/d", False),
    ):
        assert (options_for(address, out, options) is options) == meant


def test_names_in_a_store_never_lead_out_of_the_cache(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    store.store["/evil/set/a/../../../../x"] = MemoryFile(store, "/evil/set/x", b"x")
    with pytest.raises(BadInput, match="inside the folder"):
        fetched("memory://evil/set", tmp_path / "cache")
    store.store.clear()
    assert not list(tmp_path.rglob("x"))


def test_copies_that_fail_leave_nothing(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadDataset, match="holds no files"):
        fetched("memory://lager/nothing", tmp_path)
    monkeypatch.setattr(clips_module, "MAX_FETCHED_FILES", 3)
    with pytest.raises(BadDataset, match="at most 3 files"):
        fetched(bucket, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(clips_module, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(DiskFull, match="--cache"):
        fetched(bucket, tmp_path)
    monkeypatch.undo()
    listings = iter([{"meta/info.json": (1, "a")}, {"meta/info.json": (1, "b")}])
    monkeypatch.setattr(clips_module, "_listed", lambda _: next(listings))
    with pytest.raises(Unreachable, match="was changed while it was copied"):
        fetched(bucket, tmp_path)
    monkeypatch.setattr(clips_module, "_listed", lambda _: {"gone": (1, "")})
    with pytest.raises(Unreachable, match="was changed while it was copied"):
        fetched(bucket, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_clips_on_a_server_that_speaks_s3_are_the_same_clips(
    drives: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-tests")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        options = {"endpoint_url": "http://{}:{}".format(*server.get_host_and_port())}
        client = boto3.client("s3", region_name="us-east-1", **options)
        client.create_bucket(Bucket="lager")
        client.put_object(Bucket="lager", Key="früh am tag/", Body=b"")  # as consoles mark folders
        for path in drives.path.rglob("*"):
            if path.is_file():
                client.upload_file(str(path), "lager", f"früh am tag/{path.relative_to(drives.path)}")
        assert matching("s3://lager/fr*", options) == ("s3://lager/früh am tag",)
        folder = fetched("s3://lager/früh am tag", tmp_path, options)
        assert ClipDigests(Dataset.open(folder)).of(1) == ClipDigests(drives).of(1)
        assert fetched("s3://lager/früh am tag", tmp_path, options) == folder
        client.put_object(Bucket="lager", Key="früh am tag/meta/stats.json", Body=b"{}")
        assert fetched("s3://lager/früh am tag", tmp_path, options) != folder
        with pytest.raises(BadDataset, match="holds no files"):
            fetched("s3://no-such-bucket/x", tmp_path, options)
    finally:
        server.stop()
