"""Objects stand where they are put, move as they are told, and impossible places are explained."""

from dataclasses import replace

import numpy as np
import pytest

from studio.blending import added_blur, noise_level
from studio.ground import Ground
from studio.occlusion import Scenery
from studio.placement import DISTANCES_M, ROAD_TWINS, stands
from studio.sprites import PictureSprite
from studio.stitch import stitch
from studio.town_sprites import BodySprite, sprite_of
from worldmodel.clips import Clip
from worldmodel.edits import StitchSprite, edit_from_json, edit_to_json
from worldmodel.errors import BadEdit
from worldmodel.geometry import Motion, compose
from worldmodel.town.scene import town_rig

RED = np.zeros((60, 40, 4), np.uint8)
RED[...] = (220, 30, 30, 255)
POST = PictureSprite(name="post", rgba=RED, height_m=1.5)


def drive(frames: int = 9, step: tuple[float, float, float] = (0.5, 0.0, 0.01), grey: int | None = None) -> Clip:
    rig = town_rig(3, 256, 128)
    video = np.random.default_rng(0).integers(60, 180, (frames, 3, 3, 128, 256), dtype=np.uint8)
    if grey is not None:
        video = np.full_like(video, grey)
    motion = Motion(deltas=np.array([step] * (frames - 1)).reshape(-1, 3), period_s=0.125)
    return Clip(id="drive", video=video, rig=rig, motion=motion, frequency_hz=8.0, motion_origin="poses")


def world_poses(clip: Clip, edit: StitchSprite, sprite: BodySprite | PictureSprite = POST) -> np.ndarray:
    assert clip.motion is not None
    poses = [stand.pose for stand in stands(clip, edit, sprite, Ground())]
    return compose(clip.motion.trajectory().poses, np.array(poses))


def test_its_near_side_stands_where_it_is_put_whatever_its_heading() -> None:
    car = sprite_of("car")
    for yaw in (0.0, 0.7, np.pi / 2, np.pi):
        edit = StitchSprite(x_m=10.0, y_m=0.0, yaw_rad=yaw, at_s=1.0)
        middle = stands(drive(), edit, car, Ground())[8].pose
        reach = 4.5 * abs(np.cos(yaw)) + 1.8 * abs(np.sin(yaw))
        np.testing.assert_allclose(middle, [10.0 + reach / 2, 0.0, yaw], atol=1e-12)


def test_standing_means_one_place_in_the_world_and_moving_its_own_speed() -> None:
    clip = drive()
    still = world_poses(clip, StitchSprite(x_m=9.0, y_m=-2.0, yaw_rad=0.5, at_s=0.5))
    np.testing.assert_allclose(still, np.broadcast_to(still[0], still.shape), atol=1e-9)
    moving = world_poses(clip, StitchSprite(x_m=9.0, y_m=-2.0, yaw_rad=0.5, at_s=0.5, speed_mps=4.0))
    np.testing.assert_allclose(moving[4], still[4], atol=1e-9)
    steps = np.diff(moving[:, :2], axis=0)
    np.testing.assert_allclose(np.hypot(*steps.T), 4.0 / 8, atol=1e-9)
    np.testing.assert_allclose(np.arctan2(steps[:, 1], steps[:, 0]), moving[:-1, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (StitchSprite(x_m=float("nan")), "must be finite"),
        (StitchSprite(x_m=0.0, y_m=0.0), "more than 0"),
        (StitchSprite(x_m=400.0), "at most 150 m"),
        (StitchSprite(z_m=-0.5), "0.5 m below the ground"),
        (StitchSprite(speed_mps=-2.0), "between 0 and 40"),
        (StitchSprite(x_m=-20.0), "lies behind every camera"),
        (StitchSprite(x_m=1.0, y_m=40.0), "40 m to the left"),
    ],
)
def test_impossible_places_are_explained(edit: StitchSprite, message: str) -> None:
    with pytest.raises(BadEdit, match=message):
        stitch(drive(3), edit, sprite=POST)


def test_a_place_to_the_side_is_seen_by_the_camera_there() -> None:
    stitched = stitch(drive(1), StitchSprite(x_m=6.0, y_m=7.0), sprite=POST)
    assert stitched.provenance["cameras"] == ["front_left"]
    assert stitched.provenance["place_m"] == [6.0, 7.0]


def test_very_far_is_half_as_large_as_far_and_the_small_sky_twin_as_large_as_it() -> None:
    def height(variant: str) -> int:
        tall = PictureSprite(name="tower", rgba=RED, height_m=6.0)
        placements = stitch(drive(1, grey=120), StitchSprite(variant=variant), sprite=tall).placements
        _, top, _, bottom = next(p.rectangle_px for p in placements if p.camera == "front" and p.rectangle_px)
        return bottom - top

    assert height("very_far") == pytest.approx(height("far") / 2, abs=1.5)
    assert height("sky") == height("very_far")
    assert set(ROAD_TWINS) | set(ROAD_TWINS.values()) | {"lookalike", "empty"} == set(DISTANCES_M)


def test_a_fitted_road_moves_its_feet() -> None:
    clip = drive(1, grey=120)
    flat = stitch(clip, StitchSprite(), sprite=POST).placements[0].rectangle_px
    lifted = stitch(clip, StitchSprite(z_m=0.4), sprite=POST).placements[0].rectangle_px
    assert flat is not None
    assert lifted is not None
    focal = clip.rig.cameras[1].intrinsics[1, 1]
    assert flat[3] - lifted[3] == pytest.approx(focal * 0.4 / (12 - 1.8), abs=1.01)
    assert flat[3] - flat[1] == lifted[3] - lifted[1]


def test_depth_hides_it_exactly_where_something_is_nearer() -> None:
    clip = drive(1, grey=120)
    free = stitch(clip, StitchSprite(), sprite=POST)
    depth = np.full((1, 3, 128, 256), np.inf)
    depth[..., 128:] = 6.0  # a wall on the right half of every picture
    half = stitch(clip, StitchSprite(), sprite=POST, depth_m=depth)
    behind = stitch(clip, StitchSprite(), sprite=POST, depth_m=np.full_like(depth, 25.0))
    np.testing.assert_array_equal(half.masks[..., :128], free.masks[..., :128])
    assert not half.masks[..., 129:].any()
    np.testing.assert_array_equal(behind.masks, free.masks)
    assert half.provenance["occlusion"] == "known from depth"
    assert next(p for p in half.placements if p.camera == "front").occluded_share == pytest.approx(0.5, abs=0.1)


def test_depth_of_another_size_is_refused() -> None:
    with pytest.raises(BadEdit, match="its pictures need"):
        Scenery(clip=drive(1), depth_m=np.zeros((1, 1, 2, 2)))


def test_a_nominal_rig_is_said() -> None:
    clip = drive(1)
    nominal = replace(clip, rig=replace(clip.rig, nominal=True))
    assert "no calibration" in str(stitch(nominal, StitchSprite(), sprite=POST).provenance["notes"])
    assert stitch(clip, StitchSprite(), sprite=POST).provenance["notes"] == []


def test_blur_and_noise_of_a_picture_are_measured() -> None:
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(1)
    blocks = np.kron(random.integers(20, 230, (16, 32)), np.ones((8, 8))).astype(float)
    assert added_blur(blocks) == 0.0
    for sigma in (1.0, 1.8):
        assert added_blur(gaussian_filter(blocks, sigma)) == pytest.approx(sigma, rel=0.35)
    assert added_blur(np.full((40, 60), 80.0)) == 0.0
    assert noise_level(blocks) == pytest.approx(0.0, abs=0.1)
    for noise in (2.0, 5.0):
        assert noise_level(np.full((64, 128), 100.0) + random.normal(0, noise, (64, 128))) == pytest.approx(
            noise, rel=0.1
        )


def test_an_object_in_a_noisy_picture_has_noise_and_the_same_one_each_time() -> None:
    clip = drive(1, grey=120)
    noisy = replace(
        clip, video=np.clip(120 + np.random.default_rng(2).normal(0, 5, clip.video.shape), 0, 255).astype(np.uint8)
    )
    smooth, rough = (stitch(one, StitchSprite(), sprite=POST) for one in (clip, noisy))
    c = clip.rig.index("front")
    left, top, right, bottom = next(p.rectangle_px for p in smooth.placements if p.camera == "front" and p.rectangle_px)
    spreads = [s.clip.video[0, c, 2, top + 2 : bottom - 2, left + 2 : right - 2].std() for s in (smooth, rough)]
    assert spreads[0] < 1
    assert 3 < spreads[1] < 7
    np.testing.assert_array_equal(rough.clip.video, stitch(noisy, StitchSprite(), sprite=POST).clip.video)


def test_edits_with_a_place_travel_as_json() -> None:
    edit = StitchSprite(variant="near", x_m=8.5, y_m=None, yaw_rad=0.2, speed_mps=3.0)
    assert edit_from_json(edit_to_json(edit)) == edit
    assert edit_from_json('{"edit": "StitchSprite", "kind": "van"}') == StitchSprite(kind="van")
    with pytest.raises(BadEdit, match="a finite number or null"):
        edit_from_json('{"edit": "StitchSprite", "x_m": "12"}')
