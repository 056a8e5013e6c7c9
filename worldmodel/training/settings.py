"""How long, how fast and how carefully a run trains."""

import math
from dataclasses import dataclass
from typing import Literal

from worldmodel.errors import BadRequest


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long, how fast and how carefully; checked on construction.

    Raises:
        BadRequest: a value makes no sense; the field is named.
    """

    steps: int
    """Optimizer steps in all, those before a continuation included."""
    learning_rate: float = 1e-3
    """Highest learning rate."""
    warmup_steps: int = 100
    """The learning rate rises in a line over this many steps."""
    final_lr_share: float = 0.05
    """Share of the learning rate that is left at the end of the cosine."""
    weight_decay: float = 0.01
    """AdamW's decay of matrices; vectors and scalars do not decay."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's averaging of gradient and squared gradient."""
    clip_norm: float = 1.0
    """Longer gradients are shortened to this norm."""
    ema_decay: float = 0.999
    """Share of the averaged weights that stays at each step, once warm."""
    accumulate: int = 1
    """Batches per optimizer step."""
    shard: bool = False
    """Share weights, gradients and moments between the processes instead of copying them to each."""
    prefetch: int = 1
    """Batches made ahead by a thread; 0 makes each when its step begins."""
    seed: int = 0
    """Initial weights, data order and noise."""
    save_every_s: float = 120.0
    """Seconds between saved states; 0 saves after every step."""
    log_every: int = 20
    """Steps between log lines; losses are checked for NaN then, too."""
    minutes: float | None = None
    """Stop after this much training time, with the cosine ending in time; None trains all steps."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 computes in mixed precision; the weights stay float32."""

    def __post_init__(self) -> None:
        _check("steps", self.steps, self.steps >= 1, "at least 1")
        _check("learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "above 0")
        _check("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "0 or more")
        _check("final_lr_share", self.final_lr_share, 0 <= self.final_lr_share <= 1, "in 0 to 1")
        _check("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more")
        _check("betas", self.betas, len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two of 0 to below 1")
        _check("clip_norm", self.clip_norm, self.clip_norm > 0, "above 0")
        _check("ema_decay", self.ema_decay, 0 <= self.ema_decay < 1, "in 0 to below 1")
        _check("accumulate", self.accumulate, self.accumulate >= 1, "at least 1")
        _check("prefetch", self.prefetch, self.prefetch >= 0, "0 or more")
        _check("seed", self.seed, self.seed >= 0, "0 or more")
        _check("save_every_s", self.save_every_s, self.save_every_s >= 0, "0 or more")
        _check("log_every", self.log_every, self.log_every >= 1, "at least 1")
        _check("minutes", self.minutes, self.minutes is None or self.minutes > 0, "above 0, or None")
        _check("precision", self.precision, self.precision in ("float32", "bfloat16"), "float32 or bfloat16")


def learning_rate(config: LoopConfig, step: int, seconds: float) -> float:
    """Linear warm-up, then a cosine over the steps, or over the minutes where they run out sooner."""
    share = step / config.steps
    if config.minutes is not None:
        share = max(share, seconds / (60 * config.minutes))
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.learning_rate * warm * (config.final_lr_share + (1 - config.final_lr_share) * cosine)


def _check(name: str, value: object, good: bool, need: str) -> None:
    if not good:
        raise BadRequest(f"training setting {name} is {value!r}, but it must be {need}. Change {name}.")
