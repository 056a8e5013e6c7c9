"""Planning scores of hand-made plans: what `detour plan` says about them."""

import numpy as np
import pytest

from studio.moments import Moment
from studio.plan_scores import Answer, Future, plan_lines, plan_summary
from worldmodel.clips import Box, Clip
from worldmodel.geometry import Motion, Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.town.scene import town_rig


def a_moment(*kinds: str, speed: float = 0.0, seconds: float = 5.0, boxes: bool = True, motion: bool = True) -> Moment:
    """Straight on at a speed; who is named is parked with its middle 10 m ahead of where the moment is, 4 m long."""
    frames, now = round(seconds * 8) + 1, 4
    there = [
        tuple(
            Box(
                track=kind,
                kind=kind,
                center=np.array([10.0 - speed * (frame - now) / 8, 0.0, 0.7]),
                size=np.array([4.0, 1.8, 1.4]),
                yaw_rad=0.0,
            )
            for kind in kinds
        )
        for frame in range(frames)
    ]
    clip = Clip(
        id="made",
        video=np.zeros((frames, 1, 3, 8, 16), np.uint8),
        rig=town_rig(1, 16, 8),
        motion=Motion(deltas=np.array([[speed / 8, 0, 0]] * (frames - 1)), period_s=0.125) if motion else None,
        motion_origin="poses" if motion else "none",
        frequency_hz=8.0,
        boxes=tuple(there) if boxes else None,
    )
    return Moment(clip=clip, now=now)


def a_plan(speed: float) -> Plan:
    poses = np.stack([speed * PLAN_TIMES_S, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S], axis=-1)
    return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))


def scored(moment: Moment, *speeds: float) -> dict:
    future = Future(moment)
    return plan_summary([Answer(planner="made", plan=a_plan(speed), future=future) for speed in speeds], seed=0)


def test_driving_into_a_parked_car_is_counted_both_ways() -> None:
    row = scored(a_moment("car"), 4.0)  # our nose is 3.7 m ahead, the car's rear 8 m: reached between 1 and 1.5 s
    assert row["box_collision_at"] == [0, 1, 1]
    assert row["box_collision_within"] == [0, 1, 1]
    assert row["driven_box_collision_within"] == [0, 0, 0]
    assert row["collision_uniad"] == [0, 1, 1]
    assert row["l2_uniad"] == [4, 8, 12]
    assert row["boxed"] == row["tabled"] == 1


def test_pedestrians_count_in_the_correct_way_alone() -> None:
    row = scored(a_moment("pedestrian", "cone"), 4.0)
    assert row["box_collision_within"] == [0, 1, 1]
    assert row["collision_uniad"] == [0, 0, 0]


def test_boxes_of_later_frames_are_put_where_they_are_from_now() -> None:
    row = scored(a_moment("car", speed=2.0), 2.0)  # 2 m/s: after 3 s the nose is at 9.7 m
    assert row["box_collision_at"] == [0, 0, 1]
    assert row["driven_box_collision_within"] == [0, 0, 1]
    assert row["collision_uniad"] == [0, 0, 0]  # what the driver did, too, is forgiven there
    assert row["ade_m"] == pytest.approx(0, abs=1e-9)


def test_decisions_are_read_off_both_paths() -> None:
    found = scored(a_moment(speed=4.0), 4.0, 8.0)["decisions"]
    assert found["lateral"] == [1, 1, 1]
    assert found["longitudinal"] == [0.5, 0.5, 0.5]
    assert found["samples"] == 2


def test_what_is_not_known_is_left_out_and_counted() -> None:
    without = scored(a_moment(boxes=False), 4.0)
    assert (without["tabled"], without["boxed"]) == (1, 0)
    assert "box_collision_at" not in without
    short = scored(a_moment("car", seconds=2.0), 4.0)
    assert (short["scored"], short["tabled"]) == (1, 0)
    assert "l2_uniad" not in short
    silent = scored(a_moment("car", motion=False), 4.0)
    assert (silent["plans"], silent["scored"], silent["ade_m"]) == (1, 0, None)
    assert plan_lines("made", silent) == ["made: 1 plans, none scored (no motion follows)"]


def test_intervals_need_two_moments_and_hold_the_mean() -> None:
    assert scored(a_moment(), 4.0)["ade_m_interval"] is None
    row = scored(a_moment(), 4.0, 5.0, 6.0)
    low, high = row["ade_m_interval"]
    assert low <= row["ade_m"] <= high


def test_lines_say_each_score_with_its_convention() -> None:
    text = "\n".join(plan_lines("made", scored(a_moment("car"), 4.0, 4.0)))
    assert "L2 at 1, 2, 3 s (UniAD): 4.00, 8.00, 12.00 m" in text
    assert "within 1, 2, 3 s: 0.0, 100.0, 100.0 % (driven path: 0.0, 0.0, 0.0 %)" in text
    assert "over 2 of 2 plans" in text
