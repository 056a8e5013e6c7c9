"""What the demo tells, before it is written down."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxtyping import UInt8

from studio.counterfactual import EditedClip, Pair
from studio.moments import Moment
from studio.town_answer import TownAnswer
from worldmodel.geometry import Array

if TYPE_CHECKING:
    from worldmodel.rollout import Rollout


@dataclass(eq=False, kw_only=True)
class Story:
    """Everything the report tells; filled part by part.

    Attributes:
        moment: The recording, at its own size, and its now.
        truth: What the cameras saw then, at the model's size; fewer frames than imagined when the recording ends.
        rollouts: (title, rollout), same seed.
        replay: The rollout driven as logged; None without motion.
        pairs: Plans before and after.
        edited: The stitched clip; None when the clip cannot be stitched.
        town: What the embedded town answers to the stitched obstacle; None for other clips.
        scores: Rows with name, value and unit.
        skipped: What could not be done, or not be trusted, in words.
    """

    moment: Moment
    truth: UInt8[Array, "time camera 3 height width"]
    rollouts: list[tuple[str, "Rollout"]] = field(default_factory=list)
    replay: "Rollout | None" = None
    pairs: list[Pair] = field(default_factory=list)
    edited: EditedClip | None = None
    town: TownAnswer | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
