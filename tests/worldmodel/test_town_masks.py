"""Depth, instances, semantic masks, boxes and visibility agree with each other, in scenes that really happen."""

from dataclasses import replace

import numpy as np
import pytest

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import BadRig, Rig, compose, invert
from worldmodel.town.masks import SEMANTICS, semantic, visibility
from worldmodel.town.render import Rendering, render
from worldmodel.town.rigs import RIGS, nuscenes_rig, rig_named
from worldmodel.town.scene import Scene, town_rig
from worldmodel.town.traffic import simulate

RIG = town_rig(3, 160, 96)
QUICK = [("street", 3), ("highway", 4), ("road_works", 5), ("pedestrian", 6), ("cyclist", 7), ("traffic_light", 8)]
MORE = [(name, seed) for name in ("curvy", "merge", "roundabout", "cut_in", "double_parking", "oncoming_overtaker",
                                  "intersection", "slow_truck", "remember_block") for seed in (11, 12)]  # fmt: skip
FRAMES = [0, 9, 17]


def happening(name: str, seed: int) -> Scene:
    return simulate(name, seed=seed, seconds=2.5)


def points_in_body(scene: Scene, seen: Rendering, frame: int, camera: int, body: int, rig: Rig) -> np.ndarray:
    """Points that a body's pixels show, in the body's own frame."""
    t = FRAMES.index(frame)
    v, u = np.nonzero(seen.instance[t, camera] == body)
    eye = rig.cameras[camera]
    depth = seen.depth_m[t, camera, v, u].astype(np.float64)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(eye.intrinsics).T
    in_ego = (rays * depth[:, None]) @ eye.ego_from_camera[:3, :3].T + eye.ego_from_camera[:3, 3]
    flat = np.column_stack([in_ego[:, :2], np.zeros(len(in_ego))])
    local = compose(invert(scene.body_poses[frame, body]), compose(scene.ego_poses[frame], flat))
    return np.column_stack([local[:, :2], in_ego[:, 2]])


def check_boxes(scene: Scene) -> int:
    """Recall and depth of every visible body; how many there were."""
    seen = render(scene, RIG, FRAMES, supersample=1)
    checked = 0
    for t, frame in enumerate(FRAMES):
        for camera in range(len(RIG)):
            for body in np.unique(seen.instance[t, camera][seen.instance[t, camera] >= 0]):
                points = points_in_body(scene, seen, frame, camera, int(body), RIG)
                if len(points) < 6:
                    continue
                it = scene.bodies[body]
                half = np.array([it.length_m / 2, it.width_m / 2, it.height_m / 2])
                inside = (np.abs(points - [0, 0, half[2]]) <= half + 0.06).all(axis=1)
                assert inside.mean() >= 0.98, (scene.id, frame, it.kind)
                middle = points[np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()]
                assert (np.abs(middle - [0, 0, half[2]]) <= half + 0.06).all(), (scene.id, frame, it.kind)
                checked += 1
    return checked


@pytest.mark.parametrize(("name", "seed"), QUICK)
def test_boxes_hold_the_pixels_and_the_depth_of_their_bodies(name: str, seed: int) -> None:
    assert check_boxes(happening(name, seed)) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), MORE)
def test_boxes_hold_the_pixels_and_the_depth_of_their_bodies_in_more_scenes(name: str, seed: int) -> None:
    check_boxes(happening(name, seed))


@pytest.mark.parametrize(("name", "seed"), [("highway", 4), ("traffic_light", 8)])
def test_what_is_nearer_hides_what_is_farther(name: str, seed: int) -> None:
    scene = happening(name, seed)
    frame = FRAMES[1]
    every = render(scene, RIG, [frame], supersample=1)
    for body in np.flatnonzero(scene.body_present[frame])[:6]:
        alone = np.zeros_like(scene.body_present)
        alone[:, body] = True
        lone = render(replace(scene, body_present=alone), RIG, [frame], supersample=1)
        hidden = (lone.instance == body) & (every.instance != body)
        assert (every.depth_m[hidden] <= lone.depth_m[hidden]).all()
        shown = (lone.instance == body) & (every.instance == body)
        np.testing.assert_array_equal(every.depth_m[shown], lone.depth_m[shown])


def test_semantic_masks_agree_with_instances() -> None:
    scene = happening("traffic_light", 8)
    seen, kinds = render(scene, RIG, FRAMES, supersample=1), semantic(scene, RIG, FRAMES)
    assert kinds.shape == seen.instance.shape
    assert kinds.dtype == np.uint8
    names = np.array(SEMANTICS)[kinds]
    np.testing.assert_array_equal(names == "sky", seen.instance == -1)
    np.testing.assert_array_equal(np.isin(names, ("road", "marking", "pavement", "terrain")), seen.instance == -2)
    for number, body in enumerate(scene.bodies):
        expected = "obstacle" if body.kind in ("cone", "barrier", "box") else body.kind
        assert (names[seen.instance == number] == expected).all()
    shares = {name: (names == name).mean() for name in SEMANTICS}
    assert shares["road"] > 0.2
    for name in ("marking", "pavement", "terrain", "building", "vegetation", "pole"):
        assert shares[name] > 0.001, name


def test_visibility_is_the_share_of_a_bodys_pixels_that_nothing_hides() -> None:
    scene = happening("highway", 4)
    share = visibility(scene, RIG, FRAMES)
    assert share.shape == (len(FRAMES), len(RIG), len(scene.bodies))
    frame = FRAMES[1]
    every = render(scene, RIG, [frame], supersample=1)
    bare = replace(scene, stage=replace(scene.stage, buildings=(), props=()))
    for body in range(len(scene.bodies)):
        alone = np.zeros_like(scene.body_present)
        alone[:, body] = scene.body_present[:, body]
        whole = (render(replace(bare, body_present=alone), RIG, [frame], supersample=1).instance == body).sum(
            axis=(2, 3)
        )
        expected = (every.instance == body).sum(axis=(2, 3)) / np.maximum(whole, 1)
        np.testing.assert_allclose(share[1], share[1].clip(0, 1))
        np.testing.assert_allclose(share[1, :, body], expected[0], atol=1e-12)
    assert (share > 0).any()


def test_visibility_is_zero_for_the_absent_and_for_what_is_behind_the_camera() -> None:
    scene = happening("street", 3)
    gone = replace(scene, body_present=np.zeros_like(scene.body_present))
    assert not visibility(gone, RIG, [0]).any()
    empty = replace(scene, bodies=(), **{
        name: getattr(scene, name)[:, :0]
        for name in ("body_poses", "body_present", "body_speeds_mps", "body_braking", "body_indicators")
    })  # fmt: skip
    assert visibility(empty, RIG, [0]).shape == (1, 3, 0)


@pytest.mark.parametrize("mask", [semantic, visibility])
def test_impossible_frames_are_refused(mask: object) -> None:
    with pytest.raises(BadRequest, match="at least one"):
        mask(happening("street", 3), RIG, [])  # type: ignore[operator]


def test_rigs_have_names_and_the_nuscenes_like_one_looks_all_around() -> None:
    rig = nuscenes_rig(160, 90)
    assert rig.names == (
        "CAM_FRONT_LEFT",
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_BACK_LEFT",
        "CAM_BACK",
        "CAM_BACK_RIGHT",
    )
    yaws = [np.degrees(np.arctan2(*(camera.ego_from_camera[:2, 2][::-1]))) for camera in rig.cameras]
    np.testing.assert_allclose(np.abs(yaws), [55, 0, 55, 110, 180, 110], atol=1e-6)
    assert yaws[0] > 0 > yaws[2]
    widths = [np.degrees(2 * np.arctan(80 / camera.intrinsics[0, 0])) for camera in rig.cameras]
    np.testing.assert_allclose(widths, [70, 70, 70, 70, 110, 70])
    assert {name: len(make(64, 32)) for name, make in RIGS.items()} == {"front": 1, "three": 3, "six": 6, "nuscenes": 6}
    assert rig_named("three", 64, 32).names == town_rig(3).names


def test_rigs_without_cameras_without_pixels_or_with_unknown_names_are_refused() -> None:
    with pytest.raises(BadRig, match="at least one camera"):
        Rig(cameras=())
    with pytest.raises(UnknownName, match="Did you mean 'nuscenes'"):
        rig_named("nuscene")
    with pytest.raises(BadRequest, match="larger size"):
        rig_named("front", 0, 64)
    with pytest.raises(BadRequest, match="1, 3 or 6"):
        town_rig(2)
