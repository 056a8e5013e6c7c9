from dataclasses import replace

import pytest
import torch
from makers import make_network, make_rig
from test_attention import G, P, S, V, allowed
from torch.testing import assert_close

from worldmodel.layout import cells_of
from worldmodel.network import WorldActionTransformer
from worldmodel.sequence import (
    RAY_FEATURES,
    FramesPart,
    GuidancePart,
    PlanPart,
    TokenSequence,
    ray_features,
    time_features,
)

CHUNKS = 3
CAMERAS = 2
BATCH = 1
# Every kind of input: (stream, chunk, clean copy).
GROUPS = [(s, k, c) for s in (V, S) for c in (True, False) for k in range(CHUNKS)]
GROUPS += [(s, k, False) for s in (P, G) for k in range(CHUNKS)]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def training_layout(chunks=CHUNKS, cameras=CAMERAS, batch=BATCH, seed=0):
    """Every chunk twice, clean and noisy, with plans and texts for each chunk."""
    frames = 4 * chunks

    def part(clean, s):
        level = 0.05 if clean else 0.6
        return FramesPart(
            frames=torch.arange(frames),
            clean=clean,
            steps=normal(batch, frames, 3, seed=s),
            steps_time=torch.full((batch, frames), 0.0 if clean else 0.7),
            video=normal(batch, frames, cameras, 4, 2, 4, seed=s + 1),
            video_time=torch.full((batch, frames), level),
        )

    valid = torch.ones(batch, chunks, 5, dtype=torch.bool)
    valid[:, :, 4] = False
    return TokenSequence(
        frames=(part(True, seed + 10), part(False, seed + 20)),
        rays=torch.stack([ray_features(make_rig(cameras), (1, 2))] * batch),
        period_s=torch.full((batch,), 0.125),
        plan=PlanPart(
            chunks=torch.arange(chunks),
            values=normal(batch, chunks, 8, 3, seed=seed + 30),
            time=torch.full((batch, chunks), 0.4),
        ),
        guidance=GuidancePart(
            chunks=torch.arange(chunks), features=normal(batch, chunks, 5, 32, seed=seed + 40), valid=valid
        ),
    )


def added(values, chunk, per):
    changed = values.clone()
    changed[:, chunk * per : (chunk + 1) * per] += normal(*changed[:, :per].shape, seed=99)
    return changed


def perturbed(sequence, group):
    """The sequence with one group of inputs changed."""
    stream, chunk, clean = group
    if stream == P:
        return replace(sequence, plan=replace(sequence.plan, values=added(sequence.plan.values, chunk, 1)))
    if stream == G:
        features = added(sequence.guidance.features, chunk, 1)
        return replace(sequence, guidance=replace(sequence.guidance, features=features))
    name = "video" if stream == V else "steps"
    parts = [
        replace(part, **{name: added(getattr(part, name), chunk, 4)}) if part.clean == clean else part
        for part in sequence.frames
    ]
    return replace(sequence, frames=tuple(parts))


class Looking(WorldActionTransformer):
    """Gives back every token as it leaves the last layer."""

    def _outputs(self, sequence, streams, entry):
        return torch.cat([part.x.flatten(1, 2).flatten(2).sum(-1) for part in streams.values()], dim=1)


def looking(layers):
    plain = make_network(layers=layers)
    network = Looking(plain.config)
    network.load_state_dict(plain.state_dict())
    return network.eval()


@torch.no_grad()
def changed_groups(network, sequence, group):
    cells = cells_of(network.config, sequence)
    differs = (network(sequence) != network(perturbed(sequence, group)))[0]
    found = {}
    for stream, chunk, clean in GROUPS:
        mine = (cells.stream == stream) & (cells.chunk == chunk) & (cells.clean == clean)
        assert mine.any()
        found[(stream, chunk, clean)] = bool(differs[mine].any())
    return found


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_in_one_layer_a_change_reaches_exactly_what_the_table_allows(group):
    found = changed_groups(looking(1), training_layout(), group)
    assert found == {reader: allowed(reader, group) for reader in GROUPS}


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_in_the_whole_network_a_change_reaches_exactly_the_closure_of_the_table(group):
    reached = {group}
    while grown := {reader for reader in GROUPS for source in reached if allowed(reader, source)} - reached:
        reached |= grown
    found = changed_groups(looking(3), training_layout(), group)
    assert found == {reader: reader in reached for reader in GROUPS}


@torch.no_grad()
def test_memory_is_written_without_guidance_or_plans_or_noisy_copies():
    network, sequence = make_network(), training_layout()
    whole = network(sequence, remember=True).entry
    clean = TokenSequence(frames=sequence.frames[:1], rays=sequence.rays, period_s=sequence.period_s)
    alone = network(clean, remember=True).entry
    assert alone.cells.remembered.all()
    assert alone.cells.clean.all()
    for name in ("keys", "values", "queries"):
        assert_close(getattr(alone, name), getattr(whole, name), atol=1e-5, rtol=0)
    for group in GROUPS:
        if not group[2]:
            entry = network(perturbed(sequence, group), remember=True).entry
            assert torch.equal(entry.keys, whole.keys)
            assert torch.equal(entry.values, whole.values)


@torch.no_grad()
def test_outputs_have_the_shapes_of_the_inputs_and_only_noisy_copies_have_them():
    output = make_network()(training_layout(batch=2))
    assert output.video.shape == (2, 12, CAMERAS, 4, 2, 4)
    assert output.steps.shape == (2, 12, 3)
    assert output.plan.shape == (2, CHUNKS, 8, 3)
    assert output.entry is None


@torch.no_grad()
@pytest.mark.parametrize("absent", ["video", "steps", "plan", "guidance"])
def test_streams_may_be_absent(absent):
    sequence = training_layout()
    noisy = sequence.frames[1]
    if absent in ("video", "steps"):
        noisy = replace(noisy, **{absent: None})
        sequence = replace(sequence, frames=(sequence.frames[0], noisy))
    else:
        sequence = replace(sequence, **{absent: None})
    output = make_network()(sequence)
    if absent != "guidance":
        assert getattr(output, absent) is None
    for name in {"video", "steps", "plan"} - {absent}:
        assert getattr(output, name).isfinite().all()


@torch.no_grad()
def test_absent_video_is_the_same_as_video_that_does_not_take_part():
    network, sequence = make_network(), training_layout()
    clean, noisy = sequence.frames
    without = network(replace(sequence, frames=(clean, replace(noisy, video=None, video_time=None))))
    hidden = network(replace(sequence, frames=(clean, replace(noisy, video_present=torch.zeros(1, dtype=torch.bool)))))
    assert_close(without.steps, hidden.steps, atol=1e-5, rtol=0)
    assert_close(without.plan, hidden.plan, atol=1e-5, rtol=0)
    present = network(sequence)
    assert not torch.allclose(present.steps, hidden.steps, atol=1e-3)
    assert torch.equal(present.plan, hidden.plan)  # a plan never looks at its own chunk's video


@torch.no_grad()
def test_padding_of_the_text_is_not_read():
    network, sequence = make_network(), training_layout()
    features = sequence.guidance.features.clone()
    features[:, :, 4] += 100
    other = network(replace(sequence, guidance=replace(sequence.guidance, features=features)))
    plain = network(sequence)
    assert torch.equal(plain.video, other.video)
    assert torch.equal(plain.plan, other.plan)


@torch.no_grad()
def test_one_in_a_batch_is_the_same_alone():
    network = make_network()
    rows = [training_layout(seed=s) for s in (0, 100)]
    both = training_layout(batch=2)

    frames = tuple(
        replace(
            part,
            video=torch.cat([row.frames[i].video for row in rows]),
            steps=torch.cat([row.frames[i].steps for row in rows]),
        )
        for i, part in enumerate(both.frames)
    )
    plan = replace(both.plan, values=torch.cat([row.plan.values for row in rows]))
    guidance = replace(both.guidance, features=torch.cat([row.guidance.features for row in rows]))
    both = replace(both, frames=frames, plan=plan, guidance=guidance)
    together = network(both)
    for i, row in enumerate(rows):
        alone = network(row)
        for name in ("video", "steps", "plan"):
            assert_close(getattr(together, name)[i], getattr(alone, name)[0], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2]])
def test_swapped_cameras_swap_the_video_and_change_nothing_else(order):
    network, sequence = make_network(), training_layout(cameras=3)
    frames = tuple(replace(part, video=part.video[:, :, order]) for part in sequence.frames)
    plain, swapped = network(sequence), network(replace(sequence, frames=frames, rays=sequence.rays[:, order]))
    assert_close(swapped.video, plain.video[:, :, order], atol=1e-4, rtol=0)
    assert_close(swapped.steps, plain.steps, atol=1e-4, rtol=0)
    assert_close(swapped.plan, plain.plan, atol=1e-4, rtol=0)
    assert not torch.allclose(plain.video[:, :, 0], plain.video[:, :, 1], atol=1e-2)


@torch.no_grad()
def test_the_network_knows_which_camera_is_which():
    network, sequence = make_network(), training_layout(cameras=2)
    other = network(replace(sequence, rays=sequence.rays[:, [1, 0]]))
    assert not torch.allclose(other.video, network(sequence).video, atol=1e-3)


@torch.no_grad()
def test_the_frame_period_and_the_noise_times_matter():
    network, sequence = make_network(), training_layout()
    plain = network(sequence)
    assert not torch.equal(network(replace(sequence, period_s=torch.tensor([0.25]))).video, plain.video)
    noisy = replace(sequence.frames[1], video_time=torch.full((1, 12), 0.1))
    assert not torch.equal(network(replace(sequence, frames=(sequence.frames[0], noisy))).video, plain.video)


@torch.no_grad()
def test_before_training_every_velocity_is_zero():
    from worldmodel.training.presets import find_preset

    output = WorldActionTransformer(find_preset("test").model.network)(training_layout())
    assert not output.video.any()
    assert not output.steps.any()
    assert not output.plan.any()


def test_patches_are_put_back_where_they_came_from():
    network = make_network()
    video = normal(2, 4, 3, 4, 2, 4)
    patches = network._patches(video)
    assert patches.shape == (2, 4, 6, 16)
    assert torch.equal(network._unpatch(patches, 3), video)


def test_rays_tell_where_a_token_looks():
    rays = ray_features(make_rig(3), (2, 4))
    assert rays.shape == (3, 2, 4, RAY_FEATURES)
    direction = rays[..., :3]
    assert_close(direction.norm(dim=-1), torch.ones(3, 2, 4))
    assert (direction[0, :, 0, 1] > 0).all()  # the left column of the front camera looks left
    assert (direction[0, 0, :, 2] > direction[0, 1, :, 2]).all()  # the upper row looks higher
    assert_close(rays[0, 0, 0, 3:6] * 2, torch.tensor([1.5, 0.0, 1.6]))


def test_noise_times_are_told_apart():
    features = time_features(torch.linspace(0, 1, 50))
    assert ((features[:, None] - features).norm(dim=-1) + torch.eye(50) > 1e-2).all()


# -- inputs that came later -------------------------------------------------------------------------------------------


def listening():
    """A network whose later inputs have been trained, as it were."""
    network = make_network(layers=2)
    for layer in (network.view_in, network.staleness_in):
        torch.nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    return network


@torch.no_grad()
def test_a_plan_told_to_be_stale_does_not_see_the_newest_chunks():
    network, base = listening(), training_layout(batch=2)
    staleness = torch.tensor([[0, 0, 1], [0, 1, 2]])
    sequence = replace(base, plan=replace(base.plan, staleness=staleness))
    told = network(sequence).plan
    for group in [(s, k, True) for s in (V, S) for k in range(CHUNKS - 1)]:
        differs = (network(perturbed(sequence, group)).plan != told).any(dim=3).any(dim=2)
        chunk = torch.arange(CHUNKS)
        assert (differs == (group[1] <= chunk - 1 - staleness)).all(), group


@torch.no_grad()
def test_a_plan_is_told_its_staleness_and_the_rest_is_not():
    network, base = listening(), training_layout(chunks=1)
    fresh, old = (network(replace(base, plan=replace(base.plan, staleness=torch.tensor([[n]])))) for n in (0, 2))
    assert_close(fresh.plan, network(base).plan)
    assert (old.plan - fresh.plan).abs().max() > 1e-3
    assert_close(old.video, fresh.video)
    assert_close(old.steps, fresh.steps)


@torch.no_grad()
def test_a_view_reaches_the_video_of_the_samples_that_may_see_it():
    network, base = listening(), training_layout(batch=2)
    noisy = base.frames[1]
    seen = replace(noisy, view=normal(*noisy.video.shape, seed=5), view_known=torch.tensor([True, False]))
    plain, viewed = network(base), network(replace(base, frames=(base.frames[0], seen)))
    assert (viewed.video[0] - plain.video[0]).abs().max() > 1e-3
    assert_close(viewed.video[1], plain.video[1])
    assert_close(viewed.plan, plain.plan)


def test_a_checkpoint_from_before_these_inputs_loads_and_says_what_it_said(tmp_path):
    from makers import make_model

    from worldmodel.model import WorldModel

    model = make_model()
    model.save_pretrained(tmp_path / "now")
    tensors = model._tensors()
    later = [name for name in tensors if name.removeprefix("network.").startswith(model.network.may_lack)]
    assert later
    model._tensors = lambda: {name: tensor for name, tensor in tensors.items() if name not in later}
    model.save_pretrained(tmp_path / "before")
    now, before = (WorldModel.from_pretrained(tmp_path / name) for name in ("now", "before"))
    assert all(not before._tensors()[name].any() for name in later)
    assert all((before._tensors()[name] == now._tensors()[name]).all() for name in tensors if name not in later)
