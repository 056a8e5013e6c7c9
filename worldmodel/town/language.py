"""The language of a scene: what the driver is told, and all that can be said about what happens."""

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from math import isinf
from typing import Any

import numpy as np

from worldmodel.clips import Instruction
from worldmodel.decisions import HORIZONS_S
from worldmodel.town.roads.roadmap import RoadMap
from worldmodel.town.roads.turns import REACH_M, TURN_RAD, offers
from worldmodel.town.scene import Scene
from worldmodel.town.words.descriptions import describe
from worldmodel.town.words.hints import hints
from worldmodel.town.words.labels import Labels, decision_labels
from worldmodel.town.words.notices import Notice, notices
from worldmodel.town.words.phrases import phrase
from worldmodel.town.words.questions import Question, questions

FIRST_TEST_SEED = 2_000_000  # where the seeds of `dataset.SPLITS['test']` begin
MISLEADING_SHARE, AT_CROSSING = 0.045, 0.4  # of the scenes in which a turn can be asked for that does not exist


def split_of(seed: int) -> str:
    """Whose texts a scene is told: 'train' or 'test', by its seed."""
    return "test" if seed >= FIRST_TEST_SEED else "train"


def mislead(road: RoadMap, rng: np.random.Generator) -> str:
    """A turn that the road does not offer, 'left' or 'right'; '' in most scenes, and where the route itself turns that way.

    Args:
        rng: Used for nothing else; it is asked the same on every road.
    """
    share = AT_CROSSING if road.manoeuvre == "straight" else MISLEADING_SHARE
    told, first = float(rng.random()) < share, "left" if rng.random() < 0.5 else "right"
    if not told or road.manoeuvre not in ("follow", "straight") or len(road.turns) > 1:
        return ""
    ego = road.routes["ego"].points[::2]
    ways = (first, "right" if first == "left" else "left")
    return next((way for way in ways if not (offers(road.lanes, ego, way, road.start_s) or _bends(road, way))), "")


def _bends(road: RoadMap, way: str) -> bool:
    """Whether the ego's route itself bends to 'left' or 'right' so sharply that it could be taken for a turn."""
    path = road.routes["ego"]
    first, last = (round(s / path.step_m) for s in (road.start_s, road.start_s + REACH_M))
    ahead = path.headings[first:last] if way == "left" else -path.headings[first:last]
    return bool((ahead - np.minimum.accumulate(ahead)).max() > TURN_RAD)


def instructions_for(
    road: RoadMap,
    ego_s: Sequence[float],
    frequency_hz: float,
    rng: np.random.Generator,
    *,
    split: str = "train",
    misleading: str = "",
) -> tuple[Instruction, ...]:
    """One manoeuvre after the other, each until it is done, then to follow the road.

    Args:
        ego_s: Metres along the route at every frame.
        split: Whose phrases, 'train' or 'test'.
        misleading: A turn to ask for all the time instead of what the route does; '' for none.
    Raises:
        UnknownName: for a manoeuvre without wording, or another split.
    """
    after = phrase("follow", rng, split)
    if misleading:
        return (Instruction(text=phrase(misleading, rng, split)),)
    steps = steps_of(road, rng)
    told: list[Instruction] = []
    start = 0.0
    for manoeuvre, done_s in steps:
        text = phrase(manoeuvre, rng, split)
        if manoeuvre == "follow":
            break
        done = next((frame for frame, s in enumerate(ego_s) if s >= done_s), None)
        if done is None:
            return (*told, Instruction(text=text, start_s=start))
        end = done / frequency_hz
        if end > start:
            told.append(Instruction(text=text, start_s=start, end_s=end))
        start = max(start, end)
    return (*told, Instruction(text=after, start_s=start))


def steps_of(road: RoadMap, rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """The manoeuvres to be told, each with where on the route it is over, metres.

    A way around a block is told corner by corner or in one go, by the toss of a coin.
    """
    turns = road.turns or ((road.manoeuvre, road.done_s),)
    corners = [way for way, _ in turns if way in ("left", "right")]
    at_once = bool(rng.random() < 0.5)
    if at_once and len(corners) >= 3 and len(corners) == len(turns) and len(set(corners)) == 1:
        return (("block", turns[-1][1]),)
    laps = full_rounds(road)
    return tuple((f"round {laps} {way}" if laps and way.startswith("exit ") else way, s) for way, s in turns)


def full_rounds(road: RoadMap) -> int:
    """How often the ego's route goes all the way round a roundabout before it leaves."""
    if not road.manoeuvre.startswith("exit "):
        return 0
    path = road.routes["ego"]
    first, last = (min(round(s / path.step_m), len(path.headings) - 1) for s in (road.start_s, road.done_s))
    return int((path.headings[last] - path.headings[first] + np.pi) // (2 * np.pi))


@dataclass(frozen=True, kw_only=True)
class Narration:
    """All texts and labels of a scene.

    Attributes:
        instructions: What the driver was told.
        to_be_followed: False where it was told a turn that does not exist.
        description: What the first frame shows.
        hints: One per half second.
        notices: What to look out for, and when.
        decisions: For every frame, the decisions over 1, 2 and 3 s; None where the scene ends before.
        questions: With their answers, about some frames.
    """

    instructions: tuple[Instruction, ...]
    to_be_followed: bool
    description: str
    hints: tuple[Instruction, ...]
    notices: tuple[Notice, ...]
    decisions: tuple[Labels, ...]
    questions: tuple[Question, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; an instruction that never ends has `end_s` None, a missing decision is None."""
        return {
            "instructions": [_span(one) for one in self.instructions],
            "to_be_followed": self.to_be_followed,
            "description": self.description,
            "hints": [_span(one) for one in self.hints],
            "notices": [asdict(one) for one in self.notices],
            "decision_horizons_s": list(HORIZONS_S),
            "decisions": [[asdict(one) if one is not None else None for one in row] for row in self.decisions],
            "questions": [asdict(one) | {"tracks": list(one.tracks)} for one in self.questions],
        }


def _span(one: Instruction) -> dict[str, Any]:
    return {"text": one.text, "start_s": one.start_s, "end_s": None if isinf(one.end_s) else one.end_s}


def narration(scene: Scene, visible: Sequence[Set[str]] | None = None) -> Narration:
    """Everything that is said about a scene; the same scene always gives the same words.

    Args:
        visible: Tracks that the cameras show, for every frame, for the questions; None to go by lines of sight.
    """
    return Narration(
        instructions=scene.instructions,
        to_be_followed=scene.to_be_followed,
        description=describe(scene),
        hints=hints(scene),
        notices=notices(scene),
        decisions=decision_labels(scene),
        questions=questions(scene, visible),
    )
