import math
from dataclasses import replace

import pytest
import torch
from makers import make_model, make_network, make_observation
from test_tasks import PRESET, encoded, generator, only, random_store
from torch.testing import assert_close

from worldmodel.guidance_scales import CONDITIONS, passes_of, scales_input
from worldmodel.sampler import sampling_times
from worldmodel.sampling import Sampling
from worldmodel.sequence import JUMP_FEATURES, jump_features
from worldmodel.training import distillation
from worldmodel.training.distillation import FEW_STEPS, DistillationTask, Jump, draw_steps, two_half_jumps
from worldmodel.training.guided import draw_scales, motion_given, variants
from worldmodel.training.tasks import WorldActionTask


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("data") / "store")


def task(store, kind=DistillationTask, preset=PRESET, **how):
    return kind(
        "distill", PRESET.model, [encoded(store)], preset, chunks=3, first_noisy=1, own_history=0.0, seed=3, **how
    )


def many(**share):
    """Enough samples that every kind of jump is among them."""
    return replace(only(**share), batch_clips=16)


# -- jumps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", FEW_STEPS)
def test_jumps_lie_on_the_grid_of_the_sampler(steps, shift):
    where = (torch.arange(steps) + 0.5) / steps
    jump = Jump.drawn(torch.rand(steps), torch.full((steps,), steps), where, shift)
    grid, halves = sampling_times(steps, shift).float(), sampling_times(2 * steps, shift).float()
    assert_close(jump.now, grid[:-1])
    assert_close(jump.then, grid[1:], atol=1e-6, rtol=0)
    assert_close(jump.mid, halves[1::2])


def test_slopes_go_nowhere():
    time = torch.rand(7, generator=generator())
    jump = Jump.drawn(time, torch.zeros(7, dtype=torch.int64), torch.rand(7), 1.0)
    for moment in (jump.now, jump.mid, jump.then):
        assert torch.equal(moment, time)


def test_two_exact_halves_make_the_exact_whole():
    """dx/dt = a x: the mean velocity over the way back from t by d is x (1 - exp(-a d)) / d."""
    a, x = 1.7, torch.linspace(-2, 2, 9, dtype=torch.float64)
    jump = Jump(now=torch.tensor(0.9), mid=torch.tensor(0.7), then=torch.tensor(0.4))

    def exact(state, d):
        return state * (1 - math.exp(-a * d)) / d

    def velocity(state, at_middle):
        return (exact(state[0], 0.3 if at_middle else 0.2),)

    (found,) = two_half_jumps(velocity, (x,), (jump,))
    assert_close(found, exact(x, 0.5), atol=1e-6, rtol=0)


def test_where_there_is_no_way_to_go_the_answer_is_the_slope():
    time = torch.tensor(0.3)
    still = Jump(now=time, mid=time, then=time)
    (found,) = two_half_jumps(lambda state, _: (3 * state[0],), (torch.ones(2),), (still,))
    assert_close(found, torch.full((2,), 3.0))


def test_jumps_come_with_their_shares():
    counts = torch.bincount(draw_steps((100, 200), generator()).flatten(), minlength=9) / 20_000
    assert_close(counts[[0, 1, 2, 4, 8]], torch.tensor([0.25, 0.2, 0.25, 0.2, 0.1]), atol=0.02, rtol=0)


# -- what the network is told ----------------------------------------------------------------------------------------


def test_each_halving_has_a_feature_of_its_own_and_a_slope_has_none():
    lengths = torch.tensor([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 0])
    features = jump_features(lengths[None], torch.zeros(1, 7), None, clean=False)[0]
    expected = torch.zeros(7, JUMP_FEATURES)
    expected[:5, :5] = torch.eye(5)
    assert_close(features, expected)
    between = jump_features(torch.full((1, 1), 3 / 4), torch.zeros(1, 1), None, clean=False)[0, 0]
    assert between[:2].sum() == pytest.approx(1)
    assert (between[:2] > 0.4).all()


def test_scales_of_one_and_clean_copies_say_nothing():
    time, scales = torch.zeros(2, 4), torch.tensor([[1.0, 1, 1], [1, 2, 4]])
    told = jump_features(None, time, scales, clean=False)
    assert not told[0].any()
    assert told[1, 0, -3:].tolist() == [0, 1, 3]
    assert not jump_features(time + 1, time, scales, clean=True).any()


def test_a_network_that_was_not_distilled_does_not_listen(observation):
    plain, distilled = make_model(), make_model(few_steps=FEW_STEPS)
    for model in (plain, distilled):
        for layer in (model.network.video_jump, model.network.action_jump):
            torch.nn.init.zeros_(layer.weight)
    sampling = Sampling(steps=2)
    videos = [model.imagine(observation, seconds=0.5, sampling=sampling).video for model in (plain, distilled)]
    assert (videos[0] == videos[1]).all()


def test_a_distilled_network_answers_for_the_jump_that_is_asked(observation):
    plain, distilled = make_model(), make_model(few_steps=FEW_STEPS)
    for steps, same in ((4, False), (32, True)):  # a jump of 1/32 is a slope
        sampling = Sampling(steps=steps)
        a, b = (model.imagine(observation, seconds=0.5, sampling=sampling).video for model in (plain, distilled))
        assert (a == b).all() == same
        plans = [model.plan(observation, steps=steps).trajectory.poses for model in (plain, distilled)]
        assert (plans[0] == plans[1]).all() == same
        motions = [model.explain(make_observation(8), steps=steps).deltas for model in (plain, distilled)]
        assert (motions[0] == motions[1]).all() == same


# -- the task ---------------------------------------------------------------------------------------------------------


def test_with_slopes_alone_it_is_the_task_of_the_other_stages(store, monkeypatch):
    monkeypatch.setattr(distillation, "draw_steps", lambda shape, _: torch.zeros(shape, dtype=torch.int64))
    preset = replace(PRESET, guided_share=0.0)
    distil, plain = task(store, preset=preset), task(store, WorldActionTask, preset)
    network, batch = make_network(), distil.batch(0, 0, 1)
    for seed in range(3):
        (a, ours), (b, theirs) = (one.loss(network, batch, generator(seed)) for one in (distil, plain))
        assert float(a.detach()) == pytest.approx(float(b.detach()), rel=1e-5)
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-5)
        assert ours["video_jump"] == 0


@pytest.mark.parametrize("mode", ["joint", "steps_given", "video_absent", "video_given"])
def test_losses_are_finite_and_reach_what_is_told_of_the_jump(store, mode):
    distil, network = task(store, preset=only(**{mode: 1.0})), make_network()
    loss, metrics = distil.loss(network, distil.batch(0, 0, 1), generator(4))
    assert all(math.isfinite(value) for value in metrics.values())
    loss.backward()
    assert network.action_jump.weight.grad.any()
    assert network.video_jump.weight.grad is not None
    assert bool(network.video_jump.weight.grad.any()) == (mode in ("joint", "steps_given"))


def test_what_is_given_or_unknown_does_not_jump(store):
    given = task(store, preset=many(steps_given=1.0))
    batch = given.batch(0, 0, 1)
    draw = distillation.Draw.of(given, batch, generator())
    jumps = given._jumps(draw, generator(2))
    assert not jumps.steps.whole.any()
    assert jumps.video.whole.any()
    explaining = task(store, preset=many(video_given=1.0))
    draw = distillation.Draw.of(explaining, batch, generator())
    jumps = explaining._jumps(draw, generator(2))
    assert not jumps.video.whole.any()
    assert not jumps.video.now.any()
    assert jumps.steps.whole.any()


def test_video_and_steps_that_are_denoised_together_jump_together(store):
    joint = task(store, preset=many(joint=1.0))
    batch = joint.batch(0, 0, 1)
    draw = distillation.Draw.of(joint, batch, generator())
    jumps = joint._jumps(draw, generator(2))
    far = (jumps.video.whole > 0) & (draw.steps_time < 1)  # steps that are unknown stay so
    assert far.any()
    for name in ("now", "mid", "then"):
        assert torch.equal(getattr(jumps.video, name)[far], getattr(jumps.steps, name)[far])


# -- guidance as an input ---------------------------------------------------------------------------------------------


def guided_draw(store, **share):
    guided = task(store, preset=many(**share))
    batch = guided.batch(0, 0, 1)
    return guided, batch, distillation.Draw.of(guided, batch, generator())


def test_scales_are_drawn_for_some_samples_and_for_what_is_given(store):
    _, _, draw = guided_draw(store, joint=0.5, steps_given=0.5)
    scales = draw_scales(draw, 12, generator(1))
    assert (scales[12:] == 1).all()
    assert ((scales[:, 1] > 1) <= motion_given(draw)).all()
    assert ((scales[:, 0] > 1) <= draw.history_known).all()
    for column in scales[:12].unbind(1):
        assert (column > 1).any()
        assert (column == 1).any()


def test_variants_are_the_passes_of_guidance(store):
    _, batch, draw = guided_draw(store, steps_given=1.0)
    sampling = Sampling(guidance_history=1.5, guidance_motion=2.0, guidance_text=3.0)
    scales = scales_input(sampling, CONDITIONS, len(draw.present))
    found = list(variants(batch, draw, scales))
    assert [float(one.weight[0]) for one in found] == [one.weight for one in passes_of(sampling, CONDITIONS)]
    assert_close(sum(one.weight for one in found), torch.ones(len(draw.present)))
    nothing, history, motion, everything = found
    assert not nothing.draw.history_known.any()
    assert (nothing.draw.clean_steps_time == 1).all()
    assert (history.draw.steps_time == 1).all()
    assert torch.equal(history.draw.noisy_steps, draw.steps_noise)
    assert motion.draw is draw
    assert torch.equal(motion.batch["text"][0, 0], batch["silence"][0])
    assert everything.batch is batch


def test_a_condition_that_is_not_given_has_no_weight_of_its_own(store):
    _, batch, draw = guided_draw(store, joint=1.0)
    scales = torch.tensor([[1.5, 1.0, 3.0]]).expand(len(draw.present), 3)
    weights = [float(one.weight[0]) for one in variants(batch, draw, scales)]
    assert weights == [-0.5, -1.5, 0.0, 3.0]


def test_guided_slopes_with_scales_of_one_are_the_answers_of_the_network(store):
    guided, batch, draw = guided_draw(store, steps_given=1.0)
    network, count = make_network(), 3
    slopes = tuple(
        torch.randn(x.shape, generator=generator()) for x in (draw.video_noise, draw.steps_noise, draw.plan_noise)
    )
    with torch.no_grad():
        found = guided._guided_slopes(network, batch, draw, slopes, torch.ones(count, 3))
        answers = guided._answer(network, batch, draw, None, None)
    assert_close(found[0][:count], answers[0][:count], atol=1e-4, rtol=1e-4)
    assert torch.equal(found[0][count:], slopes[0][count:])
    assert torch.equal(found[1], slopes[1])
    assert found[2] is slopes[2]


@pytest.mark.slow
def test_one_jump_comes_close_to_many_steps(store):
    """A network that has learnt the data of one tiny store a little: distilled, its one step is nearer to its 16."""
    preset = only(video_absent=1.0)
    network, first = make_network(), task(store, WorldActionTask, preset)
    _train(network, first, 100, 3e-3)
    before = _one_step_error(network, first, jump=False)
    distil = task(store, preset=preset)
    _train(network, distil, 150, 2e-3)
    after = _one_step_error(network, first, jump=True)
    assert after < 0.7 * before


def _train(network, one, steps, rate):
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    for step in range(steps):
        loss, _ = one.loss(network, one.batch(step, 0, 1), generator(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _one_step_error(network, one, *, jump):
    """Distance of plans drawn in one step from those drawn in 32, from the same noise."""
    batch = one.batch(10_000, 0, 1)
    draw = distillation.Draw.of(one, batch, generator(5))

    def plans(steps, length):
        values = draw.plan_noise
        for now in sampling_times(steps)[:-1].tolist():
            moved = replace(draw, noisy_plans=values, plan_time=torch.full_like(draw.plan_time, now))
            sequence = one._sequence(batch, moved)
            asked = replace(sequence, plan=replace(sequence.plan, jump=torch.full_like(draw.plan_time, length)))
            values = values - network(asked).plan / steps
        return values

    return float((plans(1, 1.0 if jump else 0.0) - plans(32, 0.0)).square().mean())
