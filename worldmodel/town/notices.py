"""Notices: somebody is about to matter, said before it is too late."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, sin

from worldmodel.town.hints import a, noun
from worldmodel.town.scene import Scene
from worldmodel.town.surroundings import Neighbour, Surroundings

LOOK_AHEAD_S, LOOK_AHEAD_M = 4.0, 8.0  # what is further ahead than this time and these metres does not matter yet
CHECK_S = 0.25
MERGE_S = 0.75  # a notice goes on over gaps shorter than this
KERB_M = 4.5  # people this close to the edge of the ego's lane may step onto it


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What to look out for: start_s <= t < end_s, seconds from the scene's start."""

    text: str
    track: str
    start_s: float
    end_s: float


def notices(scene: Scene) -> tuple[Notice, ...]:
    """All notices of a scene, by their start; whether each holds is looked up every CHECK_S."""
    around = Surroundings(scene)
    step = max(1, round(CHECK_S * scene.frequency_hz))
    period = step / scene.frequency_hz
    runs: dict[tuple[str, str], list[list[float]]] = {}
    for frame in range(0, len(scene), step):
        now = frame / scene.frequency_hz
        for one in around.seen(frame):
            text = notice_text(around, one, frame)
            if not text:
                continue
            spans = runs.setdefault((one.track, text), [])
            if spans and now - spans[-1][1] < MERGE_S:
                spans[-1][1] = now + period
            else:
                spans.append([now, now + period])
    found = [
        Notice(text=text, track=track, start_s=start, end_s=end)
        for (track, text), spans in runs.items()
        for start, end in spans
    ]
    return tuple(sorted(found, key=lambda notice: (notice.start_s, notice.track, notice.text)))


def notice_text(around: Surroundings, one: Neighbour, frame: int) -> str:
    """Why somebody is about to matter at a frame; '' where they are not."""
    speed = float(around.scene.ego_speeds_mps[frame])
    if not -0.5 <= one.along_m <= LOOK_AHEAD_M + LOOK_AHEAD_S * speed or one.x_m < 0:
        return ""
    for check in CHECKS:
        text = check(around, one)
        if text:
            return text
    return ""


def _walker(around: Surroundings, one: Neighbour) -> str:
    if one.kind != "pedestrian":
        return ""
    edge = around.lane_width_m / 2
    if abs(one.side_m) < edge:
        return "watch the pedestrian on the road" if not one.moves else "watch the pedestrian crossing the road"
    sideways = one.speed_mps * sin(one.heading_rad)  # to the left
    towards = sideways * one.side_m < 0 and abs(sin(one.heading_rad)) > 0.7
    if towards and abs(one.side_m) - edge < KERB_M:
        return f"watch the pedestrian from the {_side(one)}"
    faces = sin(one.heading_rad) * one.side_m < 0 and abs(sin(one.heading_rad)) > 0.7
    if faces and not one.moves and abs(one.side_m) - edge < KERB_M:
        return f"watch the pedestrian at the kerb on the {_side(one)}"
    return ""


def _ahead_brakes(around: Surroundings, one: Neighbour) -> str:
    same = cos(one.heading_rad) > 0.7 and abs(one.side_m) < around.lane_width_m / 2
    if not same or one.parked or one.kind == "pedestrian":
        return ""
    return f"careful, the {noun(one.kind)} ahead brakes" if one.braking else ""


def _oncoming(around: Surroundings, one: Neighbour) -> str:
    if one.oncoming and one.moves and one.kind != "pedestrian" and abs(one.side_m) < around.lane_width_m / 2:
        return f"careful, {a(noun(one.kind))} is coming towards us in our lane"
    return ""


def _cyclist(around: Surroundings, one: Neighbour) -> str:
    if one.kind == "cyclist" and one.moves and cos(one.heading_rad) > 0.7 and abs(one.side_m) < around.lane_width_m:
        return "mind the cyclist ahead"
    return ""


def _standing(around: Surroundings, one: Neighbour) -> str:
    """Something that stands in the way, so far that half a metre of the lane's half is taken."""
    if one.moves or one.kind == "pedestrian" or one.braking:
        return ""
    half = around.scene.bodies[one.index].width_m / 2
    if abs(one.side_m) - half > around.lane_width_m / 2 - 0.5:
        return ""
    if one.parked:
        return f"mind the parked {noun(one.kind)} in our lane"
    return f"mind the {noun(one.kind)} in our lane" if one.kind in ("cone", "barrier", "box") else ""


def _side(one: Neighbour) -> str:
    return "left" if one.side_m > 0 else "right"


CHECKS: tuple[Callable[[Surroundings, Neighbour], str], ...] = (_walker, _ahead_brakes, _oncoming, _cyclist, _standing)
