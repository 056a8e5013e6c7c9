"""Sizes and recipes for planners: `test` trains in seconds, `town-mini` on two processor cores."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from policy.planner_config import PlannerConfig
from worldmodel.errors import UnknownName
from worldmodel.training.presets import TRAINING_MIX

SURPRISE_MIX = (
    "street",
    "curvy",
    "empty_road",
    "intersection",
    "pedestrian_standing",
    "street",
    "traffic_light",
    "curvy",
    "stop_and_go",
    "roundabout",
    "empty_road",
    "cut_in",
    "parked_car",
    "curvy",
    "slow_truck",
    "street",
)
SURPRISE_VIDEO_S, SURPRISE_SCENE_S = 2.0, 5.0  # so that only the moments about the surprise teach plans


@dataclass(frozen=True, kw_only=True)
class PolicyPreset:
    """Everything that fixes a planner's training but its kind, its data and its length.

    Attributes:
        sizes: A planner of this size, of any kind and without statistics.
        scenes: Town scenes rendered when no store is named.
        situations: Their situations, in turn; None for all.
        surprises: Further scenes of the mix 'rich', in which the expert notices an obstacle late (`worldmodel.town.surprises`).
        surprise_situations: Where these happen, in turn; None for all.
        video_s, scene_s: Seconds of each scene that are rendered, and that are simulated.
        cameras, width_px, height_px, frequency_hz: Of the pictures.
        batch_size: Examples per step.
        learning_rate, warmup_steps, ema_decay, steps: Of the training loop.
    """

    name: str
    sizes: PlannerConfig = field(default_factory=lambda: PlannerConfig(kind="direct"))
    scenes: int = 480
    situations: tuple[str, ...] | None = TRAINING_MIX
    surprises: int = 480
    surprise_situations: tuple[str, ...] | None = SURPRISE_MIX
    video_s: float = 4.0
    scene_s: float = 8.0
    cameras: int = 3
    width_px: int = 128
    height_px: int = 64
    frequency_hz: float = 8.0
    batch_size: int = 64
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    ema_decay: float = 0.995
    steps: int = 2000

    def planner(self, kind: str) -> PlannerConfig:
        """The planner of a kind in this size, without statistics."""
        return replace(self.sizes, kind=kind)


def test() -> PolicyPreset:
    """Tiny: trains in seconds, inside tests."""
    return PolicyPreset(
        name="test",
        sizes=PlannerConfig(
            kind="direct",
            width=16,
            heads=2,
            scene_layers=1,
            state_layers=1,
            plan_layers=1,
            text_encoder="hash-32",
            text_width=32,
        ),
        scenes=24,
        situations=None,
        surprises=4,
        surprise_situations=None,
        video_s=2.0,
        scene_s=6.0,
        width_px=64,
        height_px=32,
        batch_size=4,
        warmup_steps=2,
        steps=4,
    )


def town_mini() -> PolicyPreset:
    """For two processor cores: 0.05 to 0.3 M parameters per planner, three cameras of 64x128."""
    return PolicyPreset(name="town-mini", sizes=PlannerConfig(kind="direct", width=48, heads=3))


PRESETS: dict[str, Callable[[], PolicyPreset]] = {"test": test, "town-mini": town_mini}


def find_preset(name: str) -> PolicyPreset:
    """A preset by name.

    Raises:
        UnknownName: with the closest name.
    """
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]()
