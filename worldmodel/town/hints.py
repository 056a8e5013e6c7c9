"""Chunk-wise hints: what to do now, and why, from what the driver does and what holds it back."""

from worldmodel.clips import Instruction
from worldmodel.town.nouns import noun
from worldmodel.town.reasons import OWN_WILL, Chunk, noun_of, reason_of
from worldmodel.town.scene import GREEN, Scene
from worldmodel.town.surroundings import THINGS, Neighbour, Surroundings

FASTER_MPS2, HARD_MPS2 = 0.5, -3.0
AROUND_MPS, CHANGE_MPS = 0.15, 0.3  # who moves sideways faster does so on purpose: around something, to another lane
BESIDE_M = 0.45  # further from the middle of the lane than this it passes something
TURN_RAD = 0.45
CROSSING_M = 24.0  # a way through a crossing is about this long
CROSSINGS = ("intersection", "signals", "block")


def hints(scene: Scene, chunk_s: float = 0.5) -> tuple[Instruction, ...]:
    """One hint per chunk, each with its time range; the last one may be shorter.

    A hint rests on its own chunk and the moments before it, never on what comes later.
    """
    around = Surroundings(scene)
    frames = max(1, round(chunk_s * scene.frequency_hz))
    result = []
    for first in range(0, len(scene), frames):
        chunk = Chunk(around, first, min(first + frames, len(scene)) - 1)
        start, end = first / scene.frequency_hz, (first + frames) / scene.frequency_hz
        result.append(Instruction(text=hint_text(chunk), start_s=start, end_s=end))
    return tuple(result)


def hint_at(all_hints: tuple[Instruction, ...], time_s: float) -> str:
    """The hint of the chunk that a moment lies in; '' outside."""
    return next((hint.text for hint in all_hints if hint.start_s <= time_s < hint.end_s), "")


def hint_text(chunk: Chunk) -> str:
    """What to do in this chunk, and why."""
    if chunk.stands:
        return _standing(chunk)
    steering = sideways(chunk) or turning(chunk)
    if chunk.brakes:
        return _slower(chunk, steering)
    if steering:
        return steering
    return _faster(chunk) if chunk.acceleration_mps2 > FASTER_MPS2 else _steady(chunk)


# -- speed --------------------------------------------------------------------------------------------------------


def _standing(chunk: Chunk) -> str:
    reason, name = reason_of(chunk), noun_of(chunk.scene, chunk.cause.track)
    waits = {
        "walker": "wait for the pedestrian",
        "signal": f"wait, {reason}",
        "crossing": f"wait for the {name} to pass",
        "oncoming": f"wait for the oncoming {name} to pass",
        "leader": f"wait behind the {name}",
        "obstacle": f"wait, {reason}",
        "halt": "stay where you are",
    }
    return waits.get(chunk.cause.kind) or _onwards(chunk)


def _onwards(chunk: Chunk) -> str:
    """To drive on after a stop, and what has changed."""
    before = chunk.before
    if before.kind == "signal" and chunk.signal(before.track) == GREEN:
        return "drive on, the light is green"
    other = chunk.body(before.track)
    if before.kind == "leader" and other is not None and other.moves:
        return f"drive on, the {noun(other.kind)} ahead moves again"
    return "drive on, the road is free"


def _slower(chunk: Chunk, steering: str) -> str:
    kind = chunk.cause.kind
    if kind == "curve":
        if steering:
            return f"slow down and {steering}"
        bends = max(abs(chunk.around.turned_rad(chunk.last, 0.0, reach)) for reach in (10.0, 20.0, 35.0, 50.0))
        return "slow down, a bend is ahead" if bends > 0.2 else "slow down a little"
    if kind == "free":
        return f"slow down and {steering}" if steering else "slow down a little"
    verb = "stop" if chunk.stops else "brake hard" if chunk.acceleration_mps2 < HARD_MPS2 else "slow down"
    return f"{verb}, {reason_of(chunk)}"


def _faster(chunk: Chunk) -> str:
    if chunk.speed_mps < 3.0 and chunk.before.kind != "free" and chunk.cause.kind in (*OWN_WILL, "leader"):
        return _onwards(chunk)
    if chunk.cause.kind == "leader":
        return f"speed up gently behind the {noun_of(chunk.scene, chunk.cause.track)}"
    return "speed up, the road is free" if chunk.cause.kind in OWN_WILL else "speed up a little"


def _steady(chunk: Chunk) -> str:
    kind, reason = chunk.cause.kind, reason_of(chunk)
    if kind == "leader":
        return f"follow the {noun_of(chunk.scene, chunk.cause.track)} ahead and keep your distance"
    if kind == "curve":
        return "keep this speed for the bend"
    return "go on, the road is free" if kind == "free" else f"go slowly, {reason}"


# -- steering -----------------------------------------------------------------------------------------------------


def sideways(chunk: Chunk) -> str:
    """Steering within the road: into another lane, around something that stands, back into the lane; '' for none."""
    around, frame = chunk.around, chunk.last
    speeds = [around.sideways_mps(at) for at in range(chunk.first, chunk.last + 1)]
    moved, offset = sum(speeds) / len(speeds), around.lane_place(frame).offset_m
    side, other = ("left", "right") if moved > 0 else ("right", "left")
    if abs(moved) > AROUND_MPS:
        thing = _standing_thing(chunk, other)
        if thing is not None and thing.along_m >= 0 and moved * offset > -0.1:
            return f"steer {side} around the {_standing_noun(thing)}"
        if moved * offset < 0 and abs(offset) > 0.2 and _standing_thing(chunk, side, ahead=False) is not None:
            return f"steer back to the {side}"
    if abs(moved) > CHANGE_MPS and around.straight_m(frame, 12.0) >= 12.0:
        leaves, arrives = moved * offset > 0 and abs(offset) > 0.3, moved * offset <= 0
        if (leaves and around.lane_beside(frame, side)) or (arrives and around.lane_beside(frame, other)):
            return _lane_change(chunk, side)
    thing = _standing_thing(chunk, "right" if offset > 0 else "left") if abs(offset) > BESIDE_M else None
    return f"pass the {_standing_noun(thing)} with some room" if thing is not None else ""


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


def _standing_thing(chunk: Chunk, side: str, *, ahead: bool = True) -> Neighbour | None:
    """What stands at this side and reaches into the ego's lane or close to it: the nearest ahead or beside, or behind."""
    sign = 1.0 if side == "left" else -1.0
    first, last = (-2.0, 25.0) if ahead else (-20.0, 0.0)
    place = chunk.around.lane_place(chunk.last)
    near = [
        one
        for one in chunk.around.around(chunk.last)
        if not one.moves
        and (one.parked or one.kind in THINGS)
        and first <= one.along_m <= last
        and sign * (one.side_m - place.offset_m) > 0.3
        and abs(one.side_m) - one.half_m < place.width_m / 2 + 0.3
    ]
    return min(near, key=lambda one: abs(one.along_m), default=None)


def _standing_noun(thing: Neighbour) -> str:
    return f"parked {noun(thing.kind)}" if thing.parked else noun(thing.kind)


def turning(chunk: Chunk, ahead_s: float = 1.0) -> str:
    """What the route bends to in the next moments; '' where it goes straight on."""
    around, frame = chunk.around, chunk.last
    reach = max(6.0, ahead_s * chunk.speed_mps)
    turned = around.turned_rad(frame, 0.0, reach)
    crossing = _at_crossing(chunk, reach) if around.road in CROSSINGS else ""
    if crossing:
        return crossing
    if abs(turned) < TURN_RAD:
        return ""
    side = "left" if turned > 0 else "right"
    if around.road == "roundabout":
        return _ring(around, frame, side, reach)
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


def _ring(around: Surroundings, frame: int, side: str, reach_m: float) -> str:
    if side == "left":
        return "drive round the roundabout"
    after = max(around.turned_rad(frame, reach_m, reach_m + more) for more in (8.0, 14.0, 20.0))
    return "enter the roundabout" if after > TURN_RAD else "leave the roundabout"
