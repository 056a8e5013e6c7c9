"""A stitched object has the right size, stands still in the world, and its sky twin is the same drawing."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from studio.placement import ROAD_TWINS
from studio.sprites import PictureSprite
from studio.stitch import horizon_rows, stitch
from worldmodel.clips import Box, Clip
from worldmodel.edits import StitchSprite
from worldmodel.errors import BadEdit, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Motion, Rig, look_along, relative
from worldmodel.town.scene import town_rig

RED = np.zeros((60, 40, 4), np.uint8)
RED[...] = (220, 30, 30, 255)
POST = PictureSprite(name="post", rgba=RED, height_m=1.5)  # 1.5 m x 1 m, opaque


def drive(
    frames: int = 9, step: tuple[float, float, float] = (0.5, 0.0, 0.0), cameras: int = 3, scale: int = 2
) -> Clip:
    rig = town_rig(cameras, 128 * scale, 64 * scale)
    random = np.random.default_rng(0)
    video = random.integers(60, 180, (frames, cameras, 3, 64 * scale, 128 * scale), dtype=np.uint8)
    motion = Motion(deltas=np.array([step] * (frames - 1)).reshape(-1, 3), period_s=0.125)
    return Clip(id="drive", video=video, rig=rig, motion=motion, frequency_hz=8.0, motion_origin="poses")


def front(stitched, frame: int):
    return next(p for p in stitched.placements if p.frame == frame and p.camera == "front")


@pytest.mark.parametrize(("variant", "distance"), [("near", 12.0), ("far", 30.0)])
def test_pixel_size_is_focal_length_times_height_over_depth(variant: str, distance: float) -> None:
    clip = drive(frames=1, scale=4)
    stitched = stitch(clip, StitchSprite(variant=variant), sprite=POST)
    camera = clip.rig.cameras[clip.rig.index("front")]
    depth = distance - camera.ego_from_camera[0, 3]
    left, top, right, bottom = front(stitched, 0).rectangle_px
    assert front(stitched, 0).depth_m == pytest.approx(depth)
    assert bottom - top == pytest.approx(camera.intrinsics[1, 1] * 1.5 / depth, abs=1.01)
    assert right - left == pytest.approx(camera.intrinsics[0, 0] * 1.0 / depth, abs=1.01)
    pixels, _, _ = camera.project(np.array([[distance, 0.0, 0.0]]))
    assert bottom - 0.5 == pytest.approx(pixels[0, 1], abs=1.01)  # stands on the ground
    assert (left + right - 1) / 2 == pytest.approx(pixels[0, 0], abs=1.01)


@pytest.mark.parametrize("step", [(0.5, 0.0, 0.0), (0.5, 0.0, 0.02), (0.6, 0.1, -0.03)])
def test_it_stays_at_one_place_in_the_world(step: tuple[float, float, float]) -> None:
    clip = drive(step=step)
    stitched = stitch(clip, StitchSprite(variant="near", at_s=1.0), sprite=POST)
    poses = clip.motion.trajectory().poses
    camera = clip.rig.cameras[clip.rig.index("front")]
    seen = 0
    for frame in range(len(clip)):
        place = relative(relative(poses[8], poses[frame]), np.array([12.0, 0.0, 0.0]))
        pixels, depth, visible = camera.project(np.array([[place[0], place[1], 0.0]]))
        placement = next((p for p in stitched.placements if p.frame == frame and p.camera == "front"), None)
        if not visible[0] or placement is None or placement.rectangle_px is None:
            continue
        left, _, right, bottom = placement.rectangle_px
        if left == 0 or right == camera.width_px:
            continue
        assert placement.depth_m == pytest.approx(
            depth[0], abs=0.1
        )  # its middle stands still, its near side turns with us
        assert (left + right - 1) / 2 == pytest.approx(pixels[0, 0], abs=1.2)
        assert bottom - 0.5 == pytest.approx(pixels[0, 1], abs=1.2)
        seen += 1
    assert seen >= 6


def _inside(mask: np.ndarray) -> np.ndarray:
    inner = mask.copy()
    for axis in (0, 1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return inner


@pytest.mark.parametrize(("sky", "road"), list(ROAD_TWINS.items()))
def test_sky_twin_has_the_same_pixels_above_the_horizon(sky: str, road: str) -> None:
    clip = drive()
    clip = replace(clip, video=np.full_like(clip.video, 120))
    twin = stitch(clip, StitchSprite(variant=sky, at_s=1.0), sprite=POST)
    base = stitch(clip, StitchSprite(variant=road, at_s=1.0), sprite=POST)
    camera = clip.rig.index("front")
    horizon = horizon_rows(clip.rig.cameras[camera]).min()
    for frame in range(len(clip)):
        above, below = front(twin, frame), front(base, frame)
        size = [(r - left, b - t) for left, t, r, b in (above.rectangle_px, below.rectangle_px)]
        assert size[0] == size[1]
        assert above.rectangle_px[3] - 1 < horizon
        assert above.rectangle_px[0] == below.rectangle_px[0]
        assert above.shift_px == below.rectangle_px[1] - above.rectangle_px[1] > 0
        raised = np.roll(base.masks[frame, camera], -above.shift_px, axis=0)
        np.testing.assert_array_equal(twin.masks[frame, camera], raised)
        solid = _inside(twin.masks[frame, camera])  # at its edges the background shows through: shadow there, sky here
        road_solid = np.roll(solid, above.shift_px, axis=0)
        np.testing.assert_array_equal(
            twin.clip.video[frame, camera][:, solid],
            base.clip.video[frame, camera][:, road_solid],
        )
    assert not any(p.clamped for p in twin.placements)
    assert twin.provenance["occlusion"] == "not applicable"


def test_a_twin_too_tall_for_the_sky_is_moved_to_the_edge_and_says_so() -> None:
    tower = PictureSprite(name="tower", rgba=RED, height_m=12.0)
    twin = stitch(drive(), StitchSprite(variant="sky_near", at_s=1.0), sprite=tower)
    assert front(twin, 8).clamped
    assert "taller than the sky" in str(twin.provenance["notes"])


def test_empty_is_the_original_bit_for_bit() -> None:
    clip = drive()
    stitched = stitch(clip, StitchSprite(variant="empty", at_s=1.0), sprite=POST)
    np.testing.assert_array_equal(stitched.clip.video, clip.video)
    assert not stitched.masks.any()
    assert all(p.rectangle_px is None for p in stitched.placements)


def test_only_touched_pixels_change() -> None:
    clip = drive()
    stitched = stitch(clip, StitchSprite(variant="near", at_s=1.0), sprite=POST)
    changed = (stitched.clip.video != clip.video).any(axis=2)
    assert stitched.masks.any()
    camera = clip.rig.index("front")
    _, top, _, bottom = front(stitched, 8).rectangle_px
    assert not changed[8, camera, : top - 1].any()
    assert not changed[8, camera, bottom + 12 :].any()
    assert not changed[8, clip.rig.index("front_left")].any()


def test_every_camera_that_sees_it_gets_it() -> None:
    front_camera = town_rig(1, 256, 128).cameras[0]
    beside = replace(front_camera, name="beside", ego_from_camera=look_along(0.2, np.array([1.5, 0.8, 1.4]), 0.1))
    behind = replace(front_camera, name="behind", ego_from_camera=look_along(np.pi, np.array([-1.0, 0.0, 1.5])))
    rig = Rig(cameras=(front_camera, beside, behind))
    clip = replace(drive(1), video=np.full((1, 3, 3, 128, 256), 120, np.uint8), rig=rig)
    stitched = stitch(clip, StitchSprite(variant="near"), sprite=POST)
    assert stitched.masks.any(axis=(0, 2, 3)).tolist() == [True, True, False]
    assert stitched.provenance["cameras"] == ["beside", "front"]
    # upright in a camera that looks down: the mask's feet project to the place
    left, _, right, bottom = next(p.rectangle_px for p in stitched.placements if p.camera == "beside")
    pixels, _, _ = beside.project(np.array([[12.0, 0.0, 0.0]]))
    assert (left + right - 1) / 2 == pytest.approx(pixels[0, 0], abs=1.5)
    assert bottom - 0.5 == pytest.approx(pixels[0, 1], abs=1.5)


def test_a_rolled_camera_sees_it_rolled() -> None:
    camera = town_rig(1, 256, 128).cameras[0]
    roll = np.eye(4)
    roll[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]  # a quarter turn about the optical axis
    clip = replace(
        drive(1),
        video=np.full((1, 1, 3, 128, 256), 120, np.uint8),
        rig=Rig(cameras=(replace(camera, ego_from_camera=camera.ego_from_camera @ roll),)),
    )
    left, top, right, bottom = stitch(clip, StitchSprite(variant="near"), sprite=POST).placements[0].rectangle_px
    assert (right - left) / (bottom - top) == pytest.approx(1.5, rel=0.15)


def box(x: float, y: float, track: str = "1") -> Box:
    return Box(track=track, kind="car", center=np.array([x, y, 0.75]), size=np.array([4.0, 1.8, 1.5]), yaw_rad=0.0)


def test_a_nearer_box_hides_it_and_a_farther_one_does_not() -> None:
    clip = drive(1)
    free = stitch(clip, StitchSprite(variant="far"), sprite=POST)
    hidden_by = replace(clip, boxes=((box(15.0, -0.95),),))
    behind = replace(clip, boxes=((box(40.0, -0.95),),))
    partly = stitch(hidden_by, StitchSprite(variant="far"), sprite=POST)
    whole = stitch(behind, StitchSprite(variant="far"), sprite=POST)
    assert free.provenance["occlusion"] == "unknown"
    assert front(free, 0).occluded_share is None
    assert partly.provenance["occlusion"] == "known from boxes"
    assert 0.2 < front(partly, 0).occluded_share < 0.95
    assert partly.masks.sum() < free.masks.sum()
    np.testing.assert_array_equal(whole.masks, free.masks)
    assert front(whole, 0).occluded_share == pytest.approx(0.0, abs=1e-12)


def test_wholly_hidden_is_refused() -> None:
    clip = replace(drive(1), boxes=((box(15.0, 0.0),),))
    with pytest.raises(BadEdit, match="hidden by something nearer"):
        stitch(clip, StitchSprite(variant="far"), sprite=POST)


def test_a_place_that_is_taken_is_noted() -> None:
    clip = replace(drive(1), boxes=((box(13.5, 0.0, track="7"),),))
    stitched = stitch(clip, StitchSprite(variant="near"), sprite=POST)
    assert "car 7" in str(stitched.provenance["notes"])


def test_it_casts_a_contact_shadow_on_the_road_but_not_in_the_sky() -> None:
    clip = replace(drive(1), video=np.full((1, 3, 3, 128, 256), 120, np.uint8))
    camera = clip.rig.index("front")
    road = stitch(clip, StitchSprite(variant="near"), sprite=POST)
    sky = stitch(clip, StitchSprite(variant="sky_near"), sprite=POST)
    left, _, right, bottom = front(road, 0).rectangle_px
    around = road.clip.video[0, camera, 0, bottom - 3 : bottom + 2, left - 3 : right + 3]
    assert (around[:, [0, 1, 2, -3, -2, -1]] < 105).any()
    left, _, right, bottom = front(sky, 0).rectangle_px
    np.testing.assert_array_equal(sky.clip.video[0, camera, :, bottom + 1 : bottom + 4, left:right], 120)


def test_no_camera_sees_it() -> None:
    camera = town_rig(1, 256, 128).cameras[0]
    back = replace(camera, name="back", ego_from_camera=look_along(np.pi, np.array([-1.0, 0.0, 1.5])))
    clip = replace(drive(1), video=np.zeros((1, 1, 3, 128, 256), np.uint8), rig=Rig(cameras=(back,)))
    with pytest.raises(BadEdit, match="no camera of clip 'drive' sees"):
        stitch(clip, StitchSprite(variant="near"), sprite=POST)


def test_several_frames_without_motion_are_refused() -> None:
    clip = replace(drive(3), motion=None, motion_origin="none")
    with pytest.raises(MissingMotion, match="single frame"):
        stitch(clip, StitchSprite(variant="near"), sprite=POST)
    assert stitch(clip.sliced(0, 0.125), StitchSprite(variant="near"), sprite=POST).masks.any()


@pytest.mark.parametrize("at_s", [-1.0, 60.0])
def test_moments_outside_the_clip_are_refused(at_s: float) -> None:
    with pytest.raises(ClipTooShort, match=r"frames from 0 to 1\.00 s"):
        stitch(drive(), StitchSprite(variant="near", at_s=at_s), sprite=POST)


def test_unknown_variants_and_kinds_offer_the_closest() -> None:
    with pytest.raises(UnknownName, match="'sky_near'"):
        stitch(drive(), StitchSprite(variant="sky-near"), sprite=POST)
    with pytest.raises(UnknownName, match="'pedestrian'"):
        stitch(drive(), StitchSprite(kind="pedestrain"))


def test_provenance_travels_as_json() -> None:
    stitched = stitch(drive(), StitchSprite(variant="near", at_s=1.0), sprite=POST)
    json.dumps(stitched.provenance)
    json.dumps([asdict(p) for p in stitched.placements])


def test_more_motion_brings_it_nearer_frame_by_frame() -> None:
    stitched = stitch(drive(), StitchSprite(variant="near", at_s=1.0), sprite=POST)
    heights = [front(stitched, t).rectangle_px[3] - front(stitched, t).rectangle_px[1] for t in range(9)]
    assert heights == sorted(heights)
    assert heights[-1] > heights[0]


def test_brightness_moves_towards_the_surroundings() -> None:
    clip = drive(1)
    bright = stitch(replace(clip, video=np.full_like(clip.video, 230)), StitchSprite(), sprite=POST)
    dark = stitch(replace(clip, video=np.full_like(clip.video, 15)), StitchSprite(), sprite=POST)
    camera = clip.rig.index("front")
    means = [s.clip.video[0, camera][:, s.masks[0, camera]].mean() for s in (bright, dark)]
    assert means[0] > means[1] * 1.2
