"""Is a heat map about the planner at all? Its weights put into disorder, from the top down.

A map that stays as it was when the network behind it forgets what it learned shows the picture, not the planner.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv 1810.03292), cascading randomisation. Ours: a tensor keeps its own
values in another order, so that sizes stay as they are, and the cascade has four stages.
"""

import copy
import re

import numpy as np
import torch
from jaxtyping import Float

from policy.answers import PlannerNetwork
from policy.learned import LearnedPlanner
from worldmodel.errors import UnknownName
from worldmodel.geometry import Array

STAGES = ("head", "upper half", "blocks", "all")  # what is in disorder, each with all before it
BLOCK = re.compile(r"(?P<blocks>(.*\.)?(scene|encoder)\.blocks)\.(?P<number>\d+)\.")
TOKENS = re.compile(r"(.*\.)?(cells|scene\.ego|scene\.text)\.")


def randomised(planner: LearnedPlanner, stage: str, seed: int) -> LearnedPlanner:
    """The planner with the weights of a stage in disorder; the original stays as it is.

    Args:
        stage: 'head': all after the blocks in which what is seen is mixed; 'upper half': also the upper half of those blocks;
            'blocks': all of them; 'all': also what makes tokens of pictures, ego status and instruction.
        seed: Of the order; a tensor has the same order in every stage.
    Raises:
        UnknownName: for another stage.
    """
    if stage not in STAGES:
        raise UnknownName("stage", stage, STAGES)
    generator = torch.Generator("cpu").manual_seed(seed)
    changed = copy.copy(planner)
    changed.network = copy.deepcopy(planner.network)
    with torch.no_grad():
        for name, weights in changed.network.named_parameters():
            order = torch.randperm(weights.numel(), generator=generator)
            if STAGES.index(_stage_of(name, changed.network)) <= STAGES.index(stage):
                weights.copy_(weights.flatten()[order].reshape(weights.shape))
    return changed


def _stage_of(name: str, network: PlannerNetwork) -> str:
    """The stage at which a parameter loses its order."""
    if TOKENS.match(name):
        return "all"
    found = BLOCK.match(name)
    if found is None:
        return "head"
    blocks = len(list(network.get_submodule(found["blocks"]).children()))
    return "upper half" if 2 * int(found["number"]) >= blocks else "blocks"


def rank_correlation(one: Float[Array, "*n"], other: Float[Array, "*n"]) -> float:
    """Spearman's rank correlation of two maps of one shape, ties with mean ranks; 0 where one of them is constant."""
    from scipy import stats  # takes seconds to import

    a, b = (stats.rankdata(np.ravel(values)) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / spread if spread > 0 else 0.0
