"""Chunk-wise hints: what to do now, and why, from what the driver does and what holds it back."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from worldmodel.clips import Instruction
from worldmodel.geometry import wrap_angle
from worldmodel.town.scene import AMBER, LEFT, OFF, Cause, Scene
from worldmodel.town.surroundings import STILL_MPS, Neighbour, Surroundings

SLOWER_MPS2, FASTER_MPS2 = -0.5, 0.5
HARD_MPS2 = -3.0
SOON_STILL_S = 2.0
SIDEWAYS_M = 0.15  # within one chunk, beyond this the driver moves sideways on purpose
BESIDE_LANE_M = 0.45  # further from the middle of the lane than this it passes something
TURN_RAD = 0.45


@dataclass(frozen=True, eq=False)
class Chunk:
    """A stretch of the drive.

    Attributes:
        first, last: Its frames, both included.
        cause: What held the ego back during most of it.
    """

    around: Surroundings
    first: int
    last: int
    cause: Cause

    @property
    def scene(self) -> Scene:
        """The scene it belongs to."""
        return self.around.scene

    @property
    def speed_mps(self) -> float:
        """At its end."""
        return float(self.scene.ego_speeds_mps[self.last])

    @property
    def acceleration_mps2(self) -> float:
        """Mean over it, and 0 where it is a single frame."""
        begin = max(self.first - 1, 0) if self.first == self.last else self.first
        seconds = (self.last - begin) / self.scene.frequency_hz
        return (
            float(self.scene.ego_speeds_mps[self.last] - self.scene.ego_speeds_mps[begin]) / seconds if seconds else 0.0
        )

    @property
    def stands(self) -> bool:
        """Whether the ego stands still all the time."""
        return bool((self.scene.ego_speeds_mps[self.first : self.last + 1] < STILL_MPS).all())

    @property
    def stops(self) -> bool:
        """Whether it comes to a stop within SOON_STILL_S if it goes on braking like this."""
        braking = -self.acceleration_mps2
        return self.speed_mps < STILL_MPS or (braking > 0 and self.speed_mps / braking < SOON_STILL_S)


def hints(scene: Scene, chunk_s: float = 0.5) -> tuple[Instruction, ...]:
    """One hint per chunk, each with its time range; the last one may be shorter."""
    around = Surroundings(scene)
    frames = max(1, round(chunk_s * scene.frequency_hz))
    result = []
    for first in range(0, len(scene), frames):
        last = min(first + frames, len(scene)) - 1
        text = hint_text(chunk_of(around, first, last))
        start = first / scene.frequency_hz
        result.append(Instruction(text=text, start_s=start, end_s=start + frames / scene.frequency_hz))
    return tuple(result)


def hint_at(all_hints: tuple[Instruction, ...], time_s: float) -> str:
    """The hint of the chunk that a moment lies in; '' outside."""
    return next((hint.text for hint in all_hints if hint.start_s <= time_s < hint.end_s), "")


def chunk_of(around: Surroundings, first: int, last: int) -> Chunk:
    """The chunk of these frames, with the cause that most of them share (the later one of equals)."""
    causes = around.scene.ego_causes[first : last + 1]
    counts = Counter(reversed(causes))
    return Chunk(around=around, first=first, last=last, cause=max(counts, key=lambda cause: counts[cause]))


def hint_text(chunk: Chunk) -> str:
    """What to do in this chunk, and why."""
    reason = reason_of(chunk)
    if chunk.stands:
        return _standing(chunk, reason)
    change = chunk.acceleration_mps2
    if change < SLOWER_MPS2:
        verb = "stop" if chunk.stops else "brake hard" if change < HARD_MPS2 else "slow down"
        if chunk.cause.kind == "curve":
            return _slow_for_way(chunk)
        return f"{verb}, {reason}"
    sideways = _sideways(chunk)
    if sideways:
        return sideways
    turning = _turning(chunk)
    if turning:
        return turning
    if change > FASTER_MPS2:
        return _faster(chunk)
    return _steady(chunk, reason)


# -- why ----------------------------------------------------------------------------------------------------------


def reason_of(chunk: Chunk) -> str:
    """Why the driver is held back, as a clause; 'the road is free' where it is not."""
    other = _other(chunk)
    kind = chunk.cause.kind
    noun = noun_of(chunk.scene, chunk.cause.track)
    if kind == "leader":
        return f"the {noun} ahead {_doing(other)}"
    if kind == "walker":
        return f"somebody on foot {'crosses the road' if other is not None and other.moves else 'stands on the road'}"
    if kind == "crossing":
        return f"the {noun} goes first"
    if kind == "signal":
        return f"the light is {_signal_color(chunk)}"
    if kind == "obstacle":
        return f"{a(noun)} {'is parked' if other is not None and other.parked else 'stands'} in the way"
    if kind == "oncoming":
        return f"{a(noun)} is coming towards us"
    if kind == "curve":
        return "a bend is ahead"
    if kind == "halt":
        return "we are to stand"
    return "the road is free"


def _other(chunk: Chunk) -> Neighbour | None:
    near = chunk.around.around(chunk.last)
    return next((one for one in near if one.track == chunk.cause.track), None)


def _doing(other: Neighbour | None) -> str:
    if other is None or (other.moves and not other.braking):
        return "is slower" if other is not None else "is close"
    return "brakes" if other.moves else "stands"


def _signal_color(chunk: Chunk) -> str:
    number = chunk.cause.track.removeprefix("signal-")
    states = chunk.scene.signal_states[chunk.last]
    return "amber" if number.isdigit() and int(number) < len(states) and states[int(number)] == AMBER else "red"


def noun_of(scene: Scene, track: str) -> str:
    """'car', 'pedestrian', 'traffic cone' ... for the body with a track; 'vehicle' where there is none."""
    kind = next((body.kind for body in scene.bodies if body.track == track), "vehicle")
    return noun(kind)


def noun(kind: str) -> str:
    """How a kind of body is called."""
    return {"cone": "traffic cone", "barrier": "road barrier"}.get(kind, kind.replace("_", " "))


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


# -- what to do -----------------------------------------------------------------------------------------------------


def _standing(chunk: Chunk, reason: str) -> str:
    kind = chunk.cause.kind
    if chunk.acceleration_mps2 > 0 and kind in ("free", "curve"):
        return "drive on, the road is free"
    waits = {
        "walker": "wait for the pedestrian",
        "signal": f"wait, {reason}",
        "crossing": f"wait for the {noun_of(chunk.scene, chunk.cause.track)} to pass",
        "oncoming": f"wait for the oncoming {noun_of(chunk.scene, chunk.cause.track)} to pass",
        "leader": f"wait behind the {noun_of(chunk.scene, chunk.cause.track)}",
        "obstacle": f"wait, {reason}",
        "halt": "stay where you are",
    }
    return waits.get(kind, "drive on, the road is free")


def _slow_for_way(chunk: Chunk) -> str:
    way = _turning(chunk, ahead_s=2.5)
    return f"slow down and {way}" if way else "slow down, a bend is ahead"


def _faster(chunk: Chunk) -> str:
    kind = chunk.cause.kind
    if kind == "leader":
        return f"speed up gently behind the {noun_of(chunk.scene, chunk.cause.track)}"
    return "speed up, the road is free" if kind in ("free", "curve") else "speed up a little"


def _steady(chunk: Chunk, reason: str) -> str:
    kind = chunk.cause.kind
    noun = noun_of(chunk.scene, chunk.cause.track)
    says = {
        "free": "go on, the road is free",
        "curve": "take the bend slowly",
        "leader": f"follow the {noun} ahead and keep your distance",
        "walker": "go slowly, somebody is on foot ahead",
        "crossing": f"go slowly, {reason}",
        "signal": f"roll on slowly, {reason}",
        "obstacle": f"go slowly, {reason}",
        "oncoming": f"go slowly, {reason}",
    }
    return says.get(kind, "go slowly")


def _sideways(chunk: Chunk) -> str:
    """Steering within the road: into another lane, around something that stands, back into the lane; '' for none."""
    around, scene = chunk.around, chunk.scene
    begin = max(chunk.first - 1, 0)
    moved = around.ego_place(chunk.last)[1] - around.ego_place(begin)[1]
    offset = around.lane_offset_m(chunk.last)
    side = "left" if moved > 0 else "right"
    seconds = max((chunk.last - begin) * 2 / scene.frequency_hz, 1e-6)  # in half seconds
    if abs(moved) / seconds > SIDEWAYS_M:
        thing = _standing_thing(chunk, "right" if moved > 0 else "left")
        if thing is not None:
            return f"steer {side} around the {_standing_noun(thing)}"
        if scene.ego_indicators[chunk.last] != OFF:
            lane = "left" if scene.ego_indicators[chunk.last] == LEFT else "right"
            return f"change to the {lane} lane" if lane == side else f"steer back to the {side}"
        return f"steer back to the {side}" if moved * offset < 0 else f"keep a little to the {side}"
    if abs(offset) > BESIDE_LANE_M:
        thing = _standing_thing(chunk, "right" if offset > 0 else "left")
        if thing is not None:
            return f"pass the {_standing_noun(thing)} with some room"
    return ""


def _standing_thing(chunk: Chunk, side: str) -> Neighbour | None:
    """What stands at this side of the ego, close ahead or beside it."""
    sign = 1.0 if side == "left" else -1.0
    mine = chunk.around.lane_offset_m(chunk.last)
    near = [
        one
        for one in chunk.around.around(chunk.last)
        if not one.moves
        and one.kind != "pedestrian"
        and -2.0 < one.along_m < 25.0
        and 0.3 < sign * (one.side_m - mine) < 3.6
        and abs(one.side_m) < chunk.around.lane_width_m / 2 + 0.8
    ]
    return min(near, key=lambda one: abs(one.along_m), default=None)


def _standing_noun(thing: Neighbour) -> str:
    return f"parked {noun(thing.kind)}" if thing.parked else noun(thing.kind)


def _turning(chunk: Chunk, ahead_s: float = 1.0) -> str:
    """What the route bends to in the next moments; '' where it goes straight on."""
    around, scene = chunk.around, chunk.scene
    along, heading = around.route
    s = around.ego_place(chunk.last)[0]
    reach = max(6.0, ahead_s * chunk.speed_mps)
    turned = float(np.interp(s + reach, along, heading) - np.interp(s, along, heading))
    if abs(turned) < TURN_RAD * min(1.0, reach / 8.0):
        return ""
    side = "left" if turned > 0 else "right"
    at_branch = any(-25.0 < s - branch.s_m < reach for branch in around.branches)
    total = float(wrap_angle(np.interp(s + 30.0, along, heading) - scene.ego_poses[chunk.first, 2]))
    if at_branch and abs(total) > TURN_RAD:
        return f"turn {side} at the crossing"
    return f"take the bend to the {side}"
