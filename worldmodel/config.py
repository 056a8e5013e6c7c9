"""What a checkpoint is: sizes, rates and the statistics that normalise motion."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldmodel.errors import BadCheckpoint
from worldmodel.sequence import NetworkConfig
from worldmodel.tokenizer import TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """What a checkpoint is: sizes, rates and the statistics that normalise motion.

    Attributes:
        preset: Name of the preset it was trained with.
        tokenizer, network: Sizes of the parts.
        text_encoder: Name of the frozen text encoder.
        frequency_hz: Frame rate of the training data.
        cameras: Cameras of the training data (others work; quality is not promised).
        history_chunks: Chunks of history that were trained at most.
        history_noise: Noise level of imagined chunks when they become memory.
        video_shift: Shift of the video's noise times.
        step_mean, step_std: Of the SE(2) steps per frame, [3].
        plan_mean, plan_std: Of the plan's poses, [8][3].
        few_steps: Numbers of sampling steps that it was distilled for; empty for a model that was not.
        guided: Whether it was distilled with guidance, and takes the scales as inputs (one pass per step).
        training_range: Lowest and highest value of each measure of `worldmodel.telemetry` in the training data; a rollout
            that leaves it warns. Empty in checkpoints from before it was measured.
        stages: What was trained so far, in words.
    """

    preset: str = "test"
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    text_encoder: str = "all-MiniLM-L6-v2"
    frequency_hz: float = 8.0
    cameras: int = 3
    history_chunks: int = 4
    history_noise: float = 0.05
    video_shift: float = 1.0
    step_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    step_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    plan_mean: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0),) * 8
    plan_std: tuple[tuple[float, ...], ...] = ((1.0, 1.0, 1.0),) * 8
    few_steps: tuple[int, ...] = ()
    guided: bool = False
    training_range: dict[str, tuple[float, float]] = field(default_factory=dict)
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        poses = self.network.plan_poses
        shapes = {"step_mean": (3,), "step_std": (3,), "plan_mean": (poses, 3), "plan_std": (poses, 3)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            _need(name, value, _is_statistic(value, shape, positive=name.endswith("std")), f"finite numbers, {shape}")
        _need("frequency_hz", self.frequency_hz, _is_number(self.frequency_hz, above=0), "a positive number")
        _need("video_shift", self.video_shift, _is_number(self.video_shift, above=0), "a positive number")
        _need("history_noise", self.history_noise, 0 <= self.history_noise < 1, "in 0 to below 1")
        few = self.few_steps
        _need("few_steps", few, all(isinstance(n, int) and n >= 1 for n in few), "whole numbers of at least 1")
        for name, limits in self.training_range.items():
            _need(f"training_range of {name}", limits, _is_range(limits), "two finite numbers, the lower one first")
        _need("cameras", self.cameras, self.cameras >= 1, "at least 1")
        _need("history_chunks", self.history_chunks, self.history_chunks >= 1, "at least 1")
        channels = self.network.latent_channels
        _need(
            "latent_channels",
            channels,
            channels == self.tokenizer.channels,
            f"{self.tokenizer.channels}, as in the tokenizer",
        )

    @property
    def height_px(self) -> int:
        """Height of the model's pictures."""
        return self.network.latent_height * self.tokenizer.stride

    @property
    def width_px(self) -> int:
        """Width of the model's pictures."""
        return self.network.latent_width * self.tokenizer.stride

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of one picture's latents."""
        return self.network.latent_height, self.network.latent_width

    @staticmethod
    def from_json(data: dict[str, Any]) -> "WorldModelConfig":
        """The config of a checkpoint's config.json.

        Raises:
            BadCheckpoint: if a field is unknown or missing.
        """
        try:
            parts = {
                "tokenizer": TokenizerConfig(**data["tokenizer"]),
                "network": NetworkConfig(**data["network"]),
                "step_mean": tuple(data["step_mean"]),
                "step_std": tuple(data["step_std"]),
                "plan_mean": tuple(map(tuple, data["plan_mean"])),
                "plan_std": tuple(map(tuple, data["plan_std"])),
                "stages": tuple(data["stages"]),
                "few_steps": tuple(data.get("few_steps", ())),
                "training_range": {name: tuple(limits) for name, limits in data.get("training_range", {}).items()},
            }
            return WorldModelConfig(**{**data, **parts})
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(f"config.json of the checkpoint does not fit this version: {error}.") from error


def _need(name: str, value: Any, good: bool, need: str) -> None:
    if not good:
        raise BadCheckpoint(f"the model's {name} is {value}; it must be {need}. Use an unmodified checkpoint.")


def _is_number(value: Any, above: float) -> bool:
    return isinstance(value, int | float) and above < value < math.inf


def _is_statistic(value: Any, shape: tuple[int, ...], *, positive: bool) -> bool:
    try:
        values = np.array(value, np.float64)
    except (TypeError, ValueError):
        return False
    return values.shape == shape and bool(np.isfinite(values).all() and (not positive or (values > 0).all()))


def _is_range(limits: Any) -> bool:
    return _is_statistic(limits, (2,), positive=False) and limits[0] <= limits[1]
