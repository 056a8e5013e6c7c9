"""Where does a learned planner look? Heat maps over the cells of its latents.

The layer: the outputs of `policy.blocks.CellTokens`, one token per latent cell, as they enter the first block that mixes them
with anything else. Every learned planner that sees has them in front of the block where pictures meet ego status and
instruction; the inverse kinematics network has a second set, where the predicted states enter its own encoder, and the
refiner one in front of its second network. Planners without pixels have none: a map of theirs is refused, never zero.

The scalar: minus the planner's own training loss on the trajectory at the path that was really driven. For regressions that is the absolute
error, for diffusion the denoising loss averaged over fixed noises at evenly spread times, for the refiner the losses of
the coarse and the refined plan over fixed disturbances. The losses of predicted pictures, routes, decisions and objects are left out.

Source: Selvaraju et al., "Grad-CAM" (arXiv 1610.02391), place by place as in Draelos and Carin, "HiResCAM" (arXiv 2011.08891), for
tokens are read by their place; scalar and layer as in "Grounding Driving VLA via Inverse Kinematics", appendix K, with
several noises in the place of one.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from policy.answers import Draw, Output, PlannerNetwork
from policy.blocks import CellTokens
from policy.learned import LearnedPlanner
from policy.plan_diffusion import TRAIN_STEPS, noisy_plans, velocity_of
from policy.planner_config import WAYPOINTS, PlannerConfig
from policy.seeing import Seen, repeated
from policy.training.task import losses_of
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.flow import stream_noise
from worldmodel.geometry import Array
from worldmodel.plans import Observation

DRAWS = 8  # fixed noises, where the loss has noise
DISTURBANCES = 4  # fixed disturbances of the refiner, which reads the scene anew for each


class NotApplicable(BadRequest):
    """This planner has nothing of the kind that the map is made of."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Views:
    """What the maps are made of: inputs and the truth, batch first.

    Attributes:
        seen: As the planner reads it.
        plans: What was really driven, normalised [B, 8, 3].
    """

    seen: Seen
    plans: Tensor

    def __len__(self) -> int:
        return len(self.plans)

    def __getitem__(self, rows: slice) -> "Views":
        """Some of them."""
        only = {name: getattr(self.seen, name)[rows] for name in ("cells", "rays", "ego", "text")}
        return Views(seen=Seen(**only), plans=self.plans[rows])


def views_of(planner: LearnedPlanner, observations: Sequence[Observation], driven: Sequence[Array]) -> Views:
    """What a planner reads of observations, with the poses [8, 3] (m, m, rad) that were driven at 0.5 ... 4 s.

    Raises:
        MissingMotion, ClipTooShort, BadRig, BadRequest: as `Eyes.look`.
    """
    looks = [planner.eyes.look(observation) for observation in observations]
    seen = Seen(
        **{name: torch.cat([getattr(look, name) for look in looks]) for name in ("cells", "rays", "ego", "text")}
    )
    config = planner.config
    plans = (np.stack(driven) - np.array(config.plan_mean)) / np.array(config.plan_std)
    return Views(seen=seen, plans=torch.from_numpy(plans.astype(np.float32)))


def visual_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers whose outputs are visual tokens, by their place in the network; the first is the planner's main one.

    Raises:
        NotApplicable: for a network without pixels.
    """
    found: dict[str, nn.Module] = {
        name.removesuffix(".cells"): part for name, part in network.named_modules() if isinstance(part, CellTokens)
    }
    if not found:
        raise NotApplicable(
            f"a network of the kind '{type(network).__name__}' has no visual tokens, so it has no saliency. Leave it out, or ask "
            "a planner that sees."
        )
    return found


Gradients = dict[str, tuple[Tensor, Tensor]]  # by layer: tokens and gradients, both [B, cells, D]


def cams(
    planner: LearnedPlanner, views: Views, how: str = "gradcam", *, draws: int = DRAWS
) -> dict[str, Float[Array, "b camera h w"]]:
    """Heat of every cell at every visual layer: `heat_of` the gradients of `token_gradients`.

    Raises:
        NotApplicable: for a planner without pixels.
        UnknownName: for another way.
    """
    check_way(how)
    return heat_of(token_gradients(planner.network, planner.config, views, draws=draws), planner.config, how)


def check_way(how: str) -> None:
    """Refuse a way to make a map that does not exist.

    Raises:
        UnknownName: with the closest name.
    """
    if how not in HEATS:
        raise UnknownName("way to make a map", how, HEATS)


def heat_of(
    gradients: Gradients, config: PlannerConfig, how: str = "gradcam"
) -> dict[str, Float[Array, "b camera h w"]]:
    """Heat by layer, float64, never negative.

    Args:
        how: 'gradcam': positive part of gradient times token, place by place: the cells whose content makes the driven path more
            likely, and a cell that nobody reads has none. 'gradcam-pooled': the same with the gradient averaged over all
            cells, as Grad-CAM has it for networks that read all places alike; ours do not, and heat falls on cells that
            nobody reads. 'gradient': length of the gradient, where a small change would matter most.
    Raises:
        UnknownName: for another way.
    """
    check_way(how)
    grid = (config.cameras, config.rows, config.columns)
    return {
        name: HEATS[how](tokens, gradient).unflatten(1, grid).double().cpu().numpy()
        for name, (tokens, gradient) in gradients.items()
    }


def _placewise(tokens: Tensor, gradients: Tensor) -> Tensor:
    return (gradients * tokens).sum(dim=-1).relu()


def _pooled(tokens: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean(dim=1, keepdim=True) * tokens).sum(dim=-1).relu()


def _length(tokens: Tensor, gradients: Tensor) -> Tensor:
    del tokens
    return gradients.norm(dim=-1)


HEATS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # of tokens and gradients [B, cells, D]
    "gradcam": _placewise,
    "gradcam-pooled": _pooled,
    "gradient": _length,
}


def token_gradients(network: PlannerNetwork, config: PlannerConfig, views: Views, *, draws: int = DRAWS) -> Gradients:
    """Visual tokens [B, cells, D] of every layer, and the gradient of minus the trajectory's loss there.

    Raises:
        NotApplicable: for a network without pixels.
    """
    layers, score = visual_layers(network), Score(network, config, draws=draws)
    with torch.enable_grad(), _recorded(layers) as outputs:
        total = score(views.seen, views.plans)
        gradients = torch.autograd.grad(total, list(outputs.values()), allow_unused=True)
    found = {}
    for (name, tokens), gradient in zip(outputs.items(), gradients, strict=True):
        gradient = torch.zeros_like(tokens) if gradient is None else gradient
        copies = (len(views), len(tokens) // len(views))  # a refiner's scenes come in several disturbances
        found[name] = (
            tokens.detach().unflatten(0, copies).mean(dim=1),
            gradient.unflatten(0, copies).sum(dim=1),
        )
    return found


@contextmanager
def _recorded(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """The outputs of layers while the block runs, with gradient, in the order of the layers."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            outputs[name] = output if output.requires_grad else output.detach().requires_grad_()
            return outputs[name]

        return hook

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class Score:
    """Minus the trajectory's training loss, summed over a batch; deterministic.

    Args:
        draws: Noises per example, the same for all; networks without noise need none, and a refiner has DISTURBANCES at most.
    """

    def __init__(self, network: PlannerNetwork, config: PlannerConfig, *, draws: int = DRAWS) -> None:
        self.config, self.network = config, network
        self.draws = min(draws, DISTURBANCES) if config.kind == "refiner" else draws
        if not config.joint:  # what the plan depends on, however it was trained
            self.network = copy.copy(network)
            self.network.config = replace(config, joint=True)  # type: ignore[assignment]

    def __call__(self, seen: Seen, plans: Tensor) -> Tensor:
        """The score of plans [B, 8, 3], a scalar."""
        count, kind = len(plans), self.config.kind
        if kind == "refiner":
            seen, plans = repeated(seen, self.draws), plans.repeat_interleave(self.draws, dim=0)
        draw, velocity = self._draw(count, plans)
        output: Output = self.network(seen, draw)
        said = Output(poses=output.poses, velocity=output.velocity, coarse=output.coarse)
        losses = losses_of(said, {"plan": plans}, velocity)
        return -count * torch.stack(list(losses.values())).sum()

    def _draw(self, count: int, plans: Tensor) -> tuple[Draw, Tensor | None]:
        kind, device = self.config.kind, plans.device
        spread = (torch.arange(self.draws) + 0.5) / self.draws
        if kind == "refiner":
            factors = self._noise("factors", 2).repeat(count, 1)
            return Draw(factors=factors.to(device), time=spread.repeat(count).to(device)), None
        if not kind.startswith("ik") or kind == "ik-pooled":
            return Draw(), None
        times = (TRAIN_STEPS * spread).long().repeat(count).to(device)
        noise = self._noise("plan", WAYPOINTS, 3).repeat(count, 1, 1).to(device)
        each = plans.repeat_interleave(self.draws, dim=0)
        shape = (count, self.draws)
        draw = Draw(plan=noisy_plans(each, noise, times).unflatten(0, shape), time=times.unflatten(0, shape))
        return draw, velocity_of(each, noise, times).unflatten(0, shape)

    def _noise(self, what: str, *shape: int) -> Tensor:
        return torch.cat([stream_noise((1, *shape), 0, f"saliency-{what}-{i}", 0) for i in range(self.draws)])
