"""Notices: somebody is about to matter, said before it is too late."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, sin

from worldmodel.town.scene import LEFT, RIGHT, Scene
from worldmodel.town.words.neighbours import THINGS, Neighbour
from worldmodel.town.words.nouns import a, noun
from worldmodel.town.words.surroundings import Surroundings

LOOK_AHEAD_S, LOOK_AHEAD_M = 4.0, 8.0  # what is further ahead than this time and these metres does not matter yet
CHECK_S = 0.25
MERGE_S = 0.75  # a notice goes on over gaps shorter than this
KERB_M = 4.5  # people this close to the edge of the ego's lane may step onto it
SOON_S = 3.0  # whoever reaches the ego's lane within this time matters
TAKEN_M = 0.5  # what stands beside a lane matters from this much inside it
DRIFT_MPS = 0.3  # moving sideways faster than this is a change of lanes


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What to look out for: start_s <= t < end_s, seconds from the scene's start."""

    text: str
    track: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The ego's lane at a moment: half its width, and how far it goes straight on."""

    edge_m: float
    straight_m: float


def notices(scene: Scene) -> tuple[Notice, ...]:
    """All notices of a scene, by their start; whether each holds is looked up every CHECK_S."""
    around = Surroundings(scene)
    step = max(1, round(CHECK_S * scene.frequency_hz))
    period = step / scene.frequency_hz
    runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for frame in range(0, len(scene), step):
        now = frame / scene.frequency_hz
        for track, text in notices_at(around, frame):
            spans = runs.setdefault((track, text), [])
            start = spans.pop()[0] if spans and now - spans[-1][1] < MERGE_S else now
            spans.append((start, now + period))
    found = [
        Notice(text=text, track=track, start_s=start, end_s=end)
        for (track, text), spans in runs.items()
        for start, end in spans
    ]
    return tuple(sorted(found, key=lambda notice: (notice.start_s, notice.track, notice.text)))


def notices_at(around: Surroundings, frame: int) -> tuple[tuple[str, str], ...]:
    """(track, text) for everybody who is about to matter at a frame and can be seen; road works have one of their tracks."""
    reach = LOOK_AHEAD_M + LOOK_AHEAD_S * float(around.scene.ego_speeds_mps[frame])
    lane = Ahead(edge_m=around.lane_place(frame).width_m / 2, straight_m=around.straight_m(frame))
    found = []
    for one in around.seen(frame):
        if -0.5 <= one.along_m <= reach and one.x_m > 0:
            text = next((text for check in CHECKS if (text := check(one, lane))), "")
            if text and one.track in around.works:
                found.append((min(around.works), "mind the road works ahead"))
            elif text:
                found.append((one.track, text))
    return tuple(dict.fromkeys(found))


def _walker(one: Neighbour, lane: Ahead) -> str:
    if one.kind != "pedestrian":
        return ""
    side, crosswise = _side(one), abs(sin(one.heading_rad)) > 0.7
    if abs(one.side_m) < lane.edge_m + 0.3:
        return f"watch the pedestrian {'crossing' if one.moves and crosswise else 'on'} the road"
    if abs(one.side_m) - lane.edge_m > KERB_M or not crosswise or sin(one.heading_rad) * one.side_m > 0:
        return ""
    return f"watch the pedestrian from the {side}" if one.moves else f"watch the pedestrian at the kerb on the {side}"


def _ahead_brakes(one: Neighbour, lane: Ahead) -> str:
    ahead = cos(one.heading_rad) > 0.7 and abs(one.side_m) < lane.edge_m and one.kind != "pedestrian"
    return f"careful, the {noun(one.kind)} ahead brakes" if ahead and one.braking else ""


def _oncoming(one: Neighbour, lane: Ahead) -> str:
    on_way = one.along_m < lane.straight_m and abs(one.side_m) < lane.edge_m
    in_lane = one.oncoming and one.moves and one.kind != "pedestrian" and on_way
    return f"careful, {a(noun(one.kind))} is coming towards us in our lane" if in_lane else ""


def _cyclist(one: Neighbour, lane: Ahead) -> str:
    near = (
        one.kind == "cyclist" and cos(one.heading_rad) > 0.7 and abs(one.side_m) < lane.edge_m + 1.0 and not one.parked
    )
    return "mind the cyclist ahead" if near else ""


def _cuts_in(one: Neighbour, lane: Ahead) -> str:
    """From the lane beside, moving or indicating towards the ego's."""
    beside = cos(one.heading_rad) > 0.7 and lane.edge_m < abs(one.side_m) < 3 * lane.edge_m and one.moves
    if not beside or one.kind == "pedestrian":
        return ""
    towards = RIGHT if one.side_m > 0 else LEFT
    drifts = one.drift_mps * one.side_m < 0 and abs(one.drift_mps) > DRIFT_MPS
    if drifts and (one.indicator == towards or abs(one.drift_mps) > 2 * DRIFT_MPS):
        return f"watch the {noun(one.kind)} moving over from the {_side(one)}"
    return f"careful, the {noun(one.kind)} on the {_side(one)} wants to move over" if one.indicator == towards else ""


def _crosses(one: Neighbour, lane: Ahead) -> str:
    """On wheels, from the side, and soon on the ego's way."""
    if one.kind == "pedestrian" or not one.moves or abs(sin(one.heading_rad)) < 0.7:
        return ""
    if abs(one.side_m) < lane.edge_m:
        return f"watch the {noun(one.kind)} crossing ahead"
    soon = -one.sideways_mps * one.side_m > 0 and (abs(one.side_m) - lane.edge_m) / abs(one.sideways_mps) < SOON_S
    return f"watch the {noun(one.kind)} from the {_side(one)}" if soon else ""


def _standing(one: Neighbour, lane: Ahead) -> str:
    """Something that stands so far in the lane that one has to go around it."""
    if one.moves or abs(one.side_m) - one.half_m > lane.edge_m - TAKEN_M:
        return ""
    if one.parked:
        return f"mind the parked {noun(one.kind)} in our lane"
    return f"mind the {noun(one.kind)} in our lane" if one.kind in THINGS else ""


def _side(one: Neighbour) -> str:
    return "left" if one.side_m > 0 else "right"


CHECKS: tuple[Callable[[Neighbour, Ahead], str], ...] = (
    _walker,
    _ahead_brakes,
    _oncoming,
    _cyclist,
    _cuts_in,
    _crosses,
    _standing,
)
