"""Planners by name and by checkpoint folder, on the command line and in the closed loop."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from policy.imagining import ImaginingPlanner
from policy.learned import LearnedPlanner, make_network
from policy.training.presets import find_preset
from studio import cli
from studio.drive import DriveRequest, make_driver, run_drive
from studio.planners import DEFAULT_PLANNERS, PLANNERS, make_planner, model_for
from worldmodel.errors import BadCheckpoint, BadRequest, UnknownName

run = CliRunner().invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model) -> Path:
    network = tiny_model.config.network
    config = replace(
        find_preset("test").planner("ik"),
        channels=network.latent_channels,
        rows=network.latent_height,
        columns=network.latent_width,
        tokenizer=tiny_model.tokenizer.hash,
        plan_mean=tuple((0.5 * i, 0.0, 0.0) for i in range(1, 9)),
        mix="rich",
    )
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        planner = LearnedPlanner(config, make_network(config), tiny_model.tokenizer)
    folder = tmp_path_factory.mktemp("planners") / "ik"
    planner.save_pretrained(folder, "# tiny\n")
    return folder


def test_every_name_makes_a_planner(tiny_model) -> None:
    assert set(DEFAULT_PLANNERS) <= set(PLANNERS)
    for name in PLANNERS:
        assert make_planner(name, tiny_model, 2).name
    assert model_for(["constant-velocity", "stand-still"], "nowhere") is None


def test_names_that_do_not_exist_are_explained(tmp_path) -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'imagining'.*a checkpoint folder"):
        make_planner("imaginig", None)
    with pytest.raises(BadRequest, match="needs a world model"):
        make_planner("imagining", None)
    with pytest.raises(BadCheckpoint):
        make_planner(str(tmp_path), None)


def test_a_folder_is_a_planner_that_drives_with_the_cameras_it_was_trained_with(folder, tiny_model, tmp_path) -> None:
    request = DriveRequest(planner=str(folder), situations=("empty_road",), seconds=1.0, samples=2, videos=0)
    driver = make_driver(request, tiny_model)
    assert (len(driver.rig), driver.rig.width_px, driver.rig.height_px, driver.history) == (3, 64, 32, 5)
    record = run_drive(request, tmp_path / "run", model=tiny_model)
    assert record["drives"][0]["plans"] == 2
    assert record["model"].startswith("ik (rich), weights ")


def test_imagining_plans_what_its_own_pictures_explain(tiny_model, observation) -> None:
    planner = ImaginingPlanner(tiny_model, samples=2)
    plan = planner.plan(observation, seed=3)
    assert plan.samples is not None
    assert plan.samples.shape == (2, 8, 3)
    again = ImaginingPlanner(tiny_model, samples=1).plan(observation, seed=3)
    np.testing.assert_allclose(again.trajectory.poses, plan.samples[0], atol=1e-3)
    assert {"imagine_s", "explain_s"} == set(plan.timing)


def test_the_command_line_says_what_it_cannot_train_and_plans_by_name(tmp_path, tiny_model) -> None:
    world, out = tmp_path / "world", tmp_path / "run"
    tiny_model.save_pretrained(world, "# tiny\n")
    words = ["train", "policy", "--planner", "ego-only", "--preset", "test", "--steps", "2", "--model", str(world)]
    refused = run(cli.main, [*words, "--out", str(out), "--shard"])
    assert refused.exit_code == 2
    assert "--shard was given" in refused.stderr
    unnamed = run(cli.main, ["train", "policy", "--out", str(out)])
    assert unnamed.exit_code == 2
    assert "--planner: ego-only" in unnamed.stderr
    (tmp_path / "nothing").mkdir()
    empty = run(cli.main, [*words, "--store", str(tmp_path / "nothing"), "--out", str(out), "--json"])
    assert empty.exit_code == 2
    assert "is not a training store" in empty.stderr
    done = run(cli.main, ["plan", "assets/clips:0", "--planner", "stand-still", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["plans"][0]["planner"] == "stand-still"
