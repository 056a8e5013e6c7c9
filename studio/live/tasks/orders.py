"""What is asked of the background, and how it stands: orders of units, each of which is one `detour` command."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from studio.live.tasks.processes import Count

State = Literal["waiting", "running", "stopping", "stopped", "failed", "done"]
ENDED: tuple[State, ...] = ("stopped", "failed", "done")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One command.

    Attributes:
        label: What tells it from the others, such as 'seed 3'.
        words: What stands after `detour`.
        out: What it writes; None for a command that only prints.
    """

    label: str
    words: tuple[str, ...]
    out: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done.

    Attributes:
        kind: 'study', 'imagine', ...
        title: For people.
        units: Done one after the other; one that fails does not keep the others from being done.
        keeps: Whether outputs stay when the task is forgotten.
        limit_s: Longest time for a unit.
        gentle: Whether a first stop only asks the command to end, which finishes what it is at; a second one ends it.
        parts: What the command makes, where it tells of each: names for people by key, in order.
    """

    kind: str
    title: str
    units: tuple[Unit, ...]
    keeps: bool = False
    limit_s: float = math.inf
    gentle: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnitView:
    """How a unit stands; `reason` says why it failed, `printed` is the result of one that is done."""

    unit: Unit
    state: State
    reason: str = ""
    printed: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """How a task stands.

    Attributes:
        id: Its name among the visitor's tasks.
        ahead: How many are before it while it waits.
        count: How far the present unit is; None before it says so.
        left_s: Seconds left; None while unknown.
        seconds: That it has run.
        log: Its last lines.
    """

    id: str
    order: Order
    state: State
    units: tuple[UnitView, ...]
    ahead: int = 0
    count: Count | None = None
    left_s: float | None = None
    seconds: float = 0.0
    log: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing goes on any more."""
        return self.state in ENDED

    @property
    def done(self) -> int:
        """How many units are done or failed."""
        return sum(unit.state in ("done", "failed") for unit in self.units)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        part = 0.0 if self.count is None or self.ended else self.count.done / self.count.total
        return min(1.0, (self.done + part) / len(self.units))

    @property
    def reason(self) -> str:
        """Why it failed; '' when it did not."""
        return next((unit.reason for unit in self.units if unit.state == "failed"), "")
