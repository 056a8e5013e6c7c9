"""A learned planner: a network, what it sees through, and how it is saved."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policy.answers import Answer, Ask, PlannerNetwork
from policy.inverse_kinematics import InverseKinematics, PooledInverseKinematics
from policy.planner_config import PlannerConfig
from policy.refiner import RefiningPlanner
from policy.regression import DirectRegression, EgoOnly
from policy.seeing import Eyes
from worldmodel.checkpoints import content_hash, load_folder, save_folder
from worldmodel.chunks import check_finite
from worldmodel.errors import BadCheckpoint
from worldmodel.geometry import Array
from worldmodel.planning import plan_of
from worldmodel.plans import Observation, Plan
from worldmodel.text_encoders import TextEncoder
from worldmodel.tokenizer import Tokenizer, fill

KIND = "detour-planner"

NETWORKS: dict[str, Callable[[PlannerConfig], PlannerNetwork]] = {
    "ego-only": EgoOnly,
    "direct": DirectRegression,
    "ik": InverseKinematics,
    "ik-current": InverseKinematics,
    "ik-pooled": PooledInverseKinematics,
    "refiner": RefiningPlanner,
}


def make_network(config: PlannerConfig) -> PlannerNetwork:
    """The network of a planner, with the weights that torch's global generator gives it."""
    return NETWORKS[config.kind](config)


class LearnedPlanner:
    """A planner that was trained with `detour train policy`.

    Attributes:
        config: Its kind, sizes and statistics.
        name: Its kind, and the mix that it was trained on.
        needs_pixels: False for 'ego-only'.
        ask: How many plans are drawn per answer, and how; the seed comes with each question.
    """

    def __init__(
        self,
        config: PlannerConfig,
        network: PlannerNetwork,
        tokenizer: Tokenizer | None,
        *,
        ask: Ask | None = None,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self.config, self.network = config, network.eval()
        self.eyes = Eyes(config, tokenizer if config.needs_pixels else None, text_encoder)
        self.ask = Ask() if ask is None else ask
        self.name = f"{config.label} ({config.mix})" if config.mix else config.label
        self.needs_pixels = config.needs_pixels

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of its weights."""
        return content_hash(self.network.state_dict())

    @torch.no_grad()
    def answer(self, observation: Observation, seed: int) -> tuple[Answer, dict[str, float]]:
        """What the network says, and the seconds spent on looking and on planning.

        Raises:
            MissingMotion, ClipTooShort, BadRig, BadRequest: as `Eyes.look`.
        """
        started = time.perf_counter()
        seen = self.eyes.look(observation)
        looked = time.perf_counter()
        asked = Ask(seed=seed, samples=self.ask.samples, steps=self.ask.steps, sampler=self.ask.sampler)
        answer = self.network.answer(seen, asked)
        check_finite("the plan", answer.poses)
        return answer, {"look_s": looked - started, "plan_s": time.perf_counter() - looked}

    def plan(self, observation: Observation, seed: int, memory: object | None = None) -> Plan:
        """The mean of the plans drawn, with all of them in `Plan.samples` where there are several.

        Raises:
            MissingMotion, ClipTooShort, BadRig, BadRequest: as `Eyes.look`.
        """
        del memory  # what it sees is half a second: there is nothing to keep
        answer, timing = self.answer(observation, seed)
        plan = plan_of(self.poses(answer.poses), timing)
        route = None if answer.route is None else answer.route.double().numpy()
        return Plan(
            trajectory=plan.trajectory, samples=plan.samples, route=route, decisions=answer.decisions, timing=timing
        )

    def poses(self, values: Tensor) -> Array:
        """Normalised plans in metres and radians, float64."""
        poses: Array = values.double().cpu().numpy() * np.array(self.config.plan_std) + np.array(self.config.plan_mean)
        return poses

    def save_pretrained(self, folder: Path | str, card: str, *, overwrite: bool = False) -> None:
        """Write config, weights (bfloat16) and card; the tokenizer stays with its world model."""
        config = {"kind": KIND, "planner": self.config.to_json()}
        save_folder(Path(folder), self.network.state_dict(), config, card, dtype=torch.bfloat16, overwrite=overwrite)

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        tokenizer: Tokenizer | None,
        *,
        ask: Ask | None = None,
        text_encoder: TextEncoder | None = None,
    ) -> "LearnedPlanner":
        """Read what `save_pretrained` wrote.

        Args:
            tokenizer: That of the world model it was trained with; planners without pixels need none.
        Raises:
            BadCheckpoint: if it is no planner, is damaged, or the tokenizer is another one.
        """
        config, tensors = load_folder(folder)
        if config.get("kind") != KIND or not isinstance(config.get("planner"), dict):
            raise BadCheckpoint(f"'{folder}' is not a planner. Train one with `detour train policy`.")
        settings = PlannerConfig.from_json(config["planner"], str(folder))
        network = make_network(settings)
        fill(network, {name: value.float() for name, value in tensors.items()}, str(folder))
        return cls(settings, network, tokenizer, ask=ask, text_encoder=text_encoder)
