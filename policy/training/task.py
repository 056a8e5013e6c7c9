"""How planners learn: imitate the expert's plans, and see what comes next."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from policy.answers import Draw, Output
from policy.learned import make_network
from policy.plan_diffusion import TRAIN_STEPS, noisy_plans, velocity_of
from policy.planner_config import ROUTE_SCALE_M, PlannerConfig
from policy.seeing import Seen
from policy.training.examples import Example, ExampleReader
from worldmodel.training.draws import batch_random

Batch = dict[str, Tensor]
CELL_NOISE, EGO_NOISE = 0.1, 0.05  # standard deviations, in units of the inputs' own
CELL_DROP = 0.1  # share of the pictures' cells that are blank
TEXT_DROP, FEATURE_DROP = 0.15, 0.3  # shares of examples without an instruction, and of its features that are dropped
NOISES = 4  # noisy plans per example: the decoder is cheap beside what it looks at
PICTURES = (
    "cells",
    "rays",
    "states",
    "states_known",
    "objects",
    "objects_known",
)  # what is exchanged between the examples of a control
WEIGHTS = {"lateral": 0.1, "longitudinal": 0.1, "objects": 2.0}  # of losses beside the others; 1 for those not named


class PlannerTask:
    """Imitation of the expert (a `worldmodel.training.task.Task`).

    Args:
        batch_size: Examples per step, drawn anew for each: every drive is as likely as any other, however many of its
            moments teach.
    """

    def __init__(
        self, config: PlannerConfig, reader: ExampleReader, examples: Sequence[Example], *, batch_size: int, seed: int
    ) -> None:
        self.name = config.kind
        self.config, self.reader, self.examples = config, reader, examples
        self.batch_size, self.seed = batch_size, seed
        drives: dict[tuple[int, int], list[Example]] = {}
        for example in examples:
            drives.setdefault((example.store, example.clip), []).append(example)
        self._drives = list(drives.values())

    def module(self) -> nn.Module:
        """A new network."""
        return make_network(self.config)

    def batch(self, step: int, rank: int, world: int) -> Batch:  # noqa: ARG002
        """A random moment of each of some random drives."""
        random = batch_random(self.seed, step, rank)
        drives = [self._drives[number] for number in random.integers(len(self._drives), size=self.batch_size)]
        batch = self.reader.batch([drive[int(random.random() * len(drive))] for drive in drives])
        return batch | {name: batch[name].roll(1, dims=0) for name in PICTURES} if self.config.shuffled else batch

    def loss(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the losses of all that the planner says."""
        draw, target = self._draw(batch, generator)
        output: Output = module(blurred(Seen.of(batch), generator), draw)
        losses = losses_of(output, batch, target)
        total = torch.stack([WEIGHTS.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        return total, {name: loss.detach() for name, loss in losses.items()}

    def _draw(self, batch: Batch, generator: torch.Generator) -> tuple[Draw, Tensor | None]:
        """Noise for the batch, and the velocity that is wanted of it (diffusion only)."""
        plans, kind = batch["plan"], self.config.kind
        count, device = len(plans), plans.device
        if kind == "refiner":
            factors = torch.randn(count, 2, generator=generator)
            return Draw(factors=factors.to(device), time=torch.rand(count, generator=generator).to(device)), None
        if not kind.startswith("ik"):
            return Draw(), None
        states = self.config.state_noise * torch.randn(*batch["states"].shape, generator=generator).to(device)
        if kind == "ik-pooled":
            return Draw(states=states), None
        plans = plans[:, None].expand(-1, NOISES, -1, -1)
        noise = torch.randn(*plans.shape, generator=generator).to(device)
        times = torch.randint(TRAIN_STEPS, (count, NOISES), generator=generator).to(device)
        noisy, velocity = (
            path(plans.flatten(0, 1), noise.flatten(0, 1), times.flatten()).unflatten(0, (count, NOISES))
            for path in (noisy_plans, velocity_of)
        )
        return Draw(plan=noisy, time=times, states=states), velocity


def blurred(seen: Seen, generator: torch.Generator) -> Seen:
    """What is seen, a little noisy, and at times without what is told: a few hundred drives are soon known by heart.

    Pictures and ego steps get noise, and some of the pictures' cells are blank; of the instruction each feature is dropped
    at times, and at times all of it.
    """

    def noise(values: Tensor) -> Tensor:
        return torch.randn(*values.shape, generator=generator).to(values.device)

    def kept(share: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) < share).float().to(seen.text.device)

    count, width = seen.text.shape
    heard = kept(1 - TEXT_DROP, count, 1) * kept(1 - FEATURE_DROP, count, width) / (1 - FEATURE_DROP)
    _, _, cameras, _, rows, columns = seen.cells.shape
    shown = kept(1 - CELL_DROP, count, 1, cameras, 1, rows, columns)
    return Seen(
        cells=(seen.cells + CELL_NOISE * noise(seen.cells)) * shown,
        rays=seen.rays,
        ego=seen.ego + EGO_NOISE * noise(seen.ego),
        text=seen.text * heard,
    )


def losses_of(output: Output, batch: Batch, velocity: Tensor | None) -> dict[str, Tensor]:
    """Mean losses by name: plans and routes by absolute error, velocity and states by squared error, decisions and
    objects by cross entropy."""
    losses: dict[str, Tensor] = {}
    for name, said in (("plan", output.poses), ("coarse", output.coarse)):
        if said is not None:
            losses[name] = (said - batch["plan"]).abs().mean()
    if output.velocity is not None:
        assert velocity is not None
        losses["velocity"] = (output.velocity - velocity).square().mean()
    if output.states is not None:
        losses["states"] = _known_mean(
            (output.states - batch["states"]).square().mean(dim=(2, 3, 4, 5)), "states", batch
        )
    for name, said in (("route", output.route), ("coarse_route", output.coarse_route)):
        if said is not None:
            losses[name] = _known_mean((said - batch["route"] / ROUTE_SCALE_M).abs().mean(dim=-1), "route", batch)
    for index, (name, said) in enumerate((("lateral", output.lateral), ("longitudinal", output.longitudinal))):
        if said is not None:
            losses[name] = functional.cross_entropy(said.flatten(0, 1), batch["decisions"][..., index].flatten())
    if output.objects is not None:
        shares = batch["objects"][:, None].expand_as(output.objects)
        crossed = functional.binary_cross_entropy_with_logits(output.objects, shares, reduction="none")
        losses["objects"] = _known_mean(crossed.mean(dim=(1, 2)), "objects", batch)
    return losses


def _known_mean(errors: Tensor, what: str, batch: Batch) -> Tensor:
    """Mean of the entries that are known; 0 where none is."""
    known = batch[f"{what}_known"].float()
    return (errors * known).sum() / known.sum().clamp(min=1)
