"""Mosaics have the cameras where they hang; paths land where the ground projects; plots are escaped."""

from dataclasses import replace

import numpy as np
import pytest

from studio.overlays import PathLayer, birds_eye_svg, grid_of, mosaic, upscaled, with_path
from worldmodel.clips import Box
from worldmodel.errors import BadVideo
from worldmodel.geometry import Rig
from worldmodel.town.scene import town_rig


@pytest.mark.parametrize(("cameras", "grid"), [(1, [[0]]), (3, [[0, 1, 2]]), (6, [[0, 1, 2], [3, 4, 5]])])
def test_cameras_hang_as_around_the_car(cameras: int, grid: list[list[int]]) -> None:
    assert grid_of(town_rig(cameras)) == grid


def test_order_in_the_video_does_not_matter() -> None:
    rig = town_rig(3)
    shuffled = Rig(cameras=(rig.cameras[1], rig.cameras[2], rig.cameras[0]))
    assert [shuffled.names[c] for c in grid_of(shuffled)[0]] == ["front_left", "front", "front_right"]


@pytest.mark.parametrize("cameras", [1, 3, 6])
def test_mosaic_has_even_sides_and_all_cameras(cameras: int) -> None:
    rig = town_rig(cameras, 65, 33)
    video = np.zeros((2, cameras, 3, 33, 65), np.uint8)
    for c in range(cameras):
        video[:, c] = 100 + 20 * c
    picture = mosaic(video, rig, tile_width_px=160)
    assert picture.shape[2] % 2 == 0
    assert picture.shape[3] % 2 == 0
    for c in range(cameras):
        assert (picture[0, 0] == 100 + 20 * c).sum() > 1000


def test_mosaic_of_another_number_of_cameras_is_refused() -> None:
    with pytest.raises(BadVideo, match="3 cameras"):
        mosaic(np.zeros((1, 2, 3, 8, 8), np.uint8), town_rig(3))


def test_a_path_is_drawn_where_the_ground_projects() -> None:
    camera = town_rig(1, 320, 160).cameras[0]
    blank = np.zeros((3, 160, 320), np.uint8)
    drawn = with_path(blank, camera, np.array([[10.0, 1.0], [25.0, 3.0]]), "#ff0000")
    for x, y in [(10.0, 1.0), (20.0, 1.0 + 2 * 10 / 15)]:
        (u, v), *_ = camera.project(np.array([[x, y, 0.0]]))[0]
        assert drawn[0, round(v), round(u)] > 100
    assert not drawn[0, :60].any()  # nothing above the horizon
    assert not blank.any()


def test_a_path_behind_the_camera_draws_nothing() -> None:
    rig = town_rig(6, 320, 160)
    back = rig.cameras[rig.index("back")]
    assert not with_path(np.zeros((3, 160, 320), np.uint8), back, np.array([[10.0, 0.0]]), "#ff0000").any()


def test_upscaling_keeps_what_has_the_size() -> None:
    video = np.random.default_rng(0).integers(0, 255, (2, 3, 3, 8, 16), dtype=np.uint8)
    assert upscaled(video, 16, 8) is video
    assert upscaled(video, 32, 16).shape == (2, 3, 3, 16, 32)


def test_plots_are_escaped_and_name_what_they_show() -> None:
    evil = '"><script>alert(1)</script>'
    layer = PathLayer(label=evil, points_m=np.array([[0.0, 0.0], [10.0, 1.0]]), color="#112233")
    box = Box(track=evil, kind="car", center=np.array([8.0, 2.0, 0.7]), size=np.array([4.0, 2.0, 1.4]), yaw_rad=0.1)
    svg = birds_eye_svg([layer], boxes=[box, replace(box, center=np.array([500.0, 0.0, 0.0]))], title=evil)
    assert "<script" not in svg
    assert svg.count("<polygon") == 1
    assert "10 m" in svg


def test_plot_puts_forward_up_and_left_left() -> None:
    svg = birds_eye_svg(
        [PathLayer(label="p", points_m=np.array([[10.0, 2.0]]), color="#112233")], obstacle_m=(12.0, 0.0)
    )
    assert '<polyline points="-2.00,-10.00"' in svg
    assert "obstacle" in svg
