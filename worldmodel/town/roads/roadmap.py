"""What a piece of road network is to the rest of the town: lanes to draw, paths to drive, places to wait."""

from dataclasses import dataclass, field

from worldmodel.town.roads.paths import Path
from worldmodel.town.scene import AMBER, GREEN, RED, Crosswalk, Lane, Signal, StopLine

PARKING_M = 2.3
SHOULDER_M = 2.0  # of highways


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A place on a route where one may have to wait.

    Attributes:
        s_m: Of the stop line, metres along the route.
        kind: 'signal', 'stop' (stands first, then as 'yield'), 'yield' (lets everybody pass who has no such gate ahead of
            the place where they meet) or 'crosswalk' (lets people pass who walk on it or step onto it).
        number: Of the signal or crosswalk on the stage; -1 for the others.
    """

    s_m: float
    kind: str
    number: int = -1


@dataclass(frozen=True, kw_only=True)
class Programme:
    """What the signals of one crossing show: groups take turns, each green, then amber, then all red for a moment.

    Attributes:
        groups: Group of each signal.
        green_s, amber_s, clear_s: Durations of a turn's three parts.
        offset_s: Where in the cycle the scene starts.
    """

    groups: tuple[int, ...]
    green_s: float = 10.0
    amber_s: float = 3.0
    clear_s: float = 2.0
    offset_s: float = 0.0

    def states(self, time_s: float) -> tuple[int, ...]:
        """RED, AMBER or GREEN of every signal."""
        turn = self.green_s + self.amber_s + self.clear_s
        count = max(self.groups, default=0) + 1
        place = (time_s + self.offset_s) % (turn * count)
        group, within = int(place // turn), place % turn
        shown = GREEN if within < self.green_s else AMBER if within < self.green_s + self.amber_s else RED
        return tuple(shown if mine == group else RED for mine in self.groups)


@dataclass(frozen=True, eq=False, kw_only=True)
class RoadMap:
    """A piece of road network around the ego.

    Attributes:
        lanes: For the stage.
        routes: Paths to drive, by name; 'ego' is the ego's.
        start_s: Where the ego starts on its route, metres.
        manoeuvre: What the route asks for: 'follow', 'left', 'right', 'straight', 'exit 1' ... 'exit 3' (of a roundabout),
            'merge' (from a ramp onto a highway) or 'exit' (leave a highway).
        done_s: Where on its route the manoeuvre is over, metres; the start for 'follow'.
        turns: All manoeuvres along the ego's route with where each is over, in order; empty for 'follow'.
        parking: Whether parking strips lie all along the driving lanes, or as far as `strips` says.
        strips: Stretches (from, to) of routes that have a parking strip to their right, where there are not all along.
        width_m: Width of a driving lane.
        gates: Where one may have to wait, by route; a route without gates may be missing.
        ranks: Which routes go first where they cross others: the higher; 0 for a route that is missing.
        neighbours: For routes with a parallel lane to change into: names of the routes to the left and to the right ('' none).
        changes: Stretch (from, to) of a route on which its lane may be left for a neighbour, metres; all of it if missing.
            After it the route itself moves over into the neighbour to the left.
        crosswalks, stop_lines, signals: For the stage.
        programme: Of the signals; None where there are none.
        core: World x, y and radius of the crossing or roundabout where nobody may start or stand; None without one.
        rural: Whether the road leads through fields: no pavement, few houses.
        hides: Houses (x, y, yaw, length, width) that must stand there, so that they hide what is behind a bend.
        hidden_s: Stretch (from, to) of the ego's route that houses hide until the bend is reached.
    """

    lanes: tuple[Lane, ...]
    routes: dict[str, Path]
    start_s: float
    manoeuvre: str = "follow"
    done_s: float = 0.0
    turns: tuple[tuple[str, float], ...] = ()
    parking: bool = False
    strips: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    width_m: float = 4.0
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)
    neighbours: dict[str, tuple[str, str]] = field(default_factory=dict)
    changes: dict[str, tuple[float, float]] = field(default_factory=dict)
    crosswalks: tuple[Crosswalk, ...] = ()
    stop_lines: tuple[StopLine, ...] = ()
    signals: tuple[Signal, ...] = ()
    programme: Programme | None = None
    core: tuple[float, float, float] | None = None
    rural: bool = False
    hides: tuple[tuple[float, float, float, float, float], ...] = ()
    hidden_s: tuple[float, float] | None = None
