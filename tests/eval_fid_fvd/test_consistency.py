from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eval_fid_fvd.consistency import (
    METRIC,
    consistency_scores,
    disagreement,
    disagreement_of_strangers,
    overlaps_of,
)
from worldmodel.errors import BadRequest, BadRig, BadVideo
from worldmodel.geometry import Rig
from worldmodel.io.lerobot import Dataset
from worldmodel.town.rigs import nuscenes_rig
from worldmodel.town.scene import town_rig

CARD = {"frames": 2, "frequency_hz": 8.0, "condition_frames": 0, "codec": "arrays", "device": "cpu"}
SIZE = (64, 40)


def painted(rig, seed=0, frames=2):
    """What cameras see of a smooth, colourful ground under a grey sky: uint8 [time, camera, 3, h, w]."""
    random = np.random.default_rng(seed)
    waves, phases = random.normal(0, 0.3, (3, 6, 2)), random.uniform(0, 6, (3, 6))
    origins, rays = rig.rays()
    views = []
    for t in range(frames):
        far = np.where(rays[..., 2] < 0, -origins[:, None, None, 2] / np.minimum(rays[..., 2], -1e-6), 0)
        places = (origins[:, None, None] + rays * far[..., None])[..., :2] + [t, 0]
        colours = np.sin(np.einsum("chwi,ksi->kschw", places, waves) + phases[..., None, None, None]).mean(axis=1)
        views.append(np.where(rays[..., 2] < 0, 127 + 100 * colours, 127).transpose(1, 0, 2, 3))
    return np.stack(views).clip(0, 255).astype(np.uint8)


def turned(rig, number, degrees, axis):
    """The rig with one camera's calibration turned by some degrees about its own axis 'pitch', 'yaw' or 'roll'."""
    i, j = {"pitch": (1, 2), "yaw": (2, 0), "roll": (0, 1)}[axis]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[i, i] = turn[j, j] = cos
    turn[i, j], turn[j, i] = -sin, sin
    cameras = list(rig.cameras)
    cameras[number] = replace(cameras[number], ego_from_camera=cameras[number].ego_from_camera @ turn)
    return Rig(cameras=tuple(cameras))


def mean_disagreement(video, rig):
    return float(disagreement(video, overlaps_of(rig)).mean())


def shifted(video, number, pixels, axis):
    moved = video.copy()
    moved[:, number] = np.roll(video[:, number], pixels, axis=axis)
    return moved


def assert_grows(values):
    assert all(a < b for a, b in pairwise(values)), values


def test_neighbours_share_ground_and_all_pairs_are_named():
    found = overlaps_of(town_rig(3, *SIZE))
    assert [ground.name for ground in found.pairs] == ["front_left+front", "front+front_right"]
    assert found.alone == ()
    assert len(found.pairs[0]) == len(found.pairs[1]) > 100


def test_places_of_a_pair_are_the_same_ground():
    rig = nuscenes_rig(96, 56)
    for ground in overlaps_of(rig).pairs:
        spots = []
        for number, pixels in zip(ground.pair, (ground.there, ground.here), strict=True):
            camera = rig.cameras[number]
            rays = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(camera.intrinsics).T
            rays = rays @ camera.ego_from_camera[:3, :3].T
            eye = camera.ego_from_camera[:3, 3]
            spots.append(eye + rays * (-eye[2] / rays[:, 2])[:, None])
        np.testing.assert_allclose(*spots, atol=1e-6)


def test_painted_ground_agrees_and_unrelated_ground_does_not():
    rig = town_rig(3, 128, 80)
    overlaps = overlaps_of(rig)
    assert disagreement(painted(rig), overlaps).max() < 0.02
    assert np.abs(disagreement_of_strangers(painted(rig), painted(rig, seed=1), overlaps) - 1).max() < 0.35
    np.testing.assert_array_equal(
        disagreement_of_strangers(painted(rig), painted(rig), overlaps), disagreement(painted(rig), overlaps)
    )


def test_contrast_does_not_matter_but_a_brighter_camera_does():
    rig = town_rig(3, *SIZE)
    video = painted(rig) // 2 + 40
    pale = (video // 4 + 60).astype(np.uint8)
    assert mean_disagreement(pale, rig) == pytest.approx(mean_disagreement(video, rig), abs=0.02)
    values = []
    for step in (0, 10, 20, 40):
        bright = video.copy()
        bright[:, 1] += np.uint8(step)
        values.append(mean_disagreement(bright, rig))
    assert_grows(values)


@pytest.mark.parametrize("axis", ["yaw", "pitch", "roll"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_every_degree_of_a_wrong_calibration_is_worse(axis, sign):
    rig = town_rig(3, 128, 64)
    video = painted(rig)
    assert_grows([mean_disagreement(video, turned(rig, 1, sign * degrees, axis)) for degrees in (0, 0.5, 1, 2, 3)])


@pytest.fixture(scope="module")
def town():
    """Two frames of two of the clips that come with the package, and their rig."""
    dataset = Dataset.open(Path(__file__).parents[2] / "assets" / "clips")
    return [dataset.frames(number, np.array([0, 4])) for number in (0, 3)], dataset.rig


def test_town_clips_agree_until_the_rig_is_turned_pixels_move_or_cameras_are_swapped(town):
    video, rig = town[0][0], town[1]
    true = mean_disagreement(video, rig)
    assert true < 0.12
    for axis in ("yaw", "pitch", "roll"):
        for sign in (-1, 1):
            assert_grows([mean_disagreement(video, turned(rig, 1, sign * d, axis)) for d in (0, 1, 2, 3)])
    for axis in (-1, -2):
        for sign in (-1, 1):
            assert_grows([mean_disagreement(shifted(video, 1, sign * px, axis), rig) for px in range(4)])
    swapped = mean_disagreement(video[:, [2, 1, 0]], rig)
    assert swapped > 5 * true
    assert swapped > mean_disagreement(video, turned(rig, 1, 3, "yaw"))


def test_scores_stand_beside_the_level_of_real_clips(town):
    town_videos, overlaps = town[0], overlaps_of(town[1])
    real = np.stack([disagreement(video, overlaps) for video in town_videos])
    made = np.stack([disagreement(video[:, ::-1], overlaps) for video in town_videos])
    scores = consistency_scores(made, overlaps, CARD, real=real)
    assert list(scores) == ["pooled", "front_left+front", "front+front_right"]
    pooled = scores["pooled"]
    assert pooled.name == METRIC
    assert pooled.value == pytest.approx(made.mean())
    assert pooled.floor == pytest.approx(real.mean())
    assert pooled.interval[0] <= pooled.value <= pooled.interval[1]
    assert (pooled.n_a, pooled.n_b, pooled.card.size) == (2, 2, "128x64")
    assert scores["front+front_right"].value == pytest.approx(made[:, 1].mean())
    assert scores["front+front_right"].card.cameras == "front+front_right"
    assert consistency_scores(made[:1], overlaps, CARD)["pooled"].interval is None


def test_flat_videos_are_undefined_and_counted_never_zero():
    rig = town_rig(3, *SIZE)
    overlaps = overlaps_of(rig)
    flat = disagreement(np.full_like(painted(rig), 90), overlaps)
    assert np.isnan(flat).all()
    good = disagreement(painted(rig), overlaps)
    score = consistency_scores(np.stack([flat, good]), overlaps, CARD)["pooled"]
    assert score.value == pytest.approx(good.mean())
    assert score.n_a == 1
    assert "1 of 2 clips are not defined" in score.card.notes[0]
    with pytest.raises(BadRequest, match="in none of 1 clips"):
        consistency_scores(flat[None], overlaps, CARD)


def test_a_black_camera_is_unrelated_not_consistent():
    rig = town_rig(3, *SIZE)
    video = painted(rig)
    video[:, 1] = 0
    assert disagreement(video, overlaps_of(rig)) == pytest.approx([1, 1])


def test_cameras_without_common_ground_are_named():
    rig = town_rig(6, *SIZE)
    some = Rig(cameras=(rig.cameras[0], rig.cameras[1], rig.cameras[4]))
    found = overlaps_of(some)
    assert [ground.name for ground in found.pairs] == ["front_left+front"]
    assert found.alone == ("back",)
    notes = consistency_scores(np.array([[0.1], [0.2]]), found, CARD)["pooled"].card.notes
    assert "no common ground: back" in notes
    with pytest.raises(BadRig, match="not defined"):
        overlaps_of(town_rig(1, *SIZE))
    with pytest.raises(BadRig, match="see the same ground"):
        overlaps_of(Rig(cameras=(rig.cameras[1], rig.cameras[4])))


def test_what_does_not_fit_the_rig_is_refused():
    rig = town_rig(3, *SIZE)
    overlaps = overlaps_of(rig)
    with pytest.raises(BadVideo, match="Call `rig"):
        disagreement(painted(town_rig(3, 32, 20)), overlaps)
    with pytest.raises(BadVideo, match="float64"):
        disagreement(painted(rig).astype(float), overlaps)
    with pytest.raises(BadRequest, match="2 pairs"):
        consistency_scores(np.zeros((4, 3)), overlaps, CARD)
