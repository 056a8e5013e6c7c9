"""Steering: around something, into another lane, through bends and crossings, as a hint in words."""

import numpy as np

from worldmodel.geometry import wrap_angle
from worldmodel.town.words.neighbours import THINGS, Neighbour
from worldmodel.town.words.nouns import noun
from worldmodel.town.words.reasons import Chunk
from worldmodel.town.words.surroundings import Surroundings

AROUND_MPS, CHANGE_MPS = 0.15, 0.3  # who moves sideways faster does so on purpose: around something, to another lane
BESIDE_M = 0.45  # further from the middle of the lane than this it passes something
TURN_RAD = 0.45
BEND_RAD = 0.15
LINES = {"stop": "the stop line", "yield": "the give-way line"}
RING_M, RING_RAD = 8.0, 0.3
CROSSING_M = 24.0  # a way through a crossing is about this long
CROSSINGS = ("intersection", "signals", "block")


def sideways(chunk: Chunk) -> str:
    """Steering within the road: into another lane, around something that stands, back into the lane; '' for none."""
    around, frame = chunk.around, chunk.last
    speeds = [around.sideways_mps(at) for at in range(chunk.first, chunk.last + 1)]
    moved, offset = sum(speeds) / len(speeds), around.lane_place(frame).offset_m
    side, other = ("left", "right") if moved > 0 else ("right", "left")
    if abs(moved) > AROUND_MPS:
        thing = _thing(chunk, other)
        if thing is not None and thing.along_m >= 0 and moved * offset > -0.1:
            return f"steer {side} around the {_called(chunk, thing)}"
        if moved * offset < 0 and abs(offset) > 0.2 and _thing(chunk, side, ahead=False) is not None:
            return f"steer back to the {side}"
    if abs(moved) > CHANGE_MPS and around.straight_m(frame, 12.0) >= 12.0:
        leaves, arrives = moved * offset > 0 and abs(offset) > 0.3, moved * offset <= 0
        if (leaves and around.lane_beside(frame, side)) or (arrives and around.lane_beside(frame, other)):
            return _lane_change(chunk, side)
    thing = _thing(chunk, "right" if offset > 0 else "left") if abs(offset) > BESIDE_M else None
    return f"pass the {_called(chunk, thing)} with some room" if thing is not None else ""


def _lane_change(chunk: Chunk, side: str) -> str:
    told = chunk.scene.instructions
    now = chunk.last / chunk.scene.frequency_hz
    if chunk.around.road in ("merge", "exit") and len(told) > 1 and now < told[0].end_s:
        return f"merge to the {side}" if chunk.around.road == "merge" else f"move over to the exit on the {side}"
    ahead = [
        one for one in chunk.around.around(chunk.last) if 0 < one.along_m < 40.0 and one.moves and not one.oncoming
    ]
    slower = [one for one in ahead if abs(one.side_m) < 1.8 and one.speed_mps < chunk.speed_mps - 0.5]
    why = f", the {noun(slower[0].kind)} ahead is slower" if slower else ""
    return f"change to the {side} lane{why}"


def _thing(chunk: Chunk, side: str, *, ahead: bool = True) -> Neighbour | None:
    """What stands at this side and reaches into the ego's lane or close to it: the nearest ahead or beside, or behind."""
    sign = 1.0 if side == "left" else -1.0
    first, last = (-2.0, 25.0) if ahead else (-20.0, 0.0)
    place = chunk.around.lane_place(chunk.last)
    near = [
        one
        for one in chunk.around.around(chunk.last)
        if _is_passed(one)
        and first <= one.along_m <= last
        and sign * (one.side_m - place.offset_m) > 0.3
        and abs(one.side_m) - one.half_m < place.width_m / 2 + 0.3
    ]
    return min(near, key=lambda one: abs(one.along_m), default=None)


def _is_passed(one: Neighbour) -> bool:
    """Whether it is something that one drives around: it stands, or is on foot or a bicycle."""
    cycles = one.kind == "cyclist" and not one.oncoming
    return cycles or (not one.moves and (one.parked or one.kind in (*THINGS, "pedestrian")))


def _called(chunk: Chunk, thing: Neighbour) -> str:
    if thing.track in chunk.around.works:
        return "road works"
    return f"parked {noun(thing.kind)}" if thing.parked else noun(thing.kind)


def turn_ahead(chunk: Chunk) -> str:
    """The next turn, roundabout, bend or line on the route, within some seconds; '' for none."""
    around = chunk.around
    reach = 15.0 + 3.5 * chunk.speed_mps
    if around.road == "roundabout":
        if around.straight_m(chunk.last, reach) >= reach:
            return ""
        return "the roundabout" if _turns_in(around, chunk.last) else "the way out of the roundabout"
    s = around.ego_place(chunk.last)[0]
    branch = next((one for one in around.branches if 0 < one.s_m - s < reach), None)
    if branch is not None and around.road in CROSSINGS:
        total = around.turned_rad(chunk.last, branch.s_m - 2.0 - s, branch.s_m + CROSSING_M - s)
        if abs(total) > TURN_RAD:
            return f"the turn to the {'left' if total > 0 else 'right'}"
    turned = max((around.turned_rad(chunk.last, 0.0, at) for at in (10.0, 20.0, 35.0, 50.0)), key=abs)
    if abs(turned) > BEND_RAD:
        return f"the bend to the {'left' if turned > 0 else 'right'}"
    return line_ahead(around, chunk.last, reach)


def line_ahead(around: Surroundings, frame: int, reach_m: float) -> str:
    """'the stop line' or 'the give-way line' within some metres on the ego's way; '' for none."""
    mine = around.ego_place(frame)[0]
    for line in around.scene.stage.stop_lines:
        s, d, heading = around.on_route(np.array([line.x_m, line.y_m]), mine)
        aligned = abs(wrap_angle(line.yaw_rad - heading)) < 0.5 and abs(d) < line.width_m / 2
        if aligned and 0.0 < s - mine < reach_m and line.rule in LINES:
            return LINES[line.rule]
    return ""


def turning(chunk: Chunk, ahead_s: float = 1.0) -> str:
    """What the route bends to in the next moments; '' where it goes straight on."""
    around, frame = chunk.around, chunk.last
    reach = max(6.0, ahead_s * chunk.speed_mps)
    turned = around.turned_rad(frame, 0.0, reach)
    crossing = _at_crossing(chunk, reach) if around.road in CROSSINGS else ""
    if crossing:
        return crossing
    if around.road == "roundabout":
        return _ring(around, frame)
    if abs(turned) < TURN_RAD:
        return ""
    side = "left" if turned > 0 else "right"
    return f"take the bend to the {side}"


def _at_crossing(chunk: Chunk, reach_m: float) -> str:
    """How to pass the crossing that begins within some metres or that the ego is on; '' where there is none."""
    along, s = chunk.around.route[0], chunk.around.ego_place(chunk.last)[0]
    branch = next((one for one in chunk.around.branches if -0.75 * CROSSING_M < one.s_m - s < reach_m), None)
    if branch is None or branch.s_m + 4.0 > along[-1]:
        return ""
    total = chunk.around.turned_rad(chunk.last, branch.s_m - 2.0 - s, branch.s_m + CROSSING_M - s)
    if abs(total) < TURN_RAD:
        return "go straight across the crossing"
    ahead = chunk.around.turned_rad(chunk.last, 0.0, max(reach_m, branch.s_m - s + 8.0))
    return f"turn {'left' if total > 0 else 'right'} at the crossing" if abs(ahead) > 0.2 else ""


def _ring(around: Surroundings, frame: int) -> str:
    """What to do at a roundabout where the route turns within RING_M; '' where it does not."""
    turned = around.turned_rad(frame, 0.0, RING_M)
    if abs(turned) < RING_RAD:
        return ""
    if turned > 0:
        return "drive round the roundabout"
    return "enter the roundabout" if _turns_in(around, frame) else "leave the roundabout"


def _turns_in(around: Surroundings, frame: int) -> bool:
    """Whether the route turns right first and left after that, as it does into a ring."""
    headings = np.array([around.turned_rad(frame, 0.0, ahead) for ahead in np.arange(0.0, 35.0, 1.5)])
    return bool((headings - np.minimum.accumulate(headings)).max() > 0.8 * RING_RAD)
