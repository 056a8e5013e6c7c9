"""The town's own words as guidance: what the driver of a scene does, said chunk by chunk from the simulator's state."""

from dataclasses import dataclass
from functools import cached_property

from worldmodel.clips import Instruction
from worldmodel.errors import ClipTooShort
from worldmodel.guidance import GuideContext
from worldmodel.town.scene import Scene
from worldmodel.town.words.hints import hint_at, hints

MIDDLE_S = 0.3  # from the start of a chunk to the middle of its frames, where training looks up its hint


@dataclass(frozen=True, eq=False)
class TownGuide:
    """Says for each chunk what the driver of a town scene does then, and why.

    It knows how the scene goes on: for training and for upper bounds, never for a score of a driver.

    Attributes:
        scene: The scene that is imagined.
        at_s: The scene's time that is now.
    """

    scene: Scene
    at_s: float = 0.0

    def __post_init__(self) -> None:
        end_s = len(self.scene) / self.scene.frequency_hz
        if not 0 <= self.at_s < end_s:
            raise ClipTooShort(
                f"scene '{self.scene.id}' lasts {end_s:g} s; hints from {self.at_s:g} s on are wanted. "
                "Choose a moment inside it, or simulate longer."
            )

    @cached_property
    def _hints(self) -> tuple[Instruction, ...]:
        return hints(self.scene)

    def hint(self, context: GuideContext) -> str:
        """The hint for what happens in the chunk; '' after the scene's end."""
        return hint_at(self._hints, self.at_s + context.time_s + MIDDLE_S)
