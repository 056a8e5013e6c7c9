"""What is driven through, and what a visitor is shown of each half second."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float, UInt8

from policy.bicycle import CarState
from studio.overlays import COLORS, PathLayer
from studio.web.components.birds_eye import scene
from worldmodel.clips import Box, check_instruction
from worldmodel.errors import BadRequest, UnknownName
from worldmodel.geometry import Array
from worldmodel.sampling import Sampling

DREAM, TOWN = "dream", "town"
WORLDS = (DREAM, TOWN, "both")
MAX_STEPS = 16


@dataclass(frozen=True, kw_only=True)
class DriveRequest:
    """What is driven through.

    Attributes:
        world: One of WORLDS.
        text: What the driver is told at the beginning; '' for what the clip says.
        seed: Of all noise.
        sampling: Of the dream; at most MAX_STEPS steps.
    """

    world: str = DREAM
    text: str = ""
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise UnknownName("world to drive in", self.world, WORLDS)
        check_instruction(self.text or "-")
        if not isinstance(self.seed, int) or not 0 <= self.seed <= 2**53:
            raise BadRequest(f"'Seed' is {self.seed!r}; it must be a whole number from 0. Give one.")
        if self.sampling.steps > MAX_STEPS:
            raise BadRequest(
                f"{self.sampling.steps} sampling steps are asked for; a dream that is driven takes at most {MAX_STEPS}."
            )

    @property
    def worlds(self) -> tuple[str, ...]:
        """What is shown, the dream first."""
        return (DREAM, TOWN) if self.world == "both" else (self.world,)


@dataclass(frozen=True, eq=False, kw_only=True)
class DriveView:
    """The newest half second; what the visitor is shown of it.

    Attributes:
        frames: New pictures of each world, mosaics uint8 [n, 3, height, width].
        driven_s: Seconds driven so far.
        car: How fast, and how it turns.
        pace_hz: Multi-view frames per second reached lately, waiting included; None before two chunks.
        delay_s: From the visitor's hand to the first picture that shows it.
        memory: What the dream remembers: seconds, and megabytes; None without a dream.
        path: Driven lately, points [n, 2] in the ego frame of now.
        plan: What is left of the autopilot's, points in that frame; None while the visitor steers.
        boxes: Everybody else in the town now.
        obstacle: What stands ahead in the dream, for the view from above; None for nothing.
        text: What the driver is told now.
        note: What has just happened, as a sentence; '' for nothing.
        ended: Why nothing follows, as a sentence; '' while the drive goes on.
    """

    frames: Mapping[str, UInt8[Array, "n 3 h w"]]
    driven_s: float
    car: CarState
    pace_hz: float | None
    delay_s: float
    memory: tuple[float, float] | None
    path: Float[Array, "n 2"]
    plan: Float[Array, "m 2"] | None
    boxes: tuple[Box, ...]
    obstacle: dict[str, Any] | None
    text: str
    note: str
    ended: str

    def above(self) -> dict[str, Any]:
        """The view from above, as the component draws it."""
        layers = [PathLayer(label="driven", points_m=self.path, color=COLORS["history"], dashed=True)]
        if self.plan is not None:
            layers.append(PathLayer(label="autopilot's plan", points_m=self.plan, color=COLORS["before"]))
        return scene(layers, boxes=self.boxes, obstacle=self.obstacle, title="The drive from above")
