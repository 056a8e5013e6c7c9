"""Which plan leads from what is seen to what will be seen? Plans from visual states alone, and the planner built on it.

The networks here read the present latents and those predicted for 1, 2 and 3 s through an encoder of their own: no hidden
states of the predictor, no ego status, no text. What the predictor knows of those reaches the plan only as a picture.

Source: "Grounding Driving VLA via Inverse Kinematics", section 3.3 and appendices B and G. Ours: the states' latents of one
place are one token, so that what changes where is in sight of the first layer.
"""

import torch
from torch import Tensor, nn

from policy.answers import Answer, Ask, Draw, Output, PlannerNetwork
from policy.blocks import CellTokens, ObjectScores, Points, SelfBlock, time_waves
from policy.next_state import NextStatePredictor
from policy.plan_diffusion import drawn_plans
from policy.planner_config import WAYPOINTS, PlannerConfig
from policy.seeing import Seen


class StateEncoder(nn.Module):
    """Tokens of the present and the predicted visual states."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.cells = CellTokens(config, 1 + len(config.state_frames))
        self.blocks = nn.ModuleList(SelfBlock(config.width, config.heads) for _ in range(config.state_layers))
        self.objects = ObjectScores(config)

    def forward(self, now: Tensor, states: Tensor, rays: Tensor) -> Tensor:
        """Tokens [B, cells, D] of latents now [B, camera, channel, h, w] and the states [B, state, camera, channel, h, w]."""
        tokens = self.cells(torch.cat([now[:, None], states], dim=1), rays)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class DiffusionDecoder(nn.Module):
    """Noisy plans look at the encoded states and say their velocity."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.width = config.width
        self.value = nn.Linear(3, config.width)
        self.time = nn.Sequential(
            nn.Linear(config.width, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        self.points = Points(config, WAYPOINTS)
        self.out = nn.Linear(config.width, 3)

    def forward(self, states: Tensor, plans: Tensor, times: Tensor) -> Tensor:
        """Velocities [B, 8, 3] of noisy plans [B, 8, 3] at times [B]."""
        extra = self.value(plans) + self.time(time_waves(times, self.width))[:, None]
        return self.out(self.points(states, extra))


class InverseKinematics(PlannerNetwork):
    """Predictor, encoder and diffusion: the planners 'ik' and 'ik-current'."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        self.predictor = NextStatePredictor(config)
        self.encoder = StateEncoder(config)
        self.decoder = DiffusionDecoder(config)

    def forward(self, seen: Seen, draw: Draw) -> Output:
        """Predicted states, the velocity of the draw's noisy plans, and where objects are."""
        assert draw.plan is not None
        assert draw.time is not None
        states, tokens, objects = _learnt(self, seen, draw)
        several = tokens.repeat_interleave(draw.plan.shape[1], dim=0)
        velocity = self.decoder(several, draw.plan.flatten(0, 1), draw.time.flatten())
        return Output(states=states, velocity=velocity.unflatten(0, draw.plan.shape[:2]), objects=objects)

    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """Predict, then draw plans from the visual states."""
        states = self.predictor(seen)
        return Answer(poses=self.plans(seen.now, states, seen.rays, ask), states=states[0])

    def plans(self, now: Tensor, states: Tensor, rays: Tensor, ask: Ask) -> Tensor:
        """Normalised plans [samples, 8, 3] from visual states alone (batch of one): all that the plan depends on."""
        tokens = self.encoder(now, states, rays).expand(ask.samples, -1, -1)
        return drawn_plans(lambda plans, times: self.decoder(tokens, plans, times), ask, now.device)


class PooledInverseKinematics(PlannerNetwork):
    """The ablation 'ik-pooled': learned queries pool the encoded states, and a linear head says the plan at once."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        self.predictor = NextStatePredictor(config)
        self.encoder = StateEncoder(config)
        self.points = Points(config, WAYPOINTS)
        self.out = nn.Linear(config.width, 3)

    def forward(self, seen: Seen, draw: Draw) -> Output:
        """Predicted states, the plan, and where objects are."""
        states, tokens, objects = _learnt(self, seen, draw)
        return Output(states=states, poses=self.out(self.points(tokens)), objects=objects)

    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """Predict, then pool."""
        states = self.predictor(seen)
        return Answer(poses=self.plans(seen.now, states, seen.rays, ask), states=states[0])

    def plans(self, now: Tensor, states: Tensor, rays: Tensor, ask: Ask) -> Tensor:
        """The normalised plan [1, 8, 3] from visual states alone; there is no noise to ask for."""
        del ask
        plans: Tensor = self.out(self.points(self.encoder(now, states, rays)))
        return plans


def _learnt(
    network: InverseKinematics | PooledInverseKinematics, seen: Seen, draw: Draw
) -> tuple[Tensor, Tensor, Tensor]:
    """What both parts make of a training batch: predicted states, tokens of the states, and where both see objects."""
    states, objects = network.predictor.looked(seen)
    tokens = network.encoder(seen.now, _handed_on(states, draw, network.config), seen.rays)
    return states, tokens, torch.cat([objects, network.encoder.objects(tokens)], dim=1)


def _handed_on(states: Tensor, draw: Draw, config: PlannerConfig) -> Tensor:
    """The predicted states as the plan's part gets them in training: noisy, so that they cannot whisper."""
    handed_on = states if config.joint else states.detach()
    return handed_on if draw.states is None else handed_on + draw.states
