"""Chunk-wise hints: what to do now, and why, from what the driver does and what holds it back."""

from worldmodel.clips import Instruction
from worldmodel.town.scene import GREEN, Scene
from worldmodel.town.words.nouns import noun
from worldmodel.town.words.reasons import OWN_WILL, Chunk, noun_of, reason_of
from worldmodel.town.words.steering import sideways, turn_ahead, turning
from worldmodel.town.words.surroundings import Surroundings

FASTER_MPS2, HARD_MPS2 = 0.5, -3.0
ROLLS_MPS = 3.0


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
    if name == "pedestrian":
        return "wait for the pedestrian"
    waits = {
        "signal": f"wait, {reason}",
        "crossing": f"wait for the {name} to pass" if chunk.cause.track else "wait at the stop line and look",
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
    return "drive on, the road is free" if chunk.in_way is None else "roll on slowly"


def _slower(chunk: Chunk, steering: str) -> str:
    kind = chunk.cause.kind
    if kind == "curve":
        if steering:
            return f"slow down and {steering}"
        ahead = turn_ahead(chunk)
        return f"slow down for {ahead}" if ahead else "slow down a little"
    if kind == "free":
        return f"slow down and {steering}" if steering else "slow down a little"
    if kind == "signal" and chunk.signal(chunk.cause.track) == GREEN:
        return "drive on, the light is green"
    verb = "stop" if chunk.stops else "brake hard" if chunk.acceleration_mps2 < HARD_MPS2 else "slow down"
    return f"{verb}, {reason_of(chunk)}"


def _faster(chunk: Chunk) -> str:
    if chunk.speed_mps < ROLLS_MPS and chunk.before.kind != "free" and chunk.cause.kind in (*OWN_WILL, "leader"):
        return _onwards(chunk)
    if chunk.cause.kind == "leader":
        return f"speed up gently behind the {noun_of(chunk.scene, chunk.cause.track)}"
    free = chunk.cause.kind in OWN_WILL and chunk.in_way is None
    return "speed up, the road is free" if free else "speed up a little"


def _steady(chunk: Chunk) -> str:
    kind, name = chunk.cause.kind, noun_of(chunk.scene, chunk.cause.track)
    if kind == "leader":
        other = chunk.body(chunk.cause.track)
        if other is not None and not other.moves:
            return f"roll up to the {name} ahead"
        return f"follow the {name} ahead and keep your distance"
    if kind == "curve":
        ahead = turn_ahead(chunk)
        return f"get ready for {ahead}" if ahead else "keep this speed"
    if kind == "free":
        return "go on, the road is free" if chunk.in_way is None else "keep this speed"
    return f"{'go slowly' if chunk.speed_mps < ROLLS_MPS else 'careful'}, {reason_of(chunk)}"
