import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from worldmodel.errors import BadMotion, BadRig, UnknownName
from worldmodel.geometry import (
    Camera,
    Motion,
    Rig,
    Trajectory,
    bicycle_yaw_rates,
    compose,
    integrate_rates,
    invert,
    look_along,
    matrix_from_pose,
    mean_pose,
    relative,
    wrap_angle,
)

few = settings(max_examples=40, deadline=None)
metres = st.floats(-1e3, 1e3, allow_nan=False)
angles = st.floats(-20, 20, allow_nan=False)
poses = st.tuples(metres, metres, angles).map(np.array)
deltas = st.lists(st.tuples(st.floats(-3, 3), st.floats(-1, 1), st.floats(-3.1, 3.1)), min_size=1, max_size=30)


def same_pose(a, b, tolerance=1e-9):
    assert_allclose(a[..., :2], b[..., :2], rtol=0, atol=tolerance)
    assert_allclose(wrap_angle(a[..., 2] - b[..., 2]), 0, rtol=0, atol=tolerance)


def camera(width_px=64, height_px=48, yaw=0.3, **changes):
    intrinsics = np.array([[50.0, 0.4, 30.0], [0, 55.0, 22.0], [0, 0, 1]])
    values = {
        "name": "front",
        "intrinsics": intrinsics,
        "ego_from_camera": look_along(yaw, np.array([1.5, 0.2, 1.6]), 0.1),
        "width_px": width_px,
        "height_px": height_px,
    }
    return Camera(**(values | changes))


# -- angles and poses -------------------------------------------------------------------------------------------------


@few
@given(st.floats(-1e4, 1e4, allow_nan=False))
def test_wrapped_angles_lie_in_the_half_open_range_and_point_the_same_way(angle):
    wrapped = float(wrap_angle(angle))
    assert -math.pi < wrapped <= math.pi
    assert_allclose([math.cos(wrapped), math.sin(wrapped)], [math.cos(angle), math.sin(angle)], atol=1e-9)
    assert float(wrap_angle(wrapped)) == pytest.approx(wrapped, abs=1e-15)


@pytest.mark.parametrize("turns", [-3, -1, 1, 3])
@pytest.mark.parametrize("towards", [-100.0, 0.0, 100.0])
def test_half_turns_wrap_to_plus_pi_and_never_to_minus_pi(turns, towards):
    angle = turns * math.pi if towards == 0 else float(np.nextafter(turns * math.pi, towards))
    wrapped = float(wrap_angle(angle))
    assert -math.pi < wrapped <= math.pi
    assert float(wrap_angle(-math.pi)) == math.pi == float(wrap_angle(math.pi))


@few
@given(poses, poses)
def test_composing_and_taking_apart_is_a_round_trip(a, b):
    same_pose(relative(a, compose(a, b)), b)
    same_pose(compose(a, relative(a, b)), b)
    same_pose(invert(invert(a)), np.array([*a[:2], wrap_angle(a[2])]))
    same_pose(compose(a, invert(a)), np.zeros(3))


@few
@given(poses, poses, poses)
def test_composition_is_associative_and_agrees_with_matrices(a, b, c):
    same_pose(compose(compose(a, b), c), compose(a, compose(b, c)), 1e-8)
    assert_allclose(matrix_from_pose(compose(a, b)), matrix_from_pose(a) @ matrix_from_pose(b), atol=1e-9)
    assert_allclose(matrix_from_pose(invert(a)) @ matrix_from_pose(a), np.eye(4), atol=1e-9)


def test_poses_broadcast():
    many = np.random.default_rng(0).normal(size=(5, 1, 3))
    one = np.array([1.0, 2.0, 0.5])
    assert compose(many, one).shape == (5, 1, 3)
    assert_allclose(relative(one, compose(one, many)), many, atol=1e-12)


# -- motion and trajectories ------------------------------------------------------------------------------------------


@few
@given(deltas, st.floats(0.02, 1.0))
def test_motion_and_trajectory_are_a_round_trip(rows, period):
    motion = Motion(deltas=np.array(rows), period_s=period)
    trajectory = motion.trajectory()
    again = trajectory.motion()
    same_pose(again.deltas, motion.deltas)
    assert again.period_s == pytest.approx(period, abs=1e-9)
    same_pose(again.trajectory().poses, trajectory.poses)


@few
@given(deltas, poses)
def test_seen_from_elsewhere_the_steps_are_the_same(rows, pose):
    trajectory = Motion(deltas=np.array(rows), period_s=0.1).trajectory()
    moved = trajectory.seen_from(pose)
    same_pose(moved.motion().deltas, trajectory.motion().deltas, 1e-8)
    same_pose(moved.seen_from(invert(pose)).poses, trajectory.poses, 1e-8)
    assert moved.path_length_m == pytest.approx(trajectory.path_length_m, abs=1e-7)


def test_a_left_turn_has_positive_yaw_and_ends_on_the_left():
    left = Motion(deltas=np.tile([1.0, 0.0, math.pi / 20], (10, 1)), period_s=0.125)
    end = left.trajectory().poses[-1]
    assert end[1] > 3
    assert end[2] == pytest.approx(math.pi / 2)
    assert (left.yaw_rates_radps > 0).all()
    assert_allclose(left.speeds_mps, 8.0)


def test_driving_backwards_is_a_negative_speed():
    assert_allclose(Motion(deltas=np.array([[-1.0, 0.0, 0.0]]), period_s=0.5).speeds_mps, -2.0)


def test_a_slice_of_a_motion_keeps_its_period():
    motion = Motion(deltas=np.arange(12.0).reshape(4, 3), period_s=0.25)[1:3]
    assert_allclose(motion.deltas, [[3, 4, 5], [6, 7, 8]])
    assert motion.period_s == 0.25


def test_resampling_at_its_own_times_changes_nothing_and_between_them_is_linear():
    trajectory = Trajectory(
        poses=np.array([[0, 0, 3.0], [2, 1, -3.0], [4, 0, -2.0]]), times_s=np.array([0.0, 1.0, 3.0])
    )
    assert_allclose(trajectory.resampled(trajectory.times_s).poses, trajectory.poses, atol=1e-12)
    middle = trajectory.resampled(np.array([0.5, 2.0])).poses
    assert_allclose(middle[:, :2], [[1, 0.5], [3, 0.5]])
    assert_allclose(np.abs(middle[0, 2]), math.pi, atol=1e-12)  # the short way round, through pi
    assert middle[1, 2] == pytest.approx(-2.5)


@few
@given(deltas, st.integers(2, 7))
def test_a_finer_grid_and_back_is_a_round_trip(rows, finer):
    trajectory = Motion(deltas=np.array(rows), period_s=0.5).trajectory()
    times = np.linspace(0, trajectory.times_s[-1], (len(trajectory) - 1) * finer + 1)
    same_pose(trajectory.resampled(times).resampled(trajectory.times_s).poses, trajectory.poses)


@pytest.mark.parametrize("times", [[-0.1, 1.0], [0.5, 2.1]])
def test_nothing_is_extrapolated(times):
    trajectory = Motion(deltas=np.ones((2, 3)), period_s=1.0).trajectory()
    with pytest.raises(BadMotion, match="Ask for times inside it"):
        trajectory.resampled(np.array(times))


def test_uneven_times_have_no_motion_until_resampled():
    uneven = Trajectory(poses=np.zeros((3, 3)), times_s=np.array([0.0, 1.0, 1.5]))
    with pytest.raises(BadMotion, match="Call `resampled`"):
        uneven.motion()
    assert len(uneven.resampled(np.array([0.0, 0.5, 1.0, 1.5])).motion()) == 3
    with pytest.raises(BadMotion, match="at least two"):
        Trajectory(poses=np.zeros((1, 3)), times_s=np.zeros(1)).motion()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deltas": np.zeros((3, 2))}, r"must be \[time - 1, 3\]"),
        ({"deltas": np.array([[0, np.nan, 0]])}, r"not finite at index \[0, 1\]. Repair or cut"),
        ({"period_s": 0.0}, "positive number of seconds"),
        ({"period_s": math.nan}, "positive number of seconds"),
        ({"period_s": math.inf}, "positive number of seconds"),
    ],
)
def test_bad_motions_are_refused(changes, message):
    with pytest.raises(BadMotion, match=message):
        Motion(**({"deltas": np.zeros((1, 3)), "period_s": 0.1} | changes))


@pytest.mark.parametrize(
    ("rows", "times", "message"),
    [
        (np.zeros((2, 3)), [0.0], r"needs \[n, 3\] and \[n\]"),
        (np.zeros((0, 3)), [], "n >= 1"),
        (np.zeros((2, 3)), [0.0, 0.0], "times must increase"),
        (np.zeros((2, 3)), [1.0, 0.0], "times must increase"),
        (np.zeros((2, 3)), [0.0, np.nan], "not finite"),
        (np.full((2, 3), np.inf), [0.0, 1.0], "not finite"),
    ],
)
def test_bad_trajectories_are_refused(rows, times, message):
    with pytest.raises(BadMotion, match=message):
        Trajectory(poses=rows, times_s=np.array(times))


# -- how rates become poses -------------------------------------------------------------------------------------------


def test_constant_rates_drive_a_circle():
    speed, rate, times = 5.0, 0.5, np.linspace(0, 4 * math.pi, 9)
    trajectory = integrate_rates(np.full(9, speed), np.full(9, rate), times)
    radius = speed / rate
    assert_allclose(trajectory.poses[:, 0], radius * np.sin(rate * times), atol=1e-9)
    assert_allclose(trajectory.poses[:, 1], radius * (1 - np.cos(rate * times)), atol=1e-9)
    straight = integrate_rates(np.full(9, speed), np.zeros(9), times).poses
    assert_allclose(straight[:, 0], speed * times)


def test_the_bicycle_turns_left_with_positive_steering_on_the_radius_of_its_rear_axle():
    steering, wheelbase, speed = 0.2, 2.7, 6.0
    rate = float(bicycle_yaw_rates(np.array([speed]), np.array([steering]), wheelbase)[0])
    assert speed / rate == pytest.approx(wheelbase / math.tan(steering))
    assert rate > 0
    assert float(bicycle_yaw_rates(speed, -steering, wheelbase)) == -rate


# -- cameras ----------------------------------------------------------------------------------------------------------


def projected_by_hand(c, point):
    """One point, one step at a time."""
    offset = [point[i] - c.ego_from_camera[i, 3] for i in range(3)]
    x, y, z = (sum(c.ego_from_camera[i, axis] * offset[i] for i in range(3)) for axis in range(3))
    k = c.intrinsics
    return (k[0, 0] * x + k[0, 1] * y) / z + k[0, 2], k[1, 1] * y / z + k[1, 2], z


def test_projection_agrees_with_a_loop_over_points():
    points = np.random.default_rng(0).uniform(-30, 30, (300, 3))
    c = camera()
    pixels, depth, visible = c.project(points)
    for i, point in enumerate(points):
        u, v, z = projected_by_hand(c, point)
        assert_allclose(depth[i], z, atol=1e-9)
        assert_allclose(pixels[i], (u, v), rtol=1e-9, atol=1e-7)
        assert visible[i] == (z > 1e-6 and -0.5 < u < c.width_px - 0.5 and -0.5 < v < c.height_px - 0.5)
    assert 5 < visible.sum() < 150


@few
@given(st.floats(-3, 3), st.floats(-0.5, 0.5), st.floats(0.5, 80))
def test_points_along_a_pixels_ray_project_to_that_pixel(yaw, tilt, metres_away):
    c = camera(ego_from_camera=look_along(yaw, np.array([1.0, -0.5, 1.4]), tilt))
    origin, directions = c.rays()
    pixels, _, visible = c.project(origin + metres_away * directions.reshape(-1, 3))
    u, v = np.meshgrid(np.arange(c.width_px), np.arange(c.height_px))
    assert_allclose(pixels, np.stack([u.ravel(), v.ravel()], axis=-1), atol=1e-7)
    assert visible.all()
    assert_allclose(np.linalg.norm(directions, axis=-1), 1)


def test_points_behind_the_camera_are_not_visible():
    c = camera(yaw=0.0)
    ahead = c.ego_from_camera[:3, 3] + np.array([[10.0, 0, -1], [-10.0, 0, 1], [0.0, 0, 0]])
    assert c.project(ahead)[2].tolist() == [True, False, False]
    assert np.isfinite(c.project(ahead)[0]).all()


def test_left_of_the_car_is_left_in_the_picture_and_up_is_up():
    c = camera(yaw=0.0, ego_from_camera=look_along(0.0, np.array([0.0, 0.0, 1.5])))
    pixels, _, _ = c.project(np.array([[10.0, 0, 1.5], [10.0, 1, 1.5], [10.0, 0, 2.5]]))
    assert pixels[1, 0] < pixels[0, 0]
    assert pixels[2, 1] < pixels[0, 1]
    left = look_along(math.pi / 2, np.zeros(3))
    assert_allclose(left[:3, 2], [0, 1, 0], atol=1e-12)  # its optical axis points left


@few
@given(st.integers(8, 200), st.integers(8, 200))
def test_a_scaled_rig_sees_the_same_and_scales_back(width, height):
    rig = Rig(cameras=(camera(), camera(name="left", yaw=1.0)))
    small = rig.scaled(width, height)
    points = np.random.default_rng(1).uniform((3, -3, 0), (40, 20, 3), (50, 3))
    before, depth, visible = rig.project(points)
    after, depth_after, visible_after = small.project(points)
    factor = np.array([width / rig.width_px, height / rig.height_px])
    assert_allclose(after + 0.5, (before + 0.5) * factor, rtol=1e-9, atol=1e-6)
    assert_allclose(depth_after, depth)
    assert (visible_after == visible).all()
    back = small.scaled(rig.width_px, rig.height_px)
    for a, b in zip(back.cameras, rig.cameras, strict=True):
        assert_allclose(a.intrinsics, b.intrinsics, atol=1e-9)


def test_a_rig_stacks_its_cameras_and_finds_them_by_name():
    rig = Rig(cameras=(camera(), camera(name="rear_left", yaw=2.0)))
    assert rig.rays()[1].shape == (2, 48, 64, 3)
    assert_allclose(rig.project(np.ones((4, 3)))[0][1], rig.cameras[1].project(np.ones((4, 3)))[0])
    assert (rig.index("rear_left"), rig.names, len(rig)) == (1, ("front", "rear_left"), 2)
    with pytest.raises(UnknownName, match="Did you mean 'rear_left'"):
        rig.index("rear_lft")


def pose(rotation):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return matrix


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intrinsics": np.eye(4)}, r"need \[3, 3\] and \[4, 4\]"),
        ({"intrinsics": np.diag([0.0, 50, 1])}, "both must be positive"),
        ({"intrinsics": np.diag([50.0, -50, 1])}, "both must be positive"),
        ({"intrinsics": np.diag([np.nan, 50, 1])}, "Check the rig file"),
        ({"ego_from_camera": pose(1.01 * np.eye(3))}, "Check for swapped axes"),
        ({"ego_from_camera": pose(np.diag([1.0, 1, -1]))}, "not a rotation"),
        ({"ego_from_camera": np.full((4, 4), np.inf)}, "not finite"),
        ({"width_px": 0}, "size 0x48"),
    ],
)
def test_bad_calibrations_are_refused(changes, message):
    with pytest.raises(BadRig, match=message):
        camera(**changes)


def test_a_rig_needs_distinct_cameras_of_one_size():
    with pytest.raises(BadRig, match="at least one camera"):
        Rig(cameras=())
    with pytest.raises(BadRig, match="names must differ"):
        Rig(cameras=(camera(), camera()))
    with pytest.raises(BadRig, match="Call `scaled`"):
        Rig(cameras=(camera(), camera(name="other").scaled(32, 24)))
    assert replace(Rig(cameras=(camera(),)), nominal=True).nominal


def test_headings_are_averaged_as_directions() -> None:
    poses = np.array([[0.0, 2.0, 3.0], [2.0, 4.0, -2.8]])
    np.testing.assert_allclose(mean_pose(poses), [1.0, 3.0, 0.1 - np.pi])
    np.testing.assert_allclose(mean_pose(poses[:1]), poses[0])
    batch = np.stack([poses, poses], axis=1)
    np.testing.assert_allclose(mean_pose(batch), [mean_pose(poses)] * 2)
