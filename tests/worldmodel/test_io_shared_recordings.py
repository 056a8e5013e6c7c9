"""Import of real recordings that are not part of the repository; skipped where they are absent."""

import csv
from pathlib import Path

import numpy as np
import pytest

from worldmodel.geometry import wrap_angle
from worldmodel.io.check import check_dataset
from worldmodel.io.folder import import_folder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data"),
    pytest.mark.timeout(900),
]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "clips", "cameras", "rate", "origin"),
    [
        ("pandaset_6cam", None, 6, 10, "poses"),
        ("kitti05_stereo", None, 2, 10, "poses"),
        ("udacity_sim_3cam_mit", ["lake_a_00"], 3, 14, "steering (estimated)"),
        ("udacity_sim_3cam", ["jungle_a_00"], 3, 9, "steering (estimated)"),
        ("real_front_calgary", None, 1, 30, "positions (heading estimated)"),
        ("real_front_highway", ["highway_b"], 1, 25, "none"),
        ("real_front_kitti", None, 1, 10, "none"),
    ],
)
def test_every_set_is_imported_and_checks_clean(
    tmp_path: Path, name: str, clips: list[str] | None, cameras: int, rate: int, origin: str
) -> None:
    dataset = import_folder(DATA / name, tmp_path / "out", clips=clips)
    assert (len(dataset.rig), dataset.frequency_hz, dataset.records[0].motion_origin) == (cameras, rate, origin)
    assert dataset.has_motion == (origin != "none")
    assert dataset.rig.nominal == (name != "pandaset_6cam")
    assert check_dataset(dataset.path) == []


def test_pandaset_boxes_project_where_the_set_says(tmp_path: Path) -> None:
    clip = import_folder(DATA / "pandaset_6cam", tmp_path / "out").clip(0)
    errors: list[float] = []
    moving: list[float] = []
    for row in table(DATA / "pandaset_6cam" / "pandaset_002_a.boxes2d.csv"):
        frame, depth = int(row["frame"]), float(row["depth"])
        if frame >= len(clip) or not 8 < depth < 40 or float(row["in_image_fraction"]) < 1:
            continue
        camera = clip.rig.cameras[clip.rig.index(row["camera"])]
        box = next((b for b in clip.boxes[frame] if b.track == row["uuid"]), None)
        pixels, depths, _ = camera.project(box.corners())
        if depths.min() < 1:
            continue
        expected = np.array([float(row[key]) for key in ("x0", "y0", "x1", "y1")])
        errors.append(float(np.abs(np.concatenate([pixels.min(0), pixels.max(0)]) - expected).max()))
        if box.velocity_mps is not None and np.linalg.norm(box.velocity_mps) > 2:
            travel = np.arctan2(box.velocity_mps[1], box.velocity_mps[0])
            moving.append(float(np.abs(wrap_angle(travel - box.yaw_rad))))
    assert len(errors) > 500
    assert np.median(errors) < 3
    assert np.median(moving) < np.radians(15)


def test_kitti_turns_right(tmp_path: Path) -> None:
    dataset = import_folder(DATA / "kitti05_stereo", tmp_path / "out")
    rows = table(DATA / "kitti05_stereo" / "kitti05_a.ego.csv")
    poses = dataset.motion(0).trajectory().poses
    assert poses[-1, 2] < -0.8
    np.testing.assert_allclose(poses[-1], [float(rows[-1][key]) for key in ("x", "y", "yaw")], atol=0.4)


def test_calgary_drives_as_far_as_its_positions_say(tmp_path: Path) -> None:
    dataset = import_folder(DATA / "real_front_calgary", tmp_path / "out", frequency_hz=10)
    rows = table(DATA / "real_front_calgary" / "calgary_a.ego.csv")
    poses = dataset.motion(0).trajectory().poses
    straight = np.hypot(float(rows[-1]["x"]), float(rows[-1]["y"]))
    assert abs(np.hypot(*poses[-1, :2]) / straight - 1) < 0.05
