"""The ego wanders: the same way every time, drivably, and otherwise than the expert; stores say which clips it does so in."""

from pathlib import Path

import numpy as np

from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate
from worldmodel.town.wander import ASIDE_M, wander
from worldmodel.training.town_store import town_store


def test_a_wandering_drive_is_the_same_every_time_and_begins_with_the_shorter_one() -> None:
    one, two, short = (wander("street", 3, seconds=seconds) for seconds in (4, 4, 2))
    assert np.array_equal(one.ego_poses, two.ego_poses)
    assert np.array_equal(one.body_poses[: len(short)], short.body_poses)
    assert np.array_equal(one.ego_poses[: len(short)], short.ego_poses)
    assert one.id == "street-3+driven"


def test_it_starts_where_the_expert_starts_and_then_varies_speed_and_place_more() -> None:
    spread = []
    for seed in range(4):
        wandering, expert = wander("empty_road", seed, seconds=6), simulate("empty_road", seed, seconds=6)
        assert np.array_equal(wandering.ego_poses[0], expert.ego_poses[0])
        deltas = [scene.trajectory().motion().deltas for scene in (wandering, expert)]
        spread.append([d.std(axis=0) for d in deltas])
    wandering, expert = np.mean(spread, axis=0)
    assert wandering[0] > 2 * expert[0]
    assert wandering[2] > 1.3 * expert[2]


def test_it_stays_in_reach_of_its_lane_and_moves_like_a_car() -> None:
    scene = wander("curvy", 5, seconds=8)
    apart = np.hypot(*(scene.ego_poses[:, None, :2] - scene.route).transpose(2, 0, 1)).min(axis=1)
    assert apart.max() < ASIDE_M + 0.8
    deltas = scene.trajectory().motion().deltas
    assert (deltas[:, 0] >= 0).all()
    assert np.abs(np.diff(scene.ego_speeds_mps)).max() * scene.frequency_hz < 9
    assert np.abs(deltas[:, 1]).max() < 0.15 * max(1.0, deltas[:, 0].max())


def test_a_store_spreads_the_wandering_clips_and_gives_them_no_plan(tmp_path: Path) -> None:
    scenes = [("street", seed) for seed in range(4)]
    store = town_store(
        tmp_path / "store", scenes, town_rig(1, 32, 16), video_s=0.25, scene_s=0.5, frequency_hz=8.0, wander=0.5
    )
    assert store.expert == (True, False, True, False)
    assert np.array_equal(store.deltas[0], simulate("street", 0, seconds=0.5).trajectory().motion().deltas)
    assert np.array_equal(store.deltas[1], wander("street", 1, seconds=0.5).trajectory().motion().deltas)
