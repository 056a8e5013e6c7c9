"""Events that survive kills and full disks, on disks and in object stores."""

import json
from pathlib import Path

import pytest
from fake_engine import Clock

from studio.jobs.folder.storage import Storage
from studio.jobs.run import events as events_module
from studio.jobs.run.events import EventLog, read_events
from worldmodel.errors import OutputExists


def names(storage: Storage) -> list[str]:
    return [one["event"] for one in read_events(storage)]


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    clock = Clock()
    log = EventLog(Storage.at(tmp_path), "all", clock)
    clock.now += 1.5
    log.write("worker_ready", worker="w1", seconds=3)
    (line,) = (tmp_path / "events" / "all.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert found.pop("at").endswith("Z")
    assert found == {"t_s": 1.5, "run": log.run, "event": "worker_ready", "worker": "w1", "seconds": 3}
    log.close()
    log.close()


def test_runs_follow_each_other_and_half_a_line_of_a_killed_one_is_passed_over(tmp_path: Path) -> None:
    storage, file = Storage.at(tmp_path), tmp_path / "events" / "all.jsonl"
    with EventLog(storage, "all", Clock()) as log:
        log.write("first")
    with file.open("a") as torn:
        torn.write(
            '{"at": "2026',
        )
    with EventLog(storage, "all", Clock()) as log:
        log.write("second", text="größer\nals eine Zeile")
    assert names(storage) == ["first", "second"]
    assert list(read_events(storage))[1]["text"] == "größer\nals eine Zeile"


def test_shards_are_read_alone_or_together(tmp_path: Path) -> None:
    storage = Storage.at(tmp_path)
    for number in (1, 2, 10):
        with EventLog(storage, f"shard-{number}-of-10", Clock()) as log:
            log.write(f"of {number}")
    assert sorted(names(storage)) == ["of 1", "of 10", "of 2"]
    assert [one["event"] for one in read_events(storage, "shard-1-of-10")] == ["of 1"]


def test_a_full_disk_costs_lines_and_no_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, write = Storage.at(tmp_path), events_module.os.write
    left = [60]

    def nearly_full(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        room, left[0] = min(left[0], len(data)), max(0, left[0] - len(data))
        return write(file, data[:room])

    with EventLog(storage, "all", Clock()) as log:
        log.write("before")
        monkeypatch.setattr(events_module.os, "write", nearly_full)
        log.write("half")
        log.write("lost")
        monkeypatch.undo()
        log.write("after")
        assert log.unwritten == 2
    assert names(storage) == ["before", "after"]


def test_an_object_store_gets_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "PART_BYTES", 2000)
    storage, clock = Storage.at("memory://events of a batch"), Clock()
    with EventLog(storage, "all", clock) as log:
        for number in range(60):
            clock.now += 6.0
            log.write(f"{number}")
        assert names(storage)[-1] == "59"  # every few seconds what waits is written
        log.write("soon")
        assert names(storage)[-1] == "59"
    assert names(storage) == [*map(str, range(60)), "soon"]
    sizes = storage.sizes("events")
    assert len(sizes) > 2
    assert max(sizes.values()) < 2600


def test_an_object_store_that_does_not_answer_costs_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, clock = Storage.at("memory://silent"), Clock()
    log = EventLog(storage, "all", clock)
    log.write("first")

    def silent(name: str, data: bytes) -> None:
        raise OutputExists("the storage does not answer.")

    monkeypatch.setattr(storage, "write", silent)
    clock.now += 60.0
    log.write("second")
    assert log.unwritten == 1
    monkeypatch.undo()
    log.close()
    assert names(storage) == ["first", "second"]  # nothing was lost in the end


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file")
    with pytest.raises(OutputExists, match="choose a folder you may write to"):
        EventLog(Storage.at(tmp_path), "all", Clock())
