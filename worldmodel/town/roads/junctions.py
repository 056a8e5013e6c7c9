"""Crossings of two streets: lanes, priority, signals, crosswalks.

The ego comes from arm 0; arms 1, 2 and 3 lie to its left, ahead and to its right.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.roads.network import Chain, Look, Network, Pose, direction, mirrored_pose, to_right
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import Programme, RoadMap
from worldmodel.town.roads.waits import CROSSWALK_M, LINE_GAP_M, Wait, gates_of, stop_lines
from worldmodel.town.scene import Crosswalk, Signal

CORNER_M = 9.0  # radius of a right turn, in the middle of its lane
ZEBRA_GAP_M = 0.7  # from the crossing to a crosswalk
BARE_M = 1.5  # before a crossing the line in the middle ends
KERB_POLE_M = 0.9  # a signal's pole stands this far behind the kerb
ARMS = {"left": 1, "straight": 2, "right": 3}


@dataclass(frozen=True, eq=False, kw_only=True)
class Junction:
    """Where arms meet, in highway-env's frame.

    Attributes:
        name: Begins the names of its nodes: '<name>in0' is the end of the lane that comes in from arm 0, '<name>out0' is
            the beginning of the lane that leaves by it.
        centre: Shape [2].
        heading: Of the traffic that comes in from arm 0.
        arms: Those that exist.
        width_m: Of a lane.
    """

    name: str
    centre: Array
    heading: float
    arms: tuple[int, ...]
    width_m: float

    @property
    def box_m(self) -> float:
        """From the centre to where the corners begin."""
        return CORNER_M + self.width_m / 2

    def angle(self, arm: int) -> float:
        """Heading of the traffic that comes in from an arm."""
        return self.heading + arm * np.pi / 2

    def point(self, arm: int, before_m: float, right_m: float) -> Array:
        """A place `before_m` before the centre and `right_m` to the right, as seen by who comes in from an arm."""
        angle = self.angle(arm)
        return self.centre - before_m * direction(angle) + right_m * to_right(angle)

    def arriving(self, arm: int, before_m: float) -> Pose:
        """On the lane that comes in from an arm, so far before the centre; in our frame."""
        return mirrored_pose(self.point(arm, before_m, self.width_m / 2), self.angle(arm))

    def leaving(self, arm: int, behind_m: float) -> Pose:
        """On the lane that leaves by an arm, so far behind the centre; in our frame."""
        return mirrored_pose(self.point(arm, behind_m, -self.width_m / 2), self.angle(arm) + np.pi)

    def reach(self, pair: tuple[int, int]) -> float:
        """Length of the way through, from where the arm's lane ends to where the next one begins."""
        turn = (pair[1] - pair[0]) % 4
        radius = {1: CORNER_M + self.width_m, 3: CORNER_M}.get(turn)
        return 2 * self.box_m if radius is None else radius * np.pi / 2


def add_junction(network: Network, junction: Junction) -> None:
    """The lanes inside a crossing, from every arm to every other."""
    for arm in junction.arms:
        start = junction.point(arm, junction.box_m, junction.width_m / 2)
        for other in junction.arms:
            turn = (other - arm) % 4
            if turn == 0:
                continue
            if turn == 1:
                segment, edge = ("arc", CORNER_M + junction.width_m, -np.pi / 2), False
            elif turn == 2:
                segment, edge = ("straight", 2 * junction.box_m, 0.0), (arm + 3) % 4 not in junction.arms
            else:
                segment, edge = ("arc", CORNER_M, np.pi / 2), True
            network.strand(
                f"{junction.name}{arm}{other}",
                Chain(start=start, heading=junction.angle(arm), segments=[segment]),
                Look(width_m=junction.width_m, right="edge" if edge else "none"),
                ends=(f"{junction.name}in{arm}", f"{junction.name}out{other}"),
            )


def add_arm(network: Network, junction: Junction, arm: int, reach_m: float, bare_m: float = BARE_M) -> None:
    """The lanes of an arm that leads out of the scene: from '<name>far' to 'in', and from 'out' to '<name>gone'.

    Args:
        bare_m: How far before the crossing the line in the middle ends.
    """
    name, width = junction.name, junction.width_m
    start, angle = junction.point(arm, junction.box_m + reach_m, 0.0), junction.angle(arm)
    chain = Chain(start=start, heading=angle, segments=[("straight", reach_m, 0.0)])
    lined = Chain(start=start, heading=angle, segments=[("straight", reach_m - bare_m, 0.0)])
    bare = Chain(start=lined.end()[0], heading=angle, segments=[("straight", bare_m, 0.0)])
    coming, plain = Look(width_m=width, left="striped", right="edge"), Look(width_m=width, right="edge")
    lateral = width / 2
    network.strand(f"{name}c{arm}", lined, coming, lateral_m=lateral, ends=(f"{name}far{arm}", f"{name}line{arm}"))
    network.strand(f"{name}l{arm}", bare, plain, lateral_m=lateral, ends=(f"{name}line{arm}", f"{name}in{arm}"))
    ends = (f"{name}out{arm}", f"{name}gone{arm}")
    network.strand(f"{name}g{arm}", chain, plain, lateral_m=-lateral, reverse=True, ends=ends)


def ways_through(network: Network, junction: Junction) -> dict[str, Path]:
    """Routes between all arms, 'from-to'."""
    name = junction.name
    return {
        f"{arm}-{other}": network.path(
            [f"{name}{node}" for node in (f"far{arm}", f"line{arm}", f"in{arm}", f"out{other}", f"gone{other}")]
        )
        for arm in junction.arms
        for other in junction.arms
        if arm != other
    }


# -- who goes first ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Control:
    """Who goes first at a crossing, and what is painted there.

    Attributes:
        kind: 'equal' (nobody is before others), 'yield' or 'stop' (what the lower street has to do) or 'signals'.
        lower: Arms of the lower street.
        zebras: Arms with a crosswalk.
        programme_s: Green time and place in the cycle at the start, of signals.
    """

    kind: str = "equal"
    lower: tuple[int, ...] = ()
    zebras: tuple[int, ...] = ()
    programme_s: tuple[float, float] = (9.0, 0.0)


def line_m(junction: Junction, zebra: bool) -> float:
    """From the centre to an arm's stop line."""
    return junction.box_m + (ZEBRA_GAP_M + CROSSWALK_M + LINE_GAP_M if zebra else ZEBRA_GAP_M)


def crosswalks(junction: Junction, zebras: tuple[int, ...]) -> tuple[Crosswalk, ...]:
    """Crosswalks on some arms, from kerb to kerb."""
    found = []
    for arm in zebras:
        middle = junction.box_m + ZEBRA_GAP_M + CROSSWALK_M / 2
        x, y, yaw = mirrored_pose(junction.point(arm, middle, 0.0), junction.angle(arm))
        found.append(Crosswalk(x_m=x, y_m=y, yaw_rad=yaw, length_m=CROSSWALK_M, width_m=2 * junction.width_m))
    return tuple(found)


def waits_at(junction: Junction, control: Control) -> list[Wait]:
    """Where one waits: before signals, signs and crosswalks, on the way in and on the way out."""
    found, width = [], junction.width_m
    for number, arm in enumerate(junction.arms):
        zebra = arm in control.zebras
        pose = junction.arriving(arm, line_m(junction, zebra))
        if control.kind == "signals":
            found.append(Wait(pose=pose, kind="signal", number=number, line="solid", width_m=width))
        elif arm in control.lower:
            line = "solid" if control.kind == "stop" else "teeth"
            found.append(Wait(pose=pose, kind=control.kind, line=line, width_m=width))
    for number, arm in enumerate(control.zebras):
        before = junction.arriving(arm, line_m(junction, True))
        behind = junction.leaving(arm, junction.box_m + ZEBRA_GAP_M - 0.5)
        found += [Wait(pose=pose, kind="crosswalk", number=number) for pose in (before, behind)]
    return found


def signals_at(junction: Junction, zebras: tuple[int, ...]) -> tuple[Signal, ...]:
    """Traffic lights: for each arm one beside its stop line, then for each arm one on the far side of the crossing."""
    near, far = [], []
    for arm in junction.arms:
        angle, kerb = junction.angle(arm), junction.width_m + KERB_POLE_M
        x, y, yaw = mirrored_pose(junction.point(arm, line_m(junction, arm in zebras) - 0.3, kerb), angle)
        near.append(Signal(x_m=x, y_m=y, yaw_rad=yaw))
        if (arm + 2) % 4 in junction.arms:
            place = junction.point(arm, -junction.box_m - 0.2, kerb)
        else:
            place = junction.point(arm, -kerb, junction.width_m / 2)
        x, y, yaw = mirrored_pose(place, angle)
        far.append(Signal(x_m=x, y_m=y, yaw_rad=yaw))
    return (*near, *far)


def programme_of(junction: Junction, control: Control) -> Programme | None:
    """Opposite arms share their green; None without signals."""
    if control.kind != "signals":
        return None
    green, offset = control.programme_s
    return Programme(groups=tuple(arm % 2 for arm in junction.arms) * 2, green_s=green, offset_s=offset)


def ranks_of(junction: Junction, control: Control) -> dict[str, float]:
    """Who turns left lets those pass who come the other way; the lower street lets the main one pass."""
    if control.kind == "equal":
        return {}
    return {
        f"{arm}-{other}": (0.0 if (other - arm) % 4 == 1 else 1.0) + (0.0 if arm in control.lower else 2.0)
        for arm in junction.arms
        for other in junction.arms
        if arm != other
    }


# -- a whole scene's crossing -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Crossroads:
    """What a crossing of a scene is like.

    Attributes:
        turn: What the ego does: 'left', 'right' or 'straight'.
        approach_m: From the ego's start to the crossing.
        reach_m: Length of the arms.
        missing: An arm that does not exist (a T-junction), or None.
    """

    heading: float
    turn: str
    approach_m: float
    reach_m: float
    missing: int | None
    width_m: float
    control: Control


def intersection(plan: Crossroads) -> RoadMap:
    """A crossing with or without signals."""
    arms = tuple(arm for arm in range(4) if arm != plan.missing)
    centre = np.zeros(2)
    junction = Junction(name="", centre=centre, heading=plan.heading, arms=arms, width_m=plan.width_m)
    network = Network()
    add_junction(network, junction)
    for arm in arms:
        bare_m = max(line_m(junction, arm in plan.control.zebras) - junction.box_m, BARE_M)
        add_arm(network, junction, arm, plan.reach_m, bare_m)
    routes = ways_through(network, junction)
    name = f"0-{ARMS[plan.turn]}"
    routes["ego"] = routes[name]
    control = plan.control
    waits = waits_at(junction, control)
    ranks = ranks_of(junction, control)
    done_s = plan.reach_m + junction.reach((0, ARMS[plan.turn])) + 3.0
    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=plan.reach_m - plan.approach_m,
        manoeuvre=plan.turn,
        done_s=done_s,
        turns=((plan.turn, done_s),),
        width_m=plan.width_m,
        gates=gates_of(routes, waits),
        ranks=ranks | ({"ego": ranks[name]} if name in ranks else {}),
        crosswalks=crosswalks(junction, control.zebras),
        stop_lines=stop_lines(waits),
        signals=signals_at(junction, control.zebras) if control.kind == "signals" else (),
        programme=programme_of(junction, control),
        core=(0.0, 0.0, junction.box_m + 1.0),
    )
