"""Readers know nothing of a world model: what they match, where they look, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval_fid_fvd.crops import Sight, cut_out, hand_overs, leader_of, sight_of, sights
from eval_fid_fvd.matching import FEATURES, matches
from eval_fid_fvd.readers import Readers, ReadersConfig
from worldmodel.clips import Box
from worldmodel.errors import BadCheckpoint, BadVideo, ClipTooShort
from worldmodel.town.scene import WEATHERS, town_rig

ASSETS = Path(__file__).parents[2] / "assets" / "readers"


def box(x, y, *, track="car", yaw=0.0, kind="car"):
    return Box(track=track, kind=kind, center=np.array([x, y, 0.75]), size=np.array([4.4, 1.8, 1.5]), yaw_rad=yaw)


@pytest.fixture
def readers():
    torch.manual_seed(0)
    return Readers(ReadersConfig())


def textured(rng, frames=3, moved=(0, 0)):
    """uint8 [frames, 3, 3, 64, 128]: a random texture that moves by (right, down) pixels of half-size pictures."""
    coarse = rng.integers(0, 256, (3, 3, 32, 64)).astype(np.uint8)
    video = [np.roll(coarse, (k * moved[1], k * moved[0]), axis=(-1, -2)[::-1]) for k in range(frames)]
    return np.stack(video).repeat(2, axis=-1).repeat(2, axis=-2)


# -- matching -----------------------------------------------------------------------------------------------------


def test_matched_patches_tell_how_far_a_picture_moved(rng):
    features = matches(textured(rng, moved=(3, 2))).reshape(2, 3, 9, 12, 6)
    inner = features[:, :, 2:7, 2:10]
    torch.testing.assert_close(inner[..., 3] * 4, torch.full_like(inner[..., 3], 2.0), atol=0.3, rtol=0)  # down
    torch.testing.assert_close(inner[..., 4] * 4, torch.full_like(inner[..., 4], 3.0), atol=0.3, rtol=0)  # right
    assert (inner[..., 0] > 0.85).all()


def test_matching_does_not_care_for_brightness_and_contrast(rng):
    video = textured(rng, moved=(1, 0))
    dim = (video * 0.5 + 40).astype(np.uint8)
    bright, dark = (matches(one).reshape(2, 3, 9, 12, 6)[:, :, 2:7, 2:10, 3:5] for one in (video, dim))
    torch.testing.assert_close(bright, dark, atol=0.05, rtol=0)  # the narrow places, away from the edges


def test_a_picture_that_stands_still_matches_itself(rng):
    features = matches(textured(rng)).reshape(2, 3, 108, 6)
    assert features.shape[1] * features.shape[2] * features.shape[3] == 3 * FEATURES
    assert (features[..., 5] > 0.85).all()
    assert (features[..., 5] == features[..., 0]).all()


# -- where to look ------------------------------------------------------------------------------------------------


def test_a_box_becomes_a_rectangle_around_it():
    camera = town_rig(3).cameras[1]
    one = sight_of(box(12.0, 0.0), camera)
    pixels, _, inside = camera.project(box(12.0, 0.0).corners())
    assert inside.all()
    assert one.left == pytest.approx(pixels[:, 0].min() + 0.5)
    assert one.bottom == pytest.approx(pixels[:, 1].max() + 0.5)
    assert one.inside == pytest.approx(1)
    assert sight_of(box(-12.0, 0.0), camera) is None
    assert sight_of(box(1.0, 0.0), camera) is None  # reaches behind the camera


def test_hidden_small_and_other_things_are_not_sights():
    camera = town_rig(3).cameras[1]
    near, far, tiny = box(9.0, 0.0, track="near"), box(16.0, 0.0, track="far"), box(39.0, 5.0, track="tiny")
    found = sights([near, far, tiny, box(12.0, 4.0, track="man", kind="pedestrian")], camera)
    assert [one.track for one in found] == ["near"]


def test_the_leader_is_the_nearest_in_our_lane_that_drives_our_way():
    others = [box(8.0, 3.5, track="oncoming", yaw=np.pi), box(20.0, 0.2, track="far"), box(6.0, -3.5, track="aside")]
    assert leader_of([*others, box(12.0, 0.1, track="mine")]) == "mine"
    assert leader_of(others[::2]) is None
    assert leader_of([box(20.0, 5.0, track="round the bend", yaw=0.5)]) == "round the bend"


def test_a_vehicle_that_passes_from_camera_to_camera_is_a_hand_over():
    rig = town_rig(3)
    frames = [[box(x, 5.0, track="oncoming", yaw=np.pi)] for x in np.arange(24.0, 2.0, -1.0)]
    (found,) = hand_overs(frames, rig)
    assert (rig.names[found.before[1]], rig.names[found.after[1]]) == ("front", "front_left")
    assert found.before[0] < found.after[0]
    assert hand_overs(frames[:5], rig) == ()


def test_a_cut_out_shows_what_is_in_its_place():
    picture = np.zeros((3, 64, 128), np.uint8)
    picture[0, 20:30, 40:60] = 255
    place = Sight(track="", kind="car", left=40, top=20, right=60, bottom=30, depth_m=9, inside=1)
    cut = cut_out(picture, place)
    assert cut.shape == (3, 24, 24)
    assert float(cut[0, 12, 12]) == pytest.approx(1)
    assert float(cut[0, 0].max()) == pytest.approx(0)
    assert float(cut[1].max()) == 0


# -- the readers --------------------------------------------------------------------------------------------------


def test_readers_are_the_same_after_saving(readers, rng, tmp_path):
    video = textured(rng)
    readers.half().float()
    readers.save_pretrained(tmp_path / "readers", "# card")
    again = Readers.from_pretrained(tmp_path / "readers")
    assert again.config == readers.config
    assert np.array_equal(again.read_motion(video, 8.0).deltas, readers.read_motion(video, 8.0).deltas)
    assert again.hash == readers.hash


def test_answers_have_their_shapes(readers, rng):
    video = textured(rng)
    place = Sight(track="", kind="car", left=40, top=20, right=60, bottom=30, depth_m=9, inside=1)
    assert readers.read_motion(video, 8.0).deltas.shape == (2, 3)
    assert readers.weather_scores(video).sum() == pytest.approx(1)
    assert readers.read_weather(video) in WEATHERS
    for answer in (readers.brake_lights(video[:, 1], [place] * 3), readers.vehicle_there(video[:, 1], [place] * 3)):
        assert answer.shape == (3,)
        assert ((answer >= 0) & (answer <= 1)).all()
    assert readers.vehicle_there(video[:0, 1], []).shape == (0,)


def test_other_rates_rigs_and_single_frames_are_refused(readers, rng):
    video = textured(rng)
    with pytest.raises(BadVideo, match="Resample the video"):
        readers.read_motion(video, 10.0)
    with pytest.raises(BadVideo, match="rig with three cameras"):
        readers.read_motion(video[:, :1], 8.0)
    with pytest.raises(ClipTooShort, match="at least two frames"):
        readers.read_motion(video[:1], 8.0)


def test_another_folder_is_no_readers(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "other"}')
    with pytest.raises(BadCheckpoint):
        Readers.from_pretrained(tmp_path)


@pytest.mark.slow
def test_shipped_readers_read_true_frames():
    """On eight held-out clips: motion within its errors and every weather."""
    from eval_fid_fvd.planning import motion_correlation
    from worldmodel.io.lerobot import Dataset

    readers, data = Readers.from_pretrained(ASSETS), Dataset.open(ASSETS.parent / "clips")
    clips = [data.clip(episode, 2.0, 4.0) for episode in range(data.episodes)]
    found = motion_correlation([readers.read_motion(c.video, 8.0) for c in clips], [c.motion for c in clips])
    assert found["speed"] > 0.6  # 0.74; speeds are pulled towards the middle (the card says how far)
    assert found["yaw_rate"] > 0.9
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) < 2 * 2**20
