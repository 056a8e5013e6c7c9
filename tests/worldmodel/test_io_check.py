import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodel.clips import Box, Clip
from worldmodel.geometry import Motion
from worldmodel.io.check import check_dataset
from worldmodel.io.lerobot import write_dataset
from worldmodel.io.rig_file import nominal_rig
from worldmodel.io.video import write_video

DATA = "data/chunk-000/file-000.parquet"
VIDEO = "videos/observation.images.front/chunk-000/file-001.mp4"


def make_clip(name: str, frames: int) -> Clip:
    box = Box(track="t", kind="car", center=np.array([9.0, 1, 0.8]), size=np.array([4.5, 1.9, 1.6]), yaw_rad=0.3)
    return Clip(
        id=name,
        video=np.full((frames, 1, 3, 16, 32), 90, np.uint8),
        rig=nominal_rig(["front"], 32, 16),
        motion=Motion(deltas=np.tile([0.5, 0, 0.01], (frames - 1, 1)), period_s=1 / 8),
        motion_origin="poses",
        frequency_hz=8.0,
        boxes=((box,),) * frames,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset([make_clip("a", 10), make_clip("b", 6)], tmp_path / "set", name="x").path


def change_rows(file: Path, change: Callable[[list[dict]], None]) -> None:
    table = pq.read_table(file)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


def change_json(file: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_good_dataset_has_no_problem(folder: Path) -> None:
    assert check_dataset(folder) == []


@pytest.mark.parametrize(
    ("change", "row", "message"),
    [
        (lambda rows: rows[12]["action"].__setitem__(0, float("nan")), 12, "'action' of clip 'b' is not finite"),
        (lambda rows: rows[3].update(timestamp=0.1), 3, "time of clip 'a' does not increase"),
        (
            lambda rows: [row.update(timestamp=row["timestamp"] + 1) for row in rows[5:10]],
            5,
            "a gap in the times of clip 'a'",
        ),
        (
            lambda rows: [row.update(timestamp=row["timestamp"] * 1.2) for row in rows[10:]],
            11,
            "not frame_index / rate",
        ),
        (lambda rows: rows[9].update(action_valid=True), 9, "action_valid of clip 'a'"),
        (lambda rows: rows[4].update(action_valid=False), 4, "action_valid of clip 'a'"),
        (lambda rows: rows[7].update(frame_index=70), 7, "frame_index of clip 'a'"),
        (lambda rows: rows[2]["action"].__setitem__(0, 100.0), 2, "faster than 100 m/s"),
        (lambda rows: rows.pop(), 10, "5 rows of clip 'b', but 6"),
    ],
)
def test_bad_rows_are_named(folder: Path, change: Callable[[list[dict]], None], row: int, message: str) -> None:
    change_rows(folder / DATA, change)
    problems = check_dataset(folder)
    assert any(p.path == folder / DATA and p.row == row and message in p.message for p in problems), problems


def test_stretches_count_once(folder: Path) -> None:
    change_rows(folder / DATA, lambda rows: [row["action"].__setitem__(1, float("inf")) for row in rows[2:6]])
    (problem,) = [p for p in check_dataset(folder) if "not finite" in p.message]
    assert problem.row == 2
    assert "4 rows from here" in problem.message
    assert str(problem).startswith(f"{folder / DATA}, row 2: ")


def test_every_problem_is_listed(folder: Path) -> None:
    change_rows(folder / DATA, lambda rows: rows[3]["action"].__setitem__(0, float("nan")))
    (folder / VIDEO).unlink()
    (folder / "meta/stats.json").unlink()
    change_json(folder / "meta/info.json", lambda info: info.update(total_frames=99))
    files = {problem.path.name for problem in check_dataset(folder)}
    assert {"file-000.parquet", "file-001.mp4", "stats.json", "info.json"} <= files


@pytest.mark.parametrize(
    ("frames", "size", "rate", "message"),
    [
        (4, (16, 32), 8, "4 frames, but clip 'b' has rows for 6"),
        (9, (16, 32), 8, "9 frames, but clip 'b' has rows for 6"),
        (6, (32, 32), 8, "32x32 px, but the rig says 32x16"),
        (6, (16, 32), 10, "10 Hz, but the dataset has 8 Hz"),
    ],
)
def test_videos_are_compared_with_the_tables(
    folder: Path, frames: int, size: tuple[int, int], rate: float, message: str
) -> None:
    write_video(folder / VIDEO, np.zeros((frames, 3, *size), np.uint8), rate)
    assert [p.path for p in check_dataset(folder) if message in p.message] == [folder / VIDEO]


def test_a_truncated_video_is_found(folder: Path) -> None:
    data = (folder / VIDEO).read_bytes()
    (folder / VIDEO).write_bytes(data[: len(data) // 2])
    assert [problem.path for problem in check_dataset(folder)] == [folder / VIDEO]


def test_a_rig_that_is_no_rotation_is_found(folder: Path) -> None:
    change_json(folder / "meta/rig.json", lambda rig: rig["cameras"][0]["ego_from_camera"][0].__setitem__(0, 3.0))
    (problem,) = check_dataset(folder)
    assert problem.path == folder / "meta/rig.json"
    assert "not a rotation" in problem.message


def test_missing_statistics_and_tasks_are_found(folder: Path) -> None:
    change_json(folder / "meta/stats.json", lambda stats: stats.pop("action"))
    (folder / "meta/tasks.parquet").unlink()
    messages = " ".join(str(problem) for problem in check_dataset(folder))
    assert "feature 'action' has no statistics" in messages
    assert "tasks.parquet" in messages


def test_an_unknown_version_is_found(folder: Path) -> None:
    change_json(folder / "meta/info.json", lambda info: info.update(codebase_version="v9.9"))
    assert any("v9.9" in problem.message for problem in check_dataset(folder))


def test_bad_boxes_are_found(folder: Path) -> None:
    def change(rows: list[dict]) -> None:
        rows[1].update(x_m=float("nan"))
        rows[2].update(length_m=-1.0)
        rows[3].update(frame_index=100)

    change_rows(folder / "meta/boxes.parquet", change)
    assert [p.row for p in check_dataset(folder) if p.path.name == "boxes.parquet"] == [1, 2, 3]


def test_broken_tables_and_missing_folders_are_found(folder: Path, tmp_path: Path) -> None:
    (folder / DATA).write_bytes(b"nothing")
    assert any("cannot be read" in problem.message for problem in check_dataset(folder))
    assert check_dataset(tmp_path / "none")
