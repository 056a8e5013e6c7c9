"""Heat maps of networks whose gradients are known, of learned planners, and what disorder does to them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from makers import make_planner_config
from torch import nn

from policy.answers import Answer, Draw, Output, PlannerNetwork
from policy.blocks import CellTokens
from policy.integrated_gradients import integrated
from policy.learned import LearnedPlanner, make_network
from policy.planner_config import KINDS, WAYPOINTS, PlannerConfig
from policy.saliency import (
    HEATS,
    NotApplicable,
    Score,
    Views,
    cams,
    token_gradients,
    views_of,
    visual_layers,
)
from policy.saliency_checks import STAGES, randomised, rank_correlation
from policy.saliency_patches import Patches, patch_effects, patch_effects_on, patches_of
from policy.seeing import Seen
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Trajectory
from worldmodel.plans import PLAN_TIMES_S, Plan
from worldmodel.tokenizer import Tokenizer, TokenizerConfig

SEEING = [kind for kind in KINDS if kind != "ego-only"]
GRID = (3, 2, 4)  # cameras, rows, columns
DRIVEN = np.column_stack([4.0 * PLAN_TIMES_S, 0.1 * PLAN_TIMES_S, 0.0 * PLAN_TIMES_S])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(5)
        return Tokenizer(TokenizerConfig(channels=4, widths=(8, 16, 16), blocks=(1, 1, 1))).eval()


def config_of(kind: str, tokenizer: Tokenizer, **changes) -> PlannerConfig:
    return make_planner_config(kind, tokenizer, **{"scene_layers": 2, "mix": "", **changes})


def planner_of(kind: str, tokenizer: Tokenizer, **changes) -> LearnedPlanner:
    config = config_of(kind, tokenizer, **changes)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        network = make_network(config)
    return LearnedPlanner(config, network, tokenizer)


class LinearReader(PlannerNetwork):
    """Every pose value is a weighted sum of all token values."""

    def __init__(self, config: PlannerConfig, cells: list[int]) -> None:
        super().__init__()
        self.cells = CellTokens(config, 3)
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(3 * WAYPOINTS, config.cells, config.width, generator=generator)
        read = torch.zeros(config.cells)
        read[cells] = 1.0
        self.weights = nn.Parameter(weights * read[:, None])

    def forward(self, seen: Seen, draw: Draw) -> Output:
        del draw
        said = torch.einsum("kcd,bcd->bk", self.weights, self.cells(seen.cells, seen.rays))
        return Output(poses=said.unflatten(1, (WAYPOINTS, 3)))

    def answer(self, seen, ask) -> Answer:
        del ask
        return Answer(poses=self.forward(seen, Draw()).poses)


def reader_of(tokenizer: Tokenizer, cells: list[int]) -> LearnedPlanner:
    config = config_of("direct", tokenizer)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(4)
        return LearnedPlanner(config, LinearReader(config, cells), tokenizer)


def test_the_gradient_of_a_linear_planner_is_its_weights_with_the_signs_of_its_errors(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, list(range(24)))
    views = views_of(planner, [observation, replace(observation, video=255 - observation.video)], [DRIVEN, 2 * DRIVEN])
    [(name, (tokens, gradients))] = token_gradients(planner.network, planner.config, views).items()
    said = planner.network(views.seen, Draw()).poses
    signs = torch.sign(views.plans - said).flatten(1) / (3 * WAYPOINTS)  # of minus the mean absolute error
    expected = torch.einsum("bk,kcd->bcd", signs, planner.network.weights)
    torch.testing.assert_close(gradients, expected.detach(), atol=1e-5, rtol=1e-4)
    assert name == "cells"
    heat = (gradients * tokens).sum(-1).clamp(min=0).reshape(2, *GRID).double().numpy()
    np.testing.assert_allclose(cams(planner, views)["cells"], heat)


@pytest.mark.parametrize("how", ["gradcam", "gradient"])
def test_a_planner_that_reads_one_cell_has_all_its_heat_there(how, tokenizer, observation) -> None:
    planner = reader_of(tokenizer, [13])
    far = [DRIVEN + 1e3, DRIVEN - 1e3]  # a gradient and its opposite: one of them is positive
    views = views_of(planner, [observation, observation], far)
    heat = cams(planner, views, how)["cells"].sum(axis=0)
    assert heat[1, 1, 1] > 0
    assert np.count_nonzero(heat) == 1


def test_pooled_weights_put_heat_on_cells_that_nobody_reads(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, [13])
    views = views_of(planner, [observation, observation], [DRIVEN + 1e3, DRIVEN - 1e3])
    heat = cams(planner, views, "gradcam-pooled")["cells"].sum(axis=0)
    assert np.count_nonzero(heat) > 1  # why it is not the map that we score


def test_only_the_patch_on_the_only_cell_that_is_read_moves_the_plan(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, [13])
    seen = planner.eyes.look(observation)
    values = seen.cells[0].permute(1, 0, 2, 3, 4).repeat_interleave(8, dim=0)  # each camera's latents for its 8 patches
    for patch in range(24):
        values[patch, :, :, patch % 8 // 4, patch % 4] = 3.0
    effects = patch_effects(planner, seen, Patches(values=values))
    assert effects.shape == GRID
    assert effects[1, 1, 1] > 0.01
    assert np.count_nonzero(effects > 1e-4) == 1


def test_a_patch_in_the_picture_does_the_same_as_asking_the_planner_with_it(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, [13])
    effects = patch_effects(planner, planner.eyes.look(observation), patches_of(planner, observation))
    assert effects[1, 1, 1] > 0.01
    assert effects[[0, 2]].max() < 1e-4  # the tokenizer looks a little beyond a cell, never into another camera
    np.testing.assert_allclose(patch_effects_on(planner, observation, (2, 4)), effects, atol=1e-4)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, list(range(24)))
    far = DRIVEN + 100 * np.array([2.0, 0.5, 0.1])  # so that no error changes its sign on the way
    views = views_of(planner, [observation], [far])
    for baseline in ("black", "mean"):
        found = integrated(planner, views, baseline, steps=2)
        assert found.error < 1e-3
        assert found.maps.sum() == pytest.approx(found.change, rel=1e-3)
    with pytest.raises(BadRequest, match="black, mean"):
        integrated(planner, views, "white")


def test_integrated_gradients_of_a_reader_of_one_cell_are_zero_elsewhere(tokenizer, observation) -> None:
    planner = reader_of(tokenizer, [13])
    found = integrated(planner, views_of(planner, [observation], [DRIVEN]), "mean", steps=4)
    assert np.count_nonzero(found.maps) == 1
    assert found.maps[1, 1, 1] != 0


def test_more_steps_make_integrated_gradients_of_a_curved_planner_more_complete(tokenizer, observation) -> None:
    planner = planner_of("ik", tokenizer)
    views = views_of(planner, [observation], [DRIVEN])
    errors = [integrated(planner, views, "black", steps=steps).error for steps in (1, 32)]
    assert errors[1] < 0.02
    assert errors[1] < errors[0]


@pytest.mark.parametrize("kind", SEEING)
def test_every_planner_that_sees_has_maps_and_a_scene_has_the_same_alone_and_in_a_batch(
    kind, tokenizer, observation
) -> None:
    planner = planner_of(kind, tokenizer)
    other = replace(observation, video=255 - observation.video)
    views = views_of(planner, [observation, other], [DRIVEN, 1.5 * DRIVEN])
    for how in HEATS:
        maps = cams(planner, views, how)
        assert list(maps) == list(visual_layers(planner.network))
        for name, both in maps.items():
            assert both.shape == (2, *GRID)
            assert (both >= 0).all()
            assert how != "gradient" or (both.sum(axis=(1, 2, 3)) > 0).all()
            for row in range(2):
                alone = cams(planner, views[row : row + 1], how)[name][0]
                np.testing.assert_allclose(both[row], alone, rtol=1e-3, atol=1e-3 * alone.max())
    assert patch_effects(planner, planner.eyes.look(observation), patches_of(planner, observation)).max() > 0


def test_layers_are_named_by_their_place_the_one_that_meets_ego_and_words_first(tokenizer) -> None:
    found = {kind: list(visual_layers(planner_of(kind, tokenizer).network)) for kind in SEEING}
    assert found["direct"] == ["scene"]
    assert found["ik"] == found["ik-pooled"] == found["ik-current"] == ["predictor.scene", "encoder"]
    assert found["refiner"] == ["coarse.scene", "refiner"]


def test_a_predictor_that_is_trained_apart_is_looked_through_all_the_same(tokenizer, observation) -> None:
    joint, apart = planner_of("ik", tokenizer), planner_of("ik", tokenizer, joint=False)
    views = views_of(joint, [observation], [DRIVEN])
    for name, heat in cams(joint, views).items():
        np.testing.assert_array_equal(cams(apart, views)[name], heat)
    assert not apart.network.config.joint  # and stays what it was


def test_a_planner_without_pixels_is_refused_not_given_zeros(tokenizer, observation) -> None:
    planner = planner_of("ego-only", tokenizer)
    views = views_of(planner, [observation], [DRIVEN])
    for ask in (
        lambda: cams(planner, views),
        lambda: integrated(planner, views, "mean"),
        lambda: patches_of(planner, observation),
    ):
        with pytest.raises(NotApplicable, match="no visual tokens"):
            ask()
    with pytest.raises(UnknownName, match="gradcam"):
        cams(planner, views, "gradcan")


@pytest.mark.parametrize("kind", ["direct", "refiner", "ik", "ik-pooled"])
def test_the_score_is_minus_the_loss_that_the_planner_is_trained_with(kind, tokenizer, observation) -> None:
    planner = planner_of(kind, tokenizer)
    views = views_of(planner, [observation], [DRIVEN])

    def score_of(asked: Views) -> float:
        return Score(planner.network, planner.config)(asked.seen, asked.plans).detach().item()

    score = score_of(views)
    assert score == score_of(views)
    assert score < 0
    if kind in ("direct", "ik-pooled"):
        said = planner.network.answer(views.seen, planner.ask).poses.detach()
        assert score == pytest.approx(-float((said - views.plans).abs().mean()), rel=1e-5)
        assert score_of(Views(seen=views.seen, plans=said)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", SEEING)
def test_disorder_grows_from_the_head_down_and_leaves_the_planner_alone(kind, tokenizer) -> None:
    planner = planner_of(kind, tokenizer)
    before = {name: value.clone() for name, value in planner.network.named_parameters()}
    moved = []
    for stage in STAGES:
        changed = dict(randomised(planner, stage, 0).network.named_parameters())
        moved.append({name for name, value in changed.items() if not torch.equal(value, before[name])})
        for name in moved[-1]:
            torch.testing.assert_close(changed[name].flatten().sort()[0], before[name].flatten().sort()[0])
    assert moved[0] < moved[1] < moved[2] < moved[3]
    assert not any("scene.blocks" in name or "cells" in name for name in moved[0])
    assert any("scene.blocks.1" in name for name in moved[1])
    assert not any("scene.blocks.0" in name for name in moved[1])
    assert any("cells" in name for name in moved[3] - moved[2])
    for name, value in planner.network.named_parameters():
        assert torch.equal(value, before[name])
    with pytest.raises(UnknownName, match="head"):
        randomised(planner, "feet", 0)


def test_rank_correlation_is_scipys_and_zero_for_constants() -> None:
    from scipy import stats

    random = np.random.default_rng(0)
    one, other = random.integers(0, 5, (3, 4)), random.normal(size=(3, 4))
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)
    assert rank_correlation(one, np.ones((3, 4))) == 0
    assert rank_correlation(one, one) == pytest.approx(1)


def test_any_planner_can_be_asked_patch_by_patch(observation) -> None:
    class Watcher:
        """Drives as far as the mean of one corner of the second camera is bright."""

        name = "watcher"

        def plan(self, seen, seed, memory=None):
            del seed, memory
            far = float(seen.video[:, 1, :, :16, 48:].mean())
            poses = np.column_stack([far * PLAN_TIMES_S, 0 * PLAN_TIMES_S, 0 * PLAN_TIMES_S])
            return Plan(trajectory=Trajectory(poses=poses, times_s=PLAN_TIMES_S))

    effects = patch_effects_on(Watcher(), observation, (2, 4))
    assert effects.shape == GRID
    assert effects[1, 0, 3] > 0
    assert np.count_nonzero(effects) == 1
    assert patch_effects_on(Watcher(), observation, (3, 5))[1, 0, 4] > 0  # patches need not be of one size
    with pytest.raises(BadRequest, match="coarser"):
        patch_effects_on(Watcher(), observation, (4, 65))
