"""CARLA's driving score: hand-made scenes with one thing wrong each, and the published forms of the penalty."""

from dataclasses import replace

import numpy as np
import pytest
from town_scenes import a_body, a_drive

from eval_fid_fvd.driving_score import (
    NO_FAULT,
    PEDESTRIAN,
    PENALTIES,
    RED_LIGHT,
    STATIC,
    STOP_SIGN,
    VEHICLE,
    Conduct,
    Infraction,
    Referee,
    conduct,
    driving_score,
    summary,
)
from eval_fid_fvd.footprints import LaneMap, corners, rectangles_meet
from eval_fid_fvd.rules import along_route, route_progress
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.town.scene import AMBER, GREEN, RED, Scene, Signal, Stage, StopLine


def kinds(scene: Scene) -> list[str]:
    return [one.kind for one in conduct(scene).infractions]


def test_driving_on_a_free_road_breaks_nothing() -> None:
    found = conduct(a_drive(seconds=4, speed=10))
    assert found.infractions == ()
    assert found.driven_m == pytest.approx(10 * 4, abs=1.5)
    assert found.outside_m == 0
    assert found.penalty() == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("car", VEHICLE),
        ("cyclist", VEHICLE),
        ("bus", VEHICLE),
        ("pedestrian", PEDESTRIAN),
        ("cone", STATIC),
        ("box", STATIC),
    ],
)
def test_running_into_somebody_who_stands_is_counted_once_with_time_and_track(kind: str, expected: str) -> None:
    scene = a_drive(seconds=4, speed=10, bodies=[a_body(kind, "them", at=(20.0, 0.0))])
    (one,) = conduct(scene).infractions
    assert (one.kind, one.track, one.detail) == (expected, "them", "stopped_track")
    gap = 20 - scene.bodies[0].length_m / 2 - 3.7  # to our bumper
    assert one.time_s == pytest.approx(gap / 10, abs=0.13)


def test_being_hit_while_standing_or_from_behind_is_not_our_fault() -> None:
    standing = a_drive(seconds=4, speed=0, bodies=[a_body("car", "them", at=(20.0, 0.0), speed=-8)])
    assert kinds(standing) == [NO_FAULT]
    behind = a_drive(seconds=4, speed=5, bodies=[a_body("car", "them", at=(-12.0, 0.0), speed=12)])
    assert kinds(behind) == [NO_FAULT]
    assert conduct(behind).penalty() == 1


def test_a_touch_from_the_side_is_our_fault_only_between_lanes() -> None:
    beside = a_body("car", "them", at=(1.4, 3.6), speed=8, sideways=-1.0)
    inside = a_drive(seconds=3, speed=8, bodies=[beside])
    assert kinds(inside) == [NO_FAULT]
    between = a_drive(seconds=3, speed=8, y=1.5, bodies=[replace_at(beside, (1.4, 5.1))])
    assert kinds(between) == [VEHICLE]


def replace_at(spec, at):
    return replace(spec, at=at)


def test_who_touches_us_from_the_first_frame_on_is_left_out() -> None:
    assert kinds(a_drive(seconds=2, speed=5, bodies=[a_body("car", "them", at=(4.0, 0.0), speed=5)])) == []


def crossing_line(state: int, *, rule: str = "signal", halt_at_s: float | None = None) -> Scene:
    line = StopLine(x_m=20.0, y_m=0.0, yaw_rad=0.0, width_m=4.0, rule=rule, number=0 if rule == "signal" else -1)
    scene = a_drive(seconds=6, speed=8, halt_at_s=halt_at_s)
    stage = replace(scene.stage, stop_lines=(line,), signals=(Signal(x_m=22.0, y_m=-3.0, yaw_rad=0.0),))
    return replace(scene, stage=stage, signal_states=np.full((len(scene), 1), state, np.int8))


def test_red_lights_are_counted_when_the_nose_crosses_the_line() -> None:
    assert kinds(crossing_line(GREEN)) == []
    assert kinds(crossing_line(AMBER)) == []
    (one,) = conduct(crossing_line(RED)).infractions
    assert (one.kind, one.track) == (RED_LIGHT, "line-0")
    assert one.time_s == pytest.approx((20 - 3.7) / 8, abs=0.13)


def test_a_stop_sign_wants_a_halt_and_a_crosswalk_does_not() -> None:
    assert kinds(crossing_line(GREEN, rule="stop")) == [STOP_SIGN]
    assert kinds(crossing_line(GREEN, rule="stop", halt_at_s=1.5)) == []
    assert kinds(crossing_line(GREEN, rule="crosswalk")) == []


def test_metres_beside_the_road_and_in_the_oncoming_lane_are_outside() -> None:
    assert conduct(a_drive(seconds=4, speed=10, y=4.0)).outside_share == pytest.approx(1.0)
    assert conduct(a_drive(seconds=4, speed=10, y=-8.0)).outside_share == pytest.approx(1.0)
    assert conduct(a_drive(seconds=4, speed=10, y=0.5)).outside_share == 0


def test_watching_a_scene_grow_gives_what_watching_it_whole_gives() -> None:
    scene = a_drive(
        seconds=5, speed=10, bodies=[a_body("car", "a", at=(18.0, 1.0)), a_body("cone", "b", at=(30.0, -1.0))]
    )
    whole = conduct(scene)
    referee = Referee(lanes=LaneMap.of(scene.stage))
    for frames in (1, 3, 4, 15, 16, len(scene)):
        referee.watch(cut(scene, frames))
    assert referee.conduct.infractions == whole.infractions
    assert referee.conduct.driven_m == pytest.approx(whole.driven_m)
    assert len(whole.infractions) == 2


def cut(scene: Scene, frames: int) -> Scene:
    names = [name for name in Scene.__dataclass_fields__ if name in ("ego_causes", "route_s")]
    names += [name for name in Scene.__dataclass_fields__ if name.startswith(("ego_", "body_", "signal_"))]
    return replace(scene, **{name: getattr(scene, name)[:frames] for name in set(names)})


# -- the forms --------------------------------------------------------------------------------------------------


def a_conduct(*which: str, outside: float = 0.0) -> Conduct:
    found = tuple(Infraction(time_s=float(t), kind=kind, track=str(t)) for t, kind in enumerate(which))
    return Conduct(infractions=found, driven_m=100.0, outside_m=100.0 * outside)


def test_the_first_form_multiplies_factors() -> None:
    assert a_conduct(PEDESTRIAN, VEHICLE, STATIC, RED_LIGHT, STOP_SIGN).penalty("1.0") == pytest.approx(
        0.5 * 0.6 * 0.65 * 0.7 * 0.8
    )
    assert a_conduct(VEHICLE, VEHICLE, outside=0.25).penalty("1.0") == pytest.approx(0.6**2 * 0.75)


def test_the_second_form_adds_a_term_for_slowness() -> None:
    one = a_conduct(RED_LIGHT)
    assert one.penalty("2.0") == pytest.approx(0.7)
    assert one.penalty("2.0", speed_share=0.5) == pytest.approx(0.7 * (1 - 0.3 * 0.5))
    assert one.penalty("1.0", speed_share=0.5) == pytest.approx(0.7)


def test_the_third_form_divides_by_a_sum() -> None:
    one = a_conduct(PEDESTRIAN, VEHICLE, VEHICLE, outside=0.5)
    assert one.penalty("2.1") == pytest.approx(0.5 / (1 + 1.0 + 0.7 + 0.7))
    assert a_conduct().penalty("2.1", speed_share=0.0) == pytest.approx(1 / 1.4)


@pytest.mark.parametrize("form", PENALTIES)
def test_contacts_without_fault_cost_nothing_in_any_form(form: str) -> None:
    assert a_conduct(NO_FAULT, NO_FAULT).penalty(form) == 1


def test_the_mean_is_of_products_and_infractions_are_per_completed_kilometre() -> None:
    good, bad = a_conduct(), a_conduct(VEHICLE)
    scores = [driving_score(0.0, 100.0, good), driving_score(100.0, 100.0, bad)]
    found = summary(scores, [good, bad])
    assert found["driving_score"] == pytest.approx((0 + 60) / 2)
    assert found["driving_score"] != pytest.approx(100 * found["route_completion"] * found["penalty"])
    assert found[f"{VEHICLE}_per_km"] == pytest.approx(1 / 0.1)


def test_completion_ends_at_the_routes_end() -> None:
    assert driving_score(120.0, 100.0, a_conduct()).value == 100
    assert driving_score(-3.0, 100.0, a_conduct()).value == 0


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"Known: 1\.0, 2\.0, 2\.1"):
        a_conduct().penalty("3.0")
    with pytest.raises(BadRequest, match="the route needs a length"):
        driving_score(1.0, 0.0, a_conduct())
    with pytest.raises(BadRequest, match="they must be pairs"):
        summary([], [])


# -- geometry ---------------------------------------------------------------------------------------------------


def test_rectangles_meet_as_separating_axes_say() -> None:
    square = corners(np.zeros(3), 2.0, 2.0)
    turned = [corners(np.array([x, 0.0, np.pi / 4]), 2.0, 2.0) for x in (2.3, 2.5)]  # its corner reaches 1.414
    assert rectangles_meet(square, turned[0])
    assert not rectangles_meet(square, turned[1])
    many = corners(np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]]), np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert rectangles_meet(square, many).tolist() == [True, False]


def test_a_route_that_comes_back_to_itself_is_followed_not_jumped_across() -> None:
    angle = np.linspace(0, 4 * np.pi, 400)
    circle = 20 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    along, away = along_route(circle, circle[:350:5], start_s=0.0)
    assert (np.diff(along) > 0).all()
    assert along[-1] == pytest.approx(20 * angle[345], rel=1e-3)
    assert away.max() < 1e-9


def test_progress_is_the_furthest_place_reached() -> None:
    assert route_progress(a_drive(seconds=4, speed=10)) == pytest.approx(10 * (4 - 1 / 8), abs=0.1)
    assert route_progress(a_drive(seconds=4, speed=0)) == 0


def test_a_stage_without_lanes_is_all_outside() -> None:
    scene = a_drive(seconds=1, speed=5)
    empty = replace(scene, stage=Stage(lanes=(), buildings=(), props=()))
    assert conduct(empty).outside_share == 1
