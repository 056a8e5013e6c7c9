"""A small grammar of instructions: verb phrase, place, order and politeness make every form in which a manoeuvre is asked.

A form belongs to training or to testing for good. Kept for testing are the last verb phrase of every manoeuvre, some
politeness forms, and one in seven combinations of parts that are otherwise heard in training (never a plain one).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from worldmodel.errors import UnknownName

SPLITS = ("train", "test")
ORDINALS = ("first", "second", "third", "fourth")
SORTS = ("combination", "politeness", "verb")  # why a form is kept for testing


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The parts from which a manoeuvre is said.

    Attributes:
        verbs: Verb phrases in the imperative; the last one is kept for testing.
        places: Phrases of place or time that go before or after; '' for none.
    """

    verbs: tuple[str, ...]
    places: tuple[str, ...]


POLITE: tuple[str, ...] = (
    "{}",
    "please {}",
    "{}, please",
    "could you {}?",
    "can you {}, please?",
    "you should {}",
    "you need to {}",
    "I would like you to {}",
    "let's {}",
    "{}, thank you",
    "we want to {}",
)
POLITE_TEST: tuple[str, ...] = ("would you {}?", "kindly {}", "I want you to {}", "be so kind as to {}")

AT_CROSSING = ("at the crossing", "at the intersection", "at the junction", "up ahead", "")
ON_ROAD = ("from here", "for now", "until further notice", "for the time being", "")
AT_ROUNDABOUT = ("at the roundabout", "on the roundabout", "at the traffic circle", "when we get to the roundabout")
ON_MOTORWAY = ("up ahead", "ahead of us", "when you can", "")

WORDINGS: dict[str, Wording] = {
    "follow": Wording(
        verbs=(
            "follow the road",
            "keep going along this road",
            "stay on this road",
            "carry on along the road",
            "continue along the road",
            "just drive on",
            "go wherever this road goes",
        ),
        places=ON_ROAD,
    ),
    "keep": Wording(
        verbs=(
            "keep your lane",
            "stay in your lane",
            "stay in this lane",
            "remain in your lane",
            "remain in this lane",
        ),
        places=ON_ROAD,
    ),
    "left": Wording(
        verbs=(
            "turn left",
            "take a left",
            "go left",
            "make a left turn",
            "turn off to the left",
            "take the road on the left",
        ),
        places=AT_CROSSING,
    ),
    "right": Wording(
        verbs=(
            "turn right",
            "take a right",
            "go right",
            "make a right turn",
            "turn off to the right",
            "take the road on the right",
        ),
        places=AT_CROSSING,
    ),
    "straight": Wording(
        verbs=(
            "go straight on",
            "keep going straight",
            "carry straight on",
            "drive straight across",
            "head straight on",
            "go on without turning",
        ),
        places=AT_CROSSING,
    ),
    "merge": Wording(
        verbs=(
            "merge onto the motorway",
            "join the motorway",
            "merge into the traffic on the motorway",
            "get onto the motorway",
            "move over from the slip road onto the motorway",
        ),
        places=ON_MOTORWAY,
    ),
    "exit": Wording(
        verbs=(
            "leave the motorway",
            "take the exit",
            "get off the motorway",
            "take the slip road off the motorway",
            "exit the motorway",
        ),
        places=ON_MOTORWAY,
    ),
    "block": Wording(
        verbs=("drive around the block", "go round the block", "circle the block", "keep driving round the block"),
        places=("from here", "for now", "for a while", "until I say stop", ""),
    ),
}
for _number, _ordinal in enumerate(ORDINALS, start=1):
    WORDINGS[f"exit {_number}"] = Wording(
        verbs=(
            f"take the {_ordinal} exit",
            f"leave at the {_ordinal} exit",
            f"go off at the {_ordinal} exit",
            f"use exit number {_number}",
            f"turn off at the {_ordinal} exit",
        ),
        places=(*AT_ROUNDABOUT, ""),
    )
    for _laps, (_once, _rounds) in enumerate((("once", "one full round"), ("twice", "two full rounds")), start=1):
        WORDINGS[f"round {_laps} exit {_number}"] = Wording(
            verbs=(
                f"drive {_rounds} and take the {_ordinal} exit",
                f"go all the way round {_once} and leave at the {_ordinal} exit",
                f"make {_rounds} and then go off at the {_ordinal} exit",
                f"circle {_once} and use exit number {_number}",
                f"go round {_once} and only then turn off at the {_ordinal} exit",
            ),
            places=(*AT_ROUNDABOUT, ""),
        )


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to say a manoeuvre; `kept` is '' for training, else why it is kept for testing, one of SORTS."""

    text: str
    kept: str


@cache
def forms(manoeuvre: str) -> tuple[Form, ...]:
    """Every way to say a manoeuvre, each once.

    Raises:
        UnknownName: for a manoeuvre without wording.
    """
    if manoeuvre not in WORDINGS:
        raise UnknownName("manoeuvre", manoeuvre, WORDINGS)
    wording = WORDINGS[manoeuvre]
    found: dict[str, Form] = {}
    for v, verb in enumerate(wording.verbs):
        for p, place in enumerate(wording.places):
            for q, polite in enumerate((*POLITE, *POLITE_TEST)):
                for order, join in enumerate(_orders(place)):
                    text = join(verb, polite)
                    last = v == len(wording.verbs) - 1
                    kept = "verb" if last else "politeness" if polite in POLITE_TEST else ""
                    if not kept and q > 0 and (v + 2 * p + 3 * q + 5 * order) % 7 == 0:
                        kept = "combination"
                    found.setdefault(text, Form(text=text, kept=kept))
    return tuple(found.values())


def _orders(place: str) -> tuple[Callable[[str, str], str], ...]:
    """How a verb phrase, its place and its politeness are put in order."""

    def after(verb: str, polite: str) -> str:
        return polite.format(f"{verb} {place}".strip())

    def before(verb: str, polite: str) -> str:
        return f"{place}, {polite.format(verb)}"

    leads = place.split(" ")[0] in ("at", "on", "up", "from", "for", "until", "when")
    return (after, before) if leads else (after,)


def texts(manoeuvre: str, split: str = "train") -> tuple[str, ...]:
    """The forms of a split.

    Raises:
        UnknownName: for a manoeuvre without wording, or another split than 'train' and 'test'.
    """
    if split not in SPLITS:
        raise UnknownName("split of texts", split, SPLITS)
    return tuple(form.text for form in forms(manoeuvre) if (form.kept == "") == (split == "train"))


def phrase(manoeuvre: str, rng: np.random.Generator, split: str = "train") -> str:
    """One of the ways to say it; in the test split new verbs, new politeness and new combinations come equally often.

    Raises:
        UnknownName: as `texts`.
    """
    if split == "train":
        return _one_of(texts(manoeuvre, split), rng)
    texts(manoeuvre, split)
    sort = SORTS[int(rng.integers(len(SORTS)))]
    return _one_of(tuple(form.text for form in forms(manoeuvre) if form.kept == sort), rng)


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
