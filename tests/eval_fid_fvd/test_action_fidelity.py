from pathlib import Path

import numpy as np
import pytest

from eval_fid_fvd.action_fidelity import action_fidelity, action_fidelity_of_videos
from eval_fid_fvd.obedience.read_back import path_distances, path_errors
from eval_fid_fvd.readers import Readers
from worldmodel.errors import BadMotion, BadRequest
from worldmodel.geometry import Motion
from worldmodel.town.dataset import town_clip
from worldmodel.town.scene import town_rig

CARD = {
    "frames": 8,
    "frequency_hz": 8.0,
    "condition_frames": 1,
    "cameras": "3, pooled",
    "size": "128x64",
    "codec": "arrays",
    "device": "cpu",
}


def motion(forward=1.0, turn=0.0, steps=8):
    return Motion(deltas=np.tile([forward, 0.0, turn], (steps, 1)), period_s=1 / 8)


def test_paths_that_differ_in_speed_part_evenly():
    mean, final = path_distances([motion(1.0).deltas], [motion(1.5).deltas])
    assert mean == pytest.approx([0.5 * np.arange(1, 9).mean()])
    assert final == pytest.approx([4.0])


def test_distances_are_those_of_the_trajectories(rng):
    steps = [rng.normal(size=(3, 8, 3)) for _ in range(2)]
    mean, final = path_distances(*steps)
    for i, (a, b) in enumerate(zip(*steps, strict=True)):
        poses = [Motion(deltas=side, period_s=0.1).trajectory().poses[1:, :2] for side in (a, b)]
        apart = np.linalg.norm(poses[0] - poses[1], axis=1)
        assert (mean[i], final[i]) == pytest.approx((apart.mean(), apart[-1]))
    pairs = [[Motion(deltas=one, period_s=0.1) for one in side] for side in steps]
    np.testing.assert_allclose(path_errors(*pairs), mean)


def test_a_turn_of_the_whole_drive_changes_nothing(rng):
    a, b = rng.normal(size=(2, 4, 6, 3))
    np.testing.assert_allclose(path_distances(a, b), path_distances(b, a))
    assert path_distances(a, a)[0] == pytest.approx(np.zeros(4))


def test_the_reader_stands_in_the_name_and_its_own_error_beside_the_number():
    asked = [motion(1.0), motion(2.0), motion(1.0, 0.1)]
    read = [motion(1.1), motion(2.1), motion(1.1, 0.1)]
    found = action_fidelity(
        read, asked, CARD, reader="readers-0123", read_of_real=[motion(1.05), motion(2.05)], driven=asked[:2]
    )
    assert found.ade.name == "ACTION ADE[readers-0123]"
    assert found.final.name == "ACTION FDE[readers-0123]"
    assert found.ade.value == pytest.approx(path_errors(read, asked).mean())
    assert found.ade.floor == pytest.approx(0.05 * 4.5)
    assert "reader's own error" in found.ade.card.floor_rule
    assert found.ade.interval[0] <= found.ade.value <= found.ade.interval[1]
    assert (found.ade.n_a, found.ade.n_b) == (3, 2)
    assert found.others_m > 3 * found.ade.value
    assert found.correlation["speed"] == pytest.approx(1)


def test_without_real_video_no_level_is_invented_and_one_clip_has_no_others():
    found = action_fidelity([motion()], [motion(1.2)], CARD, reader="r")
    assert (found.ade.floor, found.ade.interval, found.others_m, found.correlation) == (None, None, None, {})
    assert found.ade.card.floor_rule == "none"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(BadRequest, match="errors grow with length"):
        action_fidelity([motion(steps=8)], [motion(steps=7)], CARD, reader="r")
    with pytest.raises(BadRequest, match="each needs its partner"):
        action_fidelity([motion()], [motion()], CARD, reader="r", read_of_real=[motion()])
    with pytest.raises(BadRequest, match="0 motions"):
        action_fidelity([], [], CARD, reader="r")
    with pytest.raises(BadRequest, match="Pair them"):
        path_distances(np.zeros((2, 8, 3)), np.zeros((2, 7, 3)))
    with pytest.raises(BadMotion, match="not finite"):
        path_distances(np.full((1, 8, 3), np.nan), np.zeros((1, 8, 3)))


@pytest.mark.slow
def test_a_true_video_is_read_well_and_a_frozen_or_hurried_one_is_not():
    readers = Readers.from_pretrained(Path(__file__).parents[2] / "assets" / "readers")
    clips = [town_clip(name, seed, rig=town_rig(3, 128, 64), seconds=2.2, frequency_hz=8) for name, seed in
             (("street", 7), ("curvy", 8))]  # fmt: skip
    videos = [clip.video[:9] for clip in clips]
    drives = [clip.motion[:8] for clip in clips]

    def ade(shown):
        return action_fidelity_of_videos(readers, shown, drives, CARD, real=videos, driven=drives).ade

    true = ade(videos)
    assert true.name == f"ACTION ADE[readers-{readers.hash[:8]}]"
    assert true.value == true.floor < 1.0
    frozen = ade([np.repeat(video[:1], 9, axis=0) for video in videos])
    hurried = ade([clip.video[:17:2] for clip in clips])
    assert min(frozen.value, hurried.value) > 3 * true.value
    assert frozen.floor == true.value
