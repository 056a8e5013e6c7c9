import numpy as np
import pytest

from worldmodel.edits import ChangeInstruction, ChangeWeather, InsertActor, MoveActor, RemoveActor
from worldmodel.errors import BadEdit, BadMotion, BadRequest, UnknownName
from worldmodel.geometry import relative, wrap_angle
from worldmodel.town.drivers.expert import boxes_overlap
from worldmodel.town.scene import EGO_BODY, Prop, Scene
from worldmodel.town.traffic import SITUATIONS, EgoState, Simulation, simulate

ARRAYS = ("ego_poses", "ego_speeds_mps", "body_poses", "body_present", "body_speeds_mps", "body_braking")


def same(one: Scene, two: Scene, frames: int | None = None) -> bool:
    count = min(len(one.bodies), len(two.bodies))
    pairs = [(getattr(one, name)[:frames], getattr(two, name)[:frames]) for name in ARRAYS]
    return all(
        np.array_equal(a[:, :count], b[:, :count]) if name.startswith("body") else np.array_equal(a, b)
        for name, (a, b) in zip(ARRAYS, pairs, strict=True)
    )


def ego_centres(scene: Scene) -> np.ndarray:
    yaw = scene.ego_poses[:, 2]
    return scene.ego_poses + 1.4 * np.stack([np.cos(yaw), np.sin(yaw), 0 * yaw], axis=-1)


def overlaps(scene: Scene, every: int = 2) -> list[tuple[int, str, str]]:
    found = []
    centres = ego_centres(scene)
    for t in range(0, len(scene), every):
        there = [(centres[t], EGO_BODY)]
        there += [(scene.body_poses[t, b], scene.bodies[b]) for b in np.flatnonzero(scene.body_present[t])]
        for i, (pose, body) in enumerate(there):
            for other_pose, other in there[:i]:
                if boxes_overlap(pose, body, other_pose, other):
                    found.append((t, body.track, other.track))
    return found


def off_road_m(scene: Scene, every: int = 4) -> float:
    """How far the worst corner of the ego lies beyond every lane."""
    worst = -10.0
    for x, y, yaw in ego_centres(scene)[::every]:
        for u, w in ((2.3, 0.95), (2.3, -0.95), (-2.3, 0.95), (-2.3, -0.95)):
            corner = np.array([x + np.cos(yaw) * u - np.sin(yaw) * w, y + np.sin(yaw) * u + np.cos(yaw) * w])
            gaps = [np.hypot(*(lane.centre - corner).T).min() - lane.width_m / 2 for lane in scene.stage.lanes]
            worst = max(worst, min(gaps))
    return worst


SOME = ("street", "traffic_light", "merge", "remember_roundabout")
EACH = [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in SITUATIONS]


@pytest.mark.parametrize("situation", EACH)
def test_same_arguments_give_the_same_bytes_and_other_seeds_differ(situation: str) -> None:
    one, two = (simulate(situation, 3, seconds=2) for _ in range(2))
    assert same(one, two)
    assert one.bodies == two.bodies
    assert one.stage.buildings == two.stage.buildings
    assert one.light == two.light
    assert one.instructions == two.instructions
    assert not np.array_equal(one.ego_poses, simulate(situation, 4, seconds=2).ego_poses)


def test_a_longer_scene_begins_with_the_shorter_one() -> None:
    short, long = simulate("intersection", 0, seconds=2), simulate("intersection", 0, seconds=5)
    assert same(short, long, frames=len(short))


def test_a_simulation_stepped_by_the_expert_is_the_simulated_scene() -> None:
    simulation = Simulation("street", 1)
    for _ in range(24 * 2 - 3):
        simulation.step()
    assert simulation.time_s == pytest.approx(1.875)
    assert same(simulation.scene(), simulate("street", 1, seconds=2))


def test_somebody_from_outside_drives_the_ego_and_others_react() -> None:
    factual = simulate("stop_and_go", 3, seconds=4)
    simulation = Simulation("stop_and_go", 3)
    x, y, yaw = factual.ego_poses[0]
    for tick in range(60):
        simulation.step(EgoState(x_m=x + 0.2 * tick, y_m=y + 0.1 * tick, yaw_rad=yaw, speed_mps=5.0))
    scene = simulation.scene()
    assert np.array_equal(scene.ego_poses[5], [x + 0.2 * 14, y + 0.1 * 14, wrap_angle(yaw)])
    assert scene.ego_speeds_mps[5] == 5.0
    assert scene.route_s[-1] != scene.route_s[0]
    with pytest.raises(BadMotion, match="finite"):
        EgoState(x_m=float("nan"), y_m=0.0, yaw_rad=0.0, speed_mps=0.0)


def test_the_expert_can_take_over() -> None:
    simulation = Simulation("street", 1)
    x, y, yaw = simulation.scene().ego_poses[0]
    simulation.step(EgoState(x_m=x, y_m=y, yaw_rad=yaw, speed_mps=4.0))
    for _ in range(71):
        simulation.step()
    moved = relative(np.array([x, y, yaw]), simulation.scene().ego_poses[-1])
    assert moved[0] > 5


def test_frames_of_another_rate_are_the_same_moments() -> None:
    slow, fast = simulate("street", 1, seconds=3, frequency_hz=4), simulate("street", 1, seconds=3, frequency_hz=12)
    assert np.array_equal(slow.ego_poses, fast.ego_poses[::3])
    assert len(slow) == 12


def test_the_global_generator_is_left_alone() -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    simulate("highway", 2, seconds=1)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.parametrize("situation", EACH)
def test_nobody_drives_through_anybody_and_the_ego_stays_on_asphalt(situation: str) -> None:
    for seed in range(2):
        simulation = Simulation(situation, seed)
        for _ in range(24 * 6):
            simulation.step()
        scene = simulation.scene()
        assert simulation.crowd.crashes == []
        assert overlaps(scene) == []
        assert off_road_m(scene) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nobody_drives_through_anybody_over_many_seeds(situation: str) -> None:
    for seed in range(100, 115):
        assert overlaps(simulate(situation, seed, seconds=10), every=1) == []


def test_traffic_keeps_right_and_a_left_turn_has_positive_yaw() -> None:
    left, right = (simulate("intersection", seed, seconds=20) for seed in (5, 1))  # seeds divisible by 5 turn left
    assert np.degrees(wrap_angle(np.diff(left.ego_poses[:, 2])).sum()) == pytest.approx(90, abs=15)
    assert np.degrees(wrap_angle(np.diff(right.ego_poses[:, 2])).sum()) == pytest.approx(-90, abs=15)


def test_a_car_in_the_right_lane_has_negative_y_and_oncoming_cars_have_positive_y() -> None:
    lanes = simulate("highway", 1, seconds=1)
    sides = []
    for seed in range(6):
        scene = simulate("street", seed, seconds=1)
        poses = relative(scene.ego_poses[0], scene.body_poses[0])
        cars = [b for b, body in enumerate(scene.bodies) if body.kind == "car" and scene.body_speeds_mps[0, b] > 3]
        sides += [poses[b, 1] for b in cars if abs(poses[b, 2]) > 2.8 and abs(poses[b, 0]) < 60]
    assert sides
    assert min(sides) > 0
    edge = next(lane for lane in lanes.stage.lanes if lane.width_m == 2.0)
    nearest = relative(
        lanes.ego_poses[0],
        np.array([*edge.centre[np.argmin(np.hypot(*(edge.centre - lanes.ego_poses[0, :2]).T))], 0.0]),
    )
    assert nearest[1] < 0  # our own hard shoulder lies to the right


@pytest.mark.parametrize("situation", EACH)
def test_the_ego_moves_like_a_car(situation: str) -> None:
    for seed in (11, 12):
        scene = simulate(situation, seed, seconds=6)
        steps = relative(scene.ego_poses[:-1], scene.ego_poses[1:])
        assert np.abs(steps[:, 1]).max() < 0.25  # the rear axle does not slide sideways
        yaw_rate = np.abs(steps[:, 2]) * 8
        assert (yaw_rate * scene.ego_speeds_mps[1:]).max() < 3.5
        assert np.abs(np.diff(scene.ego_speeds_mps)).max() * 8 < 9.0


def test_houses_and_trees_keep_off_the_road() -> None:
    for situation in SOME:
        stage = simulate(situation, 5, seconds=2).stage
        assert stage.props
        for thing in (*stage.props, *stage.buildings):
            place = np.array([thing.x_m, thing.y_m])
            gap = min(np.hypot(*(lane.centre - place).T).min() - lane.width_m / 2 for lane in stage.lanes)
            assert gap > (2.5 if not isinstance(thing, Prop) or thing.kind == "tree" else 0.4)  # signs stand close


def straight_free_scene() -> tuple[int, Scene]:
    for seed in range(200, 260):
        scene = simulate("street", seed, seconds=6)
        moving = scene.ego_speeds_mps[0] > 7
        straight = np.abs(wrap_angle(scene.ego_poses[:, 2] - scene.ego_poses[0, 2])).max() < 0.02
        poses = relative(scene.ego_poses[0], scene.body_poses[0])
        free = not ((poses[:, 0] > 0) & (poses[:, 0] < 60) & (np.abs(poses[:, 1]) < 2.2)).any()
        if moving and straight and free and (np.diff(scene.ego_speeds_mps) > -0.1).all():
            return seed, scene
    raise AssertionError("no such scene")


def test_the_expert_brakes_for_a_car_in_its_lane_and_not_for_one_far_off() -> None:
    seed, scene = straight_free_scene()
    near = simulate("street", seed, seconds=6, edits=[InsertActor(kind="car", x_m=15, y_m=0, at_s=1)])
    assert near.ego_speeds_mps[-1] < 0.5
    assert overlaps(near) == []
    far = simulate("street", seed, seconds=6, edits=[InsertActor(kind="car", x_m=15, y_m=50, at_s=1)])
    assert np.array_equal(far.ego_poses, scene.ego_poses)
    assert len(far.bodies) == len(scene.bodies) + 1
    walker = InsertActor(kind="pedestrian", x_m=20, y_m=-3.5, yaw_rad=np.pi / 2, speed_mps=1.4, at_s=1)
    assert simulate("street", seed, seconds=6, edits=[walker]).ego_speeds_mps.min() < scene.ego_speeds_mps.min() - 1


@pytest.mark.parametrize("at_s", [0.0, 1.5, 2.9])
def test_before_an_edit_the_scene_is_the_factual_one(at_s: float) -> None:
    factual = simulate("slow_truck", 4, seconds=4)
    first = round(at_s * 8)
    for edit in (
        InsertActor(kind="cone", x_m=12, y_m=0, at_s=at_s),
        RemoveActor(track=factual.bodies[0].track, at_s=at_s),
        MoveActor(track=factual.bodies[0].track, x_m=-1, y_m=0, at_s=at_s),
    ):
        edited = simulate("slow_truck", 4, seconds=4, edits=[edit])
        assert same(factual, edited, frames=first)
        assert not same(factual, edited) or len(edited.bodies) > len(factual.bodies)
        assert edited.stage.buildings == factual.stage.buildings


def test_no_edit_is_the_factual_scene_and_a_removed_actor_is_gone() -> None:
    factual = simulate("slow_truck", 4, seconds=4)
    assert same(factual, simulate("slow_truck", 4, seconds=4, edits=()))
    gone = simulate("slow_truck", 4, seconds=4, edits=[RemoveActor(track=factual.bodies[0].track, at_s=1)])
    assert gone.body_present[7, 0]
    assert not gone.body_present[8:, 0].any()
    assert gone.ego_speeds_mps[-1] > factual.ego_speeds_mps[-1]


def test_weather_changes_the_light_alone() -> None:
    factual = simulate("curvy", 2, seconds=2)
    foggy = simulate("curvy", 2, seconds=2, edits=[ChangeWeather(weather="fog", hour=9)])
    assert same(factual, foggy)
    assert foggy.light.weather == "fog"
    assert foggy.light.hour == 9


def test_the_sun_is_high_at_noon_and_in_the_east_in_the_morning() -> None:
    light = {
        hour: simulate("street", 0, seconds=1, edits=[ChangeWeather(weather="clear", hour=hour)]).light
        for hour in (0, 8, 12)
    }
    assert light[12].sun_elevation_rad > light[8].sun_elevation_rad > 0 > light[0].sun_elevation_rad
    assert np.cos(light[8].sun_azimuth_rad) > 0
    assert np.sin(light[12].sun_azimuth_rad) < 0  # south


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (ChangeInstruction(text="stop"), BadEdit, "ChangeInstruction"),
        (ChangeWeather(weather="hail"), BadEdit, "clear, overcast, fog, rain, wet, snow"),
        (ChangeWeather(weather="fog", hour=30), BadEdit, "between 0 and 24"),
        (InsertActor(kind="cat", x_m=9, y_m=0), UnknownName, "Known"),
        (InsertActor(kind="car", x_m=1, y_m=0), BadEdit, "into 'ego'"),
        (InsertActor(kind="car", x_m=0, y_m=900), BadEdit, "off the map"),
        (InsertActor(kind="car", x_m=float("nan"), y_m=0), BadEdit, "finite"),
        (InsertActor(kind="car", x_m=9, y_m=0, speed_mps=-3), BadEdit, "speed"),
        (InsertActor(kind="car", x_m=15, y_m=0, at_s=9), BadEdit, "9 s"),
        (RemoveActor(track="car-99"), UnknownName, "track"),
        (MoveActor(track="car-99", x_m=1, y_m=1), UnknownName, "track"),
    ],
)
def test_impossible_edits_are_explained(edit: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        simulate("street", 0, seconds=2, edits=[edit])  # type: ignore[list-item]


def test_bad_requests_are_explained() -> None:
    with pytest.raises(UnknownName, match="intersection"):
        simulate("intersecton", 0, seconds=2)
    for seed in (-1, 2**63, 1.5, True):
        with pytest.raises(BadRequest, match="seed"):
            simulate("street", seed, seconds=2)  # type: ignore[arg-type]
    for seconds in (0, -1, 1e9, float("nan"), 0.01):
        with pytest.raises(BadRequest, match="Choose a duration"):
            simulate("street", 0, seconds=seconds)
    for rate in (0, -8, 7, 30, float("inf")):
        with pytest.raises(BadRequest, match="ticks at 24"):
            simulate("street", 0, seconds=2, frequency_hz=rate)


def test_instructions_hold_until_the_manoeuvre_is_done() -> None:
    scene = simulate("intersection", 5, seconds=20)
    first, after = scene.instructions
    assert first.end_s == after.start_s < 20
    frame = round(first.end_s * 8)
    turned = np.degrees(wrap_angle(scene.ego_poses[frame, 2] - scene.ego_poses[0, 2]))
    assert turned == pytest.approx(90, abs=12)
