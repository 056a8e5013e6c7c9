"""What a learned planner is made of: its kind, its sizes, and the statistics that it was trained with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from worldmodel.errors import BadCheckpoint, UnknownName
from worldmodel.plans import PLAN_TIMES_S
from worldmodel.text_encoders import MINILM

KINDS = ("ego-only", "direct", "ik", "ik-current", "ik-pooled", "refiner")
STATES_S = (1.0, 2.0, 3.0)  # when the next visual states are
HISTORY_S = (0.5, 0.25, 0.0)  # ages of the pictures that are seen, the oldest first
STEPS_SEEN = 4  # the newest ego steps: half a second
WAYPOINTS = len(PLAN_TIMES_S)
ROUTE_POINTS = 20  # 1 m apart
ROUTE_SCALE_M = 10.0


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """Sizes and statistics of a learned planner; plain data, as in its `config.json`.

    Attributes:
        kind: One of KINDS.
        width, heads: Of all tokens.
        scene_layers: Self-attention blocks over what is seen (pictures, ego status and text together).
        state_layers: Self-attention blocks over the visual states, in the inverse kinematics network's own encoder.
        plan_layers: Blocks in which a plan's points look at what they are conditioned on.
        cameras, channels, rows, columns: Of the latents.
        text_encoder, text_width: The frozen encoder of the instruction, and its features' width.
        frequency_hz: The rate of frames and steps.
        tokenizer: Hash of the tokenizer in whose latents it sees; '' for a planner without pixels.
        state_noise: Standard deviation of the noise on predicted states in training, in units of the latents' own.
        joint: Whether the plan's loss reaches the next-state predictor too, as in the paper.
        step_mean, step_std: Of a step: forward m, left m, yaw rad.
        plan_mean, plan_std: Of the poses at 0.5 ... 4 s.
        shuffled: Whether it was trained with the pictures of other scenes: a control that cannot have learned to look.
        mix: What it was trained on.
    """

    kind: str
    width: int = 64
    heads: int = 4
    scene_layers: int = 4
    state_layers: int = 2
    plan_layers: int = 2
    cameras: int = 3
    channels: int = 16
    rows: int = 4
    columns: int = 8
    text_encoder: str = MINILM
    text_width: int = 384
    frequency_hz: float = 8.0
    tokenizer: str = ""
    state_noise: float = 0.2
    joint: bool = True
    shuffled: bool = False
    step_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    step_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    plan_mean: tuple[tuple[float, ...], ...] = ((0.0, 0.0, 0.0),) * WAYPOINTS
    plan_std: tuple[tuple[float, ...], ...] = ((1.0, 1.0, 1.0),) * WAYPOINTS
    mix: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("planner", self.kind, KINDS)
        for name in ("step_mean", "step_std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        for name in ("plan_mean", "plan_std"):
            object.__setattr__(self, name, tuple(tuple(map(float, row)) for row in getattr(self, name)))
        if self.width % self.heads or min(self.width, self.heads, self.plan_layers) < 1:
            raise BadCheckpoint(
                f"a planner of width {self.width} with {self.heads} heads and {self.plan_layers} plan layers is described; the "
                "width must be a multiple of the heads, and all of them positive. Use the config that came with the weights."
            )

    @property
    def label(self) -> str:
        """Its kind, and how its training differed from the usual: 'ik', 'ik-apart', 'ik-shuffled'."""
        return self.kind + ("" if self.joint else "-apart") + ("-shuffled" if self.shuffled else "")

    @property
    def history_frames(self) -> tuple[int, ...]:
        """Ages in frames of the pictures that are seen, the oldest first."""
        return tuple(round(age_s * self.frequency_hz) for age_s in HISTORY_S)

    @property
    def state_frames(self) -> tuple[int, ...]:
        """How many frames ahead the visual states lie that are predicted."""
        return (0,) if self.kind == "ik-current" else tuple(round(at_s * self.frequency_hz) for at_s in STATES_S)

    @property
    def cells(self) -> int:
        """Latent cells of all cameras together."""
        return self.cameras * self.rows * self.columns

    @property
    def needs_pixels(self) -> bool:
        """Whether it looks at the pictures at all."""
        return self.kind != "ego-only"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any], where: str) -> "PlannerConfig":
        """What `to_json` wrote.

        Raises:
            BadCheckpoint: for fields that we do not know or that are missing.
        """
        known = {item.name for item in fields(PlannerConfig)}
        if unknown := sorted(values.keys() - known):
            raise BadCheckpoint(
                f"'{where}' has settings that a planner does not know: {', '.join(unknown)}. Use the version that it was made with."
            )
        try:
            return PlannerConfig(**values)
        except (TypeError, ValueError, UnknownName) as error:
            raise BadCheckpoint(
                f"'{where}' does not describe a planner ({error}). Copy the whole folder again."
            ) from error
