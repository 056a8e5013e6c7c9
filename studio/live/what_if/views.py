"""What is new to a visitor of What if, and the waiting that comes before each piece of work."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import UInt8

from studio.live.imagine.imagining import Opening
from studio.live.what_if.answers import Answer
from studio.web.turns import Ticket
from worldmodel.geometry import Array, Rig


@dataclass(frozen=True, eq=False, kw_only=True)
class WhatIfView:
    """What is new to a visitor; what is None or empty stays as it is.

    Attributes:
        status: A sentence.
        share: Of the work done, 0 to 1.
        opening: A new film begins.
        rig: The cameras at the size that is shown; with the opening.
        frames: Pictures to append, by the name of their track.
        complete: Tracks that have no further frames.
        now: The newest pictures after the change at the size that is shown, with the plans on the road once they are there.
        birds_eye: As the component `birds_eye` takes it.
        answer: How the plan moved.
        told: What to know before trusting it.
        finished: Whether nothing follows.
    """

    status: str | None = None
    share: float | None = None
    opening: Opening | None = None
    rig: Rig | None = None
    frames: Mapping[str, UInt8[Array, "n 3 h w"]] = field(default_factory=dict)
    complete: tuple[str, ...] = ()
    now: UInt8[Array, "camera 3 h w"] | None = None
    birds_eye: dict[str, Any] | None = None
    answer: Answer | None = None
    told: tuple[str, ...] | None = None
    finished: bool = False


def turn(
    draw: Callable[[], Ticket], stopped: Callable[[], bool], work: Callable[[], None], doing: str | None
) -> Iterator[WhatIfView]:
    """Wait for the model, then do one piece of work with it; nothing is done once `stopped()`.

    Args:
        doing: Shown when it is our turn.
    """
    ticket = draw()
    try:
        for ahead in ticket.waiting(stopped):
            yield WhatIfView(status=f"Waiting for the model: {ahead} before you …")
        if doing is not None and not stopped():
            yield WhatIfView(status=doing)
        if not stopped():
            work()
    finally:
        ticket.leave()


def time_left(share: float, spent_s: float) -> str:
    """What to add to a status: how long the rest takes, judged by the share that is done; '' while nobody knows."""
    left_s = spent_s / share * (1 - share) if 0 < share < 1 else 0.0
    return f" · about {left_s:.0f} s left" if left_s >= 1 else ""
