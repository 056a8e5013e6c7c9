"""What do the latents of each cell add to a planner's score? Integrated gradients, which add up.

Source: Sundararajan et al., "Axiomatic Attribution for Deep Networks" (arXiv 1703.01365), over the tokenizer's latents.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from policy.learned import LearnedPlanner
from policy.saliency import Score, Views, visual_layers
from policy.seeing import repeated
from worldmodel.errors import BadRequest
from worldmodel.geometry import Array

STEPS = 32  # points on the line
BASELINES = ("black", "mean")  # pictures that are black, and latents that are the mean of the training data's


@dataclass(frozen=True, eq=False, kw_only=True)
class Integrated:
    """Integrated gradients of one scene.

    Attributes:
        maps: What every cell adds to the score, all its latents together, signed [camera, h, w].
        change: Score of the scene minus that of the baseline: what the map should add up to.
        error: How far the map's sum is from it, as a share of the change (of 1e-12 if there is none).
    """

    maps: Float[Array, "camera h w"]
    change: float
    error: float


def integrated(planner: LearnedPlanner, view: Views, baseline: str, *, steps: int = STEPS) -> Integrated:
    """Integrated gradients over the latents of one scene, along the straight line from a baseline (midpoint rule).

    Args:
        view: A single scene.
        baseline: One of BASELINES.
        steps: Points on the line; more make the completeness error smaller.
    Raises:
        NotApplicable: for a planner without pixels.
        BadRequest: for another baseline, or no steps.
    """
    if baseline not in BASELINES or steps < 1:
        raise BadRequest(
            f"integrated gradients from '{baseline}' in {steps} steps were asked for. Choose one of {', '.join(BASELINES)}, and "
            "1 step or more."
        )
    visual_layers(planner.network)
    score, end = Score(planner.network, planner.config), view.seen.cells
    start = torch.zeros_like(end) if baseline == "mean" else _black(planner, end)
    places = (torch.arange(steps) + 0.5).reshape(-1, *[1] * (end.dim() - 1)) / steps
    cells = (start + places * (end - start)).requires_grad_()
    with torch.enable_grad():
        total = score(replace(repeated(view.seen, steps), cells=cells), view.plans.repeat(steps, 1, 1))
        [gradient] = torch.autograd.grad(total, [cells])
    added = ((end - start) * gradient.mean(dim=0, keepdim=True)).double().sum(dim=(0, 1, 3)).numpy()
    with torch.no_grad():
        change = float(score(view.seen, view.plans) - score(replace(view.seen, cells=start), view.plans))
    return Integrated(maps=added, change=change, error=abs(float(added.sum()) - change) / max(abs(change), 1e-12))


def _black(planner: LearnedPlanner, cells: Tensor) -> Tensor:
    """Latents of black pictures, as many as there are."""
    assert planner.eyes.tokenizer is not None
    width, height = planner.eyes.picture_size
    black = planner.eyes.tokenizer.encode(np.zeros((1, 3, height, width), np.uint8))
    return black.expand(cells.shape).clone()
