"""What one training stage is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldmodel.errors import BadRequest, UnknownName
from worldmodel.training.presets import find_preset

STAGES = ("vision", "chunk", "horizon", "distill")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What `detour train` asks for.

    Attributes:
        stage: 'vision', 'chunk', 'horizon' or 'distill'.
        preset: 'test', 'town-mini', 'town', 'wan-1.3b' or 'wan-5b'.
        data: 'town' (scenes are simulated and rendered into the run's folder) or a dataset folder.
        out: The run's folder.
        start: A checkpoint to begin with (weights only, fresh optimizer), instead of the run's own.
        scenes: Town scenes; None takes the preset's number.
        episodes: Episodes of the dataset to train on; None takes all.
        steps, minutes: Length; None takes the preset's steps. With both, whichever ends first.
        learning_rate: Peak; None takes the preset's.
        seed: Of scenes, weights, data order and noise.
        accumulate: Batches per optimizer step.
        workers: Processes that render scenes.
        precision: 'float32' or 'bfloat16'.
        shard: Whether several processes share the weights (FSDP) instead of each holding a copy.
    """

    stage: str
    out: Path
    preset: str = "town-mini"
    data: str = "town"
    start: Path | None = None
    scenes: int | None = None
    episodes: tuple[int, ...] | None = None
    steps: int | None = None
    minutes: float | None = None
    learning_rate: float | None = None
    seed: int = 0
    accumulate: int = 1
    workers: int = 1
    precision: str = "float32"
    shard: bool = False

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise UnknownName("stage", self.stage, STAGES)
        find_preset(self.preset)
        if self.minutes is not None and self.minutes <= 0:
            raise BadRequest(f"{self.minutes} minutes of training were asked for; the number must be positive.")
