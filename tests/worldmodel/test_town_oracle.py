"""The town's true answers: nothing changes before an edit, and afterwards the expert does what a driver would."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from worldmodel.edits import ChangeWeather, Edit, InsertActor, MoveActor, RemoveActor
from worldmodel.errors import BadEdit, BadRequest, ClipTooShort, UnknownName
from worldmodel.geometry import Array, compose
from worldmodel.town.dataset import clip_of
from worldmodel.town.drivers.cast import draw_body
from worldmodel.town.measures import gaps, measure, rectangle_distances, times_to_collision
from worldmodel.town.oracle import Oracle, Truth, plan_of
from worldmodel.town.scene import Cause, Light, Scene, Stage, town_rig
from worldmodel.town.situations import generator
from worldmodel.town.traffic import SITUATIONS, simulate

ORACLE = Oracle(seconds=6.0)
AT_S = 1.0
FRAME = 8  # of AT_S
STANDING = ("ego_poses", "ego_speeds_mps", "route_s", "ego_braking", "ego_indicators")
MOVING = ("body_poses", "body_present", "body_speeds_mps", "body_braking", "body_indicators")


def road(ego: Array, speed: float, others: list[tuple[str, Array, float]]) -> Scene:
    """A bare scene at 8 Hz: the ego's poses, and (kind, poses, speed) of each other."""
    time, rng = len(ego), generator("street", 0, "test")
    bodies = tuple(
        replace(draw_body(rng, kind, f"{kind}-{i}"), length_m=4.0, width_m=2.0) for i, (kind, _, _) in enumerate(others)
    )
    shape = (time, len(others))
    return Scene(
        id="street-0",
        situation="street",
        seed=0,
        frequency_hz=8.0,
        stage=Stage(lanes=(), buildings=(), props=()),
        light=Light(sun_azimuth_rad=0.0, sun_elevation_rad=1.0),
        ego_poses=ego,
        ego_speeds_mps=np.full(time, speed),
        bodies=bodies,
        body_poses=np.stack([poses for _, poses, _ in others], axis=1) if others else np.zeros((time, 0, 3)),
        body_present=np.ones(shape, bool),
        body_speeds_mps=np.tile([v for _, _, v in others], (time, 1)).reshape(shape),
        body_braking=np.zeros(shape, bool),
        body_indicators=np.zeros(shape, np.int8),
        signal_states=np.zeros((time, 0), np.int8),
        route=np.array([[0.0, 0.0], [100.0, 0.0]]),
        route_s=ego[:, 0],
        wish_mps=speed,
        ego_braking=np.zeros(time, bool),
        ego_indicators=np.zeros(time, np.int8),
        ego_causes=(Cause(),) * time,
    )


def straight(x: float, y: float, speed: float, yaw: float = 0.0, frames: int = 9) -> Array:
    times = np.arange(frames) / 8
    return np.stack([x + speed * times * np.cos(yaw), y + speed * times * np.sin(yaw), np.full(frames, yaw)], axis=1)


# -- measures ---------------------------------------------------------------------------------------------------


def test_the_time_to_a_standing_car_is_gap_over_speed() -> None:
    scene = road(straight(0, 0, 10), 10.0, [("car", straight(30, 0, 0), 0.0)])
    gap = 30 - 2.0 - (1.4 + 2.3)  # half a car of 4 m, and the ego's nose
    np.testing.assert_allclose(gaps(scene)[:, 0], gap - 10 * np.arange(9) / 8, atol=1e-9)
    np.testing.assert_allclose(times_to_collision(scene)[:, 0], gap / 10 - np.arange(9) / 8, atol=1e-9)
    found = measure(scene, 0.5)
    assert found.time_to_collision_s == pytest.approx(gap / 10 - 1.0)
    assert found.minimum_gap_m == pytest.approx(gap - 10)
    assert found.collision_track == found.gap_track == "car-0"
    assert found.stop_distance_m is None
    assert found.stop_s is None


def test_cars_on_crossing_ways_collide_only_if_they_meet() -> None:
    north = straight(20, -20, 10, np.pi / 2)
    scene = road(straight(0, 0, 10), 10.0, [("car", north, 10.0)])
    # the ego's nose is at 3.7 and reaches the other's side (x = 19) after 1.53 s; the other covers y = 0 from 1.705 s on
    assert times_to_collision(scene)[0, 0] == pytest.approx((20 - 2 - 0.95) / 10)
    early = road(straight(0, 0, 10), 10.0, [("car", straight(20, 0, 10, np.pi / 2), 10.0)])
    assert np.isinf(times_to_collision(early)).all()


def test_those_who_follow_pass_or_stand_do_not_collide() -> None:
    behind = road(straight(0, 0, 10), 10.0, [("car", straight(-10, 0, 10), 10.0)])
    assert measure(behind).time_to_collision_s is None
    assert measure(behind).collision_track == ""
    beside = road(straight(0, 0, 10), 10.0, [("car", straight(40, 3, 10, np.pi), 10.0)])
    assert measure(beside).time_to_collision_s is None
    standing = road(straight(0, 0, 0), 0.0, [("car", straight(10, 0, 0), 0.0)])
    assert measure(standing).time_to_collision_s is None
    assert measure(standing).stop_distance_m == 0.0
    assert measure(standing).stop_s == 0.0
    alone = measure(road(straight(0, 0, 10), 10.0, []))
    assert alone.minimum_gap_m is None
    assert alone.gap_track == ""


def test_somebody_who_is_not_there_is_not_near() -> None:
    scene = road(straight(0, 0, 10), 10.0, [("car", straight(10, 0, 0), 0.0)])
    assert measure(replace(scene, body_present=np.zeros((9, 1), bool))).minimum_gap_m is None


def test_the_distance_of_rectangles_is_that_of_their_outlines() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        poses, size = rng.uniform(-5, 5, (2, 3)), rng.uniform(0.5, 6, (2, 2))
        points = [outline(*pair) for pair in zip(poses, size, strict=True)]
        nearest = np.linalg.norm(points[0][:, None] - points[1], axis=-1).min()
        overlap = any(inside(points[a], poses[1 - a], size[1 - a]).any() for a in (0, 1))
        got = rectangle_distances(poses[0], size[0], poses[1], size[1])
        assert got == pytest.approx(0.0 if overlap else nearest, abs=0.05)
        assert got == pytest.approx(rectangle_distances(poses[1], size[1], poses[0], size[0]), abs=1e-9)


def outline(pose: Array, size: Array) -> Array:
    """Points along the edges of a rectangle, a few centimetres apart."""
    t = np.linspace(-0.5, 0.5, 200)
    edges = np.concatenate(
        [np.stack([t, 0 * t + end], -1) for end in (-0.5, 0.5)]
        + [np.stack([0 * t + end, t], -1) for end in (-0.5, 0.5)]
    )
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    return np.asarray(edges * size @ np.array([[cos, sin], [-sin, cos]]) + pose[:2])


def inside(points: Array, pose: Array, size: Array) -> Array:
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    local = (points - pose[:2]) @ np.array([[cos, -sin], [sin, cos]])
    return np.asarray((np.abs(local) <= size / 2).all(axis=1))


# -- before the edit --------------------------------------------------------------------------------------------


def random_edits(rng: np.random.Generator, scene: Scene, at_s: float) -> Iterator[Edit]:
    """One edit of each kind; some cannot be applied."""
    yield InsertActor(
        kind=str(rng.choice(["car", "pedestrian", "cone", "cyclist", "truck"])),
        x_m=float(rng.uniform(8, 45)),
        y_m=float(rng.uniform(-6, 6)),
        yaw_rad=float(rng.uniform(-0.3, 0.3)),
        speed_mps=float(rng.choice([0.0, 3.0])),
        at_s=at_s,
    )
    yield ChangeWeather(weather="fog", hour=float(rng.uniform(0, 24)))
    there = [body.track for body, here in zip(scene.bodies, scene.body_present[0], strict=True) if here]
    if there:
        yield RemoveActor(track=str(rng.choice(there)), at_s=at_s)
        yield MoveActor(track=str(rng.choice(there)), x_m=float(rng.uniform(-4, 4)), y_m=0.5, at_s=at_s)


def assert_same_before(factual: Scene, edited: Scene, frames: int) -> None:
    """Every array bit for bit up to a frame; everything that never moves all the way."""
    count = len(factual.bodies)
    assert edited.bodies[:count] == factual.bodies
    for name in STANDING:
        assert getattr(edited, name)[:frames].tobytes() == getattr(factual, name)[:frames].tobytes(), name
    for name in MOVING:
        assert getattr(edited, name)[:frames, :count].tobytes() == getattr(factual, name)[:frames].tobytes(), name
    assert not edited.body_present[:frames, count:].any()
    assert edited.signal_states.tobytes() == factual.signal_states.tobytes()
    assert edited.ego_causes[:frames] == factual.ego_causes[:frames]
    assert edited.stage.buildings == factual.stage.buildings
    assert edited.stage.props == factual.stage.props
    assert edited.stage.signals == factual.stage.signals
    for ours, theirs in zip(edited.stage.lanes, factual.stage.lanes, strict=True):
        assert ours.centre.tobytes() == theirs.centre.tobytes()


def check_before(situations: list[str], seeds: range) -> int:
    """How many random edits could be applied; each left everything before it alone."""
    applied = 0
    for situation in situations:
        for seed in seeds:
            rng = generator(situation, seed, "random edits")
            scene, at_s = ORACLE.scene(situation, seed), float(rng.uniform(0, 5.5))
            for edit in random_edits(rng, scene, at_s):
                try:
                    edited = ORACLE.edited(scene, edit)
                except (BadEdit, UnknownName):  # no room, or gone by then
                    continue
                applied += 1
                whole = isinstance(edit, ChangeWeather)
                assert_same_before(scene, edited, len(scene) if whole else int(np.ceil(at_s * 8 - 1e-6)))
    return applied


def test_nothing_changes_before_an_edit() -> None:
    assert check_before(["intersection", "street"], range(1)) >= 4


@pytest.mark.slow
def test_nothing_changes_before_any_edit() -> None:
    assert check_before(list(SITUATIONS), range(6)) >= 6 * 2 * len(SITUATIONS)


def test_another_weather_changes_the_light_alone() -> None:
    scene = ORACLE.scene("curvy", 3)
    edited = ORACLE.edited(scene, ChangeWeather(weather="snow", hour=22.0))
    assert_same_before(scene, edited, len(scene))
    assert edited.light != scene.light
    assert edited.light.weather == "snow"
    assert ORACLE.truth(scene, ChangeWeather(weather="snow", hour=22.0)).reaction.kind == "none"


# -- what the expert does ---------------------------------------------------------------------------------------


def lies_straight(scene: Scene) -> bool:
    """Whether the ego drives, with a straight and free lane ahead of it, at AT_S."""
    yaw = scene.ego_poses[FRAME, 2]
    boxes = scene.boxes(FRAME)
    way = scene.route[np.linalg.norm(scene.route - scene.ego_poses[FRAME, :2], axis=1) < 40]
    offset = (way - scene.ego_poses[FRAME, :2]) @ np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    ahead = offset[offset[:, 0] > 0]
    return bool(
        len(ahead)
        and scene.ego_speeds_mps[FRAME] > 3
        and np.abs(ahead[:, 1]).max() < 0.5
        and not any(0 < box.center[0] < 24 and abs(box.center[1]) < 2.5 for box in boxes)
        and scene.ego_speeds_mps[FRAME:].min() > 2  # else it stops anyway
    )


def answers(situations: list[str], seeds: range) -> list[Truth]:
    """What the expert does about a standing car 15 m ahead, in all straight scenes."""
    found = []
    for situation in situations:
        for seed in seeds:
            scene = ORACLE.scene(situation, seed)
            if lies_straight(scene):
                found.append(ORACLE.truth(scene, InsertActor(kind="car", x_m=15.0, y_m=0.0, at_s=AT_S)))
    return found


def share_that_reacts(found: list[Truth]) -> float:
    """By braking or evading."""
    return float(np.mean([truth.reaction.kind in ("brake", "evade") for truth in found]))


def test_a_car_ahead_makes_the_expert_brake_or_evade() -> None:
    found = answers(["street", "empty_road"], range(6))
    assert len(found) >= 3
    assert share_that_reacts(found) == 1.0
    first = found[0]
    assert first.reaction.onset_s is not None
    assert 0 < first.reaction.onset_s < 1.0
    assert first.edited_measures.minimum_gap_m is not None
    assert first.edited_measures.minimum_gap_m < 12


@pytest.mark.slow
def test_a_car_ahead_makes_the_expert_brake_or_evade_everywhere() -> None:
    found = answers(list(SITUATIONS), range(12))
    assert len(found) >= 2 * len(SITUATIONS)
    assert share_that_reacts(found) >= 0.95


def far_aside(scene: Scene) -> InsertActor | None:
    """A parked car 50 m off every road, within 80 m of one; None where there is no such place."""
    ego = scene.ego_poses[FRAME]
    roads = np.concatenate([lane.centre for lane in scene.stage.lanes])
    for x in (15.0, 40.0, -20.0, 70.0):
        for y in (50.0, -50.0, 55.0, -55.0, 62.0, -62.0, 70.0, -70.0):
            place = compose(ego, np.array([x, y, 0.0]))
            if 50.0 <= np.linalg.norm(roads - place[:2], axis=1).min() <= 75.0:
                return InsertActor(kind="car", x_m=x, y_m=y, at_s=AT_S)
    return None


def behind(scene: Scene) -> InsertActor:
    """At the ego's speed and on its path, as far behind as nobody is."""
    driven = scene.trajectory()
    x, y, yaw = driven.seen_from(driven.poses[FRAME]).poses[0]
    return InsertActor(
        kind="car", x_m=x - 8.0, y_m=y, yaw_rad=yaw, speed_mps=float(scene.ego_speeds_mps[FRAME]), at_s=AT_S
    )


def unchanged(scene: Scene, edit: Edit | None) -> bool | None:
    """Whether the ego's arrays stay exactly equal; None where the edit has no room."""
    if edit is None:
        return None
    try:
        edited = ORACLE.edited(scene, edit)
    except BadEdit:
        return None
    return all(getattr(edited, name).tobytes() == getattr(scene, name).tobytes() for name in STANDING)


def test_what_cannot_matter_changes_nothing() -> None:
    for seed in range(4):
        scene = ORACLE.scene("empty_road", seed)
        assert unchanged(scene, far_aside(scene)) in (True, None)
        assert unchanged(scene, behind(scene)) in (True, None)


ONE_LANE = sorted(name for name, config in SITUATIONS.items() if config.road in ("street", "curvy"))


@pytest.mark.slow
def test_what_cannot_matter_changes_nothing_anywhere() -> None:
    aside = {
        (name, seed): unchanged(scene, far_aside(scene))
        for name in SITUATIONS
        for seed in range(4)
        if (scene := ORACLE.scene(name, seed))
    }
    assert [key for key, same in aside.items() if same is False] == []
    assert sum(same is True for same in aside.values()) >= len(SITUATIONS)
    followed = {
        (name, seed): unchanged(scene, behind(scene))
        for name in ONE_LANE
        for seed in range(6)
        if (scene := ORACLE.scene(name, seed))
    }
    assert [key for key, same in followed.items() if same is False] == []
    assert sum(same is True for same in followed.values()) >= len(ONE_LANE)


def test_without_its_leader_the_ego_drives_faster() -> None:
    found = faster_without_leader(["stop_and_go"], range(6))
    assert len(found) >= 2
    assert all(found)


@pytest.mark.slow
def test_without_its_leader_the_ego_drives_faster_anywhere() -> None:
    found = faster_without_leader(list(SITUATIONS), range(10))
    assert len(found) >= 20
    assert np.mean(found) >= 0.95


def faster_without_leader(situations: list[str], seeds: range) -> list[bool]:
    """Whether the ego speeds up, for every scene where a leader alone holds it back for a second after AT_S."""
    found = []
    for situation in situations:
        for seed in seeds:
            scene = ORACLE.scene(situation, seed)
            held = {(cause.kind, cause.track) for cause in scene.ego_causes[FRAME : FRAME + 24]}
            if len(held) != 1 or next(iter(held))[0] != "leader":
                continue
            truth = ORACLE.truth(scene, RemoveActor(track=next(iter(held))[1], at_s=AT_S))
            found.append(truth.reaction.kind == "speed_up" and truth.response.path_length_change_m > 0)
    return found


# -- answers as data --------------------------------------------------------------------------------------------


def free_road() -> Scene:
    for seed in range(300, 340):
        scene = ORACLE.scene("empty_road", seed)
        if scene.ego_speeds_mps[FRAME] > 6 and (np.diff(scene.ego_speeds_mps[FRAME:]) > -0.05).all():
            return scene
    raise AssertionError("no such scene")


def test_the_oracle_knows_when_the_expert_brakes() -> None:
    scene = free_road()
    ahead = scene.trajectory().seen_from(scene.trajectory().poses[FRAME])
    reach = np.linalg.norm(ahead.poses[:, :2], axis=1)
    frame = int(np.argmax((reach > 18) & (np.arange(len(scene)) > FRAME)))
    x, y, yaw = ahead.poses[frame]
    truth = ORACLE.truth(scene, InsertActor(kind="car", x_m=x, y_m=y, yaw_rad=yaw, at_s=AT_S))
    assert truth.brakes
    assert truth.reacts
    assert truth.reaction.kind == "brake"
    assert truth.response.path_length_change_m < -5
    assert truth.response.braking_onset_s is not None
    assert truth.edited_measures.time_to_collision_s is not None
    assert truth.edited_measures.collision_track == truth.edited_measures.gap_track == "inserted-0"
    assert truth.factual_measures.stop_distance_m is None
    beside = ORACLE.truth(scene, InsertActor(kind="cone", x_m=-10, y_m=0, at_s=AT_S))
    assert not beside.brakes
    assert not beside.reacts
    assert beside.reaction.onset_s is None
    assert beside.response.endpoint_shift_m == 0


def test_a_counterfactual_needs_a_factual_scene_and_time_enough() -> None:
    scene = simulate("empty_road", 1, seconds=5)
    cone = InsertActor(kind="cone", x_m=30, y_m=0, at_s=AT_S)
    with pytest.raises(ClipTooShort, match="Simulate longer"):
        ORACLE.truth(scene, cone)
    edited = ORACLE.edited(scene, cone)
    with pytest.raises(BadRequest, match="edited already"):
        ORACLE.edited(edited, cone)
    with pytest.raises(BadEdit, match="5 s"):
        ORACLE.edited(scene, replace(cone, at_s=5.0))


def test_a_plan_needs_four_seconds() -> None:
    scene = simulate("street", 0, seconds=5)
    assert plan_of(scene, 0.5).path_length_m > 5
    with pytest.raises(ClipTooShort, match="Simulate longer"):
        plan_of(scene, 2.0)


def test_the_oracle_renders_the_edited_scene_from_the_edit_on() -> None:
    scene, rig = simulate("empty_road", 2, seconds=1.5, frequency_hz=4), town_rig(3, 32, 16)
    factual = clip_of(scene, rig=rig)
    edited = ORACLE.counterfactual(scene, InsertActor(kind="bus", x_m=14, y_m=0, at_s=1.0), rig=rig)
    assert edited.boxes is not None
    assert "inserted-0" not in {box.track for box in edited.boxes[3]}
    assert "inserted-0" in {box.track for box in edited.boxes[4]}
    assert edited.video[:4].tobytes() == factual.video[:4].tobytes()
    assert (edited.video[4:] != factual.video[4:]).any()
