"""The driver notices something late: it was in sight all along, and nothing but its own braking answers it."""

from pathlib import Path

import numpy as np
import pytest

from worldmodel.geometry import relative
from worldmodel.town import surprises
from worldmodel.town.render import render
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.surprises import BLIND_S, LATE_FRAMES, surprise
from worldmodel.town.traffic import simulate
from worldmodel.training.town_store import town_store

SITUATIONS = ("empty_road", "street", "curvy")


def obstacle(scene: Scene) -> int | None:
    found = [b for b, body in enumerate(scene.bodies) if body.track.startswith("inserted-")]
    return found[0] if found else None


def test_the_same_seed_surprises_in_the_same_way() -> None:
    one, two = (surprise("street", 3, seconds=5) for _ in range(2))
    assert one.id == two.id
    assert np.array_equal(one.ego_poses, two.ego_poses)
    assert np.array_equal(one.body_poses, two.body_poses)
    assert len(one) == 40


def test_the_obstacle_stands_ahead_from_the_first_frame_on() -> None:
    for situation in SITUATIONS:
        scene = surprise(situation, 1, seconds=5)
        number = obstacle(scene)
        assert number is not None
        assert scene.body_present[:, number].all()
        assert not np.diff(scene.body_poses[:, number], axis=0).any()
        assert relative(scene.ego_poses[0], scene.body_poses[0, number])[0] > 0


def test_nobody_reacts_before_the_driver_can_have_noticed() -> None:
    blind = round(BLIND_S * 8)
    for situation in SITUATIONS:
        scene = surprise(situation, 2, seconds=5)
        factual = simulate(situation, 2, seconds=9)
        start = int(np.argmin(np.hypot(*(factual.ego_poses[:, :2] - scene.ego_poses[0, :2]).T)))
        same = slice(start, start + blind)
        assert np.array_equal(scene.ego_poses[:blind], factual.ego_poses[same])
        assert np.array_equal(scene.ego_speeds_mps[:blind], factual.ego_speeds_mps[same])


def test_an_obstacle_in_the_lane_makes_it_brake_and_one_beside_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surprises, "AHEAD_M", (15.0, 16.0))
    monkeypatch.setattr(surprises, "KINDS", ("car",))
    driven = {}
    for share in (1.0, 0.0):
        monkeypatch.setattr(surprises, "IN_LANE", share)
        monkeypatch.setattr(surprises, "BESIDE_M", (8.0, 9.0))
        scenes = [surprise("empty_road", seed, seconds=6) for seed in range(4)]
        now = round(BLIND_S * 8) + LATE_FRAMES
        driven[share] = np.mean([scene.ego_speeds_mps[now + 16] / scene.ego_speeds_mps[now] for scene in scenes])
    assert driven[1.0] < 0.5
    assert driven[0.0] > 0.8


def test_without_a_free_place_the_drive_goes_on_as_it_would_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surprises, "AHEAD_M", (0.0, 0.0))
    monkeypatch.setattr(surprises, "IN_LANE", 0.0)
    monkeypatch.setattr(surprises, "BESIDE_M", (900.0, 901.0))  # off the map
    scene = surprise("street", 4, seconds=3)
    assert scene.id == "street-4"
    assert obstacle(scene) is None
    assert len(scene) == 24


def test_a_store_spreads_the_surprises_and_they_teach_plans(tmp_path: Path) -> None:
    scenes = [("empty_road", seed) for seed in range(2)]
    store = town_store(
        tmp_path / "store", scenes, town_rig(1, 32, 16), video_s=0.25, scene_s=1.0, frequency_hz=8.0, surprises=0.5
    )
    assert store.expert == (True, True)
    assert store.made_from["surprises"] == 0.5
    assert np.array_equal(store.deltas[0], simulate("empty_road", 0, seconds=1).trajectory().motion().deltas)
    assert np.array_equal(store.deltas[1], surprise("empty_road", 1, seconds=1).trajectory().motion().deltas)


def test_boards_above_the_road_come_at_times_and_bother_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    driven = {}
    for share in (1.0, 0.0):
        monkeypatch.setattr(surprises, "OVERHEAD", share)
        driven[share] = surprise("street", 5, seconds=3)
    boards = [[prop for prop in scene.stage.props if prop.kind == "overhead"] for scene in driven.values()]
    assert [len(found) for found in boards] == [1, 0]
    assert np.array_equal(driven[1.0].ego_poses, driven[0.0].ego_poses)
    ahead = relative(driven[1.0].ego_poses[0], np.array([boards[0][0].x_m, boards[0][0].y_m, 0.0]))
    assert 15 < ahead[0] < 75
    with_board, without = (render(scene, town_rig(1, 64, 32), [0]) for scene in driven.values())
    changed = (with_board.rgb != without.rgb).any(axis=2)[0, 0]
    assert changed.any()
    assert np.array_equal(with_board.instance >= 0, without.instance >= 0)  # no road user
    assert not changed[20:].any()  # high up in the picture alone
