import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldmodel.clips import Box, Clip, Instruction
from worldmodel.errors import BadDataset, BadRequest, ClipTooShort, OutputExists, UnknownName
from worldmodel.geometry import Motion, Rig
from worldmodel.io.lerobot import Dataset, find_clip, write_dataset
from worldmodel.io.rig_file import Vehicle, nominal_rig


def make_clip(name: str = "a", frames: int = 12, *, motion: bool = True, rig: Rig | None = None, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    rig = rig or replace(nominal_rig(["front", "left"], 32, 16), nominal=False)
    y, x = np.mgrid[0:16, 0:32]
    video = np.stack(
        [
            np.stack([np.stack([x * 4, y * 8 + 40 * c, np.full_like(x, 12 * i)]) for c in range(2)])
            for i in range(frames)
        ]
    )
    steps = rng.normal([1, 0, 0.02], 0.05, (frames - 1, 3))
    box = Box(track="t", kind="car", center=np.array([9.0, 1, 0.8]), size=np.array([4.5, 1.9, 1.6]), yaw_rad=0.3)
    moving = replace(box, track="u", velocity_mps=np.array([3.0, -1.0]))
    return Clip(
        id=name,
        video=video.astype(np.uint8),
        rig=rig,
        motion=Motion(deltas=steps, period_s=1 / 8) if motion else None,
        motion_origin="poses" if motion else "none",
        frequency_hz=8.0,
        instructions=(Instruction(text="turn left", start_s=0.0, end_s=0.5), Instruction(text="go on", start_s=0.75)),
        boxes=tuple((box, moving) if i % 3 else () for i in range(frames)),
        source="a test",
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("dataset") / "set"
    clips = [make_clip("a"), make_clip("odd:name@x", 20, seed=1)]
    return write_dataset(
        clips, out, name="two clips", vehicle=Vehicle(wheelbase_m=2.7, steering_lock_rad=0.4), notes=("assumed",)
    )


def test_a_clip_comes_back(dataset: Dataset) -> None:
    clip, back = make_clip("a"), dataset.clip(0)
    assert (back.id, back.source, back.motion_origin, back.frequency_hz) == ("a", "a test", "poses", 8.0)
    assert back.instructions == clip.instructions
    np.testing.assert_allclose(back.motion.deltas, clip.motion.deltas, atol=1e-6)
    assert np.abs(back.video.astype(int) - clip.video).mean() < 4
    for camera, other in zip(back.rig.cameras, clip.rig.cameras, strict=True):
        np.testing.assert_array_equal(camera.intrinsics, other.intrinsics)
        np.testing.assert_array_equal(camera.ego_from_camera, other.ego_from_camera)
    assert [[b.track for b in boxes] for boxes in back.boxes] == [[b.track for b in boxes] for boxes in clip.boxes]
    box, expected = back.boxes[1][1], clip.boxes[1][1]
    np.testing.assert_allclose(
        np.r_[box.center, box.size, box.yaw_rad, box.velocity_mps],
        np.r_[expected.center, expected.size, expected.yaw_rad, expected.velocity_mps],
        atol=1e-6,
    )
    assert back.boxes[1][0].velocity_mps is None


def test_dataset_facts(dataset: Dataset) -> None:
    assert (dataset.episodes, dataset.name, dataset.notes) == (2, "two clips", ("assumed",))
    assert (dataset.length(0), dataset.length(1), dataset.frequency_hz) == (12, 20, 8.0)
    assert dataset.vehicle == Vehicle(wheelbase_m=2.7, steering_lock_rad=0.4)
    assert not dataset.rig.nominal
    assert len(dataset.motion(1)) == 19


def test_a_part_equals_the_slice_of_the_whole(dataset: Dataset) -> None:
    whole, part = dataset.clip(1), dataset.clip(1, 0.25, 1.0)
    expected = whole.sliced(0.25, 1.25)
    np.testing.assert_array_equal(part.video, expected.video)
    np.testing.assert_array_equal(part.motion.deltas, expected.motion.deltas)
    assert part.instructions == expected.instructions
    assert [len(b) for b in part.boxes] == [len(b) for b in expected.boxes]


def test_frames_in_any_order(dataset: Dataset) -> None:
    whole = dataset.clip(1).video
    np.testing.assert_array_equal(dataset.frames(1, [19, 0, 7, 7]), whole[[19, 0, 7, 7]])


def test_last_action_repeats_and_is_invalid(dataset: Dataset) -> None:
    rows = pq.read_table(dataset.path / "data/chunk-000/file-000.parquet").to_pylist()
    assert [row["action_valid"] for row in rows] == [True] * 11 + [False] + [True] * 19 + [False]
    assert rows[11]["action"] == rows[10]["action"]
    poses = make_clip("a").motion.trajectory().poses
    np.testing.assert_allclose(rows[11]["observation.state"][2:], poses[11], atol=1e-5)
    np.testing.assert_allclose(rows[0]["observation.state"][0], make_clip("a").motion.speeds_mps[0], atol=1e-5)
    assert [row["index"] for row in rows] == list(range(32))


def test_tasks_are_a_pandas_index(dataset: Dataset) -> None:
    pd = pytest.importorskip("pandas")
    tasks = pd.read_parquet(dataset.path / "meta/tasks.parquet")
    assert list(tasks.index) == ["turn left", "", "go on"]
    assert list(tasks["task_index"]) == [0, 1, 2]


def test_clips_without_motion_have_no_motion_columns(tmp_path: Path) -> None:
    dataset = write_dataset([make_clip(motion=False)], tmp_path / "set", name="x")
    columns = pq.read_schema(tmp_path / "set/data/chunk-000/file-000.parquet").names
    assert not {"action", "action_valid", "observation.state"} & set(columns)
    assert not dataset.has_motion
    assert dataset.clip(0).motion is None


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    other_rig = nominal_rig(["front", "left"], 32, 16, fov_deg=50)
    pairs = [
        ([make_clip("a"), make_clip("b", motion=False)], "motion for all or for none"),
        ([make_clip("a"), make_clip("b", rig=other_rig)], "another rig"),
        ([make_clip("a"), make_clip("a")], "called 'a'"),
        ([], "no clip"),
    ]
    for clips, message in pairs:
        with pytest.raises(BadDataset, match=message):
            write_dataset(clips, tmp_path / "set", name="x")
    assert not list(tmp_path.iterdir())


def test_uneven_rates_are_refused(tmp_path: Path) -> None:
    clip = make_clip(motion=False)
    with pytest.raises(BadDataset, match="whole number"):
        write_dataset([replace(clip, frequency_hz=9.5)], tmp_path / "set", name="x")


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(OutputExists, match="exists already"):
        write_dataset(iter(()), tmp_path / "set", name="x")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputExists, match="cannot write"):
        write_dataset([make_clip()], tmp_path / "file" / "set", name="x")


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    def clips():
        yield make_clip("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(clips(), tmp_path / "set", name="x")
    assert not list(tmp_path.iterdir())


def test_times_outside_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ClipTooShort, match=r"1\.50 s"):
        dataset.clip(0, 1.0, 1.0)
    for start, seconds in ((-1.0, None), (0.0, 0.0), (0.0, -2.0), (float("nan"), None)):
        with pytest.raises(BadRequest):
            dataset.clip(0, start, seconds)
    with pytest.raises(BadRequest, match="episodes 0 to 1"):
        dataset.clip(2)
    with pytest.raises(BadRequest, match="0 to 11"):
        dataset.frames(0, [12])


def test_find_clip(dataset: Dataset) -> None:
    path = str(dataset.path)
    for rest, expected in {
        "": (0, None),
        ":1": (1, None),
        ":a": (0, None),
        ":a@0.5": (0, 0.5),
        ":1@1": (1, 1.0),
        ":odd:name@x": (1, None),
        ":odd:name@x@1.5": (1, 1.5),
    }.items():
        found, episode, seconds = find_clip(path + rest)
        assert (found.path, episode, seconds) == (dataset.path, *expected)


def test_find_clip_with_odd_paths(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset([make_clip()], tmp_path / "a:b@2", name="x")
    assert find_clip(f"{tmp_path}/a:b@2:0@0.5")[1:] == (0, 0.5)


def test_find_clip_says_what_is_wrong(dataset: Dataset, tmp_path: Path) -> None:
    path = str(dataset.path)
    with pytest.raises(BadRequest, match="episodes 0 to 1"):
        find_clip(f"{path}:7")
    with pytest.raises(UnknownName, match="Did you mean 'odd:name@x'"):
        find_clip(f"{path}:odd:nam")
    with pytest.raises(BadRequest, match=r"lasts 1\.50 s"):
        find_clip(f"{path}:0@9")
    with pytest.raises(BadRequest, match="not a time"):
        find_clip(f"{path}:0@soon")
    with pytest.raises(BadDataset, match="names no dataset"):
        find_clip(str(tmp_path / "none"))
    with pytest.raises(BadDataset, match="is missing"):
        find_clip(str(tmp_path))


def plain_lerobot(folder: Path, *, one_file: bool = True) -> Dataset:
    """What others write: no files of ours, two episodes in one video file, tasks per frame."""
    write_dataset([make_clip("a"), make_clip("b", 20, seed=1)], folder, name="x")
    for name in ("rig.json", "clips.json", "boxes.parquet"):
        (folder / "meta" / name).unlink()
    return Dataset.open(folder)


def test_datasets_of_others_get_a_nominal_rig_and_tasks(tmp_path: Path) -> None:
    dataset = plain_lerobot(tmp_path / "set")
    assert dataset.rig.nominal
    assert "nominal rig" in dataset.notes[0]
    clip = dataset.clip(1)
    assert clip.boxes is None
    assert [(i.text, i.start_s, i.end_s) for i in clip.instructions] == [("turn left", 0.0, 0.5), ("go on", 0.75, 2.5)]
    assert dataset.ids == ("episode_000000", "episode_000001")


def test_unknown_actions_are_not_motion(tmp_path: Path) -> None:
    plain_lerobot(tmp_path / "set")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    info["features"]["action"]["names"] = ["steer", "gas", "brake"]
    (tmp_path / "set/meta/info.json").write_text(json.dumps(info))
    assert Dataset.open(tmp_path / "set").clip(0).motion is None


def test_episodes_that_share_a_video_file_are_found_by_time(tmp_path: Path) -> None:
    dataset = plain_lerobot(tmp_path / "set")
    file = tmp_path / "set/meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(file).to_pylist()
    for key in ("front", "left"):
        rows[0] |= {
            f"videos/observation.images.{key}/file_index": 1,
            f"videos/observation.images.{key}/from_timestamp": 0.625,
        }
    pq.write_table(pa.Table.from_pylist(rows), file)
    expected = dataset.frames(1, [5, 6])
    np.testing.assert_array_equal(Dataset.open(tmp_path / "set").frames(0, [0, 1]), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "v2.1"),
        ({"fps": 0}, "fps"),
        ({"features": {}}, "no feature of type 'video'"),
        ({"data_path": "../../{chunk_index}{file_index}"}, "outside the dataset"),
        ({"video_path": "/etc/{video_key}{chunk_index}{file_index}"}, "outside the dataset"),
    ],
)
def test_broken_info_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write_dataset([make_clip()], tmp_path / "set", name="x")
    path = tmp_path / "set/meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadDataset, match=message):
        Dataset.open(tmp_path / "set")


def test_broken_files_are_refused(tmp_path: Path) -> None:
    write_dataset([make_clip()], tmp_path / "set", name="x")
    (tmp_path / "set/data/chunk-000/file-000.parquet").write_bytes(b"no table")
    with pytest.raises(BadDataset, match="cannot be read"):
        Dataset.open(tmp_path / "set").clip(0)
    (tmp_path / "set/meta/clips.json").write_text("{")
    with pytest.raises(BadDataset, match="cannot be read"):
        Dataset.open(tmp_path / "set")
    (tmp_path / "set/meta/info.json").write_text("[]")
    with pytest.raises(BadDataset, match="not an object"):
        Dataset.open(tmp_path / "set")
