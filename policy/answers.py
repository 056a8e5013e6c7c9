"""What a planner's network is asked, and what it says: in training (`Draw`, `Output`) and when it drives (`Ask`, `Answer`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from policy.seeing import Seen
from worldmodel.errors import BadRequest
from worldmodel.plans import Decision

MAX_SAMPLES = 256
MAX_STEPS = 1000
SAMPLERS = ("ddim", "ddpm")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How plans are drawn; networks without noise look at nothing of it.

    Attributes:
        seed: All the randomness there is; plan i of a seed is the same however many are drawn.
        samples: Plans per answer.
        steps: Denoising steps.
        sampler: 'ddim' (no noise on the way) or 'ddpm'.
    Raises:
        BadRequest: for numbers out of range or an unknown sampler.
    """

    seed: int = 0
    samples: int = 8
    steps: int = 8
    sampler: str = "ddim"

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise BadRequest(f"{self.samples} samples per plan were asked for; give a number from 1 to {MAX_SAMPLES}.")
        if not 1 <= self.steps <= MAX_STEPS:
            raise BadRequest(f"{self.steps} denoising steps were asked for; give a number from 1 to {MAX_STEPS}.")
        if self.sampler not in SAMPLERS:
            raise BadRequest(f"the sampler '{self.sampler}' was asked for; choose one of {', '.join(SAMPLERS)}.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """What a network says of one observation.

    Attributes:
        poses: Normalised plans [k, 8, 3].
        states: Predicted visual states [state, camera, channel, h, w]; None where none are predicted.
        route: Points 1 m apart [20, 2], metres.
        decisions: At 1, 2 and 3 s.
    """

    poses: Tensor
    states: Tensor | None = None
    route: Tensor | None = None
    decisions: tuple[Decision, ...] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """The noise of one training batch.

    Attributes:
        plan: Noisy normalised plans, some for each example [B, draw, 8, 3] (diffusion).
        time: Noise times: [B, draw] in 0 ... 999 of the schedule (diffusion), or [B] in 0 ... 1 (refiner).
        states: Added to the predicted visual states [B, state, camera, channel, h, w].
        factors: Relative disturbance of the coarse plan, forward and to the left [B, 2] (refiner).
    """

    plan: Tensor | None = None
    time: Tensor | None = None
    states: Tensor | None = None
    factors: Tensor | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Output:
    """What a network says in training; None for what it does not say.

    Attributes:
        poses: Normalised plans [B, 8, 3].
        velocity: Of the diffusion, for each noisy plan [B, draw, 8, 3].
        states: [B, state, camera, channel, h, w].
        coarse: Normalised plans before they are refined [B, 8, 3].
        route, coarse_route: [B, 20, 2], in units of ROUTE_SCALE_M.
        lateral, longitudinal: Scores of the decisions [B, 3, 5] and [B, 3, 4].
        objects: Scores of how much of each cell now shows road users and obstacles, as each part that looks says it
            [B, part, cells].
    """

    poses: Tensor | None = None
    velocity: Tensor | None = None
    states: Tensor | None = None
    coarse: Tensor | None = None
    route: Tensor | None = None
    coarse_route: Tensor | None = None
    lateral: Tensor | None = None
    longitudinal: Tensor | None = None
    objects: Tensor | None = None


class PlannerNetwork(nn.Module, ABC):
    """A network that plans."""

    @abstractmethod
    def forward(self, seen: Seen, draw: Draw) -> Output:
        """What it says in training."""

    @abstractmethod
    def answer(self, seen: Seen, ask: Ask) -> Answer:
        """What it says of one observation, [1, ...] inputs."""
