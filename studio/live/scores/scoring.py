"""A comparison while somebody watches: where it stands, and what it gave; the numbers are `detour score`'s own."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from studio.live.polite import Relay, Stopped
from studio.live.scores.examples import commands_before, make_example, waiting
from studio.live.scores.pairs import Pairing, first_pair
from studio.live.scores.sides import place_of
from studio.live.scores.wishes import ScoreWish, command_of
from studio.live.tasks.background import Reporter, Step, steps_of
from studio.scoring import TOKENIZER, ScoreRequest, run_score
from studio.web.site import Site
from studio.web.turns import Turns

if TYPE_CHECKING:
    from eval_fid_fvd.results import Scores


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a comparison gave.

    Attributes:
        scores: All numbers with their cards.
        seconds: From the click to here.
        pair: Frames of both sides to look at; None where they cannot be set beside each other.
    """

    scores: "Scores"
    seconds: float
    pair: Pairing | None


def scoring(site: Site, session: str, wish: ScoreWish, queue: Turns) -> Iterator[Step | Scored]:
    """Score, and say where it stands at least each second; the last value is the result.

    Args:
        queue: Those who score wait here: a clip at a time, so that all advance together.
    Raises:
        Stopped: when the visitor asked for it or left; the work ends before a network's next look at a clip.
        DetourError: if a side, a network or the way of counting cannot be used, or the sides are unlike.
    """
    signal, left = site.visitors.signal(session), threading.Event()
    started = perf_counter()

    def stopped() -> bool:
        return signal.is_set() or left.is_set()

    try:
        scores, pair = yield from steps_of(lambda report: _scored(site, session, wish, queue, report, stopped))
    finally:
        left.set()
    yield Scored(scores=scores, seconds=perf_counter() - started, pair=pair)


def command(site: Site, session: str, wish: ScoreWish) -> str:
    """The `detour` commands that score the same.

    Raises:
        DetourError: if the sides have no place, or a number is out of range.
    """
    if wish.example is None:
        return command_of(_request(site, wish, *_places(site, session, wish)))
    sides = ("imagined", None) if wish.example.endswith("imagined") else ("blurred", "unchanged")
    return f"{commands_before(wish.example, site.clips)}\n{command_of(_request(site, wish, *sides))}"


def _places(site: Site, session: str, wish: ScoreWish) -> tuple[str, str | None]:
    return place_of(site, session, wish.a), place_of(site, session, wish.b) if wish.b.strip() else None


def _request(site: Site, wish: ScoreWish, a: str, b: str | None) -> ScoreRequest:
    return wish.request(a, b, Path(site.model.folder), any_folder=site.any_folder)


def _scored(
    site: Site, session: str, wish: ScoreWish, queue: Turns, report: Reporter, stopped: Callable[[], bool]
) -> "tuple[Scores, Pairing | None]":
    if wish.example is not None:
        _request(site, wish, "a", "b")  # what cannot be counted is said before anything is made
        a, b = make_example(wish.example, site, session, report, stopped)
    else:
        a, b = _places(site, session, wish)
    request = _request(site, wish, a, b)
    if request.features == TOKENIZER:
        report("Loading the model")
    model = site.model.get() if request.features == TOKENIZER else None

    def on_look() -> None:
        if stopped():
            raise Stopped

    with Relay(queue, session, stopped, lambda ahead: report(waiting(ahead))) as relay:

        def on_clip(done: int, count: int) -> None:
            if done == count:
                report("Working out intervals")
                return
            relay.pass_on()
            report("Scoring clip", done, count)

        report("Scoring clip")
        scores = run_score(request, model=model, on_clip=on_clip, on_look=on_look)
    return scores, first_pair(request)
