import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.errors import (
    BadDataset,
    BadInput,
    BadRequest,
    BadRig,
    BadTable,
    BadVideo,
    ClipTooShort,
    OutputExists,
    UnknownName,
)
from worldmodel.geometry import compose, look_along, matrix_from_pose, relative
from worldmodel.io.ego_log import EgoLog, ego_trajectory
from worldmodel.io.folder import import_folder
from worldmodel.io.lerobot import Dataset, write_dataset
from worldmodel.io.lerobot_import import import_lerobot
from worldmodel.io.pictures import PictureSize, distorted_pixels, fit_camera, fit_pictures, undistort
from worldmodel.io.rig_file import Distortion, nominal_rig
from worldmodel.io.video import write_video

RATE = 10


def picture(frame: int, width: int = 64, height: int = 32) -> np.ndarray:
    """A flat picture whose brightness names the frame."""
    return np.full((3, height, width), 5 * frame + 10, np.uint8)


def frame_numbers(video: np.ndarray) -> list[int]:
    return [round((float(frame.mean()) - 10) / 5) for frame in video]


def recording(
    folder: Path,
    columns: dict[str, np.ndarray] | None = None,
    *,
    clip: str = "a",
    cameras: tuple[str, ...] = ("front",),
    frames: int = 20,
    size: tuple[int, int] = (64, 32),
) -> Path:
    folder.mkdir(exist_ok=True)
    for camera in cameras:
        write_video(folder / f"{clip}.{camera}.mp4", np.stack([picture(i, *size) for i in range(frames)]), RATE)
    if columns is not None:
        table = {"frame": np.arange(frames), "t": np.arange(frames) / RATE, **columns}
        lines = [",".join(table), *(",".join(f"{v:.6f}" for v in row) for row in zip(*table.values(), strict=True))]
        lines[1:] = [line.replace(".000000", "", 1) for line in lines[1:]]
        (folder / f"{clip}.ego.csv").write_text("\n".join(lines) + "\n")
    return folder


def arc(frames: int = 20) -> dict[str, np.ndarray]:
    """A left turn at 5 m/s and 0.3 rad/s, in a frame of its own."""
    poses = [np.array([3.0, -2.0, 2.5])]
    radius, step = 5 / 0.3, 0.3 / RATE
    delta = np.array([radius * np.sin(step), radius * (1 - np.cos(step)), step])
    for _ in range(frames - 1):
        poses.append(compose(poses[-1], delta))
    x, y, yaw = np.array(poses).T
    return {"x": x, "y": y, "yaw": yaw, "speed": np.full(frames, 5.0), "yaw_rate": np.full(frames, 0.3)}


def only(table: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: table[name] for name in names}


def test_poses_come_first(tmp_path: Path) -> None:
    table = arc() | {"yaw_rate": np.full(20, -9.0)}
    dataset = import_folder(recording(tmp_path / "src", table), tmp_path / "out")
    clip = dataset.clip(0)
    assert clip.motion_origin == "poses"
    assert (len(clip), dataset.frequency_hz) == (20, 10.0)
    expected = relative(np.array([3.0, -2.0, 2.5]), np.stack([table["x"], table["y"], table["yaw"]], 1))
    np.testing.assert_allclose(clip.motion.trajectory().poses, expected, atol=1e-4)
    assert frame_numbers(clip.video[:, 0]) == list(range(20))


def test_speed_and_yaw_rate_come_second(tmp_path: Path) -> None:
    dataset = import_folder(recording(tmp_path / "src", only(arc(), "speed", "yaw_rate")), tmp_path / "out")
    motion = dataset.motion(0)
    assert dataset.records[0].motion_origin == "yaw_rate"
    np.testing.assert_allclose(motion.speeds_mps, 5, atol=1e-3)
    np.testing.assert_allclose(motion.yaw_rates_radps, 0.3, atol=1e-4)


def test_positions_alone_give_an_estimated_heading(tmp_path: Path) -> None:
    columns = only(arc(300), "x", "y", "speed")
    log = EgoLog(path=tmp_path, times_s=np.arange(300) / RATE, columns=columns)
    trajectory, origin = ego_trajectory(log, None)
    assert "estimated" in origin
    np.testing.assert_allclose(trajectory.motion().yaw_rates_radps[60:-60], 0.3, atol=0.01)
    dataset = import_folder(recording(tmp_path / "src", only(arc(), "x", "y", "speed")), tmp_path / "out")
    assert dataset.records[0].motion_origin == origin


def test_steering_is_positive_to_the_right_and_marked_estimated(tmp_path: Path) -> None:
    table = {"speed": np.full(20, 5.0), "steering": np.full(20, 0.5)}
    dataset = import_folder(
        recording(tmp_path / "src", table), tmp_path / "out", wheelbase_m=2.5, steering_lock_rad=0.4
    )
    assert dataset.records[0].motion_origin == "steering (estimated)"
    np.testing.assert_allclose(dataset.motion(0).yaw_rates_radps, -5 * np.tan(0.2) / 2.5, atol=1e-4)
    stored = json.loads((tmp_path / "out/meta/rig.json").read_text())["vehicle"]
    assert stored == {"wheelbase_m": 2.5, "steering_lock_rad": 0.4}
    assert not any("assumed for motion" in note for note in dataset.notes)


def test_an_assumed_vehicle_is_said(tmp_path: Path) -> None:
    table = {"speed": np.full(20, 5.0), "steering": np.zeros(20)}
    dataset = import_folder(recording(tmp_path / "src", table), tmp_path / "out")
    assert any("wheelbase 2.7 m" in note and "assumed" in note for note in dataset.notes)


@pytest.mark.parametrize("columns", [None, {}, {"speed": np.full(20, 5.0)}])
def test_missing_motion_is_missing(tmp_path: Path, columns: dict[str, np.ndarray] | None) -> None:
    dataset = import_folder(recording(tmp_path / "src", columns), tmp_path / "out")
    assert not dataset.has_motion
    assert dataset.clip(0).motion is None
    assert any("video only" in note for note in dataset.notes)
    assert dataset.rig.nominal
    assert any("nominal rig" in note for note in dataset.notes)


def test_uneven_times_are_resampled_to_the_nearest_frame(tmp_path: Path) -> None:
    times = np.cumsum([0.0] + [0.08, 0.12] * 9 + [0.1])
    dataset = import_folder(recording(tmp_path / "src", {"t": times}), tmp_path / "out", frequency_hz=5)
    nearest = [int(np.abs(times - k / 5).argmin()) for k in range(len(dataset.clip(0)))]
    assert frame_numbers(dataset.clip(0).video[:, 0]) == nearest


def test_an_uneven_rate_says_which_frames_are_late(tmp_path: Path) -> None:
    times = np.arange(20) / RATE
    times[10:] += 0.14
    dataset = import_folder(recording(tmp_path / "src", {"t": times}), tmp_path / "out", frequency_hz=10)
    assert any("more than half a frame" in note and "'front'" in note for note in dataset.notes)


def test_cameras_of_different_sizes_are_scaled(tmp_path: Path) -> None:
    recording(tmp_path / "src", {}, cameras=("left",), size=(64, 32))
    recording(tmp_path / "src", {}, cameras=("right",), size=(96, 32))
    dataset = import_folder(tmp_path / "src", tmp_path / "out")
    assert (dataset.rig.width_px, dataset.rig.height_px) == (64, 32)
    left, right = dataset.rig.cameras
    np.testing.assert_allclose(right.intrinsics[1, 1] / right.intrinsics[0, 0], 96 / 64)
    np.testing.assert_allclose(left.intrinsics[1, 1], left.intrinsics[0, 0])
    assert any("96x32 scaled to 64x32" in note for note in dataset.notes)


def test_letterboxing_keeps_proportions_and_directions() -> None:
    camera = nominal_rig(["front"], 100, 40).cameras[0]
    size = PictureSize(width_px=64, height_px=64, letterbox=True)
    fitted = fit_camera(camera, size)
    point = np.array([[9.0, 1.5, 1.0]])
    before, after = camera.project(point)[0][0], fitted.project(point)[0][0]
    bar = (64 - 26) // 2
    np.testing.assert_allclose(after, [(before[0] + 0.5) * 0.64 - 0.5, (before[1] + 0.5) * 26 / 40 - 0.5 + bar])
    frames = fit_pictures(np.full((1, 3, 40, 100), 200, np.uint8), size)
    assert frames[0, :, bar : bar + 26].min() == 200
    assert frames[0, :, :bar].max() == frames[0, :, bar + 26 :].max() == 0


def test_undistortion_follows_the_lens_formula() -> None:
    camera = nominal_rig(["front"], 80, 60).cameras[0]
    none = Distortion(model="opencv", coefficients=np.zeros(5))
    u, v = np.meshgrid(np.arange(80), np.arange(60))
    np.testing.assert_allclose(distorted_pixels(camera, none), np.stack([u, v], -1), atol=1e-9)
    barrel = distorted_pixels(
        camera, Distortion(model="opencv", coefficients=np.array([-0.2, 0.05, 0.01, -0.02, 0.001]))
    )
    fx, cx, cy = camera.intrinsics[0, 0], 39.5, 29.5
    x, y = (70 - cx) / fx, (50 - cy) / fx
    r2 = x * x + y * y
    radial = 1 - 0.2 * r2 + 0.05 * r2**2 + 0.001 * r2**3
    expected = x * radial + 2 * 0.01 * x * y - 0.02 * (r2 + 2 * x * x)
    np.testing.assert_allclose(barrel[50, 70, 0], expected * fx + cx)
    fish = distorted_pixels(camera, Distortion(model="fisheye", coefficients=np.zeros(4)))
    angle = np.arctan(np.hypot(x, y))
    np.testing.assert_allclose(np.hypot(*(fish[50, 70] - [cx, cy])) / fx, angle)


def test_a_straight_line_is_straight_again() -> None:
    camera = nominal_rig(["front"], 80, 60).cameras[0]
    lens = Distortion(model="opencv", coefficients=np.array([-0.3, 0.0, 0.0, 0.0, 0.0]))
    ideal = np.zeros((60, 80))
    source = distorted_pixels(camera, lens)
    recorded = np.zeros((1, 3, 60, 80), np.uint8)
    for row in range(60):  # paint the vertical line x = 60 where the lens would show it
        px = np.round(source[row, 60]).astype(int)
        recorded[0, :, px[1], px[0]] = 255
    straight = undistort(recorded, camera, lens)[0, 0]
    columns = [int(straight[row].argmax()) for row in range(10, 50) if straight[row].max() > 60]
    assert len(columns) > 20
    assert max(abs(column - 60) for column in columns) <= 1
    assert ideal.shape == straight.shape


def rig_yaml(folder: Path, **change: object) -> None:
    camera = {
        "name": "front", "width_px": 128, "height_px": 64, "intrinsics": [[100, 0, 63.5], [0, 100, 31.5], [0, 0, 1]],
        "position_m": [1.5, 0, 1.4], "yaw_deg": 0,
    }  # fmt: skip
    (folder / "rig.yaml").write_text(json.dumps({"cameras": [camera | change]}))


def test_a_rig_file_is_scaled_to_the_video(tmp_path: Path) -> None:
    rig_yaml(recording(tmp_path / "src", {}))
    dataset = import_folder(tmp_path / "src", tmp_path / "out")
    assert not dataset.rig.nominal
    np.testing.assert_allclose(dataset.rig.cameras[0].intrinsics[0], [50, 0, 31.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ego_from_camera": np.diag([2.0, 1, 1, 1]).tolist()}, "not a rotation"),
        ({"intrinsics": [[0, 0, 1], [0, 100, 1], [0, 0, 1]]}, "focal"),
        ({"intrinsics": "wide"}, "camera 0"),
        ({"width_px": 64}, "another shape"),
        ({"name": "frnt"}, "only knows frnt"),
        ({"distortion": [0.1, 0.2]}, "5 finite numbers"),
        ({"position_m": [0, 1]}, "three numbers"),
    ],
)
def test_a_bad_rig_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    rig_yaml(recording(tmp_path / "src", {}), **change)
    with pytest.raises(BadRig, match=message):
        import_folder(tmp_path / "src", tmp_path / "out")
    (tmp_path / "src/rig.yaml").write_text("cameras: [")
    with pytest.raises(BadRig, match="cannot be read"):
        import_folder(tmp_path / "src", tmp_path / "out")


def world_recording(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Two cameras with a world pose per frame and one parked car: the true calibration and box are known."""
    table = arc()
    recording(folder, table, cameras=("front", "back"))
    truth = [look_along(0.1, np.array([1.5, 0.2, 1.6])), look_along(np.pi, np.array([-0.5, 0.0, 1.7]))]
    poses: dict[str, list[dict[str, object]]] = {"front": [], "back": []}
    ground = 0.7
    for i in range(20):
        world = matrix_from_pose([table["x"][i] + 100, table["y"][i] + 50, table["yaw"][i]], z_m=ground)
        for name, camera in zip(poses, truth, strict=True):
            matrix = world @ camera
            poses[name].append({"p": matrix[:3, 3].tolist(), "q_wxyz": quaternion(matrix[:3, :3]), "t": i / RATE})
    intrinsics = {name: {"fx": 50, "fy": 50, "cx": 31.5, "cy": 15.5} for name in poses}
    content = {
        "image_size": [64, 32],
        "clip_start_xy": [100, 50],
        "intrinsics_scaled": intrinsics,
        "camera_to_world": poses,
    }
    (folder / "a.cameras.json").write_text(json.dumps(content))
    start = np.array([table["x"][0], table["y"][0], table["yaw"][0]])
    car = compose(start, np.array([12.0, -3.0, 0.4]))
    rows = [
        f"{i},car1,Car,{car[0] + 100},{car[1] + 50},{ground + 0.8},{car[2] - np.pi / 2},1.9,4.6,1.6" for i in range(20)
    ]
    (folder / "a.objects.csv").write_text("\n".join(["frame,uuid,label,x,y,z,yaw,dx,dy,dz", *rows]) + "\n")
    return folder, np.array(truth), start


def quaternion(rotation: np.ndarray) -> list[float]:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return [w, x, y, z]


def test_poses_per_frame_become_the_constant_rig(tmp_path: Path) -> None:
    src, truth, _ = world_recording(tmp_path / "src")
    dataset = import_folder(src, tmp_path / "out")
    assert not dataset.rig.nominal
    for name, expected in zip(("front", "back"), truth, strict=True):
        np.testing.assert_allclose(dataset.rig.cameras[dataset.rig.index(name)].ego_from_camera, expected, atol=1e-4)
    assert any("constant pose fits its frames to 0.000 m" in note for note in dataset.notes)


def test_world_boxes_become_ego_boxes(tmp_path: Path) -> None:
    src, _, _ = world_recording(tmp_path / "src")
    boxes = import_folder(src, tmp_path / "out").clip(0).boxes
    np.testing.assert_allclose(boxes[0][0].center, [12, -3, 0.8], atol=1e-3)
    np.testing.assert_allclose(boxes[0][0].size, [4.6, 1.9, 1.6], atol=1e-6)
    np.testing.assert_allclose(boxes[0][0].yaw_rad, 0.4, atol=1e-4)
    np.testing.assert_allclose(boxes[5][0].velocity_mps, [0, 0], atol=1e-4)
    assert boxes[19][0].center[0] < 6


def test_camera_times_choose_the_frames(tmp_path: Path) -> None:
    src, _, _ = world_recording(tmp_path / "src")
    path = src / "a.cameras.json"
    content = json.loads(path.read_text())
    for pose in content["camera_to_world"]["back"]:
        pose["t"] -= 0.1
    path.write_text(json.dumps(content))
    clip = import_folder(src, tmp_path / "out").clip(0)
    assert frame_numbers(clip.video[:, clip.rig.index("front")]) == list(range(19))
    assert frame_numbers(clip.video[:, clip.rig.index("back")]) == list(range(1, 20))


def test_camera_poses_need_ego_poses(tmp_path: Path) -> None:
    src, _, _ = world_recording(tmp_path / "src")
    (src / "a.ego.csv").unlink()
    with pytest.raises(BadRig, match="needs x, y, yaw"):
        import_folder(src, tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, "2,0.2,nan", "line 4, column 'speed': 'nan'"),
        (3, "2,0.2,fast", "line 4, column 'speed': 'fast'"),
        (3, "2,0.2", "line 4, column 'speed': ''"),
        (3, "2,0.05,5", "line 4: time goes from 0.1 to 0.05"),
        (3, "2,0.1,5", "times must increase|Times must increase"),
        (20, "19,9.0,5", "line 21: a gap of 7.2"),
        (3, "7,0.2,5", "line 4: frame 7"),
    ],
)
def test_a_bad_table_names_the_line(tmp_path: Path, line: int, text: str, message: str) -> None:
    src = recording(tmp_path / "src", {"speed": np.full(20, 5.0)})
    lines = (src / "a.ego.csv").read_text().splitlines()
    lines[line] = text
    (src / "a.ego.csv").write_text("\n".join(lines))
    with pytest.raises(BadTable, match=message):
        import_folder(src, tmp_path / "out")


def test_other_bad_tables_are_refused(tmp_path: Path) -> None:
    src = recording(tmp_path / "src", {"speed": np.full(20, 5.0), "steering": np.full(20, 25.0)})
    with pytest.raises(BadTable, match="between -1 and 1"):
        import_folder(src, tmp_path / "out")
    for content, message in ((b"", "no rows"), (b"frame,speed\n0,1\n", "no column 't'"), (b"\xff\xfe\x00", "CSV")):
        (src / "a.ego.csv").write_bytes(content)
        with pytest.raises(BadTable, match=message):
            import_folder(src, tmp_path / "out")


def test_yaw_in_another_frame_is_refused(tmp_path: Path) -> None:
    table = arc()
    src = recording(tmp_path / "src", table | {"yaw": table["yaw"] - np.pi / 2})
    with pytest.raises(BadTable, match=r"differ by 9\d degrees"):
        import_folder(src, tmp_path / "out")


def test_cameras_of_different_length_are_refused(tmp_path: Path) -> None:
    src = recording(tmp_path / "src", {}, cameras=("front", "left"))
    write_video(src / "a.left.mp4", np.stack([picture(i) for i in range(15)]), RATE)
    with pytest.raises(BadVideo, match=r"a\.left\.mp4' has 15 frames, but 'a\.ego\.csv' has 20 rows"):
        import_folder(src, tmp_path / "out")


def test_cameras_of_different_rate_without_a_table_are_resampled(tmp_path: Path) -> None:
    src = recording(tmp_path / "src", None, cameras=("front", "left"))
    write_video(src / "a.left.mp4", np.stack([picture(i) for i in range(40)]), 2 * RATE)
    clip = import_folder(src, tmp_path / "out", frequency_hz=10).clip(0)
    assert frame_numbers(clip.video[:, clip.rig.index("front")]) == list(range(20))
    assert frame_numbers(clip.video[:, clip.rig.index("left")]) == list(range(0, 40, 2))


@pytest.mark.parametrize("keep", [0.0, 0.6])
def test_a_broken_video_stops_before_anything_is_written(tmp_path: Path, keep: float) -> None:
    src = recording(tmp_path / "src", {}, cameras=("front", "left"))
    data = (src / "a.left.mp4").read_bytes()
    (src / "a.left.mp4").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadVideo, match=r"a\.left\.mp4"):
        import_folder(src, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(BadDataset, match=r"no CLIP\.CAMERA\.mp4"):
        import_folder(tmp_path / "src", tmp_path / "out")
    with pytest.raises(BadDataset, match="not a folder"):
        import_folder(tmp_path / "none", tmp_path / "out")


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputExists):
        import_folder(recording(tmp_path / "src", {}), tmp_path / "out")


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording(tmp_path / "src", {})
    recording(tmp_path / "src", {}, clip="b")
    calls: list[str] = []

    def interrupted(file: Path, indices: np.ndarray) -> np.ndarray:
        calls.append(file.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.stack([picture(i) for i in range(len(indices))])

    monkeypatch.setattr("worldmodel.io.pictures.read_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_folder(tmp_path / "src", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_clips_can_be_chosen_and_mixtures_are_refused(tmp_path: Path) -> None:
    recording(tmp_path / "src", arc(), clip="moves")
    recording(tmp_path / "src", {}, clip="still")
    with pytest.raises(BadDataset, match="motion for all or for none"):
        import_folder(tmp_path / "src", tmp_path / "out")
    with pytest.raises(UnknownName, match="Did you mean 'still'"):
        import_folder(tmp_path / "src", tmp_path / "out", clips=["stil"])
    seen: list[tuple[int, int, str]] = []
    dataset = import_folder(
        tmp_path / "src", tmp_path / "out", clips=["moves"], on_clip=lambda *state: seen.append(state)
    )
    assert (dataset.ids, seen) == (("moves",), [(1, 1, "moves")])


@pytest.mark.parametrize(
    "arguments", [{"frequency_hz": 0}, {"frequency_hz": 9.5}, {"width_px": 63}, {"fov_deg": 200}, {"wheelbase_m": -1}]
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        import_folder(recording(tmp_path / "src", {}), tmp_path / "out", **arguments)


def test_cameras_without_common_time_are_refused(tmp_path: Path) -> None:
    src, _, _ = world_recording(tmp_path / "src")
    content = json.loads((src / "a.cameras.json").read_text())
    for pose in content["camera_to_world"]["back"]:
        pose["t"] += 100
    (src / "a.cameras.json").write_text(json.dumps(content))
    with pytest.raises((ClipTooShort, BadRig)):
        import_folder(src, tmp_path / "out")


def others_dataset(tmp_path: Path) -> Path:
    """A LeRobot dataset without our files and with cameras of two sizes."""
    src = recording(tmp_path / "src", arc(), cameras=("front", "left"))
    dataset = import_folder(src, tmp_path / "theirs")
    for name in ("rig.json", "clips.json"):
        (dataset.path / "meta" / name).unlink()
    write_video(
        dataset.path / "videos/observation.images.left/chunk-000/file-000.mp4",
        np.stack([picture(i, 96, 48) for i in range(20)]),
        RATE,
    )
    path = dataset.path / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"]["observation.images.left"]["shape"] = [48, 96, 3]
    path.write_text(json.dumps(info))
    return dataset.path


def test_datasets_of_others_are_imported(tmp_path: Path) -> None:
    theirs = others_dataset(tmp_path)
    with pytest.raises(BadDataset, match="different sizes"):
        Dataset.open(theirs)
    dataset = import_lerobot(theirs, tmp_path / "out", frequency_hz=5)
    clip = dataset.clip(0)
    assert (dataset.rig.names, dataset.rig.nominal, clip.video.shape) == (("left", "front"), True, (10, 2, 3, 48, 96))
    assert frame_numbers(clip.video[:, 0]) == list(range(0, 20, 2))
    np.testing.assert_allclose(clip.motion.speeds_mps, 5, atol=0.01)
    assert any("nominal" in note for note in dataset.notes)


def test_a_rig_can_be_given_for_datasets_of_others(tmp_path: Path) -> None:
    theirs = others_dataset(tmp_path)
    rig = nominal_rig(["left", "front"], 128, 64, fov_deg=50)
    from worldmodel.io.rig_file import rig_content

    (tmp_path / "rig.json").write_text(json.dumps(rig_content(replace(rig, nominal=False))))
    dataset = import_lerobot(theirs, tmp_path / "out", rig_file=tmp_path / "rig.json")
    assert not dataset.rig.nominal
    assert dataset.rig.names == ("left", "front")
    np.testing.assert_allclose(dataset.rig.cameras[1].intrinsics, rig.scaled(96, 48).cameras[1].intrinsics)
    with pytest.raises(BadRequest):
        import_lerobot(theirs, tmp_path / "out2", frequency_hz=20)
    with pytest.raises(UnknownName):
        import_lerobot(theirs, tmp_path / "out2", clips=["episode_7"])


def test_our_own_dataset_can_be_imported_again(tmp_path: Path) -> None:
    src, _, _ = world_recording(tmp_path / "src")
    first = import_folder(src, tmp_path / "first")
    again = import_lerobot(first.path, tmp_path / "again", width_px=32).clip(0)
    assert (again.rig.width_px, again.rig.height_px) == (32, 16)
    assert len(again.boxes) == len(again)
    np.testing.assert_allclose(again.motion.deltas, first.motion(0).deltas, atol=1e-6)


def test_written_datasets_need_even_sizes(tmp_path: Path) -> None:
    src = recording(tmp_path / "src", {})
    clip = import_folder(src, tmp_path / "out").clip(0)
    odd = replace(clip, video=clip.video[..., :63], rig=clip.rig.scaled(63, 32))
    with pytest.raises(BadVideo, match="even sides"):
        write_dataset([odd], tmp_path / "odd", name="x")
