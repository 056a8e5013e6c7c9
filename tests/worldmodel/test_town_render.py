"""The town's renderer: what is seen where, and that pictures depend on nothing but the scene."""

from dataclasses import replace

import numpy as np
import pytest

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Rig, compose, invert
from worldmodel.town import render as render_module
from worldmodel.town.looks.lane_index import LaneIndex
from worldmodel.town.looks.portrait import Viewer, render_cutout
from worldmodel.town.render import render, render_scenes
from worldmodel.town.scene import KINDS, Body, Building, Cause, Lane, Light, Prop, Scene, Stage, town_rig

RED = (0.9, 0.1, 0.1)
SIZES = {"car": (4.4, 1.8, 1.5), "van": (5.2, 2.0, 2.2), "truck": (9.0, 2.5, 3.5), "bus": (11.5, 2.5, 3.1),
         "pedestrian": (0.5, 0.55, 1.75), "cyclist": (1.8, 0.6, 1.75), "cone": (0.4, 0.4, 0.7),
         "barrier": (0.35, 1.8, 1.0), "box": (0.8, 0.8, 0.7)}  # fmt: skip


def body(kind: str, track: str = "a") -> Body:
    length, width, height = SIZES[kind]
    return Body(track=track, kind=kind, length_m=length, width_m=width, height_m=height, color_rgb=RED)


def lane(offset_m: float, backwards: bool = False) -> Lane:
    x = np.arange(-30.0, 121.0)
    centre = np.stack([x, np.full_like(x, offset_m)], axis=-1)
    return Lane(
        centre=centre[::-1].copy() if backwards else centre, width_m=3.5, left_line="striped", right_line="edge"
    )


def street(*bodies: tuple[Body, tuple[float, float, float]], frames: int = 3, light: Light | None = None) -> Scene:
    """A straight street; the ego drives along it at y = -1.75 and bodies stand at given poses."""
    stage = Stage(
        lanes=(lane(-1.75), lane(1.75, backwards=True)),
        buildings=(Building(x_m=30, y_m=16, yaw_rad=0.1, length_m=12, width_m=9, height_m=8, style=3),),
        props=tuple(Prop(kind=kind, x_m=20 + 4.0 * i, y_m=-7, height_m=5, radius_m=1.2, style=i)
                    for i, kind in enumerate(("tree", "lamp", "pole", "sign"))),
    )  # fmt: skip
    count = len(bodies)
    poses = np.array([pose for _, pose in bodies], np.float64).reshape(1, count, 3).repeat(frames, axis=0)
    poses[:, :, 0] += 0.3 * np.arange(frames)[:, None]
    return Scene(
        id="street-0", situation="street", seed=0, frequency_hz=8.0, stage=stage,
        light=light or Light(sun_azimuth_rad=1.0, sun_elevation_rad=0.7),
        ego_poses=np.stack([np.arange(frames) * 0.8, np.full(frames, -1.75), np.zeros(frames)], axis=-1),
        ego_speeds_mps=np.full(frames, 6.4), bodies=tuple(b for b, _ in bodies), body_poses=poses,
        body_present=np.ones((frames, count), bool), body_speeds_mps=np.full((frames, count), 2.4),
        body_braking=np.zeros((frames, count), bool), body_indicators=np.zeros((frames, count), np.int8),
        signal_states=np.zeros((frames, 0), np.int8), route=np.array([[0.0, -1.75], [100.0, -1.75]]),
        route_s=np.arange(frames) * 0.8, wish_mps=6.4, ego_braking=np.zeros(frames, bool),
        ego_indicators=np.zeros(frames, np.int8), ego_causes=(Cause(),) * frames,
    )  # fmt: skip


def crowded() -> Scene:
    places = [(12, -1.0), (15, 2.0), (28, -3.0), (40, 2.2), (9, 1.2), (10, -4.0), (7, -3.0), (18, 0.5), (8, 0.2)]
    return street(*((body(kind, kind), (x, y, 0.2)) for kind, (x, y) in zip(SIZES, places, strict=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_depth_at_a_body_lies_inside_its_box_and_its_pixels_inside_the_projection(kind: str) -> None:
    scene = street((body(kind), (14.0, -1.2, 0.6)))
    rig = town_rig(1, 160, 96)
    seen = render(scene, rig, [1])
    v, u = np.nonzero(seen.instance[0, 0] == 0)
    assert len(v) > 4
    camera = rig.cameras[0]
    depth = seen.depth_m[0, 0, v, u].astype(np.float64)
    points = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.intrinsics).T * depth[:, None]
    in_ego = points @ camera.ego_from_camera[:3, :3].T + camera.ego_from_camera[:3, 3]
    flat = np.column_stack([in_ego[:, :2], np.zeros(len(in_ego))])
    local = compose(invert(scene.body_poses[1, 0]), compose(scene.ego_poses[1], flat))
    length, width, height = SIZES[kind]
    inside = (np.abs(local[:, 0]) < length / 2 + 0.06) & (np.abs(local[:, 1]) < width / 2 + 0.06)
    inside &= (in_ego[:, 2] > -0.02) & (in_ego[:, 2] < height + 0.02)
    assert inside.mean() >= 0.98


def test_the_nearer_body_hides_the_farther_one() -> None:
    scene = street((body("truck"), (14.0, -1.75, 0.0)), (body("car"), (30.0, -1.75, 0.0)))
    seen = render(scene, town_rig(1), [0]).instance
    assert (seen == 0).any()
    assert not (seen == 1).any()
    gone = replace(scene, body_present=np.array([[False, True]] * 3))
    assert (render(gone, town_rig(1), [0]).instance == 1).any()


def test_a_frame_looks_the_same_alone_in_a_batch_and_again() -> None:
    scene, rig = crowded(), town_rig(3)
    together = render(scene, rig)
    again = render(scene, rig)
    for name in ("rgb", "depth_m", "instance"):
        np.testing.assert_array_equal(getattr(together, name), getattr(again, name))
        for frame in range(3):
            alone = getattr(render(scene, rig, [frame]), name)
            np.testing.assert_array_equal(getattr(together, name)[frame : frame + 1], alone)


def test_scenes_rendered_together_come_in_order_and_equal_those_rendered_alone() -> None:
    rig = town_rig(1, 48, 32)
    requests = [(crowded(), [2, 0]), (street(), None), (crowded(), [1])]
    together = list(render_scenes(requests, rig))
    assert [len(each.rgb) for each in together] == [2, 3, 1]
    for (scene, frames), whole in zip(requests, together, strict=True):
        alone = render(scene, rig, frames)
        for name in ("rgb", "depth_m", "instance"):
            np.testing.assert_array_equal(getattr(whole, name), getattr(alone, name))


def test_work_at_once_is_bounded_for_many_frames_and_for_one_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is asked for, no step works on more pixels than a batch has."""
    sizes = []
    exposed = render_module._exposed

    def counting(shots, quality):  # type: ignore[no-untyped-def]
        sizes.append(sum(len(shot.views) * shot.views.pixels for shot in shots))
        return exposed(shots, quality)

    monkeypatch.setattr(render_module, "_exposed", counting)
    monkeypatch.setattr(render_module, "BATCH_PX", 4096)
    render(crowded(), town_rig(6, 32, 16))
    assert len(sizes) == 3
    assert max(sizes) <= 4096
    sizes.clear()
    large = render(crowded(), town_rig(1, 160, 96), [0])
    assert len(sizes) == 4
    assert max(sizes) <= 4096 + 2 * 160
    monkeypatch.undo()
    whole = render(crowded(), town_rig(1, 160, 96), [0])
    assert (large.instance != whole.instance).mean() < 1e-3
    assert np.abs(large.rgb.astype(int) - whole.rgb).max(axis=2).mean() < 0.05


@pytest.mark.parametrize(("weather", "elevation"), [("clear", 0.7), ("rain", -0.4)])
def test_adaptive_antialiasing_comes_within_40_db_of_full_supersampling(weather: str, elevation: float) -> None:
    light = Light(sun_azimuth_rad=1.0, sun_elevation_rad=elevation, weather=weather)
    scene = replace(crowded(), light=light)
    quick, full = (render(scene, town_rig(1, 224, 128), [0], adaptive=way).rgb.astype(float) for way in (True, False))
    assert 10 * np.log10(255**2 / np.mean((quick - full) ** 2)) >= 40


@pytest.mark.gpu
def test_the_graphics_processor_sees_the_same() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    for weather, elevation in (("clear", 0.7), ("rain", -0.4), ("snow", 0.5)):
        light = Light(sun_azimuth_rad=1.0, sun_elevation_rad=elevation, weather=weather)
        here, there = (render(replace(crowded(), light=light), town_rig(3), [0], device=d) for d in ("cpu", "cuda"))
        assert (here.instance != there.instance).mean() < 1e-3
        same = here.instance == there.instance
        finite = np.isfinite(here.depth_m) & same
        np.testing.assert_allclose(here.depth_m[finite], there.depth_m[finite], rtol=1e-3)
        assert np.abs(here.rgb.astype(int) - there.rgb).mean() < 0.5


def test_permuting_the_cameras_permutes_the_pictures() -> None:
    scene, rig = crowded(), town_rig(3)
    order = [2, 0, 1]
    other = render(scene, Rig(cameras=tuple(rig.cameras[i] for i in order)), [0])
    np.testing.assert_array_equal(render(scene, rig, [0]).rgb[:, order], other.rgb)


def test_sky_is_above_and_ground_below_the_horizon() -> None:
    seen = render(street(), town_rig(1, 128, 64), [0])
    assert seen.rgb.shape == (1, 1, 3, 64, 128)
    assert (seen.instance[0, 0, :8] == -1).all() or (seen.instance[0, 0, :8] == -3).any()
    sky = seen.instance == -1
    assert sky.any()
    assert np.isinf(seen.depth_m[sky]).all()
    assert np.isfinite(seen.depth_m[~sky]).all()
    assert (seen.instance[0, 0, 60] == -2).mean() > 0.9
    assert (seen.instance == -3).any()
    assert {int(code) for code in np.unique(seen.instance)} == {-3, -2, -1}


def test_depth_of_the_ground_is_exact() -> None:
    seen = render(street(), town_rig(1, 128, 64), [0], supersample=1)
    rig = town_rig(1, 128, 64)
    focal, row = rig.cameras[0].intrinsics[1, 1], 60
    expected = 1.5 * focal / (row - rig.cameras[0].intrinsics[1, 2])
    ground = seen.instance[0, 0, row] == -2
    np.testing.assert_allclose(seen.depth_m[0, 0, row][ground], expected, rtol=1e-5)


def test_supersampling_softens_edges_and_leaves_depth_and_instances_alone() -> None:
    scene, rig = crowded(), town_rig(1)
    rough, smooth = (render(scene, rig, [0], supersample=n) for n in (1, 3))
    np.testing.assert_array_equal(rough.instance, smooth.instance)
    np.testing.assert_array_equal(rough.depth_m, smooth.depth_m)
    assert 0.5 < np.abs(rough.rgb.astype(int) - smooth.rgb.astype(int)).mean() < 15


def test_day_is_bright_night_is_dark_and_fog_is_grey() -> None:
    def mean(**light: object) -> np.ndarray:
        sky = Light(**{"sun_azimuth_rad": 1.0, "sun_elevation_rad": 0.7, **light})  # type: ignore[arg-type]
        return render(street(light=sky), town_rig(1), [0]).rgb.astype(float).mean(axis=(0, 1, 3, 4))

    day, night, fog = mean(), mean(sun_elevation_rad=-0.2), mean(weather="fog")
    assert 90 < day.mean() < 175  # golden statistic of the street by day
    assert night.mean() < 0.6 * day.mean()
    assert np.ptp(fog) < np.ptp(day)


def test_brake_lights_make_the_rear_redder() -> None:
    scene = street((body("van"), (12.0, -1.75, 0.0)))
    braking = replace(scene, body_braking=np.ones((3, 1), bool))
    off, on = (render(each, town_rig(1), [0]).rgb[0, 0].astype(int) for each in (scene, braking))
    assert (on[0] - off[0]).max() > 40
    assert ((on - off)[0] >= 0).mean() > 0.99


def test_lines_are_not_painted_across_another_lane() -> None:
    y = np.arange(-30.0, 31.0)
    crossing = Lane(centre=np.stack([np.full_like(y, 12.0), y], -1), width_m=4.0, left_line="none", right_line="none")
    plain = street()
    crossed = replace(plain, stage=replace(plain.stage, lanes=(*plain.stage.lanes, crossing)))
    camera = town_rig(1)
    pixels, _, _ = camera.cameras[0].project(np.stack([np.arange(11.0, 13.1, 0.25), np.full(9, 1.75), np.zeros(9)], -1))
    u, v = np.rint(pixels).astype(int).T
    before, after = (render(each, camera, [0]).rgb[0, 0][:, v, u].astype(int) for each in (plain, crossed))
    assert before.max() > 200  # a dash of the centre line
    assert after.max() < before.max() - 50  # asphalt


def test_the_lane_index_finds_both_lanes_between_them_and_none_far_away() -> None:
    import torch

    index = LaneIndex.of(Stage(lanes=(lane(-1.75), lane(1.75, backwards=True)), buildings=(), props=()))
    found = index.segments[index.near(torch.tensor([10.2, 10.2]), torch.tensor([0.1, 300.0]))][:, :, 9]
    assert sorted(set(found[0].tolist()) - {-1.0}) == [0.0, 1.0]
    assert set(found[1].tolist()) == {-1.0}


def test_a_scene_without_anything_can_be_rendered() -> None:
    empty = replace(street(), stage=Stage(lanes=(), buildings=(), props=()))
    assert {int(code) for code in np.unique(render(empty, town_rig(1), [0]).instance)} == {-2, -1}


@pytest.mark.parametrize(("frames", "advice"), [([], "at least one"), ([3], "0 to 2"), ([-1], "0 to 2")])
def test_impossible_frames_are_refused(frames: list[int], advice: str) -> None:
    with pytest.raises(BadRequest, match=advice):
        render(street(), town_rig(1), frames)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BadRequest, match="1 to 8"):
        render(street(), town_rig(1), [0], supersample=0)
    with pytest.raises(UnknownName, match="Did you mean 'fog'"):
        render(street(light=Light(sun_azimuth_rad=0, sun_elevation_rad=1, weather="fogg")), town_rig(1), [0])
    with pytest.raises(UnknownName, match="kind of body"):
        render(street((replace(body("car"), kind="boat"), (10, 0, 0))), town_rig(1), [0])
    with pytest.raises(BadRequest, match="high"):
        render_cutout(body("car"), Viewer(azimuth_rad=0.0, distance_m=9.0, eye_m=1.5), 0)
    with pytest.raises(BadRequest, match="above the ground"):
        render_cutout(body("car"), Viewer(azimuth_rad=0.0, distance_m=9.0, eye_m=-1.0), 32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sprite_is_tight_and_stands_on_the_ground(kind: str) -> None:
    cut = render_cutout(body(kind), Viewer(azimuth_rad=0.4, distance_m=10.0, eye_m=1.5), 40)
    alpha = cut.rgba[..., 3]
    assert alpha.shape[0] == 40
    assert cut.rgba.dtype == np.uint8
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert edge.max() > 0
    assert alpha.max() == 255
    assert ((alpha > 0) & (alpha < 255)).any()
    assert -0.02 < cut.bottom_m < 0.3  # its nearest foot may stand behind the near side, and is seen above its edge
    assert cut.width_m / cut.height_m == pytest.approx(alpha.shape[1] / 40)


def test_a_sprite_is_what_the_renderer_shows_of_the_body_in_a_street() -> None:
    """Cut out for an eye 10 m behind, put back on the sheet at its near side: the same outline as in the scene."""
    car, camera = body("car"), town_rig(1, 256, 128).cameras[0]
    eye = camera.ego_from_camera[:3, 3]
    near = 12.0
    scene = street((car, (near + car.length_m / 2, -1.75, 0)))
    seen = render(scene, Rig(cameras=(camera,)), [0]).instance[0, 0] == 0
    cut = render_cutout(car, Viewer(azimuth_rad=0.0, distance_m=near - eye[0], eye_m=eye[2]), 64)
    y = -(cut.left_m + np.array([0.0, cut.width_m]))  # right is -y
    z = cut.bottom_m + np.array([0.0, cut.height_m])
    corners, _, _ = camera.project(np.column_stack([np.full(2, near), y, z]))
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert corners[0, 0] == pytest.approx(columns[0] - 0.5, abs=0.6)
    assert corners[1, 0] == pytest.approx(columns[-1] + 0.5, abs=0.6)
    assert corners[1, 1] == pytest.approx(rows[0] - 0.5, abs=0.6)
    assert corners[0, 1] == pytest.approx(rows[-1] + 0.5, abs=0.6)


def test_a_sprite_from_behind_is_symmetric_and_shows_red_lights() -> None:
    blue = replace(body("car"), color_rgb=(0.1, 0.2, 0.9))
    rear, front, side = (
        render_cutout(blue, Viewer(azimuth_rad=azimuth, distance_m=30.0, eye_m=1.0), 48).rgba
        for azimuth in (0.0, np.pi, np.pi / 2)
    )
    assert np.abs(rear[..., 3].astype(int) - rear[:, ::-1, 3].astype(int)).mean() < 6

    def red(picture: np.ndarray) -> int:
        return int(((picture[..., 0] > 110) & (picture[..., 1] < 60) & (picture[..., 2] < 90)).sum())

    assert red(rear) > 20 > red(front)
    assert side.shape[1] > 1.8 * rear.shape[1]
