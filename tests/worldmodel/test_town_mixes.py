"""Which scenes a dataset holds: situations in turn, or a mix with a promised share of vision-critical moments."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array
from worldmodel.plans import Decision
from worldmodel.town import mixes
from worldmodel.town.mixes import MIXES, mixed_scenes, scene_list
from worldmodel.town.records.moments import (
    CRITICAL_M,
    Moments,
    constant_motion,
    critical_share,
    decision_shares,
    moment_frames,
    moments_of,
)
from worldmodel.town.scene import Scene
from worldmodel.town.traffic import SITUATIONS, simulate

KEEP = Decision(lateral="straight", longitudinal="keep")


# -- the ego-status gap -----------------------------------------------------------------------------------------


def driven(poses: Array, speeds: Array) -> Scene:
    """A scene at 8 Hz whose ego goes where it is told."""
    scene = simulate("empty_road", 1, seconds=len(poses) / 8)
    return replace(scene, ego_poses=poses, ego_speeds_mps=speeds)


def circle(speed: float, yaw_rate: float, frames: int = 40) -> Array:
    times = np.arange(frames) / 8
    return np.concatenate([constant_motion(speed, yaw_rate, times), (yaw_rate * times)[:, None]], axis=1)


@pytest.mark.parametrize(("speed", "yaw_rate"), [(10.0, 0.0), (8.0, 0.4), (5.0, -0.6), (0.0, 0.0)])
def test_steady_driving_has_no_gap(speed: float, yaw_rate: float) -> None:
    found = moments_of(driven(circle(speed, yaw_rate), np.full(40, speed)))
    assert len(found) == 4  # 0, 0.5, 1 and 1.5 s of 5 s, of which the last frame is at 4.875 s
    np.testing.assert_allclose(found.gaps_m, 0.0, atol=1e-9)
    assert found.critical == 0


def test_braking_has_the_gap_of_the_textbook() -> None:
    times, brake = np.arange(40) / 8, 2.0
    poses = np.stack([10 * times - brake * times**2 / 2, 0 * times, 0 * times], axis=1)
    found = moments_of(driven(poses, 10 - brake * times))
    ade = np.mean([brake * t**2 / 2 for t in (0.5, 1, 1.5, 2, 2.5, 3)])
    np.testing.assert_allclose(found.gaps_m, ade, atol=1e-9)
    assert found.critical == len(found) == 4
    assert ade > CRITICAL_M


def test_a_moment_has_three_seconds_after_it() -> None:
    assert list(moment_frames(64, 8.0)) == list(range(0, 40, 4))
    assert list(moment_frames(25, 8.0)) == [0]
    assert list(moment_frames(24, 8.0)) == []
    assert list(moment_frames(14, 4.0)) == [0]
    assert len(moments_of(simulate("empty_road", 1, seconds=3))) == 0


def test_shares_are_over_all_moments() -> None:
    turn = Decision(lateral="left", longitudinal="slow")
    scenes = [
        Moments(gaps_m=(0.1, 2.0, 0.2), decisions=((KEEP,) * 3,) * 3),
        Moments(gaps_m=(5.0,), decisions=((KEEP, turn, turn),)),
    ]
    assert critical_share(scenes) == 0.5
    shares = decision_shares(scenes)
    assert shares["1 s"]["keep"] == 1.0
    assert shares["2 s"]["left"] == shares["3 s"]["slow"] == 0.25
    assert critical_share([]) == 0.0


# -- situations in turn -----------------------------------------------------------------------------------------


def test_scene_lists_mix_situations_and_keep_splits_apart() -> None:
    count = 3 * len(SITUATIONS)
    train, val, test = (scene_list(count, 3, split=split) for split in ("train", "val", "test"))
    assert Counter(name for name, _ in train) == dict.fromkeys(SITUATIONS, 3)
    assert len(set(train)) == count
    assert max(seed for _, seed in train) < 1_000_000
    assert all(1_000_000 <= seed < 2_000_000 for _, seed in val)
    assert all(2_000_000 <= seed < 3_000_000 for _, seed in test)
    assert train == scene_list(count, 3) == mixed_scenes(None, count, 3, seconds=1.0)
    assert train != scene_list(count, 4)


def test_a_repeated_situation_weighs_more() -> None:
    counts = Counter(name for name, _ in scene_list(30, 0, situations=["street", "curvy", "street"]))
    assert counts == {"street": 20, "curvy": 10}


def test_bad_scene_lists_are_explained() -> None:
    with pytest.raises(UnknownName, match="street"):
        scene_list(4, 0, situations=["stret"])
    with pytest.raises(UnknownName, match="train"):
        scene_list(4, 0, split="trian")
    for scenes in (0, -1, 10**9):
        with pytest.raises(BadRequest, match="scenes"):
            scene_list(scenes, 0)
    for seed in (-1, 2**63):
        with pytest.raises(BadRequest, match="seed"):
            scene_list(4, seed)
    with pytest.raises(BadRequest, match="situation"):
        scene_list(4, 0, situations=[])


# -- mixes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments drawn at random instead of simulated: each situation has its own share of critical ones."""

    def score(pair: tuple[str, int], *, seconds: float, frequency_hz: float) -> Moments:
        rng = np.random.default_rng([pair[1], len(pair[0])])
        hard = 0.45 if pair[0] != "empty_road" else 0.0
        sideways = rng.choice(["straight", "left", "right", "slight_left", "slight_right"], p=[0.9] + [0.025] * 4)
        ahead = rng.choice(["keep", "slow", "accelerate", "stop"], p=[0.76, 0.16, 0.06, 0.02])
        decision = Decision(lateral=str(sideways), longitudinal=str(ahead))
        gaps = np.where(rng.random(10) < rng.beta(1, 1 / hard - 1), 3.0, 0.1) if hard else np.zeros(10)
        return Moments(gaps_m=tuple(gaps.tolist()), decisions=((decision,) * 3,) * 10)

    monkeypatch.setattr(mixes, "_moments", score)


@pytest.mark.parametrize("scenes", [40, 150])
@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_keeps_its_promise(invented: None, mix: str, scenes: int) -> None:
    chosen = mixed_scenes(mix, scenes, 5, seconds=8)
    assert len(set(chosen)) == scenes
    moments = [mixes._moments(pair, seconds=8, frequency_hz=8) for pair in chosen]
    assert MIXES[mix].lowest <= critical_share(moments) <= MIXES[mix].highest
    assert min(decision_shares(moments)["2 s"].values()) >= 0.02
    counts = Counter(name for name, _ in chosen)
    assert len(counts) >= 0.8 * len(SITUATIONS)


def test_a_mix_is_a_pure_function_of_its_arguments(invented: None) -> None:
    chosen = mixed_scenes("rich", 70, 5, seconds=8, split="val")
    assert chosen == mixed_scenes("rich", 70, 5, seconds=8, split="val")
    assert chosen[:64] == mixed_scenes("rich", 64, 5, seconds=8, split="val")  # block by block
    assert chosen != mixed_scenes("rich", 70, 6, seconds=8, split="val")
    assert all(1_000_000 <= seed < 2_000_000 for _, seed in chosen)


def test_a_mix_that_cannot_be_made_is_explained(invented: None) -> None:
    with pytest.raises(BadRequest, match=r"of empty_road 0% are vision-critical at best.*'rich' needs at least 50%"):
        mixed_scenes("rich", 8, 0, seconds=8, situations=["empty_road"])
    with pytest.raises(UnknownName, match="Did you mean 'natural'"):
        mixed_scenes("naturel", 8, 0, seconds=8)
    with pytest.raises(BadRequest, match="looks 3 s ahead"):
        mixed_scenes("rich", 8, 0, seconds=3)


def share_of_real_scenes(mix: str, scenes: int, situations: list[str] | None, workers: int = 1) -> list[Moments]:
    chosen = mixed_scenes(mix, scenes, 0, situations=situations, seconds=6, workers=workers)
    return [moments_of(simulate(*pair, seconds=6)) for pair in chosen]


def test_real_scenes_make_up_both_mixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixes, "FEWEST", 8)
    situations = ["empty_road", "stop_and_go"]
    for mix in MIXES:
        share = critical_share(share_of_real_scenes(mix, 2, situations))
        assert MIXES[mix].lowest <= share <= MIXES[mix].highest


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_all_situations_make_up_both_mixes_with_every_decision(mix: str) -> None:
    moments = share_of_real_scenes(mix, 64, None, workers=2)
    assert MIXES[mix].lowest <= critical_share(moments) <= MIXES[mix].highest
    assert min(decision_shares(moments)["2 s"].values()) >= 0.02
