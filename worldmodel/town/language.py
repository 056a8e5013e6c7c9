"""What the driver is told: texts for the scene's route, one paraphrase per seed."""

from collections.abc import Sequence

import numpy as np

from worldmodel.clips import Instruction
from worldmodel.town.roads import RoadMap

PHRASES: dict[str, tuple[str, ...]] = {
    "follow": (
        "follow the road",
        "keep going along this road",
        "just follow the road",
        "stay on this road",
        "carry on along the road",
    ),
    "left": (
        "turn left at the crossing",
        "take the next left",
        "go left at the intersection",
        "at the crossing, turn left",
        "make a left turn ahead",
    ),
    "right": (
        "turn right at the crossing",
        "take the next right",
        "go right at the intersection",
        "at the crossing, turn right",
        "make a right turn ahead",
    ),
    "straight": (
        "keep going straight",
        "drive straight through the crossing",
        "go straight on at the intersection",
        "continue straight ahead",
        "cross the intersection without turning",
    ),
}
ORDINALS = ("first", "second", "third")
for _number, _ordinal in enumerate(ORDINALS, start=1):
    PHRASES[f"exit {_number}"] = (
        f"exit the roundabout at the {_ordinal} exit",
        f"take the {_ordinal} exit at the roundabout",
        f"leave the roundabout at exit {_number}",
        f"at the roundabout, use the {_ordinal} exit",
    )


def phrase(manoeuvre: str, rng: np.random.Generator) -> str:
    """One of the ways to say it."""
    texts = PHRASES[manoeuvre]
    return texts[int(rng.integers(len(texts)))]


def instructions_for(
    road: RoadMap, ego_s: Sequence[float], frequency_hz: float, rng: np.random.Generator
) -> tuple[Instruction, ...]:
    """The manoeuvre until it is done, then to follow the road.

    Args:
        ego_s: Metres along the route at every frame.
    """
    first, after = phrase(road.manoeuvre, rng), phrase("follow", rng)
    done = [frame for frame, s in enumerate(ego_s) if s >= road.done_s]
    if road.manoeuvre == "follow" or not done:
        return (Instruction(text=first),)
    if done[0] == 0:
        return (Instruction(text=after),)
    switch = done[0] / frequency_hz
    return Instruction(text=first, end_s=switch), Instruction(text=after, start_s=switch)
