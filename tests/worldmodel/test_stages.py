import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from makers import make_observation
from test_tasks import random_store

from worldmodel.errors import BadCheckpoint, BadRequest, UnknownName
from worldmodel.model import WorldModel
from worldmodel.sampling import Sampling
from worldmodel.training.presets import PRESETS, find_preset
from worldmodel.training.stage_config import StageConfig
from worldmodel.training.stage_data import prepare_store
from worldmodel.training.stages import read_log, train_stage
from worldmodel.training.state import read_facts, state_folder


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_together(name):
    preset = find_preset(name)
    network = preset.model.network
    assert preset.name == preset.model.preset == name
    assert network.latent_channels == preset.model.tokenizer.channels
    modes = preset.modes
    assert modes.joint + modes.steps_given + modes.video_absent + modes.video_given == pytest.approx(1)
    longest = max(preset.chunks, preset.horizon_chunks) * network.frames_per_chunk
    assert preset.video_s * preset.model.frequency_hz >= longest
    assert preset.scene_s >= preset.video_s + 4


def test_unknown_names_offer_the_closest(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'town-mini'"):
        find_preset("town-mni")
    with pytest.raises(UnknownName, match="Did you mean 'vision'"):
        StageConfig(stage="vison", out=tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'test'"):
        StageConfig(stage="vision", out=tmp_path, preset="tst")


@pytest.mark.parametrize("minutes", [0, -1.0])
def test_no_minutes_are_refused(tmp_path, minutes):
    with pytest.raises(BadRequest, match="must be positive"):
        StageConfig(stage="vision", out=tmp_path, minutes=minutes)


def test_a_later_stage_needs_a_tokenizer(tmp_path):
    random_store(tmp_path / "run" / "store")
    with pytest.raises(BadCheckpoint, match="Run `detour train vision` first"):
        train_stage(StageConfig(stage="chunk", out=tmp_path / "run", preset="test"))


def test_a_store_that_is_there_is_used(tmp_path):
    made = random_store(tmp_path / "store")
    config = StageConfig(stage="vision", out=tmp_path, preset="test")
    found = prepare_store(config, find_preset("test"), lambda _: None)
    assert found.made_from == made.made_from


@pytest.mark.parametrize(
    ("made_from", "asked", "said"),
    [
        ({"town": [["street", 1], ["street", 2]]}, {"data": "drives"}, "begun with data 'town', but 'drives'"),
        ({"town": [["street", 1], ["street", 2]]}, {"scenes": 3}, "begun with 2 scenes, but 3"),
        ({"dataset": "drives", "episodes": [0]}, {}, "begun with data 'drives', but 'town'"),
        ({"dataset": "drives", "episodes": [0, 1]}, {"data": "a/drives", "episodes": (1,)}, "begun with episodes"),
    ],
)
def test_a_run_keeps_its_data(tmp_path, made_from, asked, said):
    random_store(tmp_path / "store")
    path = tmp_path / "store" / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"made_from": made_from}))
    config = StageConfig(stage="vision", out=tmp_path, preset="test", **asked)
    with pytest.raises(BadRequest, match=said):
        prepare_store(config, find_preset("test"), lambda _: None)


def test_there_must_be_something_to_distill(tmp_path):
    random_store(tmp_path / "run" / "store")
    with pytest.raises(BadCheckpoint, match="Run `detour train chunk` first"):
        train_stage(StageConfig(stage="distill", out=tmp_path / "run", preset="test"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run through all stages on random pictures, with the config and hash after each."""
    out = tmp_path_factory.mktemp("run") / "run"
    random_store(out / "store")
    said, after = [], []
    for stage in ("vision", "chunk", "horizon", "distill"):
        folder = train_stage(StageConfig(stage=stage, out=out, preset="test"), said.append)
        model = WorldModel.from_pretrained(folder)
        after.append((model.config, model.hash))
    return out, said, after


@pytest.mark.slow
def test_all_stages_give_a_model_that_answers(trained):
    out, said, after = trained
    model = WorldModel.from_pretrained(out / "model")
    observation = make_observation(8, cameras=2)
    rollout = model.imagine(observation, seconds=1.0, sampling=Sampling(steps=1))
    assert np.isfinite(rollout.trajectory.poses).all()
    assert model.plan(observation, steps=1).trajectory.poses.shape == (8, 3)
    assert len({name for _, name in after}) == 4  # every stage changed the weights
    assert "tokenizer: training" in said


@pytest.mark.slow
def test_the_checkpoint_says_what_it_was_trained_on(trained):
    out, _, after = trained
    (vision, _), (chunk, _), (horizon, _), (distilled, _) = after
    assert [line.split(":")[0] for line in distilled.stages] == ["vision", "chunk", "horizon", "distill"]
    assert (horizon.few_steps, distilled.few_steps) == ((), (1, 2, 4, 8))
    assert [config.network.oldest_frames for config in (vision, chunk, horizon)] == [4, 12, 16]
    assert [config.history_chunks for config in (vision, chunk, horizon)] == [1, 2, 3]
    assert horizon.step_mean == vision.step_mean
    assert horizon.step_mean[0] == pytest.approx(1, abs=0.1)
    assert horizon.cameras == 2
    card = (out / "model" / "README.md").read_text()
    assert "preset test" in card
    assert "2 steps" in card
    assert "made for 1, 2, 4, 8 sampling steps" in card
    assert "![Losses over the steps](curves.svg)" in card
    for run in ("tokenizer-run", "vision-run", "chunk-run", "horizon-run", "distill-run"):
        assert read_log(out / run)[-1]["loss"] > 0
        assert f">{run.removesuffix('-run')}: " in (out / "model" / "curves.svg").read_text()


@pytest.mark.slow
def test_a_start_checkpoint_brings_its_weights_and_sizes(trained, tmp_path):
    out, _, _ = trained
    random_store(tmp_path / "run" / "store")
    config = StageConfig(stage="chunk", out=tmp_path / "run", preset="test", start=out / "model", steps=1)
    model = WorldModel.from_pretrained(train_stage(config))
    assert model.config.stages[-1].startswith("chunk: 1 steps")
    assert len(model.config.stages) == 5


@pytest.mark.slow
def test_a_finished_stage_can_be_asked_for_again(trained):
    out, _, _ = trained
    before = WorldModel.from_pretrained(out / "model")
    again = WorldModel.from_pretrained(train_stage(StageConfig(stage="distill", out=out, preset="test")))
    assert again.hash == before.hash
    assert again.config == before.config


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["vision", "chunk", "horizon"])
def test_an_earlier_stage_does_not_replace_a_later_checkpoint(trained, stage):
    out, _, after = trained
    with pytest.raises(BadRequest, match=r"went through stage 'distill'.*another --out"):
        train_stage(StageConfig(stage=stage, out=out, preset="test"))
    assert WorldModel.from_pretrained(out / "model").hash == after[-1][1]


@pytest.mark.slow
def test_a_stage_goes_on_with_the_same_data_only(trained):
    out, _, _ = trained
    path = out / "store" / "store.json"
    kept = path.read_text()
    path.write_text(json.dumps(json.loads(kept) | {"made_from": {"town": [["street", 5]]}}))
    try:
        with pytest.raises(BadRequest, match="was trained with data"):
            train_stage(StageConfig(stage="distill", out=out, preset="test"))
    finally:
        path.write_text(kept)


@pytest.mark.slow
def test_two_processes_train_a_stage_together(tmp_path):
    out = tmp_path / "run"
    random_store(out / "store")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "studio.cli",
    ]
    command += ["train", "vision", "--preset", "test", "--out", str(out), "--json"]
    extra = {"PYTHONPATH": str(Path(__file__).parents[2]), "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, timeout=600, env=os.environ | extra, capture_output=True, text=True)
    assert done.stdout.count('"checkpoint"') == 1
    assert read_facts(state_folder(out / "vision-run"))["processes"] == 2
    model = WorldModel.from_pretrained(out / "model")
    assert model.config.stages[0].startswith("vision: 2 steps")
    subprocess.run(command, check=True, timeout=600, env=os.environ | extra, capture_output=True)  # asked for again
    assert WorldModel.from_pretrained(out / "model").hash == model.hash


@pytest.mark.slow
def test_town_scenes_can_be_trained_on(tmp_path):
    config = StageConfig(stage="vision", out=tmp_path / "run", preset="test", scenes=2)
    model = WorldModel.from_pretrained(train_stage(config))
    assert model.config.cameras == 3
    assert model.plan(replace(make_observation(4), instruction=""), steps=1).path_length_m >= 0
