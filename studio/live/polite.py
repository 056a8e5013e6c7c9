"""The shared model for work of several chunks: taken for one chunk or one plan at a time, given on in between."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from studio.web.turns import Ticket, Turns

if TYPE_CHECKING:
    from worldmodel.model import WorldModel


class Stopped(Exception):
    """The visitor asked to stop, or left; nothing went wrong."""


class Relay(AbstractContextManager["Relay"]):
    """A turn that is given on again and again: after each `pass_on` everybody who waited has had theirs.

    Args:
        turns: The queue.
        visitor: Whose work it is.
        stopped: Whether it shall end; asked while waiting and at every `pass_on`.
        on_wait: Called with the number of those who are before.

    Raises:
        Stopped: from `pass_on` and on entering, when the work shall end.
        Busy: when too many wait.
    """

    def __init__(
        self,
        turns: Turns,
        visitor: str,
        stopped: Callable[[], bool],
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._turns, self._visitor, self._stopped, self._on_wait = turns, visitor, stopped, on_wait
        self._ticket: Ticket | None = None

    def __enter__(self) -> "Relay":
        if self._stopped():
            raise Stopped
        ticket = self._ticket = self._turns.draw(self._visitor)
        for ahead in ticket.waiting(self._stopped):
            self._on_wait(ahead)
        if not ticket.ready():
            ticket.leave()
            raise Stopped
        return self

    def pass_on(self) -> None:
        """Let others have their turn, then go on."""
        assert self._ticket is not None
        self._ticket.leave()
        self.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticket is not None:
            self._ticket.leave()


class PoliteModel:
    """Answers like the world model, but takes a turn for each plan and each imagined chunk; the rest needs none.

    Args:
        world: The shared model.
        relay: Makes a new relay for each answer.
    """

    def __init__(self, world: "WorldModel", relay: Callable[[], Relay]) -> None:
        self._world, self._relay = world, relay

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def plan(self, *args: Any, **asked: Any) -> Any:
        """`WorldModel.plan` in one turn."""
        with self._relay():
            return self._world.plan(*args, **asked)

    def imagine(self, *args: Any, **asked: Any) -> Any:
        """`WorldModel.imagine`, a turn for each chunk."""
        return self._by_chunk(self._world.imagine, args, asked)

    def go_on(self, *args: Any, **asked: Any) -> Any:
        """`WorldModel.go_on`, a turn for each chunk."""
        return self._by_chunk(self._world.go_on, args, asked)

    def _by_chunk(self, answer: Callable[..., Any], args: tuple[Any, ...], asked: dict[str, Any]) -> Any:
        told = asked.pop("on_chunk", None)
        with self._relay() as relay:

            def on_chunk(*chunk: Any) -> None:
                if told is not None:
                    told(*chunk)
                if chunk[0] + 1 < chunk[1]:
                    relay.pass_on()

            return answer(*args, on_chunk=on_chunk, **asked)


def polite(
    world: "WorldModel",
    turns: Turns,
    visitor: str,
    stopped: Callable[[], bool],
    on_wait: Callable[[int], None] = lambda _: None,
) -> "WorldModel":
    """The model for one visitor's work; stands wherever a `WorldModel` is asked for plans and futures."""
    return cast("WorldModel", PoliteModel(world, lambda: Relay(turns, visitor, stopped, on_wait)))
