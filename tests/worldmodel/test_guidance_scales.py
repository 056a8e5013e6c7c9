from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_model, make_observation
from torch.testing import assert_close

from worldmodel.chunks import ChunkSteps, seeded_noise, steps_velocity, video_velocity
from worldmodel.errors import BadRequest
from worldmodel.geometry import Motion
from worldmodel.guidance_scales import CONDITIONS, mixed, passes_of, scales_input
from worldmodel.sampling import Sampling

STEPS = 2


def scaled(history=1.0, motion=1.0, text=1.0, **more):
    return Sampling(steps=STEPS, guidance_history=history, guidance_motion=motion, guidance_text=text, **more)


def drive(seconds=1.0):
    deltas = np.random.default_rng(7).normal((0.9, 0, 0.03), (0.02, 0.01, 0.01), (round(seconds * 8), 3))
    return Motion(deltas=deltas, period_s=0.125).trajectory()


def formula(v, sampling):
    """The guided velocity as the formula says it: v holds the answers told 0, 1, 2 and 3 conditions."""
    s_h, s_m, s_t = (getattr(sampling, f"guidance_{name}") for name in CONDITIONS)
    return v[0] + s_h * (v[1] - v[0]) + s_m * (v[2] - v[1]) + s_t * (v[3] - v[2])


# -- which passes -----------------------------------------------------------------------------------------------------


def test_the_passes_sum_to_the_formula():
    random = torch.Generator().manual_seed(0)
    answers = torch.randn(4, 3, 5, generator=random)
    for _ in range(20):
        scales = (torch.rand(3, generator=random) * 6).tolist()
        passes = passes_of(scaled(*scales), CONDITIONS)
        made = mixed(torch.cat([answers[len(one.told)] for one in passes]), passes)
        assert_close(made, formula(answers, scaled(*scales)), rtol=1e-5, atol=1e-5)
        assert sum(one.weight for one in passes) == pytest.approx(1)


@pytest.mark.parametrize(
    ("scales", "told"),
    [
        ((1, 1, 1), ["hmt"]),
        ((1, 1, 3), ["hm", "hmt"]),
        ((1, 2, 1), ["h", "hm", "hmt"]),
        ((2, 1, 1), ["", "h", "hmt"]),
        ((2, 2, 2), ["", "hmt"]),
        ((1.5, 2, 3), ["", "h", "hm", "hmt"]),
        ((1, 1, 0), ["hm"]),
        ((0, 0, 0), [""]),
    ],
)
def test_a_scale_of_one_costs_no_pass(scales, told):
    passes = passes_of(scaled(*scales), CONDITIONS)
    assert ["".join(name[0] for name in CONDITIONS if name in one.told) for one in passes] == told


def test_what_is_not_given_has_no_scale():
    assert len(passes_of(scaled(motion=5, text=5), ["history"])) == 1
    [bare, full] = passes_of(scaled(motion=5, text=3), ["history", "text"])
    assert (bare.told, full.told) == ({"history"}, {"history", "text"})
    assert (bare.weight, full.weight) == (-2, 3)


# -- on a model -------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(tiny_model):
    """The velocity of one chunk under guidance, and the noise it starts from."""
    observations = [make_observation(seed=1), make_observation(seed=2)]
    past = tiny_model.remember(observations)
    video = seeded_noise(tiny_model, (4, 3, 4, 2, 4), [1, 2], "video", 0)
    steps = seeded_noise(tiny_model, (4, 3), [1, 2], "steps", 0)
    given = steps.flip(0) / 2

    @torch.no_grad()
    def velocity(sampling, *, commanded=True, recall=True, model=tiny_model):
        memory, texts = model.recall(past) if recall else None, ["turn left", "stop"]
        if not commanded:
            return steps_velocity(model, past, memory, texts, sampling)((steps,), 0.7, 0.1)
        told = ChunkSteps(given=given, noise=steps)
        return video_velocity(model, past, memory, texts, sampling, told)((video,), 0.7, 0.1)

    return velocity


@pytest.mark.parametrize("scales", [(1, 1, 2), (1, 3, 1), (2, 1, 1), (1.5, 2.5, 3.5)])
def test_passes_side_by_side_are_the_formula_of_single_passes(asked, scales):
    alone = [asked(scaled(*[float(i < n) for i in range(3)]))[0] for n in range(4)]
    assert_close(asked(scaled(*scales))[0], formula(alone, scaled(*scales)), rtol=1e-4, atol=1e-4)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    assert (alone[1] - alone[2]).abs().max() > 1e-3
    assert (alone[2] - alone[3]).abs().max() > 1e-3


def test_without_the_history_the_past_says_nothing(asked):
    withheld = asked(scaled(0, 0, 0))[0]
    assert_close(withheld, asked(scaled(0, 0, 0), recall=False)[0])
    mixed_batch = asked(scaled(2, 2, 2))[0]  # one pass with and one without it, in one batch
    assert_close(mixed_batch, 2 * asked(scaled())[0] - withheld, rtol=1e-4, atol=1e-4)


def test_imagined_steps_are_guided_too(asked):
    [steps] = asked(scaled(text=3), commanded=False)
    [plain], [bare] = asked(scaled(), commanded=False), asked(scaled(text=0), commanded=False)
    assert_close(steps, 3 * plain - 2 * bare, rtol=1e-4, atol=1e-4)
    assert_close(steps, asked(scaled(text=3, motion=4), commanded=False)[0])  # there is no motion to be told yet


def test_the_warped_view_is_told_with_history_and_motion_only(asked):
    seeing = make_model()
    torch.nn.init.normal_(seeing.network.view_in.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    for scales in ((0, 0, 0), (1, 0, 0)):
        assert_close(asked(scaled(*scales), model=seeing)[0], asked(scaled(*scales), model=make_model())[0])
    assert (asked(scaled(), model=seeing)[0] - asked(scaled(), model=make_model())[0]).abs().max() > 1e-3
    alone = [asked(scaled(*[float(i < n) for i in range(3)]), model=seeing)[0] for n in range(4)]
    guided = asked(scaled(1.5, 2.5, 3.5), model=seeing)[0]
    assert_close(guided, formula(alone, scaled(1.5, 2.5, 3.5)), rtol=1e-4, atol=1e-4)


def test_every_scale_changes_the_rollout_and_plain_scales_change_nothing(tiny_model, observation):
    made = {
        scales: tiny_model.imagine(observation, seconds=0.5, actions=drive(), sampling=scaled(*scales)).video
        for scales in ((1, 1, 1), (3, 1, 1), (1, 3, 1), (1, 1, 3))
    }
    plain = made.pop((1, 1, 1))
    assert (
        plain == tiny_model.imagine(observation, seconds=0.5, actions=drive(), sampling=Sampling(steps=2)).video
    ).all()
    assert all((video != plain).any() for video in made.values())


def test_guidance_leaves_the_memory_of_a_chunk_to_what_was_made(tiny_model, observation):
    """One past serves every branch: the first chunk of a guided rollout is remembered from its own latents alone."""
    one = tiny_model.imagine(observation, seconds=1, actions=drive(), sampling=scaled(1, 1, 3))
    begun = tiny_model.imagine(observation, seconds=0.5, actions=drive(), sampling=scaled(1, 1, 3))
    [rest] = tiny_model.go_on(begun.past, seconds=0.5, seeds=[0], actions=[drive()], sampling=scaled(1, 1, 3))
    assert (np.concatenate([begun.video, rest.video]) == one.video).all()


def test_guided_samples_do_not_mix(tiny_model):
    observations = [make_observation(seed=1), make_observation(seed=2)]
    both = tiny_model.imagine_batch(observations, seconds=0.5, seeds=[3, 4], sampling=scaled(2, 1, 3))
    for i, observation in enumerate(observations):
        alone = tiny_model.imagine(observation, seconds=0.5, seed=3 + i, sampling=scaled(2, 1, 3))
        assert np.abs(both[i].video.astype(int) - alone.video).max() <= 2


def test_how_it_was_guided_is_recorded(tiny_model, observation):
    found = tiny_model.imagine(observation, seconds=0.5, sampling=scaled(text=2.5)).provenance
    assert (found["guidance_text"], found["guidance_motion"], found["steps"]) == (2.5, 1.0, STEPS)


# -- distilled networks -----------------------------------------------------------------------------------------------


def listening_model():
    model = make_model()
    model.config = replace(model.config, guided=True, few_steps=(2,))
    return model


def test_a_network_distilled_with_guidance_takes_the_scales_in_one_pass(asked):
    model, seen = listening_model(), []
    network = model.network.forward

    def watched(sequence, *args, **more):
        seen.append(sequence)
        return network(sequence, *args, **more)

    model.network.forward = watched
    guided, plain = asked(scaled(1, 2, 3), model=model), asked(scaled(), model=model)
    assert [len(sequence.period_s) for sequence in seen] == [2, 2]
    assert seen[0].scales.tolist() == [[1, 2, 3]] * 2
    assert seen[0].frames[0].video_jump.unique().item() == pytest.approx(0.1)
    assert (guided[0] - plain[0]).abs().max() > 1e-4


def test_scales_of_what_is_not_given_are_plain():
    assert scales_input(scaled(2, 3, 4), ["text"], 2).tolist() == [[1, 1, 4]] * 2


def test_scales_out_of_range_are_refused():
    with pytest.raises(BadRequest, match="for the text"):
        scaled(text=-0.5)
