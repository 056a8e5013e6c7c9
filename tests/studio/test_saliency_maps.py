"""Where planners look, from the masks to the run folder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_planner_config
from typer.testing import CliRunner

from eval_fid_fvd.grounding import pointing_mass, upsampled
from policy.learned import LearnedPlanner, make_network
from policy.saliency import NotApplicable, cams, views_of
from policy.saliency_patches import patches_of
from studio.cli import main
from studio.moments import find_moment
from studio.planning import WITHOUT_MODEL
from studio.saliency import METHODS, SaliencyRequest, front_of, run_saliency
from studio.saliency_masks import Masks, box_masks, lane_from, masks_of, nearest_on, outline, town_masks, way_of
from studio.saliency_overlays import heat_colors, overlay, with_heat, with_outline
from studio.saliency_scenes import MIN_PX, find_shot, held_out_shots
from studio.saliency_scores import STAGES, TARGETS, Scorer, cross_checks, differences, measured, picture_of, rolled
from worldmodel.clips import Box
from worldmodel.errors import BadInput, UnknownName
from worldmodel.io.lerobot import write_dataset
from worldmodel.town.render import render
from worldmodel.town.scene import town_rig
from worldmodel.town.traffic import simulate

RIG = town_rig(3, 64, 32)
LEADER = Box(track="1", kind="car", center=np.array([9.0, 0.2, 0.7]), size=np.array([4.0, 1.8, 1.4]), yaw_rad=0.0)
BESIDE = replace(LEADER, track="2", center=np.array([7.0, 4.5, 0.7]))
CONE = replace(LEADER, track="3", kind="cone", center=np.array([20.0, 0.0, 0.4]), size=np.array([0.4, 0.4, 0.8]))
STRAIGHT = lane_from(np.zeros((1, 2)))


def planner_of(kind, tokenizer, seed=3):
    config = make_planner_config(kind, tokenizer)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        return LearnedPlanner(config, make_network(config), tokenizer)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_model):
    root = tmp_path_factory.mktemp("planners")
    for kind in ("direct", "ik", "ego-only"):
        planner_of(kind, tiny_model.tokenizer).save_pretrained(root / kind, "A planner of a test.\n")
    return root


@pytest.fixture(scope="module")
def led(tmp_path_factory, drives):
    """A clip with a car ahead in the lane, one beside it, and a cone further on."""
    clip = replace(drives.clip(0), boxes=((LEADER, BESIDE, CONE),) * 56)
    return write_dataset([clip], tmp_path_factory.mktemp("led") / "led", name="led").path


# -- masks --------------------------------------------------------------------------------------------------------------


def test_a_box_covers_the_pixels_that_its_corners_span() -> None:
    camera = RIG.cameras[1]
    mask = outline(LEADER, camera)
    pixels, _, _ = camera.project(LEADER.corners())
    rows, columns = np.nonzero(mask)
    assert rows.min() == pytest.approx(max(0, pixels[:, 1].min()), abs=1)
    assert rows.max() == pytest.approx(pixels[:, 1].max(), abs=1)
    assert columns.min() == pytest.approx(pixels[:, 0].min(), abs=1)
    assert columns.max() == pytest.approx(pixels[:, 0].max(), abs=1)
    assert not outline(replace(LEADER, center=np.array([-9.0, 0, 0.7])), camera).any()
    around = replace(LEADER, center=np.array([1.8, 0.0, 0.7]), size=np.array([8.0, 6.0, 3.0]))
    assert outline(around, camera).sum() > 100  # partly behind the camera


def test_the_one_ahead_is_the_nearest_in_the_lane_and_things_are_no_road_users() -> None:
    assert nearest_on((CONE, BESIDE, LEADER), STRAIGHT) == "1"
    assert nearest_on((CONE, BESIDE), STRAIGHT) == "3"
    assert nearest_on((BESIDE,), STRAIGHT) == ""
    masks = box_masks((CONE, BESIDE, LEADER), RIG, STRAIGHT)
    assert masks.users.sum() > masks.ahead.sum() > 0
    assert not box_masks((CONE,), RIG, STRAIGHT).users.any()
    assert box_masks((CONE,), RIG, STRAIGHT).ahead.any()
    hidden = replace(LEADER, visibility=0.02)
    assert box_masks((hidden, CONE), RIG, STRAIGHT).track == "3"


def test_a_lane_follows_what_was_driven_and_goes_on_from_there() -> None:
    bend = np.column_stack([np.arange(1.0, 11.0), 0.1 * np.arange(1.0, 11.0) ** 2 / 2])
    way = lane_from(bend)
    assert len(way) == 81
    np.testing.assert_allclose(np.linalg.norm(np.diff(way, axis=0), axis=1), 0.5, atol=0.01)
    assert np.abs(way[:, None] - bend[None]).sum(-1).min(0).max() < 0.4
    np.testing.assert_allclose(STRAIGHT, np.column_stack([np.arange(0, 40.5, 0.5), np.zeros(81)]), atol=1e-12)


@pytest.mark.slow  # simulates and renders the town
def test_the_towns_masks_are_its_instances() -> None:
    scene = simulate("street", 2944906, seconds=2.5)
    instance = render(scene, RIG, [16]).instance[0]
    masks = town_masks(scene, 16, RIG, instance)
    assert masks.source == "instances"
    assert not (masks.users & (instance < 0)).any()
    assert len(way_of(scene, 16)) <= 81
    again = town_masks(scene, 16, RIG)
    np.testing.assert_array_equal(again.users, masks.users)


def test_a_recording_without_boxes_has_no_masks(silent_drives, led) -> None:
    moment = find_moment(str(silent_drives.path), replace(WITHOUT_MODEL, future_s=4.0))
    assert masks_of(moment) is None
    found = masks_of(find_moment(str(led), WITHOUT_MODEL))
    assert found is not None
    assert (found.track, found.source) == ("1", "boxes")


# -- overlays -----------------------------------------------------------------------------------------------------------


def test_heat_is_bright_where_the_map_is_large_and_nowhere_without_heat() -> None:
    pictures = np.full((3, 3, 32, 64), 100, np.uint8)
    maps = np.zeros((3, 2, 4))
    maps[1, 1, 2] = 2.0
    heated = with_heat(pictures, maps).astype(int)
    bright = heated[:, 0] - heated[0, 0, 0, 0]
    assert np.unravel_index(bright.argmax(), bright.shape)[0] == 1
    assert bright[1, 24, 40] > 80
    assert bright[[0, 2]].max() == 0
    cold = with_heat(pictures, np.zeros((3, 2, 4)))
    assert (cold == cold[0, :, 0, 0][None, :, None, None]).all()
    np.testing.assert_array_equal(with_heat(pictures, -maps), cold)  # what speaks against the path is not heat
    assert heat_colors(np.array([0.0, 1.0])).tolist() == [[20, 11, 52], [252, 255, 164]]


def test_an_outline_is_the_border_of_the_mask_and_an_overlay_has_all_cameras() -> None:
    pictures, mask = np.zeros((3, 3, 64, 128), np.uint8), np.zeros((3, 32, 64), bool)
    mask[0, 10:20, 10:20] = True
    drawn = with_outline(pictures, mask, (255, 0, 0))
    assert drawn[0, 0, 20, 20:40].min() == 255
    assert drawn[0, 0, 30, 30] == 0
    assert not drawn[1:].any()
    shown = overlay(pictures, RIG.scaled(128, 64), np.zeros((3, 2, 4)), title="x", users=mask, ahead=mask)
    assert shown.shape[0] == 3
    assert shown.shape[2] > 3 * 380


# -- scores -------------------------------------------------------------------------------------------------------------


def some_masks(count=6):
    found = []
    for i in range(count):
        users = np.zeros((3, 32, 64), bool)
        users[1, 16:24, 8 * (i % 4) : 8 * (i % 4) + 16] = True
        users[0, :8, :8] = True
        ahead = np.zeros_like(users)
        ahead[1, 16:24, 8 * (i % 4) : 8 * (i % 4) + 8] = True
        found.append(Masks(users=users, ahead=ahead, track="1", source="instances"))
    return found


def test_a_map_that_knows_nothing_has_a_ratio_of_one_and_a_perfect_one_the_most() -> None:
    masks = some_masks()
    scorer = Scorer(masks, 1)
    flat = np.ones((6, 3, 2, 4))
    for target in TARGETS:
        assert scorer.ratio(scorer.masses(flat, target), target)["value"] == pytest.approx(1)
    exact = np.stack([each.ahead for each in masks]).astype(float)
    ratio = scorer.ratio(scorer.masses(exact, "ahead"), "ahead")["value"]
    assert ratio == pytest.approx(1 / scorer.area["ahead"].mean())
    assert scorer.table(flat, "everywhere")["pm_over_area"]["value"] == pytest.approx(1)
    assert not scorer.masses(np.zeros((6, 3, 2, 4)), "users").any()
    assert upsampled(flat[0], 32, 64).max() == 1


def test_masses_of_cells_are_those_of_pictures_and_of_several_networks_the_interval_is_wider() -> None:
    scorer, random = Scorer(some_masks(), 1), np.random.default_rng(0)
    maps = random.random((6, 3, 2, 4))
    maps[2] = 0
    for target in TARGETS:
        pictures = [picture_of(each, target, 1, (32, 64)) for each in maps]
        slow = [pointing_mass(p.ravel(), m.ravel()) for p, m in zip(pictures, scorer.masks[target], strict=True)]
        np.testing.assert_allclose(scorer.masses(maps, target), slow, atol=1e-12)
        signed = np.where(maps > 0.2, maps, -1.0)
        assert scorer.masses(signed, target).max() <= 1
    one = scorer.masses(maps, "users")
    both = scorer.ratio(np.stack([one, 3 * one]), "users")
    alone = scorer.ratio(2 * one, "users")
    assert both["value"] == pytest.approx(alone["value"])
    assert both["interval"][0] < alone["interval"][0]
    assert both["each"] == pytest.approx([alone["value"] / 2, 1.5 * alone["value"]])


@pytest.mark.parametrize("kind", ["direct", "ik"])
def test_measuring_a_planner_puts_the_checks_beside_every_score(kind, tiny_model, observation) -> None:
    planner = planner_of(kind, tiny_model.tokenizer)
    random = np.random.default_rng(0)
    seen = [replace(observation, video=random.integers(0, 255, observation.video.shape, np.uint8)) for _ in range(6)]
    driven = [np.column_stack([k * np.arange(1, 9), np.zeros((8, 2))]) for k in np.linspace(1, 4, 6)]
    views, scorer = views_of(planner, seen, driven), Scorer(some_masks(), 1)
    row = measured(planner, views, scorer)
    assert set(row["sanity"]) == {*(f"weights: {stage}" for stage in STAGES), "pictures of other scenes"}
    heat = cams(planner, views)[row["main_layer"]]
    for target in TARGETS:
        mine = scorer.ratio(scorer.masses(heat, target), target)["value"]
        assert row["scores"][target]["pm_over_area"]["value"] == pytest.approx(mine)
        for check in row["sanity"].values():
            assert check[target]["lost"]["value"] == pytest.approx(mine - check[target]["pm_over_area"]["value"])
    assert row["sanity"]["weights: all"]["correlation"] < 0.9
    assert 0 <= row["sanity"]["weights: all"]["users"]["above"] <= row["sanity"]["weights: all"]["tries"] == 10
    [apart] = differences({"a": row, "b": row}, [("a", "b")], scorer)
    assert apart["users"]["value"] == 0
    checks = cross_checks(
        planner, views[:2], [patches_of(planner, each) for each in seen[:2]], Scorer(some_masks(2), 1), steps=4
    )
    assert set(checks) == {"integrated (black)", "integrated (mean)", "grey patches"}
    json.dumps(checks)
    moved = rolled(views, 1)
    torch.testing.assert_close(moved.seen.cells[1], views.seen.cells[0])
    torch.testing.assert_close(moved.seen.ego, views.seen.ego)


@pytest.mark.slow  # simulates and renders the town
def test_held_out_scenes_have_somebody_ahead_and_come_back_from_their_folder(tmp_path) -> None:
    shots, without = held_out_shots(tmp_path, 2, 5)
    for shot in shots:
        assert shot.masks.ahead[1].sum() >= MIN_PX
        assert shot.masks.track
        assert shot.observation.video.shape == (5, 3, 3, 64, 128)
        assert shot.driven.shape == (8, 3)
    again, also = held_out_shots(tmp_path, 2, 5)
    assert also == without
    assert len(list(tmp_path.glob("*.npz"))) == 2 + without
    np.testing.assert_array_equal(again[1].observation.video, shots[1].observation.video)
    situation, _, seed = shots[0].name.rpartition("-")
    fresh = find_shot(situation, int(seed))
    assert fresh is not None
    np.testing.assert_array_equal(fresh.masks.ahead, shots[0].masks.ahead)


# -- the run folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_run_has_maps_overlays_scores_and_a_report(method, led, folders, tiny_model, tmp_path) -> None:
    request = SaliencyRequest(
        clip=str(led), planners=(str(folders / "direct"), str(folders / "ego-only"), "constant-velocity"), method=method
    )
    record = run_saliency(request, tmp_path / "out", model=tiny_model)
    out = tmp_path / "out"
    maps = np.load(out / "maps.npz")
    [name] = maps.files
    assert name.startswith("direct (rich)/")
    assert maps[name].shape == (3, 2, 4)
    assert len(record["skipped"]) == 2
    assert all("no pixels" in text for text in record["skipped"])
    assert {row["target"] for row in record["scores"]} == set(TARGETS)
    for row in json.loads((out / "scores.json").read_text()):
        assert 0 <= row["pm_over_area"] <= row["grid_best"] + 1e-9
        assert (row["weights_in_disorder"] is None) == (method in ("integrated", "occlusion"))
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64") == 2
    assert "weights in disorder" in page
    assert not list(tmp_path.glob(".out*"))


def test_two_layers_are_two_maps_and_another_run_is_the_same(led, folders, tiny_model, tmp_path) -> None:
    request = SaliencyRequest(clip=str(led), planners=(str(folders / "ik"),))
    first, again = (run_saliency(request, tmp_path / name, model=tiny_model) for name in ("a", "b"))
    assert {row["layer"] for row in first["scores"]} == {"predictor.scene", "encoder"}
    assert first["scores"] == again["scores"]


def test_any_planner_with_pixels_can_be_patched_even_where_nothing_follows(
    silent_drives, drives, folders, tiny_model, tmp_path
) -> None:
    end = f"{drives.path}:2@1.8"  # 0.2 s before its end
    ask = SaliencyRequest(clip=end, planners=(str(folders / "direct"),))
    with pytest.raises(NotApplicable, match=r"the planners' loss needs 4 s.*occlusion"):
        run_saliency(ask, tmp_path / "none", model=tiny_model)
    record = run_saliency(replace(ask, method="occlusion"), tmp_path / "patched", model=tiny_model)
    assert record["overlays"][1:]
    blind = replace(ask, clip=str(silent_drives.path), method="occlusion")
    with pytest.raises(NotApplicable, match="no ego motion"):
        run_saliency(blind, tmp_path / "none", model=tiny_model)
    assert not (tmp_path / "none").exists()


def test_what_makes_no_sense_is_refused(led, folders, tiny_model, tmp_path) -> None:
    ask = SaliencyRequest(clip=str(led), planners=(str(folders / "direct"),))
    for changes, message in (
        ({"method": "gradcan"}, "gradcam"),
        ({"baseline": "blak"}, "black"),
        ({"planners": ("dirct",)}, "planner"),
    ):
        with pytest.raises(UnknownName, match=message):
            run_saliency(replace(ask, **changes), tmp_path / "x", model=tiny_model)
    (tmp_path / "x").mkdir()
    with pytest.raises(BadInput, match="exists"):
        run_saliency(ask, tmp_path / "x", model=tiny_model)


def test_the_front_camera_is_the_one_that_looks_ahead() -> None:
    assert RIG.names[front_of(RIG)] == "front"
    six = town_rig(6)
    assert six.names[front_of(six)] == "front"


def test_the_command_names_what_it_needs(led, tmp_path) -> None:
    done = CliRunner().invoke(
        main, ["saliency", str(led), "--planner", "constant-velocity", "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 2
    assert "no planner has a map here" in done.output
    assert not (tmp_path / "o").exists()
