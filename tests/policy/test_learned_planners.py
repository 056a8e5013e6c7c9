"""Learned planners: same seed same plan, what each of them cannot see changes nothing, what it is saved as comes back."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_planner_config

from policy.answers import Ask
from policy.learned import LearnedPlanner, make_network
from policy.planner_config import KINDS, PlannerConfig
from worldmodel.decisions import LATERAL, LONGITUDINAL
from worldmodel.errors import BadCheckpoint, BadRequest, BadRig, ClipTooShort, MissingMotion, UnknownName
from worldmodel.geometry import Motion
from worldmodel.tokenizer import Tokenizer, TokenizerConfig


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(5)
        return Tokenizer(TokenizerConfig(channels=4, widths=(8, 16, 16), blocks=(1, 1, 1))).eval()


def config_of(kind: str, tokenizer: Tokenizer) -> PlannerConfig:
    rows = tuple((0.5 * (i + 1) * 6, 0.1, 0.01) for i in range(8))
    return make_planner_config(kind, tokenizer, step_std=(0.5, 0.1, 0.05), plan_mean=rows)


def planner_of(kind: str, tokenizer: Tokenizer, **ask) -> LearnedPlanner:
    config = config_of(kind, tokenizer)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        network = make_network(config)
    return LearnedPlanner(config, network, tokenizer, ask=Ask(samples=3, steps=3) if not ask else Ask(**ask))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_plan_and_more_samples_begin_with_the_fewer(kind, tokenizer, observation) -> None:
    planner = planner_of(kind, tokenizer)
    plan, again = planner.plan(observation, seed=4), planner.plan(observation, seed=4)
    np.testing.assert_array_equal(plan.trajectory.poses, again.trajectory.poses)
    assert planner.name == f"{kind} (rich)"
    if plan.samples is not None:
        more = planner_of(kind, tokenizer, samples=5, steps=3).plan(observation, seed=4)
        assert more.samples is not None
        np.testing.assert_allclose(more.samples[:3], plan.samples, atol=1e-5)
        assert not np.allclose(planner.plan(observation, seed=5).samples, plan.samples)


def other_pixels(observation):
    return replace(observation, video=255 - observation.video)


def other_words(observation):
    return replace(observation, instruction="turn left at the lights")


def other_motion(observation):
    assert observation.motion is not None
    return replace(observation, motion=Motion(deltas=2 * observation.motion.deltas, period_s=1 / 8))


def test_ego_only_ignores_pixels_exactly(tokenizer, observation) -> None:
    planner = planner_of("ego-only", tokenizer)
    before = planner.plan(observation, seed=0).trajectory.poses
    np.testing.assert_array_equal(planner.plan(other_pixels(observation), seed=0).trajectory.poses, before)
    assert not planner.needs_pixels
    for other in (other_words, other_motion):
        assert np.abs(planner.plan(other(observation), seed=0).trajectory.poses - before).max() > 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ego-only"])
@pytest.mark.parametrize("other", [other_pixels, other_words, other_motion])
def test_the_others_read_pixels_words_and_motion(kind, other, tokenizer, observation) -> None:
    planner = planner_of(kind, tokenizer)
    before = planner.plan(observation, seed=0).trajectory.poses
    assert np.abs(planner.plan(other(observation), seed=0).trajectory.poses - before).max() > 0


@pytest.mark.parametrize("kind", ["ik", "ik-current", "ik-pooled"])
@pytest.mark.parametrize("other", [other_words, other_motion])
def test_inverse_kinematics_with_fixed_visual_states_hears_neither_words_nor_ego_status(
    kind, other, tokenizer, observation, monkeypatch
) -> None:
    planner = planner_of(kind, tokenizer)
    states = planner.answer(observation, 0)[0].states
    assert states is not None
    monkeypatch.setattr(planner.network.predictor, "forward", lambda _seen: states[None])
    before = planner.plan(observation, seed=0).trajectory.poses
    np.testing.assert_array_equal(planner.plan(other(observation), seed=0).trajectory.poses, before)
    monkeypatch.setattr(planner.network.predictor, "forward", lambda _seen: states[None] + 1)
    assert np.abs(planner.plan(observation, seed=0).trajectory.poses - before).max() > 0


def test_predicted_states_are_in_the_tokenizers_space_one_per_second(tokenizer, observation) -> None:
    for kind, count in (("ik", 3), ("ik-current", 1), ("ik-pooled", 3)):
        states = planner_of(kind, tokenizer).answer(observation, 0)[0].states
        assert states is not None
        assert states.shape == (count, 3, 4, 2, 4)


def test_the_refiner_gives_a_route_and_decisions(tokenizer, observation) -> None:
    plan = planner_of("refiner", tokenizer).plan(observation, seed=0)
    assert plan.route is not None
    assert plan.route.shape == (20, 2)
    assert plan.decisions is not None
    assert [one.lateral in LATERAL and one.longitudinal in LONGITUDINAL for one in plan.decisions] == [True] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_planner_answers_as_before_up_to_bfloat16(kind, tokenizer, observation, tmp_path) -> None:
    planner = planner_of(kind, tokenizer)
    planner.save_pretrained(tmp_path / "it", "# A card\n")
    loaded = LearnedPlanner.from_pretrained(tmp_path / "it", tokenizer, ask=planner.ask)
    assert loaded.config == planner.config
    before, after = planner.plan(observation, 1).trajectory.poses, loaded.plan(observation, 1).trajectory.poses
    np.testing.assert_allclose(after, before, atol=0.3)
    loaded.save_pretrained(tmp_path / "again", "# A card\n")
    twice = LearnedPlanner.from_pretrained(tmp_path / "again", tokenizer, ask=planner.ask)
    assert twice.hash == loaded.hash
    np.testing.assert_array_equal(twice.plan(observation, 1).trajectory.poses, after)


def test_what_cannot_be_used_is_explained(tokenizer, observation, tmp_path) -> None:
    planner = planner_of("ik", tokenizer)
    with pytest.raises(MissingMotion, match="reads speed and yaw rate"):
        planner.plan(replace(observation, motion=None), 0)
    short = replace(observation, video=observation.video[:4], motion=observation.motion[:3])
    with pytest.raises(ClipTooShort, match=r"has 4 frames.*needs at least 5"):
        planner.plan(short, 0)
    one_camera = replace(
        observation, video=observation.video[:, :1], rig=replace(observation.rig, cameras=observation.rig.cameras[:1])
    )
    with pytest.raises(BadRig, match="has 1 cameras"):
        planner.plan(one_camera, 0)
    with pytest.raises(BadRequest, match="whole multiple"):
        planner.plan(replace(observation, frequency_hz=10.0), 0)
    planner.save_pretrained(tmp_path / "it", "# A card\n")
    with pytest.raises(BadCheckpoint, match=r"none was given.*--model"):
        LearnedPlanner.from_pretrained(tmp_path / "it", None)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    with pytest.raises(BadCheckpoint, match="is not a planner"):
        LearnedPlanner.from_pretrained(tmp_path / "tokenizer", tokenizer)
    with pytest.raises(UnknownName, match="Did you mean 'ik-pooled'"):
        PlannerConfig(kind="ik-poled")
    with pytest.raises(BadCheckpoint, match="does not know: colour"):
        PlannerConfig.from_json({"kind": "ik", "colour": 3}, "here")
    for wrong in ({"samples": 0}, {"steps": 0}, {"sampler": "euler"}):
        with pytest.raises(BadRequest, match="asked for"):
            Ask(**wrong)
