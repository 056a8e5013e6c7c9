"""Vehicles that come back into view are found, and what is imagined in their place is compared with what could stand there."""

from dataclasses import replace

import numpy as np
import pytest
from makers import make_clip
from town_scenes import HZ, a_body, drive_of

from eval_fid_fvd.remembering import (
    COLORS,
    Looks,
    find_return,
    imagined_returns,
    looks_of,
    nearest,
    other_colors,
)
from worldmodel.memory import Full, Window
from worldmodel.sampling import Sampling
from worldmodel.town.scene import Scene, town_rig


def there_and_back(away_m: float = 60.0) -> Scene:
    """The ego comes from 90 m away, passes a parked car at 9 m/s, turns round `away_m` beyond it, and comes back."""
    step = 9.0 / HZ
    ahead = np.arange(-90.0, away_m, step)
    yaws = np.linspace(0, np.pi, 12)
    there = np.stack([ahead, np.zeros_like(ahead), np.zeros_like(ahead)], axis=-1)
    turn = np.stack([away_m + 3 * np.sin(yaws), 3 - 3 * np.cos(yaws), yaws], axis=-1)
    back = np.stack([ahead[::-1], np.full_like(ahead, 6.0), np.full_like(ahead, np.pi)], axis=-1)
    poses = np.concatenate([there, turn, back])
    return drive_of(poses, np.full(len(poses), 9.0), bodies=[a_body("car", "car-1", at=(0.0, 3.0))])


def test_a_vehicle_that_leaves_the_view_and_comes_back_is_found():
    scene = there_and_back()
    found = find_return(scene, chunks=32, per_chunk=4, horizon=48, gap_s=4.0)
    assert found is not None
    assert found.body == 0
    assert (found.now - found.first, found.now % 4) == (32 * 4, 0)
    assert found.gap_s >= 4.0
    assert found.seen_s > 0.4
    assert scene.ego_poses[found.now, 2] == pytest.approx(np.pi)  # on the way back
    assert all(found.now <= frame < found.now + 48 for frame in found.judged)
    away = [np.hypot(*(scene.ego_poses[f, :2] - [0.0, 3.0])) for f in (found.now, *found.judged)]
    assert away[0] > 25
    assert max(away[1:]) < 26


@pytest.mark.parametrize(
    "change",
    [{"gap_s": 60.0}, {"chunks": 200}, {"horizon": 2}],
    ids=["not away for so long", "no such past", "not back so soon"],
)
def test_what_does_not_fit_is_left_out(change):
    assert (
        find_return(there_and_back(), **{"chunks": 32, "per_chunk": 4, "horizon": 48, "gap_s": 4.0, **change}) is None
    )


def test_what_every_sink_would_keep_is_left_out():
    """The first chunk that is read must not show the vehicle."""
    scene = there_and_back()
    found = find_return(scene, chunks=32, per_chunk=4, horizon=48, gap_s=4.0)
    passed = int(np.argmin(np.abs(scene.ego_poses[: len(scene) // 2, 0] + 15)))  # 15 m before the car
    assert find_return(scene, chunks=(found.now - passed) // 4, per_chunk=4, horizon=48, gap_s=4.0) is None


def test_the_true_rendering_is_the_nearest_to_real_frames_and_another_one_to_its_own():
    scene = there_and_back()
    found = find_return(scene, chunks=32, per_chunk=4, horizon=48, gap_s=4.0)
    found = replace(found, judged=found.judged[-2:])
    looks = looks_of(found, town_rig(1, 48, 24))
    assert len(looks.colors) == COLORS
    real = looks.colors[0]
    noisy = np.clip(real.astype(int) + np.random.default_rng(0).integers(-8, 9, real.shape), 0, 255).astype(np.uint8)
    assert looks.agreement(noisy) == {"color": 1.0, "kind": 1.0, "presence": 1.0}
    for number in range(COLORS):
        assert nearest(looks.colors[number], looks.colors) == number
    assert looks.agreement(looks.kinds[1])["kind"] == 0.0
    assert looks.agreement(looks.presence[1])["presence"] == 0.0


def test_pixels_in_which_nothing_differs_do_not_count():
    looks = np.full((2, 1, 1, 3, 4, 4), 100, np.uint8)
    assert nearest(looks[0], looks) == -1
    looks[1, ..., 0, 0] = 200
    frames = np.zeros_like(looks[0])  # far from both, but nearer to the first where they differ
    assert nearest(frames, looks) == 0
    frames[..., 0, 0] = 180
    assert nearest(frames, looks) == 1
    assert Looks(colors=looks, kinds=looks, presence=looks).agreement(frames)["color"] == 0.0


def test_colors_that_compete_differ_from_the_true_one_and_each_other():
    for true in ((0.1, 0.2, 0.5), (0.45, 0.47, 0.5)):
        colors = [true, *other_colors(true)]
        apart = [np.linalg.norm(np.subtract(a, b)) for i, a in enumerate(colors) for b in colors[:i]]
        assert len(colors) == COLORS
        assert min(apart) > 0.2


def test_a_model_reads_real_frames_into_any_memory_before_it_imagines(tiny_model):
    clips = [make_clip(24, seed=seed, instruction="") for seed in range(2)]
    made = {}
    for name, memory in (("full", Full()), ("window", Window(sink=1, recent=9)), ("last", Window(sink=0, recent=1))):
        video, past = imagined_returns(tiny_model, clips, memory, read=16, sampling=Sampling(steps=1))
        assert video.shape == (2, 8, 3, 3, 32, 64)
        assert (past.frames, past.memory.chunks) == (16, 4)  # before it imagines
        made[name] = video
    assert np.array_equal(made["full"], made["window"])
    assert not np.array_equal(made["full"], made["last"])
