import json
import math
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_model, make_network, make_observation
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from worldmodel.config import WorldModelConfig
from worldmodel.errors import BadCheckpoint, BadRequest, ClipTooShort, Diverged
from worldmodel.geometry import mean_pose
from worldmodel.model import WorldModel, check_horizon
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.sampling import Sampling
from worldmodel.tokenizer import Tokenizer

# -- plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_has_eight_poses_and_says_how_long_it_took(tiny_model, observation):
    plan = tiny_model.plan(observation, seed=1)
    assert_allclose(plan.trajectory.times_s, PLAN_TIMES_S)
    assert plan.trajectory.poses.shape == (8, 3)
    assert plan.samples is None
    assert set(plan.timing) == {"remember_s", "plan_s"}


def test_equal_seeds_plan_equally_and_other_seeds_otherwise(tiny_model, observation):
    first, again, other = (tiny_model.plan(observation, seed=s).trajectory.poses for s in (3, 3, 4))
    assert (first == again).all()
    assert not np.allclose(first, other)


def test_the_plan_is_the_mean_of_its_samples_and_more_samples_keep_the_first_ones(tiny_model, observation):
    few, more = (tiny_model.plan(observation, seed=3, samples=n) for n in (2, 4))
    assert few.samples.shape == (2, 8, 3)
    assert_allclose(few.trajectory.poses, mean_pose(few.samples))
    assert_allclose(more.samples[:2], few.samples, atol=1e-4)
    assert_allclose(tiny_model.plan(observation, seed=3).trajectory.poses, few.samples[0], atol=1e-4)


def test_plans_that_turn_round_keep_their_heading(tiny_model, observation):
    model = copy(tiny_model)
    around = replace(tiny_model.config, plan_mean=((0.0, 0.0, 3.5),) * 8, plan_std=((1.0, 1.0, 0.05),) * 8)
    model.config = around
    yaws = model.plan(observation, seed=3, samples=8).trajectory.poses[:, 2]
    assert_allclose(yaws, 3.5 - 2 * np.pi, atol=0.3)


def test_a_ready_memory_gives_the_same_plan(tiny_model, observation):
    past = tiny_model.remember([observation])
    ready = tiny_model.plan(observation, seed=2, past=past)
    assert (ready.trajectory.poses == tiny_model.plan(observation, seed=2).trajectory.poses).all()


@pytest.mark.parametrize("change", ["pictures", "motion", "text"])
def test_the_plan_reads_pictures_motion_and_instruction(tiny_model, observation, change):
    other = make_observation(seed=5)
    changed = {
        "pictures": replace(observation, video=other.video),
        "motion": replace(observation, motion=other.motion),
        "text": replace(observation, instruction="turn left"),
    }[change]
    before, after = (tiny_model.plan(o, seed=0).trajectory.poses for o in (observation, changed))
    assert np.abs(before - after).max() > 1e-4


# -- explain ----------------------------------------------------------------------------------------------------------


def test_explaining_ignores_past_motion_and_instruction(tiny_model):
    observation = make_observation(12)
    first = tiny_model.explain(observation, seed=1)
    assert first.deltas.shape == (8, 3)
    assert first.period_s == 0.125
    for changes in (
        {"motion": None},
        {"motion": make_observation(12, seed=9).motion},
        {"instruction": "turn left"},
        {"instruction": ""},
    ):
        assert (tiny_model.explain(replace(observation, **changes), seed=1).deltas == first.deltas).all()


def test_explaining_reads_pixels_and_its_seed(tiny_model):
    observation = make_observation(12)
    first = tiny_model.explain(observation).deltas
    assert not np.allclose(first, tiny_model.explain(make_observation(12, seed=4)).deltas)
    assert not np.allclose(first, tiny_model.explain(observation, seed=1).deltas)


def test_each_explanation_uses_frames_up_to_its_chunk(tiny_model):
    observation = make_observation(16)
    video = observation.video.copy()
    video[12:] = 0
    first, other = (tiny_model.explain(o).deltas for o in (observation, replace(observation, video=video)))
    assert (first[:8] == other[:8]).all()
    assert not np.allclose(first[8:], other[8:])


def test_explaining_one_or_several_is_the_same(tiny_model):
    several = [make_observation(8, seed=s) for s in range(3)]
    together = tiny_model.explain_batch(several)
    for one, motion in zip(several, together, strict=True):
        assert_allclose(motion.deltas, tiny_model.explain(one).deltas, atol=1e-4)


def test_explaining_needs_two_chunks_of_equal_number(tiny_model):
    with pytest.raises(ClipTooShort, match="Use a longer clip"):
        tiny_model.explain(make_observation(7))
    with pytest.raises(BadRequest, match="equal"):
        tiny_model.explain_batch([make_observation(8), make_observation(12)])


# -- cameras and history ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cameras", [1, 2, 6])
def test_any_number_of_cameras(tiny_model, cameras):
    observation = make_observation(8, cameras=cameras)
    rollout = tiny_model.imagine(observation, seconds=0.5, sampling=Sampling(steps=2))
    assert rollout.video.shape == (4, cameras, 3, 32, 64)
    assert len(rollout.rig) == cameras
    assert tiny_model.plan(observation, steps=2).path_length_m > 0
    assert len(tiny_model.explain(observation, steps=2)) == 4


def test_the_order_of_cameras_does_not_change_plans_or_explanations(tiny_model, observation):
    order = [2, 0, 1]
    swapped = replace(
        observation,
        video=observation.video[:, order],
        rig=replace(observation.rig, cameras=tuple(observation.rig.cameras[i] for i in order)),
    )
    assert_allclose(tiny_model.plan(swapped).trajectory.poses, tiny_model.plan(observation).trajectory.poses, atol=1e-3)
    assert_allclose(tiny_model.explain(swapped).deltas, tiny_model.explain(observation).deltas, atol=1e-4)


def test_pictures_of_another_size_are_fitted_with_their_rig(tiny_model):
    observation = make_observation(8, size=(96, 64))
    rollout = tiny_model.imagine(observation, seconds=0.25, sampling=Sampling(steps=1))
    assert rollout.video.shape == (2, 3, 3, 32, 64)
    assert (rollout.rig.width_px, rollout.rig.height_px) == (64, 32)
    assert_allclose(rollout.rig.cameras[0].intrinsics, observation.rig.scaled(64, 32).cameras[0].intrinsics)


def test_only_the_newest_whole_chunks_are_read(tiny_model):
    long = make_observation(23)
    newest = replace(long, video=long.video[-16:], motion=long.motion[-15:])
    assert tiny_model.config.history_chunks == 4
    assert tiny_model.remember([long]).frames == 16
    assert (tiny_model.plan(long).trajectory.poses == tiny_model.plan(newest).trajectory.poses).all()


def test_unknown_past_motion_is_not_standing_still(tiny_model, observation):
    still = replace(observation, motion=replace(observation.motion, deltas=np.zeros((7, 3))))
    unknown = replace(observation, motion=None)
    plans = [tiny_model.plan(o).trajectory.poses for o in (observation, still, unknown)]
    assert not np.allclose(plans[1], plans[2])
    assert not np.allclose(plans[0], plans[2])


def test_motion_can_be_withheld(tiny_model, observation):
    withheld = tiny_model.remember([observation], with_steps=False).memory.read(0)
    unknown = tiny_model.remember([replace(observation, motion=None)]).memory.read(0)
    assert torch.equal(withheld.keys, unknown.keys)


# -- bad requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, 1e9, math.nan, math.inf, -math.inf])
def test_impossible_horizons_are_refused(tiny_model, observation, seconds):
    with pytest.raises(BadRequest, match="positive and at most 3600 s"):
        tiny_model.imagine(observation, seconds=seconds)
    with pytest.raises(BadRequest, match="horizon"):
        check_horizon(seconds)


@pytest.mark.parametrize("ask", ["plan", "explain"])
def test_zero_steps_are_refused(tiny_model, observation, ask):
    with pytest.raises(BadRequest, match="0 sampling steps"):
        getattr(tiny_model, ask)(observation, steps=0)


@pytest.mark.parametrize("samples", [0, -1, 257])
def test_impossible_numbers_of_samples_are_refused(tiny_model, observation, samples):
    with pytest.raises(BadRequest, match="1 to 256 make sense"):
        tiny_model.plan(observation, samples=samples)


@pytest.mark.parametrize("ask", ["imagine", "plan"])
def test_instructions_of_ten_thousand_characters_are_refused(tiny_model, observation, ask):
    more = {"seconds": 0.5} if ask == "imagine" else {}
    with pytest.raises(BadRequest, match="Shorten it"):
        getattr(tiny_model, ask)(replace(observation, instruction="left " * 2000), **more)


def test_no_instruction_is_fine(tiny_model, observation):
    silent = replace(observation, instruction="")
    assert tiny_model.plan(silent, steps=1).path_length_m > 0
    assert tiny_model.imagine(silent, seconds=0.5, sampling=Sampling(steps=1)).texts == ("",)


@pytest.mark.parametrize("frames", [1, 3])
def test_too_short_observations_are_refused(tiny_model, frames):
    with pytest.raises(ClipTooShort, match="Start later in the clip or ask for more history"):
        tiny_model.plan(make_observation(frames))


@pytest.mark.parametrize("frequency_hz", [4.0, 10.0, 30.0])
def test_another_frame_rate_is_refused(tiny_model, frequency_hz):
    with pytest.raises(BadRequest, match="--frequency 8"):
        tiny_model.plan(make_observation(frequency_hz=frequency_hz))


def test_weights_that_blow_up_are_called_diverged(observation):
    model = make_model()
    with torch.no_grad():
        model.network.video_out.linear.bias.fill_(math.nan)
        model.network.plan_out.linear.bias.fill_(math.nan)
        model.network.steps_out.linear.bias.fill_(math.inf)
    with pytest.raises(Diverged, match="chunk 0"):
        model.imagine(observation, seconds=0.5, sampling=Sampling(steps=1))
    with pytest.raises(Diverged, match="plan"):
        model.plan(observation, steps=1)
    with pytest.raises(Diverged, match="explanation"):
        model.explain(observation, steps=1)


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    tiny_model.save_pretrained(folder, "# A card\n")
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A checkpoint to damage: the folder and its only shard."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (shard,) = folder.glob("*.safetensors")
    return folder, shard


def test_saving_keeps_the_weights_as_bfloat16_and_the_config(tiny_model, saved, observation):
    loaded = WorldModel.from_pretrained(saved)
    assert loaded.config == tiny_model.config
    assert (saved / "README.md").read_text() == "# A card\n"
    for name, value in tiny_model._tensors().items():
        assert torch.equal(loaded._tensors()[name], value.bfloat16().float()), name
    assert loaded.network.video_in.weight.dtype == torch.float32
    assert {value.dtype for value in load_file(next(saved.glob("*.safetensors"))).values()} == {torch.bfloat16}


def test_saving_what_was_loaded_changes_nothing(saved, tmp_path, observation):
    loaded = WorldModel.from_pretrained(saved)
    loaded.save_pretrained(tmp_path / "again")
    again = WorldModel.from_pretrained(tmp_path / "again")
    assert again.hash == loaded.hash
    first, second = (model.imagine(observation, seconds=0.5, sampling=Sampling(steps=2)) for model in (loaded, again))
    assert (first.video == second.video).all()
    assert (first.trajectory.poses == second.trajectory.poses).all()
    assert first.provenance["model"] == loaded.hash


def damage(shard, change):
    tensors = load_file(shard)
    change(tensors)
    save_file(tensors, shard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("network.video_in.weight"), r"1 missing \(video_in\.weight\)"),
        (lambda t: t.pop("tokenizer.mean"), r"tokenizer.*1 missing \(mean\)"),
        (lambda t: t.update({"network.more": torch.zeros(1)}), r"1 extra \(more\)"),
        (lambda t: t.update({"planner.weight": torch.zeros(1)}), r"unexpected tensor 'planner\.weight'"),
        (
            lambda t: t.update({"network.video_in.bias": torch.zeros(3)}),
            r"video_in\.bias is \[3\] and should be \[32\]",
        ),
        (lambda t: t["network.video_in.bias"].fill_(math.nan), r"not finite \((network\.)?video_in\.bias\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(copied, change, message):
    folder, shard = copied
    (folder / "model.safetensors.index.json").unlink()
    damage(shard, change)
    with pytest.raises(BadCheckpoint, match=message):
        WorldModel.from_pretrained(folder)


def test_a_renamed_pickle_is_never_opened(copied):
    folder, shard = copied
    torch.save({"network.video_in.bias": torch.zeros(32)}, shard)
    with pytest.raises(BadCheckpoint, match="is a pickle renamed"):
        WorldModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "detour-tokenizer"}, "not a Detour world model"),
        ({"kind": None}, "not a Detour world model"),
        ({"colour": "red"}, "does not fit this version.*colour"),
        ({"network": {"width": 32, "depth": 3}}, "does not fit this version.*depth"),
        ({"tokenizer": {"stride": 32}}, "stride 32"),
        ({"network": {"heads": 0}}, "heads"),
        ({"network": {"width": "wide"}}, "width"),
        ({"network": {"width": 10**9}}, "width"),
        ({"frequency_hz": 0}, "frequency_hz"),
        ({"step_std": [0.0, 1.0, 1.0]}, "step_std"),
        ({"plan_mean": [[0.0, 0.0]]}, "plan_mean"),
    ],
)
def test_a_config_of_something_else_is_refused(copied, change, message):
    folder, _ = copied
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadCheckpoint, match=message):
        WorldModel.from_pretrained(folder)


def test_a_config_survives_json():
    config = WorldModelConfig(stages=("vision: 3 steps",), step_mean=(0.1, 0.2, 0.3))
    from dataclasses import asdict

    assert WorldModelConfig.from_json(json.loads(json.dumps(asdict(config)))) == config


def test_a_missing_folder_says_what_is_needed(tmp_path):
    with pytest.raises(BadCheckpoint, match="does not exist"):
        WorldModel.from_pretrained(tmp_path / "none")


def test_a_tokenizer_is_not_a_world_model(tiny_model, saved, tmp_path):
    tiny_model.tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(BadCheckpoint, match="not a Detour world model"):
        WorldModel.from_pretrained(tmp_path / "tokenizer")
    with pytest.raises(BadCheckpoint, match="Train one with"):
        Tokenizer.from_pretrained(saved)


def test_the_hash_names_the_weights(tiny_model):
    other = WorldModel(tiny_model.config, tiny_model.tokenizer, make_network(seed=7))
    assert len(tiny_model.hash) == 16
    assert other.hash != tiny_model.hash == make_model().hash


def test_a_plan_from_an_older_memory_knows_its_age(observation):
    tiny_model = make_model()
    past = tiny_model.remember([observation])
    fresh = tiny_model.plan(observation, past=past)
    torch.nn.init.normal_(tiny_model.network.staleness_in.weight, generator=torch.Generator().manual_seed(0))
    assert_allclose(tiny_model.plan(observation, past=past).trajectory.poses, fresh.trajectory.poses)
    half, whole = (tiny_model.plan(observation, past=past, stale_s=age).trajectory.poses for age in (0.5, 1.0))
    assert np.abs(half - fresh.trajectory.poses).max() > 1e-3
    assert np.abs(half - whole).max() > 1e-3


@pytest.mark.parametrize("age", [-0.5, 0.3, float("nan"), float("inf")])
def test_an_age_of_no_whole_chunk_is_refused(tiny_model, observation, age):
    with pytest.raises(BadRequest, match="whole chunks"):
        tiny_model.plan(observation, stale_s=age)
