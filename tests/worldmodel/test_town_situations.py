"""Every situation holds what it promises; indicators tell the truth; what is to be remembered leaves the view."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from worldmodel.decisions import LATERAL, LONGITUDINAL, decide
from worldmodel.geometry import Trajectory, relative, wrap_angle
from worldmodel.town.scene import HAZARD, LEFT, OFF, RIGHT, Building, Scene
from worldmodel.town.situations import MEMORIES
from worldmodel.town.traffic import SITUATIONS, simulate

HERTZ = 8
SEEN_M, SEEN_DEG = 70.0, 88.0  # of a rig with three cameras


@cache
def drive(situation: str, seed: int, seconds: float = 12.0) -> Scene:
    return simulate(situation, seed, seconds=seconds)


def ahead(scene: Scene, frame: int) -> np.ndarray:
    """Poses of all bodies in the ego frame."""
    return relative(scene.ego_poses[frame], scene.body_poses[frame])


def kinds(scene: Scene) -> Counter[str]:
    return Counter(body.kind for body in scene.bodies)


def causes(scene: Scene) -> set[str]:
    return {cause.kind for cause in scene.ego_causes}


def off_route(scene: Scene, body: int) -> np.ndarray:
    """How far beside the ego's route a body is, metres."""
    return np.array([np.hypot(*(scene.route - pose[:2]).T).min() for pose in scene.body_poses[:, body]])


# -- what each is about -----------------------------------------------------------------------------------------


def test_somebody_cuts_in_and_indicates_before() -> None:
    for seed in range(3):
        scene = drive("cut_in", seed, 8.0)
        apart = off_route(scene, 0)
        assert apart[0] > 2.5
        assert apart.min() < 0.6
        moves = int(np.argmax(apart < apart[0] - 0.6))
        side = RIGHT if ahead(scene, 0)[0, 1] > 0 else LEFT
        assert (scene.body_indicators[moves - 6 : moves, 0] == side).all()


def test_a_slow_truck_is_followed_or_overtaken() -> None:
    scenes = [drive("slow_truck", seed, 14) for seed in range(3)]
    assert all(scene.bodies[0].kind == "truck" for scene in scenes)
    assert all(scene.body_speeds_mps[:, 0].max() < 6.1 for scene in scenes)
    assert any(ahead(scene, -1)[0, 0] < 0 for scene in scenes)


def test_a_cyclist_is_given_room() -> None:
    passed = 0
    for seed in range(3):
        scene = drive("cyclist", seed, 14)
        rows = np.array([ahead(scene, frame)[0] for frame in range(len(scene))])
        beside = np.abs(rows[:, 0] - 1.4) < 2.0
        passed += bool(beside.any())
        assert np.abs(rows[beside, 1]).min(initial=9.0) > 0.95 + 0.3 + 0.6
    assert passed


def test_double_parked_vehicles_have_their_hazard_lights_on() -> None:
    scene = drive("double_parking", 1)
    assert (scene.body_indicators[:, 0] == HAZARD).all()
    assert (scene.body_speeds_mps[:, 0] == 0).all()


def test_road_works_have_cones_and_barriers_in_the_lane() -> None:
    scene = drive("road_works", 1)
    assert kinds(scene)["cone"] >= 5
    assert kinds(scene)["barrier"] == 2
    assert {"obstacle", "oncoming"} & causes(scene)


def test_what_is_hidden_behind_the_bend_is_out_of_sight_at_first() -> None:
    for seed in range(2):
        scene = drive("hidden_obstacle", seed)
        seen = in_sight(scene, 0)
        assert not seen[0]
        assert seen.any()
        assert {"obstacle", "oncoming"} & causes(scene)


def test_people_cross_and_the_ego_lets_them() -> None:
    scenes = [drive("pedestrian", seed, 8.0) for seed in range(3)]
    assert sum("walker" in causes(scene) for scene in scenes) >= 2
    assert all(scene.stage.crosswalks for scene in scenes)


def test_people_who_stand_do_not_cross() -> None:
    for seed in range(2):
        scene = drive("pedestrian_standing", seed, 8.0)
        assert scene.bodies[0].kind == "pedestrian"
        assert np.ptp(scene.body_poses[:, 0], axis=0).max() == 0
        assert scene.ego_speeds_mps[-24:].max() > 2  # nobody waits for them


def test_somebody_overtakes_in_our_lane_and_gets_back_in() -> None:
    met = 0
    for seed in range(2, 4):
        scene = drive("oncoming_overtaker", seed)
        fast = next(b for b, body in enumerate(scene.bodies) if scene.body_speeds_mps[:, b].max() > 8.5)
        apart = off_route(scene, fast)
        assert apart.min() < 1.0  # it is in our lane
        assert apart[-1] > 2.0
        met += "oncoming" in causes(scene)
    assert met


def test_an_empty_road_is_empty() -> None:
    assert not [b for b in drive("empty_road", 1).bodies if b.kind in ("truck", "bus", "cyclist")]
    assert causes(drive("empty_road", 1)) <= {"free", "curve"}


# -- the truth of the lamps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("situation", "seed"), [("intersection", 5), ("intersection", 1), ("traffic_light", 1)])
def test_indicators_are_on_before_a_turn_and_off_after(situation: str, seed: int) -> None:
    scene = drive(situation, seed, 25.0)
    turned = np.cumsum(wrap_angle(np.diff(scene.ego_poses[:, 2], prepend=scene.ego_poses[0, 2])))
    assert abs(np.degrees(turned[-1])) == pytest.approx(90, abs=15)
    side = LEFT if turned[-1] > 0 else RIGHT
    begins = int(np.argmax(np.abs(turned) > np.radians(8)))
    assert (scene.ego_indicators[max(begins - 12, 0) : begins + 4] == side).all()
    assert scene.ego_indicators[-1] == OFF
    assert set(scene.ego_indicators) <= {side, OFF}


def test_who_goes_straight_on_does_not_indicate() -> None:
    assert (drive("intersection", 2, 15.0).ego_indicators == OFF).all()


def test_leaving_a_roundabout_is_indicated_to_the_right() -> None:
    scene = drive("roundabout", 2, 20.0)
    shown = np.flatnonzero(scene.ego_indicators == RIGHT)
    assert len(shown)
    assert not (scene.ego_indicators == LEFT).any()
    rate = wrap_angle(np.diff(scene.ego_poses[:, 2]))
    assert rate[: shown[0]].sum() > 0.3 or shown[0] > 0  # not on the way in


def test_lane_changes_are_indicated_a_second_before() -> None:
    checked = 0
    for seed in range(3):
        scene = drive("highway", seed, 10.0)
        for body in range(len(scene.bodies)):
            side = scene.body_indicators[:, body]
            for frame in np.flatnonzero((side[1:] != OFF) & (side[:-1] == OFF)) + 1:
                if frame + 16 >= len(scene) or not (side[frame : frame + 12] == side[frame]).all():
                    continue
                moved = relative(scene.body_poses[frame, body], scene.body_poses[frame + 16, body])
                bend = relative(scene.body_poses[frame, body], scene.body_poses[frame + 6, body])
                assert abs(bend[1]) < 1.6
                checked += moved[1] * side[frame] > 0
    assert checked


def test_brake_lights_shine_when_and_only_when_one_slows() -> None:
    for situation in ("stop_and_go", "traffic_light"):
        scene = drive(situation, 1)
        change = np.diff(scene.ego_speeds_mps) * HERTZ
        assert (change[scene.ego_braking[:-1]] < 0.1).all()
        assert scene.ego_braking[:-1][change < -1.5].all()


# -- what is to be remembered -----------------------------------------------------------------------------------


def hides(house: Building, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether a house stands between two places."""
    c, s = np.cos(house.yaw_rad), np.sin(house.yaw_rad)
    to_house = np.array([[c, s], [-s, c]])
    a, b = to_house @ (start - [house.x_m, house.y_m]), to_house @ (end - [house.x_m, house.y_m])
    half = np.array([house.length_m, house.width_m]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = np.sort(np.stack([(-half - a) / (b - a), (half - a) / (b - a)]), axis=0)
    return bool(max(near.max(), 0.0) < min(far.min(), 1.0))


def in_sight(scene: Scene, body: int) -> np.ndarray:
    """Whether a body is in view of a rig with three cameras and no house hides it, every quarter of a second."""
    seen = []
    for frame in range(0, len(scene), 2):
        x, y, _ = ahead(scene, frame)[body]
        x -= 1.4
        size = np.degrees(np.arctan2(scene.bodies[body].length_m / 2, np.hypot(x, y)))
        there = np.hypot(x, y) < SEEN_M and abs(np.degrees(np.arctan2(y, x))) < SEEN_DEG + size
        eye, place = scene.ego_poses[frame, :2], scene.body_poses[frame, body, :2]
        seen.append(bool(there) and not any(hides(house, eye, place) for house in scene.stage.buildings))
    return np.array(seen)


def longest_gap_s(seen: np.ndarray) -> float:
    """The longest time out of sight between two times in sight."""
    frames = np.flatnonzero(seen)
    return float(np.diff(frames).max(initial=1) - 1) / 4 if len(frames) else 0.0


@pytest.mark.parametrize("situation", MEMORIES)
def test_parked_cars_leave_the_view_for_eight_seconds_and_come_back(situation: str) -> None:
    for seed in range(2):
        scene = drive(situation, seed, 45.0)
        parked = [b for b in range(len(scene.bodies)) if scene.body_speeds_mps[:, b].max() == 0]
        assert parked
        assert max(longest_gap_s(in_sight(scene, b)) for b in parked) >= 8.0


# -- all of them ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_decision_at_two_seconds_is_at_least_a_fiftieth_of_all_moments() -> None:
    lateral: Counter[str] = Counter()
    longitudinal: Counter[str] = Counter()
    for situation in SITUATIONS:
        for seed in range(300, 312):
            scene = simulate(situation, seed, seconds=10)
            for first in range(0, len(scene) - 17, 8):
                part = Trajectory(poses=scene.ego_poses[first : first + 17], times_s=np.arange(17) / HERTZ)
                choice = decide(part, 2.0, start_mps=float(scene.ego_speeds_mps[first]))
                lateral[choice.lateral] += 1
                longitudinal[choice.longitudinal] += 1
    for names, counts in ((LATERAL, lateral), (LONGITUDINAL, longitudinal)):
        assert min(counts[name] for name in names) >= 0.02 * sum(counts.values())


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS)
def test_red_lights_hold_everybody(situation: str) -> None:
    from worldmodel.town.scene import RED
    from worldmodel.town.traffic import Simulation

    for seed in range(400, 412 if SITUATIONS[situation].road == "signals" else 401):
        simulation = Simulation(situation, seed)
        noses: dict[int, tuple[str, float]] = {}
        for _ in range(24 * 20):
            states = simulation.crowd.gates.states
            simulation.step()
            for i, agent in enumerate(simulation.crowd.agents):
                nose = agent.s + agent.nose_m
                route, before = noses.get(i, ("", nose))
                for gate in simulation.road.gates.get(agent.route, ()):
                    over = gate.kind == "signal" and before < gate.s_m <= nose and route == agent.route
                    assert not (over and states[gate.number] == RED), (seed, agent.body.track)
                noses[i] = (agent.route, nose)
