"""NAVSIM's sub-scores on hand-made scenes, and its two totals against their formulas."""

import numpy as np
import pytest
from town_scenes import HZ, a_body, a_drive, drive_of, lane

from eval_fid_fvd.comfort import LIMITS, Ride, plans_agree
from eval_fid_fvd.contacts import bodies_at, too_close
from eval_fid_fvd.footprints import LaneMap, Placement
from eval_fid_fvd.navsim import (
    SubScores,
    driving_direction,
    forgiven,
    lane_keeping,
    longest_run,
    mean_scores,
    progress_share,
    sub_scores,
)
from worldmodel.errors import BadRequest
from worldmodel.town.scene import Scene, Stage

PERFECT = SubScores(
    no_at_fault_collision=1,
    drivable_area=1,
    driving_direction=1,
    traffic_lights=1,
    time_to_collision=1,
    lane_keeping=1,
    comfort=1,
    progress=1,
)


def scored(scene: Scene, *, progress_m: float = 30.0, reference_m: float = 30.0) -> SubScores:
    return sub_scores(scene, progress_m=progress_m, reference_m=reference_m)


def placed(scene: Scene) -> Placement:
    return Placement.of(scene.ego_poses, LaneMap.of(scene.stage))


def test_a_calm_drive_is_perfect() -> None:
    found = scored(a_drive(seconds=5, speed=8))
    assert found == PERFECT
    assert found.pdms == found.epdms == 1


def test_totals_follow_the_published_formulas() -> None:
    one = SubScores(
        no_at_fault_collision=0.5,
        drivable_area=1,
        driving_direction=0.5,
        traffic_lights=1,
        time_to_collision=0,
        lane_keeping=1,
        comfort=0,
        progress=0.4,
        extended_comfort=1,
    )
    assert one.pdms == pytest.approx(0.5 * (5 * 0.4) / 12)
    assert one.epdms == pytest.approx(0.25 * (5 * 0.4 + 2 + 2) / 16)
    without = SubScores(**{**vars(one), "extended_comfort": None})
    assert without.epdms == pytest.approx(0.25 * (5 * 0.4 + 2) / 14)


def test_means_are_of_scenes_not_products_of_means() -> None:
    half = SubScores(**{**vars(PERFECT), "no_at_fault_collision": 0.0})
    other = SubScores(**{**vars(PERFECT), "progress": 0.0})
    found = mean_scores([half, other])
    assert found["pdms"] == pytest.approx((0 + 7 / 12) / 2)
    assert found["progress"] == 0.5
    assert "extended_comfort" not in found
    with pytest.raises(BadRequest, match="score at least one"):
        mean_scores([])


def test_what_even_the_expert_did_is_forgiven() -> None:
    own = SubScores(**{**vars(PERFECT), "lane_keeping": 0.0, "no_at_fault_collision": 0.0, "comfort": 0.0})
    expert = SubScores(**{**vars(PERFECT), "lane_keeping": 0.0, "no_at_fault_collision": 0.5, "comfort": 0.0})
    found = forgiven(own, expert)
    assert (found.lane_keeping, found.no_at_fault_collision, found.comfort) == (1.0, 0.0, 0.0)


def test_hitting_a_thing_costs_half_and_a_road_user_all() -> None:
    thing = scored(a_drive(seconds=4, speed=8, bodies=[a_body("cone", "c", at=(20.0, 0.0))]))
    car = scored(a_drive(seconds=4, speed=8, bodies=[a_body("car", "c", at=(20.0, 0.0))]))
    assert (thing.no_at_fault_collision, car.no_at_fault_collision) == (0.5, 0.0)


def test_a_corner_off_the_lanes_fails_the_drivable_area() -> None:
    assert scored(a_drive(y=-1.0)).drivable_area == 1
    assert scored(a_drive(y=-1.3)).drivable_area == 0


@pytest.mark.parametrize(("speed", "expected"), [(1.5, 1.0), (4.0, 0.5), (7.0, 0.0)])
def test_driving_against_the_traffic_counts_by_metres_within_a_second(speed: float, expected: float) -> None:
    assert driving_direction(placed(a_drive(speed=speed, y=4.0)), HZ) == expected
    assert driving_direction(placed(a_drive(speed=speed, y=0.0)), HZ) == 1.0


def test_time_to_collision_looks_a_second_ahead_where_the_others_will_be() -> None:
    def close(at: float, speed: float, ego: float = 10.0) -> bool:
        scene = a_drive(seconds=2, speed=ego, bodies=[a_body("car", "them", at=(at, 0.0), speed=speed)])
        return bool(too_close(scene, placed(scene)).any())

    # After two seconds the gap is `at` - 3.7 - 2.2 - 18.75 (the last frame); 0.9 s of driving is 9 m.
    assert close(32.0, 0.0)
    assert not close(35.0, 0.0)
    assert not close(12.0, 10.0)  # drives as fast as we do
    assert not close(12.0, 0.0, ego=0.0)  # we stand


def test_bodies_go_straight_on_past_the_scenes_end() -> None:
    scene = a_drive(seconds=1, bodies=[a_body("car", "them", at=(10.0, 4.0), speed=-8.0)])
    poses, there = bodies_at(scene, 0.3)
    np.testing.assert_allclose(poses[:, 0, 0], scene.body_poses[:, 0, 0] - 8 * 0.3, atol=1e-9)
    assert there.all()


def test_lane_keeping_wants_two_seconds_beside_the_middle() -> None:
    def kept(seconds_beside: float) -> float:
        frames = round(seconds_beside * HZ)
        y = np.zeros(48)
        y[10 : 10 + frames] = 0.8
        scene = drive_of(np.stack([np.arange(48.0), y, 0 * y], axis=-1), np.full(48, 8.0))
        return lane_keeping(placed(scene), HZ)

    assert (kept(1.8), kept(2.0)) == (1.0, 0.0)
    assert longest_run(np.array([], bool)) == 0


def test_crossings_do_not_count_for_lane_keeping() -> None:
    across = lane(0.0)
    north = across.centre[:, ::-1] + np.array([70.0, -60.0])
    stage = Stage(
        lanes=(across, type(across)(centre=north, width_m=4.0, left_line="none", right_line="none")),
        buildings=(),
        props=(),
    )
    scene = drive_of(np.array([[70.0, 0.8, 0.0], [60.0, 0.8, 0.0]]), np.ones(2), stage=stage)
    assert placed(scene).crossing.tolist() == [True, False]


def test_progress_is_a_share_of_the_better_one() -> None:
    assert progress_share(20, 40) == 0.5
    assert progress_share(50, 40) == 1.0
    assert progress_share(20, 40, gate=0.5) == 0.25
    assert progress_share(-3, 40) == 0.0
    assert progress_share(1, 4) == 1.0  # nobody gets anywhere
    assert progress_share(1, 4, gate=0.0) == 0.0
    with pytest.raises(BadRequest, match="must be finite"):
        progress_share(float("nan"), 1)


# -- comfort ----------------------------------------------------------------------------------------------------


def a_ride(speed, yaw, hz: float = 10.0, seconds: float = 4.1) -> Ride:
    now = np.arange(round(seconds * hz)) / hz
    return Ride.of(np.asarray(yaw(now)) + 0 * now, np.asarray(speed(now)) + 0 * now, hz)


def test_smoothing_keeps_constant_accelerations_and_rates() -> None:
    ride = a_ride(lambda t: 2 + 1.5 * t, lambda t: 0.2 * t)
    np.testing.assert_allclose(ride.lon_acceleration, 1.5, atol=1e-9)
    np.testing.assert_allclose(ride.yaw_rate, 0.2, atol=1e-9)
    np.testing.assert_allclose(ride.lat_acceleration[1:-1], 0.2 * (2 + 1.5 * np.arange(41) / 10)[1:-1], atol=1e-6)
    np.testing.assert_allclose(ride.lon_jerk, 0.0, atol=1e-9)
    assert ride.comfortable


@pytest.mark.parametrize(
    ("name", "speed", "yaw"),
    [
        ("lon_acceleration", lambda t: 5 + 2.6 * t, lambda t: 0.0),
        ("lon_acceleration", lambda t: 25 - 4.3 * t, lambda t: 0.0),
        ("lat_acceleration", lambda t: 12.0, lambda t: 0.45 * t),
        ("yaw_rate", lambda t: 2.0, lambda t: 1.0 * t),
        ("yaw_acceleration", lambda t: 0.5, lambda t: 1.1 * (t - 2) ** 2),
        ("lon_jerk", lambda t: 20 + 2.3 * (t - 2) ** 2, lambda t: 0.0),
    ],
)
def test_each_limit_is_watched(name: str, speed, yaw) -> None:
    ride = a_ride(speed, yaw)
    low, high = LIMITS[name]
    assert not ((getattr(ride, name) > low) & (getattr(ride, name) < high)).all()
    assert not ride.comfortable


def test_headings_may_wrap() -> None:
    turning = a_ride(lambda t: 5.0, lambda t: np.angle(np.exp(1j * (3.0 + 0.3 * t))))
    np.testing.assert_allclose(turning.yaw_rate, 0.3, atol=1e-9)


def test_too_short_a_ride_is_refused() -> None:
    with pytest.raises(BadRequest, match="at least 5"):
        Ride.of(np.zeros(4), np.zeros(4), 8.0)


def test_plans_agree_when_the_later_one_goes_on_as_the_earlier_said() -> None:
    earlier, later, gentler, mirrored = (
        a_ride(lambda t, v=v, a=a: v + a * t, lambda t: 0.02 * t)
        for v, a in ((5.0, 1.6), (5.8, 1.6), (5.8, 0.0), (12.0, -1.6))
    )
    turning = a_ride(lambda t: 5.8 + 1.6 * t, lambda t: 0.2 * t)
    assert plans_agree(earlier, later, 5)
    assert not plans_agree(earlier, gentler, 5)
    assert not plans_agree(earlier, turning, 5)
    assert plans_agree(earlier, mirrored, 5)  # NAVSIM compares magnitudes
    with pytest.raises(BadRequest, match="no common time"):
        plans_agree(earlier, later, 99)
