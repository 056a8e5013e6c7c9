"""How good a planner is on clips of its own data that it was not trained on."""

from collections.abc import Sequence

import numpy as np
import torch

from policy.answers import Ask
from policy.learned import LearnedPlanner
from policy.seeing import Seen
from policy.training.examples import Example, ExampleReader
from worldmodel.geometry import Array, integrate_rates, mean_pose
from worldmodel.plans import PLAN_TIMES_S

EVERY = 4  # frames of a clip between the ones that are scored
SEED = 0


@torch.no_grad()
def held_out_scores(
    planner: LearnedPlanner, reader: ExampleReader, examples: Sequence[Example]
) -> dict[str, tuple[float, float]]:
    """ADE and FDE over 4 s in metres, of the planner and of two that do not learn; empty without examples."""
    chosen = examples[::EVERY]
    if not chosen:
        return {}
    truth = np.stack([example.label.poses for example in chosen])
    ask = Ask(seed=SEED, samples=planner.ask.samples, steps=planner.ask.steps, sampler=planner.ask.sampler)
    said = []
    for example in chosen:
        answer = planner.network.answer(Seen.of(reader.batch([example])), ask)
        said.append(mean_pose(planner.poses(answer.poses)))
    found = {planner.config.label: np.stack(said)}
    found["constant velocity"] = np.stack([_arc(reader, example, turning=False) for example in chosen])
    found["constant turn rate"] = np.stack([_arc(reader, example, turning=True) for example in chosen])
    return {name: errors_m(poses, truth) for name, poses in found.items()}


def errors_m(poses: Array, truth: Array) -> tuple[float, float]:
    """Mean distance over all poses [n, 8, 3], and at the last one."""
    distances = np.linalg.norm(poses[..., :2] - truth[..., :2], axis=-1)
    return float(distances.mean()), float(distances[:, -1].mean())


def _arc(reader: ExampleReader, example: Example, *, turning: bool) -> Array:
    store = reader.stores[example.store]
    forward, left, yaw = store.deltas[example.clip, example.frame - 1]
    times = np.concatenate([[0.0], PLAN_TIMES_S])
    speed, rate = np.hypot(forward, left) * store.frequency_hz, yaw * store.frequency_hz * turning
    path = integrate_rates(np.full(len(PLAN_TIMES_S), speed), np.full(len(PLAN_TIMES_S), rate), times)
    return path.resampled(PLAN_TIMES_S).poses
