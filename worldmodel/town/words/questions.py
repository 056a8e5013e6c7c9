"""Questions about a frame, with answers that follow from the scene's state; only what nobody would doubt is asked.

Answers come from closed vocabularies (ANSWERS). Of questions with the answers yes and no, both come about equally
often, whatever is in the scene: existence is asked in pairs, states and reasons are put either way by the toss of a coin.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from worldmodel.town.scene import HAZARD, LEFT, OFF, RIGHT, SIGNAL_NAMES, Scene
from worldmodel.town.situations import generator
from worldmodel.town.words.colors import COLOR_NAMES
from worldmodel.town.words.descriptions import visible_color
from worldmodel.town.words.foresight import NEXT_PACE, NEXT_WAY, WHY, next_moves, reason
from worldmodel.town.words.neighbours import VEHICLES, Neighbour
from worldmodel.town.words.nouns import a, noun, plural
from worldmodel.town.words.surroundings import Surroundings
from worldmodel.town.words.views import SIDES, View, ahead, perhaps_ahead, side_of

T = TypeVar("T")
YES_NO = ("yes", "no")
NUMBERS = ("none", "one", "two", "three", "four", "five or more")
BANDS = ((10.0, "less than 10 metres"), (20.0, "10 to 20 metres"), (40.0, "20 to 40 metres"))
FAR = "more than 40 metres"
INDICATES = {OFF: "not at all", LEFT: "left", RIGHT: "right", HAZARD: "on both sides"}
ANSWERS: dict[str, tuple[str, ...]] = {
    "existence": YES_NO,
    "count": NUMBERS,
    "colour": COLOR_NAMES,
    "position": SIDES,
    "distance": (*(name for _, name in BANDS), FAR),
    "state": YES_NO,
    "indicator": tuple(INDICATES.values()),
    "light": SIGNAL_NAMES,
    "next_pace": tuple(NEXT_PACE.values()),
    "next_way": tuple(NEXT_WAY.values()),
    "why": tuple(WHY.values()),
    "because": YES_NO,
}
ASKED = {"car": 6.0, "pedestrian": 3.0, "van": 2.0, "truck": 2.0, "cyclist": 2.0, "bus": 1.0, "cone": 1.0}
COUNTED = ("car", "pedestrian", "van", "truck")
COMMON_COLORS = ("white", "black", "grey", "blue", "red", "orange", "green", "yellow", "brown")
EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one frame, and its answer.

    Attributes:
        kind: A key of ANSWERS.
        answer: One of ANSWERS[kind].
        tracks: Of the bodies that it is about ('signal-<index>' for a traffic light); may be empty.
    """

    kind: str
    frame: int
    question: str
    answer: str
    tracks: tuple[str, ...] = ()


def questions(scene: Scene, visible: Sequence[Set[str]] | None = None) -> tuple[Question, ...]:
    """Questions about a frame every EVERY_S, from half of it on.

    Args:
        visible: Tracks that can be seen, for every frame; None to go by distance and lines of sight.
    """
    step = max(1, round(EVERY_S * scene.frequency_hz))
    found: list[Question] = []
    for frame in range(min(step // 2, len(scene) - 1), len(scene), step):
        found += questions_at(scene, frame, None if visible is None else visible[frame])
    return tuple(found)


def questions_at(scene: Scene, frame: int, visible: Set[str] | None = None) -> tuple[Question, ...]:
    """Questions of each kind about a frame, as far as there is something to ask.

    Args:
        visible: Tracks that can be seen; None to go by distance and lines of sight.
    """
    view = View(Surroundings(scene, visible), frame)
    rng = generator(scene.situation, scene.seed, f"questions-{round(frame / scene.frequency_hz * 24)}")
    found = []
    for ask in KINDS_OF_QUESTION:
        found += [
            Question(kind=kind, frame=frame, question=text, answer=answer, tracks=tracks)
            for kind, text, answer, tracks in ask(view, rng)
        ]
    return tuple(found)


Asked = Iterator[tuple[str, str, str, tuple[str, ...]]]  # kind, question, answer, tracks


def _pick(choices: Sequence[T], rng: np.random.Generator) -> T:
    return choices[int(rng.integers(len(choices)))]


def _referred(view: View, rng: np.random.Generator, kinds: Sequence[str]) -> tuple[Neighbour, str] | None:
    named = [(one, view.reference(one)) for one in view.clear if one.kind in kinds]
    known = [(one, words) for one, words in named if words is not None]
    return _pick(known, rng) if known else None


# -- kinds of question ----------------------------------------------------------------------------------------------


def _existence(view: View, rng: np.random.Generator) -> Asked:
    """A pair: something that is there, and something that is not."""
    there = sorted({one.kind for one in view.clear if ahead(one) and one.kind in ASKED})
    perhaps = {one.kind for one in view.possible if perhaps_ahead(one)}
    absent = [kind for kind in ASKED if kind not in perhaps]
    if not there or not absent:
        return
    weights = np.array([ASKED[kind] for kind in absent])
    pairs = ((_pick(there, rng), "yes"), (str(rng.choice(absent, p=weights / weights.sum())), "no"))
    for kind, answer in pairs:
        text = _pick(("Is there {} ahead of us?", "Can {} be seen ahead of us?", "Do we have {} ahead?"), rng)
        tracks = tuple(one.track for one in view.clear if one.kind == kind and ahead(one))
        yield "existence", text.format(a(noun(kind))), answer, tracks


def _painted(view: View, rng: np.random.Generator) -> Asked:
    """A pair about colours: a car of a colour that is there, and one of a colour that is not."""
    mine = [one for one in view.possible if one.kind == "car" and perhaps_ahead(one)]
    colors = [visible_color(view.around, one) for one in mine]
    if not mine or not all(colors) or not all(one.clear and ahead(one) for one in mine):
        return
    there = _pick(sorted(set(colors)), rng)
    absent = _pick([color for color in COMMON_COLORS if color not in colors], rng)
    tracks = tuple(one.track for one, color in zip(mine, colors, strict=True) if color == there)
    yield "existence", f"Is there {a(there)} car ahead of us?", "yes", tracks
    yield "existence", f"Is there {a(absent)} car ahead of us?", "no", ()


def _count(view: View, rng: np.random.Generator) -> Asked:
    kinds: tuple[str, ...] = COUNTED
    if rng.random() < 0.8:  # mostly of what is there, or nearly all answers would be 'none'
        kinds = tuple(kind for kind in COUNTED if any(one.kind == kind and ahead(one) for one in view.clear))
    if not kinds:
        return
    kind = _pick(kinds, rng)
    mine = [one for one in view.possible if one.kind == kind and perhaps_ahead(one)]
    if not all(one.clear and ahead(one) for one in mine):
        return
    text = _pick(("How many {} are ahead of us?", "How many {} can be seen ahead?"), rng)
    answer = NUMBERS[min(len(mine), len(NUMBERS) - 1)]
    yield "count", text.format(plural(noun(kind))), answer, tuple(one.track for one in mine)


def _colour(view: View, rng: np.random.Generator) -> Asked:
    known = [(one, view.reference(one), visible_color(view.around, one)) for one in view.clear]
    named = [(one, words, color) for one, words, color in known if words and color]
    if named:
        one, words, color = _pick(named, rng)
        text = _pick(("What colour is {}?", "Which colour does {} have?"), rng)
        yield "colour", text.format(words), color, (one.track,)


def _position(view: View, rng: np.random.Generator) -> Asked:
    kinds = [one.kind for one in view.possible]
    alone = [one for one in view.clear if kinds.count(one.kind) == 1 and side_of(one) is not None]
    if alone:
        one = _pick(alone, rng)
        text = _pick(("Where is the {}?", "On which side of us is the {}?"), rng)
        yield "position", text.format(noun(one.kind)), str(side_of(one)), (one.track,)


def _distance(view: View, rng: np.random.Generator) -> Asked:
    chosen = _referred(view, rng, (*ASKED,))
    if chosen is None or any(abs(chosen[0].gap_m - edge) < 1.0 for edge, _ in BANDS):
        return
    one, words = chosen
    band = next((name for edge, name in BANDS if one.gap_m < edge), FAR)
    yield "distance", _pick(("How far away is {}?", "How far is it to {}?"), rng).format(words), band, (one.track,)


def _state(view: View, rng: np.random.Generator) -> Asked:
    chosen = _referred(view, rng, ("pedestrian", *VEHICLES))
    if chosen is None or 0.1 < chosen[0].speed_mps < 0.8:
        return
    one, words = chosen
    told, other = ("moving", "standing still") if one.moves else ("standing still", "moving")
    if one.moves and one.kind not in ("pedestrian", "cyclist") and rng.random() < 0.6 and abs(one.heading_rad) < 1.0:
        told, other = ("braking", "driving without braking") if one.braking else ("driving without braking", "braking")
        if one.x_m < 0:
            return  # its brake lights are on the other side
    truth = bool(rng.random() < 0.5)
    yield "state", f"Is {words} {told if truth else other}?", "yes" if truth else "no", (one.track,)


def _indicator(view: View, rng: np.random.Generator) -> Asked:
    chosen = _referred(view, rng, ("car", "van", "truck", "bus"))
    if chosen is None or chosen[0].gap_m > 30.0:
        return
    one, words = chosen
    if one.indicator == OFF and rng.random() < 0.85:
        return  # most do not indicate; asked seldom enough that the answer stays open
    yield "indicator", f"Which way does {words} indicate?", INDICATES[one.indicator], (one.track,)


def _light(view: View, rng: np.random.Generator) -> Asked:
    mine = view.around.signals_ahead(view.frame)
    states = {int(view.around.scene.signal_states[view.frame, number]) for number in mine}
    if len(states) == 1:
        text = _pick(("What does our traffic light show?", "What colour is the traffic light ahead of us?"), rng)
        yield "light", text, SIGNAL_NAMES[states.pop()], tuple(f"signal-{number}" for number in mine)


def _next(view: View, rng: np.random.Generator) -> Asked:
    moves = next_moves(view.around.scene, view.frame)
    if moves is None:
        return
    pace, way = moves
    text = _pick(("What will our driver do with the speed", "How will our driver change the speed"), rng)
    yield "next_pace", f"{text} in the next 2 seconds?", pace, ()
    text = _pick(("Which way will our driver steer", "Where will our driver drive"), rng)
    yield "next_way", f"{text} in the next 2 seconds?", way, ()


def _why(view: View, rng: np.random.Generator) -> Asked:
    found = reason(view.around, view.frame)
    if found is None:
        return
    doing, why, track = found
    tracks = (track,) if track else ()
    yield "why", f"Why {doing}?", why, tracks
    truth = bool(rng.random() < 0.5)
    told = why if truth else _pick([other for other in WHY.values() if other != why], rng)
    yield "because", f"{doing[0].upper()}{doing[1:]} {told}?", "yes" if truth else "no", tracks


KINDS_OF_QUESTION: tuple[Callable[[View, np.random.Generator], Asked], ...] = (
    _existence,
    _painted,
    _count,
    _colour,
    _position,
    _distance,
    _state,
    _indicator,
    _light,
    _next,
    _why,
)
