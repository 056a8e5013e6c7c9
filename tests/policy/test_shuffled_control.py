"""A planner that was trained with the pictures of other scenes reacts to nothing: the control that a study is read against.

A toy world: whether something stands on the road (one latent cell) decides whether one stops; what hangs in the sky (another
cell) decides nothing.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from policy.answers import Ask, PlannerNetwork
from policy.planner_config import PlannerConfig
from policy.seeing import Seen
from policy.training.task import PlannerTask
from worldmodel.sequence import RAY_FEATURES

STEPS, BATCH = 160, 32
ROAD, SKY = 1, 0  # rows


@dataclass(frozen=True)
class ToyExample:
    """A drive of one moment."""

    clip: int
    store: int = 0


@dataclass
class ToyReader:
    """Batches as `policy.training.examples.ExampleReader` makes them; what is to be seen follows from the clip's number."""

    config: PlannerConfig

    def batch(self, examples: list[ToyExample]) -> dict[str, torch.Tensor]:
        bits = torch.tensor([[(one.clip >> place) & 1 for place in (0, 1)] for one in examples]).float() * 2 - 1
        count = len(examples)
        cells = pictures(bits[:, 0], bits[:, 1])
        plan = torch.zeros(count, 8, 3)
        plan[..., 0] = -bits[:, :1]  # slow where something stands
        return {
            "cells": cells,
            "states": cells,
            "states_known": torch.ones(count, 3, dtype=torch.bool),
            "rays": rays(count),
            "ego": torch.zeros(count, 12),
            "text": torch.zeros(count, 8),
            "plan": plan,
            "objects": pictures(bits[:, 0].clamp(min=0), 0 * bits[:, 1])[:, -1, 0, 0].flatten(1) / 1.5,
            "objects_known": torch.ones(count, dtype=torch.bool),
            "route": torch.zeros(count, 20, 2),
            "route_known": torch.zeros(count, 20, dtype=torch.bool),
            "decisions": torch.zeros(count, 3, 2, dtype=torch.long),
        }


def pictures(road: torch.Tensor, sky: torch.Tensor) -> torch.Tensor:
    """Latents [B, 3, 1 camera, 2 channels, 2 rows, 2 columns], -1 or 1 in the road's and the sky's cells."""
    cells = torch.zeros(len(road), 3, 1, 2, 2, 2)
    cells[..., ROAD, :] = 1.5 * road.view(-1, 1, 1, 1, 1)
    cells[..., SKY, :] = 1.5 * sky.view(-1, 1, 1, 1, 1)
    return cells


def rays(count: int) -> torch.Tensor:
    """Which cell is which."""
    values = torch.zeros(1, 2, 2, RAY_FEATURES)
    values[:, ROAD, :, 0] = 1.0
    values[:, :, 1, 1] = 1.0
    return values.expand(count, -1, -1, -1, -1)


def trained(shuffled: bool) -> PlannerNetwork:
    config = PlannerConfig(
        kind="ik", width=16, heads=2, scene_layers=1, state_layers=1, plan_layers=1, cameras=1, channels=2, rows=2, columns=2,
        text_width=8, shuffled=shuffled,
    )  # fmt: skip
    examples = [ToyExample(clip) for clip in range(64)]
    task = PlannerTask(config, ToyReader(config), examples, batch_size=BATCH, seed=0)  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(2)
        network = task.module()
    assert isinstance(network, PlannerNetwork)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        optimizer.zero_grad()
        task.loss(network, task.batch(step, 0, 1), generator)[0].backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def change(network: PlannerNetwork, row: int) -> float:
    """How much slower the mean plan gets when something appears in a row of the picture; the same noise for both."""

    def speed(road: float, sky: float) -> float:
        seen = Seen(
            cells=pictures(torch.tensor([road]), torch.tensor([sky])),
            rays=rays(1),
            ego=torch.zeros(1, 12),
            text=torch.zeros(1, 8),
        )
        return float(network.answer(seen, Ask(seed=1, samples=4, steps=6)).poses[..., 0].mean())

    return speed(-1.0, -1.0) - (speed(1.0, -1.0) if row == ROAD else speed(-1.0, 1.0))


@pytest.mark.slow
def test_trained_on_other_scenes_pictures_it_reacts_to_the_road_as_to_the_sky() -> None:
    looks, shuffled = trained(False), trained(True)
    assert change(looks, ROAD) > 1.0  # of the 2 that the truth changes by
    assert abs(change(looks, SKY)) < 0.4
    assert abs(change(shuffled, ROAD)) < 0.4
    assert abs(change(shuffled, SKY)) < 0.4
    assert np.isfinite(change(shuffled, ROAD))
