"""Closed loop in the town: the environment keeps gymnasium's contract, drives are judged, planners get what they may see."""

import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from policy.baselines import (
    ConstantVelocityPlanner,
    PrivilegedExpert,
    StandStillPlanner,
)
from policy.closed_loop import TownEnv, TownSetup
from policy.driving import drive, ride_of
from policy.town_drive import Course, TownDrive
from worldmodel.edits import InsertActor
from worldmodel.errors import BadMotion, BadRequest, UnknownName
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Observation, Plan
from worldmodel.town.render import render
from worldmodel.town.scene import from_frame, town_rig
from worldmodel.town.traffic import simulate

SMALL = TownSetup(rig=town_rig(1, 32, 16), seconds=2.0, history=2, situations=("empty_road", "pedestrian"))
COURSE = Course(situation="empty_road", seed=3, seconds=3.0)
AHEAD = np.stack([4.0 * np.arange(1, 9), np.zeros(8), np.zeros(8)], axis=-1).astype(np.float32)


def test_the_hand_over_is_where_the_expert_is() -> None:
    town = TownDrive(COURSE)
    scene = town.whole_scene()
    np.testing.assert_allclose(town.car.pose[:2], scene.ego_poses[-1, :2])
    assert town.car.speed_mps == scene.ego_speeds_mps[-1]


# -- the environment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "mode"), [("trajectory", "rgb_array"), ("controls", None)])
def test_gymnasiums_checker_has_nothing_to_say(action: str, mode: str | None) -> None:
    setup = replace(SMALL, action=action, situations=("empty_road",))
    env = gymnasium.make("Detour/Town-v0", setup=setup, render_mode=mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=mode is None)
    env.close()


def test_an_episode_pays_its_driving_score() -> None:
    env = TownEnv(SMALL)
    seen, info = env.reset(seed=1)
    assert seen in env.observation_space
    assert seen["frames"].shape == (2, 1, 3, 16, 32)
    assert seen["instruction"]
    total, over = 0.0, False
    while not over:
        seen, reward, terminated, truncated, info = env.step(AHEAD)
        assert seen in env.observation_space
        total, over = total + reward, terminated or truncated
    assert total == pytest.approx(info["driving_score"] / 100)
    assert info["end"] in ("done", "time")
    assert truncated == (info["end"] == "time")
    assert 0 <= info["navsim"]["pdms"] <= 1
    assert 0 <= info["navsim"]["epdms"] <= 1
    with pytest.raises(BadRequest, match="the drive is over"):
        env.step(AHEAD)


def test_the_seed_picks_the_scene_and_options_name_it() -> None:
    env = TownEnv(SMALL)
    first, again, other = (env.reset(seed=seed) for seed in (5, 5, 6))
    assert first[1] == again[1] != other[1]
    np.testing.assert_array_equal(first[0]["frames"], again[0]["frames"])
    _, info = env.reset(options={"situation": "street", "seed": 7})
    assert (info["situation"], info["scene_seed"]) == ("street", 7)
    with pytest.raises(UnknownName, match="Did you mean 'seed'"):
        env.reset(options={"seeds": 7})
    with pytest.raises(UnknownName, match="Did you mean 'street'"):
        env.reset(options={"situation": "stret"})
    with pytest.raises(BadRequest, match="the seed is -1"):
        env.reset(options={"seed": -1})


def test_controls_are_shares_of_what_the_car_can_do() -> None:
    env = TownEnv(replace(SMALL, action="controls", situations=("empty_road",)))
    speeds = {}
    for pedal in (-1.0, 0.0, 1.0):
        before, _ = env.reset(seed=2)
        after, *_ = env.step(np.array([pedal, 0.0], np.float32))
        speeds[pedal] = float(after["speed"][0] - before["speed"][0])
    assert speeds[-1.0] < -2.5 < -0.5 < speeds[0.0] < 0.5 < 1.0 < speeds[1.0]


def test_actions_that_make_no_sense_are_refused() -> None:
    env = TownEnv(SMALL)
    with pytest.raises(BadRequest, match="Call reset"):
        env.step(AHEAD)
    env.reset(seed=0)
    with pytest.raises(BadMotion, match="not finite"):
        env.step(AHEAD * np.nan)
    with pytest.raises(BadMotion, match="finite"):
        env.step(AHEAD[:3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"situations": ("stret",)}, "Did you mean 'street'"),
        ({"action": "steering"}, "unknown kind of action"),
        ({"history": 99}, "frames per observation"),
        ({"decision_hz": 3.0}, "must divide"),
        ({"seconds": 900.0}, "last up to"),
        ({"seconds": 0.0}, "Choose a longer one"),
        ({"frequency_hz": 14.0}, "24 Hz"),
    ],
)
def test_setups_that_cannot_work_are_refused(changes: dict, message: str) -> None:
    with pytest.raises((BadRequest, UnknownName), match=message):
        replace(SMALL, **changes)


def test_two_environments_step_side_by_side() -> None:
    envs = gymnasium.make_vec("Detour/Town-v0", num_envs=2, vectorization_mode="sync", setup=SMALL)
    seen, _ = envs.reset(seed=[1, 2])
    alone = [TownEnv(SMALL).reset(seed=seed)[0] for seed in (1, 2)]
    np.testing.assert_array_equal(seen["frames"], np.stack([one["frames"] for one in alone]))
    assert seen["instruction"] == tuple(one["instruction"] for one in alone)
    seen, rewards, *_ = envs.step(np.stack([AHEAD, AHEAD]))
    assert rewards.shape == (2,)
    assert (rewards > 0).all()
    envs.close()


@pytest.mark.slow
def test_two_environments_step_in_processes_of_their_own() -> None:
    options = {"shared_memory": False, "context": "spawn"}
    envs = gymnasium.make_vec(
        "Detour/Town-v0", num_envs=2, vectorization_mode="async", vector_kwargs=options, setup=SMALL
    )
    seen, _ = envs.reset(seed=[1, 2])
    assert seen["instruction"] == tuple(TownEnv(SMALL).reset(seed=seed)[0]["instruction"] for seed in (1, 2))
    envs.close()


# -- drives -----------------------------------------------------------------------------------------------------


class Noted:
    """Drives straight on, and keeps what it was shown."""

    name = "noted"

    def __init__(self, *, needs_pixels: bool) -> None:
        self.needs_pixels = needs_pixels
        self.seen: list[Observation] = []

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        self.seen.append(observation)
        return ConstantVelocityPlanner().plan(observation, seed)


def test_planners_see_the_last_frames_and_replan_every_half_second() -> None:
    planner = Noted(needs_pixels=True)
    done = drive(planner, COURSE, rig=town_rig(1, 32, 16), history=5)
    assert len(planner.seen) == len(done.plans) == 6
    assert [at_s for at_s, _ in done.plans] == pytest.approx(np.arange(6) * 0.5)
    first, second = planner.seen[:2]
    assert first.video.shape == (5, 1, 3, 16, 32)
    np.testing.assert_array_equal(second.video[0], first.video[-1])  # half a second is four frames
    assert first.video.std() > 1
    assert first.instruction


def test_frames_that_a_planner_does_not_look_at_stay_black() -> None:
    every, some = Noted(needs_pixels=True), Noted(needs_pixels=True)
    drive(every, COURSE, rig=town_rig(1, 32, 16), history=5)
    drive(some, COURSE, rig=town_rig(1, 32, 16), history=5, ages=(4, 2, 0))
    for one, other in zip(every.seen, some.seen, strict=True):
        np.testing.assert_array_equal(other.video[[0, 2, 4]], one.video[[0, 2, 4]])
        assert not other.video[[1, 3]].any()


def test_a_driver_sees_what_datasets_show() -> None:
    planner = Noted(needs_pixels=True)
    rig = town_rig(1, 32, 16)
    drive(planner, COURSE, rig=rig, history=2)
    shown = render(simulate("empty_road", 3, seconds=2.125), rig, [15, 16]).rgb
    np.testing.assert_allclose(planner.seen[0].video.astype(int), shown.astype(int), atol=2)


def test_planners_without_eyes_pay_for_no_pictures() -> None:
    planner = Noted(needs_pixels=False)
    drive(planner, COURSE, rig=town_rig(3, 512, 256), history=5)
    assert planner.seen[0].video.shape == (5, 3, 3, 256, 512)
    assert planner.seen[0].video.strides == (0,) * 5  # one byte in memory


def test_the_same_drive_twice_is_the_same() -> None:
    one, two = (drive(ConstantVelocityPlanner(), COURSE) for _ in range(2))
    np.testing.assert_array_equal(one.scene.ego_poses, two.scene.ego_poses)
    assert one.score == two.score


def test_the_expert_drives_as_it_does_without_us() -> None:
    done = drive(PrivilegedExpert(), COURSE)
    alone = from_frame(simulate("empty_road", 3, seconds=5.125), 16)
    frames = len(done.scene)
    np.testing.assert_array_equal(done.scene.ego_poses, alone.ego_poses[:frames])
    assert done.navsim.progress == 1.0
    assert done.conduct.infractions == ()
    assert done.plans == ()


class Remembering:
    """Answers with what the expert will drive."""

    name = "remembering"
    needs_pixels = False

    def __init__(self, course: Course) -> None:
        self.path = simulate(course.situation, course.seed, seconds=course.warmup_s + course.seconds + 5.0)
        self.now_s = course.warmup_s

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        times = np.arange(len(self.path)) / self.path.frequency_hz
        whole = Trajectory(poses=self.path.ego_poses, times_s=times)
        here = whole.resampled(np.array([self.now_s])).poses[0]
        ahead = whole.resampled(self.now_s + PLAN_TIMES_S).seen_from(here)
        self.now_s += 0.5
        return Plan(trajectory=Trajectory(poses=ahead.poses, times_s=PLAN_TIMES_S))


@pytest.mark.parametrize(("situation", "seed"), [("empty_road", 3), ("curvy", 1)])
def test_the_bicycle_follows_the_experts_plans(situation: str, seed: int) -> None:
    course = Course(situation=situation, seed=seed, seconds=8.0)
    done = drive(Remembering(course), course)
    expert = drive(PrivilegedExpert(), course)
    frames = min(len(done.scene), len(expert.scene))
    apart = np.linalg.norm(done.scene.ego_poses[:frames, :2] - expert.scene.ego_poses[:frames, :2], axis=1)
    assert apart.max() < 1.5
    assert done.conduct.infractions == ()
    assert done.score.value == pytest.approx(expert.score.value, abs=4)


def test_a_drive_ends_at_the_first_collision_at_fault() -> None:
    in_the_way = InsertActor(kind="car", x_m=18.0, y_m=0.0, yaw_rad=0.0, speed_mps=0.0, at_s=COURSE.warmup_s)
    done = drive(ConstantVelocityPlanner(), replace(COURSE, seconds=6.0, edits=(in_the_way,)))
    assert done.end == "collision"
    (one,) = done.conduct.infractions
    assert (one.kind, one.track) == ("collision_vehicle", "inserted-0")
    assert one.time_s == pytest.approx((len(done.scene) - 1) / 8)
    assert done.score.penalty <= 0.6
    assert done.navsim.no_at_fault_collision == done.navsim.pdms == 0
    spared = drive(PrivilegedExpert(), done.course)
    assert spared.conduct.infractions == ()


def test_standing_still_breaks_no_rule_and_gets_nowhere() -> None:
    done = drive(StandStillPlanner(), replace(COURSE, seconds=8.0))
    assert done.end == "time"
    assert done.scene.ego_speeds_mps[-1] < 1e-3
    assert done.score.completion < 0.35
    assert done.score.penalty > 0.9


def test_cutting_the_past_off_starts_the_clock_anew() -> None:
    scene = simulate("intersection", 2, seconds=6.0)
    late = from_frame(scene, 16)
    assert len(late) == len(scene) - 16
    np.testing.assert_array_equal(late.ego_poses, scene.ego_poses[16:])
    told = {one.text for one in late.instructions}
    assert told == {one.text for one in scene.instructions if one.end_s > 2.0}
    assert all(one.start_s >= 0 for one in late.instructions)


def test_courses_that_cannot_be_driven_are_refused() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'street'"):
        Course(situation="stret", seed=0)
    with pytest.raises(BadRequest, match="Choose at most 28 s"):
        Course(situation="street", seed=0, seconds=29.0)
    with pytest.raises(BadRequest, match="Choose a longer one"):
        Course(situation="street", seed=0, seconds=0.5)
    with pytest.raises(BadRequest, match="a whole number"):
        Course(situation="street", seed=0, warmup_s=0.3)
    with pytest.raises(BadRequest, match="ticks at 24 Hz"):
        Course(situation="street", seed=0, frequency_hz=0)
    with pytest.raises(BadRequest, match=r"Plan every 0\.5 s"):
        drive(ConstantVelocityPlanner(), COURSE, replan_s=0.3)
    with pytest.raises(UnknownName, match="form of the driving score"):
        Course(situation="street", seed=0, form="4.0")


def test_the_ride_of_constant_controls_is_constant() -> None:
    ride = ride_of(np.tile([1.0, 0.0], (8, 1)), 5.0)
    np.testing.assert_allclose(ride.lon_acceleration, 1.0, atol=1e-9)
    assert len(ride.jerk) == 41
