"""The roads of the town: drivable routes on their lanes, turns that go where they say, ways that come back."""

import numpy as np
import pytest
from town_roads import road

from worldmodel.town.roads.draws import BEHIND_M, ROADS
from worldmodel.town.roads.network import Chain, Look, Network, mirrored, mirrored_pose
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, Gate, RoadMap

LEAST_RADIUS_M = 8.0


def off_lanes_m(path: Path, scene: RoadMap) -> float:
    """How far the worst side of a car that drives along a path gets beyond the edge of every lane."""
    along = np.arange(2.0, path.length_m - 2.0, 2.0)
    points = np.array([path.at(float(s), d)[:2] for s in along for d in (-0.95, 0.95)])
    gaps = np.full(len(points), np.inf)
    for lane in scene.lanes:
        apart = np.hypot(*(points[:, None] - lane.centre[None]).transpose(2, 0, 1)).min(axis=1)
        gaps = np.minimum(gaps, apart - lane.width_m / 2)
    return float(gaps.max())


def turned(path: Path, start_s: float, end_s: float) -> float:
    return float(path.at(end_s)[2] - path.at(start_s)[2])


every_road = pytest.mark.parametrize("kind", ROADS)


@every_road
def test_routes_are_smooth_enough_to_be_driven(kind: str) -> None:
    for seed in range(4):
        for name, path in road(kind, seed).routes.items():
            steps = np.hypot(*np.diff(path.points, axis=0).T)
            assert steps.max() < 1.1 * path.step_m, name
            assert np.abs(path.curvatures).max() < 1 / LEAST_RADIUS_M, name
            assert np.abs(np.diff(path.headings)).max() < 0.1, name


@every_road
def test_routes_stay_on_lanes(kind: str) -> None:
    for seed in range(3):
        scene = road(kind, seed)
        for name, path in scene.routes.items():
            assert off_lanes_m(path, scene) < 0.05, (seed, name)


@every_road
def test_the_ego_has_road_behind_and_far_ahead(kind: str) -> None:
    for seed in range(6):
        scene = road(kind, seed)
        ahead = scene.routes["ego"].length_m - scene.start_s
        assert ahead > 200.0
        assert scene.start_s > BEHIND_M - 1.0


@every_road
def test_roads_are_the_same_for_the_same_draws_and_differ_for_others(kind: str) -> None:
    one, two = road(kind, 3), road.__wrapped__(kind, 3)
    assert sorted(one.routes) == sorted(two.routes)
    for name in one.routes:
        assert np.array_equal(one.routes[name].points, two.routes[name].points)
    assert one.gates == two.gates
    assert one.stop_lines == two.stop_lines
    assert not np.array_equal(one.routes["ego"].points[:5], road(kind, 4).routes["ego"].points[:5])


def test_the_longer_road_begins_like_the_shorter_one() -> None:
    for kind in ("street", "curvy", "highway", "crossing"):
        short, long = (road(kind, 1, length_m=length).routes["ego"].points for length in (200.0, 300.0))
        count = min(len(short), len(long)) - 20
        assert np.abs(short[:count] - long[:count]).max() < 0.3


# -- the border to highway-env ------------------------------------------------------------------------------------


def test_right_turns_of_the_network_are_right_turns_of_ours() -> None:
    network = Network()
    chain = Chain(start=np.zeros(2), heading=0.0, segments=[("straight", 20.0, 0.0), ("arc", 15.0, np.pi / 2)])
    path = network.path(network.strand("a", chain, Look(width_m=4.0), lateral_m=2.0))
    assert path.at(5.0)[1] == pytest.approx(-2.0, abs=0.01)  # the right lane lies at negative y
    assert path.headings[-1] == pytest.approx(-np.pi / 2, abs=0.1)  # and a right turn has negative yaw
    assert np.array_equal(mirrored(mirrored(path.points)), path.points)
    assert mirrored_pose(np.array([1.0, 2.0]), 0.5) == (1.0, -2.0, -0.5)


def test_strands_against_the_chain_run_beside_it_the_other_way() -> None:
    segments = [("straight", 20.0, 0.0), ("arc", 30.0, -0.8), ("shift", 40.0, 3.0), ("straight", 10.0, 0.0)]
    chain, network = Chain(start=np.zeros(2), heading=0.3, segments=segments), Network()
    forth = network.path(network.strand("a", chain, Look(width_m=4.0), lateral_m=2.0))
    back = network.path(network.strand("b", chain, Look(width_m=4.0), lateral_m=-2.0, reverse=True))
    apart = [back.project(*forth.at(s)[:2]) for s in np.arange(5.0, forth.length_m - 5.0, 3.0)]
    assert np.allclose([d for _, d in apart], 4.0, atol=0.25)
    assert (np.diff([s for s, _ in apart]) < 0).all()


def test_pieces_that_go_on_alike_are_one_lane() -> None:
    network = Network()
    chain = Chain(start=np.zeros(2), heading=0.0, segments=[("straight", 20.0, 0.0)] * 3)
    network.strand("a", chain, Look(width_m=4.0))
    network.strand("b", chain, Look(width_m=4.0), lateral_m=4.0, painted=False)
    (lane,) = network.lanes()
    assert lane.centre[-1] == pytest.approx([60.0, 0.0])
    assert np.allclose(np.hypot(*np.diff(lane.centre, axis=0).T), 1.0)


# -- turns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["intersection", "signals"])
def test_turns_go_where_they_say_and_are_balanced(kind: str) -> None:
    words = [road(kind, seed).manoeuvre for seed in range(10)]
    assert {word: words.count(word) for word in words} == {"left": 4, "right": 4, "straight": 2}
    for seed in range(5):
        scene = road(kind, seed)
        yaw = turned(scene.routes["ego"], scene.start_s, scene.done_s + 3.0)
        assert yaw == pytest.approx({"left": np.pi / 2, "right": -np.pi / 2, "straight": 0.0}[scene.manoeuvre], abs=0.1)


def test_roundabouts_are_left_at_the_exit_that_is_said() -> None:
    for seed in range(9):
        scene = road("roundabout", seed)
        assert scene.manoeuvre == f"exit {1 + seed % 3}"
        ego, (x, y, radius) = scene.routes["ego"], scene.core or (0, 0, 0)
        along = np.arange(scene.start_s, scene.done_s, 0.5)
        inside = [s for s in along if np.hypot(ego.at(s)[0] - x, ego.at(s)[1] - y) < radius - 3.5]
        swept = turned_around(ego, inside, (x, y))
        assert swept > 0.3  # round the island with the island to the left
        passed = {name for name in scene.routes if name.startswith("0-")}
        assert f"0-{1 + seed % 3}" in passed
        assert np.array_equal(scene.routes[f"0-{1 + seed % 3}"].points, ego.points)


def turned_around(path: Path, along: list[float], middle: tuple[float, float]) -> float:
    angles = [np.arctan2(path.at(s)[1] - middle[1], path.at(s)[0] - middle[0]) for s in along]
    return float(np.unwrap(angles)[-1] - angles[0])


def test_further_exits_come_later_on_the_ring() -> None:
    scene = road("roundabout", 2)
    lengths = [scene.routes[f"0-{arm}"].length_m for arm in (1, 2, 3)]
    assert lengths == sorted(lengths)


def test_a_lap_of_the_roundabout_passes_every_arm_again() -> None:
    scene = road("roundabout", 4, laps=1)
    ego, (x, y, _) = scene.routes["ego"], scene.core or (0, 0, 0)
    out = road("roundabout", 4, laps=0)
    assert out.routes["ego"].length_m < ego.length_m
    along = np.arange(scene.start_s, scene.done_s, 0.5)
    apart = np.array([np.hypot(ego.at(s)[0] - x, ego.at(s)[1] - y) for s in along])
    inside = along[apart < apart.min() + 0.6]
    assert turned_around(ego, list(inside), (x, y)) > 2 * np.pi
    again = 2 * np.pi * apart.min()
    assert ego.at(inside[0] + 8.0)[:2] == pytest.approx(ego.at(inside[0] + 8.0 + again)[:2], abs=1.5)


def test_the_way_round_the_block_comes_back_to_where_it_was() -> None:
    for seed in range(4):
        scene = road("block", seed)
        ego = scene.routes["ego"]
        sign = {"left": 1, "right": -1}[scene.manoeuvre]
        assert [word for word, _ in scene.turns[:4]] == [scene.manoeuvre] * 4
        lap = scene.turns[4][1] - scene.turns[0][1]
        assert 160 < lap < 320  # 25 to 45 s
        for ahead in (0.0, 20.0, 100.0):
            here, again = ego.at(scene.start_s + ahead), ego.at(scene.start_s + ahead + lap)
            assert again[:2] == pytest.approx(here[:2], abs=0.1)
            assert again[2] - here[2] == pytest.approx(sign * 2 * np.pi, abs=0.02)


def test_no_lane_of_a_block_lies_on_another_one() -> None:
    scene = road("block", 0)
    straight = [lane for lane in scene.lanes if np.ptp(np.diff(lane.centre, axis=0), axis=0).max() < 1e-6]
    sides = [lane for lane in straight if len(lane.centre) > 25 and lane.width_m > 3]
    for i, lane in enumerate(sides):
        for other in sides[:i]:
            middle = lane.centre[len(lane.centre) // 2]
            assert np.hypot(*(other.centre - middle).T).min() > 2.0


# -- ramps and lanes ----------------------------------------------------------------------------------------------


def test_who_comes_from_a_ramp_drives_beside_the_highway_until_its_lane_ends() -> None:
    for seed in range(4):
        scene = road("merge", seed)
        lane = scene.neighbours["ramp"][0]
        first, last = scene.changes["ramp"]
        (gate,) = scene.gates["ramp"]
        assert gate == Gate(s_m=last, kind="yield")
        assert last - first > 100
        ramp, main = scene.routes["ramp"], scene.routes[lane]
        for s in np.arange(first + 5, last - 5, 10.0):
            along, left = main.project(*ramp.at(s)[:2])
            assert left == pytest.approx(-scene.width_m, abs=0.1)
            assert along == pytest.approx(s, abs=1.5)
        assert abs(main.project(*ramp.at(last + 60.0)[:2])[1]) < 0.1
        assert scene.ranks[lane] > scene.ranks.get("ramp", 0.0)


def test_every_second_ego_of_a_merge_comes_from_the_ramp() -> None:
    for seed in range(4):
        scene = road("merge", seed)
        assert (scene.manoeuvre == "merge") == (seed % 2 == 0)
        assert (scene.routes["ego"] is scene.routes["ramp"]) == (seed % 2 == 0)
        assert scene.neighbours["ego"] == scene.neighbours["ramp" if seed % 2 == 0 else ego_lane(scene)]


def ego_lane(scene: RoadMap) -> str:
    return next(name for name, path in scene.routes.items() if path is scene.routes["ego"] and name != "ego")


def test_exits_leave_the_highway_to_the_right() -> None:
    words = [road("exit", seed).manoeuvre for seed in range(6)]
    assert words.count("exit") == 4
    scene = road("exit", 1)
    ego, main = scene.routes["ego"], scene.routes[f"lane{sum(name.startswith('lane') for name in scene.routes) - 1}"]
    assert abs(main.project(*ego.at(scene.start_s)[:2])[1]) < 0.05
    assert main.project(*ego.at(scene.done_s)[:2])[1] < -scene.width_m
    assert turned(ego, scene.start_s, ego.length_m - 5) < -0.25


@pytest.mark.parametrize("kind", ["two_lanes", "highway", "merge", "exit"])
def test_neighbours_lie_one_lane_to_the_side(kind: str) -> None:
    for seed in range(3):
        scene = road(kind, seed)
        for name, sides in scene.neighbours.items():
            if scene.routes[name] is scene.routes.get("ramp"):
                continue
            for sign, side in zip((1, -1), sides, strict=True):
                if side:
                    x, y, _ = scene.routes[side].at(scene.start_s + 20.0)
                    left = scene.routes[name].project(x, y)[1]
                    assert left == pytest.approx(sign * scene.width_m, abs=0.1)


# -- bends that hide ----------------------------------------------------------------------------------------------


def test_houses_inside_a_blind_bend_hide_what_is_behind_it_and_stand_beside_the_road() -> None:
    for seed in range(4):
        scene = road("blind_bend", seed)
        ego = scene.routes["ego"]
        assert scene.hidden_s is not None
        assert (turned(ego, scene.start_s, scene.hidden_s[1]) < 0) == (seed % 2 == 0)
        eye = np.array(ego.at(scene.start_s)[:2])
        for s in np.linspace(*scene.hidden_s, 4):
            there = np.array(ego.at(float(s))[:2])
            line = eye + np.linspace(0, 1, 400)[:, None] * (there - eye)
            assert any(inside(line, house).any() for house in scene.hides)
        for house in scene.hides:
            for lane in scene.lanes:
                assert not inside(lane.centre, house, margin_m=lane.width_m / 2 + 1.5).any()


def inside(points: np.ndarray, house: tuple[float, float, float, float, float], margin_m: float = 0.0) -> np.ndarray:
    x, y, yaw, length, width = house
    dx, dy = points[:, 0] - x, points[:, 1] - y
    along, across = np.cos(yaw) * dx + np.sin(yaw) * dy, -np.sin(yaw) * dx + np.cos(yaw) * dy
    return (np.abs(along) < length / 2 + margin_m) & (np.abs(across) < width / 2 + margin_m)


# -- where one may park -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "laps"), [("block", 0), ("roundabout", 1)])
def test_parking_strips_lie_where_a_route_says(kind: str, laps: int) -> None:
    for seed in range(3):
        scene = road(kind, seed, laps=laps)
        kerbside = [lane for lane in scene.lanes if lane.width_m == PARKING_M]
        assert scene.strips["ego"]
        for name, strips in scene.strips.items():
            for first, last in strips:
                for s in np.linspace(first + 1.0, last - 1.0, 5):
                    x, y, _ = scene.routes[name].at(float(s), -(scene.width_m + PARKING_M) / 2)
                    assert min(np.hypot(*(lane.centre - (x, y)).T).min() for lane in kerbside) < 0.6, (seed, name)


def test_the_way_round_the_block_passes_the_same_strips_again() -> None:
    scene = road("block", 1)
    ego = scene.routes["ego"]
    ahead = [strip for strip in scene.strips["ego"] if strip[0] > scene.start_s]
    assert ego.at(ahead[4][0])[:2] == pytest.approx(ego.at(ahead[0][0])[:2], abs=0.1)
