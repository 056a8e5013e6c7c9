"""Decisions first, then a coarse plan and route, then a few steps of denoising from there: the planner 'refiner'.

The coarse plan is disturbed by one factor forward and one to the left, and the refiner says the plan without the disturbance
from pixels, decisions and ego status; at a smaller disturbance once more.

Source: "AutoMoT", section 3.2 (decisions, waypoints and route from queries of which the plan's see the decisions') and appendix
A.3 (truncated denoising from the coarse plan with multiplicative noise, which follows DiffusionDriveV2, arXiv 2512.07745). Ours:
the size of the network, and conditions added to the queries instead of adaptive norms.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policy.answers import Answer, Ask, Draw, Output, PlannerNetwork
from policy.blocks import CellTokens, ObjectScores, Points, SceneTokens, SelfBlock, time_waves
from policy.plan_diffusion import TRAIN_STEPS
from policy.planner_config import HISTORY_S, ROUTE_POINTS, ROUTE_SCALE_M, STEPS_SEEN, WAYPOINTS, PlannerConfig
from policy.seeing import Seen, repeated
from worldmodel.decisions import HORIZONS_S, LATERAL, LONGITUDINAL
from worldmodel.flow import stream_noise
from worldmodel.plans import Decision

DISTURBANCE = 0.3  # standard deviation of the factors at time 1
TIMES = (1.0, 0.5)  # at which a coarse plan is disturbed and refined


@dataclass(frozen=True, eq=False, kw_only=True)
class Coarse:
    """Plan [B, 8, 3] normalised, route [B, 20, 2] in ROUTE_SCALE_M, and the decisions' scores [B, 3, 5] and [B, 3, 4].

    `objects` are scores of the cells [B, 1, cells]; None where nobody looked.
    """

    poses: Tensor
    route: Tensor
    lateral: Tensor
    longitudinal: Tensor
    objects: Tensor | None = None

    def detached(self) -> "Coarse":
        """Without gradient."""
        return Coarse(
            poses=self.poses.detach(),
            route=self.route.detach(),
            lateral=self.lateral.detach(),
            longitudinal=self.longitudinal.detach(),
        )


class CoarsePlanner(nn.Module):
    """Decisions from what is seen; plan and route from what is seen and decided."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.scene = SceneTokens(config)
        self.decisions = Points(config, len(HORIZONS_S))
        self.lateral = nn.Linear(config.width, len(LATERAL))
        self.longitudinal = nn.Linear(config.width, len(LONGITUDINAL))
        self.points = Points(config, WAYPOINTS + ROUTE_POINTS)
        self.pose, self.place = nn.Linear(config.width, 3), nn.Linear(config.width, 2)
        self.objects = ObjectScores(config)

    def forward(self, seen: Seen) -> Coarse:
        """All of it."""
        scene = self.scene(seen)
        decided = self.decisions(scene)
        points = self.points(torch.cat([scene, decided], dim=1))
        return Coarse(
            poses=self.pose(points[:, :WAYPOINTS]),
            route=self.place(points[:, WAYPOINTS:]),
            lateral=self.lateral(decided),
            longitudinal=self.longitudinal(decided),
            objects=self.objects(scene),
        )


class PlanRefiner(nn.Module):
    """Disturbed plan and route in, better ones out."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        width = self.width = config.width
        self.cells = CellTokens(config, len(HISTORY_S))
        self.block = SelfBlock(width, config.heads)
        self.decision = nn.Linear(len(LATERAL) + len(LONGITUDINAL), width)
        self.pose, self.place = nn.Linear(3, width), nn.Linear(2, width)
        self.state = nn.Sequential(nn.Linear(width + 3 * STEPS_SEEN, width), nn.GELU(), nn.Linear(width, width))
        self.points = Points(config, WAYPOINTS + ROUTE_POINTS)
        self.pose_out, self.place_out = nn.Linear(width, 3), nn.Linear(width, 2)

    def forward(self, seen: Seen, disturbed: Coarse, time: Tensor) -> tuple[Tensor, Tensor]:
        """Plan [B, 8, 3] and route [B, 20, 2] of disturbed ones at times [B] in 0 ... 1."""
        decided = torch.cat([disturbed.lateral.softmax(-1), disturbed.longitudinal.softmax(-1)], dim=-1)
        source = torch.cat([self.block(self.cells(seen.cells, seen.rays)), self.decision(decided)], dim=1)
        state = self.state(torch.cat([time_waves(time * TRAIN_STEPS, self.width), seen.ego], dim=-1))
        values = torch.cat([self.pose(disturbed.poses), self.place(disturbed.route)], dim=1)
        points = self.points(source, values + state[:, None])
        poses = disturbed.poses + self.pose_out(points[:, :WAYPOINTS])
        return poses, disturbed.route + self.place_out(points[:, WAYPOINTS:])


class RefiningPlanner(PlannerNetwork):
    """Coarse planner and refiner."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.coarse, self.refiner = CoarsePlanner(config), PlanRefiner(config)
        self.register_buffer("mean", torch.tensor(config.plan_mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.plan_std), persistent=False)

    def forward(self, seen: Seen, draw: Draw) -> Output:
        """Coarse plan, route and decisions; and plan and route refined from the draw's disturbance."""
        assert draw.factors is not None
        assert draw.time is not None
        coarse = self.coarse(seen)
        disturbed = self.disturbed(coarse.detached(), draw.factors * draw.time[:, None])
        poses, route = self.refiner(seen, disturbed, draw.time)
        return Output(
            poses=poses,
            coarse=coarse.poses,
            route=route,
            coarse_route=coarse.route,
            lateral=coarse.lateral,
            longitudinal=coarse.longitudinal,
            objects=coarse.objects,
        )

    def disturbed(self, coarse: Coarse, factors: Tensor) -> Coarse:
        """Plan and route stretched by 1 + DISTURBANCE factors, [B, 2]: forward and to the left, in metres."""
        stretch = 1 + DISTURBANCE * factors[:, None]
        poses = coarse.poses * self.std + self.mean
        poses = torch.cat([poses[..., :2] * stretch, poses[..., 2:]], dim=-1)
        return Coarse(
            poses=(poses - self.mean) / self.std,
            route=coarse.route * stretch,
            lateral=coarse.lateral,
            longitudinal=coarse.longitudinal,
        )

    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """Decide, plan coarsely, then disturb and refine each sample at TIMES; `ask.steps` and the sampler do not matter."""
        coarse = self.coarse(seen)
        decisions = _decided(coarse)
        several = Coarse(**{name: getattr(coarse, name).repeat_interleave(ask.samples, 0) for name in _FIELDS})
        seen = repeated(seen, ask.samples)
        for number, time in enumerate(TIMES):
            factors = torch.cat(
                [stream_noise((1, 2), ask.seed, f"policy-refine-{i}", number) for i in range(ask.samples)]
            )
            times = torch.full((ask.samples,), time, device=seen.ego.device)
            disturbed = self.disturbed(several, time * factors.to(seen.ego.device))
            poses, route = self.refiner(seen, disturbed, times)
            several = Coarse(poses=poses, route=route, lateral=several.lateral, longitudinal=several.longitudinal)
        return Answer(poses=several.poses, route=several.route.mean(dim=0) * ROUTE_SCALE_M, decisions=decisions)


_FIELDS = ("poses", "route", "lateral", "longitudinal")


def _decided(coarse: Coarse) -> tuple[Decision, ...]:
    lateral, longitudinal = coarse.lateral[0].argmax(-1).tolist(), coarse.longitudinal[0].argmax(-1).tolist()
    return tuple(
        Decision(lateral=LATERAL[i], longitudinal=LONGITUDINAL[j]) for i, j in zip(lateral, longitudinal, strict=True)
    )
