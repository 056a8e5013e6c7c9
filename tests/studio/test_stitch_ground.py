"""A click finds its place on the road; clicks and roads that make no sense are explained."""

from dataclasses import replace

import numpy as np
import pytest

from studio.ground import Ground, ground_of, ground_point
from worldmodel.clips import Box, Clip
from worldmodel.errors import BadEdit
from worldmodel.geometry import look_along
from worldmodel.town.scene import town_rig

RIG = town_rig(3, 256, 128)


def clip_with_feet(height: float, slope: float, count: int = 30, wrong: int = 0) -> Clip:
    random = np.random.default_rng(3)
    boxes = []
    for number in range(count):
        x, y = random.uniform(5, 50), random.uniform(-15, 15)
        foot = height + slope * x + random.normal(0, 0.05) + (3.0 if number < wrong else 0.0)
        center = np.array([x, y, foot + 0.75])
        boxes.append(Box(track=str(number), kind="car", center=center, size=np.array([4.0, 1.8, 1.5]), yaw_rad=0.3))
    video = np.zeros((1, 3, 3, 128, 256), np.uint8)
    return Clip(id="feet", video=video, rig=RIG, motion=None, frequency_hz=8.0, boxes=(tuple(boxes),))


@pytest.mark.parametrize("ground", [Ground(), Ground(height_m=-0.3, slope_x=0.02, slope_y=-0.01)])
@pytest.mark.parametrize("camera", [0, 1, 2])
def test_a_click_is_the_inverse_of_projection(camera: int, ground: Ground) -> None:
    looking = RIG.cameras[camera]
    for u, v in ((128.0, 90.0), (10.0, 120.0), (250.3, 70.7)):
        x, y = ground_point(looking, u, v, ground)
        height = ground.under(np.array([x, y]))
        pixels, depth, _ = looking.project(np.array([[x, y, float(height)]]))
        np.testing.assert_allclose(pixels[0], [u, v], atol=1e-6)
        assert depth[0] > 0


def test_a_click_above_the_horizon_is_explained() -> None:
    with pytest.raises(BadEdit, match="above the horizon: its ray never meets the road"):
        ground_point(RIG.cameras[1], 128, 20)


def test_a_click_just_below_the_horizon_is_too_far() -> None:
    with pytest.raises(BadEdit, match="so close to the horizon"):
        ground_point(RIG.cameras[1], 128, 51.0)


@pytest.mark.parametrize(("u", "v"), [(-3.0, 90.0), (128.0, 500.0), (float("nan"), 90.0)])
def test_a_click_outside_the_picture_is_explained(u: float, v: float) -> None:
    with pytest.raises(BadEdit, match="is not in the picture of camera 'front'"):
        ground_point(RIG.cameras[1], u, v)


def test_a_camera_below_the_ground_is_explained() -> None:
    buried = replace(RIG.cameras[1], ego_from_camera=look_along(0.0, np.array([1.5, 0.0, -1.2])))
    with pytest.raises(BadEdit, match=r"lies 1\.20 m below the ground by its calibration"):
        ground_point(buried, 128, 90)


def test_the_road_is_fitted_to_labelled_feet_and_mistakes_do_not_count() -> None:
    fitted = ground_of(clip_with_feet(-0.4, 0.01, wrong=3))
    assert fitted.height_m == pytest.approx(-0.4, abs=0.1)
    assert fitted.slope_x == pytest.approx(0.01, abs=0.005)
    assert fitted.source == "fitted to 30 labelled feet"


def test_few_or_contradicting_feet_leave_the_calibrations_road() -> None:
    assert ground_of(clip_with_feet(-0.4, 0.01, count=5)) == Ground()
    assert ground_of(replace(clip_with_feet(0, 0), boxes=None)) == Ground()
    random = np.random.default_rng(0)
    boxes = clip_with_feet(0, 0).boxes
    assert boxes is not None
    wild = tuple(replace(box, center=box.center + np.array([0, 0, random.uniform(-3, 3)])) for box in boxes[0])
    assert ground_of(replace(clip_with_feet(0, 0), boxes=(wild,))) == Ground()


def test_rays_meet_a_sloping_road() -> None:
    ground = Ground(height_m=0.1, slope_x=0.05)
    origin, rays = np.array([1.0, 0.0, 1.6]), np.array([[1.0, 0.0, -0.1], [1.0, 0.0, 0.06], [-1.0, 0.0, 0.0]])
    reach = ground.met_by(origin, rays)
    met = origin + reach[0] * rays[0]
    assert met[2] == pytest.approx(0.1 + 0.05 * met[0])
    assert np.isinf(reach[1:]).all()
