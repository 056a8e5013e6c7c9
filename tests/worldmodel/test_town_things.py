"""What stands, lies and drives in the town: marks on the road, lamps, bodies, signs, and where things stand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from town_features import SIZES, body, street

from worldmodel.errors import UnknownName
from worldmodel.town.looks.bodies import body_parts
from worldmodel.town.looks.ground import MARKING, PAVEMENT, ROAD, TERRAIN, ground_kind
from worldmodel.town.looks.lamps import BRAKE, LEFT_LAMP, RIGHT_LAMP, SIGNAL_LAMPS, body_lamps
from worldmodel.town.looks.lane_index import LaneIndex
from worldmodel.town.looks.scenery import PROPS, prop_parts
from worldmodel.town.looks.shapes import Form, Parts
from worldmodel.town.looks.signs import SIGN_NUMBERS, SIGNS
from worldmodel.town.masks import SEMANTICS, semantic
from worldmodel.town.render import render
from worldmodel.town.scene import (
    AMBER,
    GREEN,
    HAZARD,
    KINDS,
    LEFT,
    OFF,
    RED,
    RIGHT,
    WEATHERS,
    Crosswalk,
    Prop,
    Signal,
    StopLine,
    town_rig,
)
from worldmodel.town.setting.layout import draw_light
from worldmodel.town.traffic import simulate


def corners(parts: Parts) -> np.ndarray:
    """Outermost points of parts: corners of patches, ends of the axes of ellipsoids."""
    centre, u, v, w = parts.vectors.transpose(1, 0, 2)
    flat = parts.numbers[:, 1] != Form.ELLIPSOID
    found = [centre + a * u + b * v for a in (-1, 1) for b in (-1, 1)]
    reach = np.sqrt(u**2 + v**2 + w**2)
    found = [np.where(flat[:, None], point, centre) for point in found]
    return np.concatenate([*found, *(centre + s * np.where(flat[:, None], 0, reach) for s in (1, -1))])


@pytest.mark.parametrize("kind", KINDS)
def test_every_variant_of_a_body_lies_inside_its_box(kind: str) -> None:
    length, width, height = SIZES[kind]
    for number in range(40):
        parts = body_parts(body(kind, f"{kind}-{number}"))
        points = corners(parts)
        assert np.abs(points[:, 0]).max() <= length / 2 + 0.05
        assert np.abs(points[:, 1]).max() <= width / 2 + 0.05
        assert points[:, 2].min() >= -0.03
        assert points[:, 2].max() <= height + 0.06
        assert len(parts) <= 45


def test_cars_come_in_several_shapes() -> None:
    shapes = {round(float(body_parts(body("car", f"c{n}")).vectors[:, 0].sum()), 6) for n in range(60)}
    assert len(shapes) >= 6


def test_an_unknown_kind_of_prop_is_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'bench'"):
        prop_parts(Prop(kind="bensh", x_m=0, y_m=0, height_m=1, radius_m=1, style=0))


@pytest.mark.parametrize("kind", PROPS)
def test_every_kind_of_prop_can_be_seen(kind: str) -> None:
    prop = Prop(kind=kind, x_m=9.0, y_m=-3.0, height_m=1.5, radius_m=0.9, style=3, yaw_rad=np.pi)
    names = np.array(SEMANTICS)[semantic(street(props=(prop,)), town_rig(1), [0])]
    assert (names == PROPS[kind][1]).sum() > 4


def test_zebra_stop_line_and_teeth_are_marks_on_the_road_and_nowhere_else() -> None:
    stage = street(
        crosswalks=(Crosswalk(x_m=20, y_m=0, yaw_rad=0, length_m=3, width_m=7.4),),
        stop_lines=(
            StopLine(x_m=10, y_m=-1.75, yaw_rad=0, width_m=3.5),
            StopLine(x_m=30, y_m=-1.75, yaw_rad=0, width_m=3.5, kind="teeth"),
        ),
    ).stage
    index = LaneIndex.of(stage)

    def kinds(x: float, y: np.ndarray) -> np.ndarray:
        return ground_kind(index, torch.full((len(y),), x), torch.from_numpy(y).float()).numpy()

    across = np.linspace(-3.3, 3.3, 661)
    assert 0.4 < (kinds(20.0, across) == MARKING).mean() < 0.6  # stripes as wide as the gaps
    assert (kinds(10.0, np.linspace(-3.2, -0.4, 50)) == MARKING).all()
    assert (kinds(10.0, np.linspace(0.4, 3.2, 50)) == ROAD).all()
    base, point = (kinds(30.0 + dx, np.linspace(-3.2, -0.3, 400)) == MARKING for dx in (0.3, -0.3))
    assert base.mean() > 3 * point.mean() > 0  # teeth point at those who come
    assert (kinds(20.0, np.array([-4.0, 4.0, -5.5])) == PAVEMENT).all()
    assert (kinds(20.0, np.array([-9.0, 12.0])) == TERRAIN).all()


def test_indicators_blink_at_one_and_a_half_hertz_and_brakes_do_not() -> None:
    scene = street(*((body("car", track), (12.0, 0, 0)) for track in "abcd"), frames=80)
    states = np.tile(np.array([LEFT, RIGHT, HAZARD, OFF], np.int8), (80, 1))
    scene = replace(scene, frequency_hz=24.0, body_indicators=states, body_braking=np.ones((80, 4), bool))
    codes = body_lamps(scene, list(range(80)))
    assert ((codes & BRAKE) > 0).all()
    left, right = (codes & LEFT_LAMP) > 0, (codes & RIGHT_LAMP) > 0
    np.testing.assert_array_equal(left[:, 2], right[:, 2])
    assert not right[:, 0].any()
    assert not left[:, 1].any()
    assert not (left | right)[:, 3].any()
    for lit in (left[:, 0], right[:, 1], left[:, 2]):
        assert 0.4 < lit.mean() < 0.7
        assert 4 <= np.abs(np.diff(lit.astype(int))).sum() / 2 <= 6  # five blinks in 3.3 seconds


def amber(picture: np.ndarray) -> np.ndarray:
    red, green, blue = picture.astype(int)
    return (red > 170) & (green > 90) & (green < 215) & (blue < 110) & (red - blue > 100)


@pytest.mark.parametrize("kind", ["car", "van", "truck", "bus"])
@pytest.mark.parametrize("turned", [False, True])
def test_an_indicator_shines_on_its_own_side_from_behind_and_from_ahead(kind: str, turned: bool) -> None:
    scene = street((body(kind), (13.0, -1.75, np.pi if turned else 0.0)), frames=16)
    columns = {}
    for state in (LEFT, RIGHT):
        lit = replace(scene, body_indicators=np.full((16, 1), state, np.int8))
        frame = int(np.flatnonzero(body_lamps(lit, list(range(16)))[:, 0])[0])
        on, off = (render(each, town_rig(1, 256, 128), [frame]).rgb[0, 0] for each in (lit, scene))
        new = amber(on) & ~amber(off)
        assert new.sum() >= 2
        columns[state] = np.nonzero(new)[1].mean()
    assert (columns[LEFT] < columns[RIGHT]) != turned


@pytest.mark.parametrize(("state", "tone"), [(RED, (1, -1, -1)), (AMBER, (1, 1, -1)), (GREEN, (-1, 1, -1))])
def test_a_traffic_light_shows_its_state_from_forty_metres(state: int, tone: tuple[int, int, int]) -> None:
    scene = street(states=(state,), signals=(Signal(x_m=40.0, y_m=-4.5, yaw_rad=0.0),))
    signal = semantic(scene, town_rig(1, 128, 64), [0])[0, 0] == SEMANTICS.index("signal")
    picture = render(scene, town_rig(1, 128, 64), [0]).rgb[0, 0].astype(int)
    assert signal.sum() >= 3
    strong = [sign * (value[signal] - 120) > 0 for sign, value in zip(tone, picture, strict=True)]
    assert np.logical_and.reduce(strong).any()


def test_a_traffic_light_is_dark_from_behind() -> None:
    there = replace(street(states=(RED,), signals=(Signal(x_m=14.0, y_m=-3.5, yaw_rad=np.pi),)))
    picture = render(there, town_rig(1, 128, 64), [0]).rgb[0, 0].astype(int)
    signal = semantic(there, town_rig(1, 128, 64), [0])[0, 0] == SEMANTICS.index("signal")
    assert ((picture[0] - picture[1:].max(axis=0))[signal] < 60).all()
    assert len(SIGNAL_LAMPS) == 3


def test_signs_look_different_and_only_from_the_front() -> None:
    looks = []
    for number in range(len(SIGNS)):
        sign = Prop(kind="sign", x_m=7.0, y_m=-2.5, height_m=2.0, radius_m=0.45, style=number, yaw_rad=np.pi)
        looks.append(render(street(props=(sign,)), town_rig(1, 128, 64), [0]).rgb[0, 0].astype(int))
    for number, look in enumerate(looks):
        for other in looks[:number]:
            assert np.abs(look - other).max() > 60
    back = Prop(kind="sign", x_m=7.0, y_m=-2.5, height_m=2.0, radius_m=0.45, style=SIGN_NUMBERS["stop"], yaw_rad=0.0)
    picture = render(street(props=(back,)), town_rig(1, 128, 64), [0]).rgb[0, 0].astype(int)
    front = looks[SIGN_NUMBERS["stop"]]
    assert (front[0] - front[1:].max(axis=0)).max() > 80 > (picture[0] - picture[1:].max(axis=0)).max()


def test_nothing_stands_on_a_lane_and_signs_say_what_is_true() -> None:
    for name, seed, expected in (
        ("traffic_light", 8, "limit_50"),
        ("highway", 4, "limit_100"),
        ("roundabout", 3, "give_way"),
        ("roundabout", 3, "roundabout"),
        ("road_works", 5, "works"),
        ("pedestrian", 3, "crosswalk"),
    ):
        scene = simulate(name, seed=seed, seconds=0.5)
        signs = [SIGNS[prop.style].name for prop in scene.stage.props if prop.kind == "sign"]
        assert expected in signs, (name, signs)
        assert ("works" in signs) == any(body.kind == "barrier" for body in scene.bodies)
        for thing in (*scene.stage.props, *scene.stage.buildings):
            for each in scene.stage.lanes:
                away = np.hypot(*(each.centre - (thing.x_m, thing.y_m)).T).min()
                assert away > each.width_m / 2, (scene.id, thing)


def test_weather_and_hours_have_their_shares() -> None:
    rng = np.random.default_rng(5)
    lights = [draw_light(rng) for _ in range(2000)]
    shares = {name: np.mean([light.weather == name for light in lights]) for name in WEATHERS}
    expected = {"clear": 0.45, "overcast": 0.2, "fog": 0.08, "rain": 0.1, "wet": 0.08, "snow": 0.09}
    assert shares == pytest.approx(expected, abs=0.04)
    heights = np.degrees([light.sun_elevation_rad for light in lights])
    assert (heights > 14).mean() == pytest.approx(0.70, abs=0.04)
    assert (heights < -5).mean() == pytest.approx(0.15, abs=0.03)
