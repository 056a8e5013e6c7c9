"""Weather and the hour: what they change in a picture, and what they leave alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from worldmodel.errors import UnknownName
from worldmodel.town.looks.falling import _drops
from worldmodel.town.looks.lightmap import LightMap
from worldmodel.town.looks.shading import AIRS, mood
from worldmodel.town.render import Rendering, render, render_scenes
from worldmodel.town.scene import WEATHERS, Body, Building, Cause, Lane, Light, Prop, Scene, Stage, town_rig
from worldmodel.town.setting.layout import light_at

NOON, NIGHT = 12.0, 23.5
RIG = town_rig(1, 96, 56)


def street(weather: str = "clear", hour: float = NOON, *, bodies: bool = True) -> Scene:
    """A straight street with a house, a tree, a lamp on the right at x = 15, and cars; the ego drives at y = -1.75."""
    x = np.arange(-30.0, 161.0)
    lanes = tuple(
        Lane(centre=np.stack([x[::s], np.full_like(x, -s * 1.75)], -1), width_m=3.5, left_line="striped", right_line="edge")
        for s in (1, -1)
    )  # fmt: skip
    stage = Stage(
        lanes=lanes,
        buildings=(Building(x_m=40, y_m=14, yaw_rad=0.1, length_m=14, width_m=9, height_m=8, style=3),),
        props=(Prop(kind="tree", x_m=22, y_m=-9, height_m=6, radius_m=1.6, style=0),
               Prop(kind="lamp", x_m=15, y_m=-6.5, height_m=6.5, radius_m=0.09, style=1)),
    )  # fmt: skip
    cars = tuple(
        Body(track=f"car-{k}", kind="car", length_m=4.4, width_m=1.8, height_m=1.5, color_rgb=(0.7, 0.1, 0.1)) for k in (0, 1)
    ) if bodies else ()  # fmt: skip
    poses = np.array([[18.0, -1.75, 0.0], [34.0, 1.75, np.pi]] if bodies else np.zeros((0, 3))).reshape(1, len(cars), 3)
    count, frames = len(cars), 3
    return Scene(
        id="street-0", situation="street", seed=0, frequency_hz=8.0, stage=stage,
        light=light_at(Light(sun_azimuth_rad=0, sun_elevation_rad=1), weather, hour),
        ego_poses=np.stack([np.arange(frames) * 0.8, np.full(frames, -1.75), np.zeros(frames)], axis=-1),
        ego_speeds_mps=np.full(frames, 6.4), bodies=cars, body_poses=poses.repeat(frames, axis=0),
        body_present=np.ones((frames, count), bool), body_speeds_mps=np.full((frames, count), 2.4),
        body_braking=np.zeros((frames, count), bool), body_indicators=np.zeros((frames, count), np.int8),
        signal_states=np.zeros((frames, 0), np.int8), route=np.array([[0.0, -1.75], [100.0, -1.75]]),
        route_s=np.arange(frames) * 0.8, wish_mps=6.4, ego_braking=np.zeros(frames, bool),
        ego_indicators=np.zeros(frames, np.int8), ego_causes=(Cause(),) * frames,
    )  # fmt: skip


def seen(weather: str, hour: float = NOON, *, bodies: bool = True) -> Rendering:
    return render(street(weather, hour, bodies=bodies), RIG, [0])


def mean_of(rendering: Rendering, code: int) -> np.ndarray:
    """Mean colour of the pixels with an instance code."""
    return rendering.rgb[0, 0].astype(float)[:, rendering.instance[0, 0] == code].mean(axis=1)


@pytest.mark.parametrize("hour", [NOON, NIGHT])
def test_weather_changes_colours_and_neither_depth_nor_instances(hour: float) -> None:
    clear = seen("clear", hour)
    for weather in WEATHERS[1:]:
        other = seen(weather, hour)
        np.testing.assert_array_equal(other.depth_m, clear.depth_m)
        np.testing.assert_array_equal(other.instance, clear.instance)
        assert np.abs(other.rgb.astype(int) - clear.rgb).mean() > 2, weather


@pytest.mark.parametrize("weather", WEATHERS)
def test_every_weather_looks_the_same_alone_in_a_batch_and_with_other_scenes(weather: str) -> None:
    scenes = [street(weather, NIGHT), street("clear", NOON, bodies=False), street(weather, 18.0)]
    rig = town_rig(3, 48, 32)
    together = list(render_scenes([(scene, None) for scene in scenes], rig))
    for scene, whole in zip(scenes, together, strict=True):
        alone = [render(scene, rig, [frame]) for frame in range(3)]
        for name in ("rgb", "depth_m", "instance"):
            np.testing.assert_array_equal(
                getattr(whole, name), np.concatenate([getattr(each, name) for each in alone]), err_msg=name
            )


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("hour", [NOON, 18.8, NIGHT])
def test_no_picture_is_black_burnt_out_or_without_contrast(weather: str, hour: float) -> None:
    picture = seen(weather, hour).rgb.astype(float)
    assert 22 < picture.mean() < 225
    assert picture.std() > 9
    assert (picture.max(axis=2) < 12).mean() < 0.05


def test_snow_whitens_the_ground() -> None:
    clear, snow = (mean_of(seen(weather), -2) for weather in ("clear", "snow"))
    assert snow.mean() > clear.mean() + 30
    assert np.ptp(snow) < 20


def test_wet_asphalt_reflects_what_is_above_it() -> None:
    """A red wall across the road is mirrored in it, and a puddle-free dry road shows nothing of it."""

    def redness(weather: str, wall: bool) -> float:
        scene = street(weather, bodies=False)
        house = Building(x_m=60, y_m=0, yaw_rad=0, length_m=8, width_m=60, height_m=20, style=6)  # brick
        scene = replace(scene, stage=replace(scene.stage, buildings=(house,) if wall else ()))
        seen = render(scene, RIG, [0])
        near = (seen.instance[0, 0] == -2) & (seen.depth_m[0, 0] > 12) & (seen.depth_m[0, 0] < 45)
        color = seen.rgb[0, 0].astype(float)[:, near].mean(axis=1)
        return float(color[0] - color[2])

    assert redness("wet", True) > redness("wet", False) + 5
    assert redness("rain", True) > redness("rain", False) + 3
    assert abs(redness("clear", True) - redness("clear", False)) < 2


def test_lamps_light_the_ground_at_night_only() -> None:
    def gain(hour: float) -> np.ndarray:
        scene = street("clear", hour, bodies=False)
        dark = replace(scene, stage=replace(scene.stage, props=scene.stage.props[:1]))
        with_lamp, without = (render(each, RIG, [0]) for each in (scene, dark))
        both = (with_lamp.instance[0, 0] == -2) & (without.instance[0, 0] == -2)
        return (with_lamp.rgb[0, 0].astype(float) - without.rgb[0, 0])[:, both].mean(axis=1)

    night = gain(NIGHT)
    assert night[0] > 3
    assert night[0] > night[2]  # warm
    assert np.abs(gain(NOON)).max() < 0.5


def test_vehicles_throw_light_ahead_and_red_behind_but_parked_ones_do_not() -> None:
    scene = street("clear", NIGHT)
    parked = replace(scene, body_speeds_mps=np.zeros((3, 2)), body_poses=scene.body_poses + np.array([0.0, 2.3, 0.0]))
    x, y, frame = torch.tensor([30.0, 37.2]), torch.tensor([1.75, 1.75]), torch.tensor([0, 0])
    oncoming, nobody = (replace(scene, body_present=np.array([there] * 3)) for there in ([False, True], [False, False]))
    with_it, without = (torch.stack(LightMap.of(each, [0], "cpu").at(frame, x, y, 0.0)) for each in (oncoming, nobody))
    ahead, behind = (with_it - without).T
    assert ahead.min() > 0.2
    assert behind[0] > 4 * behind[2].abs()
    lane = y + 2.3
    assert torch.stack(LightMap.of(parked, [0], "cpu").at(frame, x, lane, 0.0)).max() < 0.2


def test_brake_lights_glow_at_night() -> None:
    scene = street("clear", NIGHT)
    braking = replace(scene, body_braking=np.ones((3, 2), bool))
    off, on = (render(each, RIG, [0]).rgb[0, 0].astype(float) for each in (scene, braking))
    assert (on[0] - off[0]).max() > 40
    assert (on[0] - off[0]).sum() > 3 * (on[2] - off[2]).sum()


def test_fog_hides_far_things_and_leaves_near_ones() -> None:
    def contrast(weather: str, x_m: float) -> float:
        scene = street(weather, bodies=False)
        tree = Prop(kind="tree", x_m=x_m, y_m=-1.0, height_m=7, radius_m=2.2, style=0)
        with_tree, without = (
            render(replace(scene, stage=replace(scene.stage, props=props)), RIG, [0]) for props in ((tree,), ())
        )
        there = with_tree.instance != without.instance
        return float(np.abs(with_tree.rgb.astype(float) - without.rgb).max(axis=2)[there].mean())

    assert contrast("fog", 120.0) < 0.35 * contrast("clear", 120.0)
    assert contrast("fog", 9.0) > 0.6 * contrast("clear", 9.0)


def test_drops_stay_on_the_lens_from_frame_to_frame_and_every_lens_has_its_own() -> None:
    now, soon, later = (_drops(5, "front", time) for time in (1.0, 1.125, 60.0))
    assert np.median(np.abs(now[:, :2] - soon[:, :2])) < 1e-6
    assert np.median(np.abs(now[:, :2] - later[:, :2])) > 0.02
    assert np.abs(now - _drops(5, "back", 1.0)).max() > 0.1


def test_flakes_and_streaks_move_and_nothing_else_does() -> None:
    scene = street("snow", bodies=False)
    standing = replace(scene, ego_poses=np.tile([0.0, -1.75, 0.0], (3, 1)), ego_speeds_mps=np.zeros(3))
    pictures = render(standing, RIG).rgb.astype(float)
    changed = np.abs(pictures[1] - pictures[0]).max(axis=1) > 3
    assert 0.001 < changed.mean() < 0.2


def test_night_has_stars_where_the_sky_is_clear() -> None:
    empty = replace(street("clear", NIGHT), stage=Stage(lanes=(), buildings=(), props=()))
    cloudy = replace(empty, light=replace(empty.light, weather="overcast"))
    rig = town_rig(3, 160, 96)

    def bright(scene: Scene) -> int:
        seen = render(scene, rig, [0])
        grey = seen.rgb[0].astype(float).mean(axis=1)[:, :24]
        return int((grey > np.median(grey) + 25).sum())

    assert bright(empty) > bright(cloudy) + 5


def test_every_weather_has_an_air_and_others_are_refused() -> None:
    assert set(AIRS) == set(WEATHERS)
    with pytest.raises(UnknownName, match="Did you mean 'snow'"):
        mood(Light(sun_azimuth_rad=0, sun_elevation_rad=1, weather="snwo"))
