"""Roundabouts: one lane round an island, three or four arms; the ring goes first.

The ego comes from arm 0; the others are counted in the order in which one passes them, so arm 1 is the first exit.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.geometry import Array
from worldmodel.town.roads.network import Chain, Look, Network, Pose, direction, mirrored_pose, to_right
from worldmodel.town.roads.paths import Path
from worldmodel.town.roads.roadmap import PARKING_M, RoadMap
from worldmodel.town.roads.waits import CROSSWALK_M, LINE_GAP_M, Wait, gates_of, passes, stop_lines
from worldmodel.town.scene import Crosswalk

RING_WIDTH_M = 4.8
FLARE_M = 11.0  # radius of the ways in and out
YIELD_GAP_M = 1.0  # from the ring's edge to the line before it
BAYS_M = (6.0, 40.0)  # from where an arm ends to its parking bays and their end
ZEBRA_GAP_M = 0.5  # from where an arm ends to its crosswalk


@dataclass(frozen=True, eq=False, kw_only=True)
class Roundabout:
    """What a roundabout is like, in highway-env's frame.

    Attributes:
        heading: Of the traffic that comes in from arm 0.
        arms: Where they are: angles by which one has to drive round the ring from arm 0, increasing, the first 0.
        radius_m: Of the middle of the ring's lane.
        reach_m: Length of the arms.
        approach_m: From the ego's start to where its arm ends.
        exit: Which exit the ego takes, from 1; after `laps` full rounds.
        zebras: Arms with a crosswalk.
        bays: Whether there are parking bays on both sides of the arms, near the ring.
    """

    heading: float
    arms: tuple[float, ...]
    radius_m: float
    reach_m: float
    approach_m: float
    exit: int
    laps: int
    zebras: tuple[int, ...]
    bays: bool
    width_m: float

    @property
    def opening(self) -> tuple[float, float]:
        """(angle, distance): by how much a way in turns right, and how far before the centre it begins to do so."""
        aside = self.width_m / 2 + FLARE_M
        turn = np.arccos(aside / (self.radius_m + FLARE_M))
        return float(turn), float((self.radius_m + FLARE_M) * np.sin(turn))

    def angle(self, arm: int) -> float:
        """Heading of the traffic that comes in from an arm."""
        return self.heading - self.arms[arm]

    def point(self, arm: int, before_m: float, right_m: float) -> Array:
        """A place so far before the centre and to the right, as seen by who comes in from an arm; the centre is 0, 0."""
        return -before_m * direction(self.angle(arm)) + right_m * to_right(self.angle(arm))

    def ring(self, angle: float) -> tuple[Array, float]:
        """Place and heading on the ring, `angle` driven round it from arm 0."""
        outwards = self.heading + np.pi - angle
        return self.radius_m * direction(outwards), self.heading + np.pi / 2 - angle

    def mouth(self, arm: int) -> tuple[float, float]:
        """Where, driven round the ring, an arm's way out leaves it and its way in comes to it."""
        half = np.pi / 2 - self.opening[0]
        return self.arms[arm] - half, self.arms[arm] + half


def roundabout(plan: Roundabout) -> RoadMap:
    """A roundabout with gates at its entries; a route is missing where it would be a U-turn."""
    network = Network()
    for arm in range(len(plan.arms)):
        _add_arm(network, plan, arm)
        if plan.bays:
            _add_bays(network, plan, arm)
        _add_ring(network, plan, arm)
    count = len(plan.arms)
    routes = {f"{a}-{b}": network.path(_nodes(count, a, b, 0)) for a in range(count) for b in range(count) if a != b}
    routes["ego"] = ego = network.path(_nodes(count, 0, plan.exit, plan.laps))
    waits = _waits(plan)
    out = mirrored_pose(plan.point(plan.exit, plan.opening[1] + 3.0, -plan.width_m / 2), plan.angle(plan.exit) + np.pi)
    done_s = passes(ego, out)[-1]
    return RoadMap(
        lanes=network.lanes(),
        routes=routes,
        start_s=plan.reach_m - plan.approach_m,
        manoeuvre=f"exit {plan.exit}",
        done_s=done_s,
        turns=((f"exit {plan.exit}", done_s),),
        strips={name: _strips(plan, path) for name, path in routes.items()} if plan.bays else {},
        width_m=plan.width_m,
        gates=gates_of(routes, waits),
        crosswalks=_crosswalks(plan),
        stop_lines=stop_lines(waits),
        core=(0.0, 0.0, plan.radius_m + RING_WIDTH_M / 2 + 2.0),
    )


def _nodes(count: int, start: int, end: int, laps: int) -> list[str]:
    """Nodes from one arm to another after some full rounds."""
    passed = range(start + 1, start + (end - start) % count + laps * count)
    ring = [f"{kind}{arm % count}" for arm in passed for kind in ("leave", "enter")]
    return [f"far{start}", f"in{start}", f"enter{start}", *ring, f"leave{end}", f"out{end}", f"gone{end}"]


def _add_arm(network: Network, plan: Roundabout, arm: int) -> None:
    turn, before = plan.opening
    width, angle = plan.width_m, plan.angle(arm)
    chain = Chain(
        start=plan.point(arm, before + plan.reach_m, 0.0), heading=angle, segments=[("straight", plan.reach_m, 0.0)]
    )
    coming, going = Look(width_m=width, left="striped", right="edge"), Look(width_m=width, right="edge")
    network.strand(f"c{arm}", chain, coming, lateral_m=width / 2, ends=(f"far{arm}", f"in{arm}"))
    network.strand(f"g{arm}", chain, going, lateral_m=-width / 2, reverse=True, ends=(f"out{arm}", f"gone{arm}"))
    into = Chain(start=plan.point(arm, before, width / 2), heading=angle, segments=[("arc", FLARE_M, turn)])
    network.strand(f"i{arm}", into, going, ends=(f"in{arm}", f"enter{arm}"))
    point, heading = plan.ring(plan.mouth(arm)[0])
    outof = Chain(start=point, heading=heading, segments=[("arc", FLARE_M, turn)])
    network.strand(f"o{arm}", outof, going, ends=(f"leave{arm}", f"out{arm}"))


def _add_bays(network: Network, plan: Roundabout, arm: int) -> None:
    near, far = BAYS_M
    start = plan.point(arm, plan.opening[1] + far, 0.0)
    chain = Chain(start=start, heading=plan.angle(arm), segments=[("straight", far - near, 0.0)])
    kerb, lateral = Look(width_m=PARKING_M, right="edge"), plan.width_m + PARKING_M / 2
    network.strand(f"pc{arm}", chain, kerb, lateral_m=lateral)
    network.strand(f"pg{arm}", chain, kerb, lateral_m=-lateral, reverse=True)


def _strips(plan: Roundabout, path: Path) -> tuple[tuple[float, float], ...]:
    """Where a route has parking bays beside it."""
    (near, far), before = BAYS_M, plan.opening[1]
    found = []
    for arm in range(len(plan.arms)):
        angle, half = plan.angle(arm), plan.width_m / 2
        coming = mirrored_pose(plan.point(arm, before + far, half), angle)
        going = mirrored_pose(plan.point(arm, before + near, -half), angle + np.pi)
        found += [(s, s + far - near) for pose in (coming, going) for s in passes(path, pose)]
    return tuple(sorted(found))


def _add_ring(network: Network, plan: Roundabout, arm: int) -> None:
    """The ring before and behind an arm's mouth."""
    look = Look(width_m=RING_WIDTH_M, left="edge", right="edge")
    following = (arm + 1) % len(plan.arms)
    leave, enter = plan.mouth(arm)
    after = plan.mouth(following)[0] + (2 * np.pi if following == 0 else 0.0)
    pieces = ((f"leave{arm}", f"enter{arm}", leave, enter), (f"enter{arm}", f"leave{following}", enter, after))
    for first, last, start, end in pieces:
        point, heading = plan.ring(start)
        chain = Chain(start=point, heading=heading, segments=[("arc", plan.radius_m, start - end)])
        network.strand(f"ring-{first}", chain, look, ends=(first, last))


def _yield_pose(plan: Roundabout, arm: int) -> Pose:
    """Where an arm's way in comes close to the ring; in our frame."""
    turn, before = plan.opening
    apart, far = plan.radius_m + FLARE_M, plan.radius_m + RING_WIDTH_M / 2 + YIELD_GAP_M
    left = np.arccos((apart**2 + FLARE_M**2 - far**2) / (2 * FLARE_M * apart))
    heading = plan.angle(arm) + max(turn - float(left), 0.0)
    middle = plan.point(arm, before, plan.width_m / 2 + FLARE_M)
    return mirrored_pose(middle - FLARE_M * to_right(heading), heading)


def _waits(plan: Roundabout) -> list[Wait]:
    width, before = plan.width_m, plan.opening[1]
    found = [
        Wait(pose=_yield_pose(plan, arm), kind="yield", line="teeth", width_m=width) for arm in range(len(plan.arms))
    ]
    for number, arm in enumerate(plan.zebras):
        coming = plan.point(arm, before + ZEBRA_GAP_M + CROSSWALK_M + LINE_GAP_M, width / 2)
        going = plan.point(arm, before, -width / 2)
        angle = plan.angle(arm)
        poses = (mirrored_pose(coming, angle), mirrored_pose(going, angle + np.pi))
        found += [Wait(pose=pose, kind="crosswalk", number=number, width_m=width) for pose in poses]
    return found


def _crosswalks(plan: Roundabout) -> tuple[Crosswalk, ...]:
    found = []
    for arm in plan.zebras:
        middle = plan.point(arm, plan.opening[1] + ZEBRA_GAP_M + CROSSWALK_M / 2, 0.0)
        x, y, yaw = mirrored_pose(middle, plan.angle(arm))
        found.append(Crosswalk(x_m=x, y_m=y, yaw_rad=yaw, length_m=CROSSWALK_M, width_m=2 * plan.width_m))
    return tuple(found)
